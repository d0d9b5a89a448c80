"""Signed messages received by a real node: verified, validated, durable, the answer signed.

Load over 64 keep-alive connections of loopback from a process of its own, whose processor time is
given too: it shares the two cores. Each node runs in a process of its own with one worker; the
candidates take turns in each round. Baseline is `bench/naive.py` on the same kind of store. Before
anything is timed each node has to refuse a forged and a broken message and to repeat itself.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter.transport.clock import SystemClock
from bench.harness import Figure, compared
from bench.receive_large import TRADES, fill
from bench.receive_setup import PATH, Messages, Window, write_folder
from bench.receive_verify import verify_case
from tests.fakes.postgres import running

ROOT = Path(__file__).parents[1]
CONNECTIONS = 64
OURS, NAIVE = 1_024, 192
"""Messages per round."""
CALM_PER_S = 400
"""Messages per second that are offered where the wait of each counts, not how many there are."""
MANY = f"{TRADES:,} stored trades"
BARE, BARE_PG = "SQLite, as bare as the naive node", "PostgreSQL, as bare"
CRYPTOGRAPHY = "50.0.2"
LARGE = os.environ.get("BENCH_LARGE")
"""Anything: also a database with a million trades, which takes minutes to fill; or the path of one
that `bench.receive_large` has filled."""
READY_S = 60
MICROSECONDS = 1e6
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of one node took."""

    seconds: float
    """Per message."""
    p50: float
    p99: float
    load_cpu: float
    node_cpu: float


class Served:
    """A node that runs, and what its rounds took."""

    def __init__(self, name: str, versions: str, port: int, process: subprocess.Popen[bytes]):
        """Take the process; it is ready when `wait` returns."""
        self.name, self.versions, self.port = name, versions, port
        self.process = process
        self.rounds: list[Round] = []
        self.calm: list[Round] = []
        """At CALM_PER_S."""
        self.next_offer = 10
        """The first ten are for the questions before."""

    def wait(self) -> None:
        """Return once it takes connections."""
        until = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    msg = f"{self.name} does not start"
                    raise RuntimeError(msg) from None
                time.sleep(0.05)
            else:
                return

    def cpu_s(self) -> float:
        """Return the processor time of the node so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS_PER_S

    def figure(self) -> Figure:
        """Return seconds per message over the rounds."""
        seconds = [one.seconds for one in self.rounds]
        return Figure(
            self.name, self.versions, min(seconds), statistics.median(seconds), max(seconds)
        )

    def details(self) -> dict[str, Any]:
        """Return the medians of what else was measured."""

        def median(of: Callable[[Round], float], scale: float) -> float:
            return round(statistics.median(map(of, self.rounds)) * scale, 1)

        return {
            "per_second": round(1 / statistics.median(one.seconds for one in self.rounds)),
            "p50_ms": median(lambda one: one.p50, 1e3),
            "p99_ms": median(lambda one: one.p99, 1e3),
            "node_cpu_us": median(lambda one: one.node_cpu, 1e6),
            "load_cpu_us": median(lambda one: one.load_cpu, 1e6),
            **self._calm(),
        }

    def _calm(self) -> dict[str, Any]:
        """Return how long messages take that come at CALM_PER_S, if that was measured."""
        if not self.calm:
            return {}
        p50, p99 = (
            round(statistics.median(getattr(one, name) for one in self.calm) * 1e3, 1)
            for name in ("p50", "p99")
        )
        return {"at_rate": {"offered_per_second": CALM_PER_S, "p50_ms": p50, "p99_ms": p99}}


class LoadProcess:
    """The process that sends."""

    def __init__(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.receive_load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, node: Served, messages: int, per_second: int = 0) -> Round:
        """Return what so many messages took, at a rate or as fast as they are answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"port": node.port, "connections": CONNECTIONS, "messages": messages}
        order["per_second"] = per_second
        before = node.cpu_s()
        self._process.stdin.write(json.dumps(order | {"first": node.next_offer}) + "\n")
        self._process.stdin.flush()
        node.next_offer += messages
        line = self._process.stdout.readline()
        if not line:
            msg = f"the load on {node.name} has ended"
            raise RuntimeError(msg)
        took = json.loads(line)
        return Round(
            took["seconds"] / messages,
            took["p50"],
            took["p99"],
            took["cpu_seconds"] / messages,
            (node.cpu_s() - before) / messages,
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def run(rounds: int) -> dict[str, Any]:
    """Return the result of the benchmark."""
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        server = ends.enter_context(running(durable=True))
        packages = _with_cryptography(folder)
        offers = 10 + 2 * OURS * (rounds + 1)
        nodes = [
            ends.enter_context(_ours(folder, "SQLite", offers)),
            ends.enter_context(_ours(folder, "SQLite, one by one", offers, "--one-by-one")),
            ends.enter_context(_ours(folder, "without a store", offers, "--no-store")),
            ends.enter_context(_ours(folder, BARE, offers, "--bare")),
            ends.enter_context(_ours(folder, BARE_PG, offers, "--bare", url=server.fresh_url())),
            ends.enter_context(_ours(folder, "PostgreSQL", offers, url=server.fresh_url())),
            *ends.enter_context(_naive(folder, packages, server.fresh_url())),
        ]
        if LARGE:
            nodes.append(ends.enter_context(_ours(folder, MANY, offers)))
        load = LoadProcess()
        ends.callback(load.close)
        for node in nodes:
            node.wait()
            if node.name != "without a store":
                demand_verdicts(node)
        for turn in range(rounds + 1):
            for node in nodes:
                took = load.run(node, NAIVE if node.name.startswith("naive") else OURS)
                if turn:  # the first one warms up
                    node.rounds.append(took)
            calm = load.run(nodes[0], OURS, CALM_PER_S)
            if turn:
                nodes[0].calm.append(calm)
        verified = verify_case(packages, rounds)
    by_name = {node.name: node for node in nodes}
    pairs = [
        ("SQLite, synchronous FULL, group commit", "SQLite", "naive SQLite"),
        ("PostgreSQL", "PostgreSQL", "naive PostgreSQL"),
        ("SQLite, group commit against one commit per unit", "SQLite", "SQLite, one by one"),
        ("without a store", "without a store", "naive SQLite"),
        ("SQLite, like for like: no rules, no trade, no callback", BARE, "naive SQLite"),
        ("PostgreSQL, like for like", BARE_PG, "naive PostgreSQL"),
    ]
    if LARGE:
        pairs.append((f"{MANY} against a new database", MANY, "SQLite"))
    cases = [_case(case, by_name[ours], by_name[base]) for case, ours, base in pairs]
    cases.append(verified)
    headline = {key: value for key, value in cases[0].items() if key != "case"}
    return {
        "name": "receive",
        "unit": f"microseconds per message, {CONNECTIONS} connections",
        **headline,
        "cases": cases,
    }


def _case(case: str, ours: Served, baseline: Served) -> dict[str, Any]:
    found = compared(ours.figure(), baseline.figure(), MICROSECONDS)
    found["ours"] |= ours.details()
    found["baseline"] |= baseline.details()
    return {"case": case, **found}


def demand_verdicts(node: Served) -> None:
    """Refuse to time a node that takes what it must not."""
    now_ms = SystemClock().now_ms()
    messages = Messages(Window.after(now_ms), now_ms)
    good, broken = messages.new(), messages.broken()
    signed = messages.signature(good, now_ms)
    forged = messages.signature(messages.new(), now_ms)
    late = messages.signature(good, now_ms - 3_600_000)
    answers = [
        _post(node.port, good, forged),
        _post(node.port, good, late),
        _post(node.port, broken, messages.signature(broken, now_ms)),
        _post(node.port, good, signed),
        _post(node.port, good, messages.signature(good, now_ms)),
    ]
    statuses = [status for status, _ in answers]
    assert statuses == [401, 401, 400, 200, 200], (node.name, answers)
    assert answers[3] == answers[4], (node.name, answers)


def _post(port: int, body: bytes, authorization: str) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextmanager
def _ours(
    parent: Path, name: str, offers: int, *options: str, url: str = "sqlite:///node.db"
) -> Iterator[Served]:
    folder, port = _place(parent, name, url)
    if name == MANY:
        _fill(folder / "node.db")
    command = ["-m", "bench.receive_node", str(folder / "node.yaml"), "--offers", str(offers)]
    with _process(folder, [*command, *options]) as process:
        yield Served(name, version("p2ptrade"), port, process)


def _fill(path: Path) -> None:
    filled = Path(LARGE or "")
    if filled.is_file():
        shutil.copyfile(filled, path)
    else:
        path.touch()
        fill(path)


@contextmanager
def _naive(parent: Path, packages: Path, url: str) -> Iterator[Sequence[Served]]:
    """Give the naive node on either kind of store."""
    versions = f"FastAPI {version('fastapi')}, openapi-core {version('openapi-core')}"
    with ExitStack() as ends:
        nodes = []
        for store, address in (("SQLite", "sqlite"), ("PostgreSQL", url)):
            folder, port = _place(parent, f"naive {store}", "sqlite:///none.db")
            command = ["-m", "bench.naive", str(folder), str(port), address]
            process = ends.enter_context(_process(folder, command, packages))
            nodes.append(Served(f"naive {store}", versions, port, process))
        yield nodes


def _with_cryptography(parent: Path) -> Path:
    """Return a folder with the naive node's key library, which ours does not need."""
    packages = parent / "packages"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(packages), f"cryptography=={CRYPTOGRAPHY}"),
        ],
        check=True,
    )
    return packages


def _place(parent: Path, name: str, url: str) -> tuple[Path, int]:
    folder = parent / name.replace(" ", "-").replace(",", "")
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    write_folder(folder, port=port, database=url)
    return folder, port


@contextmanager
def _process(
    folder: Path, command: Sequence[str], packages: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Give a running process; its log goes to a file in the folder."""
    environment = {**os.environ, **({"PYTHONPATH": str(packages)} if packages else {})}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=log, stderr=log, env=environment
        )
    try:
        yield process
    except BaseException:
        sys.stderr.write("".join((folder / "log").read_text().splitlines(keepends=True)[-8:]))
        raise
    finally:
        process.kill()
        process.wait()
