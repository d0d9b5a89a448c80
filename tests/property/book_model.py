"""The order book of the dictionary model: written from the specification, sections 9.1 to 9.3.

Its own two queues clear it, and each trade is settled by itself, rounding each leg.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.property.ledger_model import Model

QUARTER = 900_000
LOT, TICK = 1_000, 1_000
WHEELING, BUYER_FEE, SELLER_FEE = 25_000, 3_000, 2_000
GATE, LIFE_MAX = 60_000, 86_400_000
PER_USER, PER_EPOCH = 4, 9
LIVE = ("ACTIVE", "PARTIALLY_FILLED")


class Book:
    """Orders of the one market."""

    def __init__(self, model: "Model") -> None:
        """Begin empty."""
        self.model = model
        self.orders: dict[int, dict[str, Any]] = {}
        self.next = 0
        self.cleared: dict[int, tuple[int | None, list[tuple[int, int, int]]]] = {}
        """Price and (buy, sell, energy) of the trades by epoch."""

    # Which order is in which book

    def live(self) -> list[dict[str, Any]]:
        """Return the orders that are not over."""
        return [o for o in self.orders.values() if o["state"] in LIVE]

    def joins(self, o: dict[str, Any]) -> range:
        """Return the epochs that a live order is still to be cleared in."""
        last = o["until"] // QUARTER - 1 if o["gtt"] else o["epoch"]
        return range(max(o["epoch"], self.next), last + 1)

    def now_epoch(self) -> int:
        """Return the present epoch."""
        return self.model.now // QUARTER

    def open_epochs(self) -> set[int]:
        """Return all epochs that somebody takes part in."""
        return {epoch for o in self.live() for epoch in self.joins(o)}

    def ended(self) -> list[int]:
        """Return those that are over, in order."""
        return sorted(epoch for epoch in self.open_epochs() if epoch < self.now_epoch())

    def awaits(self, o: dict[str, Any]) -> bool:
        """Return whether an ended epoch of an order is still to be cleared."""
        return any(epoch < self.now_epoch() for epoch in self.joins(o))

    def present(self, user: str = "") -> list[dict[str, Any]]:
        """Return the live orders of the present epoch, those of one user or all."""
        return [
            o
            for o in self.live()
            if (o["gtt"] or o["epoch"] == self.now_epoch()) and user in ("", o["user"])
        ]

    # Commands

    def create(self, user: str, side: str, numbers: tuple[int, int], life: int | None) -> str:
        """Enter an order; `life` in ms makes it good till time."""
        energy, price = numbers
        cap = f"m-{user}|CAP|{side}"
        capped = cap in self.model.caps
        need = self.need(side, energy, price)
        code = self.refused(user, side, numbers, life)
        if code:
            return code
        if capped and self.model.free(cap) < energy:
            return "TRADE_CAP_EXCEEDED"
        if self.model.free(self.account(user, side)) < need:
            return "INSUFFICIENT_ENERGY" if side == "SELL" else "INSUFFICIENT_FUNDS"
        if not self.open_epochs():
            self.next = max(self.next, self.now_epoch())
        number = len(self.orders) + 1
        order: dict[str, Any] = {
            "no": number,
            "user": user,
            "side": side,
            "energy": energy,
            "price": price,
            "epoch": self.now_epoch(),
            "gtt": life is not None,
            "until": self.model.now + (life or 0),
            "filled": 0,
            "state": "ACTIVE",
            "cap": cap if capped else "",
        }
        self.orders[number] = order
        self.hold(order, 1)
        return ""

    def refused(self, user: str, side: str, numbers: tuple[int, int], life: int | None) -> str:
        """Return why an order is refused, funds and caps aside."""
        energy, price = numbers
        now, end = self.model.now, (self.now_epoch() + 1) * QUARTER
        mine = [o for o in self.present(user) if not o["gtt"] or o["until"] >= now]
        pairs = [(price, o["price"]) for o in mine if o["side"] != side]
        meets = any(ask <= bid if side == "SELL" else bid <= ask for ask, bid in pairs)
        reasons = (
            ("INVALID_ENERGY_AMOUNT", energy % LOT),
            ("INVALID_PRICE", price % TICK or (side == "SELL" and price < SELLER_FEE)),
            ("INVALID_INPUT", life is not None and life > LIFE_MAX),
            ("USER_NOT_VERIFIED", self.model.active[user] != "ACTIVE"),
            ("NOT_PROSUMER", side == "SELL" and user not in self.model.prosumers),
            ("SELF_TRADE", meets),
            ("EPOCH_CLOSED", now >= end - GATE or self.now_epoch() < self.next),
            ("TOO_MANY_ORDERS", len(self.present(user)) >= PER_USER),
            ("EPOCH_FULL", len(self.present()) >= PER_EPOCH),
        )
        return next((code for code, holds in reasons if holds), "")

    def cancel(self, user: str, number: int) -> str:
        """Cancel an order."""
        o = self.orders.get(number)
        if o is None:
            return "ORDER_NOT_FOUND"
        if o["user"] != user:
            return "NOT_ORDER_OWNER"
        if o["state"] == "FILLED":
            return "ORDER_ALREADY_FILLED"
        if o["state"] not in LIVE:
            return "ORDER_NOT_ACTIVE"
        if self.awaits(o):
            return "EPOCH_CLOSED"
        if o["gtt"] and o["until"] < self.model.now:
            return "ORDER_NOT_ACTIVE"
        self.end(o, "CANCELLED")
        return ""

    def match(self, epoch: int) -> str:
        """Clear an epoch; one that was cleared is `SAME`, one that nobody was in `NOTHING`."""
        if epoch < self.next:
            return "SAME" if epoch in self.cleared else "NOTHING"
        if any(other < epoch for other in self.open_epochs()):
            return "EPOCH_OUT_OF_ORDER"
        if epoch >= self.now_epoch():
            return "EPOCH_NOT_ENDED"
        self.clear(epoch)
        return ""

    # Time

    def suspend(self, user: str) -> None:
        """End all orders of a user that is not ACTIVE any more."""
        for o in self.live():
            if o["user"] == user:
                self.end(o, "CANCELLED")

    def expire(self) -> bool:
        """End what has been through all its clearings."""
        over = [
            o for o in self.live() if o["gtt"] and o["until"] < self.model.now and not self.joins(o)
        ]
        for o in over:
            self.end(o, "EXPIRED")
        return bool(over)

    def clear_due(self) -> bool:
        """Clear what has ended, in order."""
        ended = self.ended()
        if ended:
            self.clear(ended[0])
        return bool(ended)

    def clear(self, epoch: int) -> None:
        """Clear one epoch."""
        book = [o for o in self.live() if epoch in self.joins(o)]
        assert all(self.model.active[o["user"]] == "ACTIVE" for o in book)
        trades = self.pair(book)
        price = self.price(book, trades) if trades else None
        for sell, buy, energy in trades:
            assert price is not None
            self.settle(self.orders[sell], self.orders[buy], energy, price)
        self.cleared[epoch] = (price, [(buy, sell, energy) for sell, buy, energy in trades])
        self.next = epoch + 1
        for o in book:
            if o["state"] in LIVE and not o["gtt"]:
                self.end(o, "EXPIRED")

    def pair(self, book: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
        """Return (ask, bid, energy): cheapest asks meet dearest bids, earlier ones first."""
        asks = sorted((o["price"], o["no"]) for o in book if o["side"] == "SELL")
        bids = sorted((-o["price"], o["no"]) for o in book if o["side"] == "BUY")
        left = {o["no"]: o["energy"] - o["filled"] for o in book}
        found = []
        while asks and bids and asks[0][0] <= -bids[0][0]:
            sell, buy = asks[0][1], bids[0][1]
            energy = min(left[sell], left[buy])
            found.append((sell, buy, energy))
            left[sell] -= energy
            left[buy] -= energy
            asks = asks[1:] if not left[sell] else asks
            bids = bids[1:] if not left[buy] else bids
        return found

    def price(self, book: list[dict[str, Any]], trades: list[tuple[int, int, int]]) -> int:
        """Return the middle of the prices at which nobody would rather have traded otherwise."""
        got: dict[int, int] = dict.fromkeys((o["no"] for o in book), 0)
        for sell, buy, energy in trades:
            got[sell] += energy
            got[buy] += energy
        low: list[int] = []
        high: list[int] = []
        for o in book:
            rest = o["energy"] - o["filled"] - got[o["no"]]
            is_ask = o["side"] == "SELL"
            if got[o["no"]]:
                (low if is_ask else high).append(o["price"])
            if rest:
                (high if is_ask else low).append(o["price"])
        assert max(low) <= min(high)
        return int(max(low) + (min(high) - max(low)) // TICK // 2 * TICK)

    # Holds and money

    def need(self, side: str, energy: int, price: int) -> int:
        """Return what so much unfilled energy holds."""
        if side == "SELL":
            return energy
        exact = Fraction(energy * (price + WHEELING + BUYER_FEE), 10**6)
        assert exact.denominator == 1 or energy % LOT or price % TICK
        return int(exact)

    def account(self, user: str, side: str) -> str:
        """Return the account that an order holds on."""
        return f"{user}|GRID|MAIN" if side == "SELL" else f"{user}|USD|MAIN"

    def hold(self, o: dict[str, Any], sign: int) -> None:
        """Add or take away the holds of an order as it is."""
        rest = o["energy"] - o["filled"]
        held = self.model.held
        held[self.account(o["user"], o["side"])] += sign * self.need(o["side"], rest, o["price"])
        if o["cap"]:
            held[o["cap"]] += sign * rest

    def end(self, o: dict[str, Any], state: str) -> None:
        """End an order and free what it holds."""
        self.hold(o, -1)
        o["state"] = state

    def settle(self, ask: dict[str, Any], bid: dict[str, Any], energy: int, price: int) -> None:
        """Move both legs of a trade."""
        assert ask["user"] != bid["user"]
        assert ask["price"] <= price <= bid["price"]
        for o in (ask, bid):
            self.hold(o, -1)
            o["filled"] += energy
            o["state"] = "FILLED" if o["filled"] == o["energy"] else "PARTIALLY_FILLED"
            self.hold(o, 1)
        move = self.model.move
        buyer, seller = f"{bid['user']}|USD|MAIN", f"{ask['user']}|USD|MAIN"
        value, wheeling, buyer_fee, seller_fee = (
            Fraction(energy * rate, 10**6) for rate in (price, WHEELING, BUYER_FEE, SELLER_FEE)
        )
        move(f"{ask['user']}|GRID|MAIN", f"{bid['user']}|GRID|MAIN", energy)
        move(buyer, seller, whole(value - seller_fee))
        move(buyer, "grid|USD|FEES", whole(seller_fee + buyer_fee))
        move(buyer, "grid|USD|WHEELING", whole(wheeling))


def whole(amount: Fraction) -> int:
    """Return an amount that needs no rounding."""
    assert amount.denominator == 1
    return int(amount)
