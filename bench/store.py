"""The typical unit of work on PostgreSQL and on SQLite, all durable, by how many wait at once.

A unit is what a message does to the store: look for it, read and write its trade, queue an answer,
keep the message with its reply; bodies of 3.7 kB. The server is one of its own on this machine.
Baselines of PostgreSQL: the unit as one would write it first (`store_naive`), and SQLite.
"""

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from random import Random
from sqlite3 import sqlite_version
from typing import Any

from adapter.domain.parties import Side
from adapter.service.ports import Store, UnitOfWork
from adapter.store.postgres import PostgresStore
from adapter.store.rows import trade_document
from adapter.store.sqlite import SqliteStore
from bench.harness import Candidate, compared, interleaved
from bench.store_naive import NaiveStore
from tests.fakes.postgres import running
from tests.store.samples import BAP, inbox_row, outbox_row, trade

UNITS = 512
"""Per round."""
WAITING = (1, 8, 64)
MICROSECONDS_PER_UNIT = 1e6 / UNITS
BODY = Random(1).randbytes(1_800) + b"x" * 1_900
"""As hard to compress as a message of that size."""
NAIVE = "naive psycopg"
Work = Callable[[int], Awaitable[None]]
"""Takes the message of a number."""


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    with (
        running(durable=True) as server,
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner() as runner,
    ):
        naive = NaiveStore(server.fresh_url())
        stores: dict[str, Store] = {
            "PostgreSQL": PostgresStore(server.url()),
            "SQLite": SqliteStore(Path(folder) / "node.db"),
        }
        versions = {"PostgreSQL": version("psycopg"), "SQLite": sqlite_version}
        versions[NAIVE] = version("psycopg")
        works = {name: _on(store) for name, store in stores.items()} | {NAIVE: _naively(naive)}
        numbers = itertools.count()
        candidates = [
            Candidate(
                f"{name} {waiting}", versions[name], _round(runner, work, waiting, numbers), 1
            )
            for waiting in WAITING
            for name, work in works.items()
        ]
        figures = interleaved(candidates, rounds)
        for store in stores.values():
            runner.run(store.close())
        naive.close()
    cases = []
    for waiting in WAITING:
        for name in (NAIVE, "SQLite"):
            baseline = replace(figures[f"{name} {waiting}"], name=name)
            case = compared(figures[f"PostgreSQL {waiting}"], baseline, MICROSECONDS_PER_UNIT)
            cases.append({"case": f"PostgreSQL, {waiting} waiting, to {name}", **case})
    headline = {key: value for key, value in cases[-2].items() if key != "case"}
    return {"name": "store", "unit": "microseconds per unit", **headline, "cases": cases}


def _on(store: Store) -> Work:
    async def work(number: int) -> None:
        await store.write(lambda uow: unit(uow, number))

    return work


def _naively(naive: NaiveStore) -> Work:
    document = trade_document(trade("t"))

    async def work(number: int) -> None:
        take = naive.unit(number, BODY, document)
        await asyncio.get_running_loop().run_in_executor(naive.threads, take)

    return work


def _round(
    runner: asyncio.Runner, work: Work, waiting: int, numbers: "itertools.count[int]"
) -> Callable[[], object]:
    """Return a function that runs UNITS units, `waiting` at a time."""

    async def stream() -> None:
        for _ in range(UNITS // waiting):
            await work(next(numbers))

    async def streams() -> None:
        await asyncio.gather(*(stream() for _ in range(waiting)))

    return lambda: runner.run(streams())


def unit(uow: UnitOfWork, number: int) -> None:
    """Take one message."""
    message_id, transaction_id = f"m{number}", f"t{number}"
    assert uow.inbox_row(BAP, message_id, "init", "") is None
    uow.save_trade(uow.trade(Side.BPP, transaction_id) or trade(transaction_id))
    uow.enqueue(outbox_row(transaction_id, body=BODY))
    uow.add_inbox_row(inbox_row(message_id, transaction_id=transaction_id, body=BODY))
