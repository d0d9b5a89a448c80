"""Every contract function, read and event in `/openapi.json`, from the contract layer's tables.

The routes take any contract and function; here each one of the tables gets a path of its own with
the schemas of its arguments, so that clients can be made from the document.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from adapter.settlement import EVENTS, FUNCTIONS, READS, Argument, EventType, Function, Read
from adapter.settlement.commands import COMMAND_ID_MAX
from adapter.settlement.events import Field

ANY_PATH = "/contracts/{contract}/{function}"
EVENT = "ContractEvent"
"""Component that is any of the events."""
_DECIMAL = {"type": "string", "pattern": r"^-?\d+(\.\d{1,6})?$"}
_TEXT = {"type": "string"}
_MS = {"type": "integer", "minimum": 0}
_CAP = {"type": "object", "properties": {"cap": _DECIMAL, "total": _DECIMAL}}
_SCHEMAS: Mapping[Field, Mapping[str, Any]] = MappingProxyType(
    {
        Field.AGREEMENT: {"type": "integer"},
        Field.REQUEST: {"type": "integer"},
        Field.NUMBER: {"type": "integer"},
        Field.FLAG: {"type": "boolean"},
        Field.ENERGY: {**_DECIMAL, "description": "kWh"},
        Field.MONEY: {**_DECIMAL, "description": "currency of the ledger"},
        Field.PRICE: {**_DECIMAL, "description": "currency per kWh"},
        Field.AMOUNT: {**_DECIMAL, "description": "of the field `asset`"},
        Field.WINDOW: {"type": "object", "properties": {"start": _MS, "end": _MS}},
        Field.CAPS: {"type": "object", "properties": {"seller": _CAP, "buyer": _CAP}},
        Field.DEVIATIONS: {
            "type": "array",
            "items": {"type": "object", "properties": {"kind": _TEXT, "quantity": _DECIMAL}},
        },
        Field.LIST: {"type": "array", "items": {"type": ["string", "integer"]}},
    }
)
"""How fields are written on the wire; all others are texts."""


def arguments_schema(arguments: tuple[Argument, ...]) -> dict[str, Any]:
    """Return the JSON schema of the arguments of a function or read."""
    return {
        "type": "object",
        "properties": {
            one.name: {"description": one.kind.title, **one.kind.schema, **_default(one)}
            for one in arguments
        },
        "required": [one.name for one in arguments if one.required],
        "additionalProperties": False,
    }


def _default(argument: Argument) -> dict[str, Any]:
    plain = isinstance(argument.default, str | bool) and argument.default != ""
    return {"default": str(argument.default)} if plain else {}


def add_contracts(document: dict[str, Any]) -> None:
    """Add a path per function and read, and a component per event."""
    any_path = document["paths"].get(ANY_PATH)
    if any_path is None:
        return
    paths = document["paths"]
    for function in FUNCTIONS.values():
        path = f"/contracts/{function.contract}/{function.name}"
        paths.setdefault(path, {})["post"] = _call(function, any_path["post"])
    for read in READS.values():
        path = f"/contracts/{read.contract}/{read.name}"
        paths.setdefault(path, {})["get"] = _read(read, any_path["get"])
    schemas = document["components"]["schemas"]
    schemas |= {_component(event): _event_schema(event) for event in EVENTS.values()}
    schemas[EVENT] = {
        "description": "Any event; amounts are decimal strings. Fields without a value are absent.",
        "anyOf": [_reference(_component(event)) for event in EVENTS.values()],
    }
    for model in ("CallModel", "EventPageModel"):
        schemas[model]["properties"]["events"]["items"] = _reference(EVENT)


def _call(function: Function, general: Mapping[str, Any]) -> dict[str, Any]:
    operation = _described(function, general, f"Callers: {function.callers or 'any'}.")
    arguments = arguments_schema(function.arguments)
    signed = {
        "type": "object",
        "properties": {
            "command_id": {**_TEXT, "minLength": 1, "maxLength": COMMAND_ID_MAX},
            "contract": {"const": function.contract},
            "function": {"const": function.name},
            "on_behalf_of": _TEXT,
            "args": arguments,
        },
        "required": ["command_id", "contract", "function", "args"],
        "additionalProperties": False,
    }
    schema = {
        "anyOf": [
            {"title": "With a token", **arguments},
            {"title": "Signed by a participant", **signed},
        ]
    }
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema}},
    }
    return operation


def _read(read: Read, general: Mapping[str, Any]) -> dict[str, Any]:
    operation = _described(read, general, "Answers what the caller may see.")
    operation["parameters"] += [
        {
            "name": one.name,
            "in": "query",
            "required": one.required,
            "description": one.kind.title,
            "schema": _query_schema(one),
        }
        for one in read.arguments
    ]
    return operation


def _query_schema(argument: Argument) -> Mapping[str, Any]:
    """Return the schema of an argument in a query, where everything is text."""
    if argument.kind.schema.get("type") == "object":
        return {**_TEXT, "description": "start/end in ms"}
    return argument.kind.schema


def _described(
    what: Function | Read, general: Mapping[str, Any], description: str
) -> dict[str, Any]:
    operation = deepcopy(dict(general))
    operation |= {
        "summary": what.summary,
        "description": description,
        "operationId": f"{what.contract}_{what.name}",
    }
    kept = [one for one in operation.get("parameters", []) if one["in"] != "path"]
    operation["parameters"] = kept
    return operation


def _event_schema(event: EventType) -> dict[str, Any]:
    return {
        "type": "object",
        "description": "Everybody sees it." if event.public else "Seen by those it concerns.",
        "properties": dict(_event_properties(event)),
        "required": ["name"],
    }


def _event_properties(event: EventType) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "id", {"type": "string", "description": "SEQ.INDEX"}
    yield "name", {"const": event.name}
    for name, kind in event.fields.items():
        yield name, _SCHEMAS.get(kind, _TEXT)
    yield "seq", {"type": "integer", "description": "In the feed: the entry."}
    yield "time", {**_MS, "description": "In the feed: of the entry."}
    yield "contract", {**_TEXT, "description": "In the feed: of the entry."}
    yield "function", {**_TEXT, "description": "In the feed: of the entry."}


def _component(event: EventType) -> str:
    return f"Event{event.name}"


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
