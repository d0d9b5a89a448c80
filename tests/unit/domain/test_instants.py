"""Date-times with offset: what is one, and what is not."""

import pytest

from adapter.domain.instants import parse_instant


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        pytest.param("1970-01-01T00:00:00Z", 0, id="the beginning"),
        pytest.param("1970-01-01t01:00:00.0019+01:00", 1, id="finer digits are cut off"),
        pytest.param("1970-01-01T00:00:00-00:30", 1_800_000, id="west is later"),
        pytest.param("1970-01-01T23:59:60Z", 86_399_000, id="a leap second is the one before"),
    ],
)
def test_instants(text: str, expected_ms: int) -> None:
    assert parse_instant(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-02-30T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:61Z",
        "1970-01-01T00:00:00+01:60",
        "1970-01-01T00:00:00+24:00",
        "0.12",
    ],
)
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r"date-time|day|hour|second|offset|zone"):
        parse_instant(text)
