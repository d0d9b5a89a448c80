"""Intervals cut where a clock on the wall shows a midnight or given minutes of the day.

Instants are UTC milliseconds. Where the zone changes its offset the interval is cut as well, so
that inside a piece local time runs evenly: a day of 23 or 25 hours needs no further care.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from adapter.domain.instants import DeliveryInterval

MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


class WallPiece(NamedTuple):
    """A part of an interval within one local day."""

    start_ms: int
    end_ms: int
    weekday: int
    """Of the local day; Monday is 0."""
    minute: int
    """Minute of the local day at the start."""


def wall_pieces(
    interval: DeliveryInterval, zone: tzinfo, minutes: Iterable[int]
) -> Iterator[WallPiece]:
    """Give the pieces of an interval in time order.

    Args:
        interval: within the years that `datetime` knows.
        zone: gives the local time.
        minutes: minutes of the local day at which to cut, beside midnight.
    """
    marks = sorted({minute * MINUTE_MS for minute in minutes} | {DAY_MS})
    for start_ms, end_ms, offset_ms in even_spans(interval, zone):
        at, last = start_ms + offset_ms, end_ms + offset_ms
        while at < last:
            day, in_day = divmod(at, DAY_MS)
            end = min(day * DAY_MS + marks[bisect_right(marks, in_day)], last)
            weekday = (day + _EPOCH_WEEKDAY) % 7
            yield WallPiece(at - offset_ms, end - offset_ms, weekday, in_day // MINUTE_MS)
            at = end


def local_time(instant_ms: int, zone: tzinfo) -> datetime:
    """Return an instant as date and time in a zone."""
    return (_EPOCH_START + timedelta(milliseconds=instant_ms)).astimezone(zone)


def even_spans(interval: DeliveryInterval, zone: tzinfo) -> Iterator[tuple[int, int, int]]:
    """Give start, end and offset of the spans in which the offset of the zone is the same."""
    start = at = interval.start_ms
    offset = _offset_ms(at, zone)
    while at < interval.end_ms:
        ahead = min(at + DAY_MS, interval.end_ms)
        if _offset_ms(ahead, zone) == offset:
            at = ahead
            continue
        at = _change(at, ahead, zone)
        yield start, at, offset
        start, offset = at, _offset_ms(at, zone)
    if start < interval.end_ms:
        yield start, interval.end_ms, offset


def _change(before_ms: int, after_ms: int, zone: tzinfo) -> int:
    """Return the first instant with another offset than at `before_ms`."""
    offset = _offset_ms(before_ms, zone)
    while after_ms - before_ms > 1:
        middle = (before_ms + after_ms) // 2
        if _offset_ms(middle, zone) == offset:
            before_ms = middle
        else:
            after_ms = middle
    return after_ms


def _offset_ms(instant_ms: int, zone: tzinfo) -> int:
    offset = local_time(instant_ms, zone).utcoffset()
    assert offset is not None, "the date-time has a zone"
    return offset // timedelta(milliseconds=1)
