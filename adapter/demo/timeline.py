"""The demo as a person sees it: steps as they happen, then messages, flows and balances."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.demo.folder import BAP, BAP2, BPP, CURRENCY, GRID_OPERATOR, MARKET
from adapter.demo.market_script import told_power
from adapter.demo.report import Report

LANES = {
    BAP: "buyer app",
    BAP2: "seller app",
    BPP: "seller platform",
    MARKET: "market",
    GRID_OPERATOR: "grid operator",
}
"""Columns of the picture, from left to right; those who say nothing have none."""
LANES_WIDTH = 66
_COLOURS = {
    BAP: "cyan",
    BAP2: "blue",
    BPP: "yellow",
    MARKET: "yellow",
    GRID_OPERATOR: "magenta",
}
_PARTS = {
    "BUYER": "buyer",
    "SELLER": "seller",
    "PROSUMER": "prosumer",
    "MARKET_CLEARING_AGENT": "market",
    "GRID_OPERATOR": "grid operator",
}


class Timeline:
    """Writes to one console."""

    def __init__(self, console: Console) -> None:
        """Take where to write."""
        self._console = console

    def heading(self, text: str) -> None:
        """Write a heading."""
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def step(self, who: str, what: str) -> None:
        """Write one step of the script."""
        line = Text("  ")
        line.append(f"{who:<21}", style=_COLOURS.get(who, "green"))
        line.append(f" {what}")
        self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """Write a line of its own."""
        self._console.print(Text(f"  {text}", style="dim"), soft_wrap=True)

    def report(self, report: Report) -> None:
        """Write all that a run has to show."""
        self.heading(f"{len(report.messages)} signed messages, every one answered at once")
        self._lanes(report)
        self.heading("Revenue flows of the contract, with the numbers put in")
        self._flows(report)
        self.heading("Balances")
        self._balances(report)
        self.heading("Ledger")
        self._ledger(report)

    def _lanes(self, report: Report) -> None:
        """Draw who sent what to whom, one message per line."""
        speak = {message[end] for message in report.messages for end in ("from", "to")}
        lanes = [subscriber for subscriber in LANES if subscriber in speak]
        width = LANES_WIDTH // len(lanes)
        head = Text("   #  ")
        for subscriber in lanes:
            head.append(LANES[subscriber].ljust(width), style=f"bold {_COLOURS[subscriber]}")
        head.append("signature  answer      ms", style="bold")
        self._console.print(head)
        for message in report.messages:
            self._console.print(_arrow(message, lanes, width))

    def _flows(self, report: Report) -> None:
        table = Table(box=None, pad_edge=True, header_style="bold")
        for name in ("from", "to", "formula"):
            table.add_column(name, overflow="fold")
        table.add_column("amount", justify="right")
        for flow in report.flows:
            amount = f"{flow['amount']} {flow['currency']}" if flow["bound"] else "not yet known"
            payer, payee = (_PARTS.get(flow[end], flow[end]) for end in ("from", "to"))
            if "party" in flow:
                who = flow["party"] if flow["from"] == "PROSUMER" else f"for {flow['party']}"
                payer = f"{payer}, {who}"
            table.add_row(
                payer,
                payee,
                _short(flow["formula"]),
                amount,
            )
        self._console.print(table)
        if report.tariff is not None:
            self._tariff(report.tariff)
        if report.clearing is not None:
            self._clearing(report.clearing)

    def _clearing(self, clearing: Mapping[str, Any]) -> None:
        """Write what cleared, and what each then pays or gets."""
        self.note("The standard formula takes its sign from the power, and the fee of both sides")
        self.note("cancels in it. What it means, and what is settled, stands below.")
        self.heading("Cleared at one price; what that means for each")
        for key, power in clearing["cleared_power"].items():
            self.step(key, f"{told_power(power)} at {clearing['price']} {CURRENCY} per kWh")
        for key, amount in clearing["positions"].items():
            verb = "pays" if amount.startswith("-") else "gets"
            self.step(_PARTS.get(key, key), f"{verb} {amount.removeprefix('-')} {CURRENCY}")

    def _tariff(self, tariff: Mapping[str, Any]) -> None:
        """Write which element of the tariff charged what."""
        self.heading("Price of the delivery under the tariff")
        for leg in tariff["legs"]:
            span = f"{leg['start'][11:16]} to {leg['end'][11:16]}"
            self.step(span, f"{leg['kwh']} kWh x {leg['price']} = {leg['amount']} {CURRENCY}")
        told = f"{tariff['total']} {CURRENCY}, and beside it VAT {tariff['vat']} {CURRENCY}"
        self.step("in all", told)

    def _balances(self, report: Report) -> None:
        table = Table(box=None, pad_edge=True, header_style="bold")
        for name in ("party", "role", "asset"):
            table.add_column(name)
        for name in ("before", "change", "after"):
            table.add_column(name, justify="right")
        changes = report.changes
        for role, party in report.parties.items():
            for asset, after in report.balances[party].items():
                change = changes[party][asset]
                table.add_row(
                    party,
                    _PARTS[role],
                    asset,
                    report.balances_before[party][asset],
                    Text(_signed(change), style=_tint(change)),
                    after,
                )
        self._console.print(table)

    def _ledger(self, report: Report) -> None:
        self.step("journal", f"{report.entries} entries, root {report.journal_root}")
        told = "every entry recomputed from genesis: chain, postings and balances agree"
        self.step("verified" if report.ledger_verified else "NOT VERIFIED", told)
        self.step("contract", f"{report.contract_id} is {report.status}")


def _arrow(message: Mapping[str, Any], lanes: Sequence[str], lane_width: int) -> Text:
    """Return one message as an arrow between two lanes."""
    start, end = lanes.index(message["from"]), lanes.index(message["to"])
    left, right = min(start, end), max(start, end)
    width = (right - left) * lane_width - 2
    label = f" {message['action']} "
    rule = label.center(width - 1, "─")
    arrow = f"●{rule}▶" if start < end else f"◀{rule}●"
    line = Text(f"  {message['seq']:>2}  ")
    line.append(" " * (left * lane_width))
    line.append(arrow, style=_COLOURS[message["from"]])
    line.append(" " * (len(lanes) * lane_width - left * lane_width - len(arrow)))
    good = message["signature"] == "valid"
    line.append(f"{message['signature']:<10}", style="green" if good else "bold red")
    line.append(f" {message['ack']:<6}", style="green" if message["ack"] == "ACK" else "bold red")
    took = message["ms"]
    line.append(f" {'' if took is None else f'{took:.1f}':>7}")
    return line


def _short(formula: str) -> str:
    """Return a formula without the parts that every path has."""
    short = formula.replace("roles.", "").replace(".roleInputs", "")
    return short.replace("MARKET_CLEARING_AGENT.", "MARKET.")


def _signed(change: str) -> str:
    return change if change.startswith("-") or not change.strip("0.") else f"+{change}"


def _tint(change: str) -> str:
    if not change.strip("-0."):
        return "dim"
    return "red" if change.startswith("-") else "green"
