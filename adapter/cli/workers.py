"""Several processes that do the same work: started, watched, restarted and ended together.

They are forks of this process, which has loaded all code before and opened nothing but the
listening socket. So they share that memory, and one that died is back within a moment.
"""

import contextlib
import gc
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType

import typer

END_S = 9.5
"""How long all workers may take to end. Source: interfaces, rulings of section 4: 10 s."""
AGAIN_S = (0.1, 5.0)
"""Wait before a worker is started again: the first time, doubled each time up to the second."""
DOUBLINGS = 10
"""Beyond the longest wait; after a thousand restarts the power would be no float any more."""
STEADY_S = 10.0
"""A worker that lived this long was well, and the next is started without much wait."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leash:
    """What a worker has of the process that started it."""

    fd: int
    """Readable once that process is gone, whatever ended it."""
    ready: Callable[[], None]
    """To be called once the worker does its work."""


Work = Callable[[Leash], int]
"""Returns the exit code of a worker."""


@dataclass(slots=True)
class _Worker:
    started_s: float = 0.0
    pid: int | None = None
    restarts: int = 0
    """In a row, without a steady life in between."""

    def wait_s(self) -> float:
        """Return how long to wait before the next start."""
        first, most = AGAIN_S
        return float(min(first * 2 ** min(self.restarts, DOUBLINGS), most))


@dataclass(slots=True)
class _Pipe:
    read: int
    write: int

    @classmethod
    def new(cls) -> "_Pipe":
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        return cls(read, write)

    def emptied(self) -> bytes:
        """Return what was written since."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.read, 4_096)
        return b""


@dataclass(slots=True)
class Workers:
    """The parent of the processes."""

    count: int
    work: Work
    until_stdin_closes: bool = False
    _workers: list[_Worker] = field(default_factory=list)
    _leash: _Pipe = field(default_factory=_Pipe.new)
    _ready: _Pipe = field(default_factory=_Pipe.new)
    _signals: _Pipe = field(default_factory=_Pipe.new)
    _was_ready: bool = False

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or the end of stdin; return the exit code.

        A worker that ends by itself is started again, unless none was ever ready: then there is
        something wrong that a start cannot mend.
        """
        gc.collect()
        gc.freeze()  # what the workers share stays shared
        self._listen()
        self._workers = [_Worker() for _ in range(self.count)]
        while True:
            code = self._start_due()
            if code is not None:
                return self._end(code)
            why = self._wait()
            if why:
                _log.info("%s: ending %d workers", why, self.count)
                return self._end(0)

    def _listen(self) -> None:
        def noted(_number: int, _frame: FrameType | None) -> None:
            pass  # its number is in the pipe

        signal.set_wakeup_fd(self._signals.write)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, noted)

    def _start_due(self) -> int | None:
        """Reap and start; return an exit code when there is no sense in going on."""
        now_s = time.monotonic()
        self._was_ready = bool(self._ready.emptied()) or self._was_ready
        for worker in self._workers:
            code = self._reaped(worker, now_s)
            if code is not None and code > 0 and not self._was_ready:
                return code  # it has said why
            if worker.pid is None and now_s >= worker.started_s:
                worker.pid = self._fork()
                worker.started_s = now_s
        return None

    def _reaped(self, worker: _Worker, now_s: float) -> int | None:
        """Return the exit code of a worker that has ended, and plan its next start."""
        if worker.pid is None:
            return None
        pid, status = os.waitpid(worker.pid, os.WNOHANG)
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        worker.restarts = 0 if now_s - worker.started_s > STEADY_S else worker.restarts
        wait_s = worker.wait_s()
        worker.pid, worker.started_s, worker.restarts = None, now_s + wait_s, worker.restarts + 1
        _log.error("worker %d ended with %d; another one starts in %.1f s", pid, code, wait_s)
        return code

    def _wait(self) -> str:
        """Wait for something to do; return why to end, if so."""
        due_s = [worker.started_s for worker in self._workers if worker.pid is None]
        timeout_s = max(min(due_s) - time.monotonic(), 0) if due_s else None
        watched = [self._signals.read, self._ready.read]
        stdin = sys.stdin.fileno() if self.until_stdin_closes else None
        watched += [] if stdin is None else [stdin]
        readable, _, _ = select.select(watched, [], [], timeout_s)
        if stdin in readable and not os.read(sys.stdin.fileno(), 1_024):
            return "stdin closed"
        wanted = set(self._signals.emptied()) & set(_SIGNALS)
        return signal.Signals(min(wanted)).name if wanted else ""

    def _fork(self) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os._exit(self._worker())  # nothing of the parent's is to be cleaned up here
        return pid

    def _worker(self) -> int:
        """Do the work in a process of its own; return its exit code."""
        signal.set_wakeup_fd(-1)
        for number in (*_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._leash.write)
        leash = Leash(self._leash.read, lambda: _write(self._ready.write))
        try:
            return self.work(leash)
        except typer.Exit as ended:
            return ended.exit_code
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _end(self, code: int) -> int:
        """Ask all workers to end and wait for them; kill those that do not."""
        end_s = time.monotonic() + END_S
        left = {worker.pid: signal.SIGTERM for worker in self._workers if worker.pid is not None}
        _send(left)
        while left:
            left = {pid: signal.SIGKILL for pid in left if os.waitpid(pid, os.WNOHANG)[0] == 0}
            timeout_s = end_s - time.monotonic()
            if left and timeout_s <= 0:
                _log.error("workers %s do not end and are killed", sorted(left))
                _send(left)
                return 1
            if left:
                select.select([self._signals.read], [], [], min(timeout_s, 0.1))
                self._signals.emptied()
        return code


def _send(signals: Mapping[int, signal.Signals]) -> None:
    for pid, number in signals.items():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _write(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(fd, b"r")
