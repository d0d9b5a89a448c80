"""Tier 1 with a second engine, `jsonschema`: slow, the oracle of the fast one.

Numbers are Decimals to it, so it gets type checks of its own; a `$ref` leads to a part of the
bundle or nowhere, so it cannot fetch.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import jsonschema
from jsonschema.validators import extend
from referencing import Registry

from adapter.domain.findings import Finding
from adapter.domain.instants import parse_instant
from adapter.protocol.excerpt import explain
from adapter.protocol.schema_errors import Failure, trace
from adapter.protocol.schemas import action_references, attribute_reference, root_schema


class PythonSchemas:
    """The surface of `schemas.Schemas` on the other engine."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        """Take what `store.documents.load_bundle()` returns."""
        self._documents = documents
        self._references = action_references(documents)
        self._engine = _engine(documents)

    def check(self, action: str, body: Mapping[str, Any]) -> tuple[Finding, ...]:
        """Return what is wrong with a whole message, in document order, at most 100.

        Raises:
            KeyError: no such action.
        """
        return self._findings(self._references[action], body, "$")

    def check_attributes(self, type_name: str, value: Any, path: str = "$") -> tuple[Finding, ...]:
        """Return what is wrong with one attribute object; paths begin with `path`.

        Raises:
            KeyError: no attribute object has this type.
        """
        return self._findings(attribute_reference(self._documents, type_name), value, path)

    def _findings(self, reference: str, value: Any, path: str) -> tuple[Finding, ...]:
        schema = root_schema(self._documents, reference)
        validator = self._engine(schema, format_checker=_FORMATS, registry=Registry())
        if next(validator.iter_errors(value), None) is None:
            return ()
        return explain(value, path, schema, lambda part: _failures(validator, schema, part))


def _engine(documents: Mapping[str, Any]) -> Any:
    """Return the engine with the bundle's parts at hand.

    The library looks up each `$ref` anew, which would take half of the time.
    """
    parts = {f"#/components/schemas/{n}": s for n, s in documents["components"]["schemas"].items()}

    def follow(validator: Any, reference: str, value: Any, _schema: object) -> Iterator[Any]:
        yield from validator.descend(value, parts[reference])

    return extend(  # type: ignore[no-untyped-call]  # the stub has no types for it
        jsonschema.Draft202012Validator, validators={"$ref": follow}, type_checker=_CHECKER
    )


def _failures(validator: Any, schema: Mapping[str, Any], value: Any) -> Iterator[Failure]:
    for error in validator.iter_errors(value):
        keyword = error.validator
        _, rule = trace(schema, error.absolute_schema_path, error.validator_value)
        names: tuple[str, ...] = ()
        if keyword == "required":
            names = tuple(name for name in error.validator_value if name not in error.instance)
        elif keyword == "additionalProperties":
            names = _not_allowed(error.instance, error.schema)
        yield Failure(tuple(error.absolute_path), keyword, error.validator_value, rule, names)


def _not_allowed(value: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[str, ...]:
    named = schema.get("properties", {})
    patterns = tuple(schema.get("patternProperties", {}))
    return tuple(
        name
        for name in value
        if name not in named and not any(re.search(pattern, name) for pattern in patterns)
    )


def _is_number(_checker: object, value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int) and not isinstance(value, bool)


def _is_integer(_checker: object, value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and value == value.to_integral_value()
    return isinstance(value, int) and not isinstance(value, bool)


def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if value[:1] == "0":
        # Years below 1000 are dates to the fast engine; the pattern refuses them. 2000 years later
        # the calendar is the same.
        value = f"2{value[1:]}"
    try:
        instant = parse_instant(value)
    except ValueError:
        return False
    # A leap second ends a day of UTC; `parse_instant` reads it as the second before.
    return value[17:19] != "60" or instant // 1_000 % 86_400 == 86_399


_CHECKER = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
    {"number": _is_number, "integer": _is_integer}
)
_FORMATS = jsonschema.FormatChecker(formats=())
_FORMATS.checkers = {"date-time": (_is_date_time, ())}
