"""One trade from discovery to settled balances, message by message, in one event loop."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.domain.parties import Side
from adapter.settlement import reading_bytes
from tests.fakes.network import (
    BAP,
    BPP,
    BUYER_METER,
    GRID,
    SELLER_METER,
    START,
    Network,
    offer,
    open_network,
    plan,
)


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


async def submit_readings(network: Network, *, kwh: str = "2.5", count: int = 4) -> None:
    """Submit signed readings of the first `count` quarter hours of the trade window."""
    for index in range(count):
        start = parse_instant(START) + index * EPOCH_MS
        for meter, generated, consumed in (
            (SELLER_METER, kwh, "0"),
            (BUYER_METER, "0", kwh),
        ):
            data: dict[str, Any] = {
                "meter_id": meter,
                "start": start,
                "end": start + EPOCH_MS,
                "generated": generated,
                "consumed": consumed,
            }
            signature = network.meter_keys[meter].sign_bytes(reading_bytes(data))
            data["signature"] = base64.b64encode(signature).decode()
            await network.call("headend", "oracle", "submit_reading", meter_data=data)


def actions(network: Network) -> list[str]:
    return [url.rsplit("/", 1)[1] for url, _ in network.wire.log]


async def test_ten_kwh_from_discover_to_settled_balances(network: Network) -> None:
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert trade.state == "CONFIRMED", trade.error
    assert actions(network) == [
        *("discover", "on_discover", "select", "on_select", "init", "init", "on_init", "on_init"),
        *("confirm", "confirm", "on_confirm", "on_confirm"),
    ]
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    await network.tick()
    assert actions(network)[12:] == ["on_status"] * 4
    for node, side in zip(network.nodes, (Side.BAP, Side.BPP, Side.GRID_OPERATOR), strict=True):
        trades = await node.parts.store.read(lambda uow, side=side: list(uow.trades(side, None, 9)))
        assert [trade.state for trade in trades] == ["COMPLETED"]
    # 20.00 - 10 x 0.15 - 10 x 0.025 = 18.25; 10 x 0.15 = 1.50; 10 x 0.025 = 0.25
    assert await network.balance("bob", "USD") == "18.25"
    assert await network.balance("bob", "GRID") == "10"
    assert await network.balance("sun", "USD") == "1.50"
    assert await network.balance("sun", "GRID") == "0"
    assert await network.balance(GRID, "USD") == "0.25"


def test_names() -> None:
    assert BAP != BPP


def bodies(network: Network) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in network.wire.log]
