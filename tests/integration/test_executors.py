"""Many books cleared here, by a pool of processes and by a Dask cluster of two workers."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.settlement.clearing import Rule
from adapter.settlement.kernel_books import ClearedBooks, Options, clear_books
from adapter.settlement.sharding import Spread
from adapter.transport.clearing_pool import ClearingPool
from adapter.transport.executors import Inline, dask_cluster, process_pool
from tests.fakes.due_books import cleared_journal, due_books

TICK = 10_000
FIELDS = (
    "price",
    "volume",
    "fills",
    "trade_area",
    "trade_sell",
    "trade_buy",
    "trade_lots",
    "trade_price",
)


@pytest.fixture(scope="module", params=["inline", "processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Return each kind of executor, with two workers where it has workers."""
    if request.param == "inline":
        yield Inline()
    elif request.param == "processes":
        with process_pool(2) as pool:
            yield pool
    else:
        from distributed import LocalCluster

        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # of each test worker its own
            ) as cluster,
            dask_cluster(cluster.scheduler_address) as client,
        ):
            yield client


def books(seed: int, areas: int, rows: int) -> tuple[Any, ...]:
    """Return rows of many books in the order of entry."""
    random = np.random.default_rng(seed)
    area = random.integers(0, areas, rows)
    side = random.integers(0, 2, rows).astype(np.int8)
    price = random.integers(1, 40, rows) * TICK
    lots = random.integers(0, 20, rows)
    return area, side, price, lots


def assert_same(one: ClearedBooks, other: ClearedBooks) -> None:
    for name in FIELDS:
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_an_executor_gives_what_one_pass_gives(executor: Executor, shards: int, rule: Rule) -> None:
    area, side, price, lots = books(7, areas=60, rows=3_000)
    caps = np.full(3_000, 12)
    limits = np.arange(64) * 3
    options = Options(rule=rule, caps=caps, limits=limits)
    whole = clear_books(area, side, price, lots, tick=TICK, options=options)
    assert whole.volume.sum() > 0
    spread = Spread(executor, shards)
    split = spread.clear_books(area, side, price, lots, tick=TICK, options=options)
    assert_same(whole, split)


@given(
    seed=st.integers(0, 2**32),
    areas=st.integers(1, 9),
    rows=st.integers(0, 60),
    shards=st.integers(1, 12),
)
@settings(max_examples=300)
def test_no_split_changes_anything(seed: int, areas: int, rows: int, shards: int) -> None:
    area, side, price, lots = books(seed, areas, rows)
    whole = clear_books(area, side, price, lots, tick=TICK)
    split = Spread(Inline(), shards).clear_books(area, side, price, lots, tick=TICK)
    assert_same(whole, split)


def test_what_is_no_book_is_refused_as_in_one_pass() -> None:
    area, side, price, lots = books(1, 3, 20)
    with pytest.raises(ValueError, match="0 shards"):
        Spread(Inline(), 0)
    with pytest.raises(ValueError, match="area"):
        Spread(Inline(), 2).clear_books(area - 1, side, price, lots, tick=TICK)
    with pytest.raises(ValueError, match="lots"):
        Spread(Inline(), 2).clear_books(area, side, price, -lots - 1, tick=TICK)


def test_every_executor_leaves_the_same_journal(executor: Executor) -> None:
    used = ClearingPool(lambda: nullcontext(executor), shards=2, from_orders=1)
    assert cleared_journal(due_books(), used) == cleared_journal(due_books(), None)


def test_few_orders_open_no_executor() -> None:
    rows = books(7, areas=3, rows=99)
    opened: list[int] = []

    def open_executor() -> nullcontext[Executor]:
        opened.append(1)
        return nullcontext(Inline())

    pool = ClearingPool(open_executor, shards=2, from_orders=100)
    assert_same(pool(*rows, tick=TICK), clear_books(*rows, tick=TICK))
    assert not opened
    rows = books(7, areas=3, rows=100)
    assert_same(pool(*rows, tick=TICK), clear_books(*rows, tick=TICK))
    assert opened
