"""A registry that is asked by `POST {url}/lookup`. Source: protocol specification, section 6."""

import logging
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol import strict_json
from adapter.service.ports import SendError
from adapter.transport.http_sender import HttpSender
from adapter.transport.registry_records import LookupFailedError, RecordError, participant_from

_log = logging.getLogger(__name__)


class LookupRegistry:
    """Implements `registry_records.LookupSource`."""

    lists_subscribers = True

    def __init__(self, url: str, http: HttpSender) -> None:
        """Take the registry's base URL."""
        self._url = f"{url.rstrip('/')}/lookup"
        self._http = http

    async def lookup(self, subscriber_id: str, key_id: str | None) -> list[Participant]:
        """Return the records of one key, or of a subscriber when `key_id` is None.

        Raises:
            LookupFailedError: no usable answer.
        """
        wanted = {"subscriber_id": subscriber_id}
        if key_id is not None:
            wanted["key_id"] = key_id
        try:
            answer = await self._http.post(
                self._url, strict_json.encode(wanted), {"content-type": "application/json"}
            )
            if answer.status != 200:
                msg = f"the registry answered {answer.status}"
                raise LookupFailedError(msg)
            records = strict_json.decode(answer.body)
        except (SendError, WireError) as error:
            msg = f"the registry did not answer: {error}"
            raise LookupFailedError(msg) from None
        if not isinstance(records, list):
            msg = "the registry's answer is no array"
            raise LookupFailedError(msg)
        return [one for one in _participants(records) if _is_wanted(one, wanted)]


def _participants(records: list[Any]) -> list[Participant]:
    """Return the records that can be used; none of several is a failure of the registry."""
    found: list[Participant] = []
    for record in records:
        try:
            if isinstance(record, dict):
                found.append(participant_from(record))
        except RecordError as error:
            _log.warning("a registry record is passed over: %s", error)
    if records and not found:
        msg = "the registry's answer holds no valid record"
        raise LookupFailedError(msg)
    return found


def _is_wanted(participant: Participant, wanted: dict[str, str]) -> bool:
    return all(getattr(participant, name) == value for name, value in wanted.items())
