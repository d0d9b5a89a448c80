"""Signed texts that PostgreSQL cannot hold: refused with a code, and nothing else is harmed."""

import asyncio
import copy
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psycopg
import pytest

from adapter.bootstrap import Node
from adapter.protocol.actions import Action
from adapter.service.ports import UnitOfWork
from adapter.store import postgres, postgres_lane
from adapter.store.postgres import PostgresStore
from tests.fakes.dump import LEDGER, TABLES
from tests.fakes.network import BAP, BPP, GRID, OTHER, ROLES, Network, offer, open_network
from tests.fakes.orders import OFFER, TEMPLATE, Order, contract, init_order, select_order
from tests.fakes.postgres import PostgresServer
from tests.fakes.stranger import Message, Reply, Stranger

WAIT_S = 20
NEIGHBOURS = 3
NUL = "a\0b"
LONG = Random(1).randbytes(6_000).hex()
"""12 kB that cannot be compressed to what an index holds."""


@dataclass
class Scene:
    """A node on PostgreSQL, the others on SQLite files, and a peer by hand."""

    network: Network
    node: Node
    url: str
    peer: Stranger

    async def post(self, message: Message) -> Reply:
        return await self.peer.post(message, to=self.node)

    def rows(self) -> dict[str, list[Any]]:
        """Return all that the node stores besides its inbox."""
        with psycopg.connect(self.url) as connection:
            return {
                table: sorted(connection.execute(f"SELECT * FROM {table}".encode()), key=repr)
                for table in (*TABLES, *LEDGER)
            }

    def codes(self) -> list[str | None]:
        """Return the codes of the answers in the inbox."""
        with psycopg.connect(self.url) as connection:
            return [code for (code,) in connection.execute("SELECT code FROM inbox ORDER BY 1")]


Messages = Callable[[Scene, str | None], Awaitable[Message]]
"""Makes a message of a new transaction with that text in a key; without one a good message."""


@asynccontextmanager
async def opened(folder: Path, server: PostgresServer, node: str) -> AsyncIterator[Scene]:
    """Open a network of which one node is on PostgreSQL."""
    databases = {name: f"sqlite:///{ROLES[name]}.db" for name in (BAP, BPP, GRID)}
    databases[node] = url = server.fresh_url()
    network = await open_network(folder, databases=databases)
    await network.bpp.catalogue.publish(offer())
    ours = {BAP: network.bap, BPP: network.bpp, GRID: network.grid}[node]
    yield Scene(network, ours, url, Stranger(network, OTHER if node == BPP else BPP))
    await network.close()


def transaction(scene: Scene) -> str:
    return f"T-{scene.peer.new_id()}"


async def select(scene: Scene, text: str | None) -> Message:
    order = select_order(contract_id=text or TEMPLATE)
    return scene.peer.request("select", order, transaction_id=transaction(scene))


async def select_an_offer(scene: Scene, text: str | None) -> Message:
    message = await select(scene, None)
    message["message"]["order"]["beckn:offers"][0]["beckn:id"] = text or OFFER
    return message


async def init(scene: Scene, text: str | None) -> Message:
    if text is None:
        return await select(scene, None)  # whose answer has the contract of a good init
    order = init_order(contract_id=text)
    return scene.peer.request("init", order, transaction_id=transaction(scene))


async def cascaded_init(scene: Scene, text: str | None) -> Message:
    order = init_order(contract_id=text or scene.peer.new_id())
    for part in ("beckn:items", "beckn:offers", "beckn:payments"):
        del order[part]
    order["beckn:provider"] = {"beckn:id": "grid-1"}
    role: Order = {"role": "GRID_OPERATOR", "filledBy": None, "filled": False, "roleInputs": {}}
    contract(order)["roles"].append(role)
    return scene.peer.request("init", order, to=GRID, transaction_id=transaction(scene))


async def on_select(scene: Scene, text: str | None) -> Message:
    """Let the buyer's app ask, and answer it."""
    sought = {"bpp_id": BPP, "transaction_id": transaction(scene)}
    asked = {"context": sought, "message": {"order": select_order()}}
    await scene.network.bap.originator.send(Action.SELECT, asked)
    await scene.network.deliver()
    request = scene.peer.last("select")
    order = copy.deepcopy(request["message"]["order"])
    contract(order)["contractId"] = text or scene.peer.new_id()
    return scene.peer.callback(request, order)


class Case(NamedTuple):
    """A message with a text, and how it is refused."""

    node: str
    made: Messages
    text: str
    status: int
    code: str


CASES = {
    "NUL in a select": Case(BPP, select, NUL, 400, "CTX_INVALID_FIELD"),
    "NUL in the offer of a select": Case(BPP, select_an_offer, NUL, 400, "CTX_INVALID_FIELD"),
    "NUL in an init": Case(BPP, init, NUL, 400, "CTX_INVALID_FIELD"),
    "NUL in an init to the operator": Case(GRID, cascaded_init, NUL, 400, "CTX_INVALID_FIELD"),
    "NUL in an on_select": Case(BAP, on_select, NUL, 400, "CTX_INVALID_FIELD"),
    # The platform has no such contract or offer, which it finds without storing the text.
    "long id in a select": Case(BPP, select, LONG, 409, "BIZ_UPDATE_INCONSISTENT"),
    "long id of an offer": Case(BPP, select_an_offer, LONG, 400, "BIZ_OFFER_NOT_FOUND"),
    "long id in an init": Case(BPP, init, LONG, 409, "BIZ_UPDATE_INCONSISTENT"),
    "long id in an init to the operator": Case(GRID, cascaded_init, LONG, 400, "CTX_INVALID_FIELD"),
    "long id in an on_select": Case(BAP, on_select, LONG, 400, "CTX_INVALID_FIELD"),
}


@pytest.fixture(autouse=True)
def one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what waits share one group, however slow the machine is."""
    monkeypatch.setattr(postgres_lane, "GROUP_S", 60)
    monkeypatch.setattr(postgres, "WRITERS", 1)


@asynccontextmanager
async def held(store: PostgresStore, units: int) -> AsyncIterator[None]:
    """Keep both threads busy, the one for the ledger too, until so many units wait for them."""
    started, go_on = threading.Semaphore(0), threading.Event()

    def hold(_: UnitOfWork) -> None:
        started.release()
        assert go_on.wait(WAIT_S)

    def hold_ledger(uow: UnitOfWork) -> None:
        uow.ledger.head()
        hold(uow)

    holding = []
    for unit in (hold_ledger, hold):  # the first one comes to its thread by way of the other
        holding.append(asyncio.create_task(store.write(unit)))
        assert await asyncio.to_thread(started.acquire, timeout=WAIT_S)
    try:
        yield
        async with asyncio.timeout(WAIT_S):
            while store.waiting < len(holding) + units:
                await asyncio.sleep(0.01)
    finally:
        go_on.set()
        await asyncio.gather(*holding)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_text_that_cannot_be_stored_is_refused_and_its_neighbours_are_not(
    tmp_path: Path, postgres_server: PostgresServer, case: Case
) -> None:
    _, made, text, status, code = case
    async with opened(tmp_path, postgres_server, case.node) as scene:
        bad = await made(scene, text)
        before = scene.rows()
        first = await scene.post(bad)
        again = await scene.post(bad)
        assert (first.word, first.status, first.code) == ("NACK", status, code), first.raw
        assert (again.status, again.raw) == (first.status, first.raw)
        assert scene.codes() == [code]
        assert scene.rows() == before

        good = [await made(scene, None) for _ in range(NEIGHBOURS)]
        messages = [*good[:1], await made(scene, text), *good[1:]]
        store = scene.node.parts.store
        assert isinstance(store, PostgresStore)
        async with held(store, len(messages)):
            tasks = [asyncio.create_task(scene.post(message)) for message in messages]
        replies = [await task for task in tasks]
        assert [reply.code for reply in replies] == ["", code, "", ""]
        assert [reply.word for reply in replies] == ["ACK", "NACK", "ACK", "ACK"]
        assert len(scene.codes()) == 1 + len(messages)
        await scene.network.deliver()
