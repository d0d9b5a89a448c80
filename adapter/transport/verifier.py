"""Signature checks that do not hold up the event loop.

A check takes about 40 µs and releases the interpreter lock. To hand over and be woken again costs
as much as a few of them, so only whole slices go to the threads; fewer are checked at once.
Source: architecture, section 4.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from adapter.protocol.signature import verify_bytes

SLICE = 8
"""Checks handed over at once."""
THREADS = 2


@dataclass(frozen=True, slots=True)
class _Check:
    public_key: bytes
    messages: Iterable[bytes]
    signature: bytes
    result: "asyncio.Future[bool]"

    def run(self) -> bool:
        """Return whether the signature holds for one of the messages."""
        return any(
            verify_bytes(self.public_key, message, self.signature) for message in self.messages
        )


class SlicingVerifier:
    """Implements `ports.Verifier`. Used by one event loop."""

    def __init__(self, threads: int = THREADS) -> None:
        """Make the pool; its threads start when they are needed."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verify")
        self._waiting: list[_Check] = []

    async def verify(self, public_key: bytes, messages: Iterable[bytes], signature: bytes) -> bool:
        """Return whether the signature holds for one of the messages."""
        loop = asyncio.get_running_loop()
        check = _Check(public_key, messages, signature, loop.create_future())
        self._waiting.append(check)
        if len(self._waiting) == 1:
            loop.call_soon(self._start)  # after all that is ready now has had its turn
        return await check.result

    def close(self) -> None:
        """Stop the threads once their slices are done."""
        self._pool.shutdown()

    def _start(self) -> None:
        checks, self._waiting = self._waiting, []
        if len(checks) < SLICE:
            _settle(checks, _run_all(checks))
            return
        loop = asyncio.get_running_loop()
        for start in range(0, len(checks), SLICE):
            part = checks[start : start + SLICE]
            done = loop.run_in_executor(self._pool, _run_all, part)
            done.add_done_callback(partial(_settle_later, part))


def _run_all(checks: Sequence[_Check]) -> list[bool | Exception]:
    return [_outcome(check) for check in checks]


def _outcome(check: _Check) -> bool | Exception:
    try:
        return check.run()
    except Exception as error:  # raised again where the check was asked for
        return error


def _settle_later(
    checks: Sequence[_Check], outcomes: "asyncio.Future[list[bool | Exception]]"
) -> None:
    _settle(checks, outcomes.result())


def _settle(checks: Sequence[_Check], outcomes: Sequence[bool | Exception]) -> None:
    for check, outcome in zip(checks, outcomes, strict=True):
        if check.result.done():
            continue  # whoever asked was cancelled
        if isinstance(outcome, Exception):
            check.result.set_exception(outcome)
        else:
            check.result.set_result(outcome)
