"""The system's clock and its offset file. Bounds instead of exact times: the clock runs."""

import time
from pathlib import Path

import pytest

from adapter.transport.clock import SystemClock
from adapter.transport.ids import RandomIds

HOUR_MS = 3_600_000


def offset_ms(clock: SystemClock) -> int:
    """Return how far a clock is ahead of the system's, to the second."""
    system_ms = time.time_ns() // 1_000_000  # noqa: TID251  compared with what the clock says
    return round((clock.now_ms() - system_ms) / 1_000) * 1_000


def test_without_a_file_it_is_the_systems_clock() -> None:
    assert offset_ms(SystemClock()) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3600", 3_600), ("-60\n", -60), (" +1.5e0", 0), ("12.000001", 12), ("0", 0), ("", 0)],
)
def test_the_file_moves_it(tmp_path: Path, text: str, seconds: int) -> None:
    file = tmp_path / "offset"
    file.write_text(text)
    assert offset_ms(SystemClock(file)) == seconds * 1_000


def test_the_file_is_read_anew_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    clock = SystemClock(file)
    assert offset_ms(clock) == 0  # absent
    file.write_text("3600")
    assert offset_ms(clock) == HOUR_MS
    file.write_text("7200")
    assert offset_ms(clock) == 2 * HOUR_MS
    file.write_text("half written")
    assert offset_ms(clock) == 2 * HOUR_MS
    file.unlink()
    assert offset_ms(clock) == 0


def test_microseconds_are_exact(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    file.write_text("-1000000000.5")
    now_us = SystemClock(file).now_us()
    assert now_us // 1_000_000 < 1_000_000_000  # before 2001


def test_ids_differ() -> None:
    ids = RandomIds()
    assert ids.new() != ids.new()
    assert len(ids.new()) == 36
