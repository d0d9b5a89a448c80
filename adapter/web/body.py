"""Request bodies, bounded in size and time, and strict JSON of them."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from adapter.domain.errors import WireError
from adapter.protocol import strict_json

MAX_BODY = 256 * 1_024
"""Bytes. Source: protocol specification, section 2."""
BODY_S = 15
"""From the end of the head to the end of the body. Source: ruling R14."""

AsgiReceive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class RequestError(WireError):
    """A request that is refused as HTTP, before anybody looks at its content."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Make a refusal whose status is not that of its code alone."""
        super().__init__(code, message)
        self._status = status

    @property
    def http_status(self) -> int:
        """Return the status that says what is wrong with the request."""
        return self._status


class DisconnectedError(Exception):
    """The client went away; nobody waits for an answer."""


def check_content_headers(headers: Sequence[tuple[bytes, bytes]], max_bytes: int) -> None:
    """Refuse a body of another type, an encoded one, or one that says it is too long.

    Names come in lower case, as ASGI has them.

    Raises:
        RequestError: 413 or 415, SCH_INVALID_FORMAT.
    """
    media = [value for key, value in headers if key == b"content-type"]
    if media and media != [b"application/json"]:
        _check_media(media)
    for key, value in headers:
        if key == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise _refusal(415, "Content-Encoding is not identity")
    for key, value in headers:
        if key == b"content-length" and (
            not value.isdigit() or len(value) > 12 or int(value) > max_bytes
        ):
            raise _too_long(max_bytes)


def _check_media(types: Sequence[bytes]) -> None:
    media = [value.partition(b";")[0].strip().lower() for value in types]
    if media != [b"application/json"]:
        raise _refusal(415, "Content-Type is not application/json")


async def read_body(
    receive: AsgiReceive, max_bytes: int = MAX_BODY, within_s: int = BODY_S
) -> bytes:
    """Return the whole body.

    Raises:
        RequestError: 413 or 408, SCH_INVALID_FORMAT; the connection is of no more use.
        DisconnectedError: the client went away.
    """
    try:
        async with asyncio.timeout(within_s):
            return await _read(receive, max_bytes)
    except TimeoutError:
        raise _refusal(408, f"the body did not come within {within_s} s") from None


async def read_json_object(
    headers: Sequence[tuple[bytes, bytes]], receive: AsgiReceive, max_bytes: int = MAX_BODY
) -> dict[str, Any]:
    """Return the JSON object of a request to our own endpoints; numbers are exact.

    Raises:
        RequestError: 408, 413 or 415, SCH_INVALID_FORMAT.
        WireError: SCH_INVALID_JSON, SCH_SCHEMA_VALIDATION_FAILED.
        DisconnectedError: the client went away.
    """
    check_content_headers(headers, max_bytes)
    return strict_json.decode_object(await read_body(receive, max_bytes))


async def _read(receive: AsgiReceive, max_bytes: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")  # the usual case: all of it in one piece
        if len(body) > max_bytes:
            raise _too_long(max_bytes)
        return body
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > max_bytes:
            raise _too_long(max_bytes)
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()
    raise DisconnectedError


def _too_long(max_bytes: int) -> RequestError:
    return _refusal(413, f"the body is longer than {max_bytes} bytes")


def _refusal(status: int, message: str) -> RequestError:
    return RequestError(status, "SCH_INVALID_FORMAT", message)
