"""Many books in one pass: each is cleared as if it were alone."""

import random
from typing import Any

import numpy as np
import pytest

from adapter.settlement import clearing, kernel_books, kernels
from adapter.settlement.clearing import Rule
from adapter.settlement.kernels import ClearedBooks, Options
from tests.unit.settlement.test_clearing import TICK, WH, Row, arrays, ask, bid, worked_book

Rows = list[tuple[int, Row]]
"""Area and order, by order of entry."""
NO_PRICE = -1


def clear(rows: Rows, **options: Any) -> ClearedBooks:
    area = np.array([row[0] for row in rows], np.int64)
    book = arrays([row[1] for row in rows])
    return kernels.clear_books(area, *book, tick=TICK, options=Options(**options))


def two_areas() -> Rows:
    """Return the books A and B, their rows one after the other."""
    mixed = zip(worked_book(6), worked_book(5), strict=True)
    return [pair for a, b in mixed for pair in ((0, a), (2, b))]


def test_the_worked_books_side_by_side() -> None:
    found = clear(two_areas())
    assert found.price.tolist() == [600 * TICK, NO_PRICE, 620 * TICK]
    assert found.volume.tolist() == [14 * WH, 0, 14 * WH]
    assert (found.fills[::2] // WH).tolist() == [5, 6, 5, 3, 4, 5, 0, 0]
    assert (found.fills[1::2] // WH).tolist() == [5, 6, 5, 3, 4, 5, 0, 0]
    assert found.trade_area.tolist() == [0] * 5 + [2] * 5
    # order n of book A is row 2n - 2, of book B row 2n - 1
    assert found.trade_sell.tolist() == [0, 8, 8, 4, 4, 1, 9, 9, 5, 5]
    assert found.trade_buy.tolist() == [2, 2, 10, 10, 6, 3, 3, 11, 11, 7]
    assert (found.trade_lots // WH).tolist() == [5, 1, 3, 2, 3] * 2
    assert found.trade_price.tolist() == [600 * TICK] * 5 + [620 * TICK] * 5


def test_limits_and_caps() -> None:
    limits = np.array([10 * WH, 0, 99 * WH, 5])
    found = clear(two_areas(), limits=limits)
    assert found.price.tolist() == [600 * TICK, NO_PRICE, 620 * TICK, NO_PRICE]
    assert found.volume.tolist() == [10 * WH, 0, 14 * WH, 0]
    assert (found.fills[::2] // WH).tolist() == [5, 6, 1, 0, 4, 4, 0, 0]
    # order 3 of book A capped to 5 kWh is book B
    caps = np.full(16, 6 * WH)
    caps[4] = 5 * WH
    assert clear(two_areas(), caps=caps).price.tolist() == [620 * TICK, NO_PRICE, 620 * TICK]


@pytest.mark.parametrize("rule", [Rule.PAY_AS_BID_MIDPOINT, Rule.SELLER_ASK])
def test_other_rules(rule: Rule) -> None:
    found = clear(two_areas(), rule=rule)
    alone = kernels.clear_book(*arrays(worked_book(6)), tick=TICK, rule=rule)
    assert found.price.tolist() == [NO_PRICE] * 3
    assert found.trade_price[:5].tolist() == alone.trade_price.tolist()


def test_without_pairs() -> None:
    found, whole = clear(two_areas(), pairs=False), clear(two_areas())
    assert found.fills.tolist() == whole.fills.tolist()
    assert found.price.tolist() == whole.price.tolist()
    assert len(found.trade_lots) == 0


def test_no_rows() -> None:
    assert clear([]).price.tolist() == []
    found = clear([], limits=np.array([5, 5]))
    assert (found.price.tolist(), found.volume.tolist()) == ([NO_PRICE] * 2, [0, 0])
    one_sided = clear([(0, ask(1, 400)), (1, bid(1, 500))])
    assert one_sided.price.tolist() == [NO_PRICE] * 2
    assert one_sided.fills.tolist() == [0, 0]


@pytest.mark.parametrize("areas", [70_000, 3])
def test_random_books_equal_the_reference(areas: int) -> None:
    # 70 000 areas take two digits of the sort
    draw = random.Random(areas)
    rows = [
        (
            draw.randrange(areas),
            (draw.randint(0, 1), draw.randint(1, 30) * TICK, draw.randint(0, 9)),
        )
        for _ in range(2_000)
    ]
    rows += [(areas - 1, ask(1, 5)), (areas - 1, bid(1, 9))]
    found = clear(rows)
    trades: list[tuple[int, ...]] = []
    for area in sorted({row[0] for row in rows}):
        mine = [row for row, (one, _) in enumerate(rows) if one == area]
        columns = zip(*(rows[row][1] for row in mine), strict=True)
        alone = clearing.clear_book_reference(*map(list, columns), tick=TICK)
        price = NO_PRICE if alone.price is None else alone.price
        assert (found.price[area], found.volume[area]) == (price, alone.volume)
        assert found.fills[mine].tolist() == list(alone.fills)
        trades += [
            (area, mine[one.sell], mine[one.buy], one.lots, one.price) for one in alone.trades
        ]
    parts = (found.trade_area, found.trade_sell, found.trade_buy, found.trade_lots)
    columns_found = (part.tolist() for part in (*parts, found.trade_price))
    assert list(zip(*columns_found, strict=True)) == trades


def test_area_and_price_that_do_not_fit_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = clear(two_areas())
    monkeypatch.setattr(kernel_books, "LOTS_SUM_END", 1)
    found = clear(two_areas())
    assert found.fills.tolist() == whole.fills.tolist()
    assert found.trade_sell.tolist() == whole.trade_sell.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"area": np.array([0])}, "differ in length", id="areas of other length"),
        pytest.param({"area": np.array([0, -1])}, "area", id="negative area"),
        pytest.param({"area": np.array([0, 2**40])}, "area", id="area beyond"),
        pytest.param({"caps": np.array([1])}, "caps", id="caps of other length"),
        pytest.param({"caps": np.array([1, -1])}, "caps", id="negative cap"),
        pytest.param({"limits": np.array([], np.int64)}, "limits", id="too few limits"),
        pytest.param({"limits": np.array([-1])}, "limits", id="negative limit"),
    ],
)
def test_what_are_no_books_is_refused(change: dict[str, Any], message: str) -> None:
    area = change.pop("area", np.array([0, 0]))
    book = arrays([ask(1, 400), bid(1, 500)])
    with pytest.raises(ValueError, match=message):
        kernels.clear_books(area, *book, tick=TICK, options=Options(**change))
