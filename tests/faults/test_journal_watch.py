"""A node whose journal somebody changed settles nothing more, and says why."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from adapter.bootstrap import Ports, build_node
from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.service.journal_watch import JournalWatch
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
        for attempt in (watch.walk, watch.look):
            with pytest.raises(WireError, match="no room"):
                await attempt()
        assert (watch.fault or "").startswith(f"entry {AT}: ")
    assert await store.read(lambda uow: uow.journal_fault()) is None
    await watch.look()
    assert await store.read(lambda uow: uow.journal_fault()) == watch.fault is not None


async def no_room(unit: object) -> None:
    del unit
    msg = "no room"
    raise WireError("NET_DOWNSTREAM_UNAVAILABLE", msg)


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
