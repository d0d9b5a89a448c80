"""The HTTP client against real servers on loopback."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import abc, web

from adapter.service.ports import SendError
from adapter.transport.address_guard import AddressGuard
from adapter.transport.http_sender import MAX_ANSWER, HttpSender

Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]
HEADERS = {"authorization": "Signature x", "content-type": "application/json"}


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    made = HttpSender(AddressGuard(allow_loopback=True))
    yield made
    await made.close()


async def test_bytes_and_headers_arrive_as_they_are(serve: Serve, sender: HttpSender) -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, await request.read(), request.headers))
        return web.Response(status=202, body=b"{}", headers={"Signature": "s", "X-Twice": "1"})

    answer = await sender.post(f"{await serve(handler)}/a%2Fb/init", b'{"a":1}', HEADERS)
    assert (answer.status, answer.body, answer.headers["signature"]) == (202, b"{}", "s")
    method, path, body, headers = seen[0]
    assert (method, path, body) == ("POST", "/a%2Fb/init", b'{"a":1}')
    assert headers["Authorization"] == "Signature x"
    assert headers["Content-Type"] == "application/json"
    assert "Cookie" not in headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(
    serve: Serve, sender: HttpSender, status: int
) -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    answer = await sender.post(f"{await serve(handler)}/init", b"{}", HEADERS)
    assert answer.status == status
    assert paths == ["/init"]


async def test_cookies_and_proxy_variables_are_ignored(
    serve: Serve, sender: HttpSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    url = f"{await serve(handler)}/init".replace("127.0.0.1", "localhost")  # a name has cookies
    for _ in range(2):
        assert (await sender.post(url, b"{}", HEADERS)).status == 200
    assert cookies == [None, None]


@pytest.mark.parametrize(
    ("size", "kept"), [(MAX_ANSWER, MAX_ANSWER), (MAX_ANSWER + 1, 0), (1_048_576, 0)]
)
async def test_an_answer_is_read_up_to_64_kib(
    serve: Serve, sender: HttpSender, size: int, kept: int
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    answer = await sender.post(await serve(handler), b"{}", HEADERS)
    assert (answer.status, len(answer.body)) == (200, kept)


async def test_a_compressed_answer_is_not_inflated(serve: Serve, sender: HttpSender) -> None:
    bomb = gzip.compress(bytes(10_000_000))

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    answer = await sender.post(await serve(handler), b"{}", HEADERS)
    assert answer.body == bomb


async def test_an_endless_answer_is_cut(serve: Serve, sender: HttpSender) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 4_096)

    assert (await sender.post(await serve(handler), b"{}", HEADERS)).body == b""


async def test_a_slow_answer_is_a_time_out(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(3_600)
        return web.Response()

    sender = HttpSender(AddressGuard(allow_loopback=True), total_s=0.05)
    try:
        with pytest.raises(SendError, match="time-out") as caught:
            await sender.post(await serve(handler), b"{}", HEADERS)
        assert not caught.value.permanent
    finally:
        await sender.close()


async def test_a_refused_connection_may_work_later(sender: HttpSender) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(SendError, match="no connection") as caught:
        await sender.post(f"http://127.0.0.1:{port}/init", b"{}", HEADERS)
    assert not caught.value.permanent


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
    ids=["nothing", "no HTTP", "half an answer"],
)
async def test_a_broken_answer_may_work_later(sender: HttpSender, garbage: bytes) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(garbage)
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(SendError) as caught:
            await sender.post(f"http://127.0.0.1:{port}/init", b"{}", HEADERS)
    assert not caught.value.permanent
    assert "\n" not in str(caught.value)


async def test_plain_http_on_a_tls_port_may_work_later(serve: Serve, sender: HttpSender) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    url = (await serve(handler)).replace("http:", "https:")
    with pytest.raises(SendError) as caught:
        await sender.post(url, b"{}", HEADERS)
    assert not caught.value.permanent


@pytest.mark.parametrize("url", ["http://", "no url", "http://127.1/x", "http://2130706433/x"])
async def test_a_url_that_cannot_be_called_is_given_up(sender: HttpSender, url: str) -> None:
    with pytest.raises(SendError) as caught:
        await sender.post(url, b"{}", HEADERS)
    assert caught.value.permanent


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254", "10.0.0.1"]
)
async def test_s1_a_public_node_opens_no_socket_to_an_address_that_is_not_public(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    dialled = forbid_connections(monkeypatch)
    sender = HttpSender(AddressGuard())
    try:
        with pytest.raises(SendError, match="not a public one") as caught:
            await sender.post(f"http://{host}:1/x", b"{}", HEADERS)
    finally:
        await sender.close()
    assert caught.value.permanent
    assert dialled == []


async def test_s1_a_name_that_turns_private_after_the_look_up_is_not_dialled(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver says 93.184.216.34 first and 127.0.0.1 next; only the dialled one counts."""
    arrived: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        arrived.append(request.path)
        return web.Response()

    port = int((await serve(handler)).rpartition(":")[2])
    dialled = forbid_connections(monkeypatch)
    sender = HttpSender(AddressGuard(), resolver=TurningResolver())
    try:
        outcomes = []
        for _ in range(2):
            with pytest.raises(SendError) as caught:
                await sender.post(f"http://turning.example:{port}/x", b"{}", HEADERS)
            outcomes.append(caught.value.permanent)
    finally:
        await sender.close()
    assert outcomes == [False, True]
    assert dialled == [("93.184.216.34", port)]
    assert arrived == []


class TurningResolver(abc.AbstractResolver):
    """A name server of an attacker: public at first, then loopback."""

    def __init__(self) -> None:
        self.addresses = ["93.184.216.34", "127.0.0.1"]

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        return [
            {
                "hostname": host,
                "host": self.addresses.pop(0),
                "port": port,
                "family": 2,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        pass


def forbid_connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the event loop open no connection, and return what it was asked to dial."""
    dialled: list[Any] = []

    async def sock_connect(sock: Any, address: Any) -> None:
        dialled.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    return dialled
