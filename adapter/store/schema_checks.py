"""Faults of the schema documents themselves: what `p2ptrade schema lint` looks for.

Beside the OpenAPI standard: no reference out of the documents, none of the constructs that made
upstream's schemas unsatisfiable, rule codes that exist, and an example that fits each schema.
Source: contract specification, section 13; quality targets, section 1.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter.domain.errors import AdapterError
from adapter.protocol import strict_json
from adapter.protocol.schema_errors import RULE_TEXTS
from adapter.protocol.schemas import Schemas
from adapter.store.documents import DocumentError, bundle

_TRAPS: Mapping[str, str] = {
    "nullable": "means nothing in OpenAPI 3.1; write a type list with null",
    "multipleOf": "engines disagree about decimals; the value types check the scale",
    "$dynamicRef": "engines disagree about it",
    "$id": "moves the base of references",
}
"""Keywords that our schemas do not use, and why."""
EXAMPLES: Mapping[str, str] = {"draft": "p2p_*/*.json", "lts": "lts/*.json"}
"""Where below examples/ the messages of a dialect are that fit."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in the schema documents."""

    document: str
    path: str
    """JSON pointer inside the document, empty for the whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.document}#{self.path}: {self.message}"


def check_documents(documents: Mapping[str, Any], examples: Path) -> Iterator[Fault]:
    """Give every fault of the documents.

    Args:
        documents: as `documents.load_documents` returns them.
        examples: folder with messages that fit.
    """
    for name, document in documents.items():
        yield from _reference_faults(name, document)
        yield from _keyword_faults(name, document)
    yield from _rule_faults(documents)
    for dialect, pattern in EXAMPLES.items():
        try:
            bundled = bundle(documents, dialect)
        except (DocumentError, LookupError) as error:
            yield Fault(f"bundle {dialect}", "", str(error))
            continue
        yield from _standard_faults(dialect, bundled)
        yield from _unsatisfied(dialect, bundled, sorted(examples.glob(pattern)))


def _nodes(node: object, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give every mapping with its JSON pointer."""
    if isinstance(node, Mapping):
        yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _nodes(value, f"{path}/{index}")


def _schemas(node: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the mappings whose keys are keywords, not names of properties."""
    for path, mapping in _nodes(node):
        if path.rpartition("/")[2] not in {"properties", "patternProperties", "schemas"}:
            yield path, mapping


def _reference_faults(name: str, document: object) -> Iterator[Fault]:
    for path, node in _nodes(document):
        reference = node.get("$ref")
        if isinstance(reference, str) and ("://" in reference or reference.startswith("/")):
            yield Fault(name, path, f"refers out of the documents: {reference[:100]}")


def _keyword_faults(name: str, document: object) -> Iterator[Fault]:
    for path, node in _schemas(document):
        for keyword, why in _TRAPS.items():
            if keyword in node:
                yield Fault(name, path, f"{keyword} {why}")


def _rule_faults(documents: Mapping[str, Any]) -> Iterator[Fault]:
    """Give rule codes that do not exist, and schema rules that no document carries."""
    used = set()
    for name, document in documents.items():
        for path, node in _schemas(document):
            code = node.get("x-rule")
            if code is not None:
                used.add(code)
                if code not in RULE_TEXTS:
                    yield Fault(name, path, f"x-rule {code} is no rule of the catalogue")
    for code in RULE_TEXTS:
        if code not in used:
            yield Fault("schema", "", f"no subschema carries x-rule {code}")


def _standard_faults(dialect: str, bundled: Mapping[str, Any]) -> Iterator[Fault]:
    """Give what the OpenAPI 3.1 standard objects to."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # 0.3 s that no message pays

    document = plain_json(bundled)
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        path = "".join(f"/{part}" for part in getattr(error, "absolute_path", ()))
        message = str(getattr(error, "message", error)).partition("\n")[0]
        yield Fault(f"bundle {dialect}", path, message[:300])


def _unsatisfied(
    dialect: str, bundled: Mapping[str, Any], examples: Sequence[Path]
) -> Iterator[Fault]:
    """Give examples that do not fit, and actions whose schema no example fits."""
    schemas = Schemas(bundled)
    bodies = []
    for file in examples:
        name = f"examples/{file.parent.name}/{file.name}"
        try:
            body = strict_json.decode_object(file.read_bytes())
            found = schemas.check(body["context"]["action"], body)
        except (AdapterError, LookupError, TypeError) as error:
            yield Fault(name, "", f"is no message: {error}")
            continue
        bodies.append(body)
        for one in found[:1]:
            yield Fault(name, "", f"{one.code} at {one.path}: {one.message}")
    for action in schemas.actions:
        if all(schemas.check(action, body) for body in bodies):
            yield Fault(f"bundle {dialect}", f"/{action}", "no example message fits this schema")


def plain_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with ordinary numbers, as libraries expect it."""
    loaded: dict[str, Any] = json.loads(strict_json.encode(document))
    return loaded
