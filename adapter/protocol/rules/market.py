"""Rules 50, 51, 68, 70 to 74, 76 and 77: what clearing said, and to whom."""

from collections.abc import Iterator
from fractions import Fraction

from adapter.domain.findings import Path, Severity
from adapter.domain.revenue import net_positions
from adapter.protocol.flows import payments
from adapter.protocol.market_view import AGENT, PROSUMER
from adapter.protocol.rules.exact import micro, plain, shown, total
from adapter.protocol.rules.flow_rules import BUYER_CAP, CAP_EXCEEDED, SELLER_CAP, room_left
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import MARKET, Hit, Rule

_CLEARING = ("clearingPrice", "clearedPower")


def cleared_path(case: ContractCase, *keys: str) -> Path:
    """Return the place of clearedPower or of one of its keys."""
    return (*case.view.input_path(AGENT, "clearedPower"), *keys)


def cap_exceeded(case: ContractCase) -> Iterator[Hit]:
    """No prosumer takes more than it may buy, or gives more than it may sell; equal is allowed."""
    for prosumer in case.market.prosumers:
        energy = case.market.energy_kwh(prosumer)
        caps = BUYER_CAP if (prosumer.cleared_kw or 0) < 0 else SELLER_CAP
        most = room_left(case, caps)
        if energy is not None and most is not None and energy > Fraction(most):
            params = {"value": shown(energy), "max": plain(most)}
            yield Hit(cleared_path(case, prosumer.key), params)


def cap_power(case: ContractCase) -> Iterator[Hit]:
    """No prosumer's power is above what the operator approved."""
    most = case.view.parameters.get("approvedMaxTradeKW")
    if most is None:
        return
    limit = Fraction(most)
    for prosumer in case.market.prosumers:
        if prosumer.cleared_kw is not None and abs(prosumer.cleared_kw) > limit:
            params = {"value": shown(abs(prosumer.cleared_kw)), "max": plain(most)}
            yield Hit(cleared_path(case, prosumer.key), params)


def early(case: ContractCase) -> Iterator[Hit]:
    """Nothing is cleared before clearing; only the operator learns it while still PENDING."""
    tells_operator = case.message.action == "confirm" and case.cascaded
    if case.view.status != "PENDING" or tells_operator:
        return
    for name in _CLEARING:
        if case.view.input(AGENT, name) is not None:
            yield Hit(case.view.input_path(AGENT, name), {})


def key(case: ContractCase) -> Iterator[Hit]:
    """Every key of clearedPower names a prosumer, and only one."""
    names = [
        {role.filled_by, role.inputs.get("sourceMeterId")}
        for role in case.view.roles
        if role.name == PROSUMER
    ]
    for name in case.market.cleared or ():
        fitting = sum(name in known for known in names)
        if fitting != 1:
            severity = Severity.ERROR if fitting else Severity.WARNING
            yield Hit(cleared_path(case, name), {"key": name[:80]}, severity)


def missing(case: ContractCase) -> Iterator[Hit]:
    """The clearing result names every filled prosumer."""
    if case.market.cleared is None:
        return
    for prosumer in case.market.prosumers:
        if prosumer.cleared_kw is None:
            yield Hit(cleared_path(case), {"who": prosumer.key})


def out_of_range(case: ContractCase) -> Iterator[Hit]:
    """No prosumer is cleared for more than it offered."""
    for prosumer in case.market.prosumers:
        offered, power = case.curve_of(prosumer.role), prosumer.cleared_kw
        if offered is None or power is None:
            continue
        low, high = offered.curve.min_export_kw, offered.curve.max_export_kw
        if not Fraction(low) <= power <= Fraction(high):
            params = {"min": plain(low), "max": plain(high)}
            path = cleared_path(case, prosumer.key)
            yield Hit(path, {"key": prosumer.key, "value": shown(power), **params})


def balance(case: ContractCase) -> Iterator[Hit]:
    """The whole market's power sums to nothing, but for rounding."""
    cleared = case.market.cleared
    if cleared and case.market.is_full:
        rest = total(cleared.values())
        if abs(micro(rest)) > len(cleared):
            yield Hit(cleared_path(case), {"sum": plain(rest)})


def partial(case: ContractCase) -> Iterator[Hit]:
    """The whole market is shown, so that its balance can be checked."""
    if case.market.cleared and not case.market.is_full:
        yield Hit(cleared_path(case), {})


def hours(case: ContractCase) -> Iterator[Hit]:
    """A market in force has a delivery window, which makes energy of power."""
    if case.view.in_force and case.market.window_hours is None:
        yield Hit(case.path("inputParameters", "deliveryWindow"), {})


def deficit(case: ContractCase) -> Iterator[Hit]:
    """The one who clears does not pay for it.

    Only the whole market can tell.
    """
    if not case.market.is_full:
        return
    agent = net_positions(payments(case.evaluated), (AGENT,))[AGENT]
    if agent.micro < 0:
        role = case.view.role(AGENT)
        assert role is not None, "the mode has this role"
        params = {"net": str(agent), "currency": agent.currency}
        yield Hit(case.role_path(role, "roleInputs", "marketMakingFee"), params)


MARKET_RULES = (
    Rule("P2P_CAP_EXCEEDED", Severity.ERROR, CAP_EXCEEDED, cap_exceeded, MARKET),
    Rule(
        "P2P_CAP_POWER",
        Severity.ERROR,
        "{value} kW exceeds the approved {max} kW",
        cap_power,
        MARKET,
    ),
    Rule(
        "P2P_CLEARING_EARLY",
        Severity.ERROR,
        "clearing result before the market cleared",
        early,
        MARKET,
    ),
    Rule(
        "P2P_CLEARED_KEY",
        Severity.WARNING,
        "clearedPower key {key} names no single PROSUMER",
        key,
        MARKET,
        may_rise=True,
    ),
    Rule("P2P_CLEARED_MISSING", Severity.ERROR, "no clearedPower for {who}", missing, MARKET),
    Rule(
        "P2P_CLEARED_RANGE",
        Severity.ERROR,
        "{key}: {value} kW outside {min}..{max}",
        out_of_range,
        MARKET,
    ),
    Rule(
        "P2P_CLEARED_BALANCE",
        Severity.ERROR,
        "cleared power sums to {sum} kW",
        balance,
        MARKET,
    ),
    Rule(
        "P2P_CLEARED_PARTIAL",
        Severity.INFO,
        "balance not checkable in this view",
        partial,
        MARKET,
    ),
    Rule(
        "P2P_MARKET_HOURS",
        Severity.INFO,
        "no delivery window; 1 h assumed",
        hours,
        MARKET,
    ),
    Rule(
        "P2P_MCA_DEFICIT",
        Severity.WARNING,
        "MARKET_CLEARING_AGENT loses {net} {currency}",
        deficit,
        MARKET,
    ),
)
