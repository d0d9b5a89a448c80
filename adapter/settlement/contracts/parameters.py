"""registry: settings after entry 0. A change holds from the next epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from adapter.domain.quantities import to_text
from adapter.settlement.kinds import NUMBER, Kind, integer_kind, text_kind
from adapter.settlement.refusals import invalid
from adapter.settlement.rows import Parameters
from adapter.settlement.settings import FIXED, KINDS, check_together, kind_of
from adapter.settlement.work import Work


def _decode_value(name: str, wire: object) -> str:
    """Return the text of a setting; which kind it has is known with its name."""
    match wire:
        case bool():
            return str(wire).lower()
        case int() | Decimal():
            return str(wire)
        case list() | tuple():
            return ",".join(str(part) for part in wire)
        case str():
            return wire
    raise invalid(name, "not a number, text, list or true/false")


VALUE = Kind(
    "a setting's value",
    {"type": ["string", "number", "boolean", "array"]},
    _decode_value,
    text_kind("a setting's value", 256, 0).check,
)


@dataclass(frozen=True, slots=True)
class SetParameter:
    """Change a setting from the next epoch on."""

    name: Annotated[str, text_kind("a setting", 64)]
    value: Annotated[str, VALUE]


@dataclass(frozen=True, slots=True)
class SetMaxMetersPerUser:
    """Change how many meters a user may own, from the next epoch on."""

    value: Annotated[int, integer_kind("meters", 1, NUMBER.schema["maximum"])]


def check_parameter(work: Work, args: SetParameter) -> None:
    """Check the value by itself and with the other settings."""
    value = _read_value(args)
    if args.name in FIXED:
        raise invalid(args.name, "fixed in entry 0, because stored balances depend on it")
    parameters = work.get(Parameters, "")
    assert parameters is not None
    latest = {name: latest for name, latest, _, _ in parameters.values}
    check_together({**latest, args.name: value})


def set_parameter(work: Work, args: SetParameter) -> Mapping[str, Any]:
    """Change the setting."""
    return change(work, args.name, _read_value(args))


def set_max_meters_per_user(work: Work, args: SetMaxMetersPerUser) -> Mapping[str, Any]:
    """Change the setting `max_meters_per_user`."""
    return change(work, "max_meters_per_user", args.value)


def check_max_meters(_work: Work, args: SetMaxMetersPerUser) -> None:
    """Check the bound of the setting."""
    KINDS["max_meters_per_user"].check("value", args.value)


def change(work: Work, name: str, value: Any) -> Mapping[str, Any]:
    """Write a setting that holds from the next epoch; until then the present one does."""
    parameters = work.get(Parameters, "")
    assert parameters is not None
    from_ms = work.next_epoch_ms
    present = getattr(work.settings, name)
    kept = tuple(row for row in parameters.values if row[0] != name or row[2] < from_ms)
    work.put(Parameters((*kept, (name, value, from_ms, present))))
    epoch = from_ms // 1_000 // work.settings.epoch_s
    shown = {"parameter": name, "old": _shown(name, present), "new": _shown(name, value)}
    work.emit("ParameterSet", {**shown, "from_epoch": epoch})
    return {"parameter": name, "value": _shown(name, value), "from": from_ms}


def _read_value(args: SetParameter) -> Any:
    kind = kind_of(args.name)
    value = kind.decode(args.name, args.value)
    kind.check(args.name, value)
    return value


def _shown(name: str, value: Any) -> str:
    """Return a setting as its wire text."""
    if isinstance(value, bool):
        return str(value).lower()
    is_amount = isinstance(value, int) and isinstance(KINDS[name].encode(value), str)
    return to_text(value) if is_amount else str(value)
