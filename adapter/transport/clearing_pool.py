"""Clearing of large books outside the process of the node, on other cores or other machines.

What other processes compute is what this one would, so whatever goes wrong with them, the books
are cleared here instead. Needs NumPy.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from time import monotonic_ns

from adapter.settlement.kernel_books import ClearedBooks
from adapter.settlement.kernel_rows import Ints, Sides
from adapter.settlement.sharding import Spread, clear_here

PATIENCE_S = 8
"""The writer of the ledger waits no longer for other processes: PostgreSQL takes the ledger from a
writer that is idle for 30 s, and a node has 10 s to end."""
REST_S = 300
"""After a time-out books are cleared here for so long."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class ClearingPool:
    """Clears books in an executor, opened when it is first needed. May be called by any thread."""

    open_executor: Callable[[], AbstractContextManager[Executor]]
    shards: int
    """Into how many parts books are split."""
    from_orders: int
    """Fewer orders than this are cleared here: sending them takes longer."""
    patience_s: int = PATIENCE_S
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opened: ExitStack = field(default_factory=ExitStack)
    _executor: Executor | None = None
    _rests_until_ns: int = 0

    def __call__(
        self, area: Ints, side: Sides, price: Ints, lots: Ints, *, tick: int
    ) -> ClearedBooks:
        """Return what `kernel_books.clear_books` returns for the same arguments."""
        if len(lots) < self.from_orders or monotonic_ns() < self._rests_until_ns:
            return clear_here(area, side, price, lots, tick=tick)
        used: Executor | None = None
        try:
            used = self._open()
            spread = Spread(used, self.shards, self.patience_s)
            return spread.clear_books(area, side, price, lots, tick=tick)
        except TimeoutError:
            _log.warning("books are cleared here for %d s: other processes took too long", REST_S)
            self._rests_until_ns = monotonic_ns() + REST_S * 10**9
            self._drop(used)
        except Exception as error:  # a worker's end has as many names as there are executors
            _log.warning("books are cleared here: %s: %s", type(error).__name__, error)
            self._drop(used)
        return clear_here(area, side, price, lots, tick=tick)

    def close(self) -> None:
        """End the executor, if it was opened."""
        self._drop(self._executor)

    def _open(self) -> Executor:
        with self._lock:
            if self._executor is None:
                self._executor = self._opened.enter_context(self.open_executor())
            return self._executor

    def _drop(self, used: Executor | None) -> None:
        """Close an executor, unless another thread has done so; the next books open a new one."""
        with self._lock:
            if used is None or used is not self._executor:
                return
            self._executor = None
            self._opened.close()
