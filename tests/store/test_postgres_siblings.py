"""Processes of one node that tell each other of commits and take turns, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from adapter.domain.errors import WireError
from adapter.service.siblings import News
from adapter.store.postgres_siblings import NEWS_BYTES, PostgresSiblings
from tests.fakes.postgres import PostgresServer

WAIT_S = 50


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.lent() as lent:
        yield lent


class Sibling:
    """One process's worth: what it has heard, in order."""

    def __init__(self, url: str) -> None:
        self.siblings = PostgresSiblings(url)
        self.heard: list[News] = []

    @property
    def transactions(self) -> list[str]:
        return [one for news in self.heard for one in news.transaction_ids or ()]

    @property
    def gaps(self) -> int:
        return sum(news.transaction_ids is None for news in self.heard)

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not happened():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(*urls: str) -> AsyncIterator[list[Sibling]]:
    opened = [Sibling(url) for url in urls]
    tasks = [asyncio.create_task(one.siblings.run(one.heard.append)) for one in opened]
    for one in opened:
        await one.until(lambda one=one: one.gaps == 1)  # type: ignore[misc]
    yield opened
    for one in opened:
        await one.siblings.stop()
    await asyncio.gather(*tasks)


async def test_others_hear_what_one_tells_and_it_does_not(url: str) -> None:
    async with listening(url, url, url) as (first, second, third):
        first.siblings.tell("t1")
        first.siblings.tell("t2", is_help_wanted=True)
        for one in (second, third):
            await one.until(lambda one=one: one.transactions == ["t1", "t2"])  # type: ignore[misc]
        assert [news.is_help_wanted for news in second.heard[1:]][-1]
        assert first.transactions == []


@pytest.mark.parametrize(
    ("fill", "most"),
    [
        pytest.param("0", 10, id="plain"),
        pytest.param('"', 15, id="quotes, which count twice"),
        pytest.param("\\", 15, id="backslashes"),
    ],
)
async def test_much_news_at_once_arrives_whole_and_once(url: str, fill: str, most: int) -> None:
    told = [f"{number:{fill}>128}" for number in range(2 * NEWS_BYTES // 64)]
    async with listening(url, url) as (first, second):
        for transaction_id in (*told, *told[1:]):  # the first is on its way by then
            first.siblings.tell(transaction_id)
        await second.until(lambda: len(second.transactions) >= len(told))
    assert second.transactions == told
    assert second.gaps == 1  # nothing was refused
    assert len(second.heard) < most  # a few notifications, not one for each


async def test_what_is_told_last_goes_out_before_the_end(url: str) -> None:
    async with listening(url) as (stays,):
        async with listening(url) as (leaves,):
            leaves.siblings.tell("t1")
            leaves.siblings.tell("t2")
        await stays.until(lambda: stays.transactions == ["t1", "t2"])


async def test_news_of_another_schema_are_not_heard(postgres_server: PostgresServer) -> None:
    with postgres_server.lent() as one, postgres_server.lent() as other:
        async with listening(one, other, one) as (first, stranger, second):
            first.siblings.tell("t1")
            await second.until(lambda: second.transactions == ["t1"])
            assert stranger.transactions == []


async def test_after_the_server_was_away_all_may_have_changed(
    durable_server: PostgresServer,
) -> None:
    url = durable_server.fresh_url()
    async with listening(url, url) as (first, second):
        durable_server.stop()
        first.siblings.tell("lost")
        await asyncio.sleep(0)
        durable_server.start()
        await first.until(lambda: first.gaps == second.gaps == 2)
        first.siblings.tell("t1")
        await second.until(lambda: "t1" in second.transactions)


async def test_one_at_a_time_has_its_turn(url: str) -> None:
    first, second = PostgresSiblings(url), PostgresSiblings(url)
    async with first.turn("timers") as mine, second.turn("timers") as its:
        assert (mine, its) == (True, False)
        async with second.turn("cosigner") as other:
            assert other
    async with second.turn("timers") as its, first.turn("timers") as mine:
        assert (its, mine) == (True, False)
    await first.stop()
    await second.stop()


async def test_there_is_no_turn_while_the_server_is_away(durable_server: PostgresServer) -> None:
    ours = PostgresSiblings(durable_server.fresh_url())
    async with ours.turn("timers") as mine:
        assert mine
    durable_server.stop()
    for _ in range(2):  # the session is lost, then there is none
        with pytest.raises(WireError) as refused:
            async with ours.turn("timers"):
                pass
        assert refused.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    durable_server.start()
    async with ours.turn("timers") as mine:
        assert mine
    await ours.stop()


async def test_a_turn_ends_with_its_session(url: str, postgres_server: PostgresServer) -> None:
    """As that of a process that is killed, or that the server ends because it stands still."""
    first, second = PostgresSiblings(url), PostgresSiblings(url)
    async with first.turn("timers") as mine:
        assert mine
        postgres_server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()"
        )
        async with asyncio.timeout(WAIT_S):
            is_over = False
            while not is_over:
                async with second.turn("timers") as is_over:
                    pass
    async with first.turn("timers") as mine:
        assert mine
    await first.stop()
    await second.stop()
