"""GRID comes into being only here, against a stored reading, and leaves only here."""

from dataclasses import replace

from adapter.domain.instants import EPOCH_MS
from adapter.settlement import accounts
from adapter.settlement.contracts.allocation import secure
from adapter.settlement.oracle_rows import Owed, owed_key
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Reading, interval_key
from adapter.settlement.state import Reader
from adapter.settlement.work import Work

QUARTERS = 4
"""Intervals in an hour: kW × ¼ h = kWh."""


def known_reading(reader: Reader, meter_id: str, start_ms: int) -> Reading:
    """Return a stored reading.

    Raises:
        ContractError: READING_NOT_FOUND.
    """
    reading = reader.get(Reading, interval_key(meter_id, start_ms))
    if reading is None:
        msg = f"no reading of {meter_id} for the interval that starts at {start_ms}"
        raise refusal("READING_NOT_FOUND", msg)
    return reading


def check_ended(work: Work, start_ms: int) -> None:
    """Check that a 15-minute interval is over.

    Raises:
        ContractError: INTERVAL_NOT_ENDED, with retry_at.
    """
    end_ms = start_ms + EPOCH_MS
    if work.now_ms < end_ms:
        msg = f"the interval ends at {end_ms}, now is {work.now_ms}"
        raise refusal("INTERVAL_NOT_ENDED", msg, retry_at=end_ms)


def check_capacity(meter_id: str, energy: int, capacity_micro_kw: int) -> None:
    """Check that a meter can generate that much in a quarter of an hour.

    Raises:
        ContractError: CAPACITY_EXCEEDED.
    """
    most = capacity_micro_kw // QUARTERS
    if energy > most:
        msg = f"{meter_id} can generate {most} in 15 minutes, not {energy}, in millionths of a kWh"
        raise refusal("CAPACITY_EXCEEDED", msg, capacity=str(most))


def mint(work: Work, reading: Reading, amount: int) -> int:
    """Mint to the owner of the interval, and return what was issued.

    What the owner owes for the meter after a correction is repaid first: that much is not issued.
    Agreements that wait for the interval get the rest held.
    """
    repaid = repay(work, reading, amount)
    issued = amount - repaid
    if issued:
        work.direct(accounts.ISSUED, accounts.main(reading.owner, accounts.GRID), issued)
    current = replace(reading, minted=reading.minted + amount)
    work.put(current)
    work.emit(
        "Minted",
        {
            "to": reading.owner,
            "amount": issued,
            "meter_id": reading.meter_id,
            "interval": reading.start_ms,
            "repaid": repaid or None,
        },
    )
    if issued:
        work.emit("Transfer", {"to": reading.owner, "amount": issued})
        secure(work, current, fresh=issued)
    return issued


def owed_by(reader: Reader, reading: Reading) -> int:
    """Return what the owner of a reading owes for its meter."""
    owed = reader.get(Owed, owed_key(reading.meter_id, reading.owner))
    return owed.amount if owed else 0


def owe(work: Work, reading: Reading, more: int) -> None:
    """Add to what the owner owes for the meter; a negative number repays."""
    if more:
        amount = owed_by(work, reading) + more
        work.put(Owed(reading.meter_id, reading.owner, amount))


def repay(work: Work, reading: Reading, amount: int) -> int:
    """Return how much of a mint goes into what is owed."""
    repaid = min(owed_by(work, reading), amount)
    owe(work, reading, -repaid)
    return repaid


def retire(work: Work, reading: Reading, amount: int, code: str) -> None:
    """Retire GRID of the owner of the interval against its consumption.

    Raises:
        ContractError: READING_EXHAUSTED, then `code` for too little GRID.
    """
    left = reading.consumed - reading.retired
    if amount > left:
        msg = f"{left} of the consumption are not retired yet, {amount} wanted, in millionths"
        raise refusal("READING_EXHAUSTED", msg, available=str(left))
    account = accounts.main(reading.owner, accounts.GRID)
    work.require(account, amount, code, f"GRID of {reading.owner}")
    work.direct(account, accounts.RETIRED, amount)
    work.put(replace(reading, retired=reading.retired + amount))
    fields = {"amount": amount, "meter_id": reading.meter_id, "interval": reading.start_ms}
    work.emit("Burned", {"from": reading.owner, **fields})
    work.emit("Transfer", {"from": reading.owner, "amount": amount})
