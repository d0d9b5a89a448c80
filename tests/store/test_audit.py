"""A ledger checked from outside: its Merkle root, and files that are none."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from adapter.store.audit import MerkleRoot, audit_sqlite, pending_migrations
from adapter.store.errors import StoreError
from adapter.store.sqlite import SqliteStore


def joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def reference(leaves: list[bytes]) -> bytes:
    """Return the root as RFC 6962 defines it: split at the largest power of two below the size."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return joined(reference(leaves[:split]), reference(leaves[split:]))


def test_the_root_is_that_of_the_definition_for_every_size() -> None:
    leaves = [hashlib.sha256(bytes([0, number])).digest() for number in range(70)]
    tree = MerkleRoot()
    assert tree.hex() == reference([]).hex()
    for count, leaf in enumerate(leaves, 1):
        tree.add(leaf)
        assert tree.hex() == reference(leaves[:count]).hex()


def test_an_odd_leaf_moves_up_unchanged() -> None:
    a, b, c = (bytes([number]) * 32 for number in (1, 2, 3))
    tree = MerkleRoot()
    for leaf in (a, b, c):
        tree.add(leaf)
    assert tree.hex() == joined(joined(a, b), c).hex()


async def test_an_empty_ledger_verifies(tmp_path: Path) -> None:
    await SqliteStore(tmp_path / "node.db").close()
    audit = audit_sqlite(tmp_path / "node.db")
    assert (audit.verdict.ok, audit.verdict.entries) == (True, 0)
    assert pending_migrations(tmp_path / "node.db") == 0


@pytest.mark.parametrize("content", [b"", b"text, not a database at all" * 100])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(content)
    with pytest.raises(StoreError):
        audit_sqlite(file)
    with pytest.raises(StoreError):
        pending_migrations(file)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError):
        audit_sqlite(tmp_path / "other.db")


def test_a_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        audit_sqlite(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
