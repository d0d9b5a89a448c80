"""A proxy between two real nodes that does what networks and peers do wrong.

It reads whole HTTP requests, so that a fault hits one message and not whatever shares its
connection. A fault is chosen for each request by the test.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DRIP_S, DRIP_BYTES = 0.002, 40
"""Between two drops of an answer that drips, and how much a drop is."""
LATE_S = 0.15
"""How late a delayed answer comes."""


class Fault(StrEnum):
    """What becomes of one request."""

    NONE = "passed on"
    RESET = "connection reset before the request arrives"
    STALL = "taken, never passed on, never answered"
    HALF_CLOSE = "taken, answered by closing the sending side"
    RUBBISH = "answered with bytes that are no HTTP"
    NOT_JSON = "answered 200 with a body that is no JSON"
    ERROR = "answered 500"
    LOST_ANSWER = "passed on, the connection is reset instead of an answer"
    TRUNCATED = "passed on, the answer is cut in its middle"
    DRIP = "passed on, the answer comes drop by drop"
    LATE = "passed on, the answer comes late"
    TWICE = "passed on twice, the second answer counts"


ARRIVES = frozenset(
    {Fault.NONE, Fault.LOST_ANSWER, Fault.TRUNCATED, Fault.DRIP, Fault.LATE, Fault.TWICE}
)
"""Faults after which the peer has the message all the same."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, as bytes and with the parts that a test chooses by."""

    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()


Choose = Callable[[Request], Fault]


@dataclass
class FaultProxy:
    """One listening port in front of another one."""

    target: int
    choose: Choose = lambda request: Fault.NONE
    is_away: bool = False
    """Connections are reset as soon as they are made."""
    seen: list[tuple[str, Fault]] = field(default_factory=list)
    """Path and fault of each request that was read."""
    connections: int = 0
    held: int = 0
    """Requests that wait for an answer which never comes."""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more and drop every connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if self.is_away:
                _reset(writer)
            else:
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request; its answer ends the connection."""
        request = await _read(reader)
        fault = self.choose(request)
        self.seen.append((request.path, fault))
        if fault in _ANSWERS:
            await _whole(writer, _ANSWERS[fault])
        elif fault not in ARRIVES:
            await _UNANSWERED[fault](self, writer)
        else:
            answer = b""
            for _ in range(2 if fault is Fault.TWICE else 1):
                answer = await self._forward(request)
            await _WRITES.get(fault, _whole)(writer, answer)

    async def _forward(self, request: Request) -> bytes:
        """Return the answer of the node behind, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            writer.write(request.head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            writer.write(request.body)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _stall(self, writer: asyncio.StreamWriter) -> None:
        self.held += 1
        try:
            await asyncio.Event().wait()  # until the client gives up, or the proxy is closed
        finally:
            self.held -= 1

    async def _half_close(self, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        await asyncio.sleep(LATE_S)

    async def _reset(self, writer: asyncio.StreamWriter) -> None:
        _reset(writer)


_ANSWERS: Mapping[Fault, bytes] = {
    Fault.RUBBISH: b"\x16\x03\x01 SSH-2.0-oops\r\n\r\n" * 3,
    Fault.NOT_JSON: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<html>no>",
    Fault.ERROR: b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}
_UNANSWERED: Mapping[Fault, Callable[[FaultProxy, asyncio.StreamWriter], Awaitable[None]]] = {
    Fault.STALL: FaultProxy._stall,
    Fault.HALF_CLOSE: FaultProxy._half_close,
    Fault.RESET: FaultProxy._reset,
}


async def _read(reader: asyncio.StreamReader) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.split(b"\r\n")]
    lengths = [int(value) for name, _, value in lines if name.lower() == b"content-length"]
    return Request(head, await reader.readexactly(lengths[0] if lengths else 0))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: nothing that was sent is waited for."""
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _whole(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()


async def _lost(writer: asyncio.StreamWriter, answer: bytes) -> None:
    assert answer
    _reset(writer)


async def _cut(writer: asyncio.StreamWriter, answer: bytes) -> None:
    await _whole(writer, answer[: len(answer) // 2])


async def _drip(writer: asyncio.StreamWriter, answer: bytes) -> None:
    for start in range(0, len(answer), DRIP_BYTES):
        await _whole(writer, answer[start : start + DRIP_BYTES])
        await asyncio.sleep(DRIP_S)


async def _late(writer: asyncio.StreamWriter, answer: bytes) -> None:
    await asyncio.sleep(LATE_S)
    await _whole(writer, answer)


_WRITES: Mapping[Fault, Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]] = {
    Fault.LOST_ANSWER: _lost,
    Fault.TRUNCATED: _cut,
    Fault.DRIP: _drip,
    Fault.LATE: _late,
}
