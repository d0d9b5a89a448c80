"""The script of `--mode market`: two prosumers, each at an app of its own, and one price.

The load withdraws 15 kW up to 0.10 and nothing from 0.25 on; the roof exports nothing up to 0.05
and 15 kW from 0.20 on. Both are straight between: at 0.15 they meet, with 10 kW each way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapter.demo.folder import (
    BAP2,
    BUYER_METER,
    CURRENCY,
    GRID_OPERATOR,
    MARKET,
    SELLER_METER,
)
from adapter.demo.processes import failure
from adapter.demo.script import BUYER, COMPLETE_S, CONFIRM_S, SELLER, Purchase, Script
from adapter.demo.session import Window
from adapter.domain.instants import EPOCH_MS, format_instant
from adapter.domain.quantities import to_micro, to_text
from adapter.protocol.flows import flow_report

FEE = "0.03"
"""marketMakingFee per kWh; the wheeling charge of 0.025 is paid from it."""
_LOAD = ("0.10", "-15"), ("0.25", "0")
_ROOF = ("0.05", "0"), ("0.20", "15")
LEAST_OPEN_MS = 120_000
"""How long the market is open at least, before the clock is moved."""


class MarketScript(Script):
    """Two apps bring a curve each into a market, which clears both at its gate."""

    parties: Mapping[str, str] = {
        "BUYER": BUYER,
        "SELLER": SELLER,
        "MARKET_CLEARING_AGENT": MARKET,
        "GRID_OPERATOR": GRID_OPERATOR,
    }

    @property
    def headline(self) -> str:
        """What is traded, for people."""
        return f"Market: two offer curves, fee {FEE} and wheeling 0.025 USD per kWh"

    def set_up(self) -> None:
        """Register both users and the market, give caps, fund who pays, let the roof be sold."""
        self.register_traders(seller_app=BAP2)
        self.approve("bap2", SELLER, "GRID", "20")
        self.register(MARKET, MARKET)
        args = {"market_maker": MARKET}
        self.call(GRID_OPERATOR, "trading.add_market_maker", args, f"lets {MARKET} be a market")
        self.deposit(MARKET, "bank-2")

    def window(self) -> Window:
        """Return one hour, whose market does not close before both could commit."""
        first = super().window()
        if _gate_ms(first) - self.clock.now_ms() >= LEAST_OPEN_MS:
            return first
        return Window(first.start_ms + EPOCH_MS, first.end_ms + EPOCH_MS)

    def offer(self, window: Window) -> None:
        """Open the market of the window."""
        body = {
            "offer_id": "market-hour",
            "market_making_fee": FEE,
            "currency": CURRENCY,
            "delivery_start": window.start,
            "delivery_end": window.end,
            "gate_closure": format_instant(_gate_ms(window)),
        }
        self.post("market", "/offers", body)
        told = f"opens a market for {window.start[11:16]} to {window.end[11:16]}"
        self.tell(MARKET, f"{told}, which closes at {body['gate_closure'][11:16]}")

    def purchases(self, window: Window) -> Sequence[Purchase]:
        """Return what both applications post."""
        return (
            Purchase("bap", _body(window, BUYER_METER, "CONSUMER", _LOAD)),
            Purchase("bap2", _body(window, SELLER_METER, "SOLAR", _ROOF)),
        )

    def buy(self, window: Window) -> str:
        """Let both commit, pass the gate, and return the buyer's transaction id.

        Raises:
            DemoError: the market does not clear.
        """
        posted = [(purchase.node, self._commit(purchase)) for purchase in self.purchases(window)]
        self._transactions = dict(posted)
        self.pass_instant(_gate_ms(window))
        for name, transaction_id in posted:
            wanted = ("ACTIVE", "TERMINATED")
            trade = self.wait_for(name, transaction_id, "status", wanted, CONFIRM_S)
            self._tell_cleared(name, trade)
        return self._transactions["bap"]

    def _commit(self, purchase: Purchase) -> str:
        name = purchase.node
        answer = self.post(name, "/trades", purchase.body, {"wait": "0"})
        transaction_id = str(answer["transaction_id"])
        for node in (name, "market"):  # what arrives behind the gate is no commitment
            self.wait_for(node, transaction_id, "state", ("CONFIRM_PENDING",), CONFIRM_S)
        points = purchase.body["offer_curve"]["curve"]
        told = ", ".join(f"{told_power(one['powerKW'])} at {one['price']}" for one in points)
        who = self.folder.nodes[name].subscriber_id
        self.tell(who, f"POST /trades: {told}; committed until the market closes")
        return transaction_id

    def _tell_cleared(self, name: str, trade: Mapping[str, Any]) -> None:
        clearing = clearing_of(trade)
        if clearing is None or trade["status"] != "ACTIVE":
            why = f"the market did not clear: at {name} the trade is {trade['state']}"
            told = f"{why}: {trade.get('error')}"
            raise failure(told, *self.trading_nodes())
        who = self.folder.nodes[name].subscriber_id
        told = told_power(clearing["cleared_power"][who])
        self.tell(who, f"{told} at {clearing['price']} {CURRENCY} per kWh")

    def wait_until_completed(self, transaction_id: str) -> None:
        """Return once both apps and the market know that all is settled."""
        for name, transaction in self._transactions.items():
            self.wait_for(name, transaction, "status", ("COMPLETED",), COMPLETE_S)
        market, session = self.contract_at(transaction_id)
        self.wait_for(market, session, "status", ("COMPLETED",), COMPLETE_S)

    def contract_at(self, transaction_id: str) -> tuple[str, str]:
        """Return the market and its transaction with the grid operator."""
        return "market", str(self.trade("market", transaction_id)["session"])

    def logs(self, transaction_id: str) -> Sequence[tuple[str, str]]:
        """Return the nodes and transactions whose messages make the whole story."""
        _, session = self.contract_at(transaction_id)
        own = tuple(self._transactions.items())
        theirs = tuple(("market", transaction) for _, transaction in own)
        return *own, *theirs, ("grid_operator", session)


def clearing_of(trade: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a contract says about its clearing, and what each then pays or gets.

    Numbers are decimal strings. None without a market, or before it has cleared.
    """
    roles = {one["role"]: one["roleInputs"] for one in trade["contract"]["roles"]}
    agent = roles.get("MARKET_CLEARING_AGENT", {})
    if "clearingPrice" not in agent:
        return None
    powers = {key: to_micro(kw) for key, kw in agent["clearedPower"].items()}
    volume_micro_kw = sum(kw for kw in powers.values() if kw > 0)
    return {
        "price": to_text(to_micro(agent["clearingPrice"])),
        "volume_kw": to_text(volume_micro_kw),
        "cleared_power": {key: to_text(kw) for key, kw in powers.items()},
        "positions": flow_report(trade["contract"]).to_wire()["net"],
    }


def told_power(kw: str) -> str:
    """Return cleared or offered power for people: the sign says which way it goes."""
    if kw == "0":
        return "nothing"
    return f"withdraws {kw[1:]} kW" if kw.startswith("-") else f"exports {kw} kW"


def _gate_ms(window: Window) -> int:
    return window.start_ms - EPOCH_MS


def _body(
    window: Window, meter: str, source_type: str, points: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    curve = {
        "currency": CURRENCY,
        "minExport": points[0][1],
        "maxExport": points[-1][1],
        "curve": [{"price": price, "powerKW": power} for price, power in points],
    }
    return {
        "bpp_id": MARKET,
        "source_meter_id": meter,
        "source_type": source_type,
        "offer_curve": curve,
        "start": window.start,
        "end": window.end,
    }
