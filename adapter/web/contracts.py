"""`/contracts`: the contract layer of the node that hosts it.

An operator's token acts as the actor it names; a participant signs its body, which then names
command, contract and function itself and must agree with the path.
Source: settlement specification, section 17 and rulings R2, R4 to R6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from adapter.bootstrap import Node
from adapter.settlement import FUNCTIONS, READS, parse_command
from adapter.web.auth import Guard
from adapter.web.body import check_content_headers, read_body
from adapter.web.contract_audit import add_audit_paths
from adapter.web.contract_docs import arguments_schema
from adapter.web.contract_events import add_event_path
from adapter.web.contract_models import CallModel, ListModel, ReadModel
from adapter.web.contract_parts import (
    MAX_BODY,
    body_object,
    hosted_by,
    invalid_request,
    single_values,
)
from adapter.web.ending import Ending
from adapter.web.errors import json_response
from adapter.web.models import json_body, refusals

SIGNED_KEYS = ("command_id", "contract", "function", "on_behalf_of", "args")
"""Keys of a signed body."""

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


def contracts_router(node: Node, guard: Guard, ending: Ending) -> APIRouter:
    """Return the paths of `/contracts`; those that are no functions come first."""
    router = APIRouter(tags=["contracts"])
    _add_list(router)
    add_event_path(router, node, guard, ending)
    add_audit_paths(router, node, guard)

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
        hosted = hosted_by(node)
        check_content_headers(request.scope["headers"], MAX_BODY)
        raw = await read_body(request.receive, MAX_BODY)
        caller = await guard.contract_caller(request, raw)
        body = body_object(raw)
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
    async def read(
        request: Request,
        contract: str,
        function: str,
        at_seq: Annotated[
            int | None, Query(ge=0, lt=2**53, description="Read the state after this entry.")
        ] = None,
    ) -> Response:
        """Read; every argument is a parameter of the query."""
        hosted = hosted_by(node)
        caller = await guard.contract_caller(request)
        args = {name: value for name, value in single_values(request).items() if name != "at_seq"}
        answer = await hosted.read(contract, function, args, actor=caller.actor, at_seq=at_seq)
        return json_response(200, answer)

    return router


def _add_list(router: APIRouter) -> None:
    @router.get("/contracts", response_model=ListModel)
    async def functions() -> Response:
        """List all functions and reads with the schemas of their arguments."""
        return json_response(200, {"contracts": function_list()})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a call asks for."""

    command_id: str
    on_behalf_of: str | None
    args: Mapping[str, Any]


def _key(idempotency_key: str | None) -> str:
    if not idempotency_key:
        msg = "the header Idempotency-Key is missing: it is the command's id"
        raise invalid_request(msg)
    return idempotency_key


def _signed_call(body: Mapping[str, Any], contract: str, function: str) -> _Wanted:
    """Return what a signed body asks for.

    Raises:
        ContractError: INVALID_INPUT, also when it is meant for another path.
    """
    unknown = [key for key in body if key not in SIGNED_KEYS]
    if unknown or not {"command_id", "contract", "function", "args"} <= body.keys():
        msg = "a signed body is {command_id, contract, function, on_behalf_of?, args}"
        raise invalid_request(msg)
    if (body["contract"], body["function"]) != (contract, function):
        msg = "the signed contract and function are not those of the path"
        raise invalid_request(msg)
    command_id, behalf, args = body["command_id"], body.get("on_behalf_of"), body["args"]
    if not isinstance(command_id, str) or not isinstance(args, Mapping):
        raise invalid_request("command_id is a text and args an object")
    if behalf is not None and not isinstance(behalf, str):
        raise invalid_request("on_behalf_of is a text")
    return _Wanted(command_id, behalf, args)


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
                "arguments": arguments_schema(function.arguments),
            }
        )
    for read in READS.values():
        listed.setdefault(read.contract, []).append(
            {
                "name": read.name,
                "kind": "read",
                "summary": read.summary,
                "callers": "any, filtered by what the caller may see",
                "arguments": arguments_schema(read.arguments),
            }
        )
    return listed
