"""A node whose file system refuses to let a file grow; prints what became of its units."""

import asyncio
import json
import resource
import sys
from pathlib import Path

from adapter.domain.errors import WireError
from adapter.service.ports import UnitOfWork
from adapter.store.sqlite import SqliteStore
from tests.store.samples import outbox_row

UNITS = 20
ROOM = 64 * 1024
"""Fewer bytes than one group needs: what the last write before COMMIT cannot get."""


def limit_files(path: Path, room: int | None) -> None:
    """Let files grow by `room` bytes beyond the present log, or without bound."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = path.with_name(f"{path.name}-wal").stat().st_size
    soft = hard if room is None else log + room
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def outcomes(store: SqliteStore) -> list[str]:
    def enqueue(number: int, unit: UnitOfWork) -> None:
        unit.enqueue(outbox_row(f"t{number}", body=b"x" * 8_000))

    results = await asyncio.gather(
        *(
            store.write(lambda unit, number=number: enqueue(number, unit))  # type: ignore[misc]
            for number in range(UNITS)
        ),
        return_exceptions=True,
    )
    return [error.code if isinstance(error, WireError) else repr(error) for error in results]


async def main(path: Path) -> None:
    store = SqliteStore(path)
    await store.write(lambda unit: unit.mark("there is a log"))
    limit_files(path, ROOM)
    full = await outcomes(store)
    stored_when_full = await store.read(lambda unit: unit.next_outbox_ms())
    limit_files(path, None)
    after = await outcomes(store)
    claimed = await store.write(lambda unit: unit.claim_outbox(1, 1, 99))
    await store.close()
    report = {"full": full, "stored_when_full": stored_when_full, "after": after}
    sys.stdout.write(json.dumps({**report, "claimed": len(claimed)}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
