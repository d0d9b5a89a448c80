"""Other people's markets, each in an environment of its own, so that ours never holds them.

Run as a script inside such an environment it clears the book of the first line once for each
further line, and answers with the seconds that took, the making of the peer's own objects left
out. Needs the standard library only.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = tuple[bool, int, int]
"""Whether it buys, hundredths per kWh, Wh."""


class PeerAbsentError(Exception):
    """A peer that cannot be run here, with the reason."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A market of others."""

    name: str
    package: str
    version: str
    mechanism: str
    orders: int
    """Size that it bears."""


PEERS = (
    Peer("order-matching", "order-matching[polars]", "0.12.0", "order_matching", 10_000),
    Peer("pymarket muda", "pymarket", "0.7.6", "muda", 4_000),
    Peer("pymarket p2p", "pymarket", "0.7.6", "p2p", 400),
)


class Running:
    """A process that clears the same book whenever it is asked."""

    def __init__(self, python: Path, peer: Peer, rows: list[Row]) -> None:
        """Start it and hand it the book."""
        # A pipe that nobody reads would fill up.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [str(python), __file__, peer.mechanism],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._ask(json.dumps(rows))

    def clear(self) -> float:
        """Return the seconds that clearing took."""
        return float(self._ask("clear"))

    def _ask(self, line: str) -> str:
        """Send a line and return the answer.

        Raises:
            PeerAbsentError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["it ended"])[-1]
            raise PeerAbsentError(last[:200])
        return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextlib.contextmanager
def running(peer: Peer, rows: list[Row]) -> Iterator[Running]:
    """Give the process of a peer.

    Raises:
        PeerAbsentError: it cannot be installed or does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = Running(_environment(Path(folder), peer), peer, rows)
        try:
            yield process
        finally:
            process.close()


def _environment(folder: Path, peer: Peer) -> Path:
    """Return the Python of a new environment that holds the peer."""
    python = folder / "bin" / "python"
    requirement = f"{peer.package}=={peer.version}"
    uv = Path(sys.executable).parent / "uv"
    index = os.environ.get("PIP_INDEX_URL")
    environment = {**os.environ, **({"UV_DEFAULT_INDEX": index} if index else {})}
    steps = [
        [str(uv), "venv", "--quiet", "--python", sys.executable, str(folder)],
        [str(uv), "pip", "install", "--quiet", "--python", str(python), requirement],
    ]
    if not uv.exists():
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", requirement],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            msg = f"{requirement} cannot be installed: {last[:200]}"
            raise PeerAbsentError(msg)
    return python


def _order_matching(rows: list[Row]) -> Callable[[], float]:
    from datetime import datetime, timedelta

    engine = importlib.import_module("order_matching.matching_engine")
    order = importlib.import_module("order_matching.order")
    orders = importlib.import_module("order_matching.orders")
    side = importlib.import_module("order_matching.enums").Side
    importlib.import_module("loguru").logger.remove()  # it would tell of every order
    begin = datetime(2026, 1, 1)  # noqa: DTZ001 - it compares with naive times only

    def run() -> float:
        book = [
            order.LimitOrder(
                side=side.BUY if buys else side.SELL,
                price=price / 100,
                size=wh / 1000,
                timestamp=begin + timedelta(microseconds=place),
                order_id=str(place),
                trader_id=str(place),
            )
            for place, (buys, price, wh) in enumerate(rows)
        ]
        market = engine.MatchingEngine(seed=7)
        started = time.perf_counter()
        market.place(orders=orders.Orders(book))
        market.match(timestamp=begin + timedelta(days=1))
        return time.perf_counter() - started

    return run


def _pymarket(mechanism: str) -> Callable[[list[Row]], Callable[[], float]]:
    def prepare(rows: list[Row]) -> Callable[[], float]:
        pymarket: Any = importlib.import_module("pymarket")
        numpy: Any = importlib.import_module("numpy")

        def run() -> float:
            market = pymarket.Market()
            for user, (buys, price, wh) in enumerate(rows):
                market.accept_bid(wh / 1000, price / 100, user, buys, 0)
            started = time.perf_counter()
            market.run(mechanism, r=numpy.random.RandomState(7))
            return time.perf_counter() - started

        return run

    return prepare


MECHANISMS: dict[str, Callable[[list[Row]], Callable[[], float]]] = {
    "order_matching": _order_matching,
    "muda": _pymarket("muda"),
    "p2p": _pymarket("p2p"),
}


def main() -> None:
    """Clear the book of the first line once for each further line."""
    clear = MECHANISMS[sys.argv[1]]([tuple(row) for row in json.loads(sys.stdin.readline())])
    print("ready", flush=True)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            seconds = clear()
        print(seconds, flush=True)


if __name__ == "__main__":
    main()
