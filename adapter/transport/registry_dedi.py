"""A registry in a decentralised directory (DeDi), asked for one key at a time.

Source: protocol specification, section 6.
"""

from typing import Any
from urllib.parse import quote

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol import strict_json
from adapter.service.ports import Answer, SendError
from adapter.transport.http_sender import HttpSender
from adapter.transport.registry_records import LookupFailedError, RecordError, participant_from

REGISTRY_NAME = "subscribers.beckn.one"


class DediRegistry:
    """Implements `registry_records.LookupSource`."""

    lists_subscribers = False

    def __init__(self, url: str, http: HttpSender) -> None:
        """Take the directory's base URL."""
        self._url = f"{url.rstrip('/')}/lookup"
        self._http = http

    async def lookup(self, subscriber_id: str, key_id: str | None) -> list[Participant]:
        """Return the record of one key; it cannot be asked for all of a subscriber.

        Raises:
            LookupFailedError: no usable answer.
        """
        assert key_id is not None, "lists_subscribers is False"
        path = f"{quote(subscriber_id, safe='')}/{REGISTRY_NAME}/{quote(key_id, safe='')}"
        try:
            answer = await self._http.get(f"{self._url}/{path}")
        except SendError as error:
            msg = f"the registry did not answer: {error}"
            raise LookupFailedError(msg) from None
        if answer.status == 404:
            return []
        participant = _participant(answer, subscriber_id, key_id)
        return [participant] if participant.subscriber_id == subscriber_id else []


def _participant(answer: Answer, subscriber_id: str, key_id: str) -> Participant:
    """Return the record of an answer; 410 is a record that is revoked."""
    if answer.status not in (200, 410):
        msg = f"the registry answered {answer.status}"
        raise LookupFailedError(msg)
    if answer.status == 410:
        return Participant(subscriber_id, key_id, "", "", "", "", revoked=True)
    try:
        record = strict_json.decode_object(answer.body).get("data")
        if isinstance(record, dict) and isinstance(record.get("details"), dict):
            return participant_from(_flat(record, key_id))
    except (WireError, RecordError) as error:
        msg = f"the registry's answer cannot be used: {error}"
        raise LookupFailedError(msg) from None
    msg = "the registry's answer holds no data.details"
    raise LookupFailedError(msg)


def _flat(record: dict[str, Any], key_id: str) -> dict[str, Any]:
    """Return a DeDi record with the field names of the other kinds."""
    beside = ("network_memberships", "ttl", "is_revoked")
    return {
        **record["details"],
        **{name: record[name] for name in beside if name in record},
        "key_id": key_id,
    }
