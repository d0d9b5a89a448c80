"""A corrected reading, shared anew among the agreements that had got it.

The interval is shared once more with what its agreements still want and had of it; intervals after
it stay as they are. What is settled or voided stays: there the difference becomes a deviation. A
recorded delivery that is not settled yet gets its quantities anew.
Source: settlement specification, sections 10 and 11.3.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from adapter.domain.instants import EPOCH_MS
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import (
    Agreement,
    Allocation,
    Deviation,
    DeviationKind,
    Transaction,
    TransactionState,
)
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.contracts.allocation import counts, record_deviation, waiting_at
from adapter.settlement.contracts.allocation_rule import share
from adapter.settlement.contracts.closing import agreement_fields, shrink
from adapter.settlement.contracts.delivery import measure_again
from adapter.settlement.postings import Why
from adapter.settlement.rows import Reading, padded
from adapter.settlement.work import Work

_CLOSED = (TransactionState.SETTLED, TransactionState.VOIDED)
_LISTS = {TradeSide.SELL: "interval", TradeSide.BUY: "target"}
_CAUSES = {TradeSide.SELL: "generation", TradeSide.BUY: "consumption"}


class _Share(NamedTuple):
    """What an agreement got of the interval."""

    row: Allocation
    agreement: Agreement
    part: int
    closed: TransactionState | None
    """State of the delivery that is settled or voided; None while it can still change."""

    def weight(self, side: TradeSide) -> int:
        """Return what it would take if it had nothing of the interval."""
        return self.agreement.remaining(side) + self.part


def reallocate(work: Work, reading_key: str, side: TradeSide) -> None:
    """Share a reading anew whose numbers have changed."""
    reading = _reading(work, reading_key)
    shares = _shares(work, reading, side)
    total = reading.generated if side is TradeSide.SELL else reading.consumed
    _note_differences(work, side, shares, total)
    open_shares = [one for one in shares if one.closed is None]
    waiting = waiting_at(work, reading.meter_id, side, reading.start_ms)
    others = [agreement for agreement in waiting if counts(reading, agreement)]
    free = max(0, total - sum(one.part for one in shares if one.closed is not None))
    weights = [one.weight(side) for one in open_shares] + [a.remaining(side) for a in others]
    for one, part in zip(open_shares, share(free, weights), strict=False):
        if part != one.part:
            _change(work, one, side, part)
    moved = sum(share(free, weights)[: len(open_shares)]) - sum(one.part for one in open_shares)
    if side is TradeSide.SELL:
        work.put(replace(reading, allocated_out=reading.allocated_out + moved))
    else:
        work.put(replace(reading, allocated_in=reading.allocated_in + moved))


def _reading(work: Work, key: str) -> Reading:
    reading = work.get(Reading, key)
    assert reading is not None
    return reading


def _shares(work: Work, reading: Reading, side: TradeSide) -> list[_Share]:
    """Return what each agreement got, in order of number."""
    found = []
    for row in work.find(Allocation, _LISTS[side], reading.key):
        agreement = work.get(Agreement, padded(row.agreement_no))
        assert agreement is not None
        part = row.seller if side is TradeSide.SELL else row.buyer
        if part is not None and counts(reading, agreement):
            found.append(_Share(row, agreement, part, _closed(work, agreement, row.start_ms)))
    return found


def _closed(work: Work, agreement: Agreement, start_ms: int) -> TransactionState | None:
    """Return how the delivery of an interval ended, None while it can still change."""
    for transaction in work.find(Transaction, "agreement", agreement.key):
        covers = transaction.start_ms <= start_ms < transaction.end_ms
        if covers and transaction.state in _CLOSED:
            return transaction.state
    return None if agreement.is_running else TransactionState.VOIDED


def _note_differences(work: Work, side: TradeSide, shares: Sequence[_Share], total: int) -> None:
    """Record what settled agreements would have got instead."""
    due = share(total, [one.weight(side) for one in shares])
    for one, part in zip(shares, due, strict=True):
        if one.closed is TransactionState.SETTLED and part != one.part:
            word = "less" if part < one.part else "more"
            row = Deviation(
                work.next_number("deviation"),
                one.agreement.agreement_no,
                one.agreement.terms.meter(side),
                one.row.start_ms,
                one.row.start_ms + EPOCH_MS,
                DeviationKind.CORRECTION,
                abs(part - one.part),
                f"{_CAUSES[side]} {word}",
            )
            record_deviation(work, row, agreement_fields(one.agreement))


def _change(work: Work, one: _Share, side: TradeSide, part: int) -> None:
    """Give an open agreement another part of the interval."""
    done = one.agreement.progress(side)
    progress = replace(done, allocated=done.allocated + part - one.part)
    agreement = one.agreement.with_progress(side, progress)
    row = one.row.with_part(agreement.terms.counted_by(side), part)
    if side is TradeSide.SELL:
        excess = max(0, row.seller_held - part)
        row = replace(row, seller_held=row.seller_held - excess)
        _release_grid(work, agreement, excess)
    work.put(row)
    work.put(agreement)
    fields = {"start": row.start_ms, "seller": row.seller, "buyer": row.buyer}
    work.emit("EnergyAllocated", {**agreement_fields(agreement), **fields})
    if row.start_ms < agreement.recorded_to_ms:
        measure_again(work, agreement)


def _release_grid(work: Work, agreement: Agreement, amount: int) -> None:
    """Free GRID that is held for an agreement, the newest holds first."""
    holds = work.open_holds(agreement.purpose)
    grid = [hold for hold in holds if accounts.asset_of(hold.account) == accounts.GRID]
    shrink(work, grid, amount, Why.EXCESS)
