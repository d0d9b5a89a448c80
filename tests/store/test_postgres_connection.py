"""One PostgreSQL connection: what its savepoints undo, and when it gives a silent server up."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import pytest

from adapter.store.postgres_connection import Connection
from adapter.store.postgres_locks import Locks
from adapter.store.postgres_migrate import migrate_postgres
from adapter.store.postgres_unit import PostgresUnit
from tests.fakes.postgres import PostgresServer

LEVELS = ("outermost", "outer", "inner", "innermost")
SENT = list(itertools.product([False, True], repeat=len(LEVELS)))
"""Whether what a level writes is on the server before the next one begins."""
_INSERT = "INSERT INTO mark (key) VALUES (?)"
_KEYS = "SELECT key FROM mark"
LIMITS = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class RefusalError(Exception):
    """What a unit raises in these tests."""


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.lent() as lent:
        with contextlib.closing(Connection.open(lent)) as opened:
            migrate_postgres(opened)
        yield lent


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with contextlib.closing(Connection.open(url)) as opened:
        yield opened


def refuse(unit: PostgresUnit, connection: Connection, sent: Sequence[bool]) -> None:
    """Write a mark at each level, each in a savepoint of its own, and raise in the last one."""
    level = len(LEVELS) - len(sent)
    connection.execute(_INSERT, (LEVELS[level],))
    if sent[0]:
        connection.flush()
    if len(sent) == 1:
        raise RefusalError
    unit.savepoint(lambda: refuse(unit, connection, sent[1:]))


def keys(connection: Connection) -> set[str]:
    connection.begin("READ COMMITTED")
    found = {key for (key,) in connection.execute(_KEYS)}
    connection.roll_back()
    return found


@pytest.mark.parametrize("is_exact", [False, True])
@pytest.mark.parametrize("sent", SENT)
def test_what_passes_through_savepoints_leaves_nothing_of_any(
    connection: Connection, sent: Sequence[bool], is_exact: bool
) -> None:
    connection.begin("READ COMMITTED", exact=is_exact)
    unit = PostgresUnit(connection, Locks(connection, set()))
    connection.execute(_INSERT, ("unit before",))
    with pytest.raises(RefusalError):
        unit.savepoint(lambda: refuse(unit, connection, sent))
    unit.savepoint(lambda: connection.execute(_INSERT, ("unit after",)))
    connection.commit()
    assert keys(connection) == {"unit before", "unit after"}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("caught", range(len(LEVELS) - 1))
def test_what_is_caught_at_a_level_leaves_what_is_outside_of_it(
    connection: Connection, sent: Sequence[bool], caught: int
) -> None:
    connection.begin("READ COMMITTED")
    unit = PostgresUnit(connection, Locks(connection, set()))

    def write(level: int) -> None:
        connection.execute(_INSERT, (LEVELS[level],))
        if sent[level]:
            connection.flush()
        if level == len(LEVELS) - 1:
            raise RefusalError
        guard = contextlib.suppress(RefusalError) if level == caught else contextlib.nullcontext()
        with guard:
            unit.savepoint(lambda: write(level + 1))

    unit.savepoint(lambda: write(0))
    connection.commit()
    assert keys(connection) == set(LEVELS[: caught + 1])


def limits_of(url: str) -> Mapping[str, str]:
    with contextlib.closing(Connection.open(url)) as opened:
        info = {one.keyword.decode(): one.val for one in opened.pgconn.info}
    return {name: (info[name] or b"").decode() for name in LIMITS}


def test_a_server_that_falls_silent_is_given_up(url: str) -> None:
    assert limits_of(url) == LIMITS


def test_the_url_says_otherwise(url: str) -> None:
    changed = {"keepalives_idle": "60", "tcp_user_timeout": "0"}
    asked = "".join(f"&{name}={value}" for name, value in changed.items())
    assert limits_of(f"{url}{asked}") == LIMITS | changed
