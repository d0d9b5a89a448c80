"""What a ledger keeps, and how the contracts reach it.

Accounts, holds and entries are tables of their own; everything else is a row of some kind, found
by its key or through an index that the row declares. A store never computes: it gives back what
was put. Implementations: `adapter.store.ledger_memory` and `adapter.store.ledger_sqlite`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, TypeVar

from adapter.settlement.blocks import Block
from adapter.settlement.postings import HoldState


@dataclass(frozen=True, slots=True)
class Account:
    """A balance: `available = posted - held`."""

    id: str
    """`owner|asset|bucket`."""
    posted: int = 0
    """Millionths of the asset."""
    held: int = 0

    @property
    def available(self) -> int:
        """Return what can be moved or held."""
        return self.posted - self.held


@dataclass(frozen=True, slots=True)
class Hold:
    """An amount set aside on an account."""

    id: str
    """`seq.index` of the posting that made it."""
    account: str
    amount: int
    purpose: str
    until_ms: int
    """0 for none."""
    state: HoldState = HoldState.PENDING
    posted: int = 0
    """How much of it was used when it was resolved."""


class Index(NamedTuple):
    """Where a row is listed: under (name, value), in order of `sort`, then of its key."""

    name: str
    value: str
    sort: str = ""


class Span(NamedTuple):
    """Which part of a list to give."""

    start: str = ""
    """Smallest sort."""
    end: str = "\x7f"
    """The sort must be smaller than this."""
    newest_first: bool = False
    """From the largest sort down."""


EVERYTHING = Span()


class Row:
    """Base of the kinds in `rows`: frozen dataclasses of int, str, bool and tuples of these."""

    __slots__ = ()
    KIND: ClassVar[str]

    @property
    def key(self) -> str:
        """Return what tells rows of the kind apart."""
        raise NotImplementedError

    def indexes(self) -> tuple[Index, ...]:
        """Return the lists this row belongs to now."""
        return ()

    def sums(self) -> Mapping[str, int]:
        """Return what this row adds to running sums now, by their names."""
        return {}


R = TypeVar("R", bound=Row)


class Reader(Protocol):
    """Rows to look up: those stored, or those that a command sees."""

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row."""
        ...

    def find(self, kind: type[R], name: str, value: str, span: Span = EVERYTHING) -> Iterable[R]:
        """Give the rows listed under (name, value), in order of sort and key."""
        ...

    def account(self, account_id: str) -> Account | None:
        """Return an account, None when it was never opened."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted command in the journal."""

    seq: int
    time_ms: int
    hash: str
    """SHA-256 in hex of 0x00 and the body: link of the chain and leaf of the tree."""
    body: bytes
    """Canonical bytes."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of the journal."""

    seq: int
    hash: str


class RowChange(NamedTuple):
    """A row to write; `old` is what it replaces."""

    old: Row | None
    new: Row


@dataclass(frozen=True, slots=True)
class Changes:
    """All that one command writes."""

    accounts: Sequence[Account]
    holds: Sequence[Hold]
    rows: Sequence[RowChange]
    entry: Entry
    blocks: Sequence[Block] = ()
    """Rows of the entry that are too many to list in it, at most one block of a name."""


class LedgerStore(Protocol):
    """The state of one ledger, inside the caller's transaction."""

    def head(self) -> Head | None:
        """Return the last entry's number and hash, None before entry 0."""
        ...

    def entry(self, seq: int) -> Entry | None:
        """Return one entry."""
        ...

    def entries(self, after: int, limit: int) -> Sequence[Entry]:
        """Return at most `limit` entries with `seq > after`, in order; -1 is before the first."""
        ...

    def block(self, seq: int, name: str) -> Block | None:
        """Return a block of one entry."""
        ...

    def account(self, account_id: str) -> Account | None:
        """Return an account, None when it was never opened."""
        ...

    def accounts(self, owner: str | None = None) -> Sequence[Account]:
        """Return all accounts, or those of one owner, in order of id."""
        ...

    def hold(self, hold_id: str) -> Hold | None:
        """Return a hold in any state."""
        ...

    def open_holds(self, purpose: str) -> Sequence[Hold]:
        """Return the pending holds made for `purpose`, oldest first."""
        ...

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row."""
        ...

    def find(self, kind: type[R], name: str, value: str, span: Span = EVERYTHING) -> Iterator[R]:
        """Give the rows listed under (name, value), in order of sort and key.

        Rows must not be written meanwhile.
        """
        ...

    def write(self, changes: Changes) -> None:
        """Write what a command changed; its entry must follow the head."""
        ...


def hold_order(hold_id: str) -> tuple[int, int]:
    """Return what orders holds by age."""
    seq, index = hold_id.split(".")
    return int(seq), int(index)
