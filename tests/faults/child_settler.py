"""A node's timer that does what is due and says so. Killed by the tests.

Arguments: database, time in ms. Each line on stdout is the id of a command, `?` before it when it
is about to be done and `!` when it is durable; `.` is the end.
"""

import asyncio
import sys
from pathlib import Path

from adapter.settlement import SYSTEM, Command, due_commands, execute
from adapter.store.sqlite import SqliteStore

BATCH = 100


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(path: Path, now_ms: int) -> None:
    store = SqliteStore(path)

    async def do(command: Command) -> None:
        say(f"?{command.id}")
        await store.write(lambda unit: execute(unit.ledger, command, SYSTEM, now_ms))
        say(f"!{command.id}")

    while due := await store.read(lambda unit: due_commands(unit.ledger, now_ms, BATCH)):
        await asyncio.gather(*map(do, due))
    await store.close()
    say(".")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
