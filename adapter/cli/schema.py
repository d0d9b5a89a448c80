"""`p2ptrade schema`: the shapes of messages and contracts, to read and to take away."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from adapter.cli.output import FINDINGS, complain, misuse, say, say_json, table
from adapter.cli.terminal import accept_any_text
from adapter.protocol import strict_json
from adapter.protocol.rules.modes import OUR_TYPES
from adapter.protocol.schemas import DIALECT, action_references
from adapter.store.documents import data_folder, load_bundle, load_documents

app = typer.Typer(
    help="List, show, check and bundle the schemas of messages and contracts.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_ROOT = "#/components/schemas/"


class Dialects(StrEnum):
    """Dialects with schemas of our own."""

    DRAFT = "draft"
    LTS = "lts"


@app.command("list")
def list_schemas(as_json: AsJson = False) -> None:
    """List actions and objects that have a schema."""
    accept_any_text()
    rows = _rows(load_bundle())
    if as_json:
        say_json(rows)
    else:
        table(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="An action or object of `p2ptrade schema list`.")],
) -> None:
    """Print one schema as JSON Schema with everything it refers to."""
    accept_any_text()
    bundle = load_bundle()
    reference = _reference(bundle, name)
    if reference is None:
        misuse(f"no schema {name[:60]}; see p2ptrade schema list")
    _say_pretty({"$schema": DIALECT, "$ref": reference, **_needed(bundle, reference)})


@app.command()
def lint(as_json: AsJson = False) -> None:
    """Check the schema documents: exit code 0 nothing wrong, 1 faults."""
    from adapter.store.schema_checks import check_documents

    accept_any_text()
    documents = load_documents()
    faults = list(check_documents(documents, data_folder("examples")))
    if as_json:
        listed = [{"document": f.document, "path": f.path, "message": f.message} for f in faults]
        say_json({"documents": len(documents), "faults": listed})
    else:
        for fault in faults:
            say(str(fault))
        complain(f"{len(documents)} schema documents, {len(faults)} faults")
    if faults:
        raise typer.Exit(FINDINGS)


@app.command("bundle")
def print_bundle(
    dialect: Annotated[Dialects, typer.Option(help="Dialect of the messages.")] = Dialects.DRAFT,
) -> None:
    """Print one self-contained OpenAPI 3.1 document as JSON, one path per action."""
    accept_any_text()
    _say_pretty(load_bundle(dialect.value))


def _rows(bundle: Mapping[str, Any]) -> list[dict[str, str]]:
    actions = [
        {"name": action, "kind": "action", "schema": reference.removeprefix(_ROOT)}
        for action, reference in action_references(bundle).items()
    ]
    objects = [
        {"name": full.rpartition(".")[2], "kind": "object", "schema": full}
        for full in bundle["components"]["schemas"]
        if "." in full and full.rpartition(".")[2] in OUR_TYPES
    ]
    return actions + objects


def _reference(bundle: Mapping[str, Any], name: str) -> str | None:
    """Return the reference to a schema by action, type or full name."""
    actions = action_references(bundle)
    if name in actions:
        return actions[name]
    schemas = bundle["components"]["schemas"]
    for full in (name, f"{name}.{name}"):
        if full in schemas:
            return _ROOT + full
    last = [full for full in schemas if full.rpartition(".")[2] == name]
    return _ROOT + last[0] if len(last) == 1 else None


def _needed(bundle: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """Return the components that a schema refers to, directly or not."""
    schemas = bundle["components"]["schemas"]
    found: dict[str, Any] = {}
    waiting = [reference]
    while waiting:
        name = waiting.pop().removeprefix(_ROOT)
        if name not in found:
            found[name] = schemas[name]
            waiting += _references(schemas[name])
    return {"components": {"schemas": {name: found[name] for name in sorted(found)}}}


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []


def _say_pretty(document: Mapping[str, Any]) -> None:
    plain = json.loads(strict_json.encode(document))
    say(json.dumps(plain, indent=2, ensure_ascii=False))
