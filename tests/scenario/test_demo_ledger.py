"""The ledger that `p2ptrade demo --keep` leaves: it verifies, and a flipped byte is named."""

import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)


def run(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "adapter", *words],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def verified(database: Path) -> tuple[int, dict[str, Any]]:
    ran = run("ledger", "verify", "--database", f"sqlite:///{database}", "--json", folder=Path())
    document: dict[str, Any] = json.loads(ran.stdout)
    return ran.returncode, document


def test_a_flipped_byte_in_the_journal_of_the_demo_is_named(tmp_path: Path) -> None:
    made = run("demo", "--keep", "--json", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    [database] = tmp_path.rglob("grid_operator.db")
    code, document = verified(database)
    assert (code, document["ok"]) == (0, True)
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT seq, body FROM ledger_entries ORDER BY seq").fetchall()
    chance = random.Random(7)
    for seq, body in (rows[0], chance.choice(rows[1:-1]), rows[-1]):
        position = chance.randrange(len(body))
        flipped = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
        write(database, seq, flipped)
        code, document = verified(database)
        assert (code, document["ok"], document["bad_seq"]) == (1, False, seq), document
        write(database, seq, body)
    assert verified(database)[0] == 0
    contract_id = json.loads(made.stdout)["contract_id"]
    url = f"sqlite:///{database}"
    proof = run("ledger", "prove", contract_id, "--database", url, folder=tmp_path)
    assert proof.returncode == 0, proof.stderr  # the window's end has anchored its beginning


def write(database: Path, seq: int, body: bytes) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE ledger_entries SET body = ? WHERE seq = ?", (body, seq))
