"""Meter readings, signed by the meters' keys."""

import base64
from collections.abc import Sequence
from typing import Any

from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.settlement import reading_bytes
from tests.fakes.network import BUYER_METER, SELLER_METER, START, Network


async def submit_readings(
    network: Network,
    *,
    first: int = 0,
    count: int = 4,
    generated: str = "2.5",
    consumed: str = "2.5",
    meters: Sequence[str] = (SELLER_METER, BUYER_METER),
) -> None:
    """Submit readings of `count` quarter hours of the trade window, for both meters or some."""
    for index in range(first, first + count):
        start = parse_instant(START) + index * EPOCH_MS
        for meter in meters:
            sells = meter == SELLER_METER
            made, used = (generated, "0") if sells else ("0", consumed)
            data: dict[str, Any] = {
                "meter_id": meter,
                "start": start,
                "end": start + EPOCH_MS,
                "generated": made,
                "consumed": used,
            }
            signature = network.meter_keys[meter].sign_bytes(reading_bytes(data))
            data["signature"] = base64.b64encode(signature).decode()
            await network.call("headend", "oracle", "submit_reading", meter_data=data)
