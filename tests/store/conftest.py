"""Stores under test: every implementation of the port passes the same tests."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapter.service.ports import Store
from adapter.store.sqlite import MEMORY, SqliteStore

Opener = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Return a function that opens the store; a second call opens the same database again."""
    if request.param == "memory":
        return lambda: SqliteStore(MEMORY)
    return lambda: SqliteStore(tmp_path / "node.db")


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
