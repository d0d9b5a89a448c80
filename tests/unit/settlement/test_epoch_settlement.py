"""Settlement of a whole epoch on arrays: book A by hand, conservation, overflow, bad trades."""

from dataclasses import replace

import numpy as np
import pytest

from adapter.settlement.epoch_settlement import (
    NO_CAP,
    Balances,
    Grid,
    Orders,
    Settlement,
    Trades,
    cash_holds,
    exact_sum,
    settle_epoch,
)
from adapter.settlement.units import Rates, cash_hold

KWH = 1_000_000
GRID = Grid(lot=KWH, tick=10_000)
SIDE = (0, 1, 0, 1, 0, 1, 0, 1)
ENERGY = (5, 6, 6, 3, 4, 5, 3, 4)
HELD = (5.00, 51.30, 6.00, 20.85, 4.00, 35.25, 3.00, 24.20)
"""Energy of an ask; of a bid energy × (limit + 0.50 + 0.05): 6 × 8.55 = 51.30."""
PAIRS = ((0, 1, 5), (4, 1, 1), (4, 5, 3), (2, 5, 2), (2, 3, 3))
"""(sell, buy, kWh) of book A as rows; numbers are one higher."""
FEES, WHEELING = 16, 17
"""Accounts 0 to 7 hold the GRID of the eight users, 8 to 15 their cash."""


def ints(*values: object) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def micro(*values: object) -> np.ndarray:
    return ints(*(round(float(str(value)) * KWH) for value in values))


def book_a(**changes: object) -> tuple[Balances, Orders, Trades]:
    """Return book A of settlement specification 9.2 with the rates of 9.3, fully cleared at 6.00.

    Everyone has 100 kWh and 100 of cash.
    """
    sells = np.array(SIDE) == 0
    grid, cash = np.arange(8), np.arange(8, 16)
    held = np.zeros(18, dtype=np.int64)
    held[np.where(sells, grid, cash)] = micro(*HELD)
    posted = np.full(18, 100 * KWH, dtype=np.int64)
    posted[[FEES, WHEELING]] = 0
    balances = Balances(posted, held, np.arange(18) < 8, FEES, WHEELING)
    same = np.ones(8, dtype=np.int64)
    orders = Orders(
        order_no=np.arange(1, 9),
        side=np.array(SIDE, dtype=np.int8),
        gives=np.where(sells, grid, cash),
        gets=np.where(sells, cash, grid),
        cap=same * NO_CAP,
        energy=micro(*ENERGY),
        filled=same * 0,
        held=micro(*HELD),
        cap_held=same * 0,
        wheeling_rate=same * 500_000,
        buyer_fee=same * 50_000,
        seller_fee=same * 50_000,
        lives_on=np.zeros(8, dtype=np.bool_),
    )
    columns = np.array(PAIRS, dtype=np.int64).T
    trades = Trades(columns[0], columns[1], columns[2], 6 * KWH)
    return balances, replace(orders, **changes), trades  # type: ignore[arg-type]


def settled(balances: Balances, orders: Orders, trades: Trades) -> Settlement:
    return settle_epoch(balances, orders, trades, GRID)


def test_book_a_moves_what_the_table_says() -> None:
    balances, orders, trades = book_a()
    got = settled(balances, orders, trades)
    change = got.posted - balances.posted
    # GRID of the orders 1 to 8: sellers 1, 3, 5 give 5, 5, 4; buyers 2, 4, 6 get 6, 3, 5.
    assert change[:8].tolist() == micro(-5, 6, -5, 3, -4, 5, 0, 0).tolist()
    # Cash: sellers get 5.95 per kWh, buyers pay 6.55 per kWh.
    cash = micro("29.75", "-39.30", "29.75", "-19.65", "23.80", "-32.75", 0, 0)
    assert change[8:16].tolist() == cash.tolist()
    assert change[16:].tolist() == micro("1.40", "7.00").tolist()
    assert sum(change[:8].tolist()) == sum(change[8:].tolist()) == 0
    assert not got.held.any()


def test_book_a_releases_what_the_table_says() -> None:
    balances, orders, trades = book_a()
    got = settled(balances, orders, trades)
    gained = (got.posted - got.held) - (balances.posted - balances.held)
    released = {row: int(gained[orders.gives[row]]) for row in (1, 5, 3, 7)}
    # Held less paid: 51.30 − 39.30, 35.25 − 32.75, 20.85 − 19.65, 24.20 − 0.
    assert released == {1: 12_000_000, 5: 2_500_000, 3: 1_200_000, 7: 24_200_000}
    asks = [int(gained[orders.gives[row]]) for row in (0, 4, 2, 6)]
    assert asks == [0, 0, 1_000_000, 3_000_000]


def test_book_a_totals_and_blocks() -> None:
    got = settled(*book_a())
    totals = got.totals
    # 14 kWh at 6.00, wheeling 0.50, fees 0.05.
    assert (totals.energy, totals.value) == (14_000_000, 84_000_000)
    fees = (totals.wheeling, totals.buyer_fee, totals.seller_fee)
    assert fees == (7_000_000, 700_000, 700_000)
    rows = np.frombuffer(got.orders, dtype="<i8").reshape(-1, 3).tolist()
    assert [row[1] // KWH for row in rows] == [5, 6, 5, 3, 4, 5, 0, 0]
    assert [row[2] for row in rows] == [2, 2, 4, 2, 2, 2, 4, 4]
    # First row of the published block: buy order 2, sell order 1, 5 kWh.
    assert got.trades[:24].hex() == "02000000000000000100000000000000404b4c0000000000"


def test_an_order_that_lives_on_keeps_its_hold_until_it_trades() -> None:
    lives_on = np.array([False] * 6 + [True, True])
    lives_on[2] = True
    balances, orders, trades = book_a(lives_on=lives_on)
    got = settled(balances, orders, trades)
    # Orders 7 and 8 got nothing and hold on; order 3 has 1 kWh left, which takes a new hold.
    assert got.held[[6, 15, 2]].tolist() == micro(3, "24.20", 0).tolist()
    status = np.frombuffer(got.orders, dtype="<i8").reshape(-1, 3)[:, 2].tolist()
    assert status == [2, 2, 1, 2, 2, 2, 0, 0]


def test_caps_are_released_for_all_that_ends() -> None:
    balances, orders, trades = book_a(cap=ints(*[18] * 8), cap_held=micro(*ENERGY))
    room = np.append(balances.posted, 50 * KWH), np.append(balances.held, 36 * KWH)
    wide = replace(
        balances, posted=room[0], held=room[1], is_grid=np.append(balances.is_grid, False)
    )
    got = settled(wide, orders, trades)
    assert (got.posted[18], got.held[18]) == (50 * KWH, 0)


def test_the_arrays_that_come_in_stay_as_they_are() -> None:
    balances, orders, trades = book_a()
    before = balances.posted.tobytes(), balances.held.tobytes(), trades.lots.tobytes()
    settled(balances, orders, trades)
    assert (balances.posted.tobytes(), balances.held.tobytes(), trades.lots.tobytes()) == before


def test_a_price_per_trade_settles_each_at_its_own() -> None:
    balances, orders, trades = book_a()
    prices = micro("4.00", "5.00", "6.00", "6.00", "6.00")
    got = settled(balances, orders, replace(trades, price=prices))
    # Seller 1 gets 5 × (4.00 − 0.05), buyer 2 pays 5 × 4.55 + 1 × 5.55.
    change = got.posted - balances.posted
    assert (change[8], change[9]) == (19_750_000, -28_300_000)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"sell": ints(1, 4, 4, 2, 2)}, id="a bid that sells"),
        pytest.param({"buy": ints(0, 1, 5, 5, 3)}, id="an ask that buys"),
        pytest.param({"lots": ints(6, 1, 3, 2, 3)}, id="more than the order"),
        pytest.param({"lots": ints(5, 1, 3, 2, 0)}, id="a trade of nothing"),
        pytest.param({"price": 9 * KWH}, id="more than is held"),
        pytest.param({"price": 40_000}, id="less than the seller fee"),
    ],
)
def test_trades_that_the_orders_do_not_cover_are_a_bug(bad: dict[str, object]) -> None:
    balances, orders, trades = book_a()
    with pytest.raises(AssertionError):
        settled(balances, orders, replace(trades, **bad))  # type: ignore[arg-type]


def test_a_user_that_trades_with_itself_is_a_bug() -> None:
    balances, orders, trades = book_a()
    gets = orders.gets.copy()
    gets[0] = orders.gives[1]
    with pytest.raises(AssertionError, match="itself"):
        settled(balances, replace(orders, gets=gets), trades)


def test_a_balance_beyond_63_bits_is_refused_and_nothing_wraps() -> None:
    balances, orders, trades = book_a()
    posted = balances.posted.copy()
    posted[8] = 2**63 - 1
    with pytest.raises(OverflowError):
        settled(replace(balances, posted=posted), orders, trades)


def test_an_epoch_that_moves_more_than_63_bits_is_refused() -> None:
    # Two trades of 10^12 × 10^12 / 10^6 = 10^18 each fit, ten do not.
    for pairs, fits in ((2, True), (10, False)):
        # Accounts: GRID of sellers, cash of buyers, cash of sellers, GRID of buyers, income.
        rows, same = np.arange(2 * pairs), np.ones(2 * pairs, dtype=np.int64)
        posted = np.append(np.repeat(same, 2) * 2 * 10**18, [0, 0])
        grid = np.arange(4 * pairs + 2) // pairs
        balances = Balances(posted, posted // 2, (grid == 0) | (grid == 3), -2, -1)
        orders = Orders(
            order_no=rows + 1,
            side=(rows >= pairs).astype(np.int8),
            gives=rows,
            gets=rows + 2 * pairs,
            cap=same * NO_CAP,
            energy=same * 10**12,
            filled=same * 0,
            held=same * 10**18,
            cap_held=same * 0,
            wheeling_rate=same * 0,
            buyer_fee=same * 0,
            seller_fee=same * 0,
            lives_on=np.zeros(2 * pairs, dtype=np.bool_),
        )
        lots = np.full(pairs, 10**6, dtype=np.int64)
        trades = Trades(rows[:pairs], rows[pairs:], lots, 10**12)
        if fits:
            assert settled(balances, orders, trades).totals.value == 2 * 10**18
        else:
            with pytest.raises(OverflowError):
                settled(balances, orders, trades)


def test_holds_of_many_bids_are_those_of_each() -> None:
    draw = np.random.default_rng(7)
    energy = np.append(draw.integers(0, 10**12, 1_000), [1, 10**12, 999_999])
    rates = [np.append(draw.integers(0, 10**11, 1_000), [1, 10**12 - 7, 1]) for _ in range(2)]
    fee = np.append(draw.integers(0, 10**11, 1_000), [0, 7, 0])
    got = cash_holds(energy, *rates, fee)
    terms = zip(energy.tolist(), *(rate.tolist() for rate in (*rates, fee)), strict=True)
    assert got.tolist() == [cash_hold(e, Rates(p, w, f, 0)) for e, p, w, f in terms]


def test_sums_are_exact_beyond_64_bits() -> None:
    assert exact_sum(ints(*[2**63 - 1] * 5, -3)) == 5 * (2**63 - 1) - 3


def test_steps_that_would_round_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="round"):
        _ = Grid(lot=1_000, tick=100).unit
