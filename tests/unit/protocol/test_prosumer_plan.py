"""Which market a prosumer's wish is brought to."""

from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_instant
from adapter.protocol.handlers.prosumer_plan import init_order
from tests.fakes.market_orders import catalogue, market_offer, prosumer_plan

NOW_MS = parse_instant("2026-03-02T08:00:00Z")


def chosen(*offers: Any, **wish: Any) -> str:
    """Return the market that an init would go to."""
    found = init_order(
        prosumer_plan(**wish), catalogue(*offers), "order-1", "bap.example", now_ms=NOW_MS
    )
    return str(found["beckn:offers"][0]["beckn:id"])


@pytest.mark.parametrize("limit", ["0.04", "0.040", "0.5"])
def test_a_market_that_takes_no_more_than_the_limit_is_taken(limit: str) -> None:
    assert chosen(market_offer("dear", fee="0.04"), max_market_making_fee=limit) == "dear"


def test_below_the_limit_the_smallest_fee_is_taken() -> None:
    offers = market_offer("dear", fee="0.04"), market_offer("cheap", fee="0.02")
    assert chosen(*offers, max_market_making_fee="0.03") == "cheap"


@pytest.mark.parametrize("named", [{}, {"offer_id": "dear"}])
@pytest.mark.parametrize("limit", ["0.039999", "0"])
def test_a_market_above_the_limit_is_not_taken_even_if_named(
    limit: str, named: dict[str, str]
) -> None:
    with pytest.raises(WireError, match=f"fee above {limit} per kWh") as refused:
        chosen(market_offer("dear", fee="0.04"), max_market_making_fee=limit, **named)
    assert refused.value.code == "BIZ_OFFER_NOT_FOUND"


def test_without_a_limit_any_fee_is_taken() -> None:
    assert chosen(market_offer("dear", fee="400")) == "dear"
