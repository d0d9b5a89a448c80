"""Failures of a schema engine as findings: code, rule, path, text.

Only places and keywords come from the engine; its own texts print whole messages and differ
between engines.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from adapter.domain.findings import (
    Finding,
    Path,
    Severity,
    Tier,
    document_position,
    json_path,
)

MAX_FINDINGS = 100
"""Findings of one tier that a NACK carries. Source: protocol specification, section 7."""
MAX_SHOWN = 40
"""Characters of a found value that a text repeats."""


class Failure(NamedTuple):
    """One keyword that does not hold."""

    path: Path
    """Place in the checked value."""
    keyword: str
    expected: Any
    """Value of the keyword in the schema."""
    rule: str | None
    """P2P_ rule that the keyword stands for."""
    names: tuple[str, ...] = ()
    """Properties that are missing or not allowed."""


CODES = MappingProxyType(
    {
        "required": "SCH_REQUIRED_FIELD_MISSING",
        "additionalProperties": "SCH_FIELD_NOT_ALLOWED",
        "enum": "SCH_INVALID_ENUM",
        "const": "SCH_INVALID_ENUM",
        "format": "SCH_INVALID_FORMAT",
        "pattern": "SCH_INVALID_FORMAT",
        "type": "SCH_TYPE_NOT_SUPPORTED",
    }
)
"""Code of a keyword; any other is SCH_SCHEMA_VALIDATION_FAILED. Source: section 8, stage 6."""
OTHER = "SCH_SCHEMA_VALIDATION_FAILED"

DATE_TIME_PATTERN = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
"""Pattern of the schema DateTime, beside its format."""

RULE_TEXTS = MappingProxyType(
    {
        "P2P_ROLE_FILLED_BY": "{role} is filled but filledBy is missing",
        "P2P_INPUT_MISSING": "{role} lacks required input {name}",
        "P2P_INPUT_FORBIDDEN": "{role} must not carry {name}{hint}",
        "P2P_INPUT_TYPE": "{role}.{name}",
        "P2P_INPUT_ENVELOPE": "{role}.{name}: envelope not accepted",
        "P2P_PRICE_CHOICE": "SELLER needs either pricePerKWh with currency or tariff",
        "P2P_PRICE_POSITIVE": "price {value} must be above zero",
        "P2P_QUANTITY_POSITIVE": "quantity {value} kWh must be above zero",
        "P2P_NOT_NEGATIVE": "{role}.{name}={value} must not be negative",
        "P2P_CAP_POSITIVE": "{name}={value} must be above zero",
        "P2P_ACTIVE_UNFILLED": "{role} is not filled in an {status} contract",
        "P2P_TARIFF_ELEMENTS": "tariff has no elements",
        "P2P_TARIFF_ENERGY": "tariff element {element} has no ENERGY price",
        "P2P_TARIFF_TIME_PAIR": "tariff element {element} has only one of startTime and endTime",
        "P2P_CLEARING_MISSING": "market contract {status} without {name}",
    }
)
"""Texts of the rules that the schema checks. Source: contract specification, section 12."""

HINTS = MappingProxyType(
    {
        ("wheelingCharges", None): "it belongs to GRID_OPERATOR",
        ("offerCurve", None): "it belongs to PROSUMER",
        ("pricePerKWh", "PROSUMER"): "a prosumer states its price in its offerCurve",
        ("currency", "PROSUMER"): "a prosumer states its currency in its offerCurve",
        ("contractedQuantity", "PROSUMER"): "the market decides the quantity",
        ("tradeStartTime", "PROSUMER"): "see inputParameters.deliveryWindow",
        ("tradeEndTime", "PROSUMER"): "see inputParameters.deliveryWindow",
        ("pricePerKWh", "MARKET_CLEARING_AGENT"): "the price is clearingPrice",
        ("sourceMeterId", "MARKET_CLEARING_AGENT"): "it belongs to SELLER or PROSUMER",
        ("sourceType", "MARKET_CLEARING_AGENT"): "it belongs to SELLER or PROSUMER",
    }
)
"""Where a forbidden input belongs, by input and role. Source: section 3.3."""


def trace(
    schema: Mapping[str, Any], path: Sequence[str | int], expected: Any = None
) -> tuple[Mapping[str, Any], str | None]:
    """Return the subschema that holds the last keyword of `path`, and its nearest x-rule.

    Args:
        schema: the root, with everything it refers to.
        path: an engine's schema path. Steps over `$ref` may be left out of it, as may an `if`
            before its `then` or `else`.
        expected: value of the keyword, when `$ref` steps are left out and two could be meant.

    Raises:
        LookupError: the path does not lead to a keyword.
    """
    found = _trace(schema, schema, tuple(path), None, expected)
    if found is None:
        msg = f"no subschema at {path}"
        raise LookupError(msg)
    return found


def _trace(
    root: Mapping[str, Any], node: Any, path: Path, rule: str | None, expected: Any
) -> tuple[Mapping[str, Any], str | None] | None:
    if isinstance(node, Mapping) and isinstance(node.get("x-rule"), str):
        rule = node["x-rule"]
    if len(path) > 1:
        found = _step(root, node, path, rule, expected)
        if found is not None:
            return found
    elif isinstance(node, Mapping) and path[0] in node and expected in (None, node[path[0]]):
        return node, rule
    if isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
        rest = path[1:] if path[0] == "$ref" else path
        return _trace(root, _target(root, node["$ref"]), rest, rule, expected)
    return None


def _step(
    root: Mapping[str, Any], node: Any, path: Path, rule: str | None, expected: Any
) -> tuple[Mapping[str, Any], str | None] | None:
    key = path[0]
    if key == "$ref":
        return None
    if key == "if" and path[1] in {"then", "else"}:
        return _trace(root, node, path[1:], rule, expected)
    if isinstance(node, Mapping) and key in node:
        return _trace(root, node[key], path[1:], rule, expected)
    if isinstance(node, list) and isinstance(key, int):
        return _trace(root, node[key], path[1:], rule, expected)
    return None


def _target(root: Mapping[str, Any], reference: str) -> Any:
    node: Any = root
    for key in reference.removeprefix("#/").split("/"):
        node = node[key]
    return node


class SchemaFindings:
    """Makes the findings of one checked value."""

    def __init__(self, value: Any, path: str) -> None:
        """Take the value and the JSONPath under which it is known."""
        self._value = value
        self._root = path

    def of(self, failures: Iterable[Failure]) -> tuple[Finding, ...]:
        """Return one finding per place and keyword, in document order, at most 100."""
        chosen: dict[tuple[Path, str], Failure] = {}
        for failure in failures:
            for single in _one_place_each(failure):
                place = (single.path, CODES.get(single.keyword, OTHER))
                if place not in chosen or _telling(single) < _telling(chosen[place]):
                    chosen[place] = single
        ordered = sorted(chosen.values(), key=self._order)
        return tuple(map(self._finding, ordered[:MAX_FINDINGS]))

    def _order(self, failure: Failure) -> tuple[tuple[int, ...], str, str]:
        """Return a sort key: the document's order, by name where something is missing."""
        position = document_position(self._value, failure.path)
        return position, json_path(failure.path), failure.keyword

    def _finding(self, failure: Failure) -> Finding:
        code = _code(failure)
        params = self._params(failure)
        message = _detail(failure, params)
        text = RULE_TEXTS.get(failure.rule or "")
        if text is not None:
            message = f"{text.format_map(_Params(params))}: {message}"
        return Finding(
            Tier.SCHEMA,
            Severity.ERROR,
            code,
            json_path(failure.path, self._root),
            message,
            rule=failure.rule,
            wire_code=code,
            params=params,
        )

    def _params(self, failure: Failure) -> dict[str, Any]:
        path = failure.path
        params: dict[str, Any] = {"value": shown(self._at(path)), "hint": ""}
        if "roles" in path and path.index("roles") + 1 < len(path):
            at_roles = path.index("roles")
            role = self._at((*path[: at_roles + 2], "role"))
            params["role"] = role if isinstance(role, str) else f"roles[{path[at_roles + 1]}]"
            params["status"] = shown(self._at((*path[:at_roles], "status"))).strip('"')
            inner = path[at_roles + 3 :] or path[-1:]
            params["name"] = ".".join(map(str, inner)).removesuffix(".value")
        if "elements" in path and path.index("elements") + 1 < len(path):
            params["element"] = path[path.index("elements") + 1]
        if failure.rule == "P2P_INPUT_FORBIDDEN":
            name = params.get("name", "")
            hint = HINTS.get((name, params.get("role"))) or HINTS.get((name, None))
            params["hint"] = f" ({hint})" if hint else ""
        return params

    def _at(self, path: Path) -> Any:
        """Return the value at a place; None where there is none."""
        here = self._value
        for key in path:
            try:
                here = here[key]
            except (KeyError, IndexError, TypeError):
                return None
        return here


class _Params(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _telling(failure: Failure) -> tuple[bool, str, str]:
    """Return a key that sorts the failures of one place, the most telling first."""
    return failure.rule is None, failure.keyword, failure.rule or ""


def _one_place_each(failure: Failure) -> Iterable[Failure]:
    """Give a failure about properties once for each, at that property."""
    if not failure.names:
        return (failure,)
    return (failure._replace(path=(*failure.path, name), names=(name,)) for name in failure.names)


def _code(failure: Failure) -> str:
    if failure.path[:1] == ("context",) and len(failure.path) > 1:
        return "CTX_MISSING_FIELD" if failure.keyword == "required" else "CTX_INVALID_FIELD"
    if failure.path in {("context",), ("message",)}:
        return OTHER
    return CODES.get(failure.keyword, OTHER)


def shown(value: Any) -> str:
    """Return a found value as short text."""
    match value:
        case None:
            text = "null"
        case bool():
            text = str(value).lower()
        case int() | Decimal():
            text = format(value, "f") if isinstance(value, Decimal) else str(value)
        case str():
            text = f'"{value}"'
        case Mapping():
            text = "an object"
        case _:
            text = f"an array of {len(value)}"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _detail(failure: Failure, params: Mapping[str, Any]) -> str:
    """Return what was expected and what was found."""
    name = str(failure.path[-1])[:MAX_SHOWN] if failure.path else "$"
    match failure.keyword:
        case "required":
            return f"expected {name}, found nothing"
        case "additionalProperties":
            return f"expected no {name}, found {params['value']}"
        case "not":
            return f"expected no {name} here, found {params['value']}"
        case _:
            return f"expected {_expected(failure)}, found {params['value']}"


def _expected(failure: Failure) -> str:
    wanted = failure.expected
    match failure.keyword:
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            return "a value" if len(names) >= len(_ALL_BUT_NULL) else " or ".join(names)
        case "enum":
            return "one of " + ", ".join("null" if o is None else str(o) for o in wanted)
        case "const":
            return shown(wanted)
        case "pattern" if wanted == DATE_TIME_PATTERN:
            return "a date-time"  # as for the format, which one engine checks more loosely
        case "anyOf":
            return "one of " + ", ".join(n for option in wanted for n in option.get("required", ()))
        case _:
            text = _EXPECTED.get(failure.keyword, "something else")
            return text.format(wanted)


_EXPECTED = {
    "format": "a {}",
    "pattern": "text like {}",
    "minimum": "a number >= {}",
    "maximum": "a number <= {}",
    "exclusiveMinimum": "a number > {}",
    "exclusiveMaximum": "a number < {}",
    "minLength": "text that is not empty",
    "maxLength": "at most {} characters",
    "minItems": "at least {} item",
    "maxItems": "at most {} items",
    "contains": "at least one that fits",
}
_ALL_BUT_NULL = ("boolean", "object", "array", "number", "string")
