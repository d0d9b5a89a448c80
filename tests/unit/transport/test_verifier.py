"""Verification inline and in slices gives the same answers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from adapter.protocol.signature import Signer
from adapter.transport.verifier import SLICE, SlicingVerifier

SIGNER = Signer("a", "b", bytes(32))


@pytest.fixture
async def verifier() -> AsyncIterator[SlicingVerifier]:
    made = SlicingVerifier()
    yield made
    made.close()


class Watched:
    """Messages that remember which thread read them."""

    def __init__(self, message: bytes, threads: set[str]) -> None:
        self._message = message
        self._threads = threads

    def __iter__(self) -> Iterator[bytes]:
        self._threads.add(threading.current_thread().name)
        yield self._message


async def test_a_lone_message_is_checked_inline(verifier: SlicingVerifier) -> None:
    threads: set[str] = set()
    signature = SIGNER.sign_bytes(b"m")
    assert await verifier.verify(SIGNER.public_key, Watched(b"m", threads), signature)
    assert threads == {threading.current_thread().name}


async def test_several_messages_go_to_the_threads(verifier: SlicingVerifier) -> None:
    threads: set[str] = set()
    count = 5 * SLICE + 3
    messages = [b"%d" % number for number in range(count)]
    results = await asyncio.gather(
        *(
            verifier.verify(
                SIGNER.public_key,
                Watched(message, threads),
                SIGNER.sign_bytes(message if number % 3 else b"another"),
            )
            for number, message in enumerate(messages)
        )
    )
    assert results == [bool(number % 3) for number in range(count)]
    assert threads
    assert all(name.startswith("verify") for name in threads)


async def test_one_good_message_of_several_is_enough(verifier: SlicingVerifier) -> None:
    signature = SIGNER.sign_bytes(b"second")
    assert await verifier.verify(SIGNER.public_key, [b"first", b"second"], signature)
    assert not await verifier.verify(SIGNER.public_key, [b"first"], signature)
    assert not await verifier.verify(SIGNER.public_key, [], signature)


async def test_a_cancelled_caller_does_not_disturb_the_others(verifier: SlicingVerifier) -> None:
    signature = SIGNER.sign_bytes(b"m")
    calls = [
        asyncio.ensure_future(verifier.verify(SIGNER.public_key, [b"m"], signature))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    calls[1].cancel()
    assert await calls[0]
    assert await calls[2]


async def test_a_fault_reaches_only_its_caller(verifier: SlicingVerifier) -> None:
    keys: dict[str, list[bytes]] = {}

    def broken() -> Iterator[bytes]:
        yield from keys["no such key"]

    signature = SIGNER.sign_bytes(b"m")
    good, bad = await asyncio.gather(
        verifier.verify(SIGNER.public_key, [b"m"], signature),
        verifier.verify(SIGNER.public_key, broken(), signature),
        return_exceptions=True,
    )
    assert good is True
    assert isinstance(bad, KeyError)
