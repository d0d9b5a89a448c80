"""A worker of a node on PostgreSQL, as a process of its own: `child_postgres URL TASK [NUMBER]`."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable

from adapter.domain.errors import ContractError
from adapter.service.ports import UnitOfWork
from adapter.service.records import OutboxState
from adapter.settlement import SYSTEM, Command, due_commands, execute
from adapter.store.postgres import PostgresStore
from tests.store.samples import sent
from tests.unit.settlement.trading import BOOK_A, RATES, Trading
from tests.unit.settlement.world import EPOCH, Market

COMMANDS = 10
BATCH = 20
LEASE_MS = 30_000


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def open_ledger(uow: UnitOfWork) -> None:
    """Write users, meters and caps: the buyer's meter has room for 50 kWh."""
    Market(uow.ledger).set_up(funds=1_000)


async def drain(store: PostgresStore, _number: int) -> None:
    """Claim and send until nothing is due; say the id of each row that was sent."""
    while rows := await store.write(lambda uow: uow.claim_outbox(1, LEASE_MS, BATCH)):
        for row in rows:
            say(row.id)
            await store.write(lambda uow, row=row: uow.save_outbox(sent(row)))  # type: ignore[misc]


async def hang(store: PostgresStore, _number: int) -> None:
    """Claim a batch, then claim another and never commit it."""
    rows = await store.write(lambda uow: uow.claim_outbox(1, LEASE_MS, BATCH))
    say(" ".join(str(row.id) for row in rows))

    def without_end(uow: UnitOfWork) -> None:
        rows = uow.claim_outbox(1, LEASE_MS, BATCH)
        assert all(row.state is OutboxState.CLAIMED for row in rows)
        say(" ".join(str(row.id) for row in rows))
        threading.Event().wait()

    await store.write(without_end)


async def trade(store: PostgresStore, number: int) -> None:
    """Send commands to the ledger, several at once; say what became of each."""

    def command(uow: UnitOfWork, turn: int) -> str:
        market = Market(uow.ledger, calls=10_000 * number + 10 * turn)
        try:
            market.agree(f"k-{number}-{turn}", energy_amount_kwh=2)
        except ContractError as error:
            return error.code
        return "agreed"

    async def one(turn: int) -> None:
        say(await store.write(lambda uow: command(uow, turn)))

    await asyncio.gather(*(one(turn) for turn in range(COMMANDS)))


def fill_book(uow: UnitOfWork) -> None:
    """Write users and the orders of book A, all of one epoch."""
    world = Trading(uow.ledger).set_up(RATES)
    world.enter(BOOK_A)


async def clear(store: PostgresStore, _number: int) -> None:
    """Do what is due two epochs later, as the timers of a node; say what became of it."""

    def due(uow: UnitOfWork) -> tuple[int, list[Command]]:
        head = uow.ledger.head()
        assert head is not None
        entry = uow.ledger.entry(head.seq)
        assert entry is not None
        now_ms = entry.time_ms + 2 * EPOCH
        return now_ms, due_commands(uow.ledger, now_ms, 100)

    now_ms, commands = await store.read(due)
    assert commands
    say("due")
    sys.stdin.readline()
    for command in commands:
        try:
            receipt = await store.write(
                lambda uow, command=command: execute(uow.ledger, command, SYSTEM, now_ms)  # type: ignore[misc]
            )
        except ContractError as error:
            say(error.code)
        else:
            say("repeated" if receipt.replayed else "done")


TASKS: dict[str, Callable[[PostgresStore, int], Awaitable[None]]] = {
    "clear": clear,
    "drain": drain,
    "hang": hang,
    "trade": trade,
}


async def main(url: str, task: str, number: str = "0") -> None:
    store = PostgresStore(url)
    say("ready")
    sys.stdin.readline()
    await TASKS[task](store, int(number))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
