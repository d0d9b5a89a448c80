"""A database that has seen a million trades: what a new one costs there."""

import sqlite3
from pathlib import Path

from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite_connection import open_writer

TRADES = 1_000_000
DOCUMENT, BODY = 600, 100
"""Bytes of a stored trade and of a stored message. Trees get no deeper by longer ones, which lie on
pages of their own."""

_NUMBERS = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :trades)
"""
_FILL = (
    f"INSERT INTO wire_transaction (transaction_id) {_NUMBERS} "
    "SELECT lower(hex(randomblob(16))) FROM numbers",
    """
INSERT INTO trade (transaction_number, side, transaction_id, peer, state, contract_id, due_ms,
                   version, document)
SELECT number, 'bpp', transaction_id, 'bap.buyer.example', 'COMPLETED',
       'contract-' || transaction_id, NULL, 5, printf('%.*c', :document, 'x')
FROM wire_transaction""",
    """
INSERT INTO bound_contract (contract_id, transaction_id)
SELECT 'contract-' || transaction_id, transaction_id FROM wire_transaction""",
    """
INSERT INTO contract_history (key, summary)
SELECT 'bpp|' || transaction_id || '|contract-' || transaction_id, zeroblob(:body)
FROM wire_transaction""",
    """
INSERT INTO inbox (sender, message_id, action, variant, digest, transaction_id, received_us,
                   authorization, http_status, reply, code, body, transaction_number)
SELECT 'bap.buyer.example', lower(hex(randomblob(16))), 'confirm', '', hex(randomblob(43)),
       transaction_id, 1000000 * number, '', 200, zeroblob(80), NULL, zeroblob(:body), number
FROM wire_transaction""",
    """
INSERT INTO outbox (peer, url, kind, action, side, transaction_id, message_id, created_ms, next_ms,
                    state, attempts, transaction_number)
SELECT 'bap.buyer.example', 'http://127.0.0.1:9', 'callback', 'on_confirm', 'bpp', transaction_id,
       lower(hex(randomblob(16))), number, number, 'SENT', 1, number
FROM wire_transaction""",
    "INSERT INTO outbox_body (id, body) SELECT id, zeroblob(:body) FROM outbox",
)


def fill(path: Path, trades: int = TRADES) -> None:
    """Make a node's database in which so many trades are over.

    Each has its number, contract, history, one message in and one out. No commit waits for a disk.
    """
    open_writer(path).close()
    connection = open_writer(path)
    migrate_sqlite(connection)
    connection.close()
    plain = sqlite3.connect(path, isolation_level=None)
    plain.execute("PRAGMA synchronous = OFF")
    plain.execute("PRAGMA journal_mode = OFF")
    plain.execute("PRAGMA cache_size = -524288")
    plain.execute("BEGIN")
    for statement in _FILL:
        plain.execute(statement, {"trades": trades, "document": DOCUMENT, "body": BODY})
    plain.execute("COMMIT")
    plain.execute("PRAGMA journal_mode = WAL")
    plain.close()
