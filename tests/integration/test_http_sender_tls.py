"""TLS of what a node sends: the chain and the name of a certificate are checked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import abc

from adapter.service.ports import SendError
from adapter.transport.address_guard import AddressGuard
from adapter.transport.http_sender import HttpSender
from tests.fakes.certificate import server_context

NAME = "peer.example"
WAIT_S = 30


class Resolver(abc.AbstractResolver):
    """A name server that knows one name."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        assert host.rstrip(".").lower() == NAME
        place = {"hostname": host, "host": "127.0.0.1", "port": port}
        return [{**place, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def server(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Give the port of a server that answers each request with 200."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    made = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield made.sockets[0].getsockname()[1]
    finally:
        made.close()


async def status_of(port: int, tls: ssl.SSLContext | None, host: str = NAME) -> int:
    sender = HttpSender(AddressGuard(allow_loopback=True), tls=tls, resolver=Resolver())
    try:
        async with asyncio.timeout(WAIT_S):
            return (await sender.get(f"https://{host}:{port}/")).status
    finally:
        await sender.close()


async def test_a_server_with_a_certificate_for_its_name_is_called(tmp_path: Path) -> None:
    there, here = server_context(tmp_path, NAME)
    async with server(there) as port:
        for host in (NAME, NAME.upper()):
            assert await status_of(port, here, host) == 200


@pytest.mark.parametrize(
    ("certified", "trusted"),
    [
        pytest.param("other.example", True, id="a certificate for another name"),
        pytest.param(NAME, False, id="an unknown authority"),
    ],
)
async def test_a_server_that_proves_nothing_is_not_called(
    tmp_path: Path, certified: str, *, trusted: bool
) -> None:
    there, here = server_context(tmp_path, certified)
    async with server(there) as port:
        with pytest.raises(SendError, match="TLS failed") as caught:
            await status_of(port, here if trusted else None)
    assert not caught.value.permanent


async def test_tls_works_in_the_event_loop_that_nodes_run_in(tmp_path: Path) -> None:
    there, here = server_context(tmp_path, NAME)

    async def run() -> None:
        async with server(there) as port:
            assert await status_of(port, here) == 200
            with pytest.raises(SendError, match="TLS failed"):
                await status_of(port, None)

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    await asyncio.to_thread(in_thread)
