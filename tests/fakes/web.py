"""HTTP clients for the nodes of a fake network: the real application, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from adapter.bootstrap import Node
from adapter.protocol import strict_json
from adapter.transport.token_files import Scope, add_token
from adapter.web.app import create_app
from adapter.web.ending import Ending
from tests.fakes.network import Network, open_network

ACTORS = ("rec", "treasury", "headend", "grid.operator.example")
"""Operators with a token at the grid operator's node."""


@dataclass
class Web:
    """The own HTTP interfaces of a fake network."""

    network: Network
    bap: httpx.AsyncClient
    bpp: httpx.AsyncClient
    grid: httpx.AsyncClient
    application: dict[str, str]
    """Header of each node's application, by subscriber id."""
    operators: dict[str, dict[str, str]]
    """Header by actor at the grid operator's node."""
    endings: dict[str, Ending]
    """By subscriber id."""

    async def pumped(self, request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        """Return the answer to a request while messages travel between the nodes."""
        task = asyncio.ensure_future(request)
        while not task.done():
            await self.network.deliver()
            await asyncio.wait({task}, timeout=0.005)
        return task.result()


@asynccontextmanager
async def open_web(folder: Path, **changes: Any) -> AsyncIterator[Web]:
    """Give clients of a fresh fake network; `changes` as for `open_network`."""
    network = await open_network(folder, **changes)
    application: dict[str, str] = {}
    operators: dict[str, dict[str, str]] = {}
    endings: dict[str, Ending] = {}
    clients = []
    for node in network.nodes:
        name = node.parts.me.subscriber_id
        file = folder / f"{name}.tokens.yaml"
        application[name] = _bearer(add_token(file, Scope.APPLICATION))
        if node is network.grid:
            operators = {
                one: {"Authorization": _bearer(add_token(file, Scope.OPERATOR, one))}
                for one in ACTORS
            }
        endings[name] = Ending()
        clients.append(_client(node, file, application[name], endings[name]))
    bap, bpp, grid = clients
    yield Web(network, bap, bpp, grid, application, operators, endings)
    for client in clients:
        await client.aclose()
    await network.close()


def _client(node: Node, tokens_file: Path, token: str, ending: Ending) -> httpx.AsyncClient:
    access = node.settings.access.model_copy(update={"tokens_file": tokens_file})
    node.settings = node.settings.model_copy(update={"access": access})
    transport = httpx.ASGITransport(create_app(node, ending))
    headers = {"Authorization": token}
    return httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers)


def _bearer(token: str) -> str:
    return f"Bearer {token}"


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a refusal, which must have exactly the one shape."""
    body: dict[str, Any] = strict_json.decode_object(response.content)
    assert body.keys() >= {"error"}, body
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"code", "message", "details"}, body
    return error


def json_of(response: httpx.Response) -> Any:
    """Return the JSON of an answer with exact numbers."""
    return strict_json.decode(response.content)


def offer_body(**changes: Any) -> dict[str, Any]:
    """Return the body of `POST /offers` for the seller's meter."""
    base: Mapping[str, Any] = {
        "offer_id": "roof-7",
        "source_meter_id": "meter-roof-7",
        "source_type": "SOLAR",
        "available_kwh": "40",
        "price_per_kwh": "0.15",
        "currency": "USD",
        "production_start": "2026-03-02T08:00:00Z",
        "production_end": "2026-03-02T18:00:00Z",
    }
    return {**base, **changes}


def purchase_body(**changes: Any) -> dict[str, Any]:
    """Return the body of `POST /trades` for 10 kWh."""
    base: Mapping[str, Any] = {
        "bpp_id": "bpp.seller.example",
        "target_meter_id": "meter-home-3",
        "quantity_kwh": "10",
        "start": "2026-03-02T08:15:00Z",
        "end": "2026-03-02T09:15:00Z",
    }
    return {**base, **changes}
