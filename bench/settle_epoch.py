"""What the settlement benchmark does on any database: settle an epoch, check it, take turns."""

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapter.settlement import accounts
from adapter.settlement.block_views import find_trade
from adapter.settlement.blocks import Block
from adapter.settlement.canonical import parse_canonical
from adapter.settlement.epoch_settlement import settle_epoch
from adapter.settlement.journal import entry_hash, seal
from adapter.settlement.order_rows import ClearedEpoch, Market, trade_id
from adapter.settlement.state import Account, Changes, LedgerStore, Row, RowChange
from adapter.settlement.units import legs
from bench.harness import Figure
from bench.settle_book import EPOCH, NOON_MS, PRICE, RATES, STEPS, Epoch, accounts_of, order_row
from bench.settle_sql import Trade

OURS, BY_ONE, BY_SET = "ours", "one SQL transaction per trade", "set-based SQL"
LEAF_ROWS = 256
SAMPLE = 100
"""Trades read back by id."""


@dataclass(frozen=True, slots=True)
class Contest:
    """One candidate: what to prepare, untimed, and what to time."""

    name: str
    prepare: Callable[[], Any]
    """Gives a context with what `run` needs."""
    run: Callable[[Any], None]
    check: Callable[[Any], None]
    units: int
    """Trades per run."""


def write_epoch(ledger: LedgerStore, book: Epoch) -> None:
    """Settle the epoch as the third entry, inside the caller's transaction."""
    done = settle_epoch(book.balances, book.orders, book.trades, STEPS)
    blocks = (
        Block("orders", done.orders, LEAF_ROWS),
        Block("trades", done.trades, LEAF_ROWS),
    )
    head = ledger.head()
    assert head is not None
    fields = {"ledger": "host", "seq": head.seq + 1, "time": NOON_MS, "actor": "system"}
    fields |= {"cmd": "clear", "contract": "bench", "function": "settle", "args": {}}
    entry = seal({**fields, "prev": head.hash}, [], [], blocks)
    cleared = ClearedEpoch(
        "main",
        EPOCH,
        entry.seq,
        PRICE,
        done.totals.energy,
        0,
        blocks[0].rows,
        0,
        blocks[1].rows,
    )
    rows = [RowChange(None, cleared), RowChange(None, Market("main", EPOCH + 1))]
    balances = accounts_of(book.names, done.posted, done.held)
    ledger.write(Changes(balances, [], rows, entry, blocks))


def check_epoch(ledger: LedgerStore, book: Epoch) -> list[tuple[int, int]]:
    """Check what was written, inside the caller's transaction; return posted and held."""
    entry = ledger.entry(2)
    assert entry is not None
    assert entry_hash(entry.body) == entry.hash
    for named in parse_canonical(entry.body)["blocks"]:
        block = ledger.block(2, named["name"])
        assert block is not None
        assert (block.root, block.rows) == (named["root"], named["rows"])
    for index in _sample(len(book.trades.lots)):
        trade = find_trade(ledger, trade_id("main", EPOCH, index))
        assert trade is not None
        energy = int(book.trades.lots[index]) * STEPS.lot
        assert (trade.energy, trade.legs) == (energy, legs(energy, RATES))
        assert trade.buy.order_no == int(book.trades.buy[index]) + 1
    found = {account.id: (account.posted, account.held) for account in ledger.accounts()}
    balances = [found[name] for name in book.names]
    at_first = book.balances.posted.tolist()
    changes = [now[0] - then for now, then in zip(balances, at_first, strict=True)]
    assets = [accounts.asset_of(name) for name in book.names]
    for asset in ("GRID", "INR"):
        moved = [change for change, mine in zip(changes, assets, strict=True) if mine == asset]
        assert sum(moved) == 0, asset
    assert not any(held for _, held in balances)
    return balances


def _sample(trades: int) -> list[int]:
    return [int(row) for row in np.linspace(0, trades - 1, SAMPLE, dtype=np.int64)]


def trades_of(book: Epoch) -> list[Trade]:
    """Return the trades as rows of SQL."""
    columns = (book.trades.buy.tolist(), book.trades.sell.tolist(), book.trades.lots.tolist())
    return list(zip(range(len(columns[0])), *columns, strict=True))


def before(book: Epoch) -> tuple[list[Account], list[Row]]:
    """Return balances, and orders of the trades to read back."""
    wanted = {row for i in _sample(len(book.trades.lots)) for row in _sides(book, i)}
    rows: list[Row] = [order_row(book, row) for row in sorted(wanted)]
    return accounts_of(book.names, book.balances.posted, book.balances.held), rows


def _sides(book: Epoch, index: int) -> tuple[int, int]:
    return int(book.trades.sell[index]), int(book.trades.buy[index])


def interleaved(
    contests: list[Contest], rounds: int, versions: Mapping[str, str]
) -> dict[str, Figure]:
    """Return seconds per trade; each run begins from the same state, one round warms up."""
    samples: dict[str, list[float]] = {contest.name: [] for contest in contests}
    for turn in range(rounds + 1):
        for contest in contests:
            with contest.prepare() as subject:
                gc.collect()
                os.sync()  # so that nobody waits for what was prepared
                begin = time.perf_counter()
                contest.run(subject)
                seconds = time.perf_counter() - begin
                contest.check(subject)
            if turn:
                samples[contest.name].append(seconds / contest.units)
    return {
        name: Figure(name, versions.get(name, ""), min(times), statistics.median(times), max(times))
        for name, times in samples.items()
    }
