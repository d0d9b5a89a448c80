"""`ledger verify`: recompute a journal from its first byte and name the first bad entry.

The steps of the settlement specification, section 5: 1 sequence and canonical form, 2 chain,
3 blocks, 4 postings balance per asset, 5 replay to the same state, 6 roots and signatures,
7 truncation. The last two are in `verify_roots`.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adapter.settlement import accounts
from adapter.settlement.balances import state_root
from adapter.settlement.block_views import ViewPosting, view_postings
from adapter.settlement.canonical import CanonicalError, parse_canonical
from adapter.settlement.journal import NO_PREVIOUS, VERSION, entry_hash
from adapter.settlement.replay import BlockOf, ReplayError, no_blocks, replay_parsed
from adapter.settlement.signed_roots import SignedRoot
from adapter.settlement.state import Entry, Head, LedgerStore
from adapter.settlement.verify_roots import UnreadableRoot, check_statements


@dataclass(frozen=True, slots=True)
class Verdict:
    """What checking a journal found."""

    ok: bool
    entries: int
    """How many were checked, the bad one included."""
    head: str = ""
    """Hash of the last good entry."""
    state_root: str = ""
    """Digest of all balances after the last good entry."""
    bad_seq: int | None = None
    why: str = ""
    """Step and reason for the first bad entry."""
    roots: int = 0
    """Signed statements that were looked at."""


class _Bad(Exception):  # noqa: N818 - private, becomes a verdict
    """A journal that does not hold."""


def verify(
    entries: Iterable[bytes | Entry],
    scratch: LedgerStore,
    stored: LedgerStore | None = None,
    roots: Sequence[SignedRoot | UnreadableRoot] = (),
    *,
    all_signed: bool = False,
) -> Verdict:
    """Check a journal.

    Args:
        entries: from entry 0 on, as canonical bytes or as the store holds them, which has more to
            compare.
        scratch: an empty ledger to replay into.
        stored: the ledger that the journal belongs to; its blocks, head and balances are compared.
        roots: signed statements, kept with the journal or elsewhere.
        all_signed: `roots` are all that the host has signed.
    """
    count, head, folded = 0, NO_PREVIOUS, _Fold()
    block_of = no_blocks if stored is None else stored.block
    for count, entry in enumerate(entries, 1):
        try:
            head = _check_entry(_Place(count - 1, head, block_of), entry, folded, scratch)
        except _Bad as bad:
            return Verdict(False, count, head, state_root(scratch), count - 1, str(bad))
    root = state_root(scratch)
    bad_seq, why = (None, "") if stored is None else _difference(stored, scratch, root)
    if bad_seq is None:
        found = check_statements(scratch, roots, all_signed=all_signed)
        bad_seq, why = (None, "") if found is None else (found.seq, found.why)
    return Verdict(bad_seq is None, count, head, root, bad_seq, why, len(roots))


class _Place(NamedTuple):
    """What an entry has to fit to."""

    seq: int
    previous: str
    """Hash of the entry before."""
    block_of: BlockOf
    """Kept blocks."""


def _check_entry(place: _Place, entry: bytes | Entry, folded: "_Fold", scratch: LedgerStore) -> str:
    body = entry.body if isinstance(entry, Entry) else entry
    try:
        document = parse_canonical(body)
    except CanonicalError as error:
        msg = f"1 canonical form: {error}"
        raise _Bad(msg) from None
    for name, value in (("v", VERSION), ("seq", place.seq)):
        if document.get(name) != value:
            msg = f"1 sequence: {name} is {document.get(name)!r}, not {value}"
            raise _Bad(msg)
    link = entry_hash(body)
    if document.get("prev") != place.previous:
        before = place.previous
        msg = f"2 chain: prev is {document.get('prev')!r}, the entry before hashes to {before}"
        raise _Bad(msg)
    try:
        if isinstance(entry, Entry):
            _check_row(entry, document, link)
        _check_blocks(place, document)
        folded.entry(document)
        _replay(document, body, scratch, place.block_of)
        folded.replayed(document, scratch)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, struct.error) as error:
        msg = f"1 canonical form: a field is missing or of the wrong type: {error!r}"
        raise _Bad(msg) from None
    return link


def _check_row(entry: Entry, document: Mapping[str, Any], link: str) -> None:
    """Check what the store holds beside the bytes; it tells which of two neighbours is bad."""
    for name, kept, follows in (
        ("sequence", entry.seq, document["seq"]),
        ("time", entry.time_ms, document["time"]),
        ("hash", entry.hash, link),
    ):
        if kept != follows:
            msg = f"2 chain: its row has {name} {kept}, its bytes give {follows}"
            raise _Bad(msg)


def _check_blocks(place: _Place, document: Mapping[str, Any]) -> None:
    """Check that kept blocks are those that an entry names; without them the replay gives them."""
    if place.block_of is no_blocks:
        return
    for named in document.get("blocks", ()):
        block = place.block_of(place.seq, named["name"])
        if block is None:
            msg = f"3 blocks: the rows of block {named['name']} are missing"
            raise _Bad(msg)
        if len(block.data) % block.row_bytes or block.to_journal() != named:
            msg = f"3 blocks: the kept rows of block {named['name']} are not those of its root"
            raise _Bad(msg)


@dataclass
class _Fold:
    """Balances and open holds folded from postings alone, those that blocks stand for included."""

    posted: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Account and amount of each open hold."""
    orders: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Open holds by purpose and account, oldest first: a clearing uses them without naming them."""
    purposes: dict[str, str] = field(default_factory=dict)
    """Of the open holds of orders."""

    def entry(self, document: Mapping[str, Any]) -> None:
        """Fold the postings of one entry, which must balance per asset."""
        steps: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "direct": self._direct,
            "hold": self._hold,
            "post": self._post,
            "void": self._void,
        }
        for index, posting in enumerate(document["postings"]):
            step = steps.get(posting["k"])
            if step is None:
                self._refuse(f"posting {index} is of no known kind")
            else:
                step(posting)
        if "blocks" not in document:
            self._check_balances()

    def replayed(self, document: Mapping[str, Any], scratch: LedgerStore) -> None:
        """Fold what the blocks of the entry stand for; balances are then those of the replay."""
        for posting in view_postings(scratch, document):
            self._view(posting)
        self._check_balances()
        cleared = any(block["name"] == "orders" for block in document.get("blocks", ()))
        for name in self._touched | self.held.keys() if cleared else self._touched:
            account = scratch.account(name)
            found = (account.posted, account.held) if account else (0, 0)
            if found != (self.posted.get(name, 0), self.held.get(name, 0)):
                self._refuse(f"{name} ends with {found}, which is not the sum of its postings")
        self._touched.clear()

    def _view(self, posting: ViewPosting) -> None:
        waiting = self.orders.get((posting.purpose, posting.account))
        if not waiting:
            self._refuse(f"{posting.purpose} has no open hold on {posting.account}")
        else:
            self._use(waiting[0], posting.legs)

    _touched: set[str] = field(default_factory=set)

    def _direct(self, posting: Mapping[str, Any]) -> None:
        self._transfer(posting["from"], posting["to"], int(posting["amount"]))

    def _hold(self, posting: Mapping[str, Any]) -> None:
        if posting["hold"] in self.holds:
            self._refuse(f"hold {posting['hold']} is made twice")
        amount = self._amount(posting["amount"])
        self.holds[posting["hold"]] = (posting["account"], amount)
        purpose = posting["for"]
        if purpose.startswith("order:"):
            self.orders.setdefault((purpose, posting["account"]), []).append(posting["hold"])
            self.purposes[posting["hold"]] = purpose
        self._change_held(posting["account"], amount)

    def _post(self, posting: Mapping[str, Any]) -> None:
        self._use(posting["hold"], [(target, int(leg)) for target, leg in posting["legs"]])

    def _use(self, hold_id: str, legs: Iterable[tuple[str, int]]) -> None:
        """Pay `legs` from a hold and release what they leave."""
        account, amount = self._resolve(hold_id)
        used = 0
        for target, leg in legs:
            self._transfer(account, target, leg)
            used += leg
        if used > amount:
            self._refuse(f"hold {hold_id} of {amount} is used for {used}")

    def _void(self, posting: Mapping[str, Any]) -> None:
        self._resolve(posting["hold"])

    def _resolve(self, hold_id: str) -> tuple[str, int]:
        if hold_id not in self.holds:
            self._refuse(f"hold {hold_id} is not open")
        account, amount = self.holds.pop(hold_id)
        purpose = self.purposes.pop(hold_id, "")
        if purpose:
            self.orders[purpose, account].remove(hold_id)
            if not self.orders[purpose, account]:
                del self.orders[purpose, account]
        self._change_held(account, -amount)
        return account, amount

    def _transfer(self, source: str, target: str, amount: int) -> None:
        self._amount(amount)
        if accounts.asset_of(source) != accounts.asset_of(target) or source == target:
            self._refuse(f"{source} to {target} does not balance")
        self.posted[source] = self.posted.get(source, 0) - amount
        self.posted[target] = self.posted.get(target, 0) + amount
        self._touched |= {source, target}

    def _change_held(self, account: str, amount: int) -> None:
        self.held[account] = self.held.get(account, 0) + amount
        self._touched.add(account)

    def _check_balances(self) -> None:
        for account in self._touched:
            held, posted = self.held.get(account, 0), self.posted.get(account, 0)
            if not accounts.is_system(account) and not 0 <= held <= posted:
                self._refuse(f"{account} ends with posted {posted} and held {held}")

    def _amount(self, amount: Any) -> int:
        number = int(amount)
        if number <= 0:
            self._refuse(f"amount {amount} is not above zero")
        return number

    def _refuse(self, why: str) -> None:
        msg = f"4 postings: {why}"
        raise _Bad(msg)


def _replay(
    document: Mapping[str, Any], body: bytes, scratch: LedgerStore, block_of: BlockOf
) -> None:
    """Execute the command of an entry again; it must give the same bytes."""
    try:
        replay_parsed(document, body, scratch, block_of)
    except ReplayError as error:
        msg = f"5 replay: {error}"
        raise _Bad(msg) from None


def _difference(stored: LedgerStore, scratch: LedgerStore, root: str) -> tuple[int | None, str]:
    """Return where and how a stored ledger differs from its replayed journal."""
    nothing = Head(-1, NO_PREVIOUS)
    there, here = stored.head() or nothing, scratch.head() or nothing
    if there != here:
        bad_seq = here.seq if here.seq >= there.seq else here.seq + 1
        return bad_seq, f"5 replay: the stored head is entry {there.seq}, {there.hash}"
    if state_root(stored) != root:
        mine = {account.id: account for account in scratch.accounts()}
        theirs = {account.id: account for account in stored.accounts()}
        first = min(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        return here.seq, f"5 replay: the stored balance of {first} is not that of the journal"
    return None, ""
