"""Root statements as an auditor reads them: from a database that may lie, and from files."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from adapter.domain.errors import WireError
from adapter.protocol import strict_json
from adapter.settlement import (
    CanonicalError,
    Countersignature,
    Genesis,
    LedgerStore,
    SignedRoot,
    UnreadableRoot,
    parse_statement,
    signed_root_of,
)
from adapter.store.errors import StoreError
from adapter.store.sql import SqlConnection

_HAS_ROOTS = "SELECT EXISTS (SELECT 1 FROM migration WHERE number = 4)"
_HAS_ROOTS_POSTGRES = "SELECT to_regclass('root_statement') IS NOT NULL"
_ROOTS = """
SELECT hash, ledger, last_epoch, body, signature, contradicts FROM root_statement
ORDER BY last_epoch, hash"""
_OTHERS = """
SELECT subscriber, key_id, public_key, signature FROM root_countersignature
WHERE statement = ? ORDER BY key_id"""
_STRAY = """
SELECT count(*) FROM root_countersignature
WHERE NOT EXISTS (SELECT 1 FROM root_statement WHERE hash = statement)"""


def kept_roots(
    connection: SqlConnection, ledger: LedgerStore
) -> Sequence[SignedRoot | UnreadableRoot]:
    """Return the statements in a database that is the host's; none in one that only follows.

    The columns beside a statement's bytes are compared with them.
    """
    genesis = ledger.get(Genesis, "")
    if genesis is None or not has_roots(connection):
        return []
    found = list(_kept(connection, genesis.ledger))
    if connection.execute(_STRAY).fetchone()[0]:
        found.append(UnreadableRoot(-1, "a countersignature belongs to no kept statement"))
    return found


def has_roots(connection: SqlConnection) -> bool:
    """Return whether a database is new enough to keep statements."""
    is_sqlite = isinstance(connection, sqlite3.Connection)
    question = _HAS_ROOTS if is_sqlite else _HAS_ROOTS_POSTGRES
    return bool(connection.execute(question).fetchone()[0])


def _kept(connection: SqlConnection, ledger: str) -> Iterator[SignedRoot | UnreadableRoot]:
    for name, of, last_epoch, body, signature, contradicts in connection.execute(_ROOTS):
        others = connection.execute(_OTHERS, (name,)).fetchall()
        try:
            statement = parse_statement(body)
        except CanonicalError as error:
            yield UnreadableRoot(last_epoch, str(error))
            continue
        beside = (name, of, last_epoch, contradicts)
        owners = [(subscriber, key_id.split("|")[0]) for subscriber, key_id, _, _ in others]
        if beside != (statement.hash, ledger, statement.last_epoch, ""):
            yield UnreadableRoot(statement.last_epoch, "its row is not that of its bytes")
        elif any(subscriber != owner for subscriber, owner in owners):
            yield UnreadableRoot(statement.last_epoch, "a countersignature is another's")
        else:
            signed = tuple(Countersignature(*other[1:]) for other in others)
            yield SignedRoot(statement, signature, signed)


def read_roots(data: bytes) -> list[SignedRoot]:
    """Return the statements of a file: one, a list, a page of `/contracts/roots`, or lines.

    Raises:
        StoreError: it holds none, or something else.
    """
    try:
        found = [root for document in _documents(data) for root in _roots(document)]
        statements = [signed_root_of(root) for root in found]
    except (WireError, CanonicalError) as error:
        msg = f"no signed statements: {error}"
        raise StoreError(msg) from None
    if not statements:
        msg = "no signed statements: the file is empty"
        raise StoreError(msg)
    return statements


def _documents(data: bytes) -> list[Any]:
    try:
        return [strict_json.decode(data)]
    except WireError:
        return [strict_json.decode(line) for line in data.splitlines() if line.strip()]


def _roots(document: Any) -> list[Any]:
    if isinstance(document, dict) and "roots" in document:
        document = document["roots"]
    return document if isinstance(document, list) else [document]
