"""Readings into agreements: shares per interval in time order, and the GRID held for them.

What the one meter of a market's agreement gives counts for both of its sides.

Per meter and side, an interval is allocated when its reading is stored and all earlier intervals
that have agreements are done, or for one agreement when its deadline has passed. Weights are the
remaining contracted quantities. A reading counts for an agreement if it was stored after the
acceptance and not after the deadline.
"""

from collections.abc import Sequence
from dataclasses import replace

from adapter.domain.instants import EPOCH_MS
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import (
    Agreement,
    Allocation,
    Deviation,
    DeviationKind,
    SideProgress,
)
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.contracts.allocation_rule import share
from adapter.settlement.contracts.closing import agreement_fields
from adapter.settlement.postings import Why
from adapter.settlement.rows import Reading, interval_key, padded
from adapter.settlement.work import Work


def allocate(work: Work, meter_id: str, side: TradeSide) -> None:
    """Allocate all intervals of a meter that can be, in time order."""
    waiting = {a.agreement_no: a for a in work.find(Agreement, f"open_{side}", meter_id)}
    while waiting:
        start_ms = min(a.progress(side).done_to_ms for a in waiting.values())
        reading = work.get(Reading, interval_key(meter_id, start_ms))
        if reading is None:
            return
        taking = [
            waiting[number]
            for number in sorted(waiting)
            if waiting[number].progress(side).done_to_ms == start_ms
        ]
        for agreement in allocate_interval(work, reading, side, taking, taking):
            waiting[agreement.agreement_no] = agreement
            if agreement.progress(side).done_to_ms >= agreement.terms.end_ms:
                del waiting[agreement.agreement_no]


def allocate_interval(
    work: Work,
    reading: Reading,
    side: TradeSide,
    weighing: Sequence[Agreement],
    taking: Sequence[Agreement],
) -> list[Agreement]:
    """Fix what the agreements in `taking` get of one reading, and return them with it.

    All in `weighing` share, in order of agreement_no; those not in `taking` get theirs later.
    """
    counted = [agreement for agreement in weighing if counts(reading, agreement)]
    shares = share(unallocated(reading, side), [a.remaining(side) for a in counted])
    share_of = {a.agreement_no: part for a, part in zip(counted, shares, strict=True)}
    fixed = [
        fix(work, agreement, side, reading.start_ms, share_of.get(agreement.agreement_no))
        for agreement in taking
    ]
    given = sum(share_of.get(agreement.agreement_no, 0) for agreement in taking)
    if side is TradeSide.SELL:
        work.put(replace(reading, allocated_out=reading.allocated_out + given))
        secure(work, reading, fresh=0)
        if any(agreement.agreement_no in share_of for agreement in taking):
            note_surplus(work, reading)
    else:
        work.put(replace(reading, allocated_in=reading.allocated_in + given))
    return fixed


def counts(reading: Reading, agreement: Agreement) -> bool:
    """Return whether a reading counts for an agreement."""
    in_time = reading.stored_ms <= agreement.terms.deadline_ms
    return in_time and reading.seq > agreement.activated_seq


def unallocated(reading: Reading, side: TradeSide) -> int:
    """Return what of a reading no agreement has got; a correction may leave less than nothing."""
    if side is TradeSide.SELL:
        return max(0, reading.generated - reading.allocated_out)
    return max(0, reading.consumed - reading.allocated_in)


def fix(
    work: Work, agreement: Agreement, side: TradeSide, start_ms: int, quantity: int | None
) -> Agreement:
    """Write what an interval gives to an agreement; None: nothing that counts was read."""
    key = f"{agreement.key}|{padded(start_ms)}"
    terms = agreement.terms
    row = work.get(Allocation, key) or Allocation(
        agreement.agreement_no, start_ms, terms.source_meter, terms.target_meter
    )
    part = quantity or 0
    row = row.with_part(terms.counted_by(side), part)
    work.put(row)
    done = agreement.progress(side)
    progress = SideProgress(
        done.allocated + part, start_ms + EPOCH_MS, done.intervals_read + (quantity is not None)
    )
    agreement = agreement.with_progress(side, progress)
    work.put(agreement)
    fields = {"start": start_ms, "seller": row.seller, "buyer": row.buyer}
    work.emit("EnergyAllocated", {**agreement_fields(agreement), **fields})
    return agreement


def fix_overdue(work: Work, agreement: Agreement, side: TradeSide) -> Agreement:
    """Allocate all open intervals of an agreement whose deadline has passed; unread ones are 0."""
    terms, missing = agreement.terms, 0
    meter_id = terms.meter(side)
    for start_ms in range(agreement.progress(side).done_to_ms, terms.end_ms, EPOCH_MS):
        reading = work.get(Reading, interval_key(meter_id, start_ms))
        if reading is not None and counts(reading, agreement):
            sharing = waiting_at(work, meter_id, side, start_ms)
            (agreement,) = allocate_interval(work, reading, side, sharing, [agreement])
        else:
            missing += 1
            agreement = fix(work, agreement, side, start_ms, None)
            if reading is not None and side is TradeSide.SELL:
                secure(work, reading, fresh=0)  # it came too late, and nobody waits for it now
    if missing:
        kind, cause = DeviationKind.MISSING_READING, f"{missing} intervals"
        note(work, agreement, side, kind, 0, cause)
    return agreement


def waiting_at(work: Work, meter_id: str, side: TradeSide, start_ms: int) -> list[Agreement]:
    """Return the agreements that still wait for an interval, in order of agreement_no."""
    waiting = work.find(Agreement, f"open_{side}", meter_id)
    return [
        a
        for a in waiting
        if a.progress(side).done_to_ms <= start_ms < a.terms.end_ms and a.terms.start_ms <= start_ms
    ]


def secure(work: Work, reading: Reading, fresh: int) -> None:
    """Hold the GRID of an interval for its agreements.

    `fresh` was minted just now and is available; with it goes what was held for the meter.
    Agreements take up to their share in order of number. What is left stays held for the meter
    while an agreement still waits for the interval, and is free afterwards.
    """
    left = fresh + free_interval(work, reading)
    if not left:
        return
    account = accounts.main(reading.owner, accounts.GRID)
    for row in work.find(Allocation, "interval", reading.key):
        agreement = work.get(Agreement, padded(row.agreement_no))
        assert agreement is not None
        part = min((row.seller or 0) - row.seller_held, left)
        if part > 0 and agreement.is_running:
            work.hold(account, part, agreement.purpose)
            work.put(replace(row, seller_held=row.seller_held + part))
            left -= part
    if left and waiting_at(work, reading.meter_id, TradeSide.SELL, reading.start_ms):
        work.hold(account, left, _purpose(reading))


def free_interval(work: Work, reading: Reading) -> int:
    """Release the GRID that is held for a meter until an interval is allocated; return it."""
    holds = work.open_holds(_purpose(reading))
    return sum(work.void(hold.id, Why.EXCESS) for hold in holds)


def _purpose(reading: Reading) -> str:
    return f"meter:{reading.meter_id}@{reading.start_ms // EPOCH_MS}"


def note_surplus(work: Work, reading: Reading) -> None:
    """Record generation that no agreement wanted, once none waits for the interval."""
    current = work.get(Reading, reading.key)
    assert current is not None
    surplus = unallocated(current, TradeSide.SELL)
    if surplus and not waiting_at(work, reading.meter_id, TradeSide.SELL, reading.start_ms):
        number = work.next_number("deviation")
        end_ms = reading.start_ms + EPOCH_MS
        kind = DeviationKind.SURPLUS_INJECTION
        row = Deviation(
            number, 0, reading.meter_id, reading.start_ms, end_ms, kind, surplus, "generation"
        )
        record_deviation(work, row, {})


def note(
    work: Work,
    agreement: Agreement,
    side: TradeSide,
    kind: DeviationKind,
    quantity: int,
    cause: str,
) -> None:
    """Record a deviation of an agreement over its whole window."""
    terms = agreement.terms
    row = Deviation(
        work.next_number("deviation"),
        agreement.agreement_no,
        terms.meter(side),
        terms.start_ms,
        terms.end_ms,
        kind,
        quantity,
        cause,
    )
    record_deviation(work, row, agreement_fields(agreement))


def record_deviation(work: Work, row: Deviation, named: dict[str, object]) -> None:
    """Write a deviation and say so."""
    work.put(row)
    work.emit(
        "DeviationRecorded",
        {
            **named,
            "meter_id": row.meter_id,
            "window": {"start": row.start_ms, "end": row.end_ms},
            "kind": row.kind,
            "quantity": row.quantity,
            "cause": row.cause,
        },
    )
