"""Walks the chain of the hosted journal, and stops the ledger where it is broken.

An entry is only ever appended, so a chain that does not hold was changed behind the node's back.
Nothing is settled on such a ledger: what needs it is refused with 503 until somebody has looked,
by `p2ptrade ledger verify`, which also recomputes every balance. Source: quality, section 3.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from adapter.domain.errors import AdapterError, WireError
from adapter.domain.intents import Intent, Outcome
from adapter.service.ports import Store, UnitOfWork
from adapter.service.unit import Settle
from adapter.settlement import Entry, broken_link
from adapter.settlement.journal import NO_PREVIOUS

PAGE = 500
"""Entries checked in one piece: about 10 ms."""
PAUSE_S = 0.05
"""Between two pages, so that a long journal does not slow the node that starts."""
EVERY_S = 3_600

_log = logging.getLogger(__name__)


class JournalWatch:
    """One walk at the start and one every hour."""

    def __init__(self, store: Store) -> None:
        """Begin with a journal that is taken to be whole."""
        self._store = store
        self._stopping = asyncio.Event()
        self.fault: str | None = None
        """What is broken, naming the entry; None while nothing was found."""

    async def run(self) -> None:
        """Walk until stopped, or until something is broken."""
        while not self._stopping.is_set() and self.fault is None:
            try:
                await self.walk()
            except AdapterError as error:
                _log.warning("the journal cannot be read", extra={"code": error.code})
            await self._rest(EVERY_S)

    def stop(self) -> None:
        """End after the page under way."""
        self._stopping.set()

    async def walk(self) -> None:
        """Check the chain from the first entry to the last one there is."""
        seq, link = -1, NO_PREVIOUS
        while not self._stopping.is_set():
            page = await self._page(seq)
            if not page:
                return
            fault = await asyncio.to_thread(broken_link, page, seq, link)
            if fault is not None:
                self.fault = fault
                _log.error("the journal is damaged, nothing is settled: %s", fault)
                return
            seq, link = page[-1].seq, page[-1].hash
            await self._rest(PAUSE_S)

    def check(self) -> None:
        """Refuse what needs the ledger, once it is known to be damaged.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE.
        """
        if self.fault is not None:
            msg = f"the journal is damaged ({self.fault}); nothing is settled until it is repaired"
            raise WireError("NET_DOWNSTREAM_UNAVAILABLE", msg)

    async def _page(self, after: int) -> Sequence[Entry]:
        return await self._store.read(lambda uow: list(uow.ledger.entries(after, PAGE)))

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


def watched(watch: JournalWatch, settle: Settle) -> Settle:
    """Return the way to the contract layer, closed while the journal is damaged."""

    def settled(uow: UnitOfWork, intent: Intent, command_id: str, now_ms: int) -> Outcome:
        watch.check()
        return settle(uow, intent, command_id, now_ms)

    return settled
