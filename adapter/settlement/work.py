"""One command at work: what it has changed so far, laid over the stored state.

Contracts read and change only through this. Nothing reaches the store before the command has
succeeded, so a refusal leaves no trace.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from adapter.domain.instants import EPOCH_MS, SECOND_MS
from adapter.settlement import accounts
from adapter.settlement.blocks import Block
from adapter.settlement.events import Event, make_event
from adapter.settlement.postings import (
    Direct,
    HoldEvent,
    HoldState,
    MakeHold,
    PostHold,
    Posting,
    VoidHold,
    Why,
    next_hold,
    total,
)
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Counter, Genesis, Parameters, Sum
from adapter.settlement.settings import Settings
from adapter.settlement.state import (
    EVERYTHING,
    Account,
    Hold,
    Index,
    LedgerStore,
    Reader,
    Row,
    RowChange,
    Span,
    hold_order,
)
from adapter.settlement.units import INT64_MAX

if TYPE_CHECKING:
    from adapter.settlement.sharding import ClearBooks

R = TypeVar("R", bound=Row)


class Work:
    """The state as a command sees and changes it."""

    clear_books: "ClearBooks | None" = None
    """Clears books somewhere else; None: in this process. The result is the same."""

    def __init__(
        self, ledger: LedgerStore, *, seq: int, actor: str, user: str, now_ms: int
    ) -> None:
        """Begin.

        Args:
            ledger: the stored state; only read.
            seq: number of the entry to be.
            actor: who sent the command.
            user: for whom: the actor, or the user it represents.
            now_ms: the time of the command.
        """
        self.ledger = ledger
        self.seq = seq
        self.actor = actor
        self.user = user
        self.now_ms = now_ms
        self.postings: list[Posting] = []
        self.events: list[Event] = []
        self.blocks: list[Block] = []
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Hold] = {}
        self.rows: dict[tuple[type[Row], str], RowChange] = {}
        self._changed: dict[type[Row], dict[str, Row]] = {}
        """The new rows by kind and key, so that one kind is searched without the others."""
        self._seen: dict[tuple[type[Row], str], Row | None] = {}
        self._settings: Settings | None = None

    # Rows

    def get(self, kind: type[R], key: str) -> R | None:
        """Return one row as it is now."""
        place = (kind, key)
        if place not in self._seen:
            self._seen[place] = self.ledger.get(kind, key)
        return self._seen[place]  # type: ignore[return-value]  # stored under its own kind

    def find(
        self,
        kind: type[R],
        name: str,
        value: str,
        span: Span = EVERYTHING,
        *,
        limit: int | None = None,
    ) -> list[R]:
        """Return the listed rows as they are now, in order, at most `limit`."""
        listed: list[tuple[str, str, R]] = []
        mine = self._changed.get(kind, {})
        for new in mine.values():
            listed += _listed(new, name, value, span)  # type: ignore[arg-type]  # of its kind
        changed = bool(listed)
        stored = self.ledger.find(kind, name, value, span)
        for row in islice(stored, None if limit is None else limit + len(mine)):
            if row.key not in mine:
                self._seen.setdefault((kind, row.key), row)
                listed += _listed(row, name, value, span)
        if changed:
            listed.sort(key=lambda item: item[:2], reverse=span.newest_first)
        return [row for _, _, row in listed[:limit]]

    def has_changed(self, kind: type[Row]) -> bool:
        """Return whether the command has written rows of a kind; if not, the stored ones hold."""
        return bool(self._changed.get(kind))

    def put(self, row: Row) -> None:
        """Write a row, and bring the sums up to date that it adds to."""
        self._write(row, self.get(type(row), row.key))

    def add(self, row: Row) -> None:
        """Write a row of a key that nobody had: one with the next number, or of this entry."""
        self._write(row, None)

    def _write(self, row: Row, before: Row | None) -> None:
        kind, key = type(row), row.key
        place = (kind, key)
        change = self.rows.get(place)
        self.rows[place] = RowChange(change.old if change else before, row)
        self._changed.setdefault(kind, {})[key] = row
        self._seen[place] = row
        added_before, adds = before.sums() if before else {}, row.sums()
        if added_before != adds:
            self._add_up(added_before, adds)

    def _add_up(self, before: Mapping[str, int], now: Mapping[str, int]) -> None:
        for name in dict.fromkeys((*before, *now)):
            more = now.get(name, 0) - before.get(name, 0)
            if more:
                self.put(Sum(name, sum_of(self, name) + more))

    def next_number(self, series: str) -> int:
        """Return the next number of a series, from 1."""
        counter = self.get(Counter, series)
        number = counter.last + 1 if counter else 1
        self.put(Counter(series, number))
        return number

    # What every contract needs to know

    @property
    def genesis(self) -> Genesis:
        """Return what entry 0 fixed."""
        genesis = self.get(Genesis, "")
        assert genesis is not None
        return genesis

    @property
    def settings(self) -> Settings:
        """Return the settings in force now."""
        if self._settings is None:
            self._settings = self.settings_at(self.now_ms)
        return self._settings

    def settings_at(self, instant_ms: int) -> Settings:
        """Return the settings in force at an instant, as far back as the last change of each."""
        return effective_settings(self.get(Parameters, ""), instant_ms)

    @property
    def next_epoch_ms(self) -> int:
        """Return the next 15-minute boundary, strictly after now."""
        return self.now_ms - self.now_ms % EPOCH_MS + EPOCH_MS

    def after(self, seconds: int) -> int:
        """Return the instant so many seconds from now."""
        return self.now_ms + seconds * SECOND_MS

    def emit(self, name: str, fields: Mapping[str, Any]) -> None:
        """Add an event; fields that are None are left out."""
        self.events.append(make_event(name, fields))

    # Balances

    def account(self, account_id: str) -> Account | None:
        """Return an account as it is now."""
        return self.accounts.get(account_id) or self.ledger.account(account_id)

    def available(self, account_id: str) -> int:
        """Return what an account can move or hold; 0 when it was never opened."""
        account = self.account(account_id)
        return account.available if account else 0

    def open_account(self, account_id: str) -> None:
        """Open an account with nothing on it, unless it is open."""
        if self.account(account_id) is None:
            self.accounts[account_id] = Account(account_id)

    def require(self, account_id: str, amount: int, code: str, what: str, **details: str) -> None:
        """Check that an account has enough.

        Raises:
            ContractError: `code`, with needed and available, and `details`.
        """
        available = self.available(account_id)
        if available < amount:
            msg = f"{what}: {amount} needed, {available} available, in millionths"
            raise refusal(code, msg, needed=str(amount), available=str(available), **details)

    def open_holds(self, purpose: str) -> list[Hold]:
        """Return the pending holds for `purpose`, oldest first."""
        stored = [h for h in self.ledger.open_holds(purpose) if h.id not in self.holds]
        mine = [
            hold
            for hold in self.holds.values()
            if hold.purpose == purpose and hold.state is HoldState.PENDING
        ]
        return sorted(stored + mine, key=lambda hold: hold_order(hold.id))

    def direct(self, source: str, target: str, amount: int) -> None:
        """Move `amount` now; the caller has checked that it is there."""
        assert amount > 0
        assert source != target
        self._move(source, -amount, 0)
        self._move(target, amount, 0)
        self.postings.append(Direct(source, target, amount))

    def hold(self, account_id: str, amount: int, purpose: str, until_ms: int = 0) -> str:
        """Set `amount` aside and return the id of the hold; the caller has checked the balance."""
        assert amount > 0
        hold_id = f"{self.seq}.{len(self.postings)}"
        self._move(account_id, 0, amount)
        self.holds[hold_id] = Hold(hold_id, account_id, amount, purpose, until_ms)
        self.postings.append(MakeHold(hold_id, account_id, amount, purpose, until_ms))
        return hold_id

    def post(self, hold_id: str, legs: list[tuple[str, int]]) -> int:
        """Use a hold for `legs` and return what they leave of it, which is released."""
        hold = self.known_hold(hold_id)
        used = total(legs)
        assert legs
        assert all(amount > 0 for _, amount in legs)
        assert used <= hold.amount
        self._resolve(hold, HoldEvent.POST, used)
        self._move(hold.account, -used, -hold.amount)
        for target, amount in legs:
            assert target != hold.account
            self._move(target, amount, 0)
        self.postings.append(PostHold(hold_id, tuple(legs)))
        return hold.amount - used

    def void(self, hold_id: str, why: Why) -> int:
        """Release a hold and return its amount."""
        hold = self.known_hold(hold_id)
        self._resolve(hold, HoldEvent.TIMEOUT if why is Why.EXPIRE else HoldEvent.VOID, 0)
        self._move(hold.account, 0, -hold.amount)
        self.postings.append(VoidHold(hold_id, why))
        return hold.amount

    # Holds that an object carries itself, so that they are no rows

    def set_aside(self, account_id: str, amount: int, purpose: str, until_ms: int = 0) -> str:
        """Set `amount` aside for an object whose own row says so; return the id of the hold."""
        assert amount > 0
        hold_id = f"{self.seq}.{len(self.postings)}"
        self._move(account_id, 0, amount)
        self.postings.append(MakeHold(hold_id, account_id, amount, purpose, until_ms))
        return hold_id

    def give_back(self, hold_id: str, account_id: str, amount: int, why: Why) -> None:
        """Release what an object had set aside; its new row must not say so any more."""
        self._move(account_id, 0, -amount)
        self.postings.append(VoidHold(hold_id, why))

    def take_balance(self, account: Account) -> None:
        """Take the balance that a block of trades leaves; its postings are views of the block."""
        sound = accounts.is_system(account.id) or 0 <= account.held <= account.posted
        assert sound, f"{account.id}: posted {account.posted}, held {account.held}"
        self.accounts[account.id] = account

    def block(self, seq: int, name: str) -> Block | None:
        """Return a block of one entry, this one included."""
        if seq == self.seq:
            return next((block for block in self.blocks if block.name == name), None)
        return self.ledger.block(seq, name)

    def known_hold(self, hold_id: str) -> Hold:
        """Return a hold that was made earlier."""
        hold = self.holds.get(hold_id) or self.ledger.hold(hold_id)
        assert hold is not None, f"no hold {hold_id}"
        return hold

    def _resolve(self, hold: Hold, event: HoldEvent, used: int) -> None:
        state = next_hold(hold.state, event)
        self.holds[hold.id] = Hold(
            hold.id, hold.account, hold.amount, hold.purpose, hold.until_ms, state, used
        )

    def _move(self, account_id: str, posted: int, held: int) -> None:
        """Change a balance and keep it sound."""
        old = self.account(account_id) or Account(account_id)
        new = Account(account_id, old.posted + posted, old.held + held)
        if abs(new.posted) > INT64_MAX:
            raise refusal("OVERFLOW", f"{account_id} would leave the 64-bit range")
        sound = accounts.is_system(account_id) or 0 <= new.held <= new.posted
        assert sound, f"{account_id}: posted {new.posted}, held {new.held}"
        self.accounts[account_id] = new


def sum_of(reader: Reader, name: str) -> int:
    """Return a running sum; 0 when nothing was ever added."""
    known = reader.get(Sum, name)
    return known.amount if known else 0


def effective_settings(parameters: Parameters | None, now_ms: int) -> Settings:
    """Return the settings in force at an instant, which may be before later changes."""
    assert parameters is not None
    found: dict[str, int | str | bool] = {}
    for name, value, from_ms, before in parameters.values:  # the changes of one rise in time
        if now_ms >= from_ms:
            found[name] = value
        else:
            found.setdefault(name, before)
    return Settings(**found)  # type: ignore[arg-type]  # each was checked by its kind when set


def _listed(row: R, name: str, value: str, span: Span) -> Iterator[tuple[str, str, R]]:
    """Give (sort, key, row) if the row is listed there."""
    for index in row.indexes():
        if _matches(index, name, value, span):
            yield index.sort, row.key, row


def _matches(index: Index, name: str, value: str, span: Span) -> bool:
    return index[:2] == (name, value) and span.start <= index.sort < span.end
