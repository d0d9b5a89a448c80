"""A journal on which somebody laid hands: what is found, and by which entry it is named."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapter.store.audit import audit_sqlite
from tests.faults.test_killed_in_batch import Case, many_agreements, written

AT = 20
"""An entry in the middle: the set-up has 10, and 60 agreements follow."""


def flip(connection: sqlite3.Connection) -> None:
    body = bytearray(connection.execute(BODY, (AT,)).fetchone()[0])
    body[len(body) // 2] ^= 1
    connection.execute("UPDATE ledger_entries SET body = ? WHERE seq = ?", (bytes(body), AT))


def drop(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM ledger_entries WHERE seq = ?", (AT,))


def swap(connection: sqlite3.Connection) -> None:
    """Change the places of two entries, each with its hash."""
    first, second = (
        connection.execute(f"{ENTRY} WHERE seq = ?", (seq,)).fetchone() for seq in (AT, AT + 1)
    )
    connection.execute("UPDATE ledger_entries SET hash = ? WHERE seq = ?", ("0" * 64, AT))
    for seq, row in ((AT + 1, first), (AT, second)):
        connection.execute(f"{PUT} WHERE seq = ?", (*row, seq))


BODY = "SELECT body FROM ledger_entries WHERE seq = ?"
ENTRY = "SELECT time_ms, hash, body FROM ledger_entries"
PUT = "UPDATE ledger_entries SET time_ms = ?, hash = ?, body = ?"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return written(tmp_path_factory.mktemp("journal") / "ledger.db", many_agreements)


@pytest.mark.parametrize("hand", [flip, drop, swap])
def test_the_entry_is_named(
    hand: Callable[[sqlite3.Connection], None], kept: Case, tmp_path: Path
) -> None:
    assert audit_sqlite(kept.path).verdict.ok
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(kept.path)) as good, closing(sqlite3.connect(path)) as copy:
        good.backup(copy)
        hand(copy)
        copy.commit()
    verdict = audit_sqlite(path).verdict
    assert not verdict.ok
    assert verdict.bad_seq == AT, verdict
    assert verdict.why
