"""Disputes, their end and deliveries in parts, as the buyer's app hears of them, on three nodes."""

import logging
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.domain.parties import Side
from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from tests.fakes.network import BAP, BPP, GRID, HOSTS, START, Network, offer, open_network, plan
from tests.fakes.orders import reference
from tests.fakes.readings import submit_readings

HOUR = 3_600
BASES = (Side.BAP, Side.BPP, Side.GRID_OPERATOR)


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Three nodes with a confirmed trade of 10 kWh; deliveries can be disputed for an hour."""
    opened = await open_network(tmp_path, ledger={"dispute_window_s": HOUR})
    await opened.bpp.catalogue.publish(offer())
    await opened.bap.originator.start_trade(plan())
    await opened.deliver()
    assert (await opened.trade(Side.BAP)).state == "CONFIRMED"
    yield opened
    await opened.close()


def told(network: Network, node: str = BAP) -> list[dict[str, Any]]:
    """Return the orders of the on_status that reached a node, in order."""
    orders = []
    for url, body in network.wire.log:
        if HOSTS[node] in url and url.endswith("/on_status"):
            orders.append(strict_json.decode_object(body)["message"]["order"])
    return orders


def delivery(order: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = order["beckn:fulfillments"][0]["beckn:attributes"]
    return found


def summary(order: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """Return contract status, delivery status and the status of each settlement cycle."""
    cycles = delivery(order).get("settlementCycles", [])
    status = str(order["beckn:orderAttributes"]["status"])
    return status, delivery(order)["deliveryStatus"], [cycle["status"] for cycle in cycles]


async def states(network: Network) -> list[str]:
    return [str((await network.trade(side)).state) for side in BASES]


async def record(network: Network, quarters: int) -> None:
    """Read and record the first so many quarters of the window."""
    until = parse_instant(START) + quarters * EPOCH_MS
    await network.call("headend", "agreements", "deliver_energy", agreement_no=1, until=until)
    await network.tick()


async def dispute(network: Network, number: int = 1, claimed: str = "8") -> None:
    args = {"transaction_no": number, "claimed_quantity": claimed, "reason": "secret reason"}
    await network.call(BAP, "agreements", "dispute_transaction", on_behalf_of="bob", **args)
    await network.tick()


async def resolve(network: Network, outcome: str, **args: Any) -> None:
    decided = {"transaction_no": 1, "outcome": outcome, **args}
    await network.call("rec", "agreements", "resolve_dispute", **decided)
    await network.tick()


async def deliver_all(network: Network) -> None:
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    await network.tick()


async def check_nothing_is_held(network: Network) -> None:
    assert network.grid.contracts is not None
    for owner in ("bob", "sun"):
        for asset in ("GRID", "USD"):
            args = {"user": owner, "asset": asset}
            read = await network.grid.contracts.read("token", "balance_of", args, actor="rec")
            assert Decimal(read["result"]["held"]) == 0
    totals = (await network.grid.contracts.state())["totals"]
    assert totals["cap_in_use"] == "0"


async def test_a_dispute_and_its_amended_end_reach_the_buyer(network: Network) -> None:
    await deliver_all(network)
    assert [summary(order) for order in told(network)] == [("ACTIVE", "IN_PROGRESS", [])]
    await dispute(network)
    disputed = told(network)[-1]
    assert summary(disputed) == ("ACTIVE", "COMPLETED", ["PENDING"])
    (cycle,) = delivery(disputed)["settlementCycles"]
    assert cycle["_dispute"] == {"claimedQuantity": 8}
    assert b"secret reason" not in b"".join(body for _, body in network.wire.log)
    await network.run(2)
    assert await states(network) == ["DELIVERING"] * 3
    network.clock.advance(2 * HOUR)
    await network.tick()
    assert len(told(network)) == 2  # nothing is settled while the dispute is open
    await resolve(network, "AMEND", quantity="8")
    done = told(network)[-1]
    assert summary(done) == ("COMPLETED", "COMPLETED", ["FAILED", "SETTLED"])
    _, cycle = delivery(done)["settlementCycles"]
    assert cycle["cycleId"] == delivery(done)["settlementCycleId"] == "cycle-1-amended"
    # 8 x 0.15 = 1.20, 8 x 0.025 = 0.20
    assert cycle["amount"] == Decimal("1.4")
    assert cycle["breakdown"] == {
        "energyCost": Decimal("1.2"),
        "wheelingCharges": Decimal("0.2"),
    }
    assert await states(network) == ["COMPLETED"] * 3
    assert await network.balance("bob", "USD") == "18.60"
    assert await network.balance("bob", "GRID") == "8"
    assert await network.balance("sun", "USD") == "1.20"
    assert await network.balance(GRID, "USD") == "0.20"
    await check_nothing_is_held(network)


async def test_an_upheld_delivery_is_completed_at_once(network: Network) -> None:
    await deliver_all(network)
    await dispute(network)
    await resolve(network, "UPHOLD")
    assert summary(told(network)[-1]) == ("COMPLETED", "COMPLETED", ["SETTLED"])
    assert await network.balance("sun", "USD") == "1.50"
    assert await states(network) == ["COMPLETED"] * 3


async def test_a_voided_delivery_ends_the_trade(network: Network) -> None:
    await deliver_all(network)
    await dispute(network)
    await resolve(network, "VOID")
    assert summary(told(network)[-1]) == ("TERMINATED", "FAILED", ["FAILED"])
    assert await states(network) == ["TERMINATED"] * 3
    assert await network.balance("bob", "USD") == "20.00"
    await check_nothing_is_held(network)


async def test_a_suspension_is_told_as_a_dispute(network: Network) -> None:
    await deliver_all(network)
    args = {"user": "sun", "new_status": "SUSPENDED"}
    await network.call("rec", "registry", "update_user_status", **args)
    await network.tick()
    (cycle,) = delivery(told(network)[-1])["settlementCycles"]
    assert cycle["_dispute"] == {"claimedQuantity": 0}
    assert await states(network) == ["DELIVERING"] * 3


async def test_parts_are_told_as_they_are_recorded_and_settled(network: Network) -> None:
    network.clock.move_to("2026-03-02T08:46:00Z")
    await submit_readings(network, count=2)
    await network.tick()
    await record(network, 2)
    network.clock.advance(HOUR)  # the first part is settled, all quarters are over
    await network.tick()
    await submit_readings(network, first=2, count=2)
    await network.tick()
    network.clock.advance(HOUR)
    await network.tick()
    assert [summary(order) for order in told(network)] == [
        ("ACTIVE", "IN_PROGRESS", []),
        ("ACTIVE", "IN_PROGRESS", ["PENDING", "PENDING"]),
        ("ACTIVE", "IN_PROGRESS", ["SETTLED", "PENDING"]),
        ("ACTIVE", "COMPLETED", ["SETTLED", "PENDING"]),
        ("COMPLETED", "COMPLETED", ["SETTLED", "SETTLED"]),
    ]
    amounts = [c["amount"] for c in delivery(told(network)[-1])["settlementCycles"]]
    # 5 x 0.175 each
    assert amounts == [Decimal("0.875"), Decimal("0.875")]
    assert len(told(network, BPP)) == len(told(network))
    assert await states(network) == ["COMPLETED"] * 3
    await check_nothing_is_held(network)


async def test_a_disputed_part_does_not_stop_the_others(network: Network) -> None:
    network.clock.move_to("2026-03-02T08:46:00Z")
    await submit_readings(network, count=2)
    await network.tick()
    await record(network, 2)
    await dispute(network, claimed="4")
    assert summary(told(network)[-1]) == ("ACTIVE", "IN_PROGRESS", ["PENDING", "PENDING"])
    network.clock.advance(HOUR)
    await submit_readings(network, first=2, count=2)
    await network.tick()
    network.clock.advance(HOUR)
    await network.tick()
    assert summary(told(network)[-1]) == ("ACTIVE", "COMPLETED", ["PENDING", "SETTLED"])
    await resolve(network, "AMEND", quantity="4")
    cycles = ["FAILED", "SETTLED", "SETTLED"]
    assert summary(told(network)[-1]) == ("COMPLETED", "COMPLETED", cycles)
    assert await network.balance("bob", "GRID") == "9"
    await check_nothing_is_held(network)


async def test_with_consent_of_both_the_platform_can_only_ask(tmp_path: Path) -> None:
    network = await open_network(tmp_path, ledger={"cancel_consent": "BOTH"})
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    order = (await network.trade(Side.BAP)).order
    assert order is not None
    wish = {
        "context": {"bpp_id": BPP, "transaction_id": transaction_id},
        "message": {"order": reference(order["beckn:id"])},
    }
    await network.bap.originator.send(Action.CANCEL, wish)
    await network.deliver()
    error = (await network.trade(Side.BAP)).error
    assert error is not None
    assert error["code"] == "POL_CANCELLATION_NOT_ALLOWED"
    assert await states(network) == ["CONFIRMED"] * 3
    args = {"agreement_no": 1}
    await network.call(BAP, "agreements", "cancel_agreement", on_behalf_of="bob", **args)
    await network.tick()
    assert await states(network) == ["TERMINATED"] * 3
    assert await network.balance("bob", "USD") == "20.00"
    await check_nothing_is_held(network)
    await network.close()


async def test_refused_readings_leave_nothing_private_in_the_log(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    network.clock.move_to("2026-03-02T09:20:00Z")
    data = {
        "meter_id": "meter-home-3",
        "start": parse_instant(START),
        "end": parse_instant(START) + EPOCH_MS,
        "generated": "77.123456",
        "consumed": "66.654321",
        "signature": "A" * 86 + "==",
    }
    with caplog.at_level(logging.DEBUG), pytest.raises(ContractError):
        await network.call("headend", "oracle", "submit_reading", meter_data=data)
    shown = caplog.text + " ".join(str(vars(record)) for record in caplog.records)
    for private in ("meter-home-3", "77.123456", "77123456", "66.654321", "66654321", "AAAA"):
        assert private not in shown
