"""A node that writes without end: each acknowledged number goes to stdout. Killed by the tests."""

import asyncio
import sys
from pathlib import Path

from adapter.service.ports import UnitOfWork
from adapter.store.sqlite import SqliteStore
from tests.store.samples import outbox_row

WRITERS = 16


def both(number: int, unit: UnitOfWork) -> None:
    """Write a mark and a row of the outbox, which must stay together."""
    unit.mark(f"{number}")
    unit.enqueue(outbox_row(f"t{number}", body=b"x" * 4_000))


async def main(path: Path) -> None:
    store = SqliteStore(path)

    async def write(start: int) -> None:
        for number in range(start, 10**9, WRITERS):
            await store.write(
                lambda unit, number=number: both(number, unit),  # type: ignore[misc]
                brief=bool(start % 4),
            )
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()

    await asyncio.gather(*(write(start) for start in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
