"""The network's paths on raw bytes: step 1 of the pipeline, then `receive`.

A plain ASGI application, because the signature covers the bytes and a framework costs more than
the check. Source: architecture, section 4; protocol specification, sections 2 and 8; ruling R14.
"""

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adapter.domain.errors import AdapterError, WireError
from adapter.protocol.acks import MessageIds, nack
from adapter.protocol.actions import UNSUPPORTED
from adapter.service.inbound_reply import InboundReply, values_of
from adapter.web.body import (
    MAX_BODY,
    AsgiReceive,
    DisconnectedError,
    RequestError,
    check_content_headers,
    read_body,
)

_log = logging.getLogger(__name__)

NetworkSide = Literal["bap", "bpp"]
RawHeaders = list[tuple[bytes, bytes]]
AsgiSend = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[NetworkSide, str, RawHeaders, bytes], Awaitable[InboundReply]]
"""The pipeline from step 2 on: side, action, headers, body."""
Serves = Callable[[NetworkSide, str], bool]
"""Returns whether this node takes an action on a side's path."""
SignAnswer = Callable[[bytes, Sequence[str]], str | None]
"""Returns the `Signature` header over a body, None if the Authorization headers are unreadable."""

_PATH = re.compile(r"/(bap|bpp)/receiver/([^?#]+)\Z")


@dataclass(frozen=True, slots=True)
class NetworkEndpoints:
    """`POST /bpp/receiver/{action}` and `POST /bap/receiver/{on_action}`."""

    receive: Receive
    serves: Serves
    sign_answer: SignAnswer
    ack_profile: str = "onix"
    """Shape of refusals to senders that are not known yet."""

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: AsgiReceive, send: AsgiSend
    ) -> None:
        """Answer one request."""
        assert scope["type"] == "http", scope["type"]
        headers: RawHeaders = list(scope["headers"])
        try:
            reply = await self._reply(scope, headers, receive)
        except DisconnectedError:
            return
        await _send(send, reply)

    async def _reply(
        self, scope: MutableMapping[str, Any], headers: RawHeaders, receive: AsgiReceive
    ) -> InboundReply:
        try:
            side, action = self._route(scope["method"], scope["path"])
            check_content_headers(headers, MAX_BODY)
            body = await read_body(receive)
            return await self.receive(side, action, headers, body)
        except AdapterError as error:
            return self._refusal(error, headers)
        except DisconnectedError:
            raise
        except Exception:
            _log.exception("fault while a message was handled", extra={"path": scope["path"]})
            fault = WireError("NET_INTERNAL_ERROR", "a fault of this node")
            return self._refusal(fault, headers)

    def _route(self, method: str, path: str) -> tuple[NetworkSide, str]:
        """Return side and action of a path that exists here.

        Raises:
            RequestError: 405, 404 or 501, NET_NOT_IMPLEMENTED.
        """
        if method != "POST":
            raise _not_offered(405, "only POST is offered")
        match = _PATH.search(path)
        if match is None:
            raise _not_offered(404, "there is no such path")
        side: NetworkSide = "bap" if match[1] == "bap" else "bpp"
        action = match[2]
        if side == "bpp" and (action in UNSUPPORTED or action.startswith("catalog/")):
            raise _not_offered(501, "the action is not offered")
        if not self.serves(side, action):
            raise _not_offered(404, "there is no such action here")
        return side, action

    def _refusal(self, error: AdapterError, headers: RawHeaders) -> InboundReply:
        """Return the NACK, signed when the request had a readable signature."""
        answer = nack(self.ack_profile, MessageIds(), error)
        extra: RawHeaders = []
        signature = self.sign_answer(answer.body, values_of(headers, b"authorization"))
        if signature is not None:
            extra.append((b"signature", signature.encode("latin-1")))
        if answer.status == 405:
            extra.append((b"allow", b"POST"))
        if answer.status == 408:  # the rest of the body may come at any time
            extra.append((b"connection", b"close"))
        return InboundReply(answer.status, extra, answer.body)


def _not_offered(status: int, message: str) -> RequestError:
    return RequestError(status, "NET_NOT_IMPLEMENTED", message)


async def _send(send: AsgiSend, reply: InboundReply) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
