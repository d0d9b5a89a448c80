"""Rules 55 to 60: a tariff in itself, and whether it has a price for the whole trade window."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from adapter.domain.findings import Path, Severity
from adapter.domain.tariff import GAP
from adapter.domain.zones import find_zone
from adapter.protocol.price_functions import zone_name
from adapter.protocol.rules.exact import plain, total
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import TARIFF, Hit, Rule

SHORTEST_TIME_STEP_S = 60
"""A TIME price with a finer step was most likely meant per kWh. Source: rule 59."""
_NOT_PRICED = frozenset({"PARKING_TIME", "AD_HOC_PAYMENT"})


def _tariff(case: ContractCase) -> Mapping[str, Any]:
    tariff: Mapping[str, Any] = case.view.input("SELLER", "tariff")
    return tariff


def _path(case: ContractCase, *keys: str | int) -> Path:
    return (*case.view.input_path("SELLER", "tariff"), *keys)


def tiers(case: ContractCase) -> Iterator[Hit]:
    """A tier ends above its beginning."""
    for index, element in enumerate(_tariff(case)["elements"]):
        limits = element.get("restrictions", {})
        low, high = limits.get("minKWh"), limits.get("maxKWh")
        if low is not None and high is not None and low >= high:
            params = {"i": index, "min": plain(low), "max": plain(high)}
            yield Hit(_path(case, "elements", index, "restrictions"), params)


def bounds(case: ContractCase) -> Iterator[Hit]:
    """The bounds leave room for a price, and VAT makes none smaller."""
    low, high = (_tariff(case).get(name, {}) for name in ("minPrice", "maxPrice"))
    params = {"min": _shown(low), "max": _shown(high)}
    least, most = low.get("exclVat"), high.get("exclVat")
    if least is not None and most is not None and least > most:
        yield Hit(_path(case, "minPrice"), params)
    for name, bound in (("minPrice", low), ("maxPrice", high)):
        without, with_vat = bound.get("exclVat"), bound.get("inclVat")
        if without is not None and with_vat is not None and with_vat < without:
            yield Hit(_path(case, name), params)


def _shown(bound: Mapping[str, Any]) -> str:
    """Return a bound as text, with VAT behind the stroke."""
    names = [name for name in ("exclVat", "inclVat") if name in bound]
    return "/".join(plain(bound[name]) for name in names) or "none"


def time_zone(case: ContractCase) -> Iterator[Hit]:
    """Local times need a zone, and the zone has to exist."""
    named = case.view.parameters.get("timeZone")
    path = case.path("inputParameters", "timeZone")
    zone = zone_name(case.view, case.evaluated.host)
    if named is not None:
        if find_zone(zone) is None:
            why = "which is no known time zone"
            yield Hit(path, {"zone": zone[:40], "why": why}, Severity.ERROR)
    elif _reads_the_clock(_tariff(case)):
        yield Hit(path, {"zone": zone, "why": "the contract names no zone"})


def _reads_the_clock(tariff: Mapping[str, Any]) -> bool:
    limits = (element.get("restrictions", {}) for element in tariff["elements"])
    return any("startTime" in limit or limit.get("dayOfWeek") for limit in limits)


def gap(case: ContractCase) -> Iterator[Hit]:
    """Every instant of the window has a price, whatever was delivered until then.

    A warning while it may still not matter, an error once energy fell into the gap.
    """
    for check in case.flows:
        if check.error is not None and check.error.code == GAP:
            yield Hit(_path(case), check.error.details, Severity.ERROR)
            return
    if case.gap is not None and case.gap.code == GAP:
        yield Hit(_path(case), case.gap.details)


def components(case: ContractCase) -> Iterator[Hit]:
    """Every price is of a kind that counts here."""
    for index, element in enumerate(_tariff(case)["elements"]):
        for place, component in enumerate(element["priceComponents"]):
            kind = component["type"]
            fine = kind == "TIME" and component.get("stepSize", 1) < SHORTEST_TIME_STEP_S
            if kind in _NOT_PRICED or fine:
                path = _path(case, "elements", index, "priceComponents", place)
                yield Hit(path, {"type": kind, "i": index})


def energy_mix(case: ContractCase) -> Iterator[Hit]:
    """The sources of the energy are no more than all of it."""
    sources = _tariff(case).get("energyMix", {}).get("energySources", ())
    whole = total(chain((0,), (source.get("percentage", 0) for source in sources)))
    if whole > 100:
        yield Hit(_path(case, "energyMix", "energySources"), {"sum": plain(whole)})


TARIFF_RULES = (
    Rule(
        "P2P_TARIFF_TIER",
        Severity.ERROR,
        "tariff element {i}: minKWh {min} not below maxKWh {max}",
        tiers,
        TARIFF,
    ),
    Rule(
        "P2P_TARIFF_BOUNDS",
        Severity.ERROR,
        "tariff price bounds {min}..{max} are inconsistent",
        bounds,
        TARIFF,
    ),
    Rule(
        "P2P_TARIFF_TIMEZONE",
        Severity.WARNING,
        "tariff times read in {zone}, {why}",
        time_zone,
        TARIFF,
        may_rise=True,
    ),
    Rule(
        "P2P_TARIFF_GAP",
        Severity.WARNING,
        "no ENERGY price at {at} for {cum} kWh",
        gap,
        TARIFF,
        may_rise=True,
    ),
    Rule(
        "P2P_TARIFF_COMPONENT",
        Severity.WARNING,
        "component {type} of element {i} is ambiguous or not priced",
        components,
        TARIFF,
    ),
    Rule(
        "P2P_TARIFF_MIX",
        Severity.WARNING,
        "energy sources add up to {sum} %",
        energy_mix,
        TARIFF,
    ),
)
