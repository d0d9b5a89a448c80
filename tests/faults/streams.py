"""Peers that post messages all the time, and what the database must hold of them after a fault."""

import asyncio
from typing import Any

import psycopg

from adapter.protocol import strict_json
from tests.fakes.network import Network
from tests.fakes.stranger import Reply, Stranger

WAIT_S = 100
STREAMS, ENOUGH = 8, 60
"""Peers that post at once, and answers before a fault and again after it."""


class Load:
    """Peers that post messages all the time and repeat what was not acknowledged."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.buyer = Stranger(network)
        self.acknowledged: dict[str, Reply] = {}
        self.sent: dict[str, bytes] = {}
        self.refused: list[Reply] = []
        self._enough = False
        self._streams: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Post until there are enough answers, and go on."""
        self._streams = [asyncio.create_task(self._stream(number)) for number in range(STREAMS)]
        await self._until_acknowledged(ENOUGH)

    async def until_refused(self) -> None:
        """Return once the fault is felt by all."""
        async with asyncio.timeout(WAIT_S):
            while len(self.refused) < STREAMS:
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Post until there are enough new answers, and stop."""
        await self._until_acknowledged(len(self.acknowledged) + ENOUGH)
        self._enough = True
        await asyncio.gather(*self._streams)

    async def check(self) -> None:
        """Check that all that was acknowledged is stored once, with the answer that was given."""
        answers = {(reply.status, reply.code) for reply in self.refused}
        assert answers == {(503, "NET_DOWNSTREAM_UNAVAILABLE")}
        assert all("retry-after" in reply.headers for reply in self.refused)
        stored = self._rows(
            "SELECT t.transaction_id, i.reply FROM inbox i JOIN wire_transaction t"
            " ON t.number = i.transaction_number WHERE t.transaction_id LIKE 'T-%'",
        )
        assert sorted(one for one, _ in stored) == sorted(self.acknowledged)
        assert {one: bytes(reply) for one, reply in stored} == {
            one: reply.raw for one, reply in self.acknowledged.items()
        }
        queued = self._rows(
            "SELECT count(*), count(DISTINCT o.message_id) FROM outbox o JOIN wire_transaction t"
            " ON t.number = o.transaction_number WHERE t.transaction_id LIKE 'T-%'"
        )
        assert queued == [(len(stored), len(stored))]
        transaction_id, raw = next(iter(self.sent.items()))
        again = await self.buyer.post_bytes("discover", raw)
        assert again.raw == self.acknowledged[transaction_id].raw

    async def _stream(self, number: int) -> None:
        count = 0
        while not self._enough:
            transaction_id = f"T-{number}-{count}"
            request = self.buyer.request("discover", transaction_id=transaction_id)
            raw = strict_json.encode(request | {"message": {"text_search": "solar"}})
            reply = await self.buyer.post_bytes("discover", raw)
            while reply.status != 200:
                self.refused.append(reply)
                await asyncio.sleep(0.02)
                reply = await self.buyer.post_bytes("discover", raw)
            self.acknowledged[transaction_id], self.sent[transaction_id] = reply, raw
            count += 1

    async def _until_acknowledged(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.acknowledged) < count:
                await asyncio.sleep(0.01)

    def _rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.network.bpp.settings.database.url.url) as connection:
            return connection.execute(query.encode()).fetchall()
