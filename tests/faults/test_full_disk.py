"""A database without room and a commit that fails, under a node that gets many messages at once."""

import asyncio
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapter.protocol import strict_json
from adapter.store.sqlite_unit import SqliteUnit
from tests.fakes.network import BAP, BPP, GRID, Network, open_network
from tests.fakes.stranger import Reply, Stranger

MANY = 24
DISK = "3m"


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """Give a file system of 3 MB."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    subprocess.run(mount, check=True, stderr=subprocess.DEVNULL)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def kinds() -> list[str]:
    """Return what can be made here: the page limit anywhere, a full disk where one may mount."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with disk(Path(folder)):
                return ["page limit", "full disk"]
        except (OSError, subprocess.CalledProcessError):
            return ["page limit"]


@contextmanager
def plain(folder: Path) -> Iterator[Path]:
    yield folder


class Case:
    """A seller's platform, and the messages it gets."""

    def __init__(self, network: Network, place: Path, kind: str) -> None:
        self.network, self.kind, self.place = network, kind, place
        buyer = Stranger(network)
        requests = [buyer.request("discover", transaction_id=f"T-{n}") for n in range(MANY)]
        wanted = {"message": {"text_search": "solar"}}
        self.messages = [strict_json.encode(request | wanted) for request in requests]
        self.buyer = buyer

    async def post_all(self) -> list[Reply]:
        """Post all messages at once."""
        posted = (self.buyer.post_bytes("discover", raw) for raw in self.messages)
        return list(await asyncio.gather(*posted))

    async def fill(self) -> None:
        """Leave no room."""
        if self.kind == "page limit":
            await self.network.bpp.parts.store.write(lambda unit: limit(unit, 0))
            return
        free = os.statvfs(self.place).f_bavail * os.statvfs(self.place).f_frsize
        (self.place / "filler").write_bytes(bytes(free))

    async def make_room(self) -> None:
        if self.kind == "page limit":
            await self.network.bpp.parts.store.write(lambda unit: limit(unit, 10_000))
        else:
            (self.place / "filler").unlink()

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.place / "bpp.db")) as connection:
            return connection.execute(query).fetchall()


def limit(unit: Any, more: int) -> None:
    assert isinstance(unit, SqliteUnit)
    [pages] = unit._connection.control("PRAGMA page_count").fetchone()
    unit._connection.control(f"PRAGMA max_page_count = {pages + more}")


@pytest.fixture(params=kinds())
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    opened = plain(tmp_path) if request.param == "page limit" else disk(tmp_path)
    with opened as place:
        files = {name: f"sqlite:///{tmp_path}/{name}.db" for name in (BAP, GRID)}
        files[BPP] = f"sqlite:///{place}/bpp.db"
        network = await open_network(tmp_path, databases=files)
        yield Case(network, place, request.param)
        await network.close()


async def test_a_node_without_room_acknowledges_nothing_and_goes_on_when_there_is_room(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    await case.fill()
    replies = await case.post_all()
    refused = [reply for reply in replies if reply.status != 200]
    assert refused  # a lone message may still fit into what is left of a page
    assert {(reply.status, reply.code) for reply in refused} == {
        (503, "NET_DOWNSTREAM_UNAVAILABLE")
    }
    assert all(int(reply.headers["retry-after"]) > 0 for reply in refused)
    assert len(case.rows("SELECT * FROM inbox")) == MANY - len(refused)
    assert case.rows("PRAGMA integrity_check") == [("ok",)]
    assert any("database or disk is full" in text for text in caplog.messages)
    await case.make_room()
    taken = await case.post_all()
    assert {(reply.status, reply.word) for reply in taken} == {(200, "ACK")}
    assert len(case.rows("SELECT * FROM inbox")) == MANY
    assert len(case.rows("SELECT * FROM outbox")) == MANY  # one on_discover each
    assert case.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.fixture
async def healthy(tmp_path: Path) -> AsyncIterator[Case]:
    network = await open_network(tmp_path)
    yield Case(network, tmp_path, "page limit")
    await network.close()


async def test_a_commit_that_fails_fails_every_message_of_its_group(
    healthy: Case, caplog: pytest.LogCaptureFixture
) -> None:
    store: Any = healthy.network.bpp.parts.store
    connection = store._writer._connection
    control = connection.control

    def broken(sql: str) -> Any:
        if sql == "COMMIT":
            why = "disk I/O error"
            raise sqlite3.OperationalError(why)
        return control(sql)

    connection.control = broken
    refused = await healthy.post_all()
    assert {reply.status for reply in refused} == {503}
    assert healthy.rows("SELECT * FROM inbox") == []
    assert any(text.startswith("no commit of") for text in caplog.messages)
    connection.control = control
    assert {reply.status for reply in await healthy.post_all()} == {200}
    assert len(healthy.rows("SELECT * FROM inbox")) == MANY


async def test_one_bad_message_of_a_group_is_refused_alone(healthy: Case) -> None:
    other = strict_json.decode_object(healthy.messages[0])
    assert (await healthy.buyer.post_bytes("discover", healthy.messages[0])).status == 200
    changed = strict_json.encode(other | {"message": {"text_search": "wind"}})
    healthy.messages[0] = changed  # the same id with another body
    replies = await healthy.post_all()
    assert (replies[0].status, replies[0].code) == (400, "CTX_MESSAGE_ID_DUPLICATE")
    assert {reply.status for reply in replies[1:]} == {200}
    assert len(healthy.rows("SELECT * FROM inbox")) == MANY
