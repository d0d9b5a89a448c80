"""trading.close_epoch: the root statement over everything before it.

Source: settlement specification, sections 5 and 9.1; decision 0012.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.settlement.balances import state_root
from adapter.settlement.canonical import EXACT_BELOW, parse_canonical
from adapter.settlement.kinds import integer_kind
from adapter.settlement.merkle import merkle_root
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.roots import NO_STATEMENT, Statement, last_statement
from adapter.settlement.state import Entry, LedgerStore
from adapter.settlement.work import Work

ONLY_ANCHORS = frozenset({"EpochAnchored", "MarketClearingChecked", "AutoMarketClearingTriggered"})
"""Events of entries that do nothing but anchor: they alone are no reason to anchor again."""
PAGE = 1_000
"""Entries read at once."""
EPOCH = integer_kind("an epoch, seconds since 1970 / 900", 0, (EXACT_BELOW - 1) // EPOCH_MS - 1)


@dataclass(frozen=True, slots=True)
class CloseEpoch:
    """State the root over everything up to the end of a run of epochs."""

    first: Annotated[int, EPOCH]
    last: Annotated[int, EPOCH]


def close_epoch(work: Work, args: CloseEpoch) -> Mapping[str, Any]:
    """Anchor a run of epochs by hand."""
    if args.last < args.first:
        raise invalid("last", f"{args.last} is before the first epoch {args.first}")
    return close_epochs(work, args.first, args.last)


def close_epochs(work: Work, first: int, last: int) -> Mapping[str, Any]:
    """Make the root statement of the epochs `first` to `last`, both included.

    It covers the entries from the last statement's end up to the one before `work`'s own: what
    this same command does besides is covered by the next statement. A clearing and the statement
    that covers it are therefore two entries. At most one statement per entry.

    Args:
        work: the command at work; its actor may anchor.
        first: the epoch after the last anchored one; `next_to_anchor` names it.
        last: has ended.

    Returns:
        `{first_epoch, last_epoch, first_seq, last_seq, statement}`, the last being its hash.

    Raises:
        ContractError: EPOCH_OUT_OF_ORDER, `first` is not the next one or `last` has not ended;
            `details` say `expected` or `retry_at`.
    """
    before = last_statement(work)
    expected = next_to_anchor(work.ledger) if before is None else before.last_epoch + 1
    if first != expected:
        msg = f"epoch {first} is not the next to anchor, {expected} is"
        raise refusal("EPOCH_OUT_OF_ORDER", msg, expected=expected)
    end_ms = (last + 1) * EPOCH_MS
    if end_ms > work.now_ms:
        msg = f"epoch {last} has not ended"
        raise refusal("EPOCH_OUT_OF_ORDER", msg, retry_at=end_ms)
    statement = _statement(work, before, first, last)
    work.put(statement)
    ends = {"first_epoch": first, "last_epoch": last}
    work.emit("EpochAnchored", {**ends, "root": statement.root, "head": statement.head})
    span = {"first_seq": statement.first_seq, "last_seq": statement.last_seq}
    return {**ends, **span, "statement": statement.hash}


def next_to_anchor(ledger: LedgerStore) -> int:
    """Return the epoch after the last anchored one; before any statement that of entry 0."""
    newest = last_statement(ledger)
    if newest is not None:
        return newest.last_epoch + 1
    genesis = ledger.entry(0)
    assert genesis is not None
    return genesis.time_ms // EPOCH_MS


def epochs_to_anchor(ledger: LedgerStore, now_ms: int) -> tuple[int, int] | None:
    """Return the first and last ended epoch to anchor; None when no entry calls for it."""
    first, last = next_to_anchor(ledger), now_ms // EPOCH_MS - 1
    return (first, last) if first <= last and _has_entries(ledger, last) else None


def _has_entries(ledger: LedgerStore, last_epoch: int) -> bool:
    """Return whether something happened up to an epoch that no statement covers."""
    newest = last_statement(ledger)
    after = -1 if newest is None else newest.last_seq
    while found := ledger.entries(after, 1):
        if not _only_anchors(found[0]):
            return found[0].time_ms // EPOCH_MS <= last_epoch
        after = found[0].seq
    return False


def _only_anchors(entry: Entry) -> bool:
    document = parse_canonical(entry.body)
    names = {event["name"] for event in document["events"]}
    is_quiet = not document["postings"] and "blocks" not in document
    return is_quiet and "EpochAnchored" in names and names <= ONLY_ANCHORS


def _statement(work: Work, before: Statement | None, first: int, last: int) -> Statement:
    first_seq = 0 if before is None else before.last_seq + 1
    last_seq = work.seq - 1
    assert first_seq <= last_seq, "one statement per entry"
    leaves = [bytes.fromhex(link) for link in _hashes(work.ledger, first_seq, last_seq)]
    return Statement(
        ledger=work.genesis.ledger,
        first_epoch=first,
        last_epoch=last,
        first_seq=first_seq,
        last_seq=last_seq,
        head=leaves[-1].hex(),
        root=merkle_root(leaves).hex(),
        state_root=state_root(work.ledger),
        prev_statement=NO_STATEMENT if before is None else before.hash,
        time=work.now_ms,
    )


def _hashes(ledger: LedgerStore, first_seq: int, last_seq: int) -> Iterator[str]:
    """Give the hashes of a range of entries, reading no other."""
    after = first_seq - 1
    while after < last_seq:
        for entry in ledger.entries(after, min(PAGE, last_seq - after)):
            yield entry.hash
            after = entry.seq
