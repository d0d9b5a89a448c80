"""Rules 8, 18 to 21 and 27 to 29: the values of role inputs, each for itself and together."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from adapter.domain.currencies import ISO_4217_ACTIVE
from adapter.domain.findings import Path, Severity
from adapter.protocol.rules.exact import fits, plain
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import FIXED_AND_TARIFF, Hit, Rule

_ANY_SCALE = frozenset({"percentage", "carbonDioxide", "stepSize"})
"""Numbers that are neither energy, price nor power."""


def early_name(case: ContractCase) -> Iterator[Hit]:
    """A role that is not filled names nobody."""
    for role in case.view.roles:
        if not role.filled and role.filled_by is not None:
            yield Hit(
                case.role_path(role, "filledBy"), {"role": role.name, "filledBy": role.filled_by}
            )


def precision(case: ContractCase) -> Iterator[Hit]:
    """Every number of an input has at most 6 decimals and is at most 1000000."""
    for role in case.view.roles:
        for name, value in role.raw_inputs.items():
            kind = type(value)
            if kind is Decimal or kind is int:
                if not fits(value):
                    yield _too_fine(case.role_path(role, "roleInputs", name), value)
            elif kind is dict or kind is list:
                yield from _numbers(value, case.role_path(role, "roleInputs", name))


def _numbers(value: Any, path: Path) -> Iterator[Hit]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, dict | list):
            yield from _numbers(item, (*path, key))
        elif type(item) in _NUMBERS and key not in _ANY_SCALE and not fits(item):
            yield _too_fine((*path, key), item)


_NUMBERS = (int, Decimal)


def _too_fine(path: Path, value: Decimal | int) -> Hit:
    at_inputs = path.index("roleInputs")
    name = ".".join(map(str, path[at_inputs + 1 :]))
    return Hit(path, {"path": name, "value": plain(value)[:40]})


def currency(case: ContractCase) -> Iterator[Hit]:
    """A currency code is an active one of ISO 4217."""
    for role in case.view.roles:
        for name, value in role.inputs.items():
            inside = name in {"tariff", "offerCurve"}
            code = value["currency"] if inside else value
            if (inside or name == "currency") and code not in ISO_4217_ACTIVE:
                path = case.role_path(role, "roleInputs", name)
                yield Hit((*path, "currency") if inside else path, {"currency": code})


def currency_of_inputs(case: ContractCase) -> Iterator[Hit]:
    """Tariff and offer curves use the contract currency."""
    for role in case.view.roles:
        for name in ("tariff", "offerCurve"):
            found = role.inputs.get(name)
            if found is not None and found["currency"] != case.view.currency:
                path = case.role_path(role, "roleInputs", name, "currency")
                yield other_currency(path, f"{role.name}.{name}", found["currency"], case)


def other_currency(path: Path, what: str, found: str, case: ContractCase) -> Hit:
    """Return the hit for a currency that is not the contract's."""
    return Hit(path, {"path": what, "currency": found, "contract": case.view.currency})


CURRENCY_MISMATCH = "{path} uses {currency}, contract uses {contract}"


def quantity_limits(case: ContractCase) -> Iterator[Hit]:
    """The quantity lies between the seller's limits, and these leave room for one."""
    seller = case.view.inputs("SELLER")
    low, high = seller.get("minimumQuantity"), seller.get("maximumQuantity")
    if low is None and high is None:
        return
    quantity = case.view.input("BUYER", "contractedQuantity")
    limits = {"min": plain("" if low is None else low), "max": plain("" if high is None else high)}
    if low is not None and high is not None and low > high:
        path = case.view.input_path("SELLER", "minimumQuantity")
        yield Hit(path, {"value": "any", **limits})
    elif quantity is not None and (
        (low is not None and quantity < low) or (high is not None and quantity > high)
    ):
        path = case.view.input_path("BUYER", "contractedQuantity")
        yield Hit(path, {"value": plain(quantity), **limits})


def same_meter(case: ContractCase) -> Iterator[Hit]:
    """Source and target are two meters, and no two prosumers share one."""
    source = case.view.input("SELLER", "sourceMeterId")
    if source is not None and source == case.view.input("BUYER", "targetMeterId"):
        yield Hit(case.view.input_path("BUYER", "targetMeterId"), {"meter": source})
    seen = set()
    for role in case.view.roles:
        meter = role.inputs.get("sourceMeterId") if role.name == "PROSUMER" else None
        if meter is not None and meter in seen:
            yield Hit(case.role_path(role, "roleInputs", "sourceMeterId"), {"meter": meter})
        seen.add(meter)


def preference(case: ContractCase) -> Iterator[Hit]:
    """The seller offers the source type and the certification that the buyer prefers."""
    view = case.view
    wanted = view.input("BUYER", "preferredSourceType")
    given = view.input("SELLER", "sourceType")
    if wanted is not None and given is not None and wanted != given:
        path = view.input_path("BUYER", "preferredSourceType")
        yield Hit(path, {"wanted": wanted, "given": given})
    preferred = view.input("BUYER", "preferredCertification")
    seller = view.role("SELLER")
    if preferred is not None and preferred.get("required") and seller and seller.filled:
        status = (view.input("SELLER", "certification") or {}).get("status")
        if status != preferred.get("status"):
            path = view.input_path("BUYER", "preferredCertification")
            yield Hit(path, {"wanted": preferred.get("status"), "given": status or "nothing"})


def telemetry(case: ContractCase) -> Iterator[Hit]:
    """Metering belongs to other contracts."""
    if case.view.contract.get("telemetrySources"):
        yield Hit(case.path("telemetrySources"), {})


INPUT_RULES = (
    Rule(
        "P2P_ROLE_EARLY_NAME",
        Severity.WARNING,
        "{role} names {filledBy} but is not filled",
        early_name,
    ),
    Rule(
        "P2P_NUMBER_PRECISION",
        Severity.ERROR,
        "{path}={value} has more than 6 decimals or is out of range",
        precision,
    ),
    Rule("P2P_CURRENCY", Severity.ERROR, "{currency} is not an ISO 4217 code", currency),
    Rule("P2P_CURRENCY_MISMATCH", Severity.ERROR, CURRENCY_MISMATCH, currency_of_inputs),
    Rule(
        "P2P_QUANTITY_LIMITS",
        Severity.ERROR,
        "quantity {value} outside {min}..{max}",
        quantity_limits,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_SAME_METER",
        Severity.ERROR,
        "meter {meter} is on both sides of the trade",
        same_meter,
    ),
    Rule(
        "P2P_PREFERENCE_UNMET",
        Severity.WARNING,
        "buyer prefers {wanted}, seller offers {given}",
        preference,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_TELEMETRY_IN_CONTRACT",
        Severity.WARNING,
        "metering belongs to the grid operator contracts, not here",
        telemetry,
    ),
)
