"""A PostgreSQL database when things break: stopped under load, out of reach, of another program."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.errors import StoreError
from adapter.store.migrate import Migration, known_migrations
from adapter.store.postgres import READERS, WRITERS, PostgresStore
from adapter.store.postgres_connection import Connection, place
from adapter.store.postgres_jobs import Job, Jobs, Outcome
from adapter.store.postgres_migrate import ONE_AT_A_TIME, migrate_postgres, pending_in
from adapter.store.postgres_session import Session
from adapter.store.postgres_unit import PostgresUnit
from tests.fakes.postgres import PostgresServer
from tests.store.samples import outbox_row

FIRST = Migration(1, "0001_first.postgres.sql", "CREATE TABLE first (a BIGINT);")
SECOND = Migration(2, "0002_second.postgres.sql", "CREATE TABLE second (a BIGINT);")
BROKEN = Migration(2, "0002_broken.postgres.sql", "CREATE TABLE half (a BIGINT); SELECT oops;")
STREAMS = 16
ACKNOWLEDGED = 300
"""Units before the stop, and again after the start."""
WAIT_S = 50
_FIRST_IS_THERE = "SELECT to_regclass('first') IS NOT NULL"


@pytest.fixture
def connection(postgres_server: PostgresServer) -> Iterator[Connection]:
    with contextlib.closing(Connection.open(postgres_server.fresh_url())) as opened:
        yield opened


def both(unit: UnitOfWork, number: int) -> None:
    """Write a mark and a row of the outbox, which must stay together, once."""
    if unit.mark(f"{number}"):
        unit.enqueue(outbox_row(f"t{number}", body=b"x" * 4_000))


async def test_nothing_acknowledged_is_lost_when_the_server_is_stopped_at_once(
    durable_server: PostgresServer,
) -> None:
    store = PostgresStore(durable_server.fresh_url())
    acknowledged: list[int] = []
    refused: set[str] = set()
    enough = asyncio.Event()

    async def stream(start: int) -> None:
        number = start
        while not enough.is_set():
            try:
                await store.write(lambda unit, number=number: both(unit, number))  # type: ignore[misc]
            except WireError as error:  # a peer would send it again
                refused.add(error.code)
                await asyncio.sleep(0.02)
            else:
                acknowledged.append(number)
                number += STREAMS

    async def until(count: int) -> None:
        while len(acknowledged) < count:
            await asyncio.sleep(0.01)

    streams = [asyncio.create_task(stream(start)) for start in range(STREAMS)]
    await until(ACKNOWLEDGED)
    await asyncio.to_thread(durable_server.stop)
    while not refused:
        await asyncio.sleep(0.01)
    with pytest.raises(WireError) as raised:
        await store.read(lambda unit: unit.next_outbox_ms())
    assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    before = len(acknowledged)
    durable_server.start()  # here: what a thread starts would end with the thread
    await until(before + ACKNOWLEDGED)  # the same store goes on by itself
    enough.set()
    await asyncio.gather(*streams)
    assert refused == {"NET_DOWNSTREAM_UNAVAILABLE"}

    rows = await store.write(lambda unit: unit.claim_outbox(1, 1, 10**6))
    stored = [int(row.transaction_id.removeprefix("t")) for row in rows]
    assert set(acknowledged) <= set(stored)
    assert len(set(stored)) == len(stored)

    def marks(unit: UnitOfWork) -> set[int]:
        assert isinstance(unit, PostgresUnit)
        return {int(key) for (key,) in unit._connection.execute("SELECT key FROM mark")}

    assert await store.read(marks) == set(stored)  # no unit is there by half
    await store.close()


async def test_a_unit_whose_session_is_ended_starts_again(postgres: PostgresStore) -> None:
    """As by an administrator, or by a server that was restarted while the node was idle."""
    ended = False

    def unit(uow: UnitOfWork) -> None:
        nonlocal ended
        assert isinstance(uow, PostgresUnit)
        uow.mark("once")
        if not ended:
            ended = True
            [(own,)] = uow._connection.execute("SELECT pg_backend_pid()").fetchall()
            sql = "SELECT pg_terminate_backend(?::int)"
            uow._connection.execute(sql, (own,)).fetchall()  # so it ends before the commit
        uow.enqueue(outbox_row())

    for _ in range(WRITERS):
        await postgres.write(lambda uow: uow.mark("the session is not new"))
    await postgres.write(unit)
    assert len(await postgres.read(lambda uow: uow.messages(["t1"]))) == 1


async def test_a_unit_cannot_go_on_after_a_statement_that_failed(postgres: PostgresStore) -> None:
    def goes_on(uow: UnitOfWork) -> None:
        uow.mark("before")
        with contextlib.suppress(psycopg.Error):
            assert isinstance(uow, PostgresUnit)
            uow._connection.execute("SELECT 1 / 0")
        with contextlib.suppress(psycopg.Error):
            uow.mark("after")

    with pytest.raises(WireError, match="refuses"):
        await postgres.write(goes_on)
    assert await postgres.write(lambda uow: uow.mark("before"))


async def test_units_beyond_the_queue_are_refused(postgres_server: PostgresServer) -> None:
    with postgres_server.lent() as url:
        store = PostgresStore(url, queue_units=1)
        started, go_on = threading.Semaphore(0), threading.Event()

        def hold(_: UnitOfWork) -> None:
            started.release()
            assert go_on.wait(10)

        tasks = [asyncio.create_task(store.write(hold)) for _ in range(WRITERS + 1)]
        for _ in range(WRITERS):
            assert await asyncio.to_thread(started.acquire, timeout=WAIT_S)
        with pytest.raises(WireError, match="wait already") as raised:
            await store.write(lambda uow: uow.mark("a"))
        assert raised.value.code == "NET_OVERLOADED"
        go_on.set()
        await asyncio.gather(*tasks)
        await store.close()


def test_a_server_out_of_reach_is_told_without_the_password() -> None:
    with pytest.raises(StoreError, match=r"the database 127\.0\.0\.1:1/db cannot be") as raised:
        PostgresStore("postgresql://user:secret@127.0.0.1:1/db")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("postgresql://u:secret@h:5433/db", "h:5433/db", id="host and port"),
        pytest.param("postgresql://u:secret@h1,h2/db", "h1,h2/db", id="a standby"),
        pytest.param("postgresql://u:secret@h1:1,h2:2/db", "h1:1,h2:2/db", id="with ports"),
        pytest.param("postgresql:///db", "the local server/db", id="local"),
        pytest.param("postgresql:///db?host=/tmp/x", "/tmp/x/db", id="in a folder"),
    ],
)
def test_a_place_is_told_without_user_and_password(url: str, shown: str) -> None:
    assert place(url) == shown


def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(StoreError, match="not a PostgreSQL URL") as raised:
        PostgresStore("postgresql://u:secret@h/db?nonsense=1")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("failures", "starts"),
    [pytest.param(1, 2, id="another has taken over"), pytest.param(9, 2, id="none has yet")],
)
async def test_a_server_that_became_a_standby_is_left(
    postgres: PostgresStore, failures: int, starts: int
) -> None:
    started = 0

    def unit(uow: UnitOfWork) -> None:
        nonlocal started
        started += 1
        assert isinstance(uow, PostgresUnit)
        if started <= failures:
            uow._connection.execute("SET LOCAL transaction_read_only = on")
        uow.mark("a")

    for _ in range(WRITERS):  # each session in turn, so that none is new
        await postgres.write(lambda uow: uow.mark("not new"))
    if failures == 1:
        await postgres.write(unit)
    else:
        with pytest.raises(WireError, match="read-only") as raised:
            await postgres.write(unit)
        assert raised.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert started == starts


async def test_a_database_that_came_back_without_its_schema_refuses_until_it_has_one(
    postgres_server: PostgresServer,
) -> None:
    """As after a restore that is under way: each thread outlives it."""
    url = postgres_server.fresh_url()
    store = PostgresStore(url)
    schema = url.rpartition("%3D")[2]
    postgres_server.run(f"ALTER SCHEMA {schema} RENAME TO {schema}_away")
    postgres_server.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(WAIT_S):
        for number in range(2 * (WRITERS + READERS)):  # alone, then in groups
            works = [store.write(lambda uow: uow.mark("b")) for _ in range(number)]
            looks = [store.read(lambda uow: uow.next_outbox_ms()) for _ in range(number)]
            for told in await asyncio.gather(*works, *looks, return_exceptions=True):
                assert isinstance(told, WireError)
                assert (told.code, "no schema" in str(told)) == ("NET_DOWNSTREAM_UNAVAILABLE", True)
    postgres_server.run(f"ALTER SCHEMA {schema}_away RENAME TO {schema}")
    async with asyncio.timeout(WAIT_S):
        assert await store.write(lambda uow: uow.mark("c"))
        assert await store.read(lambda uow: uow.next_outbox_ms()) is None
    await store.close()


async def test_a_fault_beside_the_units_is_told_to_their_callers() -> None:
    def fault(_session: Session, _jobs: Sequence[Job]) -> Sequence[Outcome]:
        raise LookupError("beside")

    jobs = Jobs("faulty", [Session("")], fault, 9)
    async with asyncio.timeout(WAIT_S):
        for _ in range(2):  # the thread has outlived the first
            told = await asyncio.gather(
                *(jobs.do(lambda _: None) for _ in range(3)), return_exceptions=True
            )
            assert [str(one) for one in told] == 3 * ["beside"]
    assert jobs.waiting == 0
    await asyncio.to_thread(jobs.close)


def test_a_database_that_cannot_hold_every_text_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="LATIN1, expected UTF8"):
        PostgresStore(postgres_server.url().replace("/postgres?", "/latin?"))


# Migrations


def test_both_dialects_have_the_same_migrations() -> None:
    names = [
        [migration.name.split(".")[0] for migration in known_migrations(dialect)]
        for dialect in ("sqlite", "postgres")
    ]
    assert names[0] == names[1]


def test_an_older_schema_gets_what_it_lacks(connection: Connection) -> None:
    migrate_postgres(connection, [FIRST])
    migrate_postgres(connection, [FIRST, SECOND])
    migrate_postgres(connection, [FIRST, SECOND])
    rows = connection.control("SELECT * FROM migration ORDER BY number").fetchall()
    assert rows == [(one.number, one.name, one.checksum) for one in (FIRST, SECOND)]


def test_a_schema_of_a_newer_program_is_refused(connection: Connection) -> None:
    migrate_postgres(connection, [FIRST, SECOND])
    with pytest.raises(StoreError, match=r"has migration 0002_second\.postgres\.sql.*only 1"):
        migrate_postgres(connection, [FIRST])


def test_a_migration_that_was_changed_is_refused(connection: Connection) -> None:
    migrate_postgres(connection, [FIRST])
    with pytest.raises(StoreError, match=r"0001_first.*must be the same"):
        migrate_postgres(connection, [replace(FIRST, script="SELECT 1;")])


def test_migrations_of_which_one_breaks_leave_nothing(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn, match="oops"):
        migrate_postgres(connection, [FIRST, BROKEN])
    assert connection.control(_FIRST_IS_THERE).fetchone() == (False,)
    assert pending_in(connection) == len(known_migrations("postgres"))


def test_a_schema_of_another_program_is_refused(connection: Connection) -> None:
    connection.control("CREATE TABLE photos (a BIGINT)")
    with pytest.raises(StoreError, match="another program"):
        migrate_postgres(connection, [FIRST])


def test_a_process_waits_for_another_that_migrates_as_long_as_it_takes(
    connection: Connection, postgres_server: PostgresServer
) -> None:
    url = postgres_server.url(connection.schema)
    waiting = (
        "SELECT clock_timestamp() - query_start > interval '600 ms' FROM pg_stat_activity "
        f"WHERE pid = {connection.control('SELECT pg_backend_pid()').fetchone()[0]} "  # type: ignore[index]
        "AND wait_event = 'advisory'"
    )
    connection.control("SET lock_timeout = 200; SET statement_timeout = 300")
    with contextlib.closing(Connection.open(url)) as rival, ThreadPoolExecutor(1) as thread:
        rival.begin("READ COMMITTED")
        rival.control(ONE_AT_A_TIME)
        migrated = thread.submit(migrate_postgres, connection, [FIRST])
        until = time.monotonic() + WAIT_S
        while postgres_server.run(waiting) != [(True,)]:
            assert not migrated.done(), migrated.exception()
            assert time.monotonic() < until
            time.sleep(0.02)
        rival.commit()
        migrated.result(WAIT_S)
    assert connection.control(_FIRST_IS_THERE).fetchone() == (True,)


async def test_processes_that_start_at_once_migrate_once(postgres_server: PostgresServer) -> None:
    url = postgres_server.fresh_url()
    stores = await asyncio.gather(*(asyncio.to_thread(PostgresStore, url) for _ in range(4)))
    for store in stores:
        await store.close()
