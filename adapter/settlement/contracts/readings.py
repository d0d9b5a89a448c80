"""oracle: signed meter readings, stored once, minted and allocated at once.

Source: settlement specification, section 10 and ruling R1.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from adapter.domain.instants import EPOCH_MS
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.canonical import canonical_bytes
from adapter.settlement.commands import NoEntry
from adapter.settlement.contracts.allocation import allocate
from adapter.settlement.contracts.minting import check_capacity, check_ended, mint, owed_by
from adapter.settlement.contracts.parties import binding_at, check_meter, is_verified
from adapter.settlement.kinds import ENERGY_OR_ZERO, ID, TIME, Kind, amount_kind, text_kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Binding, MeterKind, Reading, interval_key, padded
from adapter.settlement.state import Reader, Span
from adapter.settlement.work import Work

HEADER = b"p2ptrade.reading.v1\n"
REGISTER = amount_kind("a register in kWh", "INVALID_ENERGY_AMOUNT", 0, 10**17)
_SIGNATURE = text_kind("a signature in base64", 88)
_PARTS: Mapping[str, Kind] = {
    "meter_id": ID,
    "start": TIME,
    "end": TIME,
    "generated": ENERGY_OR_ZERO,
    "consumed": ENERGY_OR_ZERO,
    "register_generated": REGISTER,
    "register_consumed": REGISTER,
    "signature": _SIGNATURE,
}
_OPTIONAL = frozenset({"register_generated", "register_consumed"})


def reading_bytes(meter_data: Mapping[str, object]) -> bytes:
    """Return the bytes that a meter signs for a reading as it goes over the wire.

    Raises:
        ContractError: a part that no reading has, or a value out of bounds.
    """
    unsigned = {name: value for name, value in meter_data.items() if name != "signature"}
    return _signed_bytes({name: _part(name, value) for name, value in unsigned.items()})


def _part(name: str, wire: object) -> Any:
    if name not in _PARTS:
        raise invalid("meter_data", f"{str(name)[:60]!r} is no part of a reading")
    return _PARTS[name].decode(f"meter_data.{name}", wire)


def _signed_bytes(data: Mapping[str, Any]) -> bytes:
    unsigned = {name: _PARTS[name].encode(v) for name, v in data.items() if name != "signature"}
    return HEADER + canonical_bytes(unsigned)


def _decode_data(name: str, wire: object) -> dict[str, Any]:
    if not isinstance(wire, Mapping):
        raise invalid(name, f"not an object of {', '.join(_PARTS)}")
    for part in wire:
        _part(str(part), wire[part])
    return {part: _part(part, wire[part]) for part in _PARTS if part in wire}


def _check_data(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise invalid(name, f"not an object of {', '.join(_PARTS)}")
    for part, kind in _PARTS.items():
        where = f"{name}.{part}"
        if part in value:
            kind.check(where, value[part])
        elif part not in _OPTIONAL:
            raise invalid(where, f"missing: {kind.title}")
    start_ms, end_ms = value["start"], value["end"]
    if start_ms % EPOCH_MS or end_ms != start_ms + EPOCH_MS:
        msg = f"{name}: start and end are not one 15-minute interval on the UTC grid"
        raise refusal("INVALID_INTERVAL", msg)


METER_DATA = Kind(
    "a signed reading",
    {
        "type": "object",
        "properties": {name: kind.schema for name, kind in _PARTS.items()},
        "required": [name for name in _PARTS if name not in _OPTIONAL],
        "additionalProperties": False,
    },
    _decode_data,
    _check_data,
    lambda data: {name: _PARTS[name].encode(value) for name, value in data.items()},
    lambda data: {name: _PARTS[name].restore(value) for name, value in data.items()},
)


@dataclass(frozen=True, slots=True)
class SubmitReading:
    """Store a reading signed by its meter, mint its generation and allocate it."""

    meter_data: Annotated[Mapping[str, Any], METER_DATA]


def submit_reading(work: Work, args: SubmitReading) -> Mapping[str, Any]:
    """Store the reading once; the same reading again changes nothing."""
    data = args.meter_data
    binding = signing_binding(work, data)
    stored = stored_reading(work, data)
    if stored is not None:
        raise NoEntry(_named(stored), stored.seq)
    check_registers(work, data)
    check_ended(work, data["start"])
    check_capacity(data["meter_id"], data["generated"], binding.capacity_micro_kw)
    reading = new_reading(work, data, binding)
    store(work, reading)
    return _named(reading)


def _named(reading: Reading) -> dict[str, Any]:
    return {"meter_id": reading.meter_id, "interval": reading.start_ms}


def signing_binding(work: Work, data: Mapping[str, Any]) -> Binding:
    """Return the binding of the interval, whose key signed the reading.

    Raises:
        ContractError: METER_NOT_FOUND, METER_MISMATCH, INVALID_SIGNATURE.
    """
    meter_id = data["meter_id"]
    check_meter(work, meter_id)
    binding = counting_binding(binding_at(work, meter_id, data["start"]), data)
    if not signature_holds(binding.public_key, _signed_bytes(data), data["signature"]):
        msg = f"not signed by the key registered for {meter_id} over {HEADER.decode().strip()}"
        raise refusal("INVALID_SIGNATURE", msg)
    return binding


def counting_binding(binding: Binding | None, data: Mapping[str, Any]) -> Binding:
    """Return the binding of the interval; its meter counts what the reading says.

    Raises:
        ContractError: METER_MISMATCH.
    """
    meter_id = data["meter_id"]
    if binding is None:
        raise refusal("METER_MISMATCH", f"{meter_id} had no owner in that interval")
    wrong = {MeterKind.GENERATION: data["consumed"], MeterKind.CONSUMPTION: data["generated"]}
    if wrong.get(binding.kind):
        raise refusal("METER_MISMATCH", f"{meter_id} counts {binding.kind} only")
    return binding


def stored_reading(work: Work, data: Mapping[str, Any]) -> Reading | None:
    """Return the stored reading that says the same, None when the interval has none.

    Raises:
        ContractError: READING_CONFLICT, another one is stored.
    """
    stored = work.get(Reading, interval_key(data["meter_id"], data["start"]))
    if stored is not None and stored.digest != fingerprint(data):
        msg = f"another reading from {data['start']} is stored: propose a correction"
        raise refusal("READING_CONFLICT", msg)
    return stored


def fingerprint(data: Mapping[str, Any]) -> str:
    """Return what tells two readings apart: SHA-256 of the signed bytes in hex."""
    return hashlib.sha256(_signed_bytes(data)).hexdigest()


def new_reading(work: Work, data: Mapping[str, Any], binding: Binding) -> Reading:
    """Return the row of a reading that comes now."""
    return Reading(
        data["meter_id"],
        data["start"],
        binding.owner,
        data["generated"],
        data["consumed"],
        data.get("register_generated"),
        data.get("register_consumed"),
        fingerprint(data),
        work.seq,
        work.now_ms,
    )


def store(work: Work, reading: Reading, request_no: int | None = None) -> None:
    """Store, allocate and mint; a user that is not ACTIVE gets no GRID for now."""
    work.put(reading)
    amount = to_mint(work, reading)
    note_fulfilled(work, reading, amount, request_no)
    for side in TradeSide:
        allocate(work, reading.meter_id, side)
    allocated = work.get(Reading, reading.key)
    assert allocated is not None
    if amount:
        mint(work, allocated, amount)


def to_mint(work: Work, reading: Reading) -> int:
    """Return what of a reading is minted without asking: nothing for an owner that left ACTIVE.

    What is withheld is minted when a request for the interval is fulfilled later, or by the owner.
    """
    if not work.settings.auto_mint or not is_verified(work, reading.owner):
        return 0
    return reading.generated - reading.minted


def note_fulfilled(work: Work, reading: Reading, amount: int, request_no: int | None) -> None:
    """Say what a reading brought; `amount` of it is about to be minted."""
    work.emit(
        "EnergyDataFulfilled",
        {
            "request_no": request_no,
            "meter_id": reading.meter_id,
            "interval": reading.start_ms,
            "generated": reading.generated,
            "consumed": reading.consumed,
            "tokens_minted": amount - min(amount, owed_by(work, reading)),
            "withheld": reading.generated - reading.minted - amount,
        },
    )


def signature_holds(public_key: str, message: bytes, signature: str) -> bool:
    """Return whether an Ed25519 signature in base64 holds for a key in base64."""
    try:
        raw = base64.b64decode(signature, validate=True)
        VerifyKey(base64.b64decode(public_key)).verify(message, raw)
    except (BadSignatureError, binascii.Error, ValueError):
        return False
    return True


def check_registers(reader: Reader, data: Mapping[str, Any]) -> None:
    """Check that registers never run backwards between neighbouring readings.

    Raises:
        ContractError: REGISTER_NOT_MONOTONIC.
    """
    earlier = Span(end=padded(data["start"]), newest_first=True)
    later = Span(start=padded(data["start"] + EPOCH_MS))
    for name in sorted(_OPTIONAL & data.keys()):
        for span, sign in ((earlier, 1), (later, -1)):
            known = _register(reader, data["meter_id"], name, span)
            if known is not None and sign * (data[name] - known) < 0:
                msg = f"meter_data.{name}: {data[name]} runs backwards against {known}"
                raise refusal("REGISTER_NOT_MONOTONIC", msg)


def _register(reader: Reader, meter_id: str, name: str, span: Span) -> int | None:
    """Return the nearest stored register of that name."""
    found = (getattr(r, name) for r in reader.find(Reading, "registers", meter_id, span))
    return next((register for register in found if register is not None), None)
