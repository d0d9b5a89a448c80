"""Checks the ledger in a database against its own journal, also beside the node that writes it."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapter.service.ports import UnitOfWork
from adapter.settlement import (
    Entry,
    LedgerStore,
    SignedRoot,
    Verdict,
    canonical_bytes,
    entry_hash,
    prove,
    verify,
)
from adapter.store.audit_roots import has_roots, kept_roots
from adapter.store.errors import NEEDS_EXTRA, StoreError
from adapter.store.ledger_memory import MemoryLedger
from adapter.store.migrate import known_migrations, pending
from adapter.store.sql import SqlConnection
from adapter.store.sqlite_connection import Connection, open_reader
from adapter.store.sqlite_unit import SqliteUnit

Database = Path | str
"""A SQLite file, or the URL of a PostgreSQL database."""

PAGE = 1_000
"""Entries read at once."""
_APPLIED = "SELECT number, name, checksum FROM migration ORDER BY number"
_ROOT_COUNT = "SELECT count(*) FROM root_statement"
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


def audit_sqlite(path: Path, others: Sequence[SignedRoot] = ()) -> Audit:
    """Return what recomputing the journal of a database file found; as `audit_database`."""
    return audit_database(path, others)


def audit_database(database: Database, others: Sequence[SignedRoot] = ()) -> Audit:
    """Return what recomputing the journal of a database found; one snapshot is read.

    Args:
        database: its node may run.
        others: statements that were kept elsewhere, which show what was cut off.

    Raises:
        StoreError: no such database, or not one of ours.
    """
    with _opened(database) as (connection, unit):
        stored = unit.ledger
        root = MerkleRoot()
        kept = kept_roots(connection, stored)
        verdict = verify(
            _entries(stored, root), MemoryLedger(), stored, [*kept, *others], all_signed=True
        )
        return Audit(verdict, root.hex())


def audit_lines(lines: Iterable[bytes], roots: Sequence[SignedRoot]) -> Audit:
    """Return what recomputing a journal of canonical lines found, with statements over it."""
    root = MerkleRoot()

    def bodies() -> Iterator[bytes]:
        for body in lines:
            root.add(bytes.fromhex(entry_hash(body)))
            yield body

    verdict = verify(bodies(), MemoryLedger(), roots=roots)
    return Audit(verdict, root.hex())


def prove_in(database: Database, trade: str) -> bytes:
    """Return the canonical bytes of the proof of a trade in a database.

    Raises:
        StoreError: no such database, or not one of ours.
        ProofError: no such trade, or not anchored yet.
    """
    with _opened(database) as (_, unit):
        return canonical_bytes(
            prove(unit.ledger, trade, lambda statement: unit.root(statement.hash))
        )


@contextmanager
def _opened(database: Database) -> Iterator[tuple[SqlConnection, UnitOfWork]]:
    """Give a connection that reads one state of a database, and queries on it."""
    if isinstance(database, Path):
        with snapshot(database) as connection:
            yield connection, SqliteUnit(connection)
        return
    try:
        from adapter.store.postgres_audit import snapshot_postgres
    except ImportError:
        raise StoreError(NEEDS_EXTRA) from None
    with snapshot_postgres(database) as opened:
        yield opened


@contextmanager
def snapshot(path: Path) -> Iterator[Connection]:
    """Give a connection that reads one state of a database file.

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
        yield connection
    except sqlite3.DatabaseError as error:
        msg = f"{path} is not a readable database of a node: {error}"
        raise StoreError(msg) from None
    finally:
        connection.close()


def _entries(ledger: LedgerStore, root: MerkleRoot) -> Iterator[Entry]:
    """Give all entries, in order of their number, and add them to `root`."""
    after = -1
    while page := ledger.entries(after, PAGE):
        for entry in page:
            root.add(bytes.fromhex(entry_hash(entry.body)))
            yield entry
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


def root_statements(database: Database) -> tuple[int, Sequence[SignedRoot]]:
    """Return how many root statements a database keeps, and those that contradict others.

    Raises:
        StoreError: not a database of ours.
    """
    with _opened(database) as (connection, unit):
        if not has_roots(connection):
            return 0, ()
        count = connection.execute(_ROOT_COUNT).fetchone()[0]
        return int(count), unit.contradicting_roots(1)
