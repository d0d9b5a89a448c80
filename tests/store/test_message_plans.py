"""No statement that a message runs reads a whole table, at any of the three nodes of a trade.

What the ledger reads whole once an epoch, to anchor it, is no part of a message.
"""

import contextlib
from pathlib import Path

import pytest

from adapter.bootstrap import Node
from adapter.store.migrate import migrate_sqlite
from adapter.store.sqlite import SqliteStore
from adapter.store.sqlite_connection import open_writer
from tests.fakes.network import offer, open_network, plan

BY_DESIGN = {
    "SCAN offer USING INDEX offer_listed",  # discover lists the open offers
    "SCAN line",  # one step in an index for each peer with messages that wait
    "SCAN ledger_entries",  # the last entry, by its number
}
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def watched(node: Node, seen: set[str]) -> None:
    """Add each statement that a node's writer runs, its values in place."""
    store = node.parts.store
    assert isinstance(store, SqliteStore)
    store._writer._connection.set_trace_callback(seen.add)


async def statements_of_a_trade(folder: Path) -> set[str]:
    """Return what the twelve messages from discover to on_confirm make three databases do."""
    seen: set[str] = set()
    network = await open_network(folder)
    for node in network.nodes:
        watched(node, seen)
    await network.bpp.catalogue.publish(offer())
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    await network.close()
    return {one for one in seen if one.lstrip().startswith(VERBS)}


async def test_no_statement_of_a_trade_reads_a_whole_table(tmp_path: Path) -> None:
    statements = await statements_of_a_trade(tmp_path)
    assert len(statements) > 100
    scans: dict[str, str] = {}
    with contextlib.closing(open_writer(None)) as connection:
        migrate_sqlite(connection)
        connection.control("BEGIN")
        for sql in statements:
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"):
                if row[3].startswith("SCAN") and row[3] not in BY_DESIGN:
                    scans[row[3]] = " ".join(sql.split())[:200]
    assert scans == {}


@pytest.mark.parametrize("index", ["trade_contract", "inbox_transaction", "outbox_message"])
def test_a_lost_index_would_be_seen(index: str) -> None:
    queries = {
        "trade_contract": "SELECT 1 FROM trade WHERE contract_id = 'c' AND peer = 'p'",
        "inbox_transaction": "SELECT 1 FROM inbox WHERE transaction_number = 1",
        "outbox_message": "SELECT 1 FROM outbox WHERE message_id = 'm'",
    }
    with contextlib.closing(open_writer(None)) as connection:
        migrate_sqlite(connection)
        connection.control(f"DROP INDEX {index}")
        connection.control("BEGIN")
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {queries[index]}")]
    assert any(step.startswith("SCAN") for step in steps)
