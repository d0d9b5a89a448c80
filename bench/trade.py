"""Whole trades at a fixed price between three node processes, every side durable.

One trade is `POST /trades` at the buyer's platform until it answers with the active contract:
discover, select, init and confirm with their callbacks, init and confirm towards the grid operator
with theirs. These are 12 signed messages, each with a signed answer: 24 signatures made and 24
checked, 12 messages and 12 answers stored. (on_status, twice, follows after delivery; `load` has
it.) SQLite with synchronous FULL on each side, INFO logs written, the caller on the same cores.

Baseline are the same three nodes with naive parts behind their ports (`bench/trade_naive.py`). Both
networks run at the same time and trade in turns.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.buyer import Bought, Lags, buy, quantile
from bench.harness import Figure, compared
from bench.nodes import Network, Window, running
from bench.receive import CRYPTOGRAPHY, _with_cryptography

HOMES = 16
"""Buyers and sellers; each trade is between one of each."""
IN_FLIGHT = (32, 1)
OURS, NAIVE = {32: 160, 1: 12}, {32: 64, 1: 6}
"""Trades per round, by how many are under way."""
MILLISECONDS = 1e3
MESSAGES = 12


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took; seconds per trade."""

    bought: Bought
    cpu: Mapping[str, float]
    """Processor time by node, and of the caller."""
    lags_ms: list[float]


@dataclass(slots=True)
class Candidate:
    """A network under test."""

    name: str
    version: str
    network: Network
    window: Window
    trades: Mapping[int, int]
    rounds: dict[int, list[Round]] = field(default_factory=dict)
    begun: int = 0

    def trade(self, in_flight: int) -> Round:
        """Run one round."""
        count = self.trades[in_flight]
        numbers = range(self.begun, self.begun + count)
        self.begun += count
        lags, cpu, own = Lags(self.network), self.network.nodes.cpu_s(), time.process_time()
        bought = asyncio.run(buy(self.network, self.window, numbers, in_flight))
        own = time.process_time() - own
        after = self.network.nodes.cpu_s()
        spent = {name: (after[name] - cpu[name]) / count for name in cpu}
        return Round(bought, {**spent, "caller": own / count}, lags.since())

    def seconds(self, in_flight: int) -> Figure:
        """Return seconds per trade, all that are under way together."""
        found = [one.bought.seconds / len(one.bought.ids) for one in self.rounds[in_flight]]
        return self._figure(found)

    def cpu(self, in_flight: int) -> Figure:
        """Return processor seconds per trade of all processes."""
        return self._figure([sum(one.cpu.values()) for one in self.rounds[in_flight]])

    def _figure(self, found: list[float]) -> Figure:
        return Figure(self.name, self.version, min(found), statistics.median(found), max(found))

    def details(self, in_flight: int) -> dict[str, Any]:
        """Return what else was measured: medians over the rounds, milliseconds, megabytes."""
        rounds = self.rounds[in_flight]
        each = [took for one in rounds for took in one.bought.each_s]
        lags = [lag for one in rounds for lag in one.lags_ms]
        names = rounds[0].cpu
        cpu = {name: statistics.median(one.cpu[name] for one in rounds) for name in names}
        return {
            "trades_per_s": round(1 / self.seconds(in_flight).median, 1),
            "p50_ms": round(quantile(each, 50) * MILLISECONDS, 1),
            "p99_ms": round(quantile(each, 99) * MILLISECONDS, 1),
            "cpu_ms": {name: round(took * MILLISECONDS, 2) for name, took in cpu.items()},
            "outbox_p50_ms": round(quantile(lags, 50), 1),
            "outbox_p99_ms": round(quantile(lags, 99), 1),
            "memory_mb": {
                name: round(size) for name, size in self.network.nodes.memory_mb().items()
            },
        }


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        packages = _with_cryptography(folder)
        naive_version = (
            f"openapi-core {version('openapi-core')}, cryptography {CRYPTOGRAPHY}, "
            f"httpx {version('httpx')}, a commit per unit"
        )
        ours = _candidate(ends, folder / "ours", "ours", version("p2ptrade"), OURS)
        naive = _candidate(
            ends,
            folder / "naive",
            "the same nodes, naive parts:",
            naive_version,
            NAIVE,
            program=("-m", "bench.trade_naive"),
            environment={"PYTHONPATH": str(packages)},
        )
        for in_flight in IN_FLIGHT:
            for turn in range(rounds + 1):
                for one in (ours, naive):
                    took = one.trade(in_flight)
                    if turn:  # the first one warms up
                        one.rounds.setdefault(in_flight, []).append(took)
        cases = [case for in_flight in IN_FLIGHT for case in _cases(ours, naive, in_flight)]
    headline = {key: value for key, value in cases[0].items() if key != "case"}
    return {"name": "trade", "unit": "milliseconds per trade", **headline, "cases": cases}


def _candidate(
    ends: ExitStack,
    path: Path,
    name: str,
    known: str,
    trades: Mapping[int, int],
    **how: Any,
) -> Candidate:
    path.mkdir()
    network = ends.enter_context(running(path, homes=HOMES, **how))
    window = network.next_window()
    network.publish(window)
    return Candidate(name, known, network, window, trades)


def _cases(ours: Candidate, naive: Candidate, in_flight: int) -> list[dict[str, Any]]:
    under_way = f"{in_flight} under way"
    details = {"details": {"ours": ours.details(in_flight), "naive": naive.details(in_flight)}}
    rate = compared(ours.seconds(in_flight), naive.seconds(in_flight), MILLISECONDS)
    cpu = compared(ours.cpu(in_flight), naive.cpu(in_flight), MILLISECONDS)
    return [
        {"case": f"whole trade, {under_way}", **rate, **details},
        {"case": f"processor time, {under_way}", **cpu},
    ]
