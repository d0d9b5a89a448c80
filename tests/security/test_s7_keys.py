"""S7: rotation, revocation and floods of unknown keys."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol.signature import Signer, candidate_strings, parse_header
from adapter.service.trust import trusted_signer
from adapter.transport.key_cache import MAX_ENTRIES, CachedRegistry
from adapter.transport.registry_records import LookupFailedError
from adapter.transport.verifier import SlicingVerifier
from tests.fakes.time import FixedClock

PEER = "peer.example"
OLD, NEW = Signer(PEER, "k1", b"\x01" * 32), Signer(PEER, "k2", b"\x02" * 32)
BODY = b"{}"


def record(signer: Signer, **changes: Any) -> Participant:
    key = base64.b64encode(signer.public_key).decode()
    made = Participant(signer.subscriber_id, signer.key_id, "BAP", "https://peer.example", "", key)
    return replace(made, **changes)


class CountingSource:
    """A registry that the test changes and that counts what it is asked."""

    lists_subscribers = True

    def __init__(self, *records: Participant) -> None:
        self.records = list(records)
        self.away = False
        self.asked = 0

    async def lookup(self, subscriber_id: str, key_id: str | None) -> list[Participant]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise LookupFailedError
        return [one for one in self.records if key_id in (None, one.key_id)]


class Receiver:
    """What judges a message of the peer."""

    def __init__(self, *records: Participant) -> None:
        self.clock = FixedClock()
        self.source = CountingSource(*records)
        self.registry = CachedRegistry(self.source, self.clock)
        self.verifier = SlicingVerifier()

    async def judge(self, signer: Signer, lifetime_s: int = 300) -> str:
        """Return OK or the code of the refusal."""
        now_ms = self.clock.now_ms()
        header = parse_header(
            signer.header(BODY, created_s=now_ms // 1_000, expires_s=now_ms // 1_000 + lifetime_s)
        )
        strings = list(candidate_strings(header, BODY))
        try:
            await trusted_signer(self.registry, self.verifier, header, strings, now_ms=now_ms)
        except WireError as error:
            return error.code
        return "OK"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver(record(OLD))
    yield made
    made.verifier.close()


async def test_s7_a_new_key_id_passes_at_once_and_the_old_one_until_withdrawn(
    receiver: Receiver,
) -> None:
    assert await receiver.judge(OLD) == "OK"
    receiver.source.records.append(record(NEW))
    assert await receiver.judge(NEW) == "OK"
    assert await receiver.judge(OLD) == "OK"
    receiver.source.records.remove(record(OLD))
    receiver.clock.advance(300)
    assert await receiver.judge(OLD) == "AUT_SUBSCRIBER_NOT_FOUND"
    assert await receiver.judge(NEW) == "OK"


@pytest.mark.parametrize(
    "changes",
    [
        {"revoked": True},
        *({"status": status} for status in ("INITIATED", "UNDER_SUBSCRIPTION", "EXPIRED")),
        *({"status": status} for status in ("UNSUBSCRIBED", "INVALID_SSL", "subscribed")),
        {"valid_from_ms": FixedClock().now_ms() + 1},
        {"valid_until_ms": FixedClock().now_ms() - 1},
        {"valid_until_ms": FixedClock().now_ms() + 299_000},  # the signature outlives the key
    ],
    ids=str,
)
async def test_s7_an_unusable_key_is_refused_within_the_cache_time(
    receiver: Receiver, changes: dict[str, object]
) -> None:
    assert await receiver.judge(OLD) == "OK"
    receiver.source.records = [record(OLD, **changes)]
    receiver.registry.clear()  # or 300 s later
    assert await receiver.judge(OLD) == "AUT_KEY_EXPIRED_OR_REVOKED"


async def test_s7_usability_is_judged_at_each_use_of_a_cached_key(receiver: Receiver) -> None:
    until_ms = receiver.clock.now_ms() + 10_000
    receiver.source.records = [record(OLD, valid_until_ms=until_ms)]
    assert await receiver.judge(OLD, lifetime_s=10) == "OK"
    receiver.clock.advance_ms(10_000)
    assert await receiver.judge(OLD, lifetime_s=1) == "AUT_KEY_EXPIRED_OR_REVOKED"


async def test_s7_a_cached_key_that_turned_bad_is_looked_up_once_more(receiver: Receiver) -> None:
    assert await receiver.judge(OLD) == "OK"
    rotated = Signer(PEER, "k1", b"\x03" * 32)  # the same key id: against the rules
    receiver.source.records = [record(rotated)]
    assert await receiver.judge(rotated) == "OK"
    assert receiver.source.asked == 2
    assert await receiver.judge(rotated) == "OK"
    assert receiver.source.asked == 2


async def test_s7_forged_signatures_cause_one_lookup_per_30_s(receiver: Receiver) -> None:
    assert await receiver.judge(OLD) == "OK"
    forger = Signer(PEER, "k1", b"\x04" * 32)
    for _ in range(100):
        assert await receiver.judge(forger) == "AUT_SIGNATURE_INVALID"
    assert receiver.source.asked == 2
    receiver.clock.advance(30)
    assert await receiver.judge(forger) == "AUT_SIGNATURE_INVALID"
    assert receiver.source.asked == 3


async def test_s7_ten_messages_of_a_new_peer_at_once_cause_one_lookup(receiver: Receiver) -> None:
    results = await asyncio.gather(*(receiver.judge(OLD) for _ in range(10)))
    assert results == ["OK"] * 10
    assert receiver.source.asked == 1


async def test_s7_a_thousand_unknown_key_ids_cause_one_lookup_each_in_10_s(
    receiver: Receiver,
) -> None:
    signers = [Signer(PEER, f"x{number}", b"\x05" * 32) for number in range(1_000)]
    for _ in range(3):
        for signer in signers:
            assert await receiver.judge(signer) == "AUT_SUBSCRIBER_NOT_FOUND"
    assert receiver.source.asked == 1_000


async def test_s7_made_up_keys_do_not_fill_the_memory(receiver: Receiver) -> None:
    for number in range(MAX_ENTRIES + 100):
        with pytest.raises(WireError):
            await receiver.registry.key(PEER, f"x{number}")
    assert len(receiver.registry._entries) == MAX_ENTRIES


async def test_s7_while_the_registry_is_away_only_fresh_keys_count(receiver: Receiver) -> None:
    assert await receiver.judge(OLD) == "OK"
    receiver.source.away = True
    receiver.clock.advance_ms(299_999)
    assert await receiver.judge(OLD) == "OK"
    receiver.clock.advance_ms(1)
    assert await receiver.judge(OLD) == "NET_DOWNSTREAM_UNAVAILABLE"
    assert await receiver.judge(NEW) == "NET_DOWNSTREAM_UNAVAILABLE"
