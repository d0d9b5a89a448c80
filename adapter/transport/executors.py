"""Where clearing of many books may run: here, in a pool of processes, or on a Dask cluster.

All are `concurrent.futures.Executor`s, so the caller does not know which one it has.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")


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


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """Open a pool of fresh processes; they share nothing with this one."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """Use a running Dask cluster, such as `tcp://127.0.0.1:8786`; needs the extra `dask`.

    Raises:
        RuntimeError: the extra is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        msg = "Dask is not installed: pip install 'p2ptrade[dask]'"
        raise RuntimeError(msg) from None
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False)
