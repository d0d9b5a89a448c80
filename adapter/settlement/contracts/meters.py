"""registry: meters and who owns them from when to when."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from nacl.bindings import crypto_core_ed25519_is_valid_point

from adapter.settlement.contracts.orders import has_open_order
from adapter.settlement.contracts.parties import (
    check_meter,
    known_user,
    live_agreements,
    live_binding,
    verify,
)
from adapter.settlement.contracts.requests import has_pending_request
from adapter.settlement.kinds import ID, METER, POWER, USER, Kind, choice_kind, text_kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Binding, Meter, MeterKind
from adapter.settlement.work import Work


def _decode_key(name: str, wire: object) -> str:
    if not isinstance(wire, str):
        raise invalid(name, "not base64 of 32 bytes")
    return wire


def _check_key(name: str, value: Any) -> None:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raw = b""
    if len(raw) != 32 or base64.b64encode(raw).decode() != value:
        raise invalid(name, "not base64 of 32 bytes")
    if not crypto_core_ed25519_is_valid_point(raw):
        raise invalid(name, "no point that Ed25519 can trust")


PUBLIC_KEY = Kind(
    "an Ed25519 public key in base64",
    {"type": "string", "minLength": 44, "maxLength": 44},
    _decode_key,
    _check_key,
)


@dataclass(frozen=True, slots=True)
class AssignMeter:
    """Give a meter an owner from the next 15-minute boundary."""

    meter_id: Annotated[str, METER]
    owner: Annotated[str, USER]
    capacity_kw: Annotated[int, POWER]
    public_key: Annotated[str, PUBLIC_KEY]
    kind: Annotated[str, choice_kind("a meter kind", MeterKind)] = MeterKind.BOTH
    area: Annotated[str, text_kind("a market area", 64)] = "main"


def assign_meter(work: Work, args: AssignMeter) -> Mapping[str, Any]:
    """Bind the meter; an interval has one owner."""
    known_user(work, args.owner)
    live = live_binding(work, args.meter_id)
    if live is not None:
        raise refusal("METER_ALREADY_ASSIGNED", f"{args.meter_id} belongs to {live.owner}")
    verify(work, args.owner)
    most = work.settings.max_meters_per_user
    if len(work.find(Binding, "owner", args.owner)) >= most:
        raise refusal("TOO_MANY_METERS", f"{args.owner} owns {most} meters, as many as allowed")
    meter = work.get(Meter, args.meter_id)
    if meter is None:
        meter = Meter(args.meter_id, work.next_number("meter"))
        work.put(meter)
    binding = Binding(
        args.meter_id,
        args.owner,
        MeterKind(args.kind),
        args.capacity_kw,
        args.public_key,
        args.area,
        from_ms=work.next_epoch_ms,
    )
    work.put(binding)
    work.emit(
        "MeterAssigned",
        {
            "meter_id": args.meter_id,
            "owner": args.owner,
            "kind": binding.kind,
            "area": args.area,
            "from": binding.from_ms,
        },
    )
    return {"meter_id": args.meter_id, "from": binding.from_ms, "number": meter.number}


@dataclass(frozen=True, slots=True)
class UnassignMeter:
    """Take a meter from its owner at the next 15-minute boundary."""

    meter_id: Annotated[str, ID]


def unassign_meter(work: Work, args: UnassignMeter) -> Mapping[str, Any]:
    """Close the binding unless something still counts on it."""
    check_meter(work, args.meter_id)
    live = live_binding(work, args.meter_id)
    if live is None:
        raise refusal("METER_NOT_FOUND", f"{args.meter_id} belongs to nobody")
    if live_agreements(work, args.meter_id):
        raise refusal("METER_IN_USE", f"{args.meter_id} serves a live agreement")
    if has_open_order(work, live.owner, args.meter_id):
        raise refusal("METER_IN_USE", f"{args.meter_id} has a live order")
    if has_pending_request(work, args.meter_id, work.now_ms):
        raise refusal("METER_IN_USE", f"a reading of {args.meter_id} is asked for")
    until_ms = work.next_epoch_ms
    work.put(replace(live, until_ms=until_ms))
    fields = {"meter_id": live.meter_id, "owner": live.owner, "until": until_ms}
    work.emit("MeterUnassigned", fields)
    return {"meter_id": live.meter_id, "until": until_ms}
