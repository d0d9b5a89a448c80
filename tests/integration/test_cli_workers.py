"""`p2ptrade serve --workers N` as real processes: one address, deaths, and the clean end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from adapter.cli.workers import AGAIN_S, _Worker
from adapter.demo.folder import REGULATOR, DemoFolder, DemoNode, write_folder
from adapter.demo.network import new_ports
from adapter.demo.processes import Processes
from adapter.transport.node_client import NodeAwayError, NodeClient, NodeError
from tests.fakes.command_line import p2ptrade
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.timeout(120)

END_S = 10
WAIT_S = 50


class Parents(Processes):
    """Nodes of several workers each."""

    workers = 2

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        return next(process for node, process in self._running if node.name == name)

    def start(self, node: DemoNode) -> None:
        command = [sys.executable, "-m", "adapter", "serve", "--config", str(node.config)]
        with node.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--workers", str(self.workers), "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running.append((node, process))


def children(parent: int) -> set[int]:
    """Return the processes that a process has started."""
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {int(pid) for pid in text.split()}


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def records(node: DemoNode) -> list[dict[str, object]]:
    return [json.loads(line) for line in node.log.read_text().splitlines()]


def change(node: DemoNode, /, **sections: object) -> None:
    document = yaml.safe_load(node.config.read_text())
    node.config.write_text(yaml.safe_dump(document | sections))


@pytest.fixture
def parents() -> Iterator[Parents]:
    with Parents() as processes:
        yield processes


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    return write_folder(tmp_path, new_ports())


@pytest.fixture
def grid(folder: DemoFolder, postgres_server: PostgresServer) -> Iterator[DemoNode]:
    """Give a grid operator's node on PostgreSQL that needs nobody else."""
    node = folder.nodes["grid_operator"]
    with postgres_server.lent() as url:
        static = {"kind": "static", "file": "network.yaml"}
        change(node, database={"url": url}, registry=static)
        yield node


def state(node: DemoNode) -> dict[str, object]:
    with NodeClient(node.base_url, token=node.operator_tokens[REGULATOR]) as client:
        return dict(client.get("/contracts/state"))


def register(node: DemoNode, number: int) -> None:
    """Register a user under a command id of its own, again until there is an answer."""
    args = {"user": f"user-{number}", "user_type": "CONSUMER", "location": "Lane 4"}
    end = time.monotonic() + WAIT_S
    while True:
        try:
            with NodeClient(node.base_url, token=node.operator_tokens[REGULATOR]) as client:
                client.call("registry", "register_user", args, command_id=f"register-{number}")
        except NodeAwayError:
            pass
        except NodeError as error:
            if not error.transient_status:
                raise
        else:
            return
        assert time.monotonic() < end


def test_several_workers_need_postgresql(folder: DemoFolder) -> None:
    ran = p2ptrade("serve", "--config", str(folder.nodes["bap"].config), "--workers", "2")
    assert (ran.returncode, ran.stdout) == (2, "")
    [line] = ran.stderr.splitlines()
    assert "database.url is SQLite" in line
    assert "postgresql://" in line


def test_a_worker_that_died_a_thousand_times_is_started_again_all_the_same() -> None:
    first, most = AGAIN_S
    waits = [_Worker(restarts=restarts).wait_s() for restarts in (0, 1, 1_023, 1_024, 10**6)]
    assert waits == [first, 2 * first, most, most, most]


def test_workers_that_start_together_write_one_beginning(parents: Parents, grid: DemoNode) -> None:
    parents.workers = 4
    parents.start(grid)
    parents.wait_until_ready()
    parent = parents.process("grid_operator")
    until(lambda: sum(str(one["message"]).endswith(" is up") for one in records(grid)) == 4)
    assert len(children(parent.pid)) == 4
    assert state(grid)["seq"] == 1  # the two entries of the genesis
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(END_S) == 0
    said = [str(one["message"]) for one in records(grid)]
    assert sum(text.endswith(" is down") for text in said) == 4


def test_a_worker_that_is_killed_loses_nothing_and_is_replaced(
    parents: Parents, grid: DemoNode
) -> None:
    calls, kills = 60, 3
    parents.start(grid)
    parents.wait_until_ready()
    parent = parents.process("grid_operator")
    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(register, grid, number) for number in range(calls)]
        for turn in range(1, kills + 1):
            until(lambda turn=turn: sum(one.done() for one in running) >= turn * calls // 4)  # type: ignore[misc]
            victim = min(children(parent.pid))
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in children(parent.pid))  # type: ignore[misc]
        for one in running:
            one.result(WAIT_S)
    assert state(grid)["seq"] == 1 + calls  # each once
    until(lambda: len(children(parent.pid)) == 2)
    said = [str(one["message"]) for one in records(grid)]
    assert sum("ended with -9" in text for text in said) == kills
    assert parent.poll() is None
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(END_S) == 0


def test_workers_end_when_their_parent_is_killed(parents: Parents, grid: DemoNode) -> None:
    parents.start(grid)
    parents.wait_until_ready()
    parent = parents.process("grid_operator")
    workers = children(parent.pid)
    assert len(workers) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(END_S)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_what_stops_the_first_start_stops_it_for_good(parents: Parents, grid: DemoNode) -> None:
    file = grid.config.parent / "genesis.yaml"
    file.write_text(file.read_text().replace("currency: USD", "currency: ZZZ"))
    parents.start(grid)
    assert parents.process("grid_operator").wait(WAIT_S) > 0
    text = grid.log.read_text()
    assert "INVALID_INPUT" in text
    assert "Traceback" not in text


def test_who_follows_one_node_sees_what_another_on_its_database_writes(
    parents: Parents, grid: DemoNode, folder: DemoFolder
) -> None:
    port = new_ports()["registry"]
    config, log = grid.config.with_name("second.yaml"), grid.log.with_name("second.log")
    config.write_text(grid.config.read_text())
    second = replace(
        grid, name="second", base_url=f"http://127.0.0.1:{port}", config=config, log=log
    )
    node = yaml.safe_load(config.read_text())["node"]
    change(second, node=node | {"bind": f"127.0.0.1:{port}"})
    parents.workers = 1
    parents.start(grid)
    parents.start(second)
    parents.wait_until_ready()
    token = second.operator_tokens[REGULATOR]
    with ThreadPoolExecutor(1) as threads, NodeClient(second.base_url, token=token) as client:
        events = client.stream("/contracts/events", {"name": "UserRegistered"})
        assert next(events).data == ""  # it is open
        first = threads.submit(next, (one for one in events if one.data))
        register(grid, 1)
        assert json.loads(first.result(WAIT_S).data)["name"] == "UserRegistered"
