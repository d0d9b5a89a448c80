"""Whole trades between our nodes with fixed time and ids: where the example messages come from.

A tariff trade of 30 kWh from 16:00Z to 22:00Z, priced in Paris (T1 of the contract specification,
section 9): 17:00 to 21:00 local 20 kWh x 0.30 = 6.00, then 10 kWh x 0.10 = 1.00, so 7.00; VAT 20 %
is 1.40 beside it; wheeling 30 x 0.02 = 0.60. The buyer pays 9.00 in all.

A pay-as-clear market of a load and a roof, 09:00Z to 10:00Z (C1 and M, sections 10.2 and 7.3): it
clears at 0.069057 with 4.716981 kW each way.
"""

import base64
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapter.bootstrap import Node
from adapter.domain.instants import EPOCH_MS, format_instant, parse_instant
from adapter.domain.offers import Offer
from adapter.domain.quantities import to_micro
from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from adapter.settlement import reading_bytes
from tests.fakes.market_network import (
    GATE,
    LOAD,
    LOAD_METER,
    MARKET,
    ROOF,
    ROOF_CURVE,
    ROOF_METER,
    MarketNetwork,
    curve_plan,
    market_offer,
    open_market_network,
)
from tests.fakes.network import BUYER_METER, SELLER_METER, Network, Wire, offer, open_network, plan
from tests.fakes.readings import submit_readings

Message = dict[str, Any]

EVENING = "2026-03-02T16:00:00Z", "2026-03-02T22:00:00Z"
QUARTER_KWH = "1.25"
WORKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
LOAD_READINGS = ("1.179245", "1.179245", "1.179245", "1.179246")


async def fixed_run(folder: Path) -> list[Message]:
    """Return every message of a fixed-price trade, with a status request in its delivery."""
    network = await open_network(folder, public=True)
    try:
        await network.bpp.catalogue.publish(offer())
        transaction_id = await network.bap.originator.start_trade(plan())
        await network.deliver()
        network.clock.move_to("2026-03-02T08:46:00Z")
        await submit_readings(network, first=0, count=2)
        await network.tick()
        await _ask_status(network.bap, transaction_id)
        await network.deliver()
        network.clock.move_to("2026-03-02T09:20:00Z")
        await submit_readings(network, first=2, count=2)
        await network.tick()
        return _said(network.wire)
    finally:
        await network.close()


async def tariff_run(folder: Path) -> list[Message]:
    """Return every message of a tariff trade, with a status request in its delivery."""
    settings = {"currency": "EUR", "wheeling_rate": "0.02"}
    network = await open_network(folder, public=True, ledger=settings, currency="EUR")
    try:
        await network.bpp.catalogue.publish(_evening_offer())
        start, end = EVENING
        wish = plan(start=start, end=end, quantity_kwh="30")
        transaction_id = await network.bap.originator.start_trade(wish)
        await network.deliver()
        network.clock.move_to("2026-03-02T20:01:00Z")
        await _submit_evening(network, range(16))
        await network.tick()
        await _ask_status(network.bap, transaction_id)
        await network.deliver()
        network.clock.move_to("2026-03-02T22:05:00Z")
        await _submit_evening(network, range(16, 24))
        await network.tick()
        return _said(network.wire)
    finally:
        await network.close()


async def market_run(folder: Path) -> list[Message]:
    """Return every message of a market with two prosumers, from discover to both settled."""
    network = await open_market_network(folder, public=True)
    load, roof, market = (network.nodes[name] for name in (LOAD, ROOF, MARKET))
    try:
        await market.catalogue.publish(market_offer())
        transaction_id = await load.originator.start_trade(curve_plan())
        await network.deliver()
        await roof.originator.start_trade(curve_plan(ROOF_METER, ROOF_CURVE))
        await network.deliver()
        network.clock.move_to(GATE)
        network.clock.advance(1)
        await network.tick()
        network.clock.move_to("2026-03-02T09:31:00Z")
        await _submit_market(network, range(2))
        await network.tick()
        await _ask_status(load, transaction_id)
        await network.deliver()
        network.clock.move_to("2026-03-02T10:05:00Z")
        await _submit_market(network, range(2, 4))
        await network.tick()
        return _said(network.wire)
    finally:
        await network.close()


def _said(wire: Wire) -> list[Message]:
    return [strict_json.decode_object(raw) for _, raw in wire.log]


async def _ask_status(node: Node, transaction_id: str) -> None:
    order_id = (await node.queries.trade(transaction_id)).to_wire()["order"]["beckn:id"]
    body = {
        "context": {"transaction_id": transaction_id},
        "message": {"order": {"@type": "beckn:Order", "beckn:id": order_id}},
    }
    await node.originator.send(Action.STATUS, body)


def _evening_offer() -> Offer:
    start, end = EVENING
    tariff = {
        "currency": "EUR",
        "tariffId": "evening-peak",
        "type": "REGULAR",
        "elements": [
            _element("0.3", "17:00", "21:00", dayOfWeek=WORKDAYS),
            _element("0.1", "21:00", "07:00"),
            _element("0.18", "07:00", "17:00"),
            _element("0.1", "17:00", "21:00", dayOfWeek=["SATURDAY", "SUNDAY"]),
        ],
        "energyMix": {
            "isGreenEnergy": True,
            "energySources": [{"source": "WIND", "percentage": 100}],
        },
    }
    return offer(
        offer_id="offer-wind-3",
        source_type="WIND",
        currency="EUR",
        price_micro_per_kwh=0,
        tariff=tariff,
        time_zone="Europe/Paris",
        available_micro_kwh=to_micro("40"),
        published_micro_kwh=to_micro("40"),
        production_start_ms=parse_instant(start),
        production_end_ms=parse_instant(end),
    )


def _element(price: str, start: str, end: str, **more: Any) -> Message:
    return {
        "priceComponents": [{"type": "ENERGY", "price": Decimal(price), "vat": 20}],
        "restrictions": {"startTime": start, "endTime": end, **more},
    }


async def _submit_evening(network: Network, quarters: Sequence[int]) -> None:
    for index in quarters:
        start = parse_instant(EVENING[0]) + index * EPOCH_MS
        for meter, made, used in (
            (SELLER_METER, QUARTER_KWH, "0"),
            (BUYER_METER, "0", QUARTER_KWH),
        ):
            data: Message = {
                "meter_id": meter,
                "start": start,
                "end": start + EPOCH_MS,
                "generated": made,
                "consumed": used,
            }
            signature = network.meter_keys[meter].sign_bytes(reading_bytes(data))
            data["signature"] = base64.b64encode(signature).decode()
            await network.call("headend", "oracle", "submit_reading", meter_data=data)


async def _submit_market(network: MarketNetwork, quarters: Sequence[int]) -> None:
    for index in quarters:
        start = parse_instant("2026-03-02T09:00:00Z") + index * EPOCH_MS
        span = format_instant(start), format_instant(start + EPOCH_MS)
        await network.submit(ROOF_METER, *span, LOAD_READINGS[index], "0")
        await network.submit(LOAD_METER, *span, "0", LOAD_READINGS[index])
