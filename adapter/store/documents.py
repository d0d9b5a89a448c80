"""Schema documents and examples, from the checkout or from the installed package.

The documents under schema/ refer to one another by relative paths. Here they become one
self-contained OpenAPI document, which is what `protocol.schemas.Schemas` takes: nothing is ever
fetched. That takes 70 ms with the YAML reader, so the result is kept in `schema/bundle.json`
(`python -m tests.make_bundle`); it counts only while its digest is that of the documents.
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

API = "api/v2/openapi.yaml"
"""The document with one path per action; the others are bundled into it."""
APIS: Mapping[str, str] = MappingProxyType({"draft": API, "lts": "api/lts/openapi.yaml"})
"""Such a document for each dialect."""
KEPT = "bundle.json"
"""The bundle as it was made last: `{"digest", "document"}`."""
_PACKAGE = Path(__file__).resolve().parents[1]
_SCHEMAS = "#/components/schemas/"


class DocumentError(Exception):
    """A schema document that is missing or refers to something that is not there."""


def data_folder(name: str) -> Path:
    """Return the folder `schema` or `examples`, installed or in the checkout.

    Raises:
        DocumentError: there is none.
    """
    for parent in (_PACKAGE / "_data", _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    msg = f"no folder {name} beside {_PACKAGE}"
    raise DocumentError(msg)


@lru_cache(maxsize=1)
def load_documents() -> Mapping[str, Any]:
    """Return every schema document by its path below schema/, e.g. `EnergyOffer/v1/...`."""
    from adapter.store.yaml_exact import load_yaml  # 45 ms, which the kept bundle spares

    return {name: load_yaml(raw) for name, raw in _sources().items()}


@lru_cache(maxsize=len(APIS))
def load_bundle(dialect: str = "draft") -> Mapping[str, Any]:
    """Return one OpenAPI document with one path per action and no reference out of itself."""
    kept = _kept_bundle() if dialect == "draft" else None
    return bundle(load_documents(), dialect) if kept is None else kept


def sources_digest() -> str:
    """Return SHA-256 in hex of names and bytes of all schema documents."""
    digest = hashlib.sha256()
    for name, raw in _sources().items():
        digest.update(f"{name}\0{len(raw)}\0".encode() + raw)
    return digest.hexdigest()


def _kept_bundle() -> dict[str, Any] | None:
    """Return the bundle that was kept; None when there is none or a document has changed."""
    try:
        kept = json.loads((data_folder("schema") / KEPT).read_bytes(), parse_float=Decimal)
        document: dict[str, Any] = kept["document"]
        return document if kept["digest"] == sources_digest() else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sources() -> dict[str, bytes]:
    root = data_folder("schema")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*.yaml"))
    }


def bundle(documents: Mapping[str, Any], dialect: str = "draft") -> dict[str, Any]:
    """Return the API document of a dialect with all that it needs merged into its components.

    A schema of `EnergyOffer/v1/attributes.yaml` becomes `EnergyOffer.<name>`; what another
    dialect shares with the draft becomes `draft.<name>`.

    Raises:
        DocumentError: a reference leads nowhere or out of the documents.
    """
    api = APIS[dialect]
    result: dict[str, Any] = copy.deepcopy(documents[api])
    _rename_references(result, api, api)
    schemas = result["components"]["schemas"]
    others = {name for other, name in APIS.items() if other not in {dialect, "draft"}}
    for name, document in documents.items():
        if name == api or name in others:
            continue
        for schema_name, schema in document["components"]["schemas"].items():
            renamed = copy.deepcopy(schema)
            _rename_references(renamed, name, api)
            schemas[_prefix(name, api) + schema_name] = renamed
    for reference in _references(result):
        target: Any = result
        for key in reference["$ref"].removeprefix("#/").split("/"):
            if key not in target:
                msg = f"{reference['$ref']} leads nowhere"
                raise DocumentError(msg)
            target = target[key]
    return result if dialect == "draft" else _without_unused(result)


def _without_unused(bundled: dict[str, Any]) -> dict[str, Any]:
    """Drop what only the messages of the draft dialect need."""
    schemas = bundled["components"]["schemas"]
    needed: set[str] = set()
    waiting: list[Any] = [schema for name, schema in schemas.items() if "draft." not in name]
    while waiting:
        for reference in _references(waiting.pop()):
            name = reference["$ref"].rpartition("/")[2]
            if name in schemas and name not in needed:
                needed.add(name)
                waiting.append(schemas[name])
    kept = {name: s for name, s in schemas.items() if "draft." not in name or name in needed}
    bundled["components"]["schemas"] = kept
    return bundled


def _prefix(document_name: str, api: str) -> str:
    if document_name == api:
        return ""
    return "draft." if document_name == API else document_name.partition("/")[0] + "."


def _rename_references(node: object, document_name: str, api: str) -> None:
    """Turn references of a document into references inside the bundle."""
    for mapping in _references(node):
        file, _, fragment = mapping["$ref"].partition("#")
        if not fragment.startswith(_SCHEMAS[1:]):
            if not file:
                continue  # responses and the like stay in the API document
            msg = f"{document_name} refers to {mapping['$ref']}"
            raise DocumentError(msg)
        target = _resolve(document_name, file) if file else document_name
        mapping["$ref"] = _SCHEMAS + _prefix(target, api) + fragment.rpartition("/")[2]


def _resolve(document_name: str, file: str) -> str:
    if "://" in file or file.startswith("/"):
        msg = f"{document_name} refers out of the schema folder: {file}"
        raise DocumentError(msg)
    parts = list(PurePosixPath(document_name).parent.parts)
    for part in PurePosixPath(file).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _references(node: object) -> Iterator[dict[str, Any]]:
    """Give each mapping with a `$ref` text."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
