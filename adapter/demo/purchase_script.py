"""The scripts of `--mode fixed` and `--mode tariff`: 10 kWh from a seller's platform."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from adapter.demo.folder import BPP, BUYER_METER, CURRENCY, GRID_OPERATOR, SELLER_METER
from adapter.demo.processes import failure
from adapter.demo.script import BUYER, COMPLETE_S, CONFIRM_S, SELLER, Purchase, Script
from adapter.demo.session import Window
from adapter.domain.instants import format_instant

QUANTITY_KWH, PRICE = "10", "0.15"
DEAR, CHEAP, VAT_PERCENT = "0.30", "0.12", 10
"""The tariff: per kWh in the first half of the window, and in the second."""
HALF_DAY_MS = 43_200_000


class PurchaseScript(Script):
    """A buyer's app buys 10 kWh from a seller's platform."""

    parties: Mapping[str, str] = {
        "BUYER": BUYER,
        "SELLER": SELLER,
        "GRID_OPERATOR": GRID_OPERATOR,
    }
    price_told = f"{PRICE} {CURRENCY} per kWh"

    @property
    def headline(self) -> str:
        """What is traded, for people."""
        return f"Trade: 10 kWh at {self.price_told}; wheeling 0.025 USD per kWh"

    def set_up(self) -> None:
        """Register both users with their meters, give caps, and fund the buyer."""
        self.register_traders(seller_app=BPP)

    def offer(self, window: Window) -> None:
        """Publish the seller's energy."""
        body = {
            "offer_id": "roof-7",
            "source_meter_id": SELLER_METER,
            "source_type": "SOLAR",
            "available_kwh": "40",
            **self.prices(window),
            "production_start": window.start,
            "production_end": window.end,
        }
        self.post("bpp", "/offers", body)
        self.tell(BPP, f"offers 40 kWh of {SELLER_METER} at {self.price_told}")

    def prices(self, window: Window) -> dict[str, Any]:
        """Return the part of the offer that says what a kWh costs."""
        del window
        return {"price_per_kwh": PRICE, "currency": CURRENCY}

    def purchases(self, window: Window) -> Sequence[Purchase]:
        """Return what the buyer's application posts."""
        body = {
            "bpp_id": BPP,
            "target_meter_id": BUYER_METER,
            "quantity_kwh": QUANTITY_KWH,
            "start": window.start,
            "end": window.end,
        }
        return (Purchase("bap", body),)

    def buy(self, window: Window) -> str:
        """Run discover to confirm and return the transaction id.

        Raises:
            DemoError: it was not confirmed.
        """
        (purchase,) = self.purchases(window)
        trade = self.post("bap", "/trades", purchase.body, {"wait": str(CONFIRM_S)})
        if trade["status"] != "ACTIVE":
            why = f"the trade is {trade['state']} after {CONFIRM_S} s: {trade.get('error')}"
            raise failure(why, *self.trading_nodes())
        transaction_id = str(trade["transaction_id"])
        told = f"POST /trades: contract is active, transaction {transaction_id}"
        self.tell("buyer", told)
        return transaction_id

    def wait_until_completed(self, transaction_id: str) -> None:
        """Return once the buyer's app knows that the trade is settled."""
        self.wait_for("bap", transaction_id, "status", ("COMPLETED",), COMPLETE_S)

    def contract_at(self, transaction_id: str) -> tuple[str, str]:
        """Return node and transaction where the whole contract is known."""
        return "bap", transaction_id

    def logs(self, transaction_id: str) -> Sequence[tuple[str, str]]:
        """Return the nodes and transactions whose messages make the whole story."""
        leg = str(self.trade("bpp", transaction_id)["cascade"]["transaction_id"])
        return ("bap", transaction_id), ("bpp", transaction_id), ("grid_operator", leg)


class TariffScript(PurchaseScript):
    """The same under a tariff whose price changes in the middle of the window."""

    price_told = f"{DEAR} {CURRENCY} per kWh, {CHEAP} from half an hour on, VAT {VAT_PERCENT} %"

    def prices(self, window: Window) -> dict[str, Any]:
        """Return the tariff, whatever the time is."""
        change_ms = (window.start_ms + window.end_ms) // 2
        change, back = _clock(change_ms), _clock(change_ms + HALF_DAY_MS)
        spans = ((DEAR, back, change), (CHEAP, change, back))
        elements = [
            {
                "priceComponents": [
                    {"type": "ENERGY", "price": Decimal(price), "vat": VAT_PERCENT}
                ],
                "restrictions": {"startTime": start, "endTime": end},
            }
            for price, start, end in spans
        ]
        tariff = {"tariffId": "two-halves", "currency": CURRENCY, "elements": elements}
        return {"tariff": tariff, "time_zone": "UTC"}


def _clock(instant_ms: int) -> str:
    """Return the time of day in UTC."""
    return format_instant(instant_ms)[11:16]
