"""`/bap/caller` and `/bpp/caller`: Beckn messages of the participant's own application.

The node completes the context, signs and sends. Answers have the shapes of the network: what the
peer acknowledged, or the callback itself with `wait=callback`; refusals are NACK bodies.
Source: interfaces, section 3; protocol specification, sections 2 and 7.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from adapter.bootstrap import Node
from adapter.domain.errors import AdapterError, WireError
from adapter.domain.parties import NodeRole
from adapter.protocol import strict_json
from adapter.protocol.acks import MessageIds, ack, nack
from adapter.protocol.actions import UNSUPPORTED, Action
from adapter.service.originate import Sent
from adapter.service.records import OutboxRow, OutboxState
from adapter.web.auth import Guard
from adapter.web.body import DisconnectedError, RequestError, read_json_object
from adapter.web.ending import Ending
from adapter.web.errors import CLOSE_AFTER, json_response, not_offered
from adapter.web.models import json_body

ACK_WAIT_MS = 30_000
"""How long the application waits for the peer's answer to news of the seller, whose ttl is long."""
BPP_SIDE = frozenset({NodeRole.BPP, NodeRole.MARKET, NodeRole.GRID_OPERATOR})
"""Roles whose application may push callbacks."""

Wait = Literal["ack", "callback"]

_BODY = json_body(
    {
        "type": "object",
        "required": ["message"],
        "properties": {
            "context": {
                "type": "object",
                "description": "What is missing is filled in; `bpp_id` says whom to ask.",
            },
            "message": {"type": "object", "description": "As the action demands."},
        },
    },
    {
        "context": {"bpp_id": "bpp.seller.example"},
        "message": {"filters": {"type": "jsonpath", "expression": "$[?(@.price)]"}},
    },
)
_ACK = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"enum": ["ACK", "NACK"]},
                "messageId": {"type": "string"},
                "error": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "details": {"type": "object"},
                    },
                },
            },
        },
        "context": {"type": "object", "description": "The completed context, with an ACK."},
    },
}


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": _ACK}}
    return {status: {"description": "A NACK.", "content": content} for status in statuses}


_TAKEN = {200: {"description": "ACK, or the callback.", "content": _responses(200)[200]["content"]}}
_REFUSED = _responses(400, 401, 404, 409, 501, 503, 504)


def callers_router(node: Node, guard: Guard, ending: Ending) -> APIRouter:
    """Return the caller paths of both sides."""
    router = APIRouter(tags=["callers"])
    described: dict[str, Any] = {"openapi_extra": _BODY, "responses": {**_TAKEN, **_REFUSED}}

    @router.post("/bap/caller/{action}", **described)
    async def request(
        request: Request,
        action: Annotated[str, Path(description="discover, select, init, confirm, status, cancel")],
        wait: Annotated[Wait, Query(description="What the answer waits for.")] = "ack",
    ) -> Response:
        """Send a request to a BPP; answer with its acknowledgement or with its callback."""
        call = _Call(node, ending)
        try:
            await guard.application(request)
            known = _action(action, callbacks=False)
            if NodeRole.BAP not in node.parts.roles:
                raise not_offered("this node has no role bap")
            return await call.send(request, known, wait)
        except (AdapterError, DisconnectedError) as error:
            return call.refusal(error)

    @router.post("/bpp/caller/{action}", **described)
    async def push(
        request: Request,
        action: Annotated[str, Path(description="on_status or on_update")],
        wait: Annotated[Literal["ack"], Query(description="No callback follows news.")] = "ack",
    ) -> Response:
        """Send news of a trade to its BAP; the node answers requests by itself."""
        del wait
        call = _Call(node, ending)
        try:
            await guard.application(request)
            known = _action(action, callbacks=True)
            if not BPP_SIDE & node.parts.roles:
                raise not_offered("this node has no role bpp")
            return await call.push(request, known)
        except (AdapterError, DisconnectedError) as error:
            return call.refusal(error)

    return router


class _Call:
    """One call of the application; knows its ids as soon as they can be read."""

    def __init__(self, node: Node, ending: Ending) -> None:
        self._node = node
        self._ending = ending
        self._ids = MessageIds()
        self._profile = node.settings.protocol.ack_profile

    async def send(self, request: Request, action: Action, wait: Wait) -> Response:
        body = await self._read(request)
        sent = await self._node.originator.send(action, body)
        self._ids = MessageIds(sent.message_id, sent.transaction_id)
        if wait == "callback":
            waited = self._node.originator.wait_for_callback(sent)
            callback = await self._ending.unless(waited)
            if callback is None:
                raise WireError("NET_TIMEOUT", f"no {action.callback.value} came in time")
            return json_response(200, callback)
        row = await self._ending.unless(self._node.originator.wait_for_ack(sent))
        if row is not None and row.state is not OutboxState.SENT:
            await self._node.originator.wait_for_callback(sent)  # raises the peer's error
        return self._acknowledged(sent, row)

    async def push(self, request: Request, action: Action) -> Response:
        body = await self._read(request)
        sent = await self._node.originator.push(action, body)
        self._ids = MessageIds(sent.message_id, sent.transaction_id)
        waited = self._node.originator.wait_for_ack(replace(sent, ttl_ms=ACK_WAIT_MS))
        row = await self._ending.unless(waited)
        return self._acknowledged(sent, row)

    async def _read(self, request: Request) -> dict[str, Any]:
        body = await read_json_object(request.scope["headers"], request.receive)
        context = body.get("context")
        if isinstance(context, Mapping):
            self._ids = MessageIds(
                _readable(context.get("message_id")), _readable(context.get("transaction_id"))
            )
        return body

    def _acknowledged(self, sent: Sent, row: OutboxRow | None) -> Response:
        """Return what the peer said: its ACK with the completed context, or its refusal.

        Raises:
            WireError: the peer refused, or did not answer in time.
        """
        if row is None:
            msg = "the peer did not answer yet; the message stays in the outbox until its ttl ends"
            raise WireError("NET_ACK_TIMEOUT", msg)
        if row.state is not OutboxState.SENT:
            msg = f"{row.peer} did not take the message"
            raise RequestError(row.http_status or 504, row.code or "NET_ACK_TIMEOUT", msg)
        taken = ack(self._profile, self._ids)
        return _with_context(taken.status, taken.body, sent.context)

    def refusal(self, error: Exception) -> Response:
        """Return the NACK."""
        if isinstance(error, DisconnectedError):
            return Response(status_code=400)
        assert isinstance(error, AdapterError)
        answer = nack(self._profile, self._ids, error)
        headers = {"Cache-Control": "no-store"}
        if answer.status in CLOSE_AFTER:
            headers["Connection"] = "close"
        return Response(answer.body, answer.status, headers, media_type="application/json")


def _action(name: str, *, callbacks: bool) -> Action:
    """Return the action of a path.

    Raises:
        RequestError: 404 or 501, NET_NOT_IMPLEMENTED.
    """
    if name in UNSUPPORTED:
        raise RequestError(501, "NET_NOT_IMPLEMENTED", "the action is not offered")
    try:
        action = Action(name)
    except ValueError:
        raise not_offered("there is no such action") from None
    if action.is_callback is not callbacks:
        side = "/bpp/caller" if action.is_callback else "/bap/caller"
        msg = f"{action.value} is sent through {side}"
        raise not_offered(msg)
    return action


def _with_context(status: int, body: bytes, context: Mapping[str, Any]) -> Response:
    return json_response(status, {**strict_json.decode_object(body), "context": dict(context)})


def _readable(value: object) -> str | None:
    fits = isinstance(value, str) and 0 < len(value) <= 128
    return value if fits and isinstance(value, str) and value.isprintable() else None
