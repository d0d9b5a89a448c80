"""What one attempt of a unit holds, and what it holds still after a part of it was undone."""

import pytest

from adapter.store.postgres import PostgresStore
from adapter.store.postgres_locks import BusyError, Kind, Locks
from adapter.store.postgres_session import Session
from adapter.store.postgres_unit import PostgresUnit
from tests.fakes.postgres import PostgresServer

OFFER = (Kind.OFFER, "o1")


class RefusalError(Exception):
    """What a part of a unit raises in these tests."""


def use_offer_in_vain(unit: PostgresUnit) -> None:
    """Lock an offer in a part that is undone after it was sent."""

    def part() -> None:
        unit.mark("the savepoint has something to protect")
        unit.offer("o1")
        raise RefusalError

    with pytest.raises(RefusalError):
        unit.savepoint(part)


@pytest.mark.parametrize("rival_has_it", [False, True])
async def test_the_last_lock_of_a_part_that_was_undone_is_taken_again(
    postgres_server: PostgresServer, rival_has_it: bool
) -> None:
    with postgres_server.lent() as url:
        await PostgresStore(url).close()  # makes the tables
        ours, theirs = Session(url), Session(url)
        with theirs.transaction() as other, ours.transaction() as connection:
            rival, locks = Locks(other, set()), Locks(connection, set())
            use_offer_in_vain(PostgresUnit(connection, locks))
            connection.flush()  # gives the lock back
            if rival_has_it:
                assert rival.try_(*OFFER)
            locks.take_together([OFFER])
            if rival_has_it:
                with pytest.raises(BusyError):
                    locks.check()
            else:
                locks.check()
                assert not rival.try_(*OFFER)
        ours.close()
        theirs.close()
