"""Any book: the kernel equals the reference, and both keep what the rule promises.

Source: settlement specification, sections 9.2 and 15 (I11 to I15).
"""

import random
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.settlement import clearing, kernel_books, kernel_rows, kernels
from adapter.settlement.clearing import BUY, SELL, Reference, Rule, Trade
from adapter.settlement.kernels import Cleared

Row = tuple[int, int, int]

PRICES = st.one_of(
    st.integers(0, 5),
    st.integers(400, 600),
    st.integers(0, 10**9),
)
LOTS = st.one_of(st.integers(0, 4), st.integers(1, 10_000), st.integers(0, 10**12))
RULES = st.sampled_from(list(Rule))


@st.composite
def books(draw: st.DrawFn, most: int = 40, lots: st.SearchStrategy[int] = LOTS) -> list[Row]:
    """Return rows of a book, prices on the tick of 1, mostly from one of the three ranges."""
    prices = draw(st.sampled_from([st.integers(0, 5), st.integers(400, 600), PRICES]))
    row = st.tuples(st.sampled_from([SELL, BUY]), prices, lots)
    return draw(st.lists(row, max_size=most))


def columns(rows: list[Row]) -> tuple[list[int], list[int], list[int]]:
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def reference(rows: list[Row], tick: int = 1, rule: Rule = Rule.UNIFORM) -> Reference:
    return clearing.clear_book_reference(*columns(rows), tick=tick, rule=rule)


def kernel(rows: list[Row], tick: int = 1, rule: Rule = Rule.UNIFORM) -> Reference:
    side, price, lots = columns(rows)
    arrays = (np.array(side, np.int8), np.array(price, np.int64), np.array(lots, np.int64))
    for array in arrays:
        array.setflags(write=False)  # an input that is written to raises
    return plain(kernels.clear_book(*arrays, tick=tick, rule=rule))


def plain(found: Cleared) -> Reference:
    parts = (found.trade_sell, found.trade_buy, found.trade_lots, found.trade_price)
    trades = zip(*(part.tolist() for part in parts), strict=True)
    return Reference(
        found.price, found.volume, tuple(found.fills.tolist()), tuple(map(Trade._make, trades))
    )


def surplus(rows: list[Row], fills: tuple[int, ...]) -> int:
    """Return what bids and asks together gain."""
    return sum(
        fill * (price if side == BUY else -price)
        for (side, price, _), fill in zip(rows, fills, strict=True)
    )


@settings(max_examples=300)
@given(rows=books(), rule=RULES, tick=st.sampled_from([1, 7, 10_000]))
def test_the_kernel_equals_the_reference(rows: list[Row], rule: Rule, tick: int) -> None:
    on_tick = [(side, price * tick % (10**12 // tick * tick), lots) for side, price, lots in rows]
    assert kernel(on_tick, tick, rule) == reference(on_tick, tick, rule)


@settings(max_examples=100)
@given(rows=books(), rule=RULES, limit=st.integers(0, 20_000))
def test_the_limited_kernel_equals_the_reference(rows: list[Row], rule: Rule, limit: int) -> None:
    side, price, lots = columns(rows)
    arrays = (np.array(side, np.int8), np.array(price, np.int64), np.array(lots, np.int64))
    found = plain(kernels.clear_limited(*arrays, tick=1, limit=limit, rule=rule))
    assert found == clearing.clear_limited_reference(
        side, price, lots, tick=1, limit=limit, rule=rule
    )
    assert found.volume == min(limit, reference(rows).volume)
    for trade in found.trades:
        assert price[trade.sell] <= trade.price <= price[trade.buy]


@settings(max_examples=200)
@given(rows=books(), rule=RULES)
def test_what_trades_is_within_every_limit(rows: list[Row], rule: Rule) -> None:
    found = kernel(rows, rule=rule)
    sold = [0] * len(rows)
    for trade in found.trades:
        assert (rows[trade.sell][0], rows[trade.buy][0]) == (SELL, BUY)
        assert trade.lots > 0
        assert rows[trade.sell][1] <= trade.price <= rows[trade.buy][1]
        sold[trade.sell] += trade.lots
        sold[trade.buy] += trade.lots
    assert tuple(sold) == found.fills
    assert all(0 <= fill <= row[2] for fill, row in zip(found.fills, rows, strict=True))
    for side in (SELL, BUY):
        filled = (fill for fill, row in zip(found.fills, rows, strict=True) if row[0] == side)
        assert sum(filled) == found.volume
    assert len(found.trades) <= max(0, len(rows) - 1)


@settings(max_examples=200)
@given(rows=books())
def test_nobody_unfilled_had_a_right_to_trade(rows: list[Row]) -> None:
    found = kernel(rows)
    assert (found.price is None) == (found.volume == 0)
    for (side, price, lots), fill in zip(rows, found.fills, strict=True):
        if fill < lots and found.price is not None:
            assert price >= found.price if side == SELL else price <= found.price
        if fill and found.price is not None:
            assert price <= found.price if side == SELL else price >= found.price


@settings(max_examples=200)
@given(rows=books())
def test_better_prices_and_earlier_orders_come_first(rows: list[Row]) -> None:
    fills = kernel(rows).fills
    for side, sign in ((SELL, 1), (BUY, -1)):
        turns = sorted(
            (row for row in range(len(rows)) if rows[row][0] == side and rows[row][2]),
            key=lambda row: (sign * rows[row][1], row),
        )
        partly = [row for row in turns if 0 < fills[row] < rows[row][2]]
        full = [row for row in turns if fills[row] == rows[row][2]]
        none = [row for row in turns if not fills[row]]
        assert len(partly) <= 1
        assert full + partly + none == turns


@settings(max_examples=60)
@given(rows=books(most=9, lots=st.integers(0, 2)))
def test_surplus_and_volume_are_the_most_possible(rows: list[Row]) -> None:
    found = kernel(rows)
    best = most = 0
    for fills in product(*(range(row[2] + 1) for row in rows)):
        sold = sum(fill for fill, row in zip(fills, rows, strict=True) if row[0] == SELL)
        if 2 * sold == sum(fills):
            best = max(best, surplus(rows, fills))
    asks = sorted(price for side, price, lots in rows if side == SELL for _ in range(lots))
    bids = sorted((price for side, price, lots in rows if side == BUY for _ in range(lots)))[::-1]
    most = sum(ask <= bid for ask, bid in zip(asks, bids, strict=False))
    assert (surplus(rows, found.fills), found.volume) == (best, most)


@settings(max_examples=100)
@given(rows=books(), seed=st.integers(0, 2**32))
def test_storage_order_does_not_matter(rows: list[Row], seed: int) -> None:
    stored = list(enumerate(rows))
    random.Random(seed).shuffle(stored)
    assert kernel([row for _, row in sorted(stored)]) == kernel(rows)


@settings(max_examples=100)
@given(rows=books(), factor=st.integers(1, 50), shift=st.integers(0, 10**6))
def test_prices_scale_and_shift(rows: list[Row], factor: int, shift: int) -> None:
    found = kernel(rows)
    moved = [(side, price * factor + shift, lots) for side, price, lots in rows]
    by_tick = kernel([(side, price * factor, lots) for side, price, lots in rows], factor)
    assert by_tick.fills == kernel(moved).fills == found.fills
    if found.price is not None:
        price = kernel(moved).price
        assert by_tick.price == found.price * factor
        assert price is not None
        # half a tick that was rounded down becomes visible
        assert 0 <= price - (found.price * factor + shift) <= factor // 2


@settings(max_examples=200)
@given(rows=books(), above=st.integers(1, 1_000), lots=st.integers(1, 10**6), first=st.booleans())
def test_an_order_outside_the_interval_changes_nothing(
    rows: list[Row], above: int, lots: int, first: bool
) -> None:
    found = reference(rows)
    if found.price is None:
        return
    high = min(
        price
        for (side, price, size), fill in zip(rows, found.fills, strict=True)
        if (side == BUY and fill) or (side == SELL and fill < size)
    )
    extra = (SELL, high + above, lots)
    more = [extra, *rows] if first else [*rows, extra]
    again = kernel(more)
    fills = again.fills[1:] if first else again.fills[:-1]
    assert (again.price, fills) == (found.price, found.fills)
    low = max(
        price
        for (side, price, size), fill in zip(rows, found.fills, strict=True)
        if (side == SELL and fill) or (side == BUY and fill < size)
    )
    if low >= above:
        again = kernel([*rows, (BUY, low - above, lots)])
        assert (again.price, again.fills[:-1]) == (found.price, found.fills)


@settings(max_examples=100)
@given(rows=books(), areas=st.lists(st.integers(0, 4), min_size=40, max_size=40))
def test_many_books_equal_each_alone(rows: list[Row], areas: list[int]) -> None:
    area = areas[: len(rows)]
    side, price, lots = columns(rows)
    arrays = (np.array(side, np.int8), np.array(price, np.int64), np.array(lots, np.int64))
    found = kernels.clear_books(np.array(area, np.int64), *arrays, tick=1)
    for one in set(area):
        mine = [row for row, there in enumerate(area) if there == one]
        alone = reference([rows[row] for row in mine])
        assert found.fills[mine].tolist() == list(alone.fills)
        assert found.price[one] == (-1 if alone.price is None else alone.price)
        trades = found.trade_area == one
        assert found.trade_sell[trades].tolist() == [mine[trade.sell] for trade in alone.trades]
        assert found.trade_buy[trades].tolist() == [mine[trade.buy] for trade in alone.trades]
        assert found.trade_lots[trades].tolist() == [trade.lots for trade in alone.trades]


@settings(max_examples=200)
@given(rows=books(), rule=RULES, block=st.integers(1, 9))
def test_a_book_of_many_blocks_equals_the_reference(
    rows: list[Row], rule: Rule, block: int
) -> None:
    whole, kernel_rows.BLOCK_ROWS = kernel_rows.BLOCK_ROWS, block
    try:
        assert kernel(rows, rule=rule) == reference(rows, rule=rule)
    finally:
        kernel_rows.BLOCK_ROWS = whole


@settings(max_examples=200)
@given(
    rows=books(),
    rule=RULES,
    areas=st.lists(st.integers(0, 4), min_size=40, max_size=40),
    caps=st.lists(st.integers(0, 10_000), min_size=40, max_size=40),
    limits=st.lists(st.integers(0, 20_000), min_size=5, max_size=5),
    part=st.integers(1, 12),
)
def test_many_books_of_many_parts_respect_caps_and_limits(
    rows: list[Row], rule: Rule, areas: list[int], caps: list[int], limits: list[int], part: int
) -> None:
    side, price, lots = columns(rows)
    arrays = (np.array(side, np.int8), np.array(price, np.int64), np.array(lots, np.int64))
    capped = np.array(caps[: len(rows)], np.int64)
    options = kernels.Options(rule=rule, caps=capped, limits=np.array(limits))
    whole, kernel_books.PART_ROWS = kernel_books.PART_ROWS, part
    try:
        area = np.array(areas[: len(rows)], np.int64)
        found = kernels.clear_books(area, *arrays, tick=1, options=options)
    finally:
        kernel_books.PART_ROWS = whole
    assert (found.fills <= capped).all()
    assert (found.volume <= np.array(limits)).all()
    trades = []
    for one, limit in enumerate(limits):
        mine = [row for row, there in enumerate(areas[: len(rows)]) if there == one]
        clipped = [min(lots[row], caps[row]) for row in mine]
        alone = clearing.clear_limited_reference(
            [side[row] for row in mine],
            [price[row] for row in mine],
            clipped,
            tick=1,
            limit=limit,
            rule=rule,
        )
        assert found.fills[mine].tolist() == list(alone.fills)
        assert found.volume[one] == alone.volume
        assert (alone.price is None) == (found.volume[one] == 0 or rule is not Rule.UNIFORM)
        if alone.price is not None:
            assert found.price[one] == alone.price
        trades += [(one, mine[t.sell], mine[t.buy], t.lots, t.price) for t in alone.trades]
    parts = (found.trade_area, found.trade_sell, found.trade_buy, found.trade_lots)
    listed = (values.tolist() for values in (*parts, found.trade_price))
    assert list(zip(*listed, strict=True)) == trades


def test_ten_thousand_seeded_books_equal_the_reference() -> None:
    draw = random.Random(7)
    for _ in range(10_000):
        span = draw.choice([1, 4, 30, 10**7])
        rows = [
            (draw.randint(0, 1), draw.randint(0, span), draw.randint(0, 9))
            for _ in range(draw.randint(0, 14))
        ]
        assert kernel(rows) == reference(rows)
