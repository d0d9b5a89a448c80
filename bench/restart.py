"""A node that starts with 100,000 messages to send, until it says that it is ready.

Baseline: the same node with none. The messages are due and their peer does not answer, as after a
failure at night. Each start comes after a kill.
"""

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from adapter.demo.folder import DemoNode, write_folder
from adapter.demo.network import new_ports
from adapter.service.ports import Store, UnitOfWork
from adapter.store.postgres import PostgresStore
from adapter.store.sqlite import SqliteStore
from bench.harness import Candidate, compared, interleaved
from tests.fakes.postgres import running
from tests.store.samples import outbox_row

ROWS = 100_000
PER_UNIT = 2_000
BODY = b"x" * 3_700
READY_S = 60
MILLISECONDS = 1e3
_COLUMNS = "peer, url, kind, action, side, created_ms, next_ms, state, attempts, ready_ms"
_COPIES = f"""
INSERT INTO wire_transaction (transaction_id) SELECT 't' || n FROM generate_series(1, {ROWS - 1}) n;
INSERT INTO outbox ({_COLUMNS}, transaction_id, message_id, transaction_number)
SELECT {_COLUMNS}, wire.transaction_id, wire.transaction_id, number
FROM wire_transaction AS wire, outbox WHERE wire.transaction_id <> outbox.transaction_id;
INSERT INTO outbox_body (id, body)
SELECT outbox.id, first.body FROM outbox, outbox_body AS first WHERE outbox.id <> first.id;
"""
"""The first message again and again: one by one would take minutes."""


def cases(rounds: int) -> list[dict[str, Any]]:
    """Return a case for each store."""
    with ExitStack() as stack:
        server = stack.enter_context(running(durable=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        candidates = []
        for store, rows in itertools.product(("SQLite", "PostgreSQL"), (ROWS, 0)):
            node = write_folder(_new(folder / f"{store}-{rows}"), new_ports()).nodes["bpp"]
            url = server.fresh_url() if store == "PostgreSQL" else f"sqlite:///{node.database}"
            _change(node, url)
            if store == "SQLite":
                asyncio.run(_fill(SqliteStore(node.database), rows))
            elif rows:
                asyncio.run(_fill(PostgresStore(url), 1))
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(_COPIES)
            name = f"{store}, {rows} to send"
            candidates.append(Candidate(name, version("p2ptrade"), _start(node), 1))
        figures = interleaved(candidates, rounds)
    return [
        {
            "case": f"ready with {ROWS} messages to send, {store}",
            **compared(
                figures[f"{store}, {ROWS} to send"], figures[f"{store}, 0 to send"], MILLISECONDS
            ),
        }
        for store in ("SQLite", "PostgreSQL")
    ]


def _new(path: Path) -> Path:
    path.mkdir()
    return path


def _change(node: DemoNode, url: str) -> None:
    """Let a node use a database, and need no other node to start."""
    document = yaml.safe_load(node.config.read_text())
    static = {"kind": "static", "file": "network.yaml"}
    document |= {"database": {"url": url}, "registry": static, "cascade": {}}
    node.config.write_text(yaml.safe_dump(document))


async def _fill(store: Store, rows: int) -> None:
    """Queue messages, each of a transaction of its own."""

    def unit(uow: UnitOfWork, first: int) -> None:
        for number in range(first, min(first + PER_UNIT, rows)):
            uow.enqueue(outbox_row(f"t{number}", message_id=f"m{number}", body=BODY))

    for first in range(0, rows, PER_UNIT):
        await store.write(lambda uow, first=first: unit(uow, first))  # type: ignore[misc]
    await store.close()


def _start(node: DemoNode) -> Callable[[], None]:
    """Return a function that starts a node, waits until it is ready, and kills it."""
    command = [sys.executable, "-m", "adapter", "serve", "--config", str(node.config)]

    def start() -> None:
        end = time.monotonic() + READY_S
        with node.log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while not _is_ready(node):
                assert process.poll() is None, node.log.read_text()
                assert time.monotonic() < end, f"{node.name} is not ready in {READY_S} s"
                time.sleep(0.01)
        finally:
            process.kill()
            process.wait()

    return start


def _is_ready(node: DemoNode) -> bool:
    try:
        return httpx.get(f"{node.base_url}/health/ready", timeout=1, trust_env=False).is_success
    except httpx.HTTPError:
        return False
