"""A node whose journal somebody changed settles nothing more, and says why."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.web.operations import readiness
from tests.fakes.network import Network, offer, open_network, plan
from tests.fakes.readings import submit_readings

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
    network.grid.journal.fault = None
    await network.run(10)
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


async def test_a_whole_journal_is_walked_to_its_end(network: Network) -> None:
    await confirmed(network)
    await network.grid.journal.walk()
    assert network.grid.journal.fault is None
    assert (await readiness(network.grid))["journal"] == "ok"
    assert "journal" not in await readiness(network.bap)
