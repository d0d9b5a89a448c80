"""Keys from a registry over the network, kept for a while.

Per (subscriber, key): the record's own ttl, else 300 s, never above 3,600 s nor past its
valid_until; 10 s for unknown ones. One lookup at a time for one key, however many wait. An
expired entry is never used, also not while the registry is away.
Source: protocol specification, section 6; quality targets, S7.
"""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.service.ports import Clock
from adapter.transport.registry_records import LookupFailedError, LookupSource, best_first

DEFAULT_TTL_MS = 300_000
MAX_TTL_MS = 3_600_000
UNKNOWN_TTL_MS = 10_000
REFRESH_MS = 30_000
"""Shortest time between two lookups past the cache for one key."""
TIMEOUT_S = 5
TRIES = 3
MAX_ENTRIES = 10_000
"""Anybody may ask for made-up keys; the oldest entries go first."""

_log = logging.getLogger(__name__)

_Key = tuple[str, str | None]
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class _Entry:
    records: tuple[Participant, ...]
    since_ms: int
    until_ms: int

    def is_fresh(self, now_ms: int) -> bool:
        """Return whether it may be used; not after the clock was set back behind it."""
        return self.since_ms <= now_ms < self.until_ms


class CachedRegistry:
    """Implements `ports.Registry` on a source. Used by one event loop."""

    def __init__(self, source: LookupSource, clock: Clock) -> None:
        """Start empty."""
        self._source = source
        self._clock = clock
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._lookups: dict[_Key, asyncio.Task[tuple[Participant, ...]]] = {}
        self._refreshed_ms: OrderedDict[_Key, int] = OrderedDict()
        self._seen_keys: defaultdict[str, dict[str, None]] = defaultdict(dict)

    async def key(self, subscriber_id: str, key_id: str) -> Participant:
        """Return the record of one key, usable or not.

        Raises:
            WireError: AUT_SUBSCRIBER_NOT_FOUND, NET_DOWNSTREAM_UNAVAILABLE.
        """
        records = await self._cached((subscriber_id, key_id))
        if not records:
            # These kinds cannot tell an unknown key from an unknown subscriber.
            code = "AUT_SUBSCRIBER_NOT_FOUND"
            raise WireError(code, "the registry does not know the signer")
        return records[0]

    async def refreshed_key(self, subscriber_id: str, key_id: str) -> Participant | None:
        """Return the record past the cache, None when it was asked for a moment ago or is gone."""
        wanted = (subscriber_id, key_id)
        now_ms = self._clock.now_ms()
        last_ms = self._refreshed_ms.get(wanted)
        if last_ms is not None and last_ms <= now_ms < last_ms + REFRESH_MS:
            return None
        _put(self._refreshed_ms, wanted, now_ms)
        try:
            records = await self._looked_up(wanted)
        except WireError:
            return None
        return records[0] if records else None

    async def records(self, subscriber_id: str) -> Sequence[Participant]:
        """Return all records of a subscriber, usable and newest first; empty when unknown.

        From a source that cannot list them: those of the keys that were asked for before.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE.
        """
        if self._source.lists_subscribers:
            found = list(await self._cached((subscriber_id, None)))
        else:
            seen = tuple(self._seen_keys.get(subscriber_id, ()))
            found = [record for one in seen for record in await self._cached((subscriber_id, one))]
        return best_first(found, self._clock.now_ms())

    def clear(self) -> None:
        """Forget everything, so that a revoked key is refused at once."""
        self._entries.clear()
        self._refreshed_ms.clear()

    async def _cached(self, wanted: _Key) -> tuple[Participant, ...]:
        entry = self._entries.get(wanted)
        if entry is not None and entry.is_fresh(self._clock.now_ms()):
            return entry.records
        return await self._looked_up(wanted)

    async def _looked_up(self, wanted: _Key) -> tuple[Participant, ...]:
        """Return a lookup's result, shared with all who wait for the same."""
        task = self._lookups.get(wanted)
        if task is None:
            task = asyncio.create_task(self._look_up(wanted))
            self._lookups[wanted] = task
            task.add_done_callback(partial(self._finished, wanted))
        try:
            return await asyncio.shield(task)  # one caller's end must not end the others'
        except LookupFailedError as error:
            _log.warning("registry lookup failed: %s", error)
            code = "NET_DOWNSTREAM_UNAVAILABLE"
            raise WireError(code, "the registry cannot be asked") from None

    def _finished(self, wanted: _Key, task: asyncio.Task[tuple[Participant, ...]]) -> None:
        del self._lookups[wanted]
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits any more

    async def _look_up(self, wanted: _Key) -> tuple[Participant, ...]:
        subscriber_id, key_id = wanted
        found = best_first(await self._tried(subscriber_id, key_id), self._clock.now_ms())
        entry = self._entry(tuple(found))
        _put(self._entries, wanted, entry)
        if key_id is not None and found and not self._source.lists_subscribers:
            self._seen_keys[subscriber_id][key_id] = None
        return entry.records

    async def _tried(self, subscriber_id: str, key_id: str | None) -> list[Participant]:
        for tries_left in reversed(range(TRIES)):
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await self._source.lookup(subscriber_id, key_id)
            except (LookupFailedError, TimeoutError) as error:
                if not tries_left:
                    raise LookupFailedError(str(error) or "time-out") from None
        raise AssertionError

    def _entry(self, records: tuple[Participant, ...]) -> _Entry:
        """Return a cache entry that lasts as long as the shortest of its records allows."""
        now_ms = self._clock.now_ms()
        lives = [_life_ms(record, now_ms) for record in records] or [UNKNOWN_TTL_MS]
        return _Entry(records, now_ms, now_ms + min(lives))


def _life_ms(record: Participant, now_ms: int) -> int:
    life = min(record.ttl_s * 1_000 or DEFAULT_TTL_MS, MAX_TTL_MS)
    if record.valid_until_ms is not None and record.valid_until_ms >= now_ms:
        life = min(life, record.valid_until_ms - now_ms + 1)
    return life


def _put(table: OrderedDict[_Key, _V], key: _Key, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > MAX_ENTRIES:
        table.popitem(last=False)
