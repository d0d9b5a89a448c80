"""What a node stores, to be compared before and after a message."""

import sqlite3
from contextlib import closing

from tests.fakes.network import Network

TABLES = ("trade", "offer", "outbox", "asked", "bound_contract", "contract_history")
LEDGER = ("ledger_accounts", "ledger_holds", "ledger_entries")
Dump = dict[str, list[tuple[object, ...]]]


def dump(network: Network, *tables: str) -> dict[str, Dump]:
    """Return the rows of all nodes' tables, by file name; all tables unless some are named."""
    return {
        file.stem: _rows(str(file.with_suffix(".db")), tables or (*TABLES, *LEDGER))
        for file in network.files.values()
    }


def stored_messages(network: Network, name: str) -> int:
    """Return how many messages a node has taken in."""
    return len(_rows(str(network.files[name].with_suffix(".db")), ("inbox",))["inbox"])


def _rows(path: str, tables: tuple[str, ...]) -> Dump:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
