"""`/contracts/events`: a page, or a stream of server-sent events that goes on.

A stream has no buffer of its own: it reads the next page when the client has taken the one before,
and is given up when the client takes nothing for STALL_S. Each event carries its place as `id`, so
that a client goes on with `Last-Event-ID` or `after`. Source: settlement specification, section 17.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from adapter.bootstrap import Node
from adapter.domain.errors import ContractError, WireError
from adapter.protocol import strict_json
from adapter.service.contracts import EVENT_PAGE, ContractCalls
from adapter.service.event_feed import BEGINNING, WHOLE_ENTRY, Position
from adapter.web.auth import Guard
from adapter.web.contract_models import EventPageModel
from adapter.web.contract_parts import hosted_by
from adapter.web.ending import Ending
from adapter.web.errors import json_response
from adapter.web.models import refusals

EVENT_STREAM = "text/event-stream"
HEARTBEAT_S = 15.0
STALL_S = 30.0
"""A client that takes nothing for so long is let go."""
LIFE_S = 3_600.0
"""After which a stream ends: the client comes again, and shows anew who it is."""
STREAM_PAGE = 200
"""Entries read at once."""
RETRY_MS = 2_000
"""How long a browser waits before it comes again."""
MAX_STREAMS = 100
"""Open streams of one node."""
MAX_OWN_STREAMS = 10
"""Those of one caller, so that nobody locks the others out."""

_PLACE = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?", re.ASCII)


def parse_place(text: str | None) -> Position:
    """Return the last event known; a bare SEQ stands for all events of that entry.

    Raises:
        ContractError: INVALID_INPUT.
    """
    if not text:
        return BEGINNING
    match = _PLACE.fullmatch(text)
    if match is None:
        msg = "after is SEQ or SEQ.INDEX"
        raise ContractError("INVALID_INPUT", msg)
    return int(match[1]), (WHOLE_ENTRY if match[2] is None else int(match[2]))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose events, and which."""

    actor: str
    contract: str
    name: str


class Streams:
    """Counts the open streams of a node."""

    def __init__(self, most: int = MAX_STREAMS) -> None:
        """Begin with none."""
        self.open: Counter[str] = Counter()
        """By actor."""
        self._most = most

    def check(self, actor: str) -> None:
        """Refuse one stream too many.

        Raises:
            WireError: NET_OVERLOADED.
        """
        if self.open.total() >= self._most or self.open[actor] >= MAX_OWN_STREAMS:
            msg = f"{self._most} event streams are open, or {MAX_OWN_STREAMS} of {actor}"
            raise WireError("NET_OVERLOADED", msg)


class EventStream(Response):
    """An answer that goes on until the client leaves or the node ends."""

    media_type = EVENT_STREAM
    stall_s = STALL_S
    heartbeat_s = HEARTBEAT_S

    def __init__(
        self,
        hosted: ContractCalls,
        wanted: Wanted,
        after: Position,
        ending: Ending,
        streams: Streams,
    ) -> None:
        """Take where to read, for whom, from where on, and when to end."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hosted = hosted
        self._wanted = wanted
        self._after = after
        self._ending = ending
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come."""
        del scope
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        self._streams.open[self._wanted.actor] += 1
        gone = asyncio.ensure_future(_disconnected(receive))
        work = asyncio.ensure_future(self._ending.unless(self._run(start, send)))
        try:
            async with asyncio.timeout(LIFE_S):
                await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        finally:
            self._streams.open[self._wanted.actor] -= 1
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)
        if not work.cancelled() and isinstance(work.exception(), Exception):
            return  # the client took nothing, or has left
        with contextlib.suppress(OSError, TimeoutError):
            await self._put(send, b"", more=False)

    async def _run(self, start: Mapping[str, Any], send: Send) -> None:
        await send(dict(start))
        await self._put(send, b"retry: %d\n\n" % RETRY_MS)
        while True:
            wanted = self._wanted
            page = await self._hosted.events(
                self._after,
                actor=wanted.actor,
                contract=wanted.contract,
                name=wanted.name,
                limit=STREAM_PAGE,
            )
            before, self._after = self._after, parse_place(page["next"])
            if page["events"]:
                await self._put(send, b"".join(frames(page["events"])))
            if self._after != before:
                continue
            if not await self._hosted.heads.beyond(self._after[0], self.heartbeat_s):
                await self._put(send, _heartbeat(page["next"]))

    async def _put(self, send: Send, body: bytes, *, more: bool = True) -> None:
        """Send bytes.

        Raises:
            TimeoutError: the client does not take them.
        """
        message = {"type": "http.response.body", "body": body, "more_body": more}
        async with asyncio.timeout(self.stall_s):
            await send(message)


def frames(events: Iterable[Mapping[str, Any]]) -> Iterable[bytes]:
    """Give each event as a server-sent one."""
    for event in events:
        yield b"id: %s\ndata: %s\n\n" % (str(event["id"]).encode(), strict_json.encode(event))


def _heartbeat(place: str | None) -> bytes:
    """Return a comment; the place goes along, so that nothing is looked through twice."""
    return b": heartbeat\n\n" if place is None else b": heartbeat\nid: %s\n\n" % place.encode()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def add_event_path(router: APIRouter, node: Node, guard: Guard, ending: Ending) -> None:
    """Add `/contracts/events`."""
    streams = Streams()

    @router.get(
        "/contracts/events",
        response_model=EventPageModel,
        responses={
            200: {
                "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
                "description": (
                    "A page; with `Accept: text/event-stream` the same events one by one as they "
                    "happen, `id` being SEQ.INDEX and `data` the event, with a comment every 15 s."
                ),
            },
            **refusals(400, 401, 404, 503),
        },
    )
    async def events(
        request: Request,
        after: Annotated[str | None, Query(description="SEQ or SEQ.INDEX")] = None,
        contract: Annotated[str, Query(max_length=64)] = "",
        name: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=EVENT_PAGE, description="Entries.")] = EVENT_PAGE,
        last_event_id: Annotated[
            str | None, Header(description="Goes on after this event; before `after`.")
        ] = None,
    ) -> Response:
        """Return a page of the events that the caller may see, or a stream of them."""
        hosted = hosted_by(node)
        caller = await guard.contract_caller(request)
        wanted = Wanted(caller.actor, contract, name)
        if EVENT_STREAM in request.headers.get("accept", ""):
            streams.check(caller.actor)
            place = parse_place(last_event_id or after)
            return EventStream(hosted, wanted, place, ending, streams)
        page = await hosted.events(
            parse_place(after), actor=caller.actor, contract=contract, name=name, limit=limit
        )
        return json_response(200, page)
