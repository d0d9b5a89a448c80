"""Registry records: the JSON or YAML object on one side, a Participant on the other.

Source: protocol specification, section 6.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from adapter.domain.instants import format_instant, parse_instant
from adapter.domain.participants import Participant
from adapter.protocol.signature import is_good_public_key

TYPES = ("BAP", "BPP", "BG")
MAX_TEXT = 2_048
"""Characters of any text in a record."""


class RecordError(ValueError):
    """A record that cannot be used; says which field and why."""


class LookupFailedError(Exception):
    """A registry that cannot be reached or does not answer as it should."""


class LookupSource(Protocol):
    """A registry that is asked over the network."""

    @property
    def lists_subscribers(self) -> bool:
        """Return whether it can be asked for all records of a subscriber."""
        ...

    async def lookup(self, subscriber_id: str, key_id: str | None) -> list[Participant]:
        """Return the records of one key, or of a subscriber when `key_id` is None.

        Raises:
            LookupFailedError: no usable answer, which says nothing about the participant.
        """
        ...


def participant_from(record: Mapping[str, Any]) -> Participant:
    """Return the participant of a record; unknown fields are passed over.

    Raises:
        RecordError: a field is missing or wrong, or the key is a weak one.
    """
    kind = _text(record, "type")
    if kind not in TYPES:
        msg = f"type must be one of {', '.join(TYPES)}"
        raise RecordError(msg)
    return Participant(
        subscriber_id=_text(record, "subscriber_id"),
        key_id=_text(record, "key_id"),
        type=kind,
        url=_text(record, "url"),
        domain=_text(record, "domain", ""),
        signing_public_key=_public_key(record),
        valid_from_ms=_instant(record, "valid_from"),
        valid_until_ms=_instant(record, "valid_until"),
        status=_text(record, "status", ""),
        revoked=record.get("is_revoked") is True,
        networks=_networks(record),
        ttl_s=_seconds(record),
    )


def record_from(participant: Participant) -> dict[str, Any]:
    """Return the record of a participant as `/lookup` gives it."""
    record: dict[str, Any] = {
        "subscriber_id": participant.subscriber_id,
        "key_id": participant.key_id,
        "type": participant.type,
        "url": participant.url,
        "domain": participant.domain,
        "signing_public_key": participant.signing_public_key,
        "status": participant.status or "SUBSCRIBED",
    }
    if participant.valid_from_ms is not None:
        record["valid_from"] = format_instant(participant.valid_from_ms)
    if participant.valid_until_ms is not None:
        record["valid_until"] = format_instant(participant.valid_until_ms)
    if participant.networks:
        record["network_memberships"] = list(participant.networks)
    if participant.revoked:
        record["is_revoked"] = True
    return record


def best_first(participants: Iterable[Participant], now_ms: int) -> list[Participant]:
    """Return participants, usable ones first, the newest of them first."""
    found = list(participants)
    if len(found) < 2:
        return found
    return sorted(found, key=lambda one: (not one.usable(now_ms), -(one.valid_from_ms or 0)))


def _text(record: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = record.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > MAX_TEXT or (default is None and not value):
        msg = f"{name} must be a text"
        raise RecordError(msg)
    return value


def _public_key(record: Mapping[str, Any]) -> str:
    text = _text(record, "signing_public_key")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not is_good_public_key(raw):
        msg = "signing_public_key must be base64 of a 32-byte Ed25519 key that is no weak one"
        raise RecordError(msg)
    return text


def _instant(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    if value in (None, ""):
        return None
    try:
        return parse_instant(value if isinstance(value, str) else "")
    except ValueError:
        msg = f"{name} must be an RFC 3339 date-time with offset"
        raise RecordError(msg) from None


def _networks(record: Mapping[str, Any]) -> tuple[str, ...]:
    value = record.get("network_memberships") or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        msg = "network_memberships must be a list of texts"
        raise RecordError(msg)
    return tuple(value)


def _seconds(record: Mapping[str, Any]) -> int:
    value = record.get("ttl")
    return value if isinstance(value, int) and value > 0 else 0
