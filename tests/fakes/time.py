"""A clock that stands still until a test moves it, and ids that count."""

from dataclasses import dataclass

from adapter.domain.instants import parse_instant


class FixedClock:
    """Implements `service.ports.Clock`."""

    def __init__(self, start: str = "2026-03-02T08:00:00Z") -> None:
        self._now_us = parse_instant(start) * 1_000

    def now_us(self) -> int:
        return self._now_us

    def now_ms(self) -> int:
        return self._now_us // 1_000

    def advance(self, seconds: int) -> None:
        self._now_us += seconds * 1_000_000

    def advance_ms(self, milliseconds: int) -> None:
        self._now_us += milliseconds * 1_000

    def move_to(self, instant: str) -> None:
        self._now_us = parse_instant(instant) * 1_000


@dataclass
class CountingIds:
    """Implements `service.ports.Ids`: UUIDs in the order they were asked for."""

    node: int
    count: int = 0

    def new(self) -> str:
        self.count += 1
        return f"{self.node:08x}-0000-4000-8000-{self.count:012x}"
