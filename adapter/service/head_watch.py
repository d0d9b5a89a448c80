"""Waits for new entries of the ledger without asking again and again.

Whoever waits is woken by a commit of this process, and by news of one of another process on the
same store; should those get lost, its entries are found within RECHECK_S. However many wait, one
query per wave of commits, and one per RECHECK_S, looks whether there is a new entry.
"""

import asyncio
import contextlib

from adapter.domain.errors import AdapterError
from adapter.service.ports import Store, UnitOfWork

RECHECK_S = 1.0
"""Between two looks while somebody waits and nothing was committed here."""


class HeadWatch:
    """The number of the last entry, as those who wait for a later one know it."""

    def __init__(self, store: Store) -> None:
        """Begin with nobody waiting."""
        self._store = store
        self._seq = -1
        self._waiting: set[asyncio.Event] = set()
        self._look: asyncio.Task[None] | None = None
        self._again = False
        self._looked_s = 0.0
        """When it looked last, by the event loop's clock."""

    def notify(self) -> None:
        """Look for new entries if somebody waits; called after a commit."""
        self._again = True
        if self._waiting and (self._look is None or self._look.done()):
            self._look = asyncio.create_task(self._refresh())

    async def beyond(self, seq: int, timeout_s: float) -> bool:
        """Return True as soon as there is an entry after `seq`, False when the time is over."""
        woken = asyncio.Event()
        self._waiting.add(woken)
        self.notify()  # an entry of a moment ago counts
        try:
            async with asyncio.timeout(timeout_s):
                while self._seq <= seq:
                    woken.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), RECHECK_S)
                    self._look_now_and_then()
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(woken)
        return True

    def _look_now_and_then(self) -> None:
        if asyncio.get_running_loop().time() - self._looked_s >= RECHECK_S:
            self.notify()

    async def _refresh(self) -> None:
        while self._again:
            self._again = False
            self._looked_s = asyncio.get_running_loop().time()
            with contextlib.suppress(AdapterError):  # the database is away; the next commit tells
                self._seq = await self._store.read(_head)
            for woken in self._waiting:
                woken.set()


def _head(uow: UnitOfWork) -> int:
    head = uow.ledger.head()
    return -1 if head is None else head.seq
