"""The catalogue."""

import pytest

from adapter.domain.quantities import MAX_MICRO
from adapter.service.ports import Store
from tests.store.samples import offer


async def test_an_offer_comes_back_whole(store: Store) -> None:
    sample = offer(
        minimum_micro_kwh=1,
        maximum_micro_kwh=MAX_MICRO,
        valid_from_ms=5,
        valid_until_ms=6,
        withdrawn=True,
    )
    await store.write(lambda unit: unit.save_offer(sample))
    found = await store.read(lambda unit: unit.offer("o1"))
    assert found == sample
    assert found.withdrawn is True
    assert await store.read(lambda unit: unit.offer("o2")) is None


async def test_offers_are_listed_oldest_first_until_withdrawn(store: Store) -> None:
    first, second, third = (
        offer("b", created_ms=1),
        offer("c", created_ms=3),
        offer("a", created_ms=2),
    )
    for sample in (first, second, third, offer("gone", withdrawn=True)):
        await store.write(lambda unit, sample=sample: unit.save_offer(sample))  # type: ignore[misc]
    assert await store.read(lambda unit: unit.offers()) == [first, third, second]
    await store.write(lambda unit: unit.save_offer(offer("b", withdrawn=True)))
    assert await store.read(lambda unit: unit.offers()) == [third, second]


@pytest.mark.parametrize(
    "available",
    [
        pytest.param(-1, id="more taken than there was"),
        pytest.param(MAX_MICRO + 1, id="over the bound"),
        pytest.param(2**63, id="no integer of the database"),
    ],
)
async def test_an_impossible_stock_is_refused(store: Store, available: int) -> None:
    await store.write(lambda unit: unit.save_offer(offer()))
    with pytest.raises(Exception, match=r"(?i)check|large|range"):
        await store.write(lambda unit: unit.save_offer(offer(available_micro_kwh=available)))
    assert await store.read(lambda unit: unit.offer("o1")) == offer()
