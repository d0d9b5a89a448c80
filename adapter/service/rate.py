"""How fast one subscriber may send: a token bucket each, off unless a setting says so."""

from collections.abc import Callable
from decimal import Decimal

from adapter.domain.errors import WireError

MAX_BUCKETS = 10_000
"""Buckets kept; beyond it all are dropped and begin again full."""


class RateLimits:
    """The buckets of one node. A bucket holds one second's worth of messages."""

    def __init__(self, limit_for: Callable[[str], Decimal | None]) -> None:
        """Take the allowed messages per second by subscriber, None for no limit."""
        self._limit_for = limit_for
        self._buckets: dict[str, tuple[int, Decimal]] = {}

    def count(self, subscriber_id: str, now_ms: int) -> None:
        """Count a message.

        Raises:
            WireError: AUT_RATE_LIMITED.
        """
        limit = self._limit_for(subscriber_id)
        if limit is None:
            return
        size = max(limit, Decimal(1))
        then_ms, tokens = self._buckets.get(subscriber_id, (now_ms, size))
        tokens = min(size, tokens + limit * max(now_ms - then_ms, 0) / 1000)
        if tokens < 1:
            msg = f"{subscriber_id} may send {limit} messages per second"
            raise WireError("AUT_RATE_LIMITED", msg)
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.clear()
        self._buckets[subscriber_id] = (max(then_ms, now_ms), tokens - 1)
