"""The end of a node, for requests that wait for something: they answer at once instead."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Ending:
    """Whether this process is about to stop. Used by one event loop."""

    def __init__(self) -> None:
        """Begin as running."""
        self._event = asyncio.Event()

    def begin(self) -> None:
        """Let everybody who waits go."""
        self._event.set()

    async def unless(self, work: Awaitable[T]) -> T | None:
        """Return the result of `work`; None when the end comes first, `work` is then cancelled."""
        task = asyncio.ensure_future(work)
        end = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            end.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
