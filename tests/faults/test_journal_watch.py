"""A node whose journal somebody changed settles nothing more, and says why."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

from adapter.bootstrap import Ports, build_node
from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.service import journal_watch
from adapter.service.journal_watch import JournalWatch
from adapter.service.ports import Store, UnitOfWork
from adapter.service.siblings import JOURNAL, Alone
from adapter.settings import load_settings
from adapter.settlement import Entry, parse_command
from adapter.store.postgres_siblings import PostgresSiblings
from adapter.web.operations import readiness
from tests.fakes.network import BAP, BPP, GRID, Network, offer, open_network, plan
from tests.fakes.postgres import PostgresServer
from tests.fakes.readings import submit_readings
from tests.fakes.time import CountingIds

WAIT_S = 30
AT = 5
"""An entry of the set-up."""
ENTRY = "SELECT time_ms, hash, body FROM ledger_entries WHERE seq = ?"


def flip(connection: sqlite3.Connection) -> None:
    _, _, body = connection.execute(ENTRY, (AT,)).fetchone()
    changed = bytearray(body)
    changed[len(changed) // 2] ^= 1
    connection.execute("UPDATE ledger_entries SET body = ? WHERE seq = ?", (bytes(changed), AT))


def drop(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM ledger_entries WHERE seq = ?", (AT,))


def replace_whole(connection: sqlite3.Connection) -> None:
    """Put the entry before it in its place, with its own right hash."""
    time_ms, entry_hash, body = connection.execute(ENTRY, (AT - 1,)).fetchone()
    connection.execute("DELETE FROM ledger_entries WHERE seq = ?", (AT,))
    connection.execute(
        "INSERT INTO ledger_entries (seq, time_ms, hash, body) VALUES (?, ?, ?, ?)",
        (AT, time_ms, entry_hash[::-1], body),
    )


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


def lay_hands(network: Network, hand: Callable[[sqlite3.Connection], None]) -> None:
    path = network.grid.settings.database.url.path
    assert path is not None
    with closing(sqlite3.connect(path)) as connection:
        hand(connection)
        connection.commit()


async def confirmed(network: Network) -> None:
    await network.bpp.catalogue.publish(offer())
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


@pytest.mark.parametrize("hand", [flip, drop, replace_whole])
async def test_nothing_is_settled_on_a_damaged_journal(
    hand: Callable[[sqlite3.Connection], None],
    network: Network,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await confirmed(network)
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    lay_hands(network, hand)
    await network.grid.journal.walk()
    assert (network.grid.journal.fault or "").startswith(f"entry {AT}: ")
    await network.tick()
    assert await network.balance("bob", "USD") == "20.00"
    with pytest.raises(WireError, match=f"damaged .entry {AT}: ") as refused:
        await network.call(
            "treasurer", "token", "deposit", to="bob", amount="1.00", external_reference="b-9"
        )
    assert refused.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert f"entry {AT}: " in (await readiness(network.grid))["journal"]
    assert f"the journal is damaged, nothing is settled: entry {AT}: " in caplog.text


async def test_a_new_trade_waits_until_the_journal_is_repaired(network: Network) -> None:
    lay_hands(network, flip)
    await network.grid.journal.walk()
    await network.bpp.catalogue.publish(offer())
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    assert (await network.trade(Side.BAP)).state == "INIT_PENDING"
    lay_hands(network, flip)  # the same bit once more
    await network.grid.journal.walk()
    await network.run(10)
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


async def test_a_node_that_is_started_again_knows_of_the_damage_before_its_first_walk(
    network: Network,
) -> None:
    lay_hands(network, flip)
    await network.grid.journal.walk()
    await network.grid.stop()
    again = build_node(load_settings(network.files[GRID]), Ports(sender=network.wire))
    await again.journal.look()
    assert (again.journal.fault or "").startswith(f"entry {AT}: ")
    network.grid = again


async def test_what_cannot_be_kept_stays_known_here_and_is_kept_later(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_hands(network, flip)
    store, watch = network.grid.parts.store, network.grid.journal
    with monkeypatch.context() as patched:
        patched.setattr(store, "write", no_room)
        await watch.walk()
        with pytest.raises(WireError, match="no room"):
            await watch.look()
        assert (watch.fault or "").startswith(f"entry {AT}: ")
    assert await store.read(lambda uow: uow.journal_fault()) is None
    await watch.look()
    assert await store.read(lambda uow: uow.journal_fault()) == watch.fault is not None


async def no_room(unit: object) -> NoReturn:
    del unit
    msg = "no room"
    raise WireError("NET_DOWNSTREAM_UNAVAILABLE", msg)


# Errors that pass


@dataclass
class Failing:
    """Lets one unit of work on a store fail: the one after `left` more."""

    store: Store
    left: int
    is_done: bool = False
    """It fails after its commit, as when the answer is lost."""

    def lay_on(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        for name in names:
            monkeypatch.setattr(self.store, name, partial(self._work, getattr(self.store, name)))

    async def _work(self, really: Callable[[object], Awaitable[object]], unit: object) -> object:
        self.left -= 1
        if self.left != -1:
            return await really(unit)
        if self.is_done:
            await really(unit)
        await no_room(unit)


class Told(Alone):
    """Other processes, of which we only know what they were told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def tell(self, transaction_id: str, *, is_help_wanted: bool = False) -> None:
        self.heard.append(transaction_id)


@contextlib.asynccontextmanager
async def running(watch: JournalWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        watch.stop()
        await asyncio.wait_for(task, WAIT_S)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once what failed."""
    monkeypatch.setattr(journal_watch, "POLL_S", 0.01)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("before", "is_done"),
    [
        pytest.param(0, False, id="what is known"),
        pytest.param(1, False, id="a page"),
        pytest.param(2, False, id="the end"),
        pytest.param(3, False, id="taking it back"),
        pytest.param(3, True, id="the answer that it is taken back"),
        pytest.param(4, False, id="the look after that"),
    ],
)
async def test_an_error_that_passes_in_the_first_walk_after_a_repair_leaves_nothing_closed(
    before: int, is_done: bool, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_hands(network, flip)
    await network.grid.journal.walk()
    lay_hands(network, flip)  # the same bit once more
    store, others = network.grid.parts.store, Told()
    again = JournalWatch(store, others)
    await again.look()
    assert (again.fault or "").startswith(f"entry {AT}: ")
    failing = Failing(store, before, is_done)
    failing.lay_on(monkeypatch, "read", "write")
    async with running(again):
        await until(lambda: failing.left < 0 and again.fault is None)
    assert await store.read(lambda uow: uow.journal_fault()) is None
    assert set(others.heard) == {JOURNAL}


@pytest.mark.usefixtures("soon")
async def test_what_a_later_walk_finds_and_cannot_keep_is_kept_without_news(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_watch, "EVERY_S", 0.01)
    store, others = network.grid.parts.store, Told()
    watch = JournalWatch(store, others)
    walked = Failing(store, 9)  # three walks of three reads; the next one fails
    walked.lay_on(monkeypatch, "read")
    failing = Failing(store, 0)
    failing.lay_on(monkeypatch, "write")
    async with running(watch):
        await until(lambda: walked.left < 0)
        lay_hands(network, flip)
        await until(lambda: others.heard == [JOURNAL])
    assert failing.left < -1
    assert await store.read(lambda uow: uow.journal_fault()) == watch.fault is not None


@pytest.mark.usefixtures("soon")
async def test_news_are_not_lost_when_the_look_at_them_fails(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournalWatch, "_walks", nothing)
    store = network.grid.parts.store
    watch = JournalWatch(store)
    await store.write(lambda uow: uow.keep_journal_fault("entry 5: changed"))
    failing = Failing(store, 0)
    failing.lay_on(monkeypatch, "read")
    async with running(watch):
        watch.hear([JOURNAL])
        await until(lambda: watch.fault == "entry 5: changed")
        await store.write(lambda uow: uow.drop_journal_fault("entry 5: changed"))
        failing.left = 0
        watch.hear(None)
        await until(lambda: watch.fault is None)


async def test_a_watch_ends_while_the_store_is_away(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = network.grid.parts.store
    watch = JournalWatch(store)
    monkeypatch.setattr(journal_watch, "POLL_S", 2 * WAIT_S)  # its end does not wait for that
    monkeypatch.setattr(store, "read", no_room)
    async with running(watch):
        watch.hear([JOURNAL])
        await until(lambda: len(caplog.records) == 2)  # the walk, and the look


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_look_that_began_before_a_finding_does_not_take_it_back(
    is_kept: bool, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, watch = network.grid.parts.store, network.grid.journal
    has_read, really_read, really_page = asyncio.Event(), store.read, watch._page
    looks: list[asyncio.Task[None]] = []

    async def read(unit: Callable[[UnitOfWork], object]) -> object:
        found = await really_read(unit)
        if looks and not has_read.is_set():
            has_read.set()
            await until(lambda: watch.fault is not None)
        return found

    async def page(after: int) -> Sequence[Entry]:
        entries = await really_page(after)
        looks.append(asyncio.create_task(watch.look()))
        await has_read.wait()
        return entries

    lay_hands(network, flip)
    monkeypatch.setattr(store, "read", read)
    monkeypatch.setattr(store, "write", store.write if is_kept else no_room)
    monkeypatch.setattr(watch, "_page", page)
    await watch.walk()
    await asyncio.gather(*looks)
    assert (watch.fault or "").startswith(f"entry {AT}: ")


# Two workers


class Workers:
    """Two processes' worth of a grid operator on one PostgreSQL database; both have started."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.finder = network.grid
        ports = Ports(clock=network.clock, ids=CountingIds(9), sender=network.wire)
        self.other = build_node(load_settings(network.files[GRID]), ports)

    async def start(self) -> None:
        for node in (self.finder, self.other):
            await node.start()
        await until(lambda: all(one.is_connected for one in self.siblings))

    @property
    def siblings(self) -> list[PostgresSiblings]:
        found = [node.siblings for node in (self.finder, self.other)]
        return [one for one in found if isinstance(one, PostgresSiblings)]


@pytest.fixture
async def workers(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workers]:
    monkeypatch.setattr(JournalWatch, "_walks", nothing)  # a test walks when it wants to
    with ExitStack() as stack:
        databases = {name: stack.enter_context(postgres_server.lent()) for name in (BAP, BPP, GRID)}
        network = await open_network(tmp_path, databases=databases)
        opened = Workers(network)
        await opened.start()
        yield opened
        await opened.other.stop()
        await network.close()


async def nothing(_: JournalWatch) -> None:
    pass


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not done():
            await asyncio.sleep(0.01)


async def test_no_worker_settles_once_one_has_found_the_damage(workers: Workers) -> None:
    finder, other = workers.finder.journal, workers.other.journal
    swap_first_bytes(workers)
    await finder.walk()
    await until(lambda: other.fault is not None)
    assert other.fault == finder.fault
    assert (other.fault or "").startswith(f"entry {AT}: ")
    assert workers.other.contracts is not None
    args = {"to": "bob", "amount": "1.00", "external_reference": "b-9"}
    command = parse_command("b-9", "token", "deposit", args)
    with pytest.raises(WireError, match=f"damaged .entry {AT}: "):
        await workers.other.contracts.call(command, actor="treasurer")


async def test_a_repair_that_one_worker_sees_opens_the_ledger_for_all(workers: Workers) -> None:
    finder, other = workers.finder.journal, workers.other.journal
    swap_first_bytes(workers)
    await finder.walk()
    await until(lambda: other.fault is not None)
    await finder.walk()
    await until(lambda: finder.fault is not None)  # still broken
    swap_first_bytes(workers)
    await finder.walk()
    await until(lambda: other.fault is None)
    await until(lambda: finder.fault is None)
    await workers.network.call(
        "treasury", "token", "deposit", to="bob", amount="1.00", external_reference="b-9"
    )


async def test_a_walk_that_began_before_the_damage_does_not_take_it_back(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder, other = workers.finder.journal, workers.other.journal
    store = workers.finder.parts.store
    whole = await store.read(lambda uow: list(uow.ledger.entries(-1, 500)))
    pages = iter((whole, []))
    swapped = asyncio.Event()

    async def page(_after: int) -> list[Entry]:
        if not swapped.is_set():
            swapped.set()
            swap_first_bytes(workers)
            await other.walk()
        return next(pages)

    monkeypatch.setattr(finder, "_page", page)  # what it read before the damage
    await finder.walk()
    await until(lambda: finder.fault is not None)
    assert await store.read(lambda uow: uow.journal_fault()) == other.fault is not None


def swap_first_bytes(workers: Workers) -> None:
    """Exchange the first two bytes of an entry; done twice it is whole again."""
    url = workers.finder.settings.database.url.url
    with psycopg.connect(url, autocommit=True) as connection:
        changed = connection.execute(
            "UPDATE ledger_entries SET body = substring(body from 2 for 1) || "
            "substring(body from 1 for 1) || substring(body from 3) WHERE seq = %s",
            (AT,),
        )
        assert changed.rowcount == 1


async def test_a_whole_journal_is_walked_to_its_end(network: Network) -> None:
    await confirmed(network)
    await network.grid.journal.walk()
    assert network.grid.journal.fault is None
    assert (await readiness(network.grid))["journal"] == "ok"
    assert "journal" not in await readiness(network.bap)
