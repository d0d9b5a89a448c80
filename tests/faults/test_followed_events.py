"""`p2ptrade contracts events --follow` beside real nodes, one of which is killed meanwhile.

In the same run the platforms countersign, and the trade is proven with the operator's public key.
"""

import base64
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.demo.folder import REGULATOR
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.settlement import check_proof
from adapter.transport.key_files import read_seed
from adapter.transport.node_client import NodeClient
from tests.fakes.processes import Run, network

pytestmark = pytest.mark.timeout(180)

STORY = [
    *("Initialized", "UserRegistered", "MeterAssigned", "TradeCapSet", "Deposited"),
    *("AgreementCreated", "AgreementActivated", "Minted", "EnergyDelivered", "PaymentSettled"),
]
WAIT_S = 60


class Follower:
    """A command line that follows events."""

    def __init__(self, run: Run, *options: str) -> None:
        grid = run.folder.nodes["grid_operator"]
        command = [sys.executable, "-m", "adapter", "contracts", "events", "--follow"]
        where = ["--node", grid.base_url, "--token", grid.operator_tokens[REGULATOR]]
        self.process = subprocess.Popen(
            [*command, *where, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
        self.lines: list[str] = []
        self._news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._news.put(line)

    def until(self, word: str) -> None:
        """Return once a line holds a word."""
        end = time.monotonic() + WAIT_S
        while not any(word in line for line in self.lines):
            self.lines.append(self._news.get(timeout=max(end - time.monotonic(), 0.01)))

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(10)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        while not self._news.empty():
            self.lines.append(self._news.get())
        return code


@contextmanager
def following(run: Run, *options: str) -> Iterator[Follower]:
    follower = Follower(run, *options)
    try:
        yield follower
    finally:
        if follower.process.poll() is None:
            follower.process.kill()
            follower.process.wait()


def polled(look: Callable[[], Any], why: str) -> Any:
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, why
        time.sleep(0.1)
    return found


def settle(run: Run) -> tuple[str, str]:
    """Run the demo's trade, killing the operator on the way; return transaction and contract."""
    window = run.script.window()
    run.script.offer(window)
    transaction_id = run.start_trade(window)
    run.wait_for_status(transaction_id, "ACTIVE")
    run.kill_and_restart("grid_operator")
    run.script.pass_window(window)
    run.script.submit_readings(window)
    run.wait_for_status(transaction_id, "COMPLETED")
    return transaction_id, str(run.script.trade("bap", transaction_id)["contract_id"])


def test_a_follower_sees_the_whole_trade_once_and_in_order(tmp_path: Path) -> None:
    with network(tmp_path) as run:
        with following(run, "--json") as follower, following(run) as reader:
            follower.until("Initialized")
            _, contract_id = settle(run)
            follower.until("PaymentSettled")
            reader.until("PaymentSettled")
            check_ending(run)
            codes = follower.interrupt(), reader.interrupt()
        assert codes == (0, 0)
        told = [strict_json.decode_object(line.encode()) for line in follower.lines]
        ids = [tuple(map(int, event["id"].split("."))) for event in told]
        assert ids == sorted(set(ids))
        names = [event["name"] for event in told]
        firsts = [names.index(name) for name in STORY]
        assert firsts == sorted(firsts)
        for name in STORY:
            assert any(f" {name} " in line for line in reader.lines), name
        check_proven(run, contract_id)


def check_ending(run: Run) -> None:
    """The operator ends within 10 s although streams are open, and comes again."""
    grid = run.folder.nodes["grid_operator"]
    process = next(process for one, process in run.processes._running if one == grid)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert time.monotonic() - begun < 10
    run.processes._running = [
        (one, running) for one, running in run.processes._running if one != grid
    ]
    if process.stdin is not None:
        process.stdin.close()
    run.processes.start(grid)
    run.processes.wait_until_ready()


def check_proven(run: Run, contract_id: str) -> None:
    """Both platforms countersign what the window's end has anchored; the proof holds."""
    grid = run.folder.nodes["grid_operator"]
    with NodeClient(grid.base_url, signer=run.folder.bap_signer, clock=run.script.clock) as client:

        def countersigned() -> bool:
            roots = client.get("/contracts/roots")["roots"]
            return bool(roots) and all(len(root["countersignatures"]) == 2 for root in roots)

        polled(countersigned, "nobody countersigned")
        url = f"{grid.base_url}/contracts/proofs/{contract_id}"
        now_s = int(run.script.clock.now_ms() // 1_000)
        header = run.folder.bap_signer.header(b"", created_s=now_s, expires_s=now_s + 60)
        bundle = httpx.get(url, headers={"Authorization": header})
    assert bundle.status_code == 200, bundle.text
    seed = read_seed(run.folder.path / "keys" / "grid_operator.seed")
    public_key = Signer("x", "k1", seed).public_key
    proven = check_proof(bundle.content, base64.b64encode(public_key).decode())
    assert proven.id == contract_id
    assert proven.derived["activated"]["held"] == "1.75"
