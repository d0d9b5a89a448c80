"""`p2ptrade serve` as a process: start, logs, the clean end; and the tools beside a live node."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from adapter.demo.folder import BPP, BUYER_METER, DemoFolder, DemoNode, write_folder
from adapter.demo.network import new_ports
from adapter.demo.processes import DemoError, Processes
from adapter.demo.purchase_script import PurchaseScript
from tests.fakes.command_line import p2ptrade

pytestmark = pytest.mark.timeout(120)

END_S = 10
"""Source: interfaces, rulings of section 4."""


class Nodes(Processes):
    """Nodes whose processes a test may look at."""

    def process(self, name: str) -> "subprocess.Popen[bytes]":
        return next(process for node, process in self._running if node.name == name)


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    return write_folder(tmp_path, new_ports())


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with Nodes() as processes:
        yield processes


def served(config: Path) -> "subprocess.CompletedProcess[str]":
    """Return how a node ended that does not start."""
    command = [sys.executable, "-m", "adapter", "serve", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def records(node: DemoNode) -> list[dict[str, object]]:
    """Return the log of a node; every line must be a JSON object."""
    return [json.loads(line) for line in node.log.read_text().splitlines()]


def start(nodes: Nodes, *wanted: DemoNode) -> None:
    for node in wanted:
        nodes.start(node)
    nodes.wait_until_ready()


def test_sigterm_ends_a_node_with_exit_code_0(folder: DemoFolder, nodes: Nodes) -> None:
    node = folder.nodes["registry"]
    start(nodes, node)
    process = nodes.process("registry")
    process.send_signal(signal.SIGTERM)
    assert process.wait(END_S) == 0
    said = [str(record["message"]) for record in records(node)]
    assert "SIGTERM: finishing open requests" in said
    assert f"{node.subscriber_id} is down" in said


def test_a_request_that_waits_is_answered_before_the_end(folder: DemoFolder, nodes: Nodes) -> None:
    registry, bap = folder.nodes["registry"], folder.nodes["bap"]
    start(nodes, registry, bap)  # no seller's platform: the trade stays pending
    body = {
        "bpp_id": BPP,
        "target_meter_id": BUYER_METER,
        "quantity_kwh": "10",
        "start": "2036-03-02T08:15:00Z",
        "end": "2036-03-02T09:15:00Z",
    }
    headers = {"Authorization": f"Bearer {bap.application_token}"}
    with ThreadPoolExecutor(1) as threads, httpx.Client(timeout=60, headers=headers) as client:
        buying = threads.submit(client.post, f"{bap.base_url}/trades?wait=300", json=body)
        while not client.get(f"{bap.base_url}/trades").json()["trades"]:
            assert not buying.done(), buying.result().text
        process = nodes.process("bap")
        process.send_signal(signal.SIGTERM)
        answer = buying.result(END_S)
        assert answer.status_code == 202
        assert answer.json()["status"] == "PENDING"
        assert process.wait(END_S) == 0


def test_a_node_ends_when_its_parent_is_gone(folder: DemoFolder, nodes: Nodes) -> None:
    start(nodes, folder.nodes["registry"])
    process = nodes.process("registry")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(END_S) == 0


def test_a_port_in_use_stops_the_start(folder: DemoFolder, nodes: Nodes) -> None:
    start(nodes, folder.nodes["registry"])
    other = folder.nodes["bap"]
    ports = {name: int(node.base_url.rpartition(":")[2]) for name, node in folder.nodes.items()}
    text = other.config.read_text()
    other.config.write_text(text.replace(str(ports["bap"]), str(ports["registry"])))
    nodes.start(other)
    assert nodes.process("bap").wait(END_S) == 1
    assert "address already in use" in other.log.read_text()
    with pytest.raises(DemoError, match=r"log of bap: .*bap\.log"):
        nodes.check()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param(("roles:", "rolls: 1\n  roles:"), "node.rolls", id="unknown key"),
        pytest.param(("keys/bap.seed", "keys/none.seed"), "none.seed", id="no key"),
        pytest.param(("keys/bap.tokens.yaml", "network.yaml"), "tokens file", id="no tokens"),
    ],
)
def test_what_stops_the_start_is_one_line(
    folder: DemoFolder, change: tuple[str, str], word: str
) -> None:
    config = folder.nodes["bap"].config
    config.write_text(config.read_text().replace(*change))
    ran = served(config)
    assert ran.returncode == 1
    assert ran.stdout == ""
    line = ran.stderr.splitlines()[-1]
    assert word in line
    assert "Traceback" not in ran.stderr


def test_a_genesis_that_cannot_be_used_stops_the_start(folder: DemoFolder) -> None:
    node = folder.nodes["grid_operator"]
    file = folder.path / "genesis.yaml"
    file.write_text(file.read_text().replace("currency: USD", "currency: ZZZ"))
    ran = served(node.config)
    assert ran.returncode == 1
    assert "INVALID_INPUT" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_logs_name_messages_and_hold_no_personal_data(folder: DemoFolder, nodes: Nodes) -> None:
    start(nodes, *folder.nodes.values())
    with PurchaseScript(folder, lambda who, what: None) as script:
        script.set_up()
        window = script.window()
        script.offer(window)
        transaction_id = script.buy(window)
    nodes.stop()
    bpp = records(folder.nodes["bpp"])
    steps = [record for record in bpp if record.get("transaction_id") == transaction_id]
    assert {"discover", "select", "init", "confirm", "on_confirm"} <= {r["action"] for r in steps}
    assert all({"time", "level", "message", "message_id"} <= record.keys() for record in steps)
    whole = "".join(node.log.read_text() for node in folder.nodes.values())
    secrets = [node.application_token for node in folder.nodes.values()]
    secrets += ["meter-roof-7", "meter-home-3", "buyer-1", "seller-1", "pricePerKWh", "Lane 4"]
    secrets += [file.read_text().strip() for file in (folder.path / "keys").glob("*.seed")]
    assert [one for one in secrets if one in whole] == []


def test_tools_beside_a_live_ledger(folder: DemoFolder, nodes: Nodes) -> None:
    start(nodes, *folder.nodes.values())
    grid = folder.nodes["grid_operator"]
    database = f"sqlite:///{grid.database}"
    with PurchaseScript(folder, lambda who, what: None) as script:
        script.set_up()

    verified = p2ptrade("ledger", "verify", "--database", database, "--json")
    assert verified.returncode == 0, verified.stderr
    audit = json.loads(verified.stdout)
    assert audit["ok"] is True
    assert audit["entries"] == 12  # 2 of genesis, 10 of the set-up

    treasurer = ("--node", grid.base_url, "--token", grid.operator_tokens["treasury.example"])
    paying = ("contracts", "call", "token", "deposit", "--arg", "to=buyer-1", "--arg", "amount=5")
    paid = p2ptrade(*paying, "--arg", "external_reference=bank-2", *treasurer)
    assert paid.returncode == 0, paid.stderr
    assert "Deposited" in paid.stdout
    twice = p2ptrade(*paying, "--arg", "external_reference=bank-2", *treasurer)
    assert (twice.returncode, twice.stdout) == (1, "")
    assert "DUPLICATE_REFERENCE" in twice.stderr

    seed = folder.path / "keys" / "bap.seed"
    signing = ("--node", grid.base_url, "--subscriber", "bap.buyer.example")
    signed = (*signing, "--key-id", "k1", "--seed-file", str(seed))
    asked = ("contracts", "call", "token", "balance_of", "--arg", "user=buyer-1")
    read = p2ptrade(*asked, "--arg", "asset=USD", *signed)
    assert json.loads(read.stdout) == {"posted": "25.00", "held": "0.00", "available": "25.00"}

    regulator = ("--node", grid.base_url, "--token", grid.operator_tokens["rec.example"])
    state = json.loads(p2ptrade("contracts", "state", "--json", *regulator).stdout)
    assert (state["seq"], state["totals"]["cash"]) == (12, "25.00")
    events = p2ptrade("contracts", "events", "--json", *regulator).stdout.splitlines()
    names = [json.loads(event)["name"] for event in events]
    assert (names[0], names[-1]) == ("Initialized", "Deposited")

    healthy = p2ptrade("doctor", "--config", str(grid.config), "--json")
    checks = [json.loads(line) for line in healthy.stdout.splitlines()]
    assert {one["check"] for one in checks} == {
        *("database", "keys", "registry", "peers", "clock", "schemas", "roots"),
    }
    assert [one for one in checks if not one["ok"]] == []
    assert healthy.returncode == 0


def test_the_doctor_names_what_is_wrong(folder: DemoFolder) -> None:
    node = folder.nodes["bpp"]
    os.chmod(folder.path / "keys" / "bpp.seed", 0o644)  # noqa: PTH101 - as a user would
    ran = p2ptrade("doctor", "--config", str(node.config))
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    assert any(line.startswith("FAIL keys") and "chmod 600" in line for line in lines)
    assert any(line.startswith("FAIL registry") for line in lines)  # it does not run
    assert any(line.startswith("ok   database") for line in lines)


def test_the_doctor_sees_a_key_that_the_registry_does_not_list(folder: DemoFolder) -> None:
    config = folder.nodes["bpp"].config
    settings = config.read_text().replace("kind: lookup", "kind: static\n  file: network.yaml")
    config.write_text(settings.replace("keys/bpp.seed", "keys/bap.seed"))
    ran = p2ptrade("doctor", "--config", str(config))
    assert ran.returncode == 1
    assert "lists another public key" in ran.stdout


def test_a_changed_journal_entry_is_named(folder: DemoFolder, nodes: Nodes) -> None:
    start(nodes, folder.nodes["registry"], folder.nodes["grid_operator"])
    with PurchaseScript(folder, lambda who, what: None) as script:
        script.set_up()
    nodes.stop()
    database = folder.nodes["grid_operator"].database
    connection = sqlite3.connect(database)
    (body,) = connection.execute("SELECT body FROM ledger_entries WHERE seq = 10").fetchone()
    changed = bytes(body).replace(b"20000000", b"30000000")
    assert changed != bytes(body)
    connection.execute("UPDATE ledger_entries SET body = ? WHERE seq = 10", (changed,))
    connection.commit()
    connection.close()
    ran = p2ptrade("ledger", "verify", "--database", f"sqlite:///{database}")
    assert ran.returncode == 1
    assert "first bad     entry 10: " in ran.stdout or "first bad     entry 11: " in ran.stdout


def test_a_node_that_does_not_answer_is_named() -> None:
    ran = p2ptrade("contracts", "state", "--node", "http://127.0.0.1:1", "--token", "x")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "http://127.0.0.1:1 does not answer" in ran.stderr


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("not a database, but long enough to look like a file of something" * 20)
    for name in ("text.db", "none.db"):
        ran = p2ptrade("ledger", "verify", "--database", f"sqlite:///{tmp_path / name}")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "Traceback" not in ran.stderr
