"""A tariff that names no time zone is read in that of the node that judges it."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.fakes.network import BPP, open_network
from tests.fakes.orders import Order, contract, init_order, inputs
from tests.fakes.stranger import Stranger

PRICE = [{"type": "ENERGY", "price": Decimal("0.15")}]


def morning_order() -> Order:
    """Return an order under a tariff from 06:00 to 12:00 local time, with energy delivered."""
    order = init_order()
    seller = inputs(order, "SELLER")
    del seller["pricePerKWh"], seller["currency"]
    seller["tariff"] = {
        "tariffId": "morning",
        "currency": "USD",
        "type": "REGULAR",
        "elements": [
            {
                "priceComponents": PRICE,
                "restrictions": {"startTime": "06:00", "endTime": "12:00"},
            }
        ],
    }
    contract(order)["revenueFlows"]["flows"] = [
        {
            "from": "BUYER",
            "to": "SELLER",
            "formula": "computeTariffPrice(roles.SELLER.roleInputs.tariff,"
            " roles.BUYER.roleInputs.tradeStartTime, roles.BUYER.roleInputs.tradeEndTime,"
            " deliveredQuantity) × deliveredQuantity",
        }
    ]
    order["beckn:fulfillments"][0]["beckn:attributes"] = {
        "@type": "EnergyTradeDelivery",
        "deliveryStatus": "COMPLETED",
        "deliveredQuantity": 10,
    }
    return order


@pytest.mark.parametrize(
    ("zone", "has_gap"),
    [("UTC", False), ("Asia/Kolkata", True)],  # the window begins at 08:15Z, 13:45 in Kolkata
)
async def test_a_gap_of_a_tariff_depends_on_the_zone(
    tmp_path: Path, zone: str, has_gap: bool
) -> None:
    network = await open_network(tmp_path, rules={BPP: {"time_zone": zone}})
    try:
        stranger = Stranger(network)
        reply = await stranger.post(stranger.request("init", morning_order()))
        assert ("P2P_TARIFF_GAP" in reply.raw.decode()) is has_gap, reply.raw
    finally:
        await network.close()
