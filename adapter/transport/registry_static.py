"""The static registry: a YAML file of participants, read again when it changes.

A changed file counts within LOOK_MS. A broken new file is refused and the old one stays in use.
Answers at once, so it needs no cache.
Source: protocol specification, section 6; interfaces, section 4.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.service.ports import Clock
from adapter.transport.registry_records import RecordError, best_first, participant_from

_log = logging.getLogger(__name__)

LOOK_MS = 20
"""How long the file is taken to be the same: every message asks two or three times, and asking the
system takes several times as long as asking the clock."""

_Stamp = tuple[int, int, int]


class RegistryFileError(ValueError):
    """A registry file that cannot be used; one line."""


class _TextLoader(yaml.CSafeLoader):
    """Safe YAML that leaves date-times as the text they are."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


class StaticRegistry:
    """Implements `ports.Registry`, and finds records for those who ask this node."""

    def __init__(self, file: Path, clock: Clock) -> None:
        """Read the file.

        Raises:
            RegistryFileError: it cannot be used.
        """
        self._file = file
        self._clock = clock
        self._stamp: _Stamp | None = _stamp(file)
        self._looked_ms = clock.now_ms()
        self._by_subscriber = _by_subscriber(_read(file))

    async def key(self, subscriber_id: str, key_id: str) -> Participant:
        """Return the record of one key, usable or not.

        Raises:
            WireError: AUT_SUBSCRIBER_NOT_FOUND, AUT_KEY_NOT_FOUND.
        """
        listed = await self.records(subscriber_id)
        if not listed:
            code = "AUT_SUBSCRIBER_NOT_FOUND"
            raise WireError(code, "the registry does not know the signer")
        for record in listed:
            if record.key_id == key_id:
                return record
        code = "AUT_KEY_NOT_FOUND"
        raise WireError(code, "the registry does not know the key of the signer")

    async def refreshed_key(self, subscriber_id: str, key_id: str) -> Participant | None:
        """Return the record as the file has it now; None when it has not changed.

        Raises:
            WireError: AUT_SUBSCRIBER_NOT_FOUND, AUT_KEY_NOT_FOUND.
        """
        before = self._stamp
        self._refresh()
        return None if self._stamp == before else await self.key(subscriber_id, key_id)

    async def records(self, subscriber_id: str) -> Sequence[Participant]:
        """Return all records of a subscriber, usable and newest first."""
        now_ms = self._refreshed_ms()
        listed = self._by_subscriber.get(subscriber_id, ())
        return listed if len(listed) < 2 else best_first(listed, now_ms)

    def find(self, wanted: Mapping[str, str]) -> list[Participant]:
        """Return the records whose fields equal all those wanted, usable and newest first."""
        now_ms = self._refreshed_ms()
        found = [
            record
            for listed in self._by_subscriber.values()
            for record in listed
            if all(getattr(record, name) == value for name, value in wanted.items())
        ]
        return best_first(found, now_ms)

    def _refreshed_ms(self) -> int:
        """Return the time, once the records are not older than LOOK_MS."""
        now_ms = self._clock.now_ms()
        if not 0 <= now_ms - self._looked_ms < LOOK_MS:  # a clock may be set back
            self._looked_ms = now_ms
            self._refresh()
        return now_ms

    def _refresh(self) -> None:
        """Read the file again if it is another one than last time."""
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._by_subscriber = _by_subscriber(_read(self._file))
        except RegistryFileError as error:
            _log.warning("the new registry file is refused, the old one stays: %s", error)


def _stamp(file: Path) -> _Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(file: Path) -> list[Participant]:
    try:
        content = yaml.load(file.read_text("utf-8"), _TextLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{file}: cannot be read: {' '.join(str(error).split())}"
        raise RegistryFileError(msg) from None
    listed = content.get("participants") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        msg = f"{file}: must hold a list `participants`"
        raise RegistryFileError(msg)
    participants = [_participant(file, number, one) for number, one in enumerate(listed)]
    known = {(one.subscriber_id, one.key_id, one.type, one.domain) for one in participants}
    if len(known) != len(participants):
        msg = f"{file}: a key of a subscriber is listed twice"
        raise RegistryFileError(msg)
    return participants


def _participant(file: Path, number: int, record: Any) -> Participant:
    try:
        if not isinstance(record, dict):
            msg = "must be a map"
            raise RecordError(msg)
        return participant_from(record)
    except RecordError as error:
        msg = f"{file}: participants[{number}]: {error}"
        raise RegistryFileError(msg) from None


def _by_subscriber(participants: Sequence[Participant]) -> Mapping[str, Sequence[Participant]]:
    found: dict[str, list[Participant]] = defaultdict(list)
    for participant in participants:
        found[participant.subscriber_id].append(participant)
    return dict(found)
