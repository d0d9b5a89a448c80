"""How hard each host is called: few messages at once, a pause after many failures in a row."""

import asyncio
import logging
from dataclasses import dataclass, field

HOST_LIMIT = 8
"""Messages under way to one host."""
OPEN_AFTER = 10
"""Failures in a row after which a host is left alone."""
PAUSE_MS = 30_000
"""How long, before one message tries again. Source: architecture, section 5."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HOST_LIMIT))
    holders: int = 0
    """Messages under way or waiting for a slot."""
    failures: int = 0
    """In a row."""
    retry_ms: int = 0
    """When an open circuit lets the next message through."""


class Slot:
    """One slot of a host, for an `async with`. Every message takes one: no generator is made."""

    def __init__(self, hosts: dict[str, _Host], name: str) -> None:
        """Take the hosts that are known, and which of them is meant."""
        self._hosts = hosts
        self._name = name

    async def __aenter__(self) -> None:
        """Wait for the slot."""
        host = self._hosts.setdefault(self._name, _Host())
        host.holders += 1
        try:
            await host.slots.acquire()
        except BaseException:
            self._leave(host)
            raise

    async def __aexit__(self, *ended: object) -> None:
        """Free the slot."""
        host = self._hosts[self._name]
        host.slots.release()
        self._leave(host)

    def _leave(self, host: _Host) -> None:
        host.holders -= 1
        if not host.holders and not host.failures:
            del self._hosts[self._name]


class Hosts:
    """Slots and circuits by host. Used by one event loop."""

    def __init__(self) -> None:
        """Start without any history."""
        self._hosts: dict[str, _Host] = {}

    def slot(self, name: str) -> "Slot":
        """Return what waits for a free slot of the host, first come, first served, and holds it."""
        return Slot(self._hosts, name)

    def is_called(self, name: str) -> bool:
        """Return whether a host has messages under way, or failed the last time."""
        return name in self._hosts

    def room(self, name: str, now_ms: int) -> int:
        """Return how many more messages a called host may get: none while its circuit is open."""
        host = self._hosts[name]
        if host.failures < OPEN_AFTER:
            return max(HOST_LIMIT - host.holders, 0)
        if host.holders or now_ms < host.retry_ms <= now_ms + PAUSE_MS:
            return 0
        return 1  # the trial

    def pause_until_ms(self, name: str, now_ms: int) -> int | None:
        """Return until when a held host is to be left alone, None when it may be called now.

        None for an open circuit means: this one is the trial, all others wait for its end.
        """
        host = self._hosts[name]
        if host.failures < OPEN_AFTER:
            return None
        if now_ms < host.retry_ms <= now_ms + PAUSE_MS:  # later only if the clock was set back
            return host.retry_ms
        host.retry_ms = now_ms + PAUSE_MS
        return None

    def succeeded(self, name: str) -> None:
        """Close the circuit of a held host: it answered sensibly."""
        host = self._hosts[name]
        if host.failures >= OPEN_AFTER:
            _log.warning("%s answers again, after %d failures in a row", name, host.failures)
        host.failures = 0

    def failed(self, name: str, now_ms: int) -> None:
        """Count a failure of a held host; the tenth in a row opens its circuit."""
        host = self._hosts[name]
        host.failures += 1
        if host.failures == OPEN_AFTER:
            _log.warning("%s failed %d times in a row and is left alone", name, OPEN_AFTER)
        host.retry_ms = now_ms + PAUSE_MS
