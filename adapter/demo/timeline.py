"""The demo as a person sees it: steps as they happen, then messages, flows and balances."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.demo.folder import BAP, BPP, CURRENCY, GRID_OPERATOR
from adapter.demo.report import Report
from adapter.demo.script import PARTIES

LANES = ((BAP, "buyer app"), (BPP, "seller platform"), (GRID_OPERATOR, "grid operator"))
"""Columns of the picture, from left to right."""
LANE_WIDTH = 22
_COLOURS = {BAP: "cyan", BPP: "yellow", GRID_OPERATOR: "magenta"}
_PARTS = {"BUYER": "buyer", "SELLER": "seller", "GRID_OPERATOR": "grid operator"}


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
        head = Text("   #  ")
        for subscriber, name in LANES:
            head.append(name.ljust(LANE_WIDTH), style=f"bold {_COLOURS[subscriber]}")
        head.append("signature  answer      ms", style="bold")
        self._console.print(head)
        for message in report.messages:
            self._console.print(_arrow(message))

    def _flows(self, report: Report) -> None:
        table = Table(box=None, pad_edge=True, header_style="bold")
        for name in ("from", "to", "formula"):
            table.add_column(name, overflow="fold")
        table.add_column("amount", justify="right")
        for flow in report.flows:
            amount = f"{flow['amount']} {flow['currency']}" if flow["bound"] else "not yet known"
            table.add_row(
                _PARTS.get(flow["from"], flow["from"]),
                _PARTS.get(flow["to"], flow["to"]),
                _short(flow["formula"]),
                amount,
            )
        self._console.print(table)
        if report.tariff is not None:
            self._tariff(report.tariff)

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
        for role, party in PARTIES.items():
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


def _arrow(message: Mapping[str, Any]) -> Text:
    """Return one message as an arrow between two lanes."""
    names = [subscriber for subscriber, _ in LANES]
    start, end = names.index(message["from"]), names.index(message["to"])
    left, right = min(start, end), max(start, end)
    width = (right - left) * LANE_WIDTH - 2
    label = f" {message['action']} "
    rule = label.center(width - 1, "─")
    arrow = f"●{rule}▶" if start < end else f"◀{rule}●"
    line = Text(f"  {message['seq']:>2}  ")
    line.append(" " * (left * LANE_WIDTH))
    line.append(arrow, style=_COLOURS[message["from"]])
    line.append(" " * ((len(LANES) * LANE_WIDTH) - left * LANE_WIDTH - len(arrow)))
    good = message["signature"] == "valid"
    line.append(f"{message['signature']:<10}", style="green" if good else "bold red")
    line.append(f" {message['ack']:<6}", style="green" if message["ack"] == "ACK" else "bold red")
    took = message["ms"]
    line.append(f" {'' if took is None else f'{took:.1f}':>7}")
    return line


def _short(formula: str) -> str:
    """Return a formula without the parts that every path has."""
    return formula.replace("roles.", "").replace(".roleInputs", "")


def _signed(change: str) -> str:
    return change if change.startswith("-") or not change.strip("0.") else f"+{change}"


def _tint(change: str) -> str:
    if not change.strip("-0."):
        return "dim"
    return "red" if change.startswith("-") else "green"
