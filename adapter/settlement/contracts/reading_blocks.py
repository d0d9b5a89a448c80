"""oracle: up to a million readings in one command, signed once by their metering head-end.

A row is `<qqqq`: meter number, epoch, generated, consumed, in millionths of a kWh; the number of a
meter is in the answer of `assign_meter`, an epoch is `start_ms / 900000`. Rows rise strictly by
(epoch, meter number), so none stands twice. The head-end signs, with the key that is registered for
every meter in the block, `p2ptrade.readings.v1`, LF and the canonical bytes of
`{"ledger", "rows", "sha256"}`, the last being the digest of all rows. The rows are a block of the
entry; the journal names them by number and digest, and balances move once per owner.
Source: settlement specification, sections 5 and 10.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import MAX_MICRO, to_text
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.blocks import Block, BlockDigest
from adapter.settlement.canonical import EXACT_BELOW, canonical_bytes
from adapter.settlement.commands import NoEntry
from adapter.settlement.contracts.allocation import allocate
from adapter.settlement.contracts.minting import check_capacity, check_ended, mint, repay
from adapter.settlement.contracts.parties import binding_at
from adapter.settlement.contracts.readings import (
    counting_binding,
    new_reading,
    signature_holds,
    stored_reading,
    to_mint,
)
from adapter.settlement.kinds import Kind, text_kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Binding, Meter, Reading, padded
from adapter.settlement.work import Work

NAME = "readings"
HEADER = b"p2ptrade.readings.v1\n"
ROWS_MAX = 10**6
"""Rows of one block: more than any area meters in a quarter of an hour."""
_ROW_BYTES = Block(NAME, b"").row_bytes
_EPOCHS = EXACT_BELOW // EPOCH_MS


def block_bytes(ledger: str, rows: bytes) -> bytes:
    """Return the bytes that a head-end signs for the rows of a block."""
    return _signed_bytes(ledger, Block(NAME, rows))


def _signed_bytes(ledger: str, block: Block) -> bytes:
    return HEADER + canonical_bytes({"ledger": ledger, **block.digest().to_journal()})


def _decode_block(name: str, wire: object) -> Block:
    if not isinstance(wire, str) or len(wire) > ROWS_MAX * _ROW_BYTES * 2:
        raise invalid(name, f"not base64 of at most {ROWS_MAX} rows")
    try:
        return Block(NAME, base64.b64decode(wire, validate=True))
    except (binascii.Error, ValueError):
        raise invalid(name, "not base64") from None


def _check_block(name: str, value: Any) -> None:
    if not isinstance(value, Block) or value.name != NAME:
        raise invalid(name, "the rows are not at hand")
    if len(value.data) % _ROW_BYTES or not 1 <= value.rows <= ROWS_MAX:
        raise invalid(name, f"not 1 to {ROWS_MAX} rows of {_ROW_BYTES} bytes")
    before = (0, 0)
    for index, (number, epoch, generated, consumed) in enumerate(value):
        where = f"{name}[{index}]"
        if number < 1 or not before < (epoch, number):
            raise invalid(where, "rows must rise by epoch, then by meter number")
        if epoch >= _EPOCHS:
            raise invalid(where, f"{epoch} is no epoch")
        before = (epoch, number)
        for energy in (generated, consumed):
            if not 0 <= energy <= MAX_MICRO:
                msg = f"{where}: {energy} millionths are not 0 to {to_text(MAX_MICRO)} kWh"
                raise refusal("INVALID_ENERGY_AMOUNT", msg)


BLOCK = Kind(
    "base64 of rows `<qqqq`: meter number, epoch, generated, consumed",
    {"type": "string", "contentEncoding": "base64"},
    _decode_block,
    _check_block,
    lambda block: block.digest().to_journal(),
    lambda journal: BlockDigest(NAME, journal["rows"], journal["sha256"]),
)


@dataclass(frozen=True, slots=True)
class SubmitReadings:
    """Store a block of readings signed by the head-end of all its meters, or nothing of it."""

    block: Annotated[Block, BLOCK]
    signature: Annotated[str, text_kind("a signature in base64", 88)]


@dataclass(slots=True)
class _Metered:
    """One meter of a block."""

    meter_id: str
    binding: Binding | None = None
    """The one of the row before."""
    serves: bool = False
    """Whether an agreement waits for its readings."""


def submit_readings(work: Work, args: SubmitReadings) -> Mapping[str, Any]:
    """Store what is not stored yet; each class of refusals is looked for in all rows in turn."""
    meters = _meters(work, args.block)
    rows = [(_data(meters, row), binding) for row, binding in _bindings(work, meters, args.block)]
    _check_signature(work, args, {binding.public_key for _, binding in rows})
    fresh = [(data, binding) for data, binding in rows if stored_reading(work, data) is None]
    result = {"rows": args.block.rows, "stored": len(fresh)}
    if not fresh:
        raise NoEntry(result)
    check_ended(work, fresh[-1][0]["start"])
    for data, binding in fresh:
        check_capacity(data["meter_id"], data["generated"], binding.capacity_micro_kw)
    work.blocks.append(Block(NAME, args.block.data, work.settings.leaf_rows))
    _store(work, [new_reading(work, data, binding) for data, binding in fresh], meters)
    return result


def _meters(work: Work, block: Block) -> dict[int, _Metered]:
    """Return the meters of a block by number.

    Raises:
        ContractError: METER_NOT_FOUND.
    """
    meters: dict[int, _Metered] = {}
    for index, (number, _, _, _) in enumerate(block):
        if number not in meters:
            known = next(iter(work.find(Meter, "number", padded(number))), None)
            if known is None:
                msg = f"no meter has number {number}"
                raise refusal("METER_NOT_FOUND", msg, row=index)
            serves = any(work.find(Agreement, f"open_{s}", known.meter_id) for s in TradeSide)
            meters[number] = _Metered(known.meter_id, serves=serves)
    return meters


def _bindings(
    work: Work, meters: Mapping[int, _Metered], block: Block
) -> Iterator[tuple[tuple[int, ...], Binding]]:
    """Give each row with the binding of its interval.

    Raises:
        ContractError: METER_MISMATCH.
    """
    for row in block:
        meter = meters[row[0]]
        start_ms = row[1] * EPOCH_MS
        if meter.binding is None or not meter.binding.covers(start_ms):
            meter.binding = binding_at(work, meter.meter_id, start_ms)
        counting_binding(meter.binding, _data(meters, row))
        assert meter.binding is not None
        yield row, meter.binding


def _data(meters: Mapping[int, _Metered], row: tuple[int, ...]) -> dict[str, Any]:
    """Return a row as the reading it stands for."""
    number, epoch, generated, consumed = row
    return {
        "meter_id": meters[number].meter_id,
        "start": epoch * EPOCH_MS,
        "end": (epoch + 1) * EPOCH_MS,
        "generated": generated,
        "consumed": consumed,
    }


def _check_signature(work: Work, args: SubmitReadings, keys: set[str]) -> None:
    """Check that one key is registered for all meters and signed the block.

    Raises:
        ContractError: INVALID_SIGNATURE.
    """
    signed = _signed_bytes(work.genesis.ledger, args.block)
    if len(keys) > 1 or not signature_holds(min(keys), signed, args.signature):
        what = HEADER.decode().strip()
        msg = f"not signed over {what} by the one key that is registered for all meters of it"
        raise refusal("INVALID_SIGNATURE", msg)


def _store(work: Work, readings: list[Reading], meters: Mapping[int, _Metered]) -> None:
    """Store, allocate and mint; what no agreement waits for is minted in one sum per owner."""
    served = {meter.meter_id for meter in meters.values() if meter.serves}
    totals: dict[str, int] = {}
    waiting: list[tuple[str, int]] = []
    generated = consumed = minted = 0
    for reading in readings:
        amount = to_mint(work, reading)
        generated, consumed = generated + reading.generated, consumed + reading.consumed
        minted += amount
        if reading.meter_id in served:
            work.put(reading)
            waiting.append((reading.key, amount))
        else:
            work.put(replace(reading, minted=amount))
            issued = amount - repay(work, reading, amount)
            totals[reading.owner] = totals.get(reading.owner, 0) + issued
    fields = {"rows": len(readings), "generated": generated, "consumed": consumed}
    work.emit("ReadingsStored", {**fields, "withheld": generated - minted})
    for meter_id in sorted(served):
        for side in TradeSide:
            allocate(work, meter_id, side)
    for key, amount in waiting:
        allocated = work.get(Reading, key)
        assert allocated is not None
        if amount:
            mint(work, allocated, amount)
    for owner, amount in sorted(totals.items()):
        if amount:
            work.direct(accounts.ISSUED, accounts.main(owner, accounts.GRID), amount)
            work.emit("Minted", {"to": owner, "amount": amount})
            work.emit("Transfer", {"to": owner, "amount": amount})
