"""Where clearing of many books may run: here, in a pool of processes, or on a Dask cluster.

All are `concurrent.futures.Executor`s, so the caller does not know which one it has.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

T = TypeVar("T")

CONNECT_S = 5
"""How long a Dask scheduler may take to answer at first."""
NEEDS_DASK = "Dask needs the extra `dask`: pip install 'p2ptrade[dask]'"


class Inline(Executor):
    """Runs a call at once, in the thread of the caller."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Return the finished call."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # raised again where the result is taken
            done.set_exception(error)
        return done


class _Processes(SpawnContext):
    """Starts fresh processes and remembers them, so that even a stopped one can be ended."""

    def __init__(self) -> None:
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # noqa: N802 - as the pool calls it
        """Return a process that is about to be started."""
        process = SpawnProcess(*args, **kwargs)
        self.started.append(process)
        return process


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """Open a pool of fresh processes; they share nothing with this one and end with it.

    At the end they are killed, for nobody waits for a result any more.
    """
    processes = _Processes()
    pool = ProcessPoolExecutor(workers, mp_context=processes, initializer=_belong_to_parent)
    try:
        yield pool
    finally:
        for process in processes.started:
            process.kill()
        pool.shutdown(cancel_futures=True)


def _belong_to_parent() -> None:
    """Let a worker end when its parent does, however that ends, and not by a key before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """Use a running Dask cluster, such as `tcp://127.0.0.1:8786`; needs the extra `dask`.

    Raises:
        RuntimeError: the extra is not installed.
        OSError: nothing answers there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise RuntimeError(NEEDS_DASK) from None
    with Client(address, timeout=CONNECT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False)
