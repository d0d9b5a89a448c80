"""Stores under test: every implementation of the port passes the same tests."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from adapter.service.ports import Store
from adapter.store.postgres import PostgresStore
from adapter.store.sqlite import MEMORY, SqliteStore
from tests.fakes.postgres import PostgresServer

Opener = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Give a function that opens the store; a second call opens the same database again."""
    if request.param == "memory":
        yield lambda: SqliteStore(MEMORY)
    elif request.param == "sqlite":
        yield lambda: SqliteStore(tmp_path / "node.db")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        with server.lent() as url:
            yield lambda: PostgresStore(url)


@pytest.fixture
async def store(open_store: Opener) -> AsyncIterator[Store]:
    opened = open_store()
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Open a SQLite file, for what only that has."""
    opened = SqliteStore(tmp_path / "node.db")
    yield opened
    await opened.close()


@pytest.fixture
async def postgres(postgres_server: PostgresServer) -> AsyncIterator[PostgresStore]:
    """Open a PostgreSQL schema, for what only that has."""
    with postgres_server.lent() as url:
        opened = PostgresStore(url)
        yield opened
        await opened.close()
