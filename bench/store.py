"""The typical unit of work on PostgreSQL and on SQLite, both durable, by how many wait at once.

A unit is what a message does to the store: look for it, read and write its trade, queue an answer,
keep the message with its reply; bodies of 3.7 kB. The server is one of its own on this machine.
"""

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from sqlite3 import sqlite_version
from typing import Any

from adapter.domain.parties import Side
from adapter.service.ports import Store, UnitOfWork
from adapter.store.postgres import PostgresStore
from adapter.store.sqlite import SqliteStore
from bench.harness import Candidate, compared, interleaved
from tests.fakes.postgres import running
from tests.store.samples import BAP, inbox_row, outbox_row, trade

UNITS = 256
"""Per round."""
WAITING = (1, 8, 64)
MICROSECONDS_PER_UNIT = 1e6 / UNITS
BODY = b"x" * 3_700


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    with (
        running(durable=True) as server,
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner() as runner,
    ):
        stores: dict[str, Store] = {
            "PostgreSQL": PostgresStore(server.url()),
            "SQLite": SqliteStore(Path(folder) / "node.db"),
        }
        versions = {"PostgreSQL": version("psycopg"), "SQLite": sqlite_version}
        numbers = itertools.count()
        candidates = [
            Candidate(
                f"{name} {waiting}", versions[name], _round(runner, store, waiting, numbers), 1
            )
            for waiting in WAITING
            for name, store in stores.items()
        ]
        figures = interleaved(candidates, rounds)
        for store in stores.values():
            runner.run(store.close())
    cases = []
    for waiting in WAITING:
        baseline = replace(figures[f"SQLite {waiting}"], name="SQLite")
        case = compared(figures[f"PostgreSQL {waiting}"], baseline, MICROSECONDS_PER_UNIT)
        cases.append({"case": f"PostgreSQL, {waiting} waiting", **case})
    headline = {key: value for key, value in cases[-1].items() if key != "case"}
    return {"name": "store", "unit": "microseconds per unit", **headline, "cases": cases}


def _round(
    runner: asyncio.Runner, store: Store, waiting: int, numbers: "itertools.count[int]"
) -> Callable[[], object]:
    """Return a function that runs UNITS units, `waiting` at a time."""

    async def stream() -> None:
        for _ in range(UNITS // waiting):
            number = next(numbers)
            await store.write(lambda uow, number=number: unit(uow, number))  # type: ignore[misc]

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
