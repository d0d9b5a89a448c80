"""Clearing of orders as objects: checked, turned into arrays, cleared, and turned back.

Quantities are 10^-6 kWh and a lot is one of them. Source: settlement specification, section 9.2;
interfaces, 2.4.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, NoReturn

import msgspec
import numpy as np

from adapter.domain.errors import QuantityError
from adapter.domain.quantities import MAX_MICRO, to_text
from adapter.settlement import kernels
from adapter.settlement.clearing import LOTS_SUM_END, Rule, check_tick
from adapter.settlement.kernel_rows import Ints, Sides, exact_sum

SIDES = {"sell": 0, "buy": 1}
"""What an order's side is in arrays."""


class Order(NamedTuple):
    """An ask or a bid."""

    order_id: str
    side: str
    """`buy` or `sell`."""
    quantity_micro_kwh: int
    """1 to 10^12."""
    price_micro: int
    """Limit in 10^-6 currency per kWh, 0 to 10^12, on the tick."""


class OrderTrade(msgspec.Struct, frozen=True, gc=False):
    """A part of an ask and of a bid that meet.

    It holds nothing that could be in a cycle, and so costs the garbage collector nothing: looking
    at a million of them while they are made took most of the time.
    """

    sell_id: str
    buy_id: str
    quantity_micro_kwh: int
    price_micro: int
    """10^-6 currency per kWh."""


@dataclass(frozen=True, slots=True)
class ClearedOrders:
    """What orders clear to."""

    rule: Rule
    price_micro: int | None
    """The one price; None when nothing trades and under a rule without one."""
    volume_micro_kwh: int
    """Energy sold, which is the energy bought."""
    fills_micro_kwh: list[int]
    """Energy filled, by the place of the order."""
    trades: list[OrderTrade]
    """By ask price, then order of entry."""


class OrderError(QuantityError):
    """An order that cannot be in a book."""

    def __init__(self, place: int, why: str) -> None:
        """Take the place of the order, from 0 on."""
        super().__init__(f"order {place + 1}: {why}", path=f"$[{place}]")
        self.place = place
        self.why = why


class Columns(NamedTuple):
    """Orders as arrays, in the order of entry."""

    ids: list[str]
    side: Sides
    """0 sells, 1 buys."""
    quantity: Ints
    """10^-6 kWh."""
    price: Ints
    """10^-6 currency per kWh."""


def clear_orders(
    orders: Iterable[Order], *, tick_micro: int = 1, rule: Rule = Rule.UNIFORM
) -> ClearedOrders:
    """Return what orders clear to; they are in the order of entry.

    Raises:
        OrderError: an order that cannot be in a book: the first one, with its place.
        QuantityError: 2^62 x 10^-6 kWh or more in sum.
        ValueError: a tick that is not positive.

    Source: settlement specification, section 9.2.
    """
    check_tick(tick_micro)
    listed = orders if isinstance(orders, list | tuple) else list(orders)
    if not listed:
        return ClearedOrders(rule, None, 0, [], [])
    ids, side, quantity, price = columns_of(listed, tick_micro)
    found = kernels.clear_book(side, price, quantity, tick=tick_micro, rule=rule)
    return objects_of(ids, found, rule)


def columns_of(orders: Sequence[Order], tick_micro: int) -> Columns:
    """Return orders, of which there is one at least, as arrays.

    Raises:
        OrderError, QuantityError: as `clear_orders`.
    """
    ids = list(map(_ID, orders))
    try:
        side = np.frombuffer(bytes(map(SIDES.__getitem__, map(_SIDE, orders))), dtype=np.int8)
        quantity, price = _column(map(_QUANTITY, orders)), _column(map(_PRICE, orders))
    except (KeyError, TypeError, OverflowError):
        _refuse_first(orders, tick_micro)
    if _has_repeats(ids) or not _are_fine(quantity, price, tick_micro):
        _refuse_first(orders, tick_micro)
    if exact_sum(quantity) >= LOTS_SUM_END:
        msg = f"the orders sum to {to_text(LOTS_SUM_END)} kWh or more"
        raise QuantityError(msg)
    return Columns(ids, side, quantity, price)


def objects_of(ids: Sequence[str], found: kernels.Cleared, rule: Rule) -> ClearedOrders:
    """Return a cleared book as objects; `ids` are those of its rows."""
    fills = found.fills.tolist()
    return ClearedOrders(rule, found.price, found.volume, fills, _trades(ids, found))


_ID, _SIDE, _QUANTITY, _PRICE = map(itemgetter, range(len(Order._fields)))


def _column(values: Iterable[int]) -> Ints:
    """Return whole numbers as an array.

    Raises:
        TypeError: one is no whole number.
        OverflowError: one is beyond 64 bits.
    """
    return np.frombuffer(array("q", values), dtype=np.int64)


def _has_repeats(ids: Sequence[str]) -> bool:
    """Return whether an id is there twice; as long as no two hashes are equal, no two ids are."""
    hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
    hashes.sort()
    return bool((hashes[1:] == hashes[:-1]).any()) and len(set(ids)) < len(ids)


def _are_fine(quantity: Ints, price: Ints, tick: int) -> bool:
    return bool(
        quantity.min() > 0
        and quantity.max() <= MAX_MICRO
        and price.min() >= 0
        and price.max() <= MAX_MICRO
        and not (tick > 1 and (price % tick).any())
    )


def _refuse_first(orders: Sequence[Order], tick: int) -> NoReturn:
    """Raise for the first order at fault, one by one as only refusals have to."""
    seen: dict[str, int] = {}
    for place, order in enumerate(orders):
        if order.order_id in seen:
            raise OrderError(
                place, f"id {order.order_id!r:.42} repeats that of order {seen[order.order_id] + 1}"
            )
        seen[order.order_id] = place
        for is_wrong, why in _FAULTS:
            if is_wrong(order, tick):
                raise OrderError(place, why.format(order=order, tick=to_text(tick)))
    raise AssertionError("a fault that no order has")


def _is_quantity(value: object, lowest: int) -> bool:
    return type(value) is int and lowest <= value <= MAX_MICRO


_FAULTS: tuple[tuple[Callable[[Order, int], bool], str], ...] = (
    (lambda order, _: order.side not in SIDES, "side {order.side!r:.42} is neither buy nor sell"),
    (
        lambda order, _: not _is_quantity(order.quantity_micro_kwh, 1),
        "the quantity is not between 0.000001 and 1000000 kWh",
    ),
    (
        lambda order, _: not _is_quantity(order.price_micro, 0),
        "the price is not between 0 and 1000000 per kWh",
    ),
    (
        lambda order, tick: order.price_micro % tick != 0,
        "the price is no multiple of the tick, {tick}",
    ),
)


_TRADES_AT_A_TIME = 1024
"""Few enough that what their names stand in stays in the cache between two looks at it."""


def _trades(ids: Sequence[str], found: kernels.Cleared) -> list[OrderTrade]:
    """Return the trades as objects.

    Names lie all over the memory. An array of them fetches many at once where a loop would wait for
    each.
    """
    names = np.empty(len(ids), dtype=object)
    names[:] = ids
    same = repeat(found.price)  # one number for all, instead of a copy each
    trades: list[OrderTrade] = []
    for start in range(0, len(found.trade_lots), _TRADES_AT_A_TIME):
        part = slice(start, start + _TRADES_AT_A_TIME)
        trades += map(
            OrderTrade,
            names[found.trade_sell[part]].tolist(),
            names[found.trade_buy[part]].tolist(),
            found.trade_lots[part].tolist(),
            same if found.price is not None else found.trade_price[part].tolist(),
        )
    return trades
