"""`p2ptrade demo`, run for real: four processes, one trade, every promised key and number."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from adapter.demo.processes import free_ports

pytestmark = pytest.mark.timeout(180)

COMMAND = [sys.executable, "-m", "adapter", "demo"]
BAP, BPP, GRID = "bap.buyer.example", "bpp.seller.example", "grid.operator.example"


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose temporary folder is `folder`."""
    return os.environ | {"TMPDIR": str(folder), "NO_COLOR": "1"}


def running_below(folder: Path) -> list[str]:
    """Return the command lines of processes that name something below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if any(str(folder).encode() in word for word in words):
            found.append(b" ".join(words).decode())
    return found


def demo(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *options],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_json_document_holds_what_is_promised(tmp_path: Path) -> None:
    ran = demo(tmp_path, "--json")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") == 1
    document = json.loads(ran.stdout)

    assert document["status"] == "COMPLETED"
    assert re.fullmatch(r"[0-9a-f-]{36}", document["transaction_id"])
    assert document["contract_id"]
    assert document["ledger_verified"] is True
    assert re.fullmatch(r"[0-9a-f]{64}", document["journal_root"])

    buyer, seller, operator = (
        document["parties"][role] for role in ("BUYER", "SELLER", "GRID_OPERATOR")
    )
    assert document["balances_before"] == {
        buyer: {"GRID": "0", "USD": "20.00"},
        seller: {"GRID": "0", "USD": "0.00"},
        operator: {"GRID": "0", "USD": "0.00"},
    }
    # 10 kWh x 0.15 = 1.50 to the seller, 10 kWh x 0.025 = 0.25 wheeling
    assert document["balances"] == {
        buyer: {"GRID": "10", "USD": "18.25"},
        seller: {"GRID": "0", "USD": "1.50"},
        operator: {"GRID": "0", "USD": "0.25"},
    }
    assert document["changes"] == {
        buyer: {"GRID": "10", "USD": "-1.75"},
        seller: {"GRID": "0", "USD": "1.50"},
        operator: {"GRID": "0", "USD": "0.25"},
    }
    flows = [(flow["from"], flow["to"], flow["amount"]) for flow in document["flows"]]
    assert flows == [("BUYER", "SELLER", "1.50"), ("BUYER", "GRID_OPERATOR", "0.25")]
    assert {(flow["bound"], flow["currency"]) for flow in document["flows"]} == {(True, "USD")}

    messages = document["messages"]
    assert [message["seq"] for message in messages] == list(range(1, 17))
    assert {message["signature"] for message in messages} == {"valid"}
    assert {message["ack"] for message in messages} == {"ACK"}
    assert all(message["ms"] > 0 for message in messages)
    path = [(message["from"], message["action"], message["to"]) for message in messages]
    assert path[:12] == [
        (BAP, "discover", BPP),
        (BPP, "on_discover", BAP),
        (BAP, "select", BPP),
        (BPP, "on_select", BAP),
        (BAP, "init", BPP),
        (BPP, "init", GRID),
        (GRID, "on_init", BPP),
        (BPP, "on_init", BAP),
        (BAP, "confirm", BPP),
        (BPP, "confirm", GRID),
        (GRID, "on_confirm", BPP),
        (BPP, "on_confirm", BAP),
    ]
    pushed = [(GRID, "on_status", BPP), (BPP, "on_status", BAP)] * 2
    assert sorted(path[12:]) == sorted(pushed)

    assert running_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_timeline_shows_the_same_and_keep_leaves_a_ledger_that_verifies(
    tmp_path: Path,
) -> None:
    ran = demo(tmp_path, "--keep")
    assert ran.returncode == 0, ran.stderr
    for part in ("16 signed messages", "●─", "1.50 USD", "+10", "-1.75", "18.25", "COMPLETED"):
        assert part in ran.stdout
    assert "\x1b" not in ran.stdout
    (folder,) = tmp_path.iterdir()
    assert f"kept: {folder}" in ran.stderr
    names = {path.name for path in folder.iterdir()}
    assert {"network.yaml", "genesis.yaml", "keys", "var", "logs"} <= names
    database = folder / "var" / "grid_operator.db"
    audit = subprocess.run(
        [*COMMAND[:-1], "ledger", "verify", "--database", f"sqlite:///{database}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert audit.returncode == 0, audit.stderr
    root = re.search(r"journal root +([0-9a-f]{64})", audit.stdout)
    assert root is not None
    assert root[1] in ran.stdout
    assert running_below(tmp_path) == []


def test_a_served_network_trades_until_it_is_ended(tmp_path: Path) -> None:
    first = consecutive_ports(4)
    with subprocess.Popen(
        [*COMMAND, "--serve", "--port", str(first)],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line.strip())
            if "Up until Ctrl-C" in line:
                break
        command = next(line for line in shown if line.startswith("curl") and " -d " in line)
        words = shlex.split(command)
        name, _, value = words[words.index("-H") + 1].partition(": ")
        body = json.loads(words[words.index("-d") + 1])
        bought = httpx.post(words[-1], json=body, headers={name: value}, timeout=60)
        assert bought.status_code == 201, bought.text
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert running_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def consecutive_ports(count: int) -> int:
    """Return the first of so many free ports in a row."""
    while True:
        (first,) = free_ports(1)
        with ExitStack() as opened:
            try:
                for port in range(first, first + count):
                    opened.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return first


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_demo_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "registers buyer-1" in line:
                break
        process.send_signal(number)
        _, errors = process.communicate()
    while running_below(tmp_path):
        continue  # nodes that lost their parent are finishing; the test's own limit ends this
    if number is not signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "all nodes are stopped" in errors
        assert list(tmp_path.iterdir()) == []


def test_a_failure_names_the_log_and_leaves_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'serve' in sys.argv or '--config' in sys.argv:\n"
        "    raise SystemExit('planted')\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    ran = subprocess.run(
        COMMAND,
        cwd=work,
        env=environment(work) | {"PYTHONPATH": str(broken)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ran.returncode == 1
    log = re.search(r"log of (\w+): (\S+\.log)", ran.stderr)
    assert log is not None, ran.stderr
    assert Path(log[2]).exists()
    assert "Traceback" not in ran.stderr
    assert running_below(work) == []
