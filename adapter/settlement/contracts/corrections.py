"""oracle: replacing a stored reading, proposed by a head-end and confirmed by a regulator.

Nothing of the past is changed: a correction reverses and mints in an entry of its own.
Source: settlement specification, section 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.contracts.allocation import free_interval, secure
from adapter.settlement.contracts.minting import check_capacity, known_reading, mint, owe
from adapter.settlement.contracts.readings import (
    METER_DATA,
    check_registers,
    fingerprint,
    signing_binding,
    to_mint,
)
from adapter.settlement.contracts.reallocation import reallocate
from adapter.settlement.kinds import ID, INTERVAL, NUMBER, REASON
from adapter.settlement.oracle_rows import Correction
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Reading, padded
from adapter.settlement.state import Reader
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True)
class CorrectReading:
    """Propose another signed reading for an interval that has one; nothing changes yet."""

    meter_id: Annotated[str, ID]
    interval: Annotated[int, INTERVAL]
    meter_data: Annotated[Mapping[str, Any], METER_DATA]
    reason: Annotated[str, REASON] = ""


def correct_reading(work: Work, args: CorrectReading) -> Mapping[str, Any]:
    """Note the proposal."""
    data = args.meter_data
    stands = known_reading(work, args.meter_id, args.interval)
    if (data["meter_id"], data["start"]) != (args.meter_id, args.interval):
        raise refusal("METER_MISMATCH", "meter_data speaks of another meter or interval")
    binding = signing_binding(work, data)
    check_registers(work, data)
    check_capacity(args.meter_id, data["generated"], binding.capacity_micro_kw)
    correction = Correction(
        work.next_number("correction"),
        work.actor,
        args.meter_id,
        args.interval,
        data["generated"],
        data["consumed"],
        data.get("register_generated"),
        data.get("register_consumed"),
        fingerprint(data),
        args.reason,
        stands.digest,
    )
    work.put(correction)
    work.emit(
        "ReadingCorrectionProposed",
        {
            "correction_no": correction.correction_no,
            "meter_id": args.meter_id,
            "interval": args.interval,
        },
    )
    return {"correction_no": correction.correction_no}


@dataclass(frozen=True, slots=True)
class ConfirmCorrection:
    """Replace a reading by its proposed correction: reversal, new mint, new allocation."""

    correction_no: Annotated[int, NUMBER]


def confirm_correction(work: Work, args: ConfirmCorrection) -> Mapping[str, Any]:
    """Confirm what somebody else proposed."""
    correction = known_correction(work, args.correction_no)
    if work.actor == correction.proposer:
        raise refusal("NOT_AUTHORIZED", f"{work.actor} proposed it, another regulator confirms")
    if correction.confirmed_by:
        raise refusal("INVALID_TRANSITION", f"{correction.confirmed_by} confirmed it already")
    check_registers(work, _registers(correction))
    old = known_reading(work, correction.meter_id, correction.start_ms)
    if old.digest != correction.replaces:
        msg = f"correction {correction.correction_no} was proposed for a reading replaced since"
        raise refusal("READING_CONFLICT", msg)
    work.put(replace(correction, confirmed_by=work.actor))
    owed = _replace(work, old, correction)
    work.emit(
        "ReadingCorrected",
        {
            "correction_no": correction.correction_no,
            "meter_id": correction.meter_id,
            "interval": correction.start_ms,
            "old": old.generated,
            "new": correction.generated,
            "old_consumed": old.consumed,
            "new_consumed": correction.consumed,
            "owed": owed,
        },
    )
    return {"correction_no": correction.correction_no, "meter_id": correction.meter_id}


def known_correction(reader: Reader, correction_no: int) -> Correction:
    """Return a proposed or confirmed correction.

    Raises:
        ContractError: READING_NOT_FOUND.
    """
    correction = reader.get(Correction, padded(correction_no))
    if correction is None:
        raise refusal("READING_NOT_FOUND", f"no correction {correction_no}")
    return correction


def _registers(correction: Correction) -> dict[str, Any]:
    """Return what `check_registers` looks at."""
    values = {
        "register_generated": correction.register_generated,
        "register_consumed": correction.register_consumed,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return {"meter_id": correction.meter_id, "start": correction.start_ms, **given}


def _replace(work: Work, old: Reading, correction: Correction) -> int:
    """Put the new numbers in force, and return the GRID that could not be taken back."""
    corrected = replace(
        old,
        generated=correction.generated,
        consumed=correction.consumed,
        register_generated=correction.register_generated,
        register_consumed=correction.register_consumed,
        digest=correction.digest,
    )
    work.put(corrected)
    for side in TradeSide:
        reallocate(work, corrected.key, side)
    freed = free_interval(work, corrected)
    _return_retired(work, _current(work, corrected))
    taken, owed = _take_back(work, _current(work, corrected))
    if freed > taken:
        secure(work, _current(work, corrected), fresh=freed - taken)
    amount = to_mint(work, _current(work, corrected))
    if amount > 0:
        mint(work, _current(work, corrected), amount)
    return owed


def _current(work: Work, reading: Reading) -> Reading:
    current = work.get(Reading, reading.key)
    assert current is not None
    return current


def _return_retired(work: Work, reading: Reading) -> None:
    """Give back GRID that was retired against consumption that never was."""
    excess = reading.retired - reading.consumed
    if excess > 0:
        work.direct(accounts.RETIRED, accounts.main(reading.owner, accounts.GRID), excess)
        work.put(replace(reading, retired=reading.consumed))
        work.emit("Transfer", {"to": reading.owner, "amount": excess})


def _take_back(work: Work, reading: Reading) -> tuple[int, int]:
    """Reverse what was minted in excess: return what was available, and what is owed now."""
    excess = reading.minted - reading.generated
    if excess <= 0:
        return 0, 0
    account = accounts.main(reading.owner, accounts.GRID)
    taken = min(work.available(account), excess)
    if taken:
        work.direct(account, accounts.ISSUED, taken)
        work.emit("Transfer", {"from": reading.owner, "amount": taken})
    work.put(replace(reading, minted=reading.generated))
    owe(work, reading, excess - taken)
    return taken, excess - taken
