"""Clearing: arrays and objects against the plain Python reference, and other people's markets.

One generator for all: seed 7, half bids N(600, 150), half asks N(520, 150) in 0.01, quantities of
100 to 9,999 Wh. Every result is compared with the reference before its time counts. Arrays: rows
as int64 columns, in and out. Objects: named tuples in, price, fills and trades as objects out;
what of it is conversion is a case of its own. `memory_mb` is the most that one call holds at a
time, its result included and its arguments not.
"""

import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.domain.quantities import to_decimal
from adapter.settlement import clearing, kernels
from adapter.settlement.clearing import Rule
from adapter.settlement.clearing_orders import Order, clear_orders, columns_of, objects_of
from adapter.settlement.curve_clearing import ClearedCurves, clear_curves
from adapter.settlement.curve_kernel import ClearedPowers, clear_curve_arrays
from bench.harness import Candidate, Figure, compared, interleaved
from bench.peers import PEERS, Peer, PeerAbsentError, running
from bench.settle import matching

MILLISECONDS = 1e3
TICK = 10_000
"""0.01"""
MICRO_KWH_PER_WH = 1_000
REFERENCE = "plain Python reference"
SIZES = (10_000, 100_000, 1_000_000)
STORED = 100_000
"""Orders of the epoch that is cleared, settled and committed."""
LARGE = 10_000_000
"""Only with the variable `BENCH_LARGE`: 4 GB, minutes."""
SLOW_ROUNDS = 3
"""Of the reference at a million orders, which takes seconds."""

CURVES_COMPARED = 2_000
"""Curves that exact fractions clear in seconds."""
WATT = 1_000
"""In 10^-6 kW."""

Columns = tuple[Any, Any, Any]


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    cases: list[dict[str, Any]] = []
    for orders in SIZES:
        cases += _one_book(orders, rounds if orders < SIZES[-1] else min(rounds, SLOW_ROUNDS))
    cases += _many_books(21_000, 47, rounds)
    cases += [_curves(CURVES_COMPARED, rounds), _curves(1_000_000, rounds)]
    cases.append(_stored_epoch(STORED, min(rounds, SLOW_ROUNDS)))
    skipped = []
    for peer in PEERS:
        try:
            cases.append(_against(peer, min(rounds, SLOW_ROUNDS)))
        except PeerAbsentError as absent:
            skipped.append({"name": peer.name, "version": peer.version, "reason": str(absent)})
    if os.environ.get("BENCH_LARGE"):
        cases += _large()
    headline = next(case for case in cases if case["case"] == "1000000 orders, price and fills")
    top = {key: value for key, value in headline.items() if key != "case"}
    return {"name": "clear", "unit": "milliseconds", **top, "cases": cases, "skipped": skipped}


def book(orders: int) -> Columns:
    """Return side, price in 0.01 and quantity in Wh of random orders, bids and asks in turn."""
    draw = np.random.default_rng(7)
    side = (np.arange(orders) % 2).astype(np.int8)
    bids, asks = draw.normal(600, 150, orders), draw.normal(520, 150, orders)
    price = np.where(side == 1, bids, asks).round().clip(1).astype(np.int64)
    return side, price, draw.integers(100, 10_000, orders)


def _one_book(orders: int, rounds: int) -> list[dict[str, Any]]:
    side, hundredths, lots = book(orders)
    price = hundredths * TICK
    columns = [column.tolist() for column in (side, price, lots)]
    objects = as_orders((side, hundredths, lots))

    def reference() -> clearing.Reference:
        return clearing.clear_book_reference(*columns, tick=TICK)

    def fills() -> kernels.Cleared:
        return kernels.clear_book(side, price, lots, tick=TICK, pairs=False)

    def pairs() -> kernels.Cleared:
        return kernels.clear_book(side, price, lots, tick=TICK)

    def of_objects() -> object:
        return clear_orders(objects, tick_micro=TICK)

    cleared = pairs()

    def conversion() -> object:
        return objects_of(columns_of(objects, TICK).ids, cleared, Rule.UNIFORM)

    _compare(reference(), cleared, fills(), of_objects())
    ours = version("p2ptrade")
    quick = max(1, 1_000_000 // orders // 10)
    figures = interleaved(
        [
            Candidate(REFERENCE, ours, reference, 1),
            Candidate("fills", ours, fills, 3 * quick),
            Candidate("pairs", ours, pairs, quick),
            Candidate("objects", ours, of_objects, 1),
            Candidate("conversion", ours, conversion, 1),
        ],
        rounds,
    )
    return [
        {
            "case": f"{orders} orders, {what}",
            **compared(figures[name], figures[REFERENCE], MILLISECONDS),
            "memory_mb": _memory_mb(run),
        }
        for what, name, run in (
            ("price and fills", "fills", fills),
            ("with trade pairs", "pairs", pairs),
            ("objects in and out", "objects", of_objects),
            ("of which conversion from and to objects", "conversion", conversion),
        )
    ]


def _memory_mb(run: Callable[[], object]) -> int:
    """Return what a call holds at most, in 10^6 bytes rounded up."""
    tracemalloc.start()
    try:
        run()
        return -(-tracemalloc.get_traced_memory()[1] // 1_000_000)
    finally:
        tracemalloc.stop()


def as_orders(columns: Columns) -> list[Order]:
    """Return a book as objects."""
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Order(f"o{place}", "buy" if side else "sell", lots * MICRO_KWH_PER_WH, price * TICK)
        for place, (side, price, lots) in enumerate(rows)
    ]


def _compare(
    expected: clearing.Reference, pairs: kernels.Cleared, fills: kernels.Cleared, objects: Any
) -> None:
    """Check that every way gives the same."""
    trades = np.array(expected.trades, dtype=np.int64).reshape(-1, 4).T
    columns = (pairs.trade_sell, pairs.trade_buy, pairs.trade_lots, pairs.trade_price)
    assert all(map(np.array_equal, columns, trades))
    for found in (pairs, fills):
        assert (found.price, found.volume) == (expected.price, expected.volume)
        assert found.fills.tolist() == list(expected.fills)
    assert objects.price_micro == expected.price
    assert objects.fills_micro_kwh == [fill * MICRO_KWH_PER_WH for fill in expected.fills]
    assert [(one.quantity_micro_kwh, one.price_micro) for one in objects.trades] == [
        (trade.lots * MICRO_KWH_PER_WH, trade.price) for trade in expected.trades
    ]


def _many_books(areas: int, orders_each: int, rounds: int) -> list[dict[str, Any]]:
    """Return many small books in one pass beside the same books one by one."""
    area, columns = _areas(areas, orders_each)
    side, price, lots = columns
    starts = range(0, len(side), orders_each)
    lists = [
        tuple(column[start : start + orders_each].tolist() for column in columns)
        for start in starts
    ]

    def reference() -> list[clearing.Reference]:
        return [clearing.clear_book_reference(*rows, tick=TICK) for rows in lists]

    def one_pass() -> kernels.ClearedBooks:
        return kernels.clear_books(area, side, price, lots, tick=TICK)

    expected, found = reference(), one_pass()
    assert found.volume.tolist() == [one.volume for one in expected]
    assert found.price.tolist() == [-1 if one.price is None else one.price for one in expected]
    assert found.fills.tolist() == [fill for one in expected for fill in one.fills]
    assert found.trade_lots.tolist() == [t.lots for one in expected for t in one.trades]
    ours = version("p2ptrade")
    figures = interleaved(
        [Candidate(REFERENCE, ours, reference, 1), Candidate("books", ours, one_pass, 1)],
        min(rounds, SLOW_ROUNDS),
    )
    name = f"{areas} books of {orders_each} orders in one pass, with trade pairs"
    pair = compared(figures["books"], figures[REFERENCE], MILLISECONDS)
    return [{"case": name, **pair, "memory_mb": _memory_mb(one_pass)}]


def _areas(areas: int, orders_each: int) -> tuple[Any, Columns]:
    side, hundredths, lots = book(areas * orders_each)
    return np.repeat(np.arange(areas), orders_each), (side, hundredths * TICK, lots)


def _stored_epoch(orders: int, rounds: int) -> dict[str, Any]:
    """Return an epoch read from SQLite, cleared, settled and committed as one entry."""
    with tempfile.TemporaryDirectory() as folder:
        case = matching(Path(folder), orders, rounds)
    for figure in (case["ours"], case["baseline"]):
        for key in ("min", "median", "max"):  # microseconds per trade, of one trade less
            figure[key] = round(figure[key] * (orders - 1) / MILLISECONDS, 1)
    name = f"{orders} stored orders read, cleared, settled and committed on SQLite"
    return {key: case[key] for key in ("ours", "baseline", "ratio_median")} | {"case": name}


def _curves(curves: int, rounds: int) -> dict[str, Any]:
    """Return offer curves as arrays beside fractions, which clear `CURVES_COMPARED` of them."""
    price, power = offers(curves)
    few = [column[:, :CURVES_COMPARED] for column in (price, power)]
    by_key = {}
    for place, (prices, powers) in enumerate(
        zip(few[0].T.tolist(), few[1].T.tolist(), strict=True)
    ):
        points = map(CurvePoint, map(to_decimal, prices), map(to_decimal, powers))
        ends = to_decimal(powers[0]), to_decimal(powers[-1])
        by_key[f"{place:09d}"] = OfferCurve("EUR", *ends, tuple(points))

    def reference() -> ClearedCurves:
        return clear_curves(by_key)

    def arrays() -> ClearedPowers:
        return clear_curve_arrays(price, power)

    expected, found = reference(), clear_curve_arrays(*map(np.ascontiguousarray, few))
    assert found.price == expected.price
    assert found.power_micro_kw.tolist() == list(expected.power_micro_kw.values())
    assert arrays().power_micro_kw.sum() == 0
    ours = version("p2ptrade")
    name = f"exact fractions, {CURVES_COMPARED} curves"
    figures = interleaved(
        [Candidate(name, ours, reference, 1), Candidate("arrays", ours, arrays, 1)],
        min(rounds, SLOW_ROUNDS),
    )
    case = f"{curves} curves of five points"
    pair = compared(figures["arrays"], figures[name], MILLISECONDS)
    return {"case": case, **pair, "memory_mb": _memory_mb(arrays)}


def offers(curves: int) -> tuple[Any, Any]:
    """Return prices and powers of curves, (points, curves): buyers and sellers in turn."""
    draw = np.random.default_rng(7)
    buys = np.arange(curves) % 2
    price = draw.normal(np.where(buys, 600, 520), 150, (5, curves)).round().clip(1)
    power = draw.integers(0, 10_000, (5, curves)) * WATT
    columns = np.sort(price.astype(np.int64) * TICK, axis=0), np.sort(power, axis=0)
    return columns[0], columns[1] - buys * 10_000 * WATT


def _against(peer: Peer, rounds: int) -> dict[str, Any]:
    """Return ours, from and to objects, beside a peer on the same book.

    Raises:
        PeerAbsentError: it cannot be installed or does not run.
    """
    columns = book(peer.orders)
    objects = as_orders(columns)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    theirs: list[float] = []
    ours: list[float] = []
    with running(peer, [(bool(side), price, lots) for side, price, lots in rows]) as process:
        for turn in range(rounds + 1):
            seconds = process.clear()
            started = time.perf_counter()
            clear_orders(objects, tick_micro=TICK)
            if turn:
                ours.append(time.perf_counter() - started)
                theirs.append(seconds)
    case = f"{peer.orders} orders, objects in and out, against {peer.name}"
    mine = _figure("ours", version("p2ptrade"), ours)
    return {"case": case, **compared(mine, _figure(peer.name, peer.version, theirs), MILLISECONDS)}


def _figure(name: str, number: str, samples: list[float]) -> Figure:
    return Figure(name, number, min(samples), statistics.median(samples), max(samples))


def _large() -> list[dict[str, Any]]:
    """Return ten million orders in one book and in 200,000, per order beside a tenth of them."""
    return [
        _growth("price and fills", lambda size: _book_run(size, pairs=False)),
        _growth("with trade pairs", lambda size: _book_run(size, pairs=True)),
        _growth("books of 50 orders in one pass, with trade pairs", _books_run),
    ]


def _book_run(orders: int, *, pairs: bool) -> Callable[[], object]:
    side, hundredths, lots = book(orders)
    price = hundredths * TICK
    return lambda: kernels.clear_book(side, price, lots, tick=TICK, pairs=pairs)


def _books_run(orders: int) -> Callable[[], object]:
    area, columns = _areas(orders // 50, 50)
    return lambda: kernels.clear_books(area, *columns, tick=TICK)


def _growth(what: str, prepare: Callable[[int], Callable[[], object]]) -> dict[str, Any]:
    """Return a case whose ratio is 0.1 when ten times the orders take ten times as long."""
    tenth, ours = LARGE // 10, version("p2ptrade")
    figures = interleaved(
        [
            Candidate(f"{tenth} orders", ours, prepare(tenth), 3),
            Candidate(f"{LARGE} orders", ours, prepare(LARGE), 1),
        ],
        SLOW_ROUNDS,
    )
    large, small = figures[f"{LARGE} orders"], figures[f"{tenth} orders"]
    return {"case": f"{LARGE} orders, {what}", **compared(large, small, MILLISECONDS)}
