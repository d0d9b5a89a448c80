"""The server's bounds on request heads, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar, cast

import pytest
import uvicorn

from adapter.web.http_protocol import MAX_HEAD, BoundedHttpProtocol

OK = b"HTTP/1.1 200 OK"


class ImpatientProtocol(BoundedHttpProtocol):
    """Waits a twentieth of a second for a head, so that tests need not wait ten."""

    head_s = 0.05


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_at_once(scope: Any, receive: Any, send: Any) -> None:
    """Refuse without reading the body."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


WITH_LENGTH = b"HTTP/1.1 7\r\ncontent-length: 7\r\n\r\n"
"""A piece of a body that looks like a head."""


def answering(length: int | None, *pieces: bytes, wait: asyncio.Event | None = None) -> Any:
    """Return an application that answers with pieces; before the second it may wait."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, piece in enumerate(pieces):
            if wait is not None and number == 1:
                await wait.wait()
            more = number < len(pieces) - 1
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    return app


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """Begin an answer and fail."""
    headers = [(b"content-length", b"9")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    raise OSError


class CountingProtocol(BoundedHttpProtocol):
    """Keeps what it gives its transport."""

    written: ClassVar[list[bytes]] = []

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast(Any, Recorder(transport, self.written)))


class Recorder:
    """A transport that notes what it writes."""

    def __init__(self, transport: Any, written: list[bytes]) -> None:
        self._transport, self._written = transport, written

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Server:
    """uvicorn in this event loop."""

    def __init__(self, protocol: type[BoundedHttpProtocol], app: Any = echo) -> None:
        config = uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", log_config=None, port=0
        )
        self.uvicorn = uvicorn.Server(config)
        self.port = 0

    async def __aenter__(self) -> "Server":
        self.uvicorn.config.load()
        self.uvicorn.lifespan = self.uvicorn.config.lifespan_class(self.uvicorn.config)
        await self.uvicorn.startup()
        self.port = self.uvicorn.servers[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.uvicorn.shutdown()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def talk(self, *pieces: bytes) -> bytes:
        """Send pieces, read until the server closes."""
        reader, writer = await self.open()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(BoundedHttpProtocol) as made:
        yield made


@pytest.fixture
async def impatient() -> AsyncIterator[Server]:
    async with Server(ImpatientProtocol) as made:
        yield made


def head(
    extra: bytes = b"", body: bytes = b"", method: bytes = b"POST", close: bool = True
) -> bytes:
    connection = b"Connection: close\r\n" if close else b""
    return (
        method
        + b" /bpp/receiver/init HTTP/1.1\r\nHost: node\r\n"
        + connection
        + b"Content-Length: %d\r\n" % len(body)
        + extra
        + b"\r\n"
        + body
    )


def refused(answer: bytes, status: int) -> bool:
    top, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["message"]["error"]
    return top.startswith(b"HTTP/1.1 %d " % status) and error["code"] == "SCH_INVALID_FORMAT"


async def test_a_usual_request_is_answered(server: Server) -> None:
    answer = await server.talk(head(body=b"x" * 200_000))
    assert answer.startswith(OK)
    assert answer.endswith(b"200000")


async def test_an_answer_is_written_once() -> None:
    CountingProtocol.written.clear()
    async with Server(CountingProtocol) as server:
        await server.talk(head(body=b"x" * 70))
    [written] = CountingProtocol.written
    assert written.startswith(OK)
    assert written.endswith(b"\r\n\r\n70")


@pytest.mark.parametrize("method", [b"POST", b"GET", b"HEAD"])
async def test_a_body_in_pieces_is_written_as_it_is(method: bytes) -> None:
    pieces = (WITH_LENGTH, WITH_LENGTH, b"", b"end")
    async with Server(BoundedHttpProtocol, answering(2 * len(WITH_LENGTH) + 3, *pieces)) as server:
        answer = await server.talk(head(method=method))
    _, _, body = answer.partition(b"\r\n\r\n")
    assert body == (b"" if method == b"HEAD" else WITH_LENGTH + WITH_LENGTH + b"end")


async def test_an_answer_of_no_length_begins_at_once() -> None:
    more = asyncio.Event()
    async with Server(BoundedHttpProtocol, answering(None, b"", b"later", wait=more)) as server:
        reader, writer = await server.open()
        writer.write(head())
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(OK)
        more.set()
        assert b"later" in await asyncio.wait_for(reader.read(), 20)
        writer.close()


async def test_what_a_failing_application_began_is_still_written() -> None:
    async with Server(BoundedHttpProtocol, failing) as server:
        answer = await server.talk(head())
    assert answer.startswith(b"HTTP/1.1 202 ")


async def test_a_client_that_waits_for_leave_gets_it_before_the_answer(server: Server) -> None:
    reader, writer = await server.open()
    writer.write(head(b"Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 5"))
    leave = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert leave == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"12345")
    assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"\r\n\r\n5")
    writer.close()


async def test_several_requests_on_one_connection_are_answered(server: Server) -> None:
    reader, writer = await server.open()
    for size in (0, 100_000, 17):
        writer.write(head(body=b"x" * size, close=False))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert answer.startswith(OK)
        assert await reader.readexactly(len(str(size))) == str(size).encode()
    writer.close()


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    answer = await server.talk(head(body=b"a" * 30_000, close=False) + head(body=b"b" * 5))
    assert answer.count(OK) == 2
    assert answer.index(b"30000") < answer.rindex(b"5")


def padding(size: int) -> bytes:
    """Return a header field of that many bytes."""
    return b"X-Pad: " + b"a" * (size - len(b"X-Pad: \r\n")) + b"\r\n"


async def test_a_head_of_16_kib_is_accepted(server: Server) -> None:
    room = MAX_HEAD - len(head()) - 100
    assert (await server.talk(head(padding(room)))).startswith(OK)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(padding(MAX_HEAD), id="one long field"),
        pytest.param(padding(200_000), id="200 kB"),
        pytest.param(b"".join(b"X-%d: a\r\n" % n for n in range(2_000)), id="many fields"),
    ],
)
async def test_a_longer_head_is_431(server: Server, extra: bytes) -> None:
    assert refused(await server.talk(head(extra)), 431)


async def test_a_field_that_never_ends_is_431(server: Server) -> None:
    start = b"POST / HTTP/1.1\r\nX-Pad: "
    answer = await server.talk(start, *([b"a" * 4_096] * 5))
    assert refused(answer, 431)


async def test_a_long_url_is_431(server: Server) -> None:
    answer = await server.talk(b"POST /" + b"a" * (MAX_HEAD + 1) + b" HTTP/1.1\r\n\r\n")
    assert refused(answer, 431)


async def test_trailers_count_too(server: Server) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    fields = b"".join(b"X-%d: a\r\n" % number for number in range(20_000))
    answer = await server.talk(chunked, fields, b"\r\n")
    assert not answer.startswith(OK)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"", id="nothing at all"),
        pytest.param(b"POST", id="half a request line"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: node\r\n", id="head without its end"),
    ],
)
async def test_s18_an_unfinished_head_is_408(impatient: Server, start: bytes) -> None:
    assert refused(await impatient.talk(start), 408)


async def test_s18_a_head_that_drips_is_408(impatient: Server) -> None:
    reader, writer = await impatient.open()
    writer.write(b"POST / HTTP/1.1\r\n")

    async def drip() -> None:
        number = 0
        while True:
            number += 1
            writer.write(b"X-%d: a\r\n" % number)
            await asyncio.sleep(0.005)

    dripping = asyncio.create_task(drip())
    try:
        assert refused(await asyncio.wait_for(reader.read(), 20), 408)
    finally:
        dripping.cancel()
        writer.close()


async def test_s18_a_second_head_on_a_kept_connection_has_the_same_time(impatient: Server) -> None:
    reader, writer = await impatient.open()
    writer.write(head(close=False))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n0"), 20)
    writer.write(b"\r\n")  # ends uvicorn's own wait for an idle connection, and is no head
    assert refused(await asyncio.wait_for(reader.read(), 20), 408)
    writer.close()


async def test_s18_a_body_that_nobody_reads_ends_with_the_deadline(impatient: Server) -> None:
    """The application has answered; the client sends on for ever."""
    impatient.uvicorn.config.loaded_app = answer_at_once
    reader, writer = await impatient.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: n\r\nContent-Length: 999999999\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.005)

    dripping = asyncio.create_task(drip())
    try:
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        dripping.cancel()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_slow_body_is_not_cut_by_the_deadline_of_the_head(impatient: Server) -> None:
    reader, writer = await impatient.open()
    request = head(body=b"x" * 10)
    writer.write(request[:-5])
    await asyncio.sleep(0.1)  # twice the deadline
    writer.write(request[-5:])
    assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"10")
    writer.close()


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"hello\r\n\r\n", b"GET\r\n\r\n"])
async def test_what_is_no_http_is_closed(server: Server, garbage: bytes) -> None:
    answer = await server.talk(garbage)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
