"""Rules 63 to 67 and 75: offer curves, each for itself and against what was cleared."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from adapter.domain.curves import RESOLUTION, CurveFault, Side
from adapter.domain.findings import Finding, Path, Severity
from adapter.protocol.market_view import AGENT
from adapter.protocol.rules.exact import MAX_MAGNITUDE, plain, shown
from adapter.protocol.rules.flow_rules import BUYER_CAP, SELLER_CAP, room_left
from adapter.protocol.rules.market import cleared_path
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import MARKET, Hit, Rule

MOST_KW = Fraction(MAX_MAGNITUDE)
"""More than any curve offers."""


def empty_range(case: ContractCase) -> Iterator[Hit]:
    """The range of an offer has room for power."""
    yield from _faults(case, "P2P_CURVE_RANGE")


def order(case: ContractCase) -> Iterator[Hit]:
    """Neither price nor power falls along a curve."""
    yield from _faults(case, "P2P_CURVE_ORDER")


def ends(case: ContractCase) -> Iterator[Hit]:
    """A curve spans its range."""
    yield from _faults(case, "P2P_CURVE_ENDS")


def bounds(case: ContractCase) -> Iterator[Hit]:
    """No point lies outside the range."""
    yield from _faults(case, "P2P_CURVE_BOUNDS")


def fault_finding(fault: CurveFault, place: Path) -> Finding:
    """Return what is wrong with a curve that stands at `place`, as its rule says it."""
    rule = next(rule for rule in CURVE_RULES if rule.code == fault.code)
    return rule.finding(_hit(fault, place))


def _faults(case: ContractCase, code: str) -> Iterator[Hit]:
    for offered in case.curves:
        for fault in offered.faults:
            if fault.code == code:
                yield _hit(fault, case.role_path(offered.role, "roleInputs", "offerCurve"))


def _hit(fault: CurveFault, place: Path) -> Hit:
    if fault.code != "P2P_CURVE_RANGE":
        place = (*place, "curve")
    return Hit(place if fault.point is None else (*place, fault.point), _texts(fault))


def _texts(fault: CurveFault) -> dict[str, Any]:
    return {
        name: plain(value) if isinstance(value, Decimal) else value
        for name, value in fault.details.items()
    }


def side(case: ContractCase) -> Iterator[Hit]:
    """A prosumer buys or sells, and who only consumes buys."""
    for role, curve, found in case.curves:
        if any(fault.code == "P2P_CURVE_RANGE" for fault in found):
            continue
        consumes = role.inputs.get("sourceType") == "CONSUMER"
        if curve.side is Side.BOTH or (consumes and curve.side is not Side.BUYER):
            path = case.role_path(role, "roleInputs", "offerCurve")
            yield Hit(path, {"who": role.filled_by or role.name})


def off_curve(case: ContractCase) -> Iterator[Hit]:
    """Cleared power is what the curve says at the clearing price, as rounded.

    Less is right where the grid operator approves no more.
    """
    price = case.view.input(AGENT, "clearingPrice")
    if price is None:
        return
    for prosumer in case.market.prosumers:
        offered, power = case.curve_of(prosumer.role), prosumer.cleared_kw
        if offered is None or power is None or offered.faults:
            continue
        low, high = offered.curve.band(Fraction(price))
        bought, sold = _approved_kw(case)
        if not min(low, sold - RESOLUTION) <= power <= max(high, RESOLUTION - bought):
            params = {"value": shown(power), "lo": shown(low), "hi": shown(high)}
            yield Hit(cleared_path(case, prosumer.key), {"key": prosumer.key, **params})


def _approved_kw(case: ContractCase) -> tuple[Fraction, Fraction]:
    """Return the most power that may be withdrawn and exported, as far as the message says it.

    A cascaded message about several meters says it of none: any power may then be held back.
    """
    approved = case.view.parameters.get("approvedMaxTradeKW")
    if approved is None and case.cascaded:
        return Fraction(0), Fraction(0)
    limits = []
    for caps in (BUYER_CAP, SELLER_CAP):
        room = room_left(case, caps)
        found = [MOST_KW if approved is None else Fraction(approved)]
        if room is not None:
            found.append(Fraction(room) / case.market.hours)
        limits.append(min(found))
    return limits[0], limits[1]


CURVE_RULES = (
    Rule(
        "P2P_CURVE_RANGE",
        Severity.ERROR,
        "offer range {min}..{max} kW is empty",
        empty_range,
        MARKET,
    ),
    Rule(
        "P2P_CURVE_ORDER",
        Severity.ERROR,
        "offer curve not ascending at point {i}",
        order,
        MARKET,
    ),
    Rule(
        "P2P_CURVE_ENDS",
        Severity.ERROR,
        "offer curve spans {first}..{last} kW, range says {min}..{max}",
        ends,
        MARKET,
    ),
    Rule(
        "P2P_CURVE_BOUNDS",
        Severity.ERROR,
        "point {i}: {power} kW outside {min}..{max}",
        bounds,
        MARKET,
    ),
    Rule("P2P_CURVE_SIDE", Severity.WARNING, "{who} offers on both sides", side, MARKET),
    Rule(
        "P2P_CLEARED_OFF_CURVE",
        Severity.WARNING,
        "{key}: {value} kW is not on its curve ({lo}..{hi}) at the clearing price",
        off_curve,
        MARKET,
    ),
)
