"""Root statements: what the host of a ledger signs about all entries up to an epoch's end.

A statement covers the entries that follow those of the statement before, up to the last one
before the entry that makes it: an entry cannot hold its own hash. Ranges of epochs and of entries
go on without gap or overlap, each statement naming the hash of the one before. Source: settlement
specification, section 5; decision 0012.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from adapter.settlement.canonical import CanonicalError, canonical_bytes, parse_canonical
from adapter.settlement.rows import padded
from adapter.settlement.state import Index, Reader, Row, Span

STATEMENT_TYPE = "p2ptrade.root.v1"
NO_STATEMENT = "0" * 64
"""In place of the statement before the first."""


@dataclass(frozen=True, slots=True)
class Statement(Row):
    """One root statement; it is a row of the ledger, so a replay gives the same ones."""

    KIND: ClassVar[str] = "root"
    ledger: str
    first_epoch: int
    last_epoch: int
    first_seq: int
    last_seq: int
    head: str
    """Hash of entry `last_seq`."""
    root: str
    """Merkle root of the entries `first_seq` to `last_seq`, in hex."""
    state_root: str
    """Digest of all balances after entry `last_seq`."""
    prev_statement: str
    """Hash of the statement before; 64 zeros for none."""
    time: int
    """When it was made, ms: the time of the entry that makes it."""

    @property
    def key(self) -> str:
        """Return the last epoch."""
        return padded(self.last_epoch)

    def indexes(self) -> tuple[Index, ...]:
        """List all statements in order, by epoch and by the last entry they cover."""
        return (
            Index("all", "", padded(self.last_epoch)),
            Index("seq", "", padded(self.last_seq)),
        )

    def body(self) -> bytes:
        """Return the canonical bytes."""
        return canonical_bytes({"type": STATEMENT_TYPE, **dataclasses.asdict(self)})

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the canonical bytes, in hex."""
        return hashlib.sha256(self.body()).hexdigest()

    def signed_bytes(self) -> bytes:
        """Return what a signature covers."""
        return signed_bytes(self.body())


def signed_bytes(body: bytes) -> bytes:
    """Return what a signature over a statement's canonical bytes covers."""
    return STATEMENT_TYPE.encode() + b"\n" + body


def parse_statement(body: bytes) -> Statement:
    """Return the statement that `body` spells canonically.

    Raises:
        CanonicalError: it is none.
    """
    return statement_of(parse_canonical(body))


def statement_of(document: Mapping[str, Any]) -> Statement:
    """Return the statement that a parsed document holds.

    Raises:
        CanonicalError: it is none.
    """
    fields = {field.name: field.type for field in dataclasses.fields(Statement)}
    if document.get("type") != STATEMENT_TYPE or document.keys() != {"type", *fields}:
        msg = f"not a statement of type {STATEMENT_TYPE}"
        raise CanonicalError(msg)
    for name, kind in fields.items():
        if type(document[name]) is not kind:
            msg = f"statement: {name} is of the wrong type"
            raise CanonicalError(msg)
    return Statement(**{name: document[name] for name in fields})


def last_statement(reader: Reader) -> Statement | None:
    """Return the newest statement of a ledger."""
    return next(iter(reader.find(Statement, "all", "", Span(newest_first=True))), None)


def statements_after(reader: Reader, epoch: int, limit: int) -> list[Statement]:
    """Return statements with a last epoch above `epoch`, in order, at most `limit`."""
    span = Span(start=padded(epoch + 1))
    return list(islice(reader.find(Statement, "all", "", span), limit))
