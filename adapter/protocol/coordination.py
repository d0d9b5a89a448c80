"""EnergyCoordination off the wire: tariffs and offer curves as exact values.

The objects have passed their schema. Source: contract specification, section 3.4.
"""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from adapter.domain.curves import CurvePoint, OfferCurve
from adapter.domain.tariff import Component, PriceComponent, Tariff, TariffElement

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def read_tariff(value: Mapping[str, Any]) -> Tariff:
    """Return the tariff that an object on the wire says."""
    return Tariff(
        value["currency"],
        tuple(map(_element, value["elements"])),
        _optional(value.get("minPrice", {}).get("exclVat")),
        _optional(value.get("maxPrice", {}).get("exclVat")),
    )


def _element(value: Mapping[str, Any]) -> TariffElement:
    limits = value.get("restrictions", {})
    return TariffElement(
        tuple(map(_component, value["priceComponents"])),
        _minute(limits.get("startTime")),
        _minute(limits.get("endTime")),
        frozenset(map(WEEKDAYS.index, limits.get("dayOfWeek", ()))),
        Fraction(limits.get("minKWh", 0)),
        _optional(limits.get("maxKWh")),
        limits.get("reservation") != "NOT_RESERVED",
    )


def _component(value: Mapping[str, Any]) -> PriceComponent:
    return PriceComponent(
        Component(value["type"]),
        Fraction(value["price"]),
        Fraction(value.get("vat", 0)),
        int(value.get("stepSize", 1)),
    )


def _minute(text: str | None) -> int | None:
    return None if text is None else int(text[:2]) * 60 + int(text[3:])


def _optional(value: Any) -> Fraction | None:
    return None if value is None else Fraction(value)


def read_curve(value: Mapping[str, Any]) -> OfferCurve:
    """Return the offer curve that an object on the wire says."""
    points = (CurvePoint(Decimal(p["price"]), Decimal(p["powerKW"])) for p in value["curve"])
    low, high = Decimal(value["minExport"]), Decimal(value["maxExport"])
    return OfferCurve(value["currency"], low, high, tuple(points))
