"""Callers that wait for a trade: who is woken by what."""

import asyncio
from collections.abc import Callable

import pytest

from adapter.service import waiters
from adapter.service.waiters import Waiters

WAIT_S = 50


@pytest.fixture(autouse=True)
def nobody_looks_by_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "RECHECK_S", 600)


class Looked:
    """A trade that is looked at; decided with the look of that number."""

    def __init__(self, decided_at: int) -> None:
        self.decided_at = decided_at
        self.times = 0

    async def __call__(self) -> str | None:
        self.times += 1
        return "decided" if self.times >= self.decided_at else None


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0)


async def test_who_waits_for_the_end_looks_at_no_step_before_it() -> None:
    ours, look = Waiters(), Looked(2)
    waiting = asyncio.create_task(ours.wait("T", look, WAIT_S, steps=False))
    await until(lambda: look.times == 1)
    for _ in range(10):
        ours.notify("T", is_step=True)
        await asyncio.sleep(0)
    assert look.times == 1
    ours.notify("T")
    assert await waiting == "decided"
    assert look.times == 2


async def test_who_waits_for_an_answer_looks_at_every_step() -> None:
    ours, look = Waiters(), Looked(3)
    waiting = asyncio.create_task(ours.wait("T", look, WAIT_S))
    for seen in (1, 2):
        await until(lambda seen=seen: look.times == seen)  # type: ignore[misc]
        ours.notify("T", is_step=True)
    assert await waiting == "decided"


async def test_another_transaction_wakes_nobody() -> None:
    ours, look = Waiters(), Looked(2)
    waiting = asyncio.create_task(ours.wait("T", look, WAIT_S, steps=False))
    await until(lambda: look.times == 1)
    ours.notify("U")
    await asyncio.sleep(0)
    assert look.times == 1
    ours.notify_all()
    assert await waiting == "decided"


async def test_when_the_time_is_over_there_is_nothing() -> None:
    assert await Waiters().wait("T", Looked(9), 0) is None
