"""The argument `tariff`: from the network's Tariff object to one exact, canonical spelling.

Taken from the object is what a price depends on; alternative texts, the energy mix and prices that
are not charged here are left out. Amounts are strings of millionths, as everywhere in the journal:

    {"currency", "elements": [{"prices": [{"type", "price", "vat", "step"}],
     "start"?, "end"?, "days"?, "min"?, "max"?}], "min_price"?, "max_price"?}

`start` and `end` are minutes of the local day, `days` count from Monday 0.
Source: contract specification, section 3.4; decision 0014.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from adapter.domain.errors import ContractError, QuantityError
from adapter.domain.quantities import MAX_MICRO, MICRO, to_micro
from adapter.domain.tariff_dearest import PRICED
from adapter.domain.tariff_elements import Component, PriceComponent, Tariff, TariffElement
from adapter.settlement.kinds import Kind
from adapter.settlement.refusals import invalid

MAX_ELEMENTS = 100
"""Elements of one tariff: it is kept in the journal, and a rate for every hour of a week fits
twice over."""
MAX_COMPONENTS = 20
MAX_STEP = 10**6
"""Wh or seconds: a thousand kWh, eleven days."""
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "tariff": ("currency", "elements"),
    "element": ("priceComponents",),
    "component": ("type", "price"),
}
_KNOWN: Mapping[str, frozenset[str]] = {
    "tariff": frozenset(
        {"currency", "elements", "minPrice", "maxPrice", "tariffId", "type", "tariffAltText"}
        | {"tariffAltUrl", "energyMix"}
    ),
    "element": frozenset({"priceComponents", "restrictions"}),
    "component": frozenset({"type", "price", "vat", "stepSize"}),
    "restrictions": frozenset(
        {"startTime", "endTime", "dayOfWeek", "minKWh", "maxKWh", "reservation"}
    ),
    "bound": frozenset({"exclVat", "inclVat"}),
}
"""Names of each object; those that begin with `_` or `@` say nothing here."""


def read_tariff(name: str, wire: object) -> Tariff:
    """Return the tariff that an object of the network means.

    Raises:
        ContractError: INVALID_INPUT, naming the place.
    """
    given = _object(name, wire, "tariff")
    if not isinstance(given["currency"], str):
        raise _wrong(name, "currency", "not a currency code")
    place = f"{name}.elements"
    listed = _listed(place, given["elements"], MAX_ELEMENTS)
    elements = [_element(f"{place}[{i}]", one) for i, one in enumerate(listed)]
    held = tuple(element for element in elements if element.for_reservations)
    if not held:
        raise invalid(place, "none holds for a contract, which is a reservation")
    low, high = (_bound(f"{name}.{key}", given.get(key)) for key in ("minPrice", "maxPrice"))
    if low is not None and high is not None and low > high:
        raise _wrong(name, "minPrice", "above maxPrice")
    return Tariff(given["currency"], held, low, high)


def _element(name: str, wire: object) -> TariffElement:
    given = _object(name, wire, "element")
    place = f"{name}.priceComponents"
    listed = _listed(place, given["priceComponents"], MAX_COMPONENTS)
    parts = [_component(f"{place}[{i}]", one) for i, one in enumerate(listed)]
    if not any(part.kind is Component.ENERGY for part in parts):
        raise invalid(place, "no ENERGY price")
    place = f"{name}.restrictions"
    limits = _object(place, given.get("restrictions", {}), "restrictions")
    start, end = (_minute(f"{place}.{key}", limits.get(key)) for key in ("startTime", "endTime"))
    if (start is None) is not (end is None):
        raise invalid(place, "startTime and endTime come together")
    low, high = (_amount(f"{place}.{key}", limits.get(key)) for key in ("minKWh", "maxKWh"))
    if high is not None and (low or 0) >= high:
        raise invalid(place, "minKWh is not below maxKWh")
    reservation = limits.get("reservation", "RESERVED")
    if reservation not in ("RESERVED", "NOT_RESERVED"):
        raise _wrong(place, "reservation", "neither RESERVED nor NOT_RESERVED")
    return TariffElement(
        tuple(part for part in parts if part.kind in PRICED),
        start,
        end,
        frozenset(_days(f"{place}.dayOfWeek", limits.get("dayOfWeek", []))),
        low or Fraction(0),
        high,
        reservation == "RESERVED",
    )


def _component(name: str, wire: object) -> PriceComponent:
    given = _object(name, wire, "component")
    if given["type"] not in list(Component):
        raise _wrong(name, "type", f"none of {', '.join(Component)}")
    step = given.get("stepSize", 1)
    if isinstance(step, Decimal) and step.is_finite() and step == step.to_integral_value():
        step = int(step)
    if type(step) is not int or not 1 <= step <= MAX_STEP:
        raise _wrong(name, "stepSize", f"not a whole number from 1 to {MAX_STEP}")
    price, vat = (_amount(f"{name}.{key}", given.get(key, 0)) for key in ("price", "vat"))
    assert price is not None
    assert vat is not None
    return PriceComponent(Component(given["type"]), price, vat, step)


def _bound(name: str, wire: object) -> Fraction | None:
    if wire is None:
        return None
    given = _object(name, wire, "bound")
    without, with_vat = (_amount(f"{name}.{key}", given.get(key)) for key in _BOUND_PARTS)
    if without is not None and with_vat is not None and with_vat < without:
        raise invalid(name, "inclVat is below exclVat")
    return without


_BOUND_PARTS = ("exclVat", "inclVat")


def _object(name: str, wire: object, kind: str) -> Mapping[str, Any]:
    if not isinstance(wire, Mapping):
        raise invalid(name, "not an object")
    for key in wire:
        if key not in _KNOWN[kind] and str(key)[:1] not in ("_", "@"):
            raise _wrong(name, str(key)[:40], "no such part of a tariff")
    for key in _NEEDED.get(kind, ()):
        if key not in wire:
            raise _wrong(name, key, "missing")
    return wire


def _wrong(name: str, part: str, why: str) -> ContractError:
    return invalid(f"{name}.{part}", why)


def _listed(name: str, wire: object, most: int) -> Sequence[object]:
    if not isinstance(wire, list | tuple) or not 1 <= len(wire) <= most:
        raise invalid(name, f"not a list of 1 to {most}")
    return wire


def _minute(name: str, wire: object) -> int | None:
    if wire is None:
        return None
    found = _TIME.fullmatch(wire) if isinstance(wire, str) else None
    if found is None:
        raise invalid(name, "not a time of day from 00:00 to 23:59")
    return int(found[1]) * 60 + int(found[2])


def _days(name: str, wire: object) -> list[int]:
    if not isinstance(wire, list | tuple) or not all(day in WEEKDAYS for day in wire):
        raise invalid(name, "not a list of days such as MONDAY")
    return [WEEKDAYS.index(day) for day in wire]


def _amount(name: str, wire: object) -> Fraction | None:
    if wire is None:
        return None
    if isinstance(wire, bool) or not isinstance(wire, int | Decimal | str):
        raise invalid(name, "not a number")
    try:
        micro = to_micro(wire)
    except QuantityError as error:
        raise invalid(name, error.message) from None
    if not 0 <= micro <= MAX_MICRO:
        raise invalid(name, "not between 0 and 1000000")
    return Fraction(micro, MICRO)


# Canonical


def write_tariff(tariff: Tariff) -> dict[str, Any]:
    """Return the canonical form of a tariff."""
    bounds = {"min_price": tariff.min_price, "max_price": tariff.max_price}
    return {
        "currency": tariff.currency,
        "elements": [_written_element(element) for element in tariff.elements],
        **{name: _written(bound) for name, bound in bounds.items() if bound is not None},
    }


def _written_element(element: TariffElement) -> dict[str, Any]:
    written: dict[str, Any] = {
        "prices": [
            {
                "type": part.kind.value,
                "price": _written(part.price),
                "vat": _written(part.vat_percent),
                "step": part.step,
            }
            for part in element.components
        ]
    }
    if element.start_minute is not None:
        written |= {"start": element.start_minute, "end": element.end_minute}
    if element.weekdays:
        written["days"] = sorted(element.weekdays)
    if element.min_kwh:
        written["min"] = _written(element.min_kwh)
    if element.max_kwh is not None:
        written["max"] = _written(element.max_kwh)
    return written


def _written(amount: Fraction) -> str:
    micro = amount * MICRO
    assert micro.denominator == 1, "amounts came with at most six decimals"
    return str(micro.numerator)


def restore_tariff(canonical: Mapping[str, Any]) -> Tariff:
    """Return the tariff of its canonical form.

    Raises:
        ContractError, ArithmeticError, LookupError, TypeError, ValueError: it is none.
    """
    return read_tariff("tariff", _wire_of(canonical))


def _wire_of(canonical: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical form as the network would write it."""
    names = {"min_price": "minPrice", "max_price": "maxPrice"}
    return {
        "currency": canonical["currency"],
        "elements": [_wire_element(element) for element in canonical["elements"]],
        **{
            wire: {"exclVat": _wire_amount(canonical[name])}
            for name, wire in names.items()
            if name in canonical
        },
    }


def _wire_element(element: Mapping[str, Any]) -> dict[str, Any]:
    writers: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
        ("start", "startTime", _wire_minute),
        ("end", "endTime", _wire_minute),
        ("days", "dayOfWeek", lambda days: [WEEKDAYS[day] for day in days]),
        ("min", "minKWh", _wire_amount),
        ("max", "maxKWh", _wire_amount),
    )
    return {
        "priceComponents": [
            {
                "type": part["type"],
                "price": _wire_amount(part["price"]),
                "vat": _wire_amount(part["vat"]),
                "stepSize": part["step"],
            }
            for part in element["prices"]
        ],
        "restrictions": {
            wire: write(element[name]) for name, wire, write in writers if name in element
        },
    }


def _wire_amount(text: str) -> Decimal:
    return Decimal(int(text)).scaleb(-6)


def _wire_minute(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _decode(name: str, wire: object) -> dict[str, Any]:
    return write_tariff(read_tariff(name, wire))


def _check(name: str, value: Any) -> None:
    """Check a canonical form, also of a command that was built in code."""
    try:
        same = write_tariff(restore_tariff(value)) == value
    except ContractError as error:
        raise invalid(name, error.message) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        same = False
    if not same:
        raise invalid(name, "not the canonical form of a tariff")


TARIFF = Kind(
    "a tariff of the network, EnergyCoordination/v1",
    {
        "type": "object",
        "properties": {
            "currency": {"type": "string"},
            "elements": {"type": "array", "minItems": 1, "maxItems": MAX_ELEMENTS},
        },
        "required": ["currency", "elements"],
    },
    _decode,
    _check,
)
