"""Instants, durations and delivery intervals: integer milliseconds since 1970, UTC.

Intervals are half-open. Epochs are the 900 s grid on which energy is metered and cleared.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from adapter.domain.errors import QuantityError

SECOND_MS = 1_000
EPOCH_MS = 900 * SECOND_MS
"""Length of a metering and market interval. Source: settlement specification, section 1."""

CACHED = 4_096
"""Instants kept ready: the messages of a trade name the same few again and again."""

MAX_TEXT = 40
"""Characters of a duration, and of an instant that is kept once it was read."""

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:[0-5]\d)",
    re.ASCII,
)
_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?"
    r"(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,3}))?S)?)?",
    re.ASCII,
)
_DURATION_UNITS_S = (365 * 86_400, 30 * 86_400, 7 * 86_400, 86_400, 3_600, 60, 1)
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=CACHED)
def parse_instant(text: str) -> int:
    """Return an RFC 3339 date-time with offset as milliseconds; finer digits are cut off.

    Raises:
        ValueError: not such a date-time.
    """
    return _kept_instant(text) if len(text) <= MAX_TEXT else _parse_instant(text)


def _parse_instant(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        msg = f"{text[:40]!r} is not an RFC 3339 date-time with offset"
        raise ValueError(msg)
    fraction = int((match[7] or "0")[:3].ljust(3, "0"))
    zone = "+00:00" if match[8] in "Zz" else match[8]
    seconds = min(int(match[6]), 59)  # a leap second is read as the second before it
    if int(match[6]) > 60:
        msg = f"{text[:40]!r} has no such second"
        raise ValueError(msg)
    whole = f"{match[1]}-{match[2]}-{match[3]}T{match[4]}:{match[5]}:{seconds:02d}{zone}"
    since = datetime.fromisoformat(whole) - _EPOCH_START
    return since // timedelta(milliseconds=1) + fraction


_kept_instant = lru_cache(maxsize=4_096)(_parse_instant)
"""The messages about one trade name the same few instants again and again."""


def format_instant(instant_ms: int) -> str:
    """Return milliseconds as RFC 3339 in UTC; the fraction only when there is one."""
    seconds, rest = divmod(instant_ms, SECOND_MS)
    text = (_EPOCH_START + timedelta(seconds=seconds)).isoformat()[:-6]  # without the offset
    return f"{text}.{rest:03d}Z" if rest else f"{text}Z"


def parse_duration(text: str) -> int:
    """Return an ISO 8601 duration above zero in milliseconds; a month is 30 days, a year 365.

    Raises:
        ValueError: not such a duration.
    """
    return _kept_duration(text) if len(text) <= MAX_TEXT else _parse_duration(text)


def _parse_duration(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith("T") or len(text) > MAX_TEXT:
        msg = f"{text[:40]!r} is not an ISO 8601 duration such as PT30S"
        raise ValueError(msg)
    seconds = sum(
        int(part or 0) * unit for part, unit in zip(match.groups(), _DURATION_UNITS_S, strict=False)
    )
    total = seconds * SECOND_MS + int((match[8] or "0").ljust(3, "0"))
    if total <= 0:
        msg = f"{text!r} is not longer than zero"
        raise ValueError(msg)
    return total


_kept_duration = lru_cache(maxsize=256)(_parse_duration)


def format_duration(duration_ms: int) -> str:
    """Return whole seconds as an ISO 8601 duration such as PT19S or PT15M."""
    minutes, seconds = divmod(duration_ms // SECOND_MS, 60)
    if minutes and not seconds:
        return f"PT{minutes}M"
    return f"PT{minutes * 60 + seconds}S"


@dataclass(frozen=True, slots=True)
class DeliveryInterval:
    """A half-open interval `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        """Refuse an interval that does not end after its start."""
        if self.end_ms <= self.start_ms:
            msg = f"{format_instant(self.end_ms)} is not after {format_instant(self.start_ms)}"
            raise QuantityError(msg)

    def epochs(self) -> range:
        """Return the start instants, in ms, of the 15-minute intervals inside."""
        return range(self.start_ms, self.end_ms, EPOCH_MS)
