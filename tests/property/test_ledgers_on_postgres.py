"""The ledger's and the pool's machines once more, with PostgreSQL in the place of SQLite.

A few examples in the build; with P2PTRADE_LONG=1 as many as on SQLite.
"""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from adapter.settlement import LedgerStore
from adapter.store.postgres_connection import Connection
from adapter.store.postgres_ledger import LockedLedger
from adapter.store.postgres_migrate import migrate_postgres
from tests.fakes.postgres import PostgresServer
from tests.property.test_ledger_machine import Ledgers
from tests.property.test_pool_machine import Pools

pytestmark = pytest.mark.timeout(900)

IS_LONG = os.environ.get("P2PTRADE_LONG") == "1"
EXAMPLES, STEPS = (30, 40) if IS_LONG else (3, 15)


@pytest.fixture
def connection(postgres_server: PostgresServer) -> Iterator[Connection]:
    with postgres_server.lent() as url, closing(Connection.open(url)) as opened:
        migrate_postgres(opened)
        yield opened


@pytest.mark.parametrize(
    "machine",
    [pytest.param(Ledgers, id="ledger"), pytest.param(Pools, id="pool")],
)
def test_a_ledger_on_postgresql_is_the_one_in_memory(
    machine: type[Ledgers | Pools], connection: Connection
) -> None:
    examples = 0

    def empty() -> LedgerStore:
        """Return the ledger in a transaction of its own, which the next example undoes."""
        nonlocal examples
        examples += 1
        connection.roll_back()
        connection.begin("READ COMMITTED")
        return LockedLedger(connection)

    class OnPostgres(machine):  # type: ignore[misc, valid-type]
        second = staticmethod(empty)

    run_state_machine_as_test(
        OnPostgres,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert examples >= EXAMPLES
