"""Brings a database to the schema of this code.

Migrations are the numbered files `migrations/NNNN_<what>.<dialect>.sql`, without gaps from 1.
Each is applied in one transaction and recorded with its checksum. A published file never changes.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from adapter.store.errors import StoreError
from adapter.store.sqlite_connection import Connection

_NAME = re.compile(r"(\d{4})_\w+\.(\w+)\.sql")

_RECORDS = """
CREATE TABLE IF NOT EXISTS migration (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    name TEXT NOT NULL,
    checksum TEXT NOT NULL
) STRICT
"""
_HAS_RECORDS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'migration')"
_TABLES = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
_APPLIED = "SELECT number, name, checksum FROM migration ORDER BY number"
_RECORD = "INSERT INTO migration (number, name, checksum) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered change of the schema."""

    number: int
    name: str
    """File name."""
    script: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the script in hexadecimal."""
        return hashlib.sha256(self.script.encode()).hexdigest()


def known_migrations(dialect: str) -> tuple[Migration, ...]:
    """Return the migrations of a dialect, `sqlite` or `postgres`, in order."""
    found = []
    for file in (files("adapter.store") / "migrations").iterdir():
        match = _NAME.fullmatch(file.name)
        if match is not None and match[2] == dialect:
            found.append(Migration(int(match[1]), file.name, file.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    assert [migration.number for migration in found] == list(range(1, len(found) + 1)), found
    return tuple(found)


def pending(
    applied: Sequence[tuple[int, str, str]], known: Sequence[Migration]
) -> Sequence[Migration]:
    """Return the migrations that a database still needs.

    Args:
        applied: number, name and checksum of those it has, by number.
        known: those of this code.

    Raises:
        StoreError: the database has a migration that this code has not, or another one.
    """
    if len(applied) > len(known):
        msg = (
            f"the database has migration {applied[-1][1]}, this program knows only "
            f"{len(known)}: use the newer program, or a backup from before the upgrade"
        )
        raise StoreError(msg)
    for (number, name, checksum), ours in zip(applied, known, strict=False):
        if (number, checksum) != (ours.number, ours.checksum):
            msg = (
                f"the database has migration {name} with checksum {checksum[:12]}, this program "
                f"has {ours.name} with {ours.checksum[:12]}: they must be the same"
            )
            raise StoreError(msg)
    return known[len(applied) :]


def migrate_sqlite(connection: Connection, known: Sequence[Migration] | None = None) -> None:
    """Apply what a database still needs; `connection` has no open transaction and no rival.

    Raises:
        StoreError: not a database of ours, or one of a newer program.
    """
    if known is None:
        known = known_migrations("sqlite")
    if not connection.control(_HAS_RECORDS).fetchone()[0]:
        if connection.control(_TABLES).fetchone()[0]:
            msg = "the database holds tables of another program, expected a new or own database"
            raise StoreError(msg)
        connection.control(_RECORDS)
    for migration in pending(connection.control(_APPLIED).fetchall(), known):
        _apply(connection, migration)


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{migration.script}")
        record = (migration.number, migration.name, migration.checksum)
        connection.execute(_RECORD, record)
        connection.control("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.control("ROLLBACK")
        raise
