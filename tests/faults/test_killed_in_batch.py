"""A node is killed, for real, while many agreements or the orders of an epoch are being settled.

However often that happens: each restart finds a ledger that verifies and nothing half done, and in
the end everything is settled, byte for byte as without any kill.
"""

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapter.service.ports import UnitOfWork
from adapter.settlement import balance
from adapter.store.audit import audit_sqlite
from adapter.store.sqlite import SqliteStore
from tests.unit.settlement.world import EPOCH, NOON, Market, settled_with

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
AGREEMENTS = 60
ORDERS = 120
"""Asks, and as many bids."""


@dataclass(frozen=True)
class Case:
    """A database in which much is due at an instant."""

    path: Path
    now_ms: int


def written(path: Path, set_up: Callable[[Market], None]) -> Case:
    """Write a ledger in one unit of work and return it with the time at its end."""

    async def write() -> int:
        store = SqliteStore(path)

        def unit(uow: UnitOfWork) -> int:
            world = Market(uow.ledger)
            set_up(world)
            return world.now

        now = await store.write(unit)
        await store.close()
        return now

    return Case(path, asyncio.run(write()))


def many_agreements(world: Market) -> None:
    """Agree on 60 times 0.25 kWh at 0.15 and read both meters: all of it is due."""
    world.set_up(funds=20)
    for number in range(AGREEMENTS):
        world.cap("m-buy", "BUY", 100)
        world.agree(f"k-{number}", energy_amount_kwh="0.25")
    world.now = world.end
    for start in range(world.start, world.end, EPOCH):
        world.submit("m-sell", start, generated="3.75")
        world.submit("m-buy", start, consumed=15)


def full_book(world: Market) -> None:
    """Enter 120 asks of 0.5 kWh at 0.20 to 0.219 and 120 bids of 0.1; the epoch has ended."""
    world.set_up(settled_with(max_orders_per_user_epoch=1_000), funds=1_000)
    world.meter("m-big", "bob", kw=10_000)
    world.now = NOON + EPOCH
    world.submit("m-big", NOON, generated=200)
    for number in range(ORDERS):
        price = f"0.{200 + number % 20}"
        args = {"energy_amount": "0.5", "meter_id": "m-big"}
        world.do("trading.create_sell_order", "bpp", "bob", price_per_unit=price, **args)
        bid = {"energy_amount": "0.1", "max_price": "0.25", "meter_id": "m-buy"}
        world.do("trading.create_buy_order", "bap", "alice", **bid)
    world.now += EPOCH


@contextmanager
def settler(case: Case) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.child_settler", str(case.path), str(case.now_ms)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process


def run_until(case: Case, lines: int, more_s: float = 0) -> list[str]:
    """Kill the settler after so many lines and a little more; return all that it said."""
    with settler(case) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(more_s)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


def run_to_the_end(case: Case) -> None:
    with settler(case) as process:
        assert process.stdout is not None
        said = process.stdout.read().split()
    assert said[-1] == "."
    assert process.returncode == 0


def undisturbed(case: Case) -> str:
    """Return the last hash of a run without kills, on a copy."""
    copied = Case(case.path.with_name("copy.db"), case.now_ms)
    shutil.copyfile(case.path, copied.path)
    run_to_the_end(copied)
    return head(copied)


def head(case: Case) -> str:
    return entries(case)[-1][0]


def entries(case: Case) -> list[tuple[str, dict[str, object]]]:
    """Return hash and document of each entry."""
    with closing(sqlite3.connect(case.path)) as connection:
        rows = connection.execute("SELECT hash, body FROM ledger_entries ORDER BY seq").fetchall()
    return [(link, json.loads(body)) for link, body in rows]


def check_whole(case: Case, acknowledged: list[str]) -> None:
    """Check that the ledger verifies, and that what was called durable is there."""
    audit = audit_sqlite(case.path)
    assert audit.verdict.ok, audit.verdict
    done = {document["cmd"] for _, document in entries(case)}
    assert {line[1:] for line in acknowledged if line.startswith("!")} <= done


def check_both_legs_or_none(case: Case) -> int:
    """Check that exactly the settled deliveries have a settlement entry; return how many."""
    with closing(sqlite3.connect(case.path)) as connection:
        rows = connection.execute("SELECT body FROM ledger_rows WHERE kind = 'transaction'")
        states = [json.loads(body)["state"] for (body,) in rows]
        posted = dict(connection.execute("SELECT id, posted FROM ledger_accounts"))
    assert set(states) <= {"DELIVERED", "SETTLED"}
    settled = states.count("SETTLED")
    calls = [document["function"] for _, document in entries(case)]
    assert calls.count("settle_payment") == settled
    # Each moves 0.25 kWh, and 0.0375 + 0.00625 for it.
    assert posted["alice|GRID|MAIN"] == settled * 250_000
    assert posted["bob|USD|MAIN"] == settled * 37_500
    assert posted.get("grid|USD|WHEELING", 0) == settled * 6_250
    return settled


def test_agreements_due_at_once_outlive_kills(tmp_path: Path) -> None:
    case = written(tmp_path / "ledger.db", many_agreements)
    expected = undisturbed(case)
    settled = []
    # After the first line, in the middle of recording, then of settling: 240 lines in all.
    for lines, more_s in ((1, 0), (61, 0), (70, 0.002), (3, 0), (90, 0.001), (5, 0.004), (2, 0)):
        said = run_until(case, lines, more_s)
        check_whole(case, said)
        settled.append(check_both_legs_or_none(case))
    assert settled == sorted(settled)
    run_to_the_end(case)
    check_whole(case, [])
    assert check_both_legs_or_none(case) == AGREEMENTS
    assert head(case) == expected


def test_an_epoch_is_cleared_whole_or_not_at_all(tmp_path: Path) -> None:
    case = written(tmp_path / "ledger.db", full_book)
    expected = undisturbed(case)
    before = len(entries(case))
    for more_s in (0, 0.003, 0.008, 0.015, 0.03):
        said = run_until(case, 1, more_s)
        check_whole(case, said)
        cleared = [d for _, d in entries(case)[before:] if d.get("blocks")]
        assert len(cleared) <= 1
        check_book(case, is_cleared=bool(cleared))
    run_to_the_end(case)
    check_whole(case, [])
    check_book(case, is_cleared=True)
    assert head(case) == expected


def check_book(case: Case, *, is_cleared: bool) -> None:
    """Check that all trades of the book are settled, or that none is and all holds stand."""
    with closing(sqlite3.connect(case.path)) as connection:
        query = "SELECT id, posted, held FROM ledger_accounts"
        accounts = {name: rest for name, *rest in connection.execute(query)}
    bought = 12_000_000 if is_cleared else 0  # 120 bids of 0.1 kWh at 0.25, above all asks
    assert accounts["alice|GRID|MAIN"][0] == bought
    # The asks hold 60 kWh of 200; the clearing sells 12 of them and releases the rest.
    assert accounts["bob|GRID|MAIN"] == [200_000_000 - bought, 0 if is_cleared else 60_000_000]
    assert (accounts["alice|USD|MAIN"][1] > 0) is not is_cleared


def test_balances_are_those_of_the_hand_sums(tmp_path: Path) -> None:
    case = written(tmp_path / "ledger.db", many_agreements)
    run_to_the_end(case)

    async def read() -> list[int]:
        store = SqliteStore(case.path)
        pairs = (("alice", "GRID"), ("alice", "USD"), ("bob", "USD"), ("grid", "USD"))

        def query(uow: UnitOfWork) -> list[int]:
            return [balance(uow.ledger, owner, asset).posted for owner, asset in pairs]

        found = await store.read(query)
        await store.close()
        return found

    # 60 × 0.25 kWh; 20 - 60 × 0.04375 = 17.375; 60 × 0.0375 = 2.25; 60 × 0.00625 = 0.375.
    assert asyncio.run(read()) == [15_000_000, 17_375_000, 2_250_000, 375_000]
