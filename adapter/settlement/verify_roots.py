"""Steps 6 and 7 of `ledger verify`: signed statements against the journal that was replayed.

Source: settlement specification, section 5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapter.settlement.canonical import parse_canonical
from adapter.settlement.roots import Statement, statements_after
from adapter.settlement.signed_roots import SignedRoot, check_root
from adapter.settlement.state import LedgerStore

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class UnreadableRoot:
    """A kept statement that is none any more."""

    last_epoch: int
    """As its row says."""
    why: str


@dataclass(frozen=True, slots=True)
class RootFinding:
    """The first thing that is wrong with statements."""

    seq: int
    """Entry it is about: the one that made a statement, or the first that is not as signed."""
    why: str


def check_statements(
    replayed: LedgerStore,
    roots: Sequence[SignedRoot | UnreadableRoot],
    *,
    all_signed: bool = False,
) -> RootFinding | None:
    """Return what is wrong first, None when all hold.

    Args:
        replayed: the whole journal, replayed.
        roots: signed statements, kept here or elsewhere.
        all_signed: `roots` are all there are, so every statement up to the last one of them must
            be among them.
    """
    made = {statement.last_epoch: statement for statement in _made(replayed)}
    keys = _keys(replayed)
    for root in roots:
        found = _unreadable(root, made) if isinstance(root, UnreadableRoot) else None
        if isinstance(root, SignedRoot):
            found = _check(replayed, root, made, keys)
        if found is not None:
            return found
    if all_signed:
        return _unsigned(made.values(), [one for one in roots if isinstance(one, SignedRoot)])
    return None


def _check(
    replayed: LedgerStore,
    root: SignedRoot,
    made: Mapping[int, Statement],
    keys: Sequence[str],
) -> RootFinding | None:
    statement = root.statement
    about = f"the statement of epoch {statement.last_epoch}"
    wrong = [check_root(root, key) for key in keys]
    if None not in wrong:
        why = wrong[-1] if wrong else "entry 0 names no key of the host"
        return RootFinding(statement.last_seq + 1, f"6 roots: {about}: {why}")
    head = replayed.head()
    end = -1 if head is None else head.seq
    if statement.last_seq >= end:
        why = (
            f"7 truncation: {about} covers the entries up to {statement.last_seq} and stands in "
            f"the next one, the journal ends with {end}"
        )
        return RootFinding(end + 1, why)
    if made.get(statement.last_epoch) != statement:
        span = f"entries {statement.first_seq} to {statement.last_seq}"
        why = f"6 roots: {about} was signed over other {span} than those of the journal"
        return RootFinding(statement.first_seq, why)
    return None


def _unreadable(root: UnreadableRoot, made: Mapping[int, Statement]) -> RootFinding:
    statement = made.get(root.last_epoch)
    seq = 0 if statement is None else statement.last_seq + 1
    return RootFinding(seq, f"6 roots: the kept statement of epoch {root.last_epoch}: {root.why}")


def _unsigned(made: Iterable[Statement], signed: Sequence[SignedRoot]) -> RootFinding | None:
    known = {root.statement.last_epoch for root in signed}
    last = max(known, default=-1)
    for statement in made:
        if statement.last_epoch < last and statement.last_epoch not in known:
            why = f"6 roots: the statement of epoch {statement.last_epoch} has lost its signature"
            return RootFinding(statement.last_seq + 1, why)
    return None


def _made(replayed: LedgerStore) -> list[Statement]:
    """Return all statements of a journal, in order."""
    found: list[Statement] = []
    while page := statements_after(replayed, found[-1].last_epoch if found else -1, PAGE):
        found += page
    return found


def _keys(replayed: LedgerStore) -> list[str]:
    """Return the public keys of the host that entry 0 names, in base64."""
    genesis = replayed.entry(0)
    if genesis is None:
        return []
    return [str(key["public_key"]) for key in parse_canonical(genesis.body)["args"]["keys"]]
