"""A zone kept as offsets gives the local times of the zone, for its window."""

from datetime import datetime

import pytest

from adapter.domain.clock_offsets import FixedOffsets, offsets_in
from adapter.domain.instants import DeliveryInterval, parse_instant
from adapter.domain.wall_clock import local_time, wall_pieces
from adapter.domain.zones import find_zone

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("zone", "start", "offsets"),
    [
        pytest.param("UTC", "2026-03-28T22:00:00Z", [0], id="none"),
        pytest.param("Asia/Kolkata", "2026-03-28T22:00:00Z", [5.5], id="a half hour"),
        pytest.param("Europe/Paris", "2026-03-28T22:00:00Z", [1, 2], id="a day of 23 hours"),
        pytest.param("Europe/Paris", "2026-10-24T22:00:00Z", [2, 1], id="a day of 25 hours"),
        pytest.param("America/St_Johns", "2026-03-08T04:00:00Z", [-3.5, -2.5], id="west"),
    ],
)
def test_the_offsets_stand_for_the_zone(zone: str, start: str, offsets: list[float]) -> None:
    begin = parse_instant(start)
    window = DeliveryInterval(begin, begin + 6 * HOUR_MS)
    known = find_zone(zone)
    assert known is not None
    kept = offsets_in(window, known)
    assert [offset_ms / HOUR_MS for _, offset_ms in kept] == offsets
    assert kept[0][0] == begin
    again = FixedOffsets(kept)
    assert list(wall_pieces(window, again, [30, 150])) == list(
        wall_pieces(window, known, [30, 150])
    )
    for at in range(window.start_ms, window.end_ms, HOUR_MS // 2):
        assert local_time(at, again).replace(tzinfo=None) == local_time(at, known).replace(
            tzinfo=None
        )


def test_a_local_time_alone_has_no_offset() -> None:
    local = datetime(2026, 1, 1, tzinfo=FixedOffsets(((0, HOUR_MS),)))
    assert (local.utcoffset(), local.dst(), local.tzname()) == (None, None, None)
