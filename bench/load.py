"""Whole trades for a while: bought, delivered, metered, settled; and whether all of it adds up.

    python -m bench load [--seconds S] [--rate R] [--in-flight N] [--round S] [--homes N] [--json]

The three nodes of the `trade` benchmark. In each round trades of 1 kWh are bought for a delivery
window of their own, then the clock of all nodes is moved behind it, the meters' signed readings
are submitted, and the round is over once every trade is COMPLETED at the buyer's platform. At the
end the ledger is verified from its first entry, balances are summed, and no message may be left.
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from adapter.demo.folder import CURRENCY, GRID_OPERATOR, REGULATOR
from adapter.store.audit import audit_sqlite
from bench.buyer import Lags, buy_one, quantile
from bench.nodes import PLENTY, PRICE, TRADING, WHEELING, Network, Window, running, submit_readings

COMPLETE_S = 60
"""How long a round may take to be settled."""
POLL_S = 0.1
AFTER_WINDOW_MS = 2_000


class LoadError(Exception):
    """Something did not add up; one line."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much for how long."""

    seconds: int
    """Of buying; settling comes on top."""
    rate: int
    """Trades begun per second; 0: as many as go."""
    in_flight: int
    """Trades under way at most."""
    round_s: int
    """Seconds of buying for one delivery window."""
    homes: int
    """Buyers, and as many sellers."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One delivery window. Milliseconds and megabytes."""

    trades: int
    trades_per_s: float
    p50_ms: float
    p99_ms: float
    outbox_p50_ms: float
    outbox_p99_ms: float
    settled_after_s: float
    """From the first reading until the buyer's platform knew the last trade as COMPLETED."""
    memory_mb: dict[str, float]


def run(load: Load, folder: Path) -> dict[str, Any]:
    """Return what happened.

    Args:
        load: how much.
        folder: an empty one.

    Raises:
        LoadError: the end does not add up.
        RefusedError: a trade was not confirmed.
    """
    rounds: list[RoundReport] = []
    sold: Counter[int] = Counter()
    with running(folder, homes=load.homes, moved_clock=True) as network:
        begun = network.nodes.memory_mb()
        lags = Lags(network)
        for number in range(-(-load.seconds // load.round_s)):
            rounds.append(_round(network, load, number, lags, sold))
        _check_states(network, sum(sold.values()))
        _check_balances(network, sold)
        unsent = lags.unsent()
        databases = {name: network.folder.nodes[name].database for name in TRADING}
    audit = audit_sqlite(databases["grid_operator"])
    if not audit.verdict.ok:
        msg = f"the ledger does not verify: {audit.verdict}"
        raise LoadError(msg)
    if unsent:
        msg = f"{unsent} messages were not delivered"
        raise LoadError(msg)
    return {
        "load": asdict(load),
        "trades": sum(sold.values()),
        "completed": sum(sold.values()),
        "ledger_verified": True,
        "unsent": unsent,
        "memory_mb_at_start": _rounded(begun),
        "rounds": [asdict(one) for one in rounds],
    }


def _round(
    network: Network, load: Load, number: int, lags: Lags, sold: Counter[int]
) -> RoundReport:
    window, name = network.next_window(), f"roof-w{number}"
    network.publish(window, name)
    first = sum(sold.values())
    begin = time.perf_counter()
    each_s = asyncio.run(_buy_for(network, window, name, load, first))
    seconds = time.perf_counter() - begin
    here = Counter((first + place) % load.homes for place in range(len(each_s)))
    sold.update(here)
    network.withdraw(name)
    _move_clock(network, window)
    begin = time.perf_counter()
    submit_readings(network, window, [here[home] for home in range(load.homes)])
    _wait_until_settled(network, sum(sold.values()))
    settled_after = time.perf_counter() - begin
    found = lags.since()
    return RoundReport(
        trades=len(each_s),
        trades_per_s=round(len(each_s) / seconds, 1),
        p50_ms=round(quantile(each_s, 50) * 1e3, 1),
        p99_ms=round(quantile(each_s, 99) * 1e3, 1),
        outbox_p50_ms=round(quantile(found, 50), 1),
        outbox_p99_ms=round(quantile(found, 99), 1),
        settled_after_s=round(settled_after, 2),
        memory_mb=_rounded(network.nodes.memory_mb()),
    )


async def _buy_for(
    network: Network, window: Window, name: str, load: Load, first: int
) -> list[float]:
    """Return what each trade of a round took, in seconds."""
    free = asyncio.Semaphore(load.in_flight)
    running_trades: list[asyncio.Task[float]] = []

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> float:
            try:
                return (await buy_one(network, window, number, session, name))[1]
            finally:
                free.release()

        begin = time.perf_counter()
        while (passed := time.perf_counter() - begin) < load.round_s:
            ahead = len(running_trades) / load.rate - passed if load.rate else 0
            if ahead > 0:
                await asyncio.sleep(min(ahead, load.round_s - passed))
                continue
            await free.acquire()
            running_trades.append(asyncio.create_task(one(first + len(running_trades))))
            if running_trades[0].done():
                running_trades[0].result()  # a refusal ends the run early
        return list(await asyncio.gather(*running_trades))


def _move_clock(network: Network, window: Window) -> None:
    """Set the clock of all nodes behind the window, when no message is under way."""
    _wait_until(lambda: Lags(network).unsent() == 0, "messages are still under way")
    network.clock_behind(window.end_ms + AFTER_WINDOW_MS)


def _wait_until_settled(network: Network, trades: int) -> None:
    def is_settled() -> bool:
        return _states(network, "bap")["COMPLETED"] == trades and Lags(network).unsent() == 0

    _wait_until(is_settled, "the trades are not all settled")


def _wait_until(is_so: Any, why: str) -> None:
    end = time.monotonic() + COMPLETE_S
    while not is_so():
        if time.monotonic() > end:
            msg = f"{why} after {COMPLETE_S} s"
            raise LoadError(msg)
        time.sleep(POLL_S)


def _check_states(network: Network, trades: int) -> None:
    for name in TRADING:
        found = _states(network, name)
        if found != {"COMPLETED": trades}:
            msg = f"{name}: of {trades} trades {dict(found)}"
            raise LoadError(msg)


def _states(network: Network, name: str) -> Counter[str]:
    uri = f"{network.folder.nodes[name].database.as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        query = "SELECT state, count(*) FROM trade GROUP BY state"
        return Counter(dict(connection.execute(query).fetchall()))


def _check_balances(network: Network, sold: Counter[int]) -> None:
    """Compare each account with what its trades must have brought.

    Raises:
        LoadError: one differs.
    """
    total = sum(sold.values())
    expected: dict[tuple[str, str], Decimal] = {
        (GRID_OPERATOR, CURRENCY): total * Decimal(WHEELING)
    }
    for home in range(network.homes):
        count = sold[home]
        paid = count * (Decimal(PRICE) + Decimal(WHEELING))
        expected[f"buyer-{home}", CURRENCY] = Decimal(PLENTY) - paid
        expected[f"seller-{home}", CURRENCY] = count * Decimal(PRICE)
        expected[f"buyer-{home}", "GRID"] = Decimal(count)
        expected[f"seller-{home}", "GRID"] = Decimal(0)
    with network.client("grid_operator", REGULATOR) as regulator:
        for (user, asset), amount in expected.items():
            answer = regulator.read("token", "balance_of", {"user": user, "asset": asset})
            balance = answer["result"]
            if Decimal(balance["posted"]) != amount or Decimal(balance["held"]) != 0:
                msg = f"{user} has {balance} {asset}, expected {amount} and none held"
                raise LoadError(msg)


def _rounded(sizes: dict[str, float]) -> dict[str, float]:
    return {name: round(size, 1) for name, size in sizes.items()}


def main(arguments: Sequence[str]) -> int:
    """Run the load that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench load")
    parser.add_argument("--seconds", type=int, default=30, help="of buying")
    parser.add_argument("--rate", type=int, default=0, help="trades per second; 0: all that go")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--round", type=int, default=10, help="seconds per delivery window")
    parser.add_argument("--homes", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    load = Load(given.seconds, given.rate, given.in_flight, given.round, given.homes)
    with tempfile.TemporaryDirectory() as folder:
        result = run(load, Path(folder))
    sys.stdout.write((json.dumps(result) if given.json else _text(result)) + "\n")
    return 0


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['trades']} trades, all COMPLETED, ledger verified, balances exact, none unsent",
        f"memory at the start: {result['memory_mb_at_start']} MB",
    ]
    for number, one in enumerate(result["rounds"]):
        lines.append(
            f"round {number}: {one['trades_per_s']}/s, p50 {one['p50_ms']} ms, p99 {one['p99_ms']} "
            f"ms, outbox p50 {one['outbox_p50_ms']} p99 {one['outbox_p99_ms']} ms, settled after "
            f"{one['settled_after_s']} s, memory {one['memory_mb']} MB"
        )
    return "\n".join(lines)
