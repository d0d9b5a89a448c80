"""Tier 1: a message against the schema of its action, all errors at once.

The schemas are given, nothing is read or fetched here. Text and codes of findings are made in
`schema_errors`, from places only, so that a second engine gives the same ones (`schemas_py`).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Never

import jsonschema_rs

from adapter.domain.findings import Finding
from adapter.protocol.excerpt import explain
from adapter.protocol.schema_errors import Failure, trace

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Schemas:
    """Compiled schemas, one per action, each compiled at its first use."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        """Take what `store.documents.load_bundle()` returns: one self-contained document."""
        self._documents = documents
        self._references = action_references(documents)
        self._compiled: dict[str, jsonschema_rs.Draft202012Validator] = {}

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the actions that have a schema."""
        return tuple(self._references)

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
        validator = self._compiled.get(reference)
        if validator is None:
            validator = self._compiled[reference] = _compile(self._documents, reference)
        if validator.is_valid(value):
            return ()
        schema = root_schema(self._documents, reference)
        return explain(value, path, schema, lambda part: _failures(validator, schema, part))


def action_references(documents: Mapping[str, Any]) -> dict[str, str]:
    """Return the reference to each action's schema."""
    operations = (item["post"] for item in documents["paths"].values())
    return {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]["schema"][
            "$ref"
        ]
        for operation in operations
    }


def attribute_reference(documents: Mapping[str, Any], type_name: str) -> str:
    """Return the reference to the schema of an attribute object.

    Raises:
        KeyError: no attribute object has this type.
    """
    for document in (type_name, "EnergyCoordination"):
        name = f"{document}.{type_name}"
        if name in documents["components"]["schemas"]:
            return f"#/components/schemas/{name}"
    raise KeyError(type_name)


def root_schema(documents: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return a schema that holds everything it refers to."""
    return {"$schema": DIALECT, "$ref": reference, "components": documents["components"]}


def _compile(documents: Mapping[str, Any], reference: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        root_schema(documents, reference), validate_formats=True, retriever=_refuse_to_fetch
    )


def _refuse_to_fetch(uri: str) -> Never:
    msg = f"{uri[:100]} is not part of the bundled schemas"
    raise LookupError(msg)


def _failures(
    validator: jsonschema_rs.Draft202012Validator, schema: Mapping[str, Any], value: Any
) -> Iterator[Failure]:
    for error in validator.iter_errors(value):
        keyword = str(error.evaluation_path[-1])
        node, rule = trace(schema, error.evaluation_path)
        names: tuple[str, ...] = ()
        match error.kind:
            case jsonschema_rs.ValidationErrorKind.Required(property=missing):
                names = (missing,)
            case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=unexpected):
                names = tuple(unexpected)
        yield Failure(tuple(error.instance_path), keyword, node[keyword], rule, names)
