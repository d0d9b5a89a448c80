"""`/contracts/events` as a stream: order, resume, visibility, heartbeat, slow clients, the end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapter.bootstrap import Node
from adapter.domain.errors import WireError
from adapter.protocol import strict_json
from adapter.service import head_watch
from adapter.service.event_feed import BEGINNING, Position
from adapter.service.head_watch import HeadWatch
from adapter.transport.node_client import ServerEvent, server_events
from adapter.web.contract_events import STALL_S, EventStream, Streams, Wanted
from adapter.web.ending import Ending
from tests.fakes.command_line import p2ptrade
from tests.fakes.web import Web, error_of, open_web

URL = "/contracts/events"
WAIT_S = 50


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


class Client:
    """Takes a stream as a server would, and may stop taking or leave."""

    def __init__(self, node: Node, after: Position = BEGINNING, actor: str = "rec", **only: str):
        assert node.contracts is not None
        self.ending = Ending()
        self.streams = Streams()
        self.sent: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        wanted = Wanted(actor, only.get("contract", ""), only.get("name", ""))
        self.stream = EventStream(node.contracts, wanted, after, self.ending, self.streams)

    def start(self) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self.stream({}, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        self.sent.append(dict(message))
        self._news.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        found = server_events(self.text.split("\n"))
        return [strict_json.decode_object(one.data.encode()) for one in found if one.data]

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                self._news.clear()
                await self._news.wait()


async def deposit(web: Web, number: int) -> None:
    args = {"to": "bob", "amount": "1.00", "external_reference": f"more-{number}"}
    await web.network.call("treasury", "token", "deposit", **args)


async def test_a_stream_tells_what_there_is_and_what_happens_next(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_watch, "RECHECK_S", 600)
    client = Client(web.network.grid)
    task = client.start()
    await client.until(lambda: any(one["name"] == "Approval" for one in client.events))
    for number in range(3):
        await deposit(web, number)
        # woken by the commit: nobody looks again by himself
        await client.until(lambda n=number: client.text.count('"more-') == n + 1)
    client.leave()
    await asyncio.wait_for(task, WAIT_S)
    page = strict_json.decode_object(
        (await web.grid.get(URL, headers=web.operators["rec"])).content
    )
    assert client.events == page["events"]
    ids = [one.id for one in server_events(client.text.split("\n")) if one.data]
    assert ids == [event["id"] for event in page["events"]]


async def test_a_stream_goes_on_after_the_last_event_known(web: Web) -> None:
    page = strict_json.decode_object(
        (await web.grid.get(URL, headers=web.operators["rec"])).content
    )
    seq, index = map(int, page["events"][-2]["id"].split("."))
    client = Client(web.network.grid, (seq, index))
    task = client.start()
    await client.until(lambda: client.events)
    client.leave()
    await task
    assert client.events == page["events"][-1:]


async def test_a_stream_shows_what_the_caller_may_see_and_asked_for(web: Web) -> None:
    client = Client(web.network.grid, actor="headend")
    narrow = Client(web.network.grid, contract="token", name="Deposited")
    tasks = [client.start(), narrow.start()]
    await deposit(web, 1)
    await narrow.until(lambda: len(narrow.events) == 2)
    await client.until(lambda: client.events)
    for one in (client, narrow):
        one.leave()
    await asyncio.gather(*tasks)
    assert {event["name"] for event in narrow.events} == {"Deposited"}
    names = {event["name"] for event in client.events}
    assert "Initialized" in names
    assert names.isdisjoint({"Deposited", "UserRegistered", "Approval"})


async def test_a_quiet_stream_sends_a_heartbeat_with_its_place(web: Web) -> None:
    client = Client(web.network.grid, actor="headend")
    client.stream.heartbeat_s = 0.05
    task = client.start()
    await client.until(lambda: ": heartbeat" in client.text)
    client.leave()
    await task
    state = strict_json.decode_object(
        (await web.grid.get("/contracts/state", headers=web.operators["rec"])).content
    )
    assert f": heartbeat\nid: {state['seq']}\n\n" in client.text


async def test_a_client_that_takes_nothing_is_let_go_and_nothing_piles_up(web: Web) -> None:
    client = Client(web.network.grid)
    client.stream.stall_s = 0.1
    task = client.start()
    await client.until(lambda: client.events)
    before = len(client.sent)
    client.takes.clear()
    for number in range(5):
        await deposit(web, number)
    await asyncio.wait_for(task, STALL_S - 5)
    assert len(client.sent) == before
    assert client.streams.open.total() == 0


async def test_the_end_of_the_node_ends_a_stream_at_once(web: Web) -> None:
    client = Client(web.network.grid)
    task = client.start()
    await client.until(lambda: client.events)
    client.ending.begin()
    await asyncio.wait_for(task, WAIT_S)
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_one_stream_too_many_is_refused() -> None:
    streams = Streams(2)
    streams.open["ann"] = 1
    streams.check("ann")
    streams.open["ben"] = 1
    with pytest.raises(WireError) as refused:
        streams.check("cid")
    assert refused.value.code == "NET_OVERLOADED"


def test_nobody_takes_all_streams() -> None:
    streams = Streams()
    streams.open["ann"] = 10
    with pytest.raises(WireError) as refused:
        streams.check("ann")
    assert refused.value.code == "NET_OVERLOADED"
    streams.check("ben")


@pytest.mark.parametrize("place", ["x", "1.2.3", "-1"])
async def test_an_unreadable_last_event_id_is_refused(web: Web, place: str) -> None:
    headers = web.operators["rec"] | {"Accept": "text/event-stream", "Last-Event-ID": place}
    refused = await web.grid.get(URL, headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "INVALID_INPUT")


async def test_a_stream_needs_to_know_who_asks(web: Web) -> None:
    refused = await web.grid.get(URL, headers={"Accept": "text/event-stream"})
    assert refused.status_code == 401


async def test_many_who_wait_cost_one_query_per_wave_of_commits(web: Web) -> None:
    store = web.network.grid.parts.store
    queries = 0

    class Counted:
        async def read(self, query: Any) -> Any:
            nonlocal queries
            queries += 1
            return await store.read(query)

    heads = HeadWatch(Counted())  # type: ignore[arg-type]
    assert await heads.beyond(-1, 5)
    head = heads._seq
    waiting = [asyncio.ensure_future(heads.beyond(head, 5)) for _ in range(50)]
    await asyncio.sleep(0)
    heads.notify()
    await asyncio.sleep(0.1)
    assert queries < 6
    await deposit(web, 1)
    heads.notify()
    assert all(await asyncio.gather(*waiting))
    assert queries < 9
    assert not await heads.beyond(head + 1, 0.01)


def test_the_lines_of_a_stream_are_read_as_the_standard_says() -> None:
    lines = [
        *("retry: 2000", "", ": a comment", "", "id: 1.0", 'data: {"a":', "data:1}", ""),
        *("id: 7", "", "event: other", ""),
    ]
    assert list(server_events(lines)) == [
        ServerEvent("1.0", '{"a":\n1}'),
        ServerEvent("7", ""),
    ]


def test_following_a_node_that_is_not_there_ends_with_one_line() -> None:
    where = ("--node", "http://127.0.0.1:9", "--token", "x")
    ran = p2ptrade("contracts", "events", "--follow", *where)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert "does not answer" in ran.stderr
