"""The rule catalogue as a list: what each rule demands, for reports and the rules page.

Conditions of rules over messages are the first lines of their functions; those that the schema
checks stand here. Source: contract specification, section 12.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from adapter.domain.findings import Severity
from adapter.protocol.rules.history import HISTORY_RULES
from adapter.protocol.rules.prices import PRICE_RULES
from adapter.protocol.rules.rule import Rule
from adapter.protocol.rules.table import ALL_RULES
from adapter.protocol.schema_errors import RULE_TEXTS

SCHEMA_CONDITIONS: Mapping[str, str] = MappingProxyType(
    {
        "P2P_ROLE_FILLED_BY": "A filled role names who fills it, in a text that is not empty.",
        "P2P_INPUT_MISSING": "A filled role has every required input, and none of them is null.",
        "P2P_INPUT_FORBIDDEN": "A role carries only inputs that are defined for it.",
        "P2P_INPUT_TYPE": "An input, direct or in its envelope, has its type and shape.",
        "P2P_INPUT_ENVELOPE": "An envelope has only type, required, description and value, and a "
        "type that the input accepts.",
        "P2P_PRICE_CHOICE": "A filled SELLER has either pricePerKWh with currency or tariff.",
        "P2P_PRICE_POSITIVE": "pricePerKWh is above zero.",
        "P2P_QUANTITY_POSITIVE": "contractedQuantity is above zero.",
        "P2P_NOT_NEGATIVE": "Charges, totals, fee, clearing price and quantity limits are zero or "
        "more.",
        "P2P_CAP_POSITIVE": "Both trade caps are above zero.",
        "P2P_ACTIVE_UNFILLED": "In an ACTIVE or COMPLETED contract every role is filled.",
        "P2P_TARIFF_ELEMENTS": "A tariff has at least one element.",
        "P2P_TARIFF_ENERGY": "Each tariff element has at least one ENERGY component.",
        "P2P_TARIFF_TIME_PAIR": "startTime and endTime come together.",
        "P2P_CLEARING_MISSING": "In an ACTIVE or COMPLETED market contract the clearing price and "
        "the cleared power are given.",
    }
)
"""Conditions of the rules that the schema checks."""

_DOCUMENTS = MappingProxyType(
    {"P2P_ROLE_FILLED_BY": "EnergyContract", "P2P_TARIFF": "EnergyCoordination"}
)
"""Schema documents by beginnings of the codes that stand in them; else it is the contract's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue."""

    code: str
    tier: str
    """schema; message (needs one), history (needs earlier ones); price (needs a delivery)."""
    severity: Severity
    """Gravest that its findings have unless the rule says otherwise."""
    condition: str
    """What holds when the rule is kept."""
    message: str
    """Text of a finding, with names of values in braces."""
    module: str
    """Path of the module that checks it."""


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Entry]:
    """Return every rule by its code, in the order schema, message, history, price."""
    entries = {code: _of_schema(code) for code in RULE_TEXTS}
    entries |= _of_rules("message", ALL_RULES)
    entries |= _of_rules("history", HISTORY_RULES)
    entries |= _of_rules("price", PRICE_RULES)
    return MappingProxyType(entries)


def _of_schema(code: str) -> Entry:
    condition = SCHEMA_CONDITIONS[code]
    documents = (name for start, name in _DOCUMENTS.items() if code.startswith(start))
    module = f"schema/{next(documents, 'EnergyContractP2PTrade')}/v1/attributes.yaml"
    return Entry(code, "schema", Severity.ERROR, condition, RULE_TEXTS[code], module)


def _of_rules(tier: str, rules: Iterable[Rule[Any]]) -> dict[str, Entry]:
    """Return entries; a code that several functions check has all their conditions."""
    found: dict[str, list[Rule[Any]]] = {}
    for rule in rules:
        found.setdefault(rule.code, []).append(rule)
    return {
        code: Entry(
            code,
            tier,
            same[0].severity,
            " ".join(dict.fromkeys(condition_of(rule) for rule in same)),
            same[0].template,
            same[0].check.__module__.replace(".", "/") + ".py",
        )
        for code, same in found.items()
    }


def condition_of(rule: Rule[Any]) -> str:
    """Return what a rule demands: the first line of its function."""
    return (rule.check.__doc__ or "").partition("\n")[0]
