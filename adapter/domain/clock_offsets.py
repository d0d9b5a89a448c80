"""A zone's offsets over a window as plain numbers, and the zone again from them.

Time-zone data changes from release to release. What was agreed keeps the offsets that it was
agreed under, so a later release changes no price.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from adapter.domain.instants import DeliveryInterval
from adapter.domain.wall_clock import even_spans

Offsets = tuple[tuple[int, int], ...]
"""(from, offset), both in ms, in time order; the last one goes on."""

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)


def offsets_in(window: DeliveryInterval, zone: tzinfo) -> Offsets:
    """Return what a zone adds to UTC in each part of a window."""
    return tuple((start_ms, offset_ms) for start_ms, _, offset_ms in even_spans(window, zone))


class FixedOffsets(tzinfo):
    """A zone that knows one window; only for instants that are turned into local times.

    A local time that it gives has a zone of its own, so it is never asked about one.
    """

    def __init__(self, offsets: Offsets) -> None:
        """Take at least one offset."""
        self._starts = [start_ms for start_ms, _ in offsets]
        self._zones = [timezone(timedelta(milliseconds=offset_ms)) for _, offset_ms in offsets]

    def fromutc(self, moment: datetime) -> datetime:
        """Return an instant in local time; the result has a zone of the fixed offset then."""
        instant = moment.replace(tzinfo=UTC)
        since_ms = (instant - _EPOCH_START) // timedelta(milliseconds=1)
        place = max(bisect_right(self._starts, since_ms) - 1, 0)
        return instant.astimezone(self._zones[place])

    def utcoffset(self, moment: datetime | None, /) -> None:
        """Know nothing: what a local time alone means is not known here."""

    def dst(self, moment: datetime | None, /) -> None:
        """Know nothing, as above."""

    def tzname(self, moment: datetime | None, /) -> None:
        """Know nothing, as above."""
