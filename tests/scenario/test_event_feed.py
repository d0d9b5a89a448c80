"""The event feed has no gaps, whatever the size of its pages."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapter.service.event_feed import BEGINNING, WHOLE_ENTRY, Position
from tests.fakes.network import Network, open_network


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


async def page(network: Network, after: Position, limit: int, name: str = "") -> dict[str, Any]:
    assert network.grid.contracts is not None
    return await network.grid.contracts.events(
        after, actor="rec", contract="", name=name, limit=limit
    )


async def all_pages(network: Network, limit: int, name: str = "") -> list[str]:
    ids: list[str] = []
    after = BEGINNING
    while True:
        found = await page(network, after, limit, name)
        ids += [event["id"] for event in found["events"]]
        reached = (int(found["next"]), WHOLE_ENTRY)
        if reached == after:
            return ids
        after = reached


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_any_size_give_every_event_once(network: Network, limit: int) -> None:
    whole = [event["id"] for event in (await page(network, BEGINNING, 1000))["events"]]
    assert len(whole) > 10
    assert await all_pages(network, limit) == whole


async def test_pages_without_a_wanted_event_go_on(network: Network) -> None:
    assert len(await all_pages(network, 1, "Deposited")) == 1


async def test_a_known_event_in_the_middle_of_an_entry_is_not_repeated(network: Network) -> None:
    whole = [event["id"] for event in (await page(network, BEGINNING, 1000))["events"]]
    seq, index = (int(part) for part in whole[0].split("."))
    rest = await page(network, (seq, index), 1000)
    assert [event["id"] for event in rest["events"]] == whole[1:]
