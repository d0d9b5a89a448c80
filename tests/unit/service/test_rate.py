"""Messages per second and peer."""

import contextlib
from decimal import Decimal

import pytest

from adapter.domain.errors import WireError
from adapter.service.rate import RateLimits

PEER = "bap.buyer.example"


def passed(limits: RateLimits, times_ms: list[int]) -> int:
    """Return how many messages are let through that are counted at those times."""
    count = 0
    for now_ms in times_ms:
        with contextlib.suppress(WireError):
            limits.count(PEER, now_ms)
            count += 1
    return count


def test_who_sends_more_is_told_the_limit() -> None:
    limits = RateLimits(lambda _: Decimal(1))
    limits.count(PEER, 0)
    with pytest.raises(WireError, match="1 messages per second") as raised:
        limits.count(PEER, 0)
    assert raised.value.code == "AUT_RATE_LIMITED"


def test_a_second_gives_as_many_as_the_limit() -> None:
    limits = RateLimits(lambda _: Decimal(10))
    assert passed(limits, [0] * 50) == 10
    assert passed(limits, [1_000] * 50) == 10
    assert passed(limits, [1_100] * 50) == 1


def test_messages_counted_out_of_order_do_not_count_the_same_time_twice() -> None:
    limits = RateLimits(lambda _: Decimal(10))
    assert passed(limits, [1_000, 0] * 200) == 10


@pytest.mark.parametrize("limit", [None, Decimal(1_000)])
def test_who_stays_below_the_limit_is_not_refused(limit: Decimal | None) -> None:
    limits = RateLimits(lambda _: limit)
    assert passed(limits, list(range(0, 1_000, 2))) == 500
