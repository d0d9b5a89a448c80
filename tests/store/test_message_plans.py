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


def watched(node: Node, seen: list[str]) -> None:
    """Add each statement that a node's writer runs, its values in place."""
    store = node.parts.store
    assert isinstance(store, SqliteStore)
    store._writer._connection.set_trace_callback(seen.append)


async def statements_of_a_trade(folder: Path) -> dict[str, list[str]]:
    """Return what the twelve messages from discover to on_confirm make three databases do."""
    network = await open_network(folder)
    await network.bpp.catalogue.publish(offer())
    seen: dict[str, list[str]] = {"bap": [], "bpp": [], "grid": []}
    for node, statements in zip(network.nodes, seen.values(), strict=True):
        watched(node, statements)
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    await network.close()
    return seen


async def test_no_statement_of_a_trade_reads_a_whole_table(tmp_path: Path) -> None:
    seen = await statements_of_a_trade(tmp_path)
    statements = {one for all_ in seen.values() for one in all_ if one.lstrip().startswith(VERBS)}
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


async def test_a_row_is_read_once_and_written_once_for_each_message(tmp_path: Path) -> None:
    """At the seller's platform, by hand: discover, select, init, on_init, confirm, on_confirm.

    All read the trade, and all but discover change it: once it gets a leg, by which it is looked
    for. Two answers are found by that leg. From init on each touches two histories, that of the
    trade and that of the leg. What a new trade or leg has said is not looked for, and a confirm
    says nothing new. The select also asks whose the contract is, and init alone takes stock.
    Nothing asks for the header of a request, to which no answer is bound.
    """
    seen = (await statements_of_a_trade(tmp_path))["bpp"]

    def count(text: str) -> int:
        return sum(text in " ".join(one.split()) for one in seen)

    assert count("LEFT JOIN trade ON") + count("FROM trade WHERE leg_number") == 6 + 2
    assert count("INSERT INTO trade") == 1
    assert count("UPDATE trade") == 4 + 1
    assert count("FROM inbox") == 6 + 2  # two answers are bound to requests that came before
    assert count("FROM contract_history") == 4 * 2 - 1
    assert count("INSERT INTO contract_history") == 1 + 3 * 2
    assert count("FROM bound_contract") == 1
    assert count("INSERT INTO offer") == 1


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
