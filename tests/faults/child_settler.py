"""A node's timer that does what is due and says so. Killed by the tests.

Arguments: database, a file or a PostgreSQL URL; time in ms. Each line on stdout is the id of a
command, `?` before it when it is about to be done and `!` when it is durable; `.` is the end.
"""

import asyncio
import sys
from pathlib import Path

from adapter.domain.errors import ContractError
from adapter.settlement import SYSTEM, Command, due_commands, execute
from adapter.store.postgres import PostgresStore
from adapter.store.sqlite import SqliteStore

BATCH = 100


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(database: str, now_ms: int) -> None:
    is_url = database.startswith("postgresql://")
    store = PostgresStore(database) if is_url else SqliteStore(Path(database))

    async def do(command: Command) -> None:
        say(f"?{command.id}")
        try:
            await store.write(lambda unit: execute(unit.ledger, command, SYSTEM, now_ms))
        except ContractError as refused:  # another worker was faster
            say(f"-{command.id} {refused.code}")
        else:
            say(f"!{command.id}")

    while due := await store.read(lambda unit: due_commands(unit.ledger, now_ms, BATCH)):
        await asyncio.gather(*map(do, due))
    await store.close()
    say(".")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
