"""HTTP callers that wait for a trade to move on."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from adapter.domain.trade import Trade, TradeState
from adapter.protocol.handlers.prosumer_terms import OFF_CURVE
from adapter.protocol.lifecycle import CONFIRMED_STATES

T = TypeVar("T")

RECHECK_S = 2.0
"""A waiter looks again this often although nobody told it: news of another process get lost."""


class Committed(Protocol):
    """Whom to tell about a commit."""

    def __call__(self, transaction_id: str, *, is_step: bool = False) -> None:
        """Tell that a trade may have changed; `is_step` if it is known not to be decided."""
        ...


def tell_nobody(transaction_id: str, *, is_step: bool = False) -> None:
    """Implement `Committed` where nobody waits."""


class Waiters:
    """Who waits for which transaction, in this process."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._events: defaultdict[str, dict[asyncio.Event, bool]] = defaultdict(dict)
        """By transaction; whether each wants to see the steps before the end."""

    def notify(self, transaction_id: str, *, is_step: bool = False) -> None:
        """Wake those who wait for this transaction; called after a commit.

        A look costs a thread and a snapshot, so a mere step wakes only those who asked for steps.
        """
        if transaction_id not in self._events:
            return
        for event, wants_steps in self._events[transaction_id].items():
            if wants_steps or not is_step:
                event.set()

    def notify_all(self) -> None:
        """Wake everybody; called when news of other processes may have been missed."""
        for transaction_id in self._events:
            self.notify(transaction_id)

    async def wait(
        self,
        transaction_id: str,
        look: Callable[[], Awaitable[T | None]],
        timeout_s: float,
        *,
        steps: bool = True,
    ) -> T | None:
        """Return the first result of `look` that is not None, or None when the time is over.

        Args:
            transaction_id: whose commits to look at.
            look: reads the store.
            timeout_s: how long to wait.
            steps: whether to look after each commit, not only when the trade may be decided.
        """
        event = asyncio.Event()
        waiting = self._events[transaction_id]
        waiting[event] = steps
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
            del waiting[event]
            if not waiting:
                self._events.pop(transaction_id, None)


def is_decided(trade: Trade) -> bool:
    """Return whether a planned trade needs no more waiting: confirmed, failed, ended, disputed."""
    if trade.state in CONFIRMED_STATES or trade.state is TradeState.TERMINATED:
        return True
    open_fate = trade.state is TradeState.CONFIRM_UNKNOWN and OFF_CURVE not in trade.flags
    return trade.error is not None and trade.request is None and not open_fate
