"""Checks the ledger in a database against its own journal, also beside the node that writes it."""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapter.settlement import LedgerStore, Verdict, entry_hash, verify
from adapter.store.errors import StoreError
from adapter.store.ledger_memory import MemoryLedger
from adapter.store.migrate import known_migrations, pending
from adapter.store.sqlite_connection import open_reader
from adapter.store.sqlite_unit import SqliteUnit

PAGE = 1_000
"""Entries read at once."""
_APPLIED = "SELECT number, name, checksum FROM migration ORDER BY number"
NODE = b"\x01"
"""Prefix of an inner node. Source: settlement specification, section 5."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What recomputing a journal found."""

    verdict: Verdict
    journal_root: str
    """Merkle root of all entries read, in hex."""


class MerkleRoot:
    """The root over leaves that come one by one; an odd node moves up unchanged."""

    def __init__(self) -> None:
        """Begin with the empty tree."""
        self._peaks: list[tuple[int, bytes]] = []
        """Complete subtrees from left to right, as (height, hash), heights falling."""

    def add(self, leaf: bytes) -> None:
        """Add the hash of a leaf."""
        height = 0
        while self._peaks and self._peaks[-1][0] == height:
            leaf = _joined(self._peaks.pop()[1], leaf)
            height += 1
        self._peaks.append((height, leaf))

    def hex(self) -> str:
        """Return the root of what was added so far."""
        if not self._peaks:
            return hashlib.sha256().hexdigest()
        *left, (_, root) = self._peaks
        for _, peak in reversed(left):
            root = _joined(peak, root)
        return root.hex()


def audit_sqlite(path: Path) -> Audit:
    """Return what recomputing the journal of a database file found; one snapshot is read.

    Raises:
        StoreError: no such file, or not a database of ours.
    """
    if not path.is_file():
        msg = f"there is no database {path}"
        raise StoreError(msg)
    try:
        connection = open_reader(path)
    except sqlite3.Error as error:
        msg = f"the database {path} cannot be opened: {error}"
        raise StoreError(msg) from None
    try:
        connection.control("BEGIN")
        stored = SqliteUnit(connection).ledger
        root = MerkleRoot()
        verdict = verify(_entries(stored, root), MemoryLedger(), stored)
        return Audit(verdict, root.hex())
    except sqlite3.DatabaseError as error:
        msg = f"{path} is not a readable database of a node: {error}"
        raise StoreError(msg) from None
    finally:
        connection.close()


def _entries(ledger: LedgerStore, root: MerkleRoot) -> Iterator[bytes]:
    """Give the canonical bytes of all entries, in order of their number, and add them to `root`."""
    after = -1
    while page := ledger.entries(after, PAGE):
        for entry in page:
            root.add(bytes.fromhex(entry_hash(entry.body)))
            yield entry.body
        after = page[-1].seq


def _joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(NODE + left + right).digest()


def pending_migrations(path: Path) -> int:
    """Return how many migrations a database file still needs.

    Raises:
        StoreError: not a database of ours, or one of a newer program.
    """
    try:
        connection = open_reader(path)
        try:
            applied = connection.control(_APPLIED).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        msg = f"the database {path} cannot be read: {error}"
        raise StoreError(msg) from None
    return len(pending(applied, known_migrations("sqlite")))
