"""A ledger with a market on it: its own user without a meter, loads and roofs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self

from adapter.domain.quantities import to_micro, to_text
from adapter.settlement import AgreementView, Receipt, market_views, verify
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, GENESIS, NOON, World

MARKET = "market"
PRICE, ENERGY = Decimal("0.069057"), Decimal("4.716981")
"""What example C1 of the contract specification, section 10, clears to in an hour."""
CREATE = "agreements.create_agreement"
ACCEPT = "agreements.accept_agreement"


@dataclass
class Bazaar(World):
    """A world with a market; the meter of user `x` is `m-x`."""

    start: int = NOON + 4 * EPOCH
    quarters: int = 4
    exports: list[str] = field(default_factory=list)
    """Users that export."""
    withdrawals: list[str] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Return the end of the delivery window."""
        return self.start + self.quarters * EPOCH

    def set_up(self, genesis: Mapping[str, Any] = GENESIS, working_capital: object = 1_000) -> Self:
        """Open the ledger and register the market."""
        self.open(genesis)
        self.user(MARKET)
        self.do("trading.add_market_maker", "admin", market_maker=MARKET)
        if working_capital:
            self.deposit(MARKET, working_capital)
        return self

    def take_part(self, user: str, *, exports: bool, allowed: object = 1_000) -> None:
        """Register a prosumer with a meter, funded, who lets every market act for it."""
        self.user(user, representative=f"app-{user}")
        self.meter(f"m-{user}", user, kw=400)
        (self.exports if exports else self.withdrawals).append(user)
        if not exports:
            self.deposit(user, 1_000)
        asset = "GRID" if exports else "USD"
        if allowed:
            self.do("token.approve", user, spender="network", value=allowed, asset=asset)

    def share(self, user: str, energy: object, price: object, /, **changes: Any) -> dict[str, Any]:
        """Return the arguments of a share."""
        meter = f"m-{user}"
        sides: dict[str, Any] = {"provider": MARKET, "consumer": user, "target_meter": meter}
        if user in self.exports:
            sides = {"provider": user, "consumer": MARKET, "source_meter": meter}
        return {
            "contract_id": f"c-1#{meter}",
            **sides,
            "energy_amount_kwh": energy,
            "price_per_kwh": price,
            "currency": "USD",
            "window": {"start": self.start, "end": self.end},
            "market_making_fee": Decimal("0.01"),
            **changes,
        }

    def propose(self, user: str, energy: object, price: object, /, **changes: Any) -> int:
        """Reserve as the market does, and return the number."""
        receipt = self.do(CREATE, MARKET, **self.share(user, energy, price, **changes))
        return int(receipt.result["agreement_no"])

    def accept(self, number: int) -> Receipt:
        """Accept as the market does."""
        return self.do(ACCEPT, MARKET, agreement_no=number)

    def agree(self, user: str, energy: object, price: object, /, **changes: Any) -> int:
        """Reserve and accept."""
        number = self.propose(user, energy, price, **changes)
        self.accept(number)
        return number

    def supply(self, energy: object) -> int:
        """Let the market buy energy of another roof, and return the number."""
        self.take_part("farm", exports=True)
        return self.agree("farm", energy, PRICE)

    def clear(self, **changes: Any) -> tuple[int, int]:
        """Agree on the worked market of `roof` and `load`: numbers of export and withdrawal."""
        return (
            self.agree("roof", ENERGY, PRICE, **changes),
            self.agree("load", ENERGY, PRICE, **changes),
        )

    def read_all(self, **metered: object) -> None:
        """Submit the readings of the whole window after its end, in about equal parts, by user."""
        self.now = max(self.now, self.end)
        for user, energy in metered.items():
            each, rest = divmod(to_micro(str(energy)), self.quarters)
            side = "generated" if user in self.exports else "consumed"
            for i, start in enumerate(range(self.start, self.end, EPOCH)):
                self.submit(f"m-{user}", start, **{side: to_text(each + (i < rest))})

    def held(self, owner: str, asset: str = "USD") -> int:
        """Return what is held of an owner's."""
        return self.posted(owner, asset) - self.available(owner, asset)

    def is_sound(self) -> bool:
        """Return whether the journal is verified from its first entry."""
        return verify(self.ledger.entries(-1, 10_000), MemoryLedger(), self.ledger).ok

    def on_account(self, account: str) -> int:
        """Return what is on one account, in millionths."""
        found = self.ledger.account(account)
        return found.posted if found else 0

    def shares(self) -> list[AgreementView]:
        """Return all shares of the market's contract."""
        return market_views(self.ledger, MARKET, "c-1", self.now)

    def states(self) -> list[str]:
        """Return the states of all shares, in order of number."""
        return [str(view.state) for view in self.shares()]
