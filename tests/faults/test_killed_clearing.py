"""Other processes that clear books die, hang or are away: the journal is the same.

Source: quality, section 3.
"""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

import pytest

from adapter.transport import executors
from adapter.transport.clearing_pool import ClearingPool
from adapter.transport.executors import dask_cluster, process_pool
from tests.fakes.due_books import cleared_journal, due_books


@pytest.fixture
def pool() -> Iterator[ClearingPool]:
    """Return clearing in two processes, whatever the size of the books."""
    pool = ClearingPool(partial(process_pool, 2), shards=2, from_orders=1)
    yield pool
    pool.close()


@pytest.fixture
def workers(pool: ClearingPool) -> list[BaseProcess]:
    """Return the workers, which have cleared books already and are stopped now.

    Books that reach them are not cleared.
    """
    others = active_children()
    cleared_journal(due_books(), pool)
    workers = [process for process in active_children() if process not in others]
    assert len(workers) == 2
    for process in workers:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
    return workers


def test_an_epoch_whose_worker_is_killed_is_run_again(
    pool: ClearingPool, workers: list[BaseProcess], caplog: pytest.LogCaptureFixture
) -> None:
    expected = cleared_journal(due_books(), None)
    world, found = due_books(), list[list[bytes]]()
    clearing = Thread(target=lambda: found.append(cleared_journal(world, pool)))
    clearing.start()
    for process in workers:
        process.kill()
    clearing.join(30)
    assert found == [expected]
    assert "books are cleared here: BrokenProcessPool" in caplog.text
    caplog.clear()
    assert cleared_journal(due_books(), pool) == expected  # in new processes
    assert not caplog.records


def test_workers_that_hang_are_not_waited_for(
    pool: ClearingPool, workers: list[BaseProcess], caplog: pytest.LogCaptureFixture
) -> None:
    pool.patience_s = 1
    assert cleared_journal(due_books(), pool) == cleared_journal(due_books(), None)
    assert "books are cleared here for 300 s: other processes took too long" in caplog.text
    assert not any(process.is_alive() for process in workers)
    before = {child.pid for child in multiprocessing.active_children()}
    cleared_journal(due_books(), pool)
    after = {child.pid for child in multiprocessing.active_children()}
    assert after <= before  # nobody is asked for a while


def test_without_a_cluster_books_are_cleared_here(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "CONNECT_S", 1)
    monkeypatch.setattr(logging.getLogger("distributed"), "propagate", False)
    away = ClearingPool(partial(dask_cluster, "tcp://127.0.0.1:9"), shards=2, from_orders=1)
    assert cleared_journal(due_books(), away) == cleared_journal(due_books(), None)
    assert "books are cleared here: " in caplog.text


PARENT = """
import os, sys
from adapter.transport.executors import process_pool
with process_pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


def test_workers_end_with_a_node_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    status = Path("/proc", parent.stdout.readline().strip(), "stat")
    assert is_running(status)
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 50
    while is_running(status):
        assert time.monotonic() < end, "the worker lives on"


def is_running(status: Path) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
