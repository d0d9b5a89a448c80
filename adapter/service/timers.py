"""What happens because time passes: deadlines of requests, lapsing terms, steps of the ledger.

A tick reads what is due and runs each as a unit of work of its own, which looks again. Any number
of timers may run over one store: they take turns, and were two to tick at once, the second would
find nothing left to do.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from adapter.domain.errors import AdapterError
from adapter.domain.trade import Trade
from adapter.service.contracts import ContractCalls
from adapter.service.parts import NodeParts
from adapter.service.ports import UnitOfWork
from adapter.service.records import Asked, AskedState
from adapter.service.siblings import Siblings
from adapter.service.unit import Units

TICK_S = 0.25
"""How late a deadline may be noticed."""
BATCH = 100
"""Due things of one kind taken per tick."""
PRUNE_EVERY_TICKS = 2_400
"""About every ten minutes."""

_log = logging.getLogger(__name__)


class Timers:
    """The clockwork of one node."""

    def __init__(
        self,
        parts: NodeParts,
        units: Units,
        contracts: ContractCalls | None,
        committed: Callable[[str], None],
        inbox_retention_ms: int,
        siblings: Siblings,
    ) -> None:
        """Take the parts; `contracts` only where the contract layer is hosted."""
        self._parts = parts
        self._units = units
        self._contracts = contracts
        self._committed = committed
        self._retention_ms = inbox_retention_ms
        self._siblings = siblings
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Tick until stopped."""
        ticks = 0
        while not self._stopping.is_set():
            try:
                async with self._siblings.turn("timers") as is_ours:
                    if is_ours:
                        await self.tick()
                        ticks += 1
                        if ticks % PRUNE_EVERY_TICKS == 0:
                            await self._prune()
            except AdapterError as error:
                _log.warning("tick failed", extra={"code": error.code})
            except Exception:
                _log.exception("bug in a timer")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_S)

    def stop(self) -> None:
        """End after the tick under way."""
        self._stopping.set()

    async def tick(self) -> None:
        """Do everything that is due now."""
        now_ms = self._parts.clock.now_ms()
        asked, trades = await self._parts.store.read(lambda uow: _due(uow, now_ms))
        for one in asked:
            await self._expire(one)
        for trade in trades:
            await self._lapse(trade, now_ms)
        if self._contracts is not None:
            await self._contracts.do_due()

    async def _expire(self, seen: Asked) -> None:
        def unit(uow: UnitOfWork) -> None:
            asked = uow.asked(seen.message_id, seen.action)
            if asked is not None and asked.state is AskedState.OPEN:
                self._units.asked_expired(uow, asked)

        await self._parts.store.write(unit)
        self._committed(seen.transaction_id)

    async def _lapse(self, seen: Trade, now_ms: int) -> None:
        def unit(uow: UnitOfWork) -> None:
            trade = uow.trade(seen.side, seen.transaction_id)
            if trade is not None and trade.due_ms is not None and trade.due_ms < now_ms:
                self._units.trade_lapsed(uow, trade)

        await self._parts.store.write(unit)
        self._committed(seen.transaction_id)

    async def _prune(self) -> None:
        before_us = self._parts.clock.now_us() - self._retention_ms * 1_000
        await self._parts.store.write(lambda uow: uow.prune(before_us, BATCH * 10))


def _due(uow: UnitOfWork, now_ms: int) -> tuple[Sequence[Asked], Sequence[Trade]]:
    return uow.due_asked(now_ms, BATCH), uow.due_trades(now_ms, BATCH)
