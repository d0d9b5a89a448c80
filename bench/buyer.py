"""The buyer's application of the `trade` and `load` benchmarks: `POST /trades`, many at once."""

import asyncio
import itertools
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import aiohttp

from bench.nodes import OFFERS, TRADING, Network, Window

WAIT_S = 60
"""How long a trade may take."""
_LAGS = """
SELECT sent_us / 1000.0 - created_ms + took_us / 1000.0 FROM outbox
WHERE state = 'SENT' AND id > ? AND sent_us IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Bought:
    """Trades that were confirmed."""

    ids: list[str]
    """Transaction ids."""
    seconds: float
    """From the first to the last."""
    each_s: list[float]
    """What each took, from the call to the contract."""

    def quantile_s(self, percent: int) -> float:
        """Return how long `percent` of the trades took at most."""
        return quantile(self.each_s, percent)


def quantile(values: list[float], percent: int) -> float:
    """Return the value below which `percent` of the values lie."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


class RefusedError(Exception):
    """A trade that should have been confirmed was not; its answer."""


async def buy(network: Network, window: Window, numbers: range, in_flight: int) -> Bought:
    """Return the trades of those numbers, `in_flight` of them at a time.

    Raises:
        RefusedError: one was not confirmed.
    """
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        waiting = iter(numbers)
        begin = time.perf_counter()
        lanes = [_lane(network, window, waiting, session) for _ in range(in_flight)]
        lists = await asyncio.gather(*lanes)
        seconds = time.perf_counter() - begin
    done = list(itertools.chain.from_iterable(lists))
    return Bought([one for one, _ in done], seconds, [took for _, took in done])


async def buy_one(
    network: Network,
    window: Window,
    number: int,
    session: aiohttp.ClientSession,
    name: str = OFFERS,
) -> tuple[str, float]:
    """Return the transaction id of a trade and the seconds that it took.

    Raises:
        RefusedError: it was not confirmed.
    """
    bap = network.folder.nodes["bap"]
    begin = time.perf_counter()
    async with session.post(
        f"{bap.base_url}/trades?wait={WAIT_S}",
        json=network.purchase(window, number, name),
        headers={"authorization": f"Bearer {bap.application_token}"},
    ) as response:
        answer = await response.json()
        if response.status != 201:
            raise RefusedError(f"{response.status}: {answer}"[:600])
    return str(answer["transaction_id"]), time.perf_counter() - begin


async def _lane(
    network: Network, window: Window, waiting: Iterator[int], session: aiohttp.ClientSession
) -> list[tuple[str, float]]:
    return [await buy_one(network, window, number, session) for number in waiting]


class Lags:
    """How long messages lay in the outboxes, from the commit to the peer's answer."""

    def __init__(self, network: Network) -> None:
        """Count from here."""
        self._network = network
        self._seen = {name: self._last(name) for name in TRADING}

    def since(self) -> list[float]:
        """Return the milliseconds of each message that was queued and sent since the last call."""
        found: list[float] = []
        for name in TRADING:
            with closing(self._open(name)) as connection:
                found += [lag for (lag,) in connection.execute(_LAGS, (self._seen[name],))]
            self._seen[name] = self._last(name)
        return found

    def unsent(self) -> int:
        """Return how many messages wait, or will never be sent, in all nodes."""
        query = "SELECT count(*) FROM outbox WHERE state <> 'SENT'"
        return sum(self._one(name, query) for name in TRADING)

    def _last(self, name: str) -> int:
        return self._one(name, "SELECT coalesce(max(id), 0) FROM outbox")

    def _one(self, name: str, query: str) -> int:
        with closing(self._open(name)) as connection:
            return int(connection.execute(query).fetchone()[0])

    def _open(self, name: str) -> sqlite3.Connection:
        database = self._network.folder.nodes[name].database
        return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
