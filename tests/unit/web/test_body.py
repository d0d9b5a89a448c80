"""Bounded bodies and strict JSON of the other endpoints."""

import asyncio
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.web.body import RequestError, check_content_headers, read_body, read_json_object


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_slow_body_is_408() -> None:
    with pytest.raises(RequestError) as caught:
        await read_body(never, within_s=0)
    assert (caught.value.http_status, caught.value.code) == (408, "SCH_INVALID_FORMAT")


@pytest.mark.parametrize("value", [b"11", b"-1", b"1.0", b"x", b"", b"9" * 13])
def test_a_content_length_that_is_too_long_or_none_is_413(value: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        check_content_headers([(b"content-length", value)], 10)
    assert caught.value.http_status == 413


def test_two_content_types_are_415() -> None:
    header = (b"content-type", b"application/json")
    check_content_headers([header], 10)
    with pytest.raises(RequestError) as caught:
        check_content_headers([header, header], 10)
    assert caught.value.http_status == 415


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a":NaN}', "SCH_INVALID_JSON"),
        (b'{"a":1e400}', "SCH_INVALID_JSON"),
        (b'{"a":"\\ud800"}', "SCH_INVALID_JSON"),
        (b"[]", "SCH_SCHEMA_VALIDATION_FAILED"),
    ],
)
async def test_json_is_strict(body: bytes, code: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    with pytest.raises(WireError) as caught:
        await read_json_object([], receive)
    assert caught.value.code == code
