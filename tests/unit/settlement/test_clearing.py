"""One book: the worked examples, every rule, and books at the edge, by reference and by kernel."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from adapter.domain.quantities import MAX_MICRO
from adapter.settlement import clearing, kernels
from adapter.settlement.clearing import BUY, SELL, Reference, Rule, Trade
from adapter.settlement.kernels import BUCKETS_MAX, Cleared
from adapter.settlement.units import Legs, Rates, legs

TICK = 10_000
"""0.01"""
WH = 1_000
"""Micro-kWh in a lot of 1 Wh."""

Row = tuple[int, int, int]
Clear = Callable[..., Reference]


def columns(rows: Sequence[Row]) -> tuple[list[int], list[int], list[int]]:
    """Return side, price and lots of the rows."""
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def arrays(rows: Sequence[Row]) -> tuple[Any, Any, Any]:
    """Return the rows as the kernels take them."""
    side, price, lots = columns(rows)
    return np.array(side, np.int8), np.array(price, np.int64), np.array(lots, np.int64)


def plain(found: Cleared) -> Reference:
    """Return a kernel's result in the reference's form."""
    parts = (found.trade_sell, found.trade_buy, found.trade_lots, found.trade_price)
    trades = zip(*(part.tolist() for part in parts), strict=True)
    return Reference(
        found.price, found.volume, tuple(found.fills.tolist()), tuple(map(Trade._make, trades))
    )


def by_reference(rows: Sequence[Row], **options: Any) -> Reference:
    return clearing.clear_book_reference(*columns(rows), **{"tick": TICK, **options})


def by_kernel(rows: Sequence[Row], **options: Any) -> Reference:
    return plain(kernels.clear_book(*arrays(rows), **{"tick": TICK, **options}))


both = pytest.mark.parametrize("clear", [by_reference, by_kernel])


def ask(kwh: int, hundredths: int) -> Row:
    return SELL, hundredths * TICK, kwh * WH


def bid(kwh: int, hundredths: int) -> Row:
    return BUY, hundredths * TICK, kwh * WH


def worked_book(order_3_kwh: int) -> list[Row]:
    """Return the orders 1 to 8 of the settlement specification, section 9.2."""
    asks = {1: ask(5, 400), 5: ask(4, 500), 3: ask(order_3_kwh, 600), 7: ask(3, 750)}
    bids = {2: bid(6, 800), 6: bid(5, 650), 4: bid(3, 640), 8: bid(4, 550)}
    return [row for _, row in sorted({**asks, **bids}.items())]


WORKED_TRADES = [(1, 2, 5), (5, 2, 1), (5, 6, 3), (3, 6, 2), (3, 4, 3)]
"""Order numbers of seller and buyer, kWh."""


@both
@pytest.mark.parametrize(
    ("order_3_kwh", "price"),
    [
        pytest.param(6, 600 * TICK, id="A: a kWh asked at 6.00 is left, so no more than 6.00"),
        pytest.param(5, 620 * TICK, id="B: between 6.00 and 6.40"),
    ],
)
def test_the_worked_books(clear: Clear, order_3_kwh: int, price: int) -> None:
    found = clear(worked_book(order_3_kwh))
    assert (found.price, found.volume) == (price, 14 * WH)
    # orders 1 to 8 in turn
    assert [fill // WH for fill in found.fills] == [5, 6, 5, 3, 4, 5, 0, 0]
    assert [(t.sell + 1, t.buy + 1, t.lots // WH) for t in found.trades] == WORKED_TRADES
    assert {trade.price for trade in found.trades} == {price}


def test_the_money_of_book_a() -> None:
    # section 9.3: W 0.50, fees 0.05 each side
    found = by_kernel(worked_book(6))
    assert found.price == 6_000_000
    rates = Rates(found.price, 500_000, 50_000, 50_000)
    spent: dict[int, int] = {}
    earned: dict[int, int] = {}
    operator = platform = 0
    for trade in found.trades:
        parts = legs(trade.lots * WH, rates)
        spent[trade.buy + 1] = spent.get(trade.buy + 1, 0) + parts.buyer_debit
        earned[trade.sell + 1] = earned.get(trade.sell + 1, 0) + parts.value - parts.seller_fee
        operator += parts.wheeling
        platform += parts.buyer_fee + parts.seller_fee
    assert spent == {2: 39_300_000, 6: 32_750_000, 4: 19_650_000}
    assert earned == {1: 29_750_000, 5: 23_800_000, 3: 29_750_000}
    assert (operator, platform) == (7_000_000, 1_400_000)
    assert sum(spent.values()) == sum(earned.values()) + operator + platform
    # 3 kWh between orders 5 and 6: the seller gets 18.00 less 0.15
    assert legs(3_000_000, rates) == Legs(18_000_000, 1_500_000, 150_000, 150_000)


@both
@pytest.mark.parametrize(
    ("rule", "prices"),
    [
        pytest.param(Rule.SELLER_ASK, [400, 500, 500, 600, 600], id="the ask"),
        # halfway between 4.00 and 8.00, 5 and 8, 5 and 6.50, 6 and 6.50, 6 and 6.40
        pytest.param(Rule.PAY_AS_BID_MIDPOINT, [600, 650, 575, 625, 620], id="the midpoint"),
    ],
)
def test_rules_without_one_price_fill_the_same(clear: Clear, rule: Rule, prices: list[int]) -> None:
    found = clear(worked_book(6), rule=rule)
    uniform = clear(worked_book(6))
    assert found.price is None
    assert [trade.price // TICK for trade in found.trades] == prices
    assert [trade[:3] for trade in found.trades] == [trade[:3] for trade in uniform.trades]
    assert (found.fills, found.volume) == (uniform.fills, uniform.volume)


@both
@pytest.mark.parametrize("rule", [Rule.UNIFORM, Rule.PAY_AS_BID_MIDPOINT])
def test_an_odd_tick_goes_to_the_buyers(clear: Clear, rule: Rule) -> None:
    # between 5.00 and 5.03: 5.01, not 5.015
    found = clear([ask(1, 500), bid(1, 503)], rule=rule)
    assert [trade.price for trade in found.trades] == [501 * TICK]


@both
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="no order"),
        pytest.param([ask(1, 500)], id="one order"),
        pytest.param([ask(1, 500), ask(2, 400)], id="asks only"),
        pytest.param([bid(1, 500), bid(2, 400)], id="bids only"),
        pytest.param([ask(1, 501), bid(1, 500)], id="no crossing"),
        pytest.param([ask(0, 400), bid(1, 500)], id="nothing asked"),
    ],
)
def test_nothing_trades(clear: Clear, rows: list[Row]) -> None:
    assert clear(rows) == Reference(None, 0, (0,) * len(rows), ())


@both
def test_all_at_one_price_go_by_time(clear: Clear) -> None:
    found = clear([ask(3, 500), bid(2, 500), ask(2, 500), bid(2, 500), bid(9, 500)])
    assert (found.price, found.volume) == (500 * TICK, 5 * WH)
    assert [fill // WH for fill in found.fills] == [3, 2, 2, 2, 1]


@both
def test_everything_crosses(clear: Clear) -> None:
    # asks 1 + 2 below all bids 2 + 1: every lot trades, between 3.00 and 7.00
    found = clear([ask(1, 100), ask(2, 300), bid(2, 700), bid(1, 900)])
    assert (found.price, found.volume) == (500 * TICK, 3 * WH)
    assert [fill // WH for fill in found.fills] == [1, 2, 2, 1]


@both
def test_quantities_of_one_lot(clear: Clear) -> None:
    # the third bid finds nothing left, and so nobody pays less than it would have
    rows = [(SELL, 4 * TICK, 1), (BUY, 9 * TICK, 1), (SELL, 5 * TICK, 1), (BUY, 8 * TICK, 1)]
    found = clear([*rows, (BUY, 7 * TICK, 1)])
    assert (found.price, found.volume, list(found.fills)) == (7 * TICK, 2, [1, 1, 1, 1, 0])


@both
def test_a_later_order_is_filled_partly(clear: Clear) -> None:
    found = clear([bid(3, 600), ask(2, 500), ask(2, 500), ask(2, 500)])
    assert [fill // WH for fill in found.fills] == [3, 2, 1, 0]


@both
def test_a_row_that_a_cap_clipped_to_nothing_has_no_say(clear: Clear) -> None:
    # the bid of no lots at 5.50 is not a bid: 4.00 to 6.00, not 5.50 to 6.00
    found = clear([ask(1, 400), bid(0, 550), bid(1, 600)])
    assert found.price == 500 * TICK


@both
def test_without_pairs_the_rest_is_the_same(clear: Clear) -> None:
    found, whole = clear(worked_book(6), pairs=False), clear(worked_book(6))
    assert found == Reference(whole.price, whole.volume, whole.fills, ())


@both
def test_the_largest_numbers(clear: Clear) -> None:
    most = 2**61 - 1
    found = clear([(SELL, 0, most), (BUY, MAX_MICRO, most)])
    assert (found.price, found.volume) == (MAX_MICRO // 2, most)


@both
def test_prices_in_many_buckets(clear: Clear) -> None:
    # prices 1 apart over more than the buckets of a histogram: the sorted way
    far = BUCKETS_MAX + 5
    rows = [(SELL, 0, 2), (SELL, far, 2), (BUY, far + 1, 3), (BUY, 7, 4)]
    found = clear(rows, tick=1)
    assert (found.volume, found.fills) == (3, (2, 1, 3, 0))
    assert found.price == far
    assert [trade[:3] for trade in found.trades] == [(0, 2, 2), (1, 2, 1)]


@both
@pytest.mark.parametrize(
    ("limit", "fills"),
    [
        pytest.param(14, [5, 6, 5, 3, 4, 5, 0, 0], id="as much as there is"),
        pytest.param(10, [5, 6, 1, 0, 4, 4, 0, 0], id="4 kWh less, from the last"),
        pytest.param(0, [0] * 8, id="nothing"),
    ],
)
def test_a_feeder_limit_cuts_the_last_and_keeps_the_price(
    clear: Clear, limit: int, fills: list[int]
) -> None:
    rows = worked_book(6)
    found = (
        clearing.clear_limited_reference(*columns(rows), tick=TICK, limit=limit * WH)
        if clear is by_reference
        else plain(kernels.clear_limited(*arrays(rows), tick=TICK, limit=limit * WH))
    )
    assert [fill // WH for fill in found.fills] == fills
    assert (found.price, found.volume) == (600 * TICK if limit else None, limit * WH)
    assert sum(trade.lots for trade in found.trades) == limit * WH


def test_a_limit_is_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        clearing.clear_limited_reference([], [], [], tick=1, limit=-1)
    with pytest.raises(ValueError, match="negative"):
        kernels.clear_limited(*arrays([]), tick=1, limit=-1)


@both
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([ask(1, 400), (2, TICK, 1)], "neither 0 nor 1", id="third side"),
        pytest.param([ask(1, 400), (-1, TICK, 1)], "neither 0 nor 1", id="negative side"),
        pytest.param([(SELL, -TICK, 1)], "price", id="negative price"),
        pytest.param([(SELL, MAX_MICRO + TICK, 1)], "price", id="price beyond"),
        pytest.param([(SELL, TICK + 1, 1)], "multiple", id="one price off the tick"),
        pytest.param([(SELL, TICK, 1), (BUY, 2 * TICK + 1, 1)], "multiple", id="off the tick"),
        pytest.param([ask(1, 400), (BUY, TICK, -1)], "negative", id="negative lots"),
        pytest.param([(SELL, TICK, 2**61), (BUY, TICK, 2**61)], "2\\^62", id="too many lots"),
    ],
)
def test_what_is_no_book_is_refused(clear: Clear, rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clear(rows)


@both
@pytest.mark.parametrize("tick", [0, -5])
def test_a_tick_is_positive(clear: Clear, tick: int) -> None:
    with pytest.raises(ValueError, match="tick"):
        clear([ask(1, 400)], tick=tick)


def test_one_odd_price_among_many_is_seen() -> None:
    # the first prices suggest a step of 0.01; one far off it makes the step 0.000001
    rows = [ask(1, 400 + number % 7) for number in range(5_000)]
    rows[4_321] = (BUY, 600 * TICK + 1, 2 * WH)
    assert by_kernel(rows, tick=1) == by_reference(rows, tick=1)
    with pytest.raises(ValueError, match="multiple"):
        by_kernel(rows)


def test_the_arguments_are_columns_of_integers() -> None:
    side, price, lots = arrays(worked_book(6))
    with pytest.raises(ValueError, match="differ in length"):
        kernels.clear_book(side, price[1:], lots, tick=TICK)
    with pytest.raises(ValueError, match="differ in length"):
        clearing.clear_book_reference([0], [0], [], tick=1)
    with pytest.raises(ValueError, match="price is not"):
        kernels.clear_book(side, price.astype(np.float64), lots, tick=TICK)
    with pytest.raises(ValueError, match="lots is not"):
        kernels.clear_book(side, price, lots.reshape(2, 4), tick=TICK)
    with pytest.raises(ValueError, match="side has"):
        kernels.clear_book(side.astype(np.int64) + 256, price, lots, tick=TICK)


def test_other_integer_types_and_strides_will_do() -> None:
    side, price, lots = arrays(worked_book(6))
    wide: Any = np.repeat(lots, 2).astype(np.uint32)
    found = kernels.clear_book(side.astype(np.int64), price.astype(np.int32), wide[::2], tick=TICK)
    assert plain(found) == by_reference(worked_book(6))
