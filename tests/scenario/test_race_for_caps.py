"""Many buyers want the last kilowatt hours of one meter."""

import asyncio
from collections import Counter
from pathlib import Path

from adapter.domain.parties import Side
from adapter.domain.quantities import to_micro
from tests.fakes.network import SELLER_METER, Network, offer, open_network, plan


async def race(network: Network, buyers: int) -> Counter[tuple[str, str | None]]:
    """Return how many trades ended in which (state, error code)."""
    ids = await asyncio.gather(
        *(network.bap.originator.start_trade(plan(quantity_kwh="1")) for _ in range(buyers))
    )
    await network.deliver()
    trades = [await network.bap.originator.wait_for_trade(one, 0) for one in ids]
    return Counter((trade.state.value, (trade.error or {}).get("code")) for trade in trades)


async def test_of_100_buyers_exactly_45_get_the_45_kwh_a_meter_may_still_sell(
    tmp_path: Path,
) -> None:
    network = await open_network(
        tmp_path, seller_cap="45", buyer_cap="1000", cash="1000", allowance="1000"
    )
    try:
        stock = to_micro("500")
        await network.bpp.catalogue.publish(
            offer(available_micro_kwh=stock, published_micro_kwh=stock)
        )
        assert await race(network, 100) == {
            ("CONFIRMED", None): 45,
            ("SELECTED", "BIZ_QUANTITY_UNAVAILABLE"): 55,
        }
        assert network.grid.contracts is not None
        caps = await network.grid.contracts.read(
            "registry", "get_trade_caps", {"meter_id": SELLER_METER}, actor="rec"
        )
        sell = caps["result"]["SELL"]
        assert (sell["cap"], sell["total"], sell["reserved"], sell["room"]) == (
            "45",
            "45",
            "0",
            "0",
        )
        left = (await network.bpp.catalogue.offers())[0].available_micro_kwh
        assert left == stock - to_micro("45")  # what the 55 had taken went back
        operator = await network.grid.parts.store.read(
            lambda uow: list(uow.trades(Side.GRID_OPERATOR, None, 100))
        )
        assert Counter(trade.state.value for trade in operator) == {"CONFIRMED": 45, "NEW": 55}
        # 45 x (0.15 + 0.025) = 7.875 is held of 1000
        held = await network.grid.contracts.read(
            "token", "balance_of", {"user": "bob", "asset": "USD"}, actor="rec"
        )
        assert held["result"]["held"] == "7.875"
    finally:
        await network.close()


async def test_of_100_buyers_exactly_45_get_a_stock_of_45_kwh(tmp_path: Path) -> None:
    network = await open_network(
        tmp_path, seller_cap="1000", buyer_cap="1000", cash="1000", allowance="1000"
    )
    try:
        stock = to_micro("45")
        await network.bpp.catalogue.publish(
            offer(available_micro_kwh=stock, published_micro_kwh=stock)
        )
        ended = await race(network, 100)
        assert ended[("CONFIRMED", None)] == 45
        assert sum(ended.values()) == 100
        assert {code for state, code in ended if state != "CONFIRMED"} <= {
            "BIZ_QUANTITY_UNAVAILABLE",
            "BIZ_OFFER_NOT_FOUND",
        }
        assert await network.bpp.catalogue.offers() == [
            offer(available_micro_kwh=0, published_micro_kwh=stock)
        ]
    finally:
        await network.close()
