"""HTTP callers that wait for a trade to move on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

RECHECK_S = 0.5
"""A waiter looks again this often although nobody told it: changes of a drain or timer."""


class Waiters:
    """Who waits for which transaction, in this process."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._events: dict[str, set[asyncio.Event]] = {}

    def notify(self, transaction_id: str) -> None:
        """Wake everybody who waits for this transaction; called after a commit."""
        for event in self._events.get(transaction_id, ()):
            event.set()

    async def wait(
        self, transaction_id: str, look: Callable[[], Awaitable[T | None]], timeout_s: float
    ) -> T | None:
        """Return the first result of `look` that is not None, or None when the time is over."""
        event = asyncio.Event()
        waiting = self._events.setdefault(transaction_id, set())
        waiting.add(event)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        try:
            while True:
                event.clear()
                found = await look()
                left = end - loop.time()
                if found is not None or left <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(left, RECHECK_S))
        finally:
            waiting.discard(event)
            if not waiting:
                self._events.pop(transaction_id, None)
