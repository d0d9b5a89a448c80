"""A SQLite file when things break: kills, full disks, other processes, files of others."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store import sqlite_writer
from adapter.store.errors import StoreError
from adapter.store.sqlite import MEMORY, SqliteStore
from adapter.store.sqlite_unit import SqliteUnit
from tests.store.samples import outbox_row

ROOT = Path(__file__).parents[2]
KILLED_AFTER = 400
"""Acknowledged units before the kill."""


def child(module: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.store.{module}", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def control(unit: UnitOfWork, sql: str) -> None:
    assert isinstance(unit, SqliteUnit)
    unit._connection.control(sql)


@pytest.mark.parametrize("kill", range(3))
async def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, kill: int) -> None:
    path = tmp_path / "node.db"
    with child("child_writer", path) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(KILLED_AFTER * (kill + 1))]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    numbers = {int(line) for line in acknowledged if line.endswith("\n")}

    store = SqliteStore(path)
    rows = await store.write(lambda unit: unit.claim_outbox(1, 1, 10**6))
    stored = {int(row.transaction_id.removeprefix("t")) for row in rows}
    assert numbers <= stored

    def marks(unit: UnitOfWork) -> set[int]:
        assert isinstance(unit, SqliteUnit)
        return {int(key) for (key,) in unit._connection.execute("SELECT key FROM mark")}

    assert await store.read(marks) == stored  # no unit is there by half
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_full_disk_fails_the_whole_group_and_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with child("child_full_disk", path) as process:
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
    assert set(report["full"]) == {"NET_DOWNSTREAM_UNAVAILABLE"}
    assert report["stored_when_full"] is None
    assert set(report["after"]) == {"None"}
    assert report["claimed"] == len(report["after"])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_full_database_refuses_and_recovers(sqlite: SqliteStore) -> None:
    def limit(unit: UnitOfWork, more: int) -> None:
        assert isinstance(unit, SqliteUnit)
        [pages] = unit._connection.control("PRAGMA page_count").fetchone()
        control(unit, f"PRAGMA max_page_count = {pages + more}")

    large = outbox_row(body=b"x" * 1_000_000)
    await sqlite.write(lambda unit: limit(unit, 10))
    with pytest.raises(WireError, match="full") as raised:
        await sqlite.write(lambda unit: unit.enqueue(large))
    assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert await sqlite.read(lambda unit: unit.next_outbox_ms()) is None
    await sqlite.write(lambda unit: limit(unit, 10_000))
    await sqlite.write(lambda unit: unit.enqueue(large))


async def test_a_unit_cannot_go_on_after_the_database_rolled_it_back(sqlite: SqliteStore) -> None:
    def goes_on(unit: UnitOfWork) -> None:
        unit.mark("before")
        control(unit, "ROLLBACK")  # as SQLite does on its own when a disk breaks
        with contextlib.suppress(WireError):
            unit.savepoint(lambda: unit.mark("in a savepoint"))
        with contextlib.suppress(WireError):
            unit.mark("after")

    results = await asyncio.gather(
        sqlite.write(lambda unit: unit.mark("neighbour")),
        sqlite.write(goes_on),
        sqlite.write(lambda unit: unit.mark("neighbour")),
        return_exceptions=True,
    )
    assert {getattr(error, "code", None) for error in results[1:]} == {"NET_DOWNSTREAM_UNAVAILABLE"}
    for key in ("before", "in a savepoint", "after"):
        assert await sqlite.write(lambda unit, key=key: unit.mark(key)), key  # type: ignore[misc]


async def test_a_savepoint_reports_a_lost_transaction(sqlite: SqliteStore) -> None:
    def lost(unit: UnitOfWork) -> None:
        def part() -> None:
            control(unit, "ROLLBACK")
            message = "of the part"
            raise ValueError(message)

        unit.savepoint(part)

    with pytest.raises(WireError) as raised:
        await sqlite.write(lost)
    assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    await sqlite.write(lambda unit: unit.mark("a"))


@pytest.mark.parametrize("brief", [True, False])
async def test_a_write_lock_of_another_process_is_waited_for_and_then_refused(
    tmp_path: Path, sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch, *, brief: bool
) -> None:
    monkeypatch.setattr(sqlite_writer, "BUSY_MS", 300)
    other = sqlite3.connect(tmp_path / "node.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(sqlite.write(lambda unit: unit.mark("a"), brief=brief))
    ticks = 0
    while not task.done():  # the event loop goes on
        await asyncio.sleep(0.01)
        ticks += 1
    with pytest.raises(WireError, match="locked") as raised:
        await task
    assert ticks > 2
    assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    other.execute("ROLLBACK")
    other.close()
    assert await sqlite.write(lambda unit: unit.mark("a"), brief=brief)


async def test_a_database_serves_one_node(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="in use by another node"):
        SqliteStore(path)
    await store.write(lambda unit: unit.mark("a"))  # the first goes on
    with pytest.raises(StoreError, match="in use by another node"):
        SqliteStore(path)
    await store.close()
    again = SqliteStore(path)
    assert not await again.write(lambda unit: unit.mark("a"))
    await again.close()


async def test_a_database_in_use_by_another_process_is_refused_until_that_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "node.db"
    with child("child_writer", path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() != ""
        with pytest.raises(StoreError, match="in use by another node"):
            SqliteStore(path)
        process.send_signal(signal.SIGKILL)
    store = SqliteStore(path)
    await store.close()


async def test_what_a_killed_node_had_claimed_is_due_again_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "node.db"
    store = SqliteStore(path)
    await store.write(lambda unit: unit.enqueue(outbox_row(next_ms=5)))
    [claimed] = await store.write(lambda unit: unit.claim_outbox(5, 60_000, 9))
    await store.close()
    assert told_of_claims(caplog) == []
    store = SqliteStore(path)
    assert told_of_claims(caplog) == [1]
    assert await store.read(lambda unit: unit.next_outbox_ms()) == 5
    [again] = await store.write(lambda unit: unit.claim_outbox(5, 60_000, 9))
    assert again == claimed
    await store.close()


def told_of_claims(caplog: pytest.LogCaptureFixture) -> list[object]:
    found = [one for one in caplog.records if "are due again" in one.getMessage()]
    return [one.args[0] for one in found if isinstance(one.args, tuple)]


async def test_a_forked_child_does_not_keep_the_database(tmp_path: Path) -> None:
    """A worker of a process pool may live on for a moment after its node was killed."""
    path = tmp_path / "node.db"
    store = SqliteStore(path)
    reading, writing = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        os.close(writing)
        os.read(reading, 1)  # until the parent closes its end
        os._exit(0)
    os.close(reading)
    await store.close()
    again = SqliteStore(path)
    await again.close()
    os.close(writing)
    os.waitpid(process_id, 0)


async def test_a_folder_is_made_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "odd name %20 #1?.db"
    store = SqliteStore(path)
    await store.write(lambda unit: unit.mark("a"))
    assert not await store.read(lambda unit: unit.offers())
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("*.db*")} == {0o600}
    await store.close()


@pytest.mark.parametrize("content", [b"not a database" * 500, b"SQLite format 3\0" + b"\0" * 4_096])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"node\.db cannot be opened"):
        SqliteStore(path)
    with pytest.raises(StoreError, match=r"node\.db cannot be opened"):  # the lock was given back
        SqliteStore(path)
    assert path.read_bytes() == content


def test_a_folder_out_of_reach_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "file" / "node.db")


async def test_settings_that_durability_rests_on(sqlite: SqliteStore) -> None:
    def settings(unit: UnitOfWork) -> dict[str, object]:
        assert isinstance(unit, SqliteUnit)
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {name: unit._connection.control(f"PRAGMA {name}").fetchone()[0] for name in names}

    full = 2
    expected = {"journal_mode": "wal", "synchronous": full, "foreign_keys": 1}
    assert await sqlite.write(settings) == expected


async def test_databases_in_memory_are_apart() -> None:
    first, second = SqliteStore(MEMORY), SqliteStore(MEMORY)
    await first.write(lambda unit: unit.mark("a"))
    assert await second.write(lambda unit: unit.mark("a"))
    await first.close()
    await second.close()
