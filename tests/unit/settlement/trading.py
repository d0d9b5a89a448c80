"""A market to trade on: users with a meter each, GRID and cash, and the worked books."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from adapter.settlement import Receipt
from adapter.settlement.contracts.order_book import order_now
from adapter.settlement.order_rows import Order
from tests.unit.settlement.world import EPOCH, NOON, World, settled_with

FIRST = NOON // EPOCH
"""Number of the epoch that begins at noon."""
RATES = settled_with(
    lot_energy=1,
    price_tick="0.01",
    wheeling_rate="0.50",
    buyer_fee="0.05",
    seller_fee="0.05",
)
"""The rates of book A; lots of 1 kWh."""
PLAIN = settled_with(price_tick="0.01", wheeling_rate=0)
"""No rates at all; lots of 1 Wh."""
BOOK_A = (
    ("SELL", 5, "4.00"),
    ("BUY", 6, "8.00"),
    ("SELL", 6, "6.00"),
    ("BUY", 3, "6.40"),
    ("SELL", 4, "5.00"),
    ("BUY", 5, "6.50"),
    ("SELL", 3, "7.50"),
    ("BUY", 4, "5.50"),
)
"""Side, kWh and price of the orders 1 to 8. Source: settlement specification, section 9.2."""
BOOK_B = (*BOOK_A[:2], ("SELL", 5, "6.00"), *BOOK_A[3:])
PRICE_NAME = {"SELL": "price_per_unit", "BUY": "max_price"}


@dataclass
class Trading(World):
    """A ledger with a market."""

    def set_up(self, genesis: Mapping[str, Any] = PLAIN) -> Self:
        """Open with three prosumers and a consumer, 100 kWh and 1000 of cash each."""
        self.open(genesis)
        for user in ("ann", "ben", "cat", "dan"):
            self.trader(user, "CONSUMER" if user == "dan" else "PROSUMER")
        return self

    def trader(self, user: str, kind: str = "PROSUMER", area: str = "main") -> None:
        """Register a user with a meter `m-<user>`, GRID and cash."""
        self.user(user, kind)
        self.meter(f"m-{user}", user, kw=1000, area=area)
        self.deposit(user, 1000)
        self.now += EPOCH
        self.submit(f"m-{user}", self.now - EPOCH, generated=100)
        self.now -= EPOCH

    def order(self, user: str, side: str, kwh: object, price: object, **more: Any) -> int:
        """Enter an order and return its number."""
        return int(self.ordered(user, side, kwh, price, **more).result["order_no"])

    def ordered(self, user: str, side: str, kwh: object, price: object, **more: Any) -> Receipt:
        """Enter an order."""
        function, args = call(side, kwh, price)
        return self.do(function, user, **args, **more)

    def order_refused(self, code: str, user: str, side: str, *terms: object, **more: Any) -> Any:
        """Enter an order that must be refused."""
        function, args = call(side, *terms)
        return self.refused(code, function, user, **args, **more)

    def enter(self, book: tuple[tuple[str, int, str], ...]) -> None:
        """Enter a book, each order by a user `u<number>` of its own."""
        for number, (side, kwh, price) in enumerate(book, 1):
            self.trader(f"u{number}")
            assert self.order(f"u{number}", side, kwh, price) == number

    def next_epoch(self, epochs: int = 1) -> int:
        """Go to the beginning of a later epoch; return the number of the one before."""
        self.now = (self.now // EPOCH + epochs) * EPOCH
        return self.now // EPOCH - 1

    def match(self, epoch: int | None = None, **more: Any) -> Receipt:
        """Clear an epoch, the last one unless it is named."""
        number = self.now // EPOCH - 1 if epoch is None else epoch
        return self.do("trading.match_orders", "system", epoch=number, **more)

    def clear(self) -> Receipt:
        """End the present epoch and clear it."""
        self.next_epoch()
        return self.match()

    def state(self, order_no: int) -> tuple[str, str]:
        """Return status and filled energy of an order."""
        order = self.read("trading.get_order", order_no=order_no)
        return order["status"], order["filled"]

    def held(self, user: str, asset: str) -> Decimal:
        """Return what is held of an asset."""
        return Decimal(self.read("token.balance_of", user=user, asset=asset)["held"])

    def now_of(self, order_no: int) -> Order:
        """Return an order as it is now."""
        order = order_now(self.ledger, order_no)
        assert order is not None
        return order


def call(side: str, kwh: object, price: object) -> tuple[str, dict[str, Any]]:
    """Return the function and the arguments of an order."""
    args = {"energy_amount": kwh, PRICE_NAME[side]: price}
    return f"trading.create_{side.lower()}_order", args
