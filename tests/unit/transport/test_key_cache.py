"""The cache of keys. Its security promises, S7, are in tests/security."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.transport.key_cache import CachedRegistry
from adapter.transport.registry_records import LookupFailedError
from tests.fakes.time import FixedClock

NOW_MS = FixedClock().now_ms()

K1 = Participant("peer.example", "k1", "BAP", "https://peer.example", "", "key-1")


class ScriptedSource:
    """A registry that answers as told and counts what it is asked."""

    def __init__(self, *records: Participant, lists_subscribers: bool = True) -> None:
        self.answer: Sequence[Participant] | Exception = records
        self.lists_subscribers = lists_subscribers
        self.asked: list[tuple[str, str | None]] = []

    async def lookup(self, subscriber_id: str, key_id: str | None) -> list[Participant]:
        self.asked.append((subscriber_id, key_id))
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [
            one
            for one in self.answer
            if one.subscriber_id == subscriber_id and key_id in (None, one.key_id)
        ]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.mark.parametrize(
    ("record", "life_ms"),
    [
        pytest.param(K1, 300_000, id="300 s unless said"),
        pytest.param(replace(K1, ttl_s=60), 60_000, id="the record's own ttl"),
        pytest.param(replace(K1, ttl_s=7_200), 3_600_000, id="never above 3600 s"),
        pytest.param(
            replace(K1, valid_until_ms=NOW_MS + 20_000), 20_001, id="never past valid_until"
        ),
    ],
)
async def test_a_key_is_asked_for_once_in_its_life(
    clock: FixedClock, record: Participant, life_ms: int
) -> None:
    source = ScriptedSource(record)
    registry = CachedRegistry(source, clock)
    assert await registry.key("peer.example", "k1") == record
    clock.advance_ms(life_ms - 1)
    await registry.key("peer.example", "k1")
    assert len(source.asked) == 1
    clock.advance_ms(1)
    await registry.key("peer.example", "k1")
    assert len(source.asked) == 2


async def test_an_unknown_key_is_kept_for_10_s(clock: FixedClock) -> None:
    source = ScriptedSource()
    registry = CachedRegistry(source, clock)
    for wait_ms in (0, 9_999, 1):
        clock.advance_ms(wait_ms)
        with pytest.raises(WireError) as caught:
            await registry.key("peer.example", "k1")
        assert caught.value.code == "AUT_SUBSCRIBER_NOT_FOUND"
    assert len(source.asked) == 2


async def test_a_failed_lookup_is_tried_three_times(clock: FixedClock) -> None:
    source = ScriptedSource()
    source.answer = LookupFailedError("away")
    with pytest.raises(WireError) as caught:
        await CachedRegistry(source, clock).key("peer.example", "k1")
    assert caught.value.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert caught.value.http_status == 503
    assert len(source.asked) == 3


async def test_records_come_usable_and_newest_first(clock: FixedClock) -> None:
    old = replace(K1, key_id="old", valid_from_ms=1)
    new = replace(K1, key_id="new", valid_from_ms=2)
    revoked = replace(K1, key_id="revoked", valid_from_ms=3, revoked=True)
    registry = CachedRegistry(ScriptedSource(revoked, old, new), clock)
    assert [one.key_id for one in await registry.records("peer.example")] == [
        "new",
        "old",
        "revoked",
    ]
    assert await registry.records("another.example") == []


async def test_a_source_without_lists_gives_the_keys_seen_before(clock: FixedClock) -> None:
    source = ScriptedSource(K1, lists_subscribers=False)
    registry = CachedRegistry(source, clock)
    assert await registry.records("peer.example") == []
    await registry.key("peer.example", "k1")
    assert await registry.records("peer.example") == [K1]
    assert None not in {key_id for _, key_id in source.asked}


async def test_a_clock_set_back_does_not_prolong_an_entry(clock: FixedClock) -> None:
    source = ScriptedSource(K1)
    registry = CachedRegistry(source, clock)
    await registry.key("peer.example", "k1")
    clock.advance_ms(-3_600_000)
    await registry.key("peer.example", "k1")
    assert len(source.asked) == 2


async def test_a_caller_that_goes_away_does_not_end_the_lookup_of_others(
    clock: FixedClock,
) -> None:
    source = ScriptedSource(K1)
    registry = CachedRegistry(source, clock)
    first = asyncio.ensure_future(registry.key("peer.example", "k1"))
    second = asyncio.ensure_future(registry.key("peer.example", "k1"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == K1
    assert len(source.asked) == 1
