"""Walks the chain of the hosted journal, and stops the ledger where it is broken.

An entry is only ever appended, so a chain that does not hold was changed behind the node's back.
Nothing is settled on such a ledger: what needs it is refused with 503 until somebody has looked,
by `p2ptrade ledger verify`, which also recomputes every balance. Source: quality, section 3.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from adapter.domain.errors import AdapterError, WireError
from adapter.domain.intents import Intent, Outcome
from adapter.service.ports import Store, UnitOfWork
from adapter.service.siblings import ALONE, JOURNAL, Siblings
from adapter.service.unit import Settle
from adapter.settlement import Entry, broken_link
from adapter.settlement.journal import NO_PREVIOUS

PAGE = 500
"""Entries checked in one piece: about 10 ms."""
PAUSE_S = 0.05
"""Between two pages, so that a long journal does not slow the node that starts."""
EVERY_S = 3_600
POLL_S = 5.0
"""Until what failed is tried again: the store is away or overloaded, usually for a moment."""

_log = logging.getLogger(__name__)


class JournalWatch:
    """One walk at the start and one every hour; what an error ends is soon tried again.

    What one process of a node finds is kept in the store, and the others are told: they settle
    nothing either. After a repair the first walk of a process that is started again takes it back.
    """

    def __init__(self, store: Store, siblings: Siblings = ALONE) -> None:
        """Begin with a journal that is taken to be whole."""
        self._store = store
        self._siblings = siblings
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._looking = asyncio.Lock()
        self.fault: str | None = None
        """What is broken, naming the entry; None while nothing was found."""
        self._unkept: str | None = None
        """What was found here and is not in the store yet."""

    async def run(self) -> None:
        """Walk now and then, and listen to the others, until stopped."""
        await asyncio.gather(self._walks(), self._listen())

    def stop(self) -> None:
        """End after the page under way."""
        self._stopping.set()
        self._news.set()

    def hear(self, transaction_ids: Sequence[str] | None) -> None:
        """Look at what other processes have found, if the news are about that.

        Args:
            transaction_ids: what they have changed; None after a gap, when it may be anything.
        """
        if transaction_ids is None and self.fault is not None:
            self._siblings.tell(JOURNAL)  # they may not have heard it either
        if transaction_ids is None or JOURNAL in transaction_ids:
            self._news.set()

    async def look(self) -> None:
        """Take over what any process of the node has found.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE, the store is away, or NET_OVERLOADED; what was
                found here stays.
        """
        async with self._looking:  # an older answer must not replace a newer one
            await self._keep()
            fault = await self._store.read(lambda uow: uow.journal_fault())
            if fault is not None and self.fault is None:
                _log.error("the journal was found damaged, nothing is settled: %s", fault)
            self.fault = self._unkept if fault is None else fault  # found since it was read

    async def walk(self) -> None:
        """Check the chain from the first entry to the last one there is.

        Raises:
            WireError: as `look`; the walk is still to be done. A finding that cannot be kept is
                none: `run` tries that again.
        """
        await self.look()
        known = self.fault
        seq, link = -1, NO_PREVIOUS
        while not self._stopping.is_set():
            page = await self._page(seq)
            if not page:
                await self._is_whole(known)
                return
            fault = await asyncio.to_thread(broken_link, page, seq, link)
            if fault is not None:
                await self._is_damaged(fault)
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

    async def _walks(self) -> None:
        is_due = True  # the first one on a damaged journal too: it may have been repaired
        while not self._stopping.is_set():
            if is_due or self.fault is None:
                is_due = not await self._guarded(self.walk)
            await self._rest(POLL_S if is_due else EVERY_S)

    async def _listen(self) -> None:
        while not self._stopping.is_set():
            await self._news.wait()
            self._news.clear()
            if not await self._guarded(self.look):
                self._news.set()
                await self._rest(POLL_S)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Return whether it was done to its end."""
        try:
            await work()
        except AdapterError as error:
            _log.warning("the journal cannot be watched", extra={"code": error.code})
            return False
        return True

    async def _is_damaged(self, fault: str) -> None:
        self.fault = self._unkept = fault  # at once, even if it cannot be kept
        _log.error("the journal is damaged, nothing is settled: %s", fault)
        if not await self._guarded(self.look):
            self._news.set()

    async def _keep(self) -> None:
        fault = self._unkept
        if fault is not None:
            await self._store.write(lambda uow: uow.keep_journal_fault(fault))
            self._unkept = None
            self._siblings.tell(JOURNAL)

    async def _is_whole(self, known: str | None) -> None:
        """Take back what was known to be broken when the walk began."""
        if known is None:
            return
        try:
            await self._store.write(lambda uow: uow.drop_journal_fault(known))
        finally:
            self._siblings.tell(JOURNAL)  # it may be committed even so, with the answer lost
        _log.warning("the journal is whole again, it was damaged: %s", known)
        await self.look()

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
