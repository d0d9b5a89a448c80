"""The unit of work of `bench.store` as one would write it first, on PostgreSQL.

A pool of connections, one of them per request; each statement a call of its own; a commit per
request. Three tables with a primary key each, so with fewer indexes than a node keeps.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import psycopg

POOL = 8
"""Connections; more were slower on two cores."""
_TABLES = """
CREATE TABLE inbox (sender TEXT, message_id TEXT, action TEXT, reply BYTEA, body BYTEA,
                    PRIMARY KEY (sender, message_id, action));
CREATE TABLE trade (transaction_id TEXT PRIMARY KEY, state TEXT, document TEXT);
CREATE TABLE outbox (id BIGSERIAL PRIMARY KEY, peer TEXT, url TEXT, transaction_id TEXT,
                     message_id TEXT, state TEXT, next_ms BIGINT, body BYTEA);
"""
_SEEN = "SELECT reply FROM inbox WHERE sender = %s AND message_id = %s AND action = %s"
_TRADE = "SELECT document FROM trade WHERE transaction_id = %s FOR UPDATE"
_SAVE = """
INSERT INTO trade VALUES (%s, %s, %s)
ON CONFLICT (transaction_id) DO UPDATE SET state = excluded.state, document = excluded.document
"""
_QUEUE = """
INSERT INTO outbox (peer, url, transaction_id, message_id, state, next_ms, body)
VALUES (%s, %s, %s, %s, 'DUE', %s, %s)
"""
_KEEP = "INSERT INTO inbox VALUES (%s, %s, %s, %s, %s)"


class NaiveStore:
    """A pool and its threads."""

    def __init__(self, url: str) -> None:
        """Make the tables and open the connections."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_TABLES)
        self._free: SimpleQueue[psycopg.Connection[Any]] = SimpleQueue()
        for _ in range(POOL):
            self._free.put(psycopg.connect(url))
        self.threads = ThreadPoolExecutor(POOL)

    def close(self) -> None:
        """End the threads and close the connections."""
        self.threads.shutdown()
        for _ in range(POOL):
            self._free.get().close()

    def unit(self, number: int, body: bytes, document: str) -> Callable[[], None]:
        """Return what takes one message."""
        message_id, transaction_id = f"m{number}", f"t{number}"

        def take() -> None:
            connection = self._free.get()
            with connection.transaction():
                seen = connection.execute(_SEEN, ("bap", message_id, "init")).fetchone()
                assert seen is None
                connection.execute(_TRADE, (transaction_id,)).fetchone()
                connection.execute(_SAVE, (transaction_id, "INIT_PENDING", document))
                queued = ("bap", "http://bap/on_init", transaction_id, message_id, number, body)
                connection.execute(_QUEUE, queued)
                connection.execute(_KEEP, ("bap", message_id, "init", b"{}", body))
            self._free.put(connection)

        return take
