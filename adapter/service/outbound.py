"""The outbound drain: sends what the outbox holds until each peer has it.

A unit of work writes a row. The drain works in turns, each one unit of work: it writes back the
rows whose attempts have ended, claims rows that are due, and signs them; then they are posted.
While a turn is being committed, what ends meanwhile gathers for the next one. At least once: a
crash between sending and marking sends again, the receiver's inbox makes that harmless.
Source: architecture, section 5; protocol specification, section 10.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from adapter.domain.errors import WireError
from adapter.service import delivery
from adapter.service.attempt import AttemptParts, Attempts, PeerRules, Window, log_fields
from adapter.service.delivery import Step
from adapter.service.hosts import HOST_LIMIT, Hosts
from adapter.service.ports import Store, UnitOfWork
from adapter.service.records import OutboxKind, OutboxRow, Share
from adapter.service.waiters import Committed, tell_nobody

PARALLEL = 64
"""Messages claimed at once, to all hosts together."""
LEASE_MS = 30_000
"""How long a claim lasts; after a crash the row is due again that much later."""
START_WITHIN_MS = 15_000
"""A claimed row that waited longer is given back: a peer has up to 10 s for its answer."""
END_WITHIN_MS = 25_000
"""An attempt is over by then, registry and answer included. What is left of the lease is for the
turns before and after it: another worker that claims a row must find nobody sending it."""
WRITE_BACK_S = 0.02
"""How long an ended attempt may wait for a turn that has more to do, such as the next message of
its trade: a turn is a commit. A crash meanwhile sends once more, as one a moment earlier would."""
BUSY = 4
"""Messages under way from which on the drain gathers before a turn; a lone trade never waits."""
GATHER_S = 0.005
"""How long it gathers: a turn costs nearly the same for one message and for ten."""
POLL_S = 1.0
"""Covers a lost wake-up. Source: architecture, section 5."""
STOP_S = 5.0
"""How long a stop waits for messages under way. Source: architecture, section 10."""
BUSY_HOST_WAIT_MS = 1_000

_log = logging.getLogger(__name__)

OnEnd = Callable[[UnitOfWork, OutboxRow, Mapping[str, Any] | None, bool], None]
"""Called inside the unit of work that marks a row for good: `(uow, row, error, without_callback)`.

A row ends REFUSED or DEAD with an error, or SENT with `without_callback`, where the error is the
peer's reason, if it gave one. Plain delivery is no end. Like every unit it may run again.
"""


@dataclass(frozen=True, slots=True)
class OutboundParts(AttemptParts):
    """What the drain works with: what an attempt needs, and where rows are kept."""

    store: Store
    on_end: OnEnd
    told: Committed = tell_nobody
    """Hears of each row that was written back, for those who wait for its answer."""


class _Claimed(NamedTuple):
    row: OutboxRow
    header: str
    """Authorization of the attempt to come."""


class Outbound:
    """The drain of one node."""

    def __init__(self, parts: OutboundParts) -> None:
        """Take its parts; nothing runs before `run` or `drain_due`."""
        self._parts = parts
        self._attempts = Attempts(parts)
        self._hosts = Hosts()
        self._host_of: dict[str, str] = {}
        """By peer, of those that have messages under way or had failures."""
        self._woken = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._ended: list[Step] = []
        """Not written back yet."""
        self._stopping = False
        self._turns = asyncio.Lock()
        self._write_back: asyncio.TimerHandle | None = None
        """Wakes the drain for what has ended, unless something else does before."""
        self._more_due = False
        """Whether the last turn may have left due rows because there was no slot for them."""

    def wake(self) -> None:
        """Tell the drain that rows may have become due; called after a commit."""
        self._woken.set()

    @property
    def is_full(self) -> bool:
        """Return whether what becomes due now has to wait for others, or for another process."""
        return self._stopping or len(self._running) >= PARALLEL

    async def run(self) -> None:
        """Send due rows until stopped."""
        while not self._stopping:
            self._woken.clear()
            try:
                await self._turn()
            except WireError as error:
                _log.warning("outbox cannot be read", extra={"code": error.code})
                await asyncio.sleep(POLL_S)  # whatever wakes the drain finds the same
            except Exception:  # the drain must not end while the node runs
                _log.exception("fault while the outbox was read")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._woken.wait()
            if len(self._running) >= BUSY and not self._stopping:
                await asyncio.sleep(GATHER_S)

    async def write_back(self) -> None:
        """Write down now what has ended, for whoever reads what became of messages."""
        if self._ended:
            with contextlib.suppress(WireError):  # it is kept for the next turn
                await self._turn()

    async def drain_due(self) -> None:
        """Send everything that is due now, and what becomes due meanwhile; for tests and tools."""
        while await self._turn() or self._running or self._ended:
            if self._running:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self, grace_s: float = STOP_S) -> None:
        """Claim no more and wait for what is under way; the rest stays in the outbox."""
        self._stopping = True
        self.wake()
        async with self._turns:  # what it has claimed is under way
            pass
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=grace_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        try:
            await self._turn()
        except WireError as error:
            _log.warning("outbox cannot be written", extra={"code": error.code})

    async def _turn(self) -> int:
        """Write back what has ended, claim what is due, start sending; return how many."""
        async with self._turns:
            ended, self._ended = self._ended, []
            if self._write_back is not None:
                self._write_back.cancel()
                self._write_back = None
            free = 0 if self._stopping else PARALLEL - len(self._running)
            if not ended and free <= 0:
                return 0
            now_ms, window = self._parts.clock.now_ms(), _window()
            claimed = await self._written(ended, free, now_ms)
            for one in claimed:
                self._host_of[one.row.peer] = host = urlsplit(one.row.url).netloc
                task = asyncio.create_task(self._handle(one, host, now_ms, window))
                self._running.add(task)
                task.add_done_callback(self._finished)
            return len(claimed)

    async def _written(self, ended: list[Step], free: int, now_ms: int) -> Sequence[_Claimed]:
        """Run a turn's unit of work and return what it claimed.

        Raises:
            WireError: the store takes nothing now; what has ended is kept for another turn.
        """
        share = self._share(now_ms)

        def turn(uow: UnitOfWork) -> list[_Claimed]:
            for step in ended:
                self._mark(uow, step)
            if free <= 0:
                return []
            rows = uow.claim_outbox(now_ms, LEASE_MS, free, share)
            return [self._claimed(uow, row) for row in rows]

        try:
            claimed = await self._parts.store.write(turn, brief=True)
        except WireError as error:
            if error.transient:
                self._ended[:0] = ended
                raise
            await self._one_by_one(ended)
            return []
        except Exception:
            if not ended:
                raise
            await self._one_by_one(ended)
            return []
        self._more_due = len(claimed) >= free or _is_used_up(share, claimed)
        for step in ended:
            self._tell(step)
            _log.info("outbox row is %s", step.row.state.value, extra=log_fields(step.row))
        return claimed

    def _tell(self, step: Step) -> None:
        self._parts.told(step.row.transaction_id, is_step=not step.ended)

    async def _one_by_one(self, ended: Sequence[Step]) -> None:
        """Write rows back each on its own: one that cannot be must not hold up the others.

        It stays claimed and becomes due again when its lease ends.
        """
        for step in ended:
            try:
                await self._parts.store.write(lambda uow, step=step: self._mark(uow, step))  # type: ignore[misc]
            except Exception:
                _log.exception("outbox row was not written back", extra=log_fields(step.row))
            else:
                self._tell(step)

    def _mark(self, uow: UnitOfWork, step: Step) -> None:
        """Write a row back and, when it has ended, tell the trade in the same unit of work."""
        if step.unsent:
            uow.drop_attempt(step.row.message_id, step.row.action, step.unsent)
        if uow.save_outbox(step.row) and step.ended:
            self._parts.on_end(uow, step.row, step.error, step.without_callback)

    def _claimed(self, uow: UnitOfWork, row: OutboxRow) -> _Claimed:
        """Sign a row that was claimed.

        A bound callback refers to the header of its request and may come before our own answer is
        read, so it is kept before the request goes out, and dropped when that does not go out: one
        more than was counted would mean that the request may have arrived.
        """
        header = self._attempts.signed(row)
        if row.kind is not OutboxKind.CALLBACK:
            uow.add_attempt(row.message_id, row.action, header)
        return _Claimed(row, header)

    def _share(self, now_ms: int) -> Share:
        """Return how many messages of each peer its host can take now: the others stay unclaimed.

        So messages to a slow or dead host hold HOST_LIMIT of the PARALLEL at most.
        """
        known = self._host_of.items()
        self._host_of = {peer: host for peer, host in known if self._hosts.is_called(host)}
        room = {peer: self._hosts.room(host, now_ms) for peer, host in self._host_of.items()}
        return Share(HOST_LIMIT, room)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._more_due or self._stopping:
            self.wake()
        elif self._write_back is None and not self._woken.is_set():
            loop = asyncio.get_running_loop()
            self._write_back = loop.call_later(WRITE_BACK_S, self.wake)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The row stays claimed and becomes due again when its lease ends.
            _log.error("outbox row was not handled", exc_info=error)

    async def _handle(self, claimed: _Claimed, host: str, claimed_ms: int, window: Window) -> None:
        """Take one claimed row a step further."""
        row, header = claimed
        async with self._hosts.slot(host):
            step = self._not_now(row, host, claimed_ms)
            reached: bool | None = None
            if step is None:
                tried = await self._attempts.make(row, header, window)
                step, reached = tried.step, tried.reached
                self._count(host, reached)
        if reached is None:
            step = replace(step, unsent=header)
        self._ended.append(step)
        if step.ended:
            self.wake()

    def _not_now(self, row: OutboxRow, host: str, claimed_ms: int) -> Step | None:
        """Return what becomes of a row that must not be tried at this moment."""
        now_ms = self._parts.clock.now_ms()
        if delivery.is_late(row, now_ms):
            return delivery.too_late(row)
        if now_ms - claimed_ms > START_WITHIN_MS:
            return delivery.postponed(row, now_ms + BUSY_HOST_WAIT_MS)
        paused_ms = self._hosts.pause_until_ms(host, now_ms)
        return None if paused_ms is None else delivery.postponed(row, paused_ms)

    def _count(self, host: str, reached: bool | None) -> None:
        if reached:
            self._hosts.succeeded(host)
        elif reached is not None:
            self._hosts.failed(host, self._parts.clock.now_ms())


def _window() -> Window:
    """Return the window of what is claimed now."""
    now_s = asyncio.get_running_loop().time()
    return Window(now_s + START_WITHIN_MS / 1_000, now_s + END_WITHIN_MS / 1_000)


def _is_used_up(share: Share, claimed: Sequence[_Claimed]) -> bool:
    """Return whether some peer got all that it could get, so that there may be more for it."""
    taken = Counter(one.row.peer for one in claimed)
    return any(taken[peer] >= share.of(peer) for peer in taken.keys() | share.left.keys())


__all__ = ["OnEnd", "Outbound", "OutboundParts", "PeerRules"]
