"""What every script of the demo shares: users, meters, money, time. Source: interfaces, 2.3.

Everything goes over HTTP, as any application, operator or meter would do it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.demo.folder import (
    BAP,
    BUYER_METER,
    CURRENCY,
    GRID_OPERATOR,
    HEADEND,
    SELLER_METER,
    TREASURER,
)
from adapter.demo.session import Session, Window
from adapter.domain.instants import EPOCH_MS

BUYER, SELLER = "buyer-1", "seller-1"
ASSETS = ("GRID", CURRENCY)
CASH = "20.00"
READING_KWH = "2.5"
CONFIRM_S, COMPLETE_S = 60, 60

Balances = Mapping[str, Mapping[str, str]]
"""Decimal strings by party and asset."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """A body of `POST /trades`, and the node whose application posts it."""

    node: str
    body: Mapping[str, Any]


class Script(Session, ABC):
    """One run against running nodes."""

    parties: Mapping[str, str]
    """Owner of ledger accounts by role."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """What is traded, for people."""

    # What differs

    @abstractmethod
    def set_up(self) -> None:
        """Register users with their meters, give caps, fund who pays."""

    @abstractmethod
    def offer(self, window: Window) -> None:
        """Publish what can be traded."""

    @abstractmethod
    def purchases(self, window: Window) -> Sequence[Purchase]:
        """Return what the applications post, the buyer's first."""

    @abstractmethod
    def buy(self, window: Window) -> str:
        """Trade until all is confirmed, and return the buyer's transaction id.

        Raises:
            DemoError: it is not confirmed in time.
        """

    @abstractmethod
    def wait_until_completed(self, transaction_id: str) -> None:
        """Return once the applications know that all is settled.

        Raises:
            DemoError: it does not become COMPLETED in time.
        """

    @abstractmethod
    def contract_at(self, transaction_id: str) -> tuple[str, str]:
        """Return node and transaction where the whole contract is known."""

    @abstractmethod
    def logs(self, transaction_id: str) -> Sequence[tuple[str, str]]:
        """Return nodes and transactions whose messages make the whole story."""

    # What is the same

    def window(self) -> Window:
        """Return one hour from the second quarter hour ahead."""
        start_ms = self.next_quarters(2)
        return Window(start_ms, start_ms + 4 * EPOCH_MS)

    def register_traders(self, *, seller_app: str) -> None:
        """Register buyer and seller, each with a meter and a cap, and fund the buyer."""
        for user, representative, meter, side, cap in (
            (BUYER, BAP, BUYER_METER, "BUY", "50"),
            (SELLER, seller_app, SELLER_METER, "SELL", "100"),
        ):
            self.register(user, representative)
            self.assign(user, meter)
            args = {"meter_id": meter, "side": side, "cap": cap}
            told = f"caps {meter} at {cap} kWh to {side.lower()}"
            self.call(GRID_OPERATOR, "registry.set_trade_cap", args, told)
        self.deposit(BUYER, "bank-1")
        self.approve("bap", BUYER, CURRENCY, CASH)

    def deposit(self, user: str, reference: str) -> None:
        """Fund a user."""
        args = {"to": user, "amount": CASH, "external_reference": reference}
        told = f"deposits {CASH} {CURRENCY} for {user}"
        self.call(TREASURER, "token.deposit", args, told)

    def pass_window(self, window: Window) -> None:
        """Move the clock of all nodes behind the window."""
        self.pass_instant(window.end_ms)

    def submit_readings(self, window: Window) -> None:
        """Submit what both meters measured in each quarter hour."""
        self.submit(window, {SELLER_METER: READING_KWH}, {BUYER_METER: READING_KWH})
        count = len(window.intervals)
        told = f"{count} readings of {READING_KWH} kWh per meter, each signed by its meter"
        self.tell(HEADEND, told)

    def balances(self) -> Balances:
        """Return what every party has of every asset."""
        return {
            party: {asset: self.balance(party, asset) for asset in ASSETS}
            for party in self.parties.values()
        }
