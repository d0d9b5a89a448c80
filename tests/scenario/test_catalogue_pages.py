"""`POST /trades` chooses from all pages of an on_discover, which come one by one."""

from typing import Any

import pytest

from adapter.domain.parties import Side
from adapter.domain.trade import Trade, TradeState
from adapter.protocol.handlers.bap import NEXT_PAGE_MS
from tests.fakes.network import Network, offer, plan

CHEAP: dict[str, Any] = {"offer_id": "offer-zz", "price_micro_per_kwh": 100_000}
EVEN_CHEAPER: dict[str, Any] = {"offer_id": "offer-mm", "price_micro_per_kwh": 90_000}


async def publish(network: Network, count: int, **changes: Any) -> None:
    for number in range(count):
        await network.bpp.catalogue.publish(offer(offer_id=f"offer-{number:03}", **changes))


async def bought(network: Network, **changes: Any) -> Trade:
    """Return the trade after every page has come and none was waited for any longer."""
    transaction_id = await network.bap.originator.start_trade(plan(**changes))
    await network.deliver()
    trade = await network.trade(Side.BAP)
    if trade.state is TradeState.NEW and trade.error is None:
        network.clock.advance_ms(NEXT_PAGE_MS + 1)
        await network.tick()
        await network.deliver()
    return await network.bap.originator.wait_for_trade(transaction_id, 0)


@pytest.mark.parametrize("before", [10, 39, 40, 119])
async def test_the_cheapest_offer_is_found_on_whichever_page(network: Network, before: int) -> None:
    """Pages of 40: it is on the first, the last of the first, the first of the second, …"""
    await publish(network, before)
    await network.bpp.catalogue.publish(offer(**CHEAP))
    await network.bpp.catalogue.publish(offer(**EVEN_CHEAPER, minimum_micro_kwh=900_000_000))
    trade = await bought(network)
    assert (trade.state, trade.contract_id) == (TradeState.CONFIRMED, "contract-offer-zz")
    assert (trade.found, trade.pages_until_ms) == (None, None)


async def test_an_offer_on_the_last_page_counts_when_none_on_the_first_fits(
    network: Network,
) -> None:
    await publish(network, 100)
    await network.bpp.catalogue.publish(offer(**CHEAP))
    trade = await bought(network, max_price_per_kwh="0.12")
    assert trade.contract_id == "contract-offer-zz"


async def test_nothing_is_found_only_after_the_last_page(network: Network) -> None:
    await publish(network, 39)  # and the one that is there
    transaction_id = await network.bap.originator.start_trade(plan(max_price_per_kwh="0.05"))
    await network.deliver()
    waiting = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert (waiting.error, waiting.state) == (None, TradeState.NEW)
    network.clock.advance_ms(NEXT_PAGE_MS + 1)
    await network.tick()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_OFFER_NOT_FOUND"


async def test_a_short_page_is_not_waited_behind(network: Network) -> None:
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert trade.state is TradeState.CONFIRMED
