"""The simulator itself: it replays, it finds what is broken, and it says how to see it again."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from adapter.settlement import Command, LedgerStore, Receipt, execute
from adapter.settlement.work import Work
from adapter.store.sqlite_connection import Connection
from tests.sim import simulation
from tests.sim.database import Faulty
from tests.sim.simulation import SimulationError, simulate

ROOT = Path(__file__).parents[2]
FAILED = Path(__file__).parent / "failed_seeds.txt"


def failed_seeds() -> list[tuple[int, int]]:
    lines = [line.split() for line in FAILED.read_text().splitlines() if not line.startswith("#")]
    return [(int(line[0]), int(line[1])) for line in lines if line]


@pytest.mark.parametrize(("seed", "steps"), failed_seeds() or [(0, 60)])
def test_seeds_that_ever_failed_do_not_fail_again(seed: int, steps: int) -> None:
    simulate(seed, steps)


@pytest.mark.parametrize("seed", [3, 1_000_003])
def test_a_seed_gives_the_same_run_each_time(seed: int) -> None:
    first, second = simulate(seed, 30), simulate(seed, 30)
    assert first == second
    assert first.counts["entries"] > 30


def test_a_seed_gives_the_same_run_in_another_process() -> None:
    outputs = set()
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.sim", "--seed", "11", "--steps", "30"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
        outputs.add(done.stdout.decode())
    (output,) = outputs
    assert output.startswith("head ")
    assert simulate(11, 30).head in output


def test_other_seeds_give_other_runs() -> None:
    assert simulate(1, 20).trace != simulate(2, 20).trace


def first_failure() -> str:
    """Return what the first seed that fails says."""
    for seed in range(20):
        try:
            simulate(seed, 30)
        except SimulationError as error:
            return str(error)
    return ""


def forgetful(work: Work, hold_id: str, *_: object) -> int:
    """Release a hold without saying so in the journal."""
    return work.known_hold(hold_id).amount


def test_a_hold_that_is_never_released_is_found_and_the_seed_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Work, "void", forgetful)
    assert "again: python -m tests.sim --seed" in first_failure()


def test_a_command_done_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_replies(
        ledger: LedgerStore,
        command: Command,
        actor: str,
        now_ms: int,
        *,
        on_behalf_of: str | None = None,
    ) -> Receipt:
        """Execute under a fresh id, as if no reply had been kept."""
        number = ledger.head()
        assert number is not None
        fresh = Command(
            f"{command.id}:{number.seq}", command.contract, command.function, command.args
        )
        return execute(ledger, fresh, actor, now_ms, on_behalf_of=on_behalf_of)

    monkeypatch.setattr(simulation, "execute", forget_replies)
    assert "is done again" in first_failure()


def test_a_unit_that_is_committed_by_half_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Faulty.executemany

    def by_halves(connection: Faulty, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        cursor = whole(connection, sql, rows)
        if "INTO ledger_accounts" in sql:
            Connection.control(connection, "COMMIT")
            Connection.control(connection, "BEGIN IMMEDIATE")
        return cursor

    monkeypatch.setattr(Faulty, "executemany", by_halves)
    assert "fails at step" in first_failure()
