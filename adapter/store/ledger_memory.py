"""The ledger in memory: the model store, for tests and for replaying a journal."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice

from adapter.settlement.blocks import Block
from adapter.settlement.postings import HoldState
from adapter.settlement.state import (
    EVERYTHING,
    Account,
    Changes,
    Entry,
    Head,
    Hold,
    R,
    Row,
    RowChange,
    Span,
    hold_order,
)

_List = list[tuple[str, str]]


class MemoryLedger:
    """A `LedgerStore` in dictionaries."""

    def __init__(self) -> None:
        """Begin empty."""
        self._accounts: dict[str, Account] = {}
        self._holds: dict[str, Hold] = {}
        self._open: dict[str, dict[str, None]] = {}
        """Ids of open holds by purpose."""
        self._rows: dict[tuple[str, str], Row] = {}
        self._lists: dict[tuple[str, str, str], _List] = {}
        """(sort, key) in order, by kind, name and value."""
        self._entries: list[Entry] = []
        self._blocks: dict[tuple[int, str], Block] = {}

    def copy(self) -> "MemoryLedger":
        """Return a ledger with the same content; rows are shared, they never change."""
        other = MemoryLedger()
        other._accounts = dict(self._accounts)
        other._holds = dict(self._holds)
        other._open = {purpose: dict(holds) for purpose, holds in self._open.items() if holds}
        other._rows = dict(self._rows)
        other._lists = {place: list(listed) for place, listed in self._lists.items() if listed}
        other._entries = list(self._entries)
        other._blocks = dict(self._blocks)
        return other

    def head(self) -> Head | None:
        """Return the last entry's number and hash."""
        return Head(self._entries[-1].seq, self._entries[-1].hash) if self._entries else None

    def entry(self, seq: int) -> Entry | None:
        """Return one entry."""
        return self._entries[seq] if 0 <= seq < len(self._entries) else None

    def entries(self, after: int, limit: int) -> Sequence[Entry]:
        """Return entries with `seq > after`, in order."""
        return list(islice(self._entries, max(after + 1, 0), max(after + 1, 0) + limit))

    def block(self, seq: int, name: str) -> Block | None:
        """Return a block of one entry."""
        return self._blocks.get((seq, name))

    def account(self, account_id: str) -> Account | None:
        """Return an account."""
        return self._accounts.get(account_id)

    def accounts(self, owner: str | None = None) -> Sequence[Account]:
        """Return accounts in order of id."""
        prefix = "" if owner is None else f"{owner}|"
        return [self._accounts[key] for key in sorted(self._accounts) if key.startswith(prefix)]

    def hold(self, hold_id: str) -> Hold | None:
        """Return a hold in any state."""
        return self._holds.get(hold_id)

    def open_holds(self, purpose: str) -> Sequence[Hold]:
        """Return the pending holds for `purpose`, oldest first."""
        return [self._holds[key] for key in sorted(self._open.get(purpose, ()), key=hold_order)]

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row."""
        row = self._rows.get((kind.KIND, key))
        assert row is None or isinstance(row, kind)
        return row

    def find(self, kind: type[R], name: str, value: str, span: Span = EVERYTHING) -> Iterator[R]:
        """Give the rows listed under (name, value)."""
        listed = self._lists.get((kind.KIND, name, value), [])
        start, end = bisect_left(listed, (span.start, "")), bisect_left(listed, (span.end, ""))
        part = listed[start:end]
        for _, key in reversed(part) if span.newest_first else part:
            row = self.get(kind, key)
            assert row is not None
            yield row

    def write(self, changes: Changes) -> None:
        """Write what a command changed."""
        assert changes.entry.seq == len(self._entries)
        for account in changes.accounts:
            self._accounts[account.id] = account
        for hold in changes.holds:
            self._write_hold(hold)
        for change in changes.rows:
            self._write_row(change)
        for block in changes.blocks:
            self._blocks[changes.entry.seq, block.name] = block
        self._entries.append(changes.entry)

    def _write_hold(self, hold: Hold) -> None:
        self._holds[hold.id] = hold
        if hold.state is HoldState.PENDING:
            self._open.setdefault(hold.purpose, {})[hold.id] = None
        else:
            self._open.get(hold.purpose, {}).pop(hold.id, None)

    def _write_row(self, change: RowChange) -> None:
        row = change.new
        self._rows[row.KIND, row.key] = row
        before = set(change.old.indexes()) if change.old else set()
        now = set(row.indexes())
        for index in before - now:
            self._lists[row.KIND, index.name, index.value].remove((index.sort, row.key))
        for index in now - before:
            insort(
                self._lists.setdefault((row.KIND, index.name, index.value), []),
                (index.sort, row.key),
            )
