"""Two nodes do what is due on one PostgreSQL database, at once; one may die meanwhile.

The clearing is what one node alone makes of it on SQLite, byte for byte.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from adapter.service.ports import Store, UnitOfWork
from adapter.store.audit import audit_database
from adapter.store.postgres import PostgresStore
from tests.fakes.postgres import PostgresServer
from tests.faults.test_killed_in_batch import (
    AGREEMENTS,
    ROOT,
    full_book,
    head,
    many_agreements,
    run_to_the_end,
    written,
)
from tests.unit.settlement.world import Market

LINES = 5
"""After so many lines the first node dies, in the middle of recording deliveries."""
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.lent() as lent:
        yield lent


def write_into(url: str, set_up: Callable[[Market], None]) -> int:
    """Write the same ledger into PostgreSQL and return the time at its end."""

    async def write() -> int:
        store: Store = PostgresStore(url)

        def unit(uow: UnitOfWork) -> int:
            world = Market(uow.ledger)
            set_up(world)
            return world.now

        now = await store.write(unit)
        await store.close()
        return now

    return asyncio.run(write())


def settle_twice(url: str, now_ms: int, *, killed_after: int | None = None) -> None:
    """Let two processes do what is due; kill one after so many lines that it says."""
    command = [sys.executable, "-m", "tests.faults.child_settler", url, str(now_ms)]
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(2)
        )
        assert first.stdout is not None
        assert second.stdout is not None
        if killed_after is not None:
            for _ in range(killed_after):
                first.stdout.readline()
            first.send_signal(signal.SIGKILL)
        said, other = first.stdout.read(), second.stdout.read()
        assert other.split()[-1] == "."
        assert killed_after is not None or said.split()[-1] == "."


def functions_in(url: str) -> list[str]:
    with psycopg.connect(url) as session:
        rows = session.execute("SELECT body FROM ledger_entries ORDER BY seq").fetchall()
    return [str(json.loads(bytes(body))["function"]) for (body,) in rows]


def cleared_in(url: str) -> list[tuple[str, int]]:
    """Return area and epoch of each clearing, in order."""
    with psycopg.connect(url) as session:
        rows = session.execute("SELECT body FROM ledger_entries ORDER BY seq").fetchall()
    events = [event for (body,) in rows for event in json.loads(bytes(body))["events"]]
    return [(e["area"], e["epoch"]) for e in events if e["name"] == "MarketCleared"]


def test_an_epoch_is_cleared_once(url: str, tmp_path: Path) -> None:
    alone = written(tmp_path / "ledger.db", full_book)
    run_to_the_end(alone)
    now_ms = write_into(url, full_book)
    assert now_ms == alone.now_ms
    settle_twice(url, now_ms)
    audit = audit_database(url)
    assert audit.verdict.ok, audit.verdict
    assert len(cleared_in(url)) == 1
    assert head_in(url) == head(alone)


def test_agreements_are_settled_once_although_one_node_dies(url: str) -> None:
    now_ms = write_into(url, many_agreements)
    settle_twice(url, now_ms, killed_after=LINES)
    audit = audit_database(url)
    assert audit.verdict.ok, audit.verdict
    calls = functions_in(url)
    assert calls.count("deliver_energy") == AGREEMENTS
    assert calls.count("settle_payment") == AGREEMENTS


def head_in(url: str) -> str:
    with psycopg.connect(url) as session:
        [found] = session.execute("SELECT hash FROM ledger_entries ORDER BY seq DESC LIMIT 1")
    return str(found[0])
