"""The nodes of a fake network behind real servers on loopback, each with a fault proxy in front.

Real HTTP both ways: uvicorn with the node's own protocol class, and the node's own sender. Time is
still the test's, so that a schedule of an hour passes in a moment.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn

from adapter.demo.processes import free_ports
from adapter.domain.parties import Side
from adapter.service.ports import Answer
from adapter.transport.address_guard import AddressGuard
from adapter.transport.http_sender import TOTAL_S, HttpSender
from adapter.transport.token_files import Scope, add_token
from adapter.web.app import create_app
from adapter.web.http_protocol import BoundedHttpProtocol
from tests.fakes.live import Mailbox
from tests.fakes.network import HOSTS, OTHER, Network, offer, open_network, plan
from tests.fakes.proxy import FaultProxy
from tests.fakes.readings import submit_readings


class Server(uvicorn.Server):
    """uvicorn that leaves the signals of the test process alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@dataclass
class Detour:
    """Implements `service.ports.Sender`: dials the proxy of the host that a URL names."""

    http: HttpSender
    ports: dict[str, int] = field(default_factory=dict)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        host = urlsplit(url).netloc
        there = url.replace(f"//{host}/", f"//127.0.0.1:{self.ports[host]}/")
        return await self.http.post(there, body, headers)

    async def close(self) -> None:
        await self.http.close()


@dataclass
class Loopback:
    """A network on loopback."""

    network: Network
    proxies: dict[str, FaultProxy]
    """In front of each participant, by subscriber id."""
    ports: dict[str, int]
    """Where each node listens itself."""
    application: dict[str, dict[str, str]]
    """Header of each node's application."""
    mailbox: Mailbox
    """Takes what is sent to OTHER."""

    async def run(self, seconds: int, step_s: int = 1) -> None:
        """Let time pass; at each step the timers run and messages travel."""
        for _ in range(0, seconds, step_s):
            self.network.clock.advance(step_s)
            for node in self.network.nodes:
                await node.timers.tick()
            for _ in range(9):
                for node in self.network.nodes:
                    await node.outbound.drain_due()

    async def trade(self) -> str:
        """Offer and order 10 kWh; return the transaction."""
        await self.network.bpp.catalogue.publish(offer())
        return await self.network.bap.originator.start_trade(plan())

    async def deliver_energy(self) -> None:
        """Let the window pass with exact readings, and everything that follows."""
        self.network.clock.move_to("2026-03-02T09:20:00Z")
        await submit_readings(self.network)
        await self.run(60)

    async def states(self) -> list[str]:
        """Return how the newest trade stands at buyer's app, seller's platform and operator."""
        sides = (Side.BAP, Side.BPP, Side.GRID_OPERATOR)
        return [(await self.network.trade(side)).state.value for side in sides]

    async def get(self, name: str, path: str) -> httpx.Response:
        """Return what a node tells its own application."""
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        async with httpx.AsyncClient(headers=self.application[name]) as client:
            return await client.get(url)

    async def messages(self, name: str, transaction_id: str) -> list[dict[str, Any]]:
        """Return what `GET /trades/{id}/messages` says."""
        answer = await self.get(name, f"/trades/{transaction_id}/messages")
        listed: list[dict[str, Any]] = answer.json()["messages"]
        return listed

    async def metric(self, name: str, metric: str) -> float:
        """Return a value of a node's `/metrics`."""
        lines = (await self.get(name, "/metrics")).text.splitlines()
        return float(next(line for line in lines if line.startswith(f"{metric} ")).split()[1])


@asynccontextmanager
async def open_loopback(
    folder: Path, *, answer_s: float = TOTAL_S, **changes: Any
) -> AsyncIterator[Loopback]:
    """Give a network whose messages take real connections.

    Args:
        folder: for databases and settings.
        answer_s: how long a node waits for an answer.
        changes: as for `open_network`.
    """
    network = await open_network(folder, **changes)
    detour = Detour(HttpSender(AddressGuard(allow_loopback=True), total_s=answer_s))
    vars(network.wire).update(post=detour.post)
    async with contextlib.AsyncExitStack() as stack:
        loopback = Loopback(network, {}, {}, {}, Mailbox())
        stack.push_async_callback(detour.close)
        for node in network.nodes:
            name = node.parts.me.subscriber_id
            await _serve(stack, loopback, name, node, folder)
        stack.callback(loopback.mailbox.close)
        loopback.proxies[OTHER] = FaultProxy(urlsplit(loopback.mailbox.url).port or 0)
        for name, proxy in loopback.proxies.items():
            detour.ports[HOSTS[name]] = await proxy.open()
            stack.push_async_callback(proxy.close)
        yield loopback
    await network.close()


async def _serve(
    stack: contextlib.AsyncExitStack, loopback: Loopback, name: str, node: Any, folder: Path
) -> None:
    tokens_file = folder / f"{name}.tokens.yaml"
    token = add_token(tokens_file, Scope.APPLICATION)
    loopback.application[name] = {"Authorization": f"Bearer {token}"}
    access = node.settings.access.model_copy(update={"tokens_file": tokens_file})
    node.settings = node.settings.model_copy(update={"access": access})
    [port] = free_ports(1)
    config = uvicorn.Config(
        create_app(node),
        port=port,
        http=BoundedHttpProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)

    async def end() -> None:
        server.should_exit = True
        await task

    stack.push_async_callback(end)
    loopback.ports[name] = port
    loopback.proxies[name] = FaultProxy(port)
