"""Rules 1 to 6: which mode a contract has, and what stands in it unasked."""

from collections.abc import Iterator
from functools import lru_cache

from adapter.domain.findings import Path, Severity
from adapter.protocol.contract_view import ContractView, Mode, last_segment
from adapter.protocol.rules.message import ATTRIBUTE_KEYS, ContractCase, Message
from adapter.protocol.rules.rule import Hit, Rule

_SINGLE_ROLES = ("SELLER", "BUYER", "MARKET_CLEARING_AGENT", "GRID_OPERATOR", "AGGREGATOR")
_HINTS = {"FIXED_PRICE_TARIFF": Mode.TARIFF.value, "MARKET_BASED": Mode.MARKET.value}
"""Upstream's words for the modes."""

OUR_TYPES = frozenset(
    {
        "ContractRole",
        "EnergyContract",
        "EnergyContractP2PTrade",
        "EnergyCoordination",
        "EnergyCredentials",
        "EnergyOffer",
        "EnergyResource",
        "EnergyTradeDelivery",
        "InputSignal",
        "OfferCurve",
        "RevenueFlow",
        "RoleInput",
        "Tariff",
        "TelemetrySource",
        "VerifiableCredential",
        "VerifiablePresentation",
    }
)
"""Types of objects that our schema documents describe."""


def no_mode(view: ContractView) -> Iterator[Hit]:
    """SELLER with BUYER, or MARKET_CLEARING_AGENT with PROSUMER, are both there."""
    if view.mode is None and not view.is_mixed:
        yield Hit((*view.path, "roles"), {"roles": ", ".join(view.role_names)})


def mixed_modes(view: ContractView) -> Iterator[Hit]:
    """Roles of fixed-price and of market trading do not stand in one contract."""
    if view.is_mixed:
        yield Hit((*view.path, "roles"), {"roles": ", ".join(view.role_names)})


def duplicate_role(case: ContractCase) -> Iterator[Hit]:
    """Only PROSUMERs may be several."""
    if len(case.view.roles) == len(case.view.role_names):
        return
    seen = set()
    for role in case.view.roles:
        if role.name in seen and role.name in _SINGLE_ROLES:
            yield Hit(case.role_path(role, "role"), {"role": role.name})
        seen.add(role.name)


def mode_hint(case: ContractCase) -> Iterator[Hit]:
    """`_mode` is the detected mode."""
    hint = case.view.contract.get("_mode")
    mode = case.view.mode
    if hint is not None and mode is not None and _HINTS.get(str(hint), hint) != mode.value:
        yield Hit(case.path("_mode"), {"hint": str(hint)[:40], "mode": mode.value})


def extension_keys(message: Message) -> Iterator[Hit]:
    """No key of an attribute object starts with `_`."""
    for path, type_name in _odd_keys(message):
        if type_name is None:
            yield Hit(path, {"path": str(path[-1])[:40]})


def unknown_types(message: Message) -> Iterator[Hit]:
    """Every `@type` is beckn:, schema: or one of ours."""
    for path, type_name in _odd_keys(message):
        if type_name is not None:
            yield Hit(path, {"type": type_name[:40]})


Odd = tuple[Path, str | None]
"""Place of an extension key (None) or of an unknown type."""


def _odd_keys(message: Message) -> list[Odd]:
    """Return the odd keys of a message; the two rules share one walk."""
    if message.odd_keys is None:
        message.odd_keys = []
        content = message.body.get("message")
        if _may_be_odd(content):
            _walk(content, ("message",), False, message.odd_keys)
    return message.odd_keys


def _may_be_odd(content: object) -> bool:
    """Return False when surely no key below `content` is odd: most messages need no more."""
    waiting = [content]
    for node in waiting:  # grows on the way
        if type(node) is dict:
            for key, value in node.items():
                kind = type(value)
                if kind is dict or kind is list:
                    waiting.append(value)
                elif key == "@type" and kind is str and not _is_known(value):
                    return True
                if key[:1] == "_":
                    return True
        elif type(node) is list:
            waiting.extend(node)
    return False


def _walk(node: object, path: Path, in_attributes: bool, found: list[Odd]) -> None:
    """Collect extension keys in attribute objects, unknown types anywhere."""
    if isinstance(node, dict):
        for key, value in node.items():
            kind = type(value)
            if kind is dict or kind is list:
                if key[:1] != "_":
                    _walk(value, (*path, key), in_attributes or key in ATTRIBUTE_KEYS, found)
            elif key == "@type" and kind is str and not _is_known(value):
                found.append(((*path, key), value))
            if key[:1] == "_" and in_attributes:
                found.append(((*path, key), None))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _walk(value, (*path, index), in_attributes, found)


@lru_cache(maxsize=256)
def _is_known(type_name: str) -> bool:
    return type_name.startswith(("beckn:", "schema:")) or last_segment(type_name) in OUR_TYPES


MODE_RULES = (
    Rule(
        "P2P_MODE_NONE",
        Severity.ERROR,
        "roles {roles} form no trading mode; need SELLER+BUYER or MARKET_CLEARING_AGENT+PROSUMER",
        no_mode,
    ),
    Rule(
        "P2P_MODE_MIXED",
        Severity.ERROR,
        "roles {roles} mix fixed-price and market trading",
        mixed_modes,
    ),
)
"""Run first: a contract without a mode is not looked at further."""

MESSAGE_RULES = (
    Rule("P2P_EXTENSION_KEY", Severity.INFO, "extension key {path} ignored", extension_keys),
    Rule(
        "P2P_TYPE_UNKNOWN",
        Severity.WARNING,
        "no schema for {type}; object not checked",
        unknown_types,
    ),
)

ROLE_RULES = (
    Rule(
        "P2P_ROLE_DUPLICATE",
        Severity.ERROR,
        "role {role} appears more than once",
        duplicate_role,
    ),
    Rule("P2P_MODE_HINT", Severity.WARNING, "_mode says {hint}, roles say {mode}", mode_hint),
)
