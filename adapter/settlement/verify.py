"""`ledger verify`: recompute a journal from its first byte and name the first bad entry.

Source: settlement specification, section 5. Blocks, roots and signatures join with the proofs.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.domain.errors import AdapterError
from adapter.settlement import accounts
from adapter.settlement.apply import execute
from adapter.settlement.canonical import CanonicalError, canonical_bytes, parse_canonical
from adapter.settlement.commands import Command, restored_args
from adapter.settlement.functions import FUNCTIONS
from adapter.settlement.journal import NO_PREVIOUS, VERSION, entry_hash
from adapter.settlement.state import Head, LedgerStore


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


class _Bad(Exception):  # noqa: N818 - private, becomes a verdict
    """A journal that does not hold."""


def verify(
    entries: Iterable[bytes], scratch: LedgerStore, stored: LedgerStore | None = None
) -> Verdict:
    """Check a journal: 1 sequence and canonical form, 2 chain, 4 postings balance, 5 replay.

    Args:
        entries: canonical bytes from entry 0 on.
        scratch: an empty ledger to replay into.
        stored: the ledger that the journal belongs to; its head and balances are compared too.
    """
    count, head, folded = 0, NO_PREVIOUS, _Fold()
    for count, body in enumerate(entries, 1):
        try:
            head = _check_entry(count - 1, body, head, folded, scratch)
        except _Bad as bad:
            return Verdict(False, count, head, state_root(scratch), count - 1, str(bad))
    root = state_root(scratch)
    bad_seq, why = (None, "") if stored is None else _difference(stored, scratch, root)
    return Verdict(bad_seq is None, count, head, root, bad_seq, why)


def state_root(ledger: LedgerStore) -> str:
    """Return the digest of all balances: SHA-256 of the canonical [account, posted, held] list."""
    rows = [[a.id, str(a.posted), str(a.held)] for a in ledger.accounts()]
    return hashlib.sha256(canonical_bytes(rows)).hexdigest()


def _check_entry(
    seq: int, body: bytes, previous: str, folded: "_Fold", scratch: LedgerStore
) -> str:
    try:
        document = parse_canonical(body)
    except CanonicalError as error:
        msg = f"1 canonical form: {error}"
        raise _Bad(msg) from None
    for name, value in (("v", VERSION), ("seq", seq)):
        if document.get(name) != value:
            msg = f"1 sequence: {name} is {document.get(name)!r}, not {value}"
            raise _Bad(msg)
    if document.get("prev") != previous:
        msg = f"2 chain: prev is {document.get('prev')!r}, the entry before hashes to {previous}"
        raise _Bad(msg)
    try:
        folded.entry(document)
        _replay(document, body, scratch)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        msg = f"1 canonical form: a field is missing or of the wrong type: {error!r}"
        raise _Bad(msg) from None
    return entry_hash(body)


@dataclass
class _Fold:
    """Balances and open holds folded from postings alone."""

    posted: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Account and amount of each open hold."""

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
        self._check_balances()
        self._touched.clear()

    _touched: set[str] = field(default_factory=set)

    def _direct(self, posting: Mapping[str, Any]) -> None:
        self._transfer(posting["from"], posting["to"], int(posting["amount"]))

    def _hold(self, posting: Mapping[str, Any]) -> None:
        if posting["hold"] in self.holds:
            self._refuse(f"hold {posting['hold']} is made twice")
        amount = self._amount(posting["amount"])
        self.holds[posting["hold"]] = (posting["account"], amount)
        self._change_held(posting["account"], amount)

    def _post(self, posting: Mapping[str, Any]) -> None:
        account, amount = self._resolve(posting["hold"])
        used = 0
        for target, leg in posting["legs"]:
            self._transfer(account, target, int(leg))
            used += int(leg)
        if used > amount:
            self._refuse(f"hold {posting['hold']} of {amount} is used for {used}")

    def _void(self, posting: Mapping[str, Any]) -> None:
        self._resolve(posting["hold"])

    def _resolve(self, hold_id: str) -> tuple[str, int]:
        if hold_id not in self.holds:
            self._refuse(f"hold {hold_id} is not open")
        account, amount = self.holds.pop(hold_id)
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


def _replay(document: Mapping[str, Any], body: bytes, scratch: LedgerStore) -> None:
    """Execute the command of an entry again; it must give the same bytes."""
    function = FUNCTIONS.get((document["contract"], document["function"]))
    if function is None:
        msg = f"5 replay: no function {document['contract']}.{document['function']}"
        raise _Bad(msg)
    args = restored_args(function.arguments, document["args"])
    command = Command(document["cmd"], document["contract"], document["function"], args)
    behalf = document.get("on_behalf_of")
    try:
        receipt = execute(
            scratch, command, document["actor"], document["time"], on_behalf_of=behalf
        )
    except AdapterError as error:
        msg = f"5 replay: refused with {error.code}: {error.message}"
        raise _Bad(msg) from None
    except AssertionError as error:
        msg = f"5 replay: {error}"
        raise _Bad(msg) from None
    entry = scratch.entry(receipt.seq)
    if receipt.replayed or entry is None or entry.body != body:
        msg = "5 replay: the command gives another entry than the one written"
        raise _Bad(msg)


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
