"""Cascaded confirms at one grid operator's node: verified, validated, settled, durable, answered.

A seller's platform sends them over 64 keep-alive connections of loopback, from a process of its own
on the same cores. Each is about a contract of its own that was proposed before, outside of the
time: the operator checks the message against its init, makes the agreement binding on its ledger
(caps in use, cash held, an entry in the journal) and queues `on_confirm`. SQLite with synchronous
FULL. Nobody is there for the callbacks, so they stay in the outbox; afterwards every contract has
to be in force. Baseline is `bench/confirm_naive.py`; both take turns.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter.demo.processes import free_ports
from bench.confirm_setup import HOMES
from bench.harness import compared
from bench.nodes import running
from bench.receive import (
    CONNECTIONS,
    CRYPTOGRAPHY,
    MICROSECONDS,
    ROOT,
    Round,
    Served,
    _process,
    _with_cryptography,
)

OURS, NAIVE = 1_024, 192
"""Contracts per round."""
STEPS = ("init", "confirm")


@dataclass(slots=True)
class Operator:
    """A grid operator's node that runs."""

    steps: dict[str, Served]
    """What proposing and confirming took."""
    count: int
    """Contracts per round."""
    database: Path
    is_ours: bool
    confirmed: int = 0
    sender: "subprocess.Popen[str]" = field(init=False)

    def trade(self) -> dict[str, Round]:
        """Propose and confirm the next contracts; return what each step took."""
        took = {step: self._do(step) for step in STEPS}
        self.confirmed += self.count
        return took

    def _do(self, step: str) -> Round:
        assert self.sender.stdin is not None
        assert self.sender.stdout is not None
        node = self.steps[step]
        order = {
            "step": step,
            "port": node.port,
            "connections": CONNECTIONS,
            "first": self.confirmed,
            "count": self.count,
            "database": str(self.database) if self.is_ours else "",
        }
        before = node.cpu_s()
        self.sender.stdin.write(json.dumps(order) + "\n")
        self.sender.stdin.flush()
        line = self.sender.stdout.readline()
        if not line:
            msg = f"the load on {node.name} has ended"
            raise RuntimeError(msg)
        took, count = json.loads(line), self.count
        each = (took["seconds"] / count, took["p50"], took["p99"], took["cpu_seconds"] / count)
        return Round(*each, (node.cpu_s() - before) / count)

    def demand_agreements(self) -> None:
        """Refuse figures of confirms that did not make their agreements binding."""
        table, state = ("trade", "CONFIRMED") if self.is_ours else ("agreement", "ACTIVE")
        query = f"SELECT count(*) FROM {table} WHERE state = ?"
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            (found,) = connection.execute(query, (state,)).fetchone()
        assert found == self.confirmed, (self.database, found, self.confirmed)


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        operators = [_ours(ends, folder), _naive(ends, folder)]
        for one in operators:
            one.sender = _sender(ends, folder / "ours")
            one.steps["confirm"].wait()
        for turn in range(rounds + 1):
            for one in operators:
                took = one.trade()
                if turn:  # the first one warms up
                    for step in STEPS:
                        one.steps[step].rounds.append(took[step])
        for one in operators:
            one.demand_agreements()
    ours, naive = operators
    cases = [_case(step, ours.steps[step], naive.steps[step]) for step in reversed(STEPS)]
    headline = {key: value for key, value in cases[0].items() if key != "case"}
    unit = f"microseconds per message, {CONNECTIONS} connections, SQLite FULL"
    return {"name": "confirm", "unit": unit, **headline, "cases": cases}


def _case(step: str, ours: Served, baseline: Served) -> dict[str, Any]:
    found = compared(ours.figure(), baseline.figure(), MICROSECONDS)
    found["ours"] |= ours.details()
    found["baseline"] |= baseline.details()
    return {"case": f"cascaded {step} at the grid operator", **found}


def _ours(ends: ExitStack, folder: Path) -> Operator:
    """Return our node as it is shipped, its ledger set up through its own interface."""
    (path := folder / "ours").mkdir()
    network = ends.enter_context(
        running(path, homes=HOMES, program=("-m", "bench.confirm_node"), names=("grid_operator",))
    )
    node = network.folder.nodes["grid_operator"]
    port = int(node.base_url.rpartition(":")[2])
    _, process = network.nodes._running[0]
    steps = {step: Served("ours", version("p2ptrade"), port, process) for step in STEPS}
    return Operator(steps, OURS, node.database, is_ours=True)


def _naive(ends: ExitStack, folder: Path) -> Operator:
    packages = _with_cryptography(folder)
    (port,) = free_ports(1)
    path = folder / "ours"  # it reads the same registry file
    command = ["-m", "bench.confirm_naive", str(path), str(port), str(HOMES)]
    process = ends.enter_context(_process(path, command, packages))
    known = (
        f"FastAPI {version('fastapi')}, openapi-core {version('openapi-core')}, "
        f"cryptography {CRYPTOGRAPHY}, a commit per message"
    )
    steps = {step: Served("naive ledger", known, port, process) for step in STEPS}
    return Operator(steps, NAIVE, path / "naive.db", is_ours=False)


def _sender(ends: ExitStack, path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.confirm_load", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    ends.callback(process.communicate)
    ends.callback(process.kill)
    return process
