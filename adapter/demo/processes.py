"""The nodes of a demo as processes of their own: started, watched, stopped.

Only processes that were started here are ever ended. A node also ends by itself when this process
is gone, whatever ended it: it watches its stdin.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

from adapter.demo.folder import DemoNode

READY_S = 60
"""How long the nodes may take to be ready, all together."""
POLL_S = 0.05
STOP_S = 10
"""How long a node may take to end after SIGTERM."""
LAST_LINES = 3
"""Lines of a log that an error shows."""


class DemoError(Exception):
    """Something went wrong; the message names the log file to look at."""


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Processes:
    """Running nodes; leaving the context ends them."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._running: list[tuple[DemoNode, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, node: DemoNode) -> None:
        """Start a node; its log goes to its own file."""
        command = [sys.executable, "-m", "adapter", "serve", "--config", str(node.config)]
        own = {name: text for name, text in os.environ.items() if not name.startswith("P2PTRADE_")}
        with node.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=own,
                start_new_session=True,  # a Ctrl-C is for us; we tell them
            )
        self._running.append((node, process))

    def wait_until_ready(self) -> None:
        """Return when every node says that it is ready.

        Raises:
            DemoError: one ended, or is not ready in time.
        """
        end = time.monotonic() + READY_S
        waiting = [node for node, _ in self._running]
        with httpx.Client(timeout=1, trust_env=False) as client:
            while waiting:
                self.check()
                waiting = [node for node in waiting if not _is_ready(client, node)]
                if waiting and time.monotonic() > end:
                    why = f"{waiting[0].name} is not ready after {READY_S} s"
                    raise failure(why, waiting[0])
                if waiting:
                    time.sleep(POLL_S)

    def check(self) -> None:
        """Do nothing while all nodes run.

        Raises:
            DemoError: one has ended.
        """
        for node, process in self._running:
            if process.poll() is not None:
                why = f"{node.name} ended with exit code {process.returncode}"
                raise failure(why, node)

    def stop(self) -> None:
        """End all nodes: ask, wait, and kill what does not listen."""
        for _, process in self._running:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + STOP_S
        for _, process in self._running:
            try:
                process.wait(max(end - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._running = []


def failure(why: str, *nodes: DemoNode) -> DemoError:
    """Return the error that names the logs of the nodes concerned and shows their last lines."""
    lines = [why]
    for node in nodes:
        lines.append(f"log of {node.name}: {node.log}")
        lines += [f"  {line}" for line in _last_lines(node)]
    return DemoError("\n".join(lines))


def _last_lines(node: DemoNode) -> Sequence[str]:
    try:
        return node.log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
    except OSError:
        return ()


def _is_ready(client: httpx.Client, node: DemoNode) -> bool:
    try:
        return client.get(f"{node.base_url}/health/ready").status_code == 200
    except httpx.HTTPError:
        return False
