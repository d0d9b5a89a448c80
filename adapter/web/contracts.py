"""`/contracts`: the contract layer of the node that hosts it.

An operator's token acts as the actor it names; a participant signs its body, which then names
command, contract and function itself and must agree with the path.
Source: settlement specification, section 17 and rulings R2, R4 to R6.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from adapter.bootstrap import Node
from adapter.domain.errors import AdapterError, ContractError, WireError
from adapter.protocol import strict_json
from adapter.protocol.acks import error_object
from adapter.service.contracts import EVENT_PAGE, ContractCalls
from adapter.service.event_feed import BEGINNING, WHOLE_ENTRY, Position
from adapter.settlement import FUNCTIONS, READS, parse_command
from adapter.settlement.commands import Argument
from adapter.web.auth import Caller, Guard
from adapter.web.body import check_content_headers, read_body
from adapter.web.errors import json_response, not_offered
from adapter.web.models import json_body, refusals

MAX_BODY = 256 * 1_024
SIGNED_KEYS = ("command_id", "contract", "function", "on_behalf_of", "args")
"""Keys of a signed body."""

_AFTER = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?", re.ASCII)
_BODY = json_body(
    {
        "type": "object",
        "description": (
            "With a token: the arguments. Signed: `{command_id, contract, function, on_behalf_of?,"
            " args}`. Amounts as JSON numbers or decimal strings, times in ms."
        ),
        "additionalProperties": True,
    },
    {"to": "buyer-1", "amount": "20.00", "external_reference": "bank-7"},
)


class CallModel(BaseModel):
    """An accepted command."""

    command_id: str
    seq: int = Field(description="Journal entry that holds it.")
    entry_hash: str
    replayed: bool = Field(description="It had been done before; nothing else happened.")
    result: dict[str, Any]
    events: list[dict[str, Any]]


class ReadModel(BaseModel):
    """The answer of a read."""

    seq: int = Field(description="Last entry of the state that was read.")
    result: Any


class EventPageModel(BaseModel):
    """Events that the caller may see, in order."""

    events: list[dict[str, Any]]
    next: str | None = Field(description="Value of `after` for the next page.")


class StateModel(BaseModel):
    """Where the ledger stands; amounts as decimal strings."""

    model_config = ConfigDict(extra="allow")

    seq: int
    head: str | None = Field(description="Hash of the last entry.")
    totals: dict[str, str] = Field(default_factory=dict)


class FunctionModel(BaseModel):
    """One function or read."""

    name: str
    kind: Literal["function", "read"]
    summary: str
    callers: str
    arguments: dict[str, Any] = Field(description="JSON schema of the arguments.")


class ListModel(BaseModel):
    """All functions and reads, by contract."""

    contracts: dict[str, list[FunctionModel]]


def contracts_router(node: Node, guard: Guard) -> APIRouter:
    """Return the paths of `/contracts`."""
    router = APIRouter(tags=["contracts"])
    _add_audit_paths(router, node, guard)

    @router.post(
        "/contracts/{contract}/{function}",
        response_model=CallModel,
        responses=refusals(400, 401, 403, 404, 409, 422, 503),
        openapi_extra=_BODY,
    )
    async def call(
        request: Request,
        contract: str,
        function: str,
        dry_run: Annotated[bool, Query(description="Answer the same, commit nothing.")] = False,
        idempotency_key: Annotated[
            str | None, Header(description="Command id, made and stored by the caller.")
        ] = None,
        x_on_behalf_of: Annotated[str | None, Header(description="User acted for.")] = None,
    ) -> Response:
        """Call a function that changes the ledger."""
        hosted = _hosted(node)
        check_content_headers(request.scope["headers"], MAX_BODY)
        raw = await read_body(request.receive, MAX_BODY)
        caller = await guard.contract_caller(request, raw)
        body = _object(raw)
        if caller.signed:
            wanted = _signed_call(body, contract, function)
        else:
            wanted = _Wanted(_key(idempotency_key), x_on_behalf_of or None, body)
        command = parse_command(wanted.command_id, contract, function, wanted.args)
        answer = await hosted.call(
            command, actor=caller.actor, on_behalf_of=wanted.on_behalf_of, dry_run=dry_run
        )
        return json_response(200, answer)

    @router.get(
        "/contracts/{contract}/{function}",
        response_model=ReadModel,
        responses=refusals(400, 401, 404, 503),
    )
    async def read(request: Request, contract: str, function: str) -> Response:
        """Read; every argument is a parameter of the query."""
        hosted = _hosted(node)
        caller = await guard.contract_caller(request)
        args = _single_values(request)
        answer = await hosted.read(contract, function, args, actor=caller.actor)
        return json_response(200, answer)

    return router


def _add_audit_paths(router: APIRouter, node: Node, guard: Guard) -> None:
    """Add the paths that are no functions; they come first, a function could not be named so."""

    @router.get("/contracts", response_model=ListModel)
    async def functions() -> Response:
        """List all functions and reads with the schemas of their arguments."""
        return json_response(200, {"contracts": function_list()})

    @router.get(
        "/contracts/events", response_model=EventPageModel, responses=refusals(400, 401, 404)
    )
    async def events(
        request: Request,
        after: Annotated[str | None, Query(description="SEQ or SEQ.INDEX")] = None,
        contract: Annotated[str, Query(max_length=64)] = "",
        name: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=EVENT_PAGE)] = EVENT_PAGE,
    ) -> Response:
        """Return a page of the events that the caller may see, in order, without gaps."""
        hosted = _hosted(node)
        caller = await guard.contract_caller(request)
        page = await hosted.events(
            _after(after), actor=caller.actor, contract=contract, name=name, limit=limit
        )
        return json_response(200, page)

    @router.get("/contracts/state", response_model=StateModel, responses=refusals(401, 404))
    async def state(request: Request) -> Response:
        """Return head, time and totals of the ledger."""
        hosted = _hosted(node)
        await guard.contract_caller(request)
        return json_response(200, await hosted.state())

    @router.get(
        "/contracts/journal",
        response_class=Response,
        responses={
            200: {"content": {"application/jsonl": {}}, "description": "Canonical entries."},
            **refusals(400, 401, 403, 404),
        },
    )
    async def journal(
        request: Request, after: Annotated[int, Query(ge=-1, lt=2**53)] = -1
    ) -> Response:
        """Return canonical entries after `after`, one per line, at most 1000; empty is the end."""
        hosted = _hosted(node)
        caller = await guard.contract_caller(request)
        await _check_auditor(hosted, caller)
        lines = [entry + b"\n" for entry in await hosted.journal(after)]
        headers = {"Cache-Control": "no-store"}
        return Response(b"".join(lines), 200, headers, media_type="application/jsonl")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a call asks for."""

    command_id: str
    on_behalf_of: str | None
    args: Mapping[str, Any]


def _hosted(node: Node) -> ContractCalls:
    if node.contracts is None:
        msg = "this node does not host the contract layer"
        host = node.settings.contracts.host
        raise not_offered(f"{msg}, {host} does" if host else msg)
    return node.contracts


def _object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        ContractError: INVALID_INPUT.
    """
    try:
        return strict_json.decode_object(raw)
    except WireError as error:
        raise _invalid(error.message, error) from None


def _key(idempotency_key: str | None) -> str:
    if not idempotency_key:
        msg = "the header Idempotency-Key is missing: it is the command's id"
        raise _invalid(msg)
    return idempotency_key


def _signed_call(body: Mapping[str, Any], contract: str, function: str) -> _Wanted:
    """Return what a signed body asks for.

    Raises:
        ContractError: INVALID_INPUT, also when it is meant for another path.
    """
    unknown = [key for key in body if key not in SIGNED_KEYS]
    if unknown or not {"command_id", "contract", "function", "args"} <= body.keys():
        msg = "a signed body is {command_id, contract, function, on_behalf_of?, args}"
        raise _invalid(msg)
    if (body["contract"], body["function"]) != (contract, function):
        msg = "the signed contract and function are not those of the path"
        raise _invalid(msg)
    command_id, behalf, args = body["command_id"], body.get("on_behalf_of"), body["args"]
    if not isinstance(command_id, str) or not isinstance(args, Mapping):
        raise _invalid("command_id is a text and args an object")
    if behalf is not None and not isinstance(behalf, str):
        raise _invalid("on_behalf_of is a text")
    return _Wanted(command_id, behalf, args)


def _single_values(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    args = dict(pairs)
    if len(args) != len(pairs):
        raise _invalid("an argument is given twice")
    return args


def _after(text: str | None) -> Position:
    """Return the last event known; a bare SEQ stands for all events of that entry."""
    if text is None:
        return BEGINNING
    match = _AFTER.fullmatch(text)
    if match is None:
        raise _invalid("after is SEQ or SEQ.INDEX")
    return int(match[1]), (WHOLE_ENTRY if match[2] is None else int(match[2]))


async def _check_auditor(hosted: ContractCalls, caller: Caller) -> None:
    """Refuse the journal to all but overseers; it holds every user's affairs.

    Raises:
        ContractError: NOT_AUTHORIZED.
    """
    for role in ("REGULATOR", "AUDITOR"):
        answer = await hosted.read(
            "registry", "has_role", {"role": role, "actor": caller.actor}, actor=caller.actor
        )
        if answer["result"]:
            return
    msg = "the journal is for REGULATOR and AUDITOR"
    raise ContractError("NOT_AUTHORIZED", msg)


def _invalid(message: str, why: AdapterError | None = None) -> ContractError:
    cause = None if why is None else error_object(why)
    return ContractError("INVALID_INPUT", message, cause=cause)


def function_list() -> dict[str, list[dict[str, Any]]]:
    """Return all functions and reads by contract, with the schemas of their arguments."""
    listed: dict[str, list[dict[str, Any]]] = {}
    for function in FUNCTIONS.values():
        listed.setdefault(function.contract, []).append(
            {
                "name": function.name,
                "kind": "function",
                "summary": function.summary,
                "callers": function.callers,
                "arguments": _schema(function.arguments),
            }
        )
    for read in READS.values():
        listed.setdefault(read.contract, []).append(
            {
                "name": read.name,
                "kind": "read",
                "summary": read.summary,
                "callers": "any, filtered by what the caller may see",
                "arguments": _schema(read.arguments),
            }
        )
    return listed


def _schema(arguments: tuple[Argument, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            one.name: {"description": one.kind.title, **one.kind.schema} for one in arguments
        },
        "required": [one.name for one in arguments if one.required],
        "additionalProperties": False,
    }
