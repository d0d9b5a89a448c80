import base64
from typing import Any

import pytest
from nacl.signing import SigningKey

from adapter.domain.errors import ContractError
from adapter.settlement import reading_bytes
from tests.unit.settlement.world import EPOCH, NOON, World, settled_with

START = NOON


@pytest.fixture
def world() -> World:
    """Return a ledger with a meter of 15 kW, just after the interval `START`."""
    world = World().open()
    world.user("alice")
    world.meter("m-1", "alice")
    world.now = START + EPOCH
    return world


def submit(world: World, data: dict[str, Any]) -> None:
    world.do("oracle.submit_reading", "headend", meter_data=data)


def refused(world: World, code: str, data: dict[str, Any], actor: str = "headend") -> ContractError:
    return world.refused(code, "oracle.submit_reading", actor, meter_data=data)


def test_the_signed_bytes_are_those_of_ruling_1() -> None:
    data = {
        "meter_id": "m-1",
        "start": 900_000,
        "end": 1_800_000,
        "generated": "2.5",
        "consumed": 0,
    }
    assert reading_bytes(data) == (
        b"p2ptrade.reading.v1\n"
        b'{"consumed":"0","end":1800000,"generated":"2500000","meter_id":"m-1","start":900000}'
    )


def test_a_reading_is_stored_and_minted(world: World) -> None:
    receipt = world.submit("m-1", START, generated="2.5", consumed="0.5")
    assert [event.name for event in receipt.events] == ["EnergyDataFulfilled", "Minted", "Transfer"]
    assert receipt.events[0].fields["tokens_minted"] == 2_500_000
    assert world.available("alice", "GRID") == 2_500_000
    reading = world.read("oracle.get_reading", meter_id="m-1", interval=START)
    assert (reading["generated"], reading["consumed"], reading["minted"]) == ("2.5", "0.5", "2.5")


def test_refusals_of_submit_reading_in_order(world: World) -> None:
    good = world.signed("m-1", START, generated=1)
    refused(world, "NOT_ORACLE_OPERATOR", good, "alice")
    refused(world, "METER_NOT_FOUND", {**good, "meter_id": "m-9"})
    early = world.signed("m-1", START - EPOCH * 4, generated=1)
    refused(world, "METER_MISMATCH", early)
    refused(world, "INVALID_SIGNATURE", {**good, "generated": 2})
    submit(world, good)
    refused(world, "READING_CONFLICT", world.signed("m-1", START, generated=2))
    running = world.signed("m-1", START + EPOCH, generated=4)
    error = refused(world, "INTERVAL_NOT_ENDED", running)
    assert error.details["retry_at"] == START + 2 * EPOCH
    assert error.transient
    world.now += EPOCH
    refused(world, "CAPACITY_EXCEEDED", running)


def test_the_end_of_an_interval_is_in_time(world: World) -> None:
    world.now = START + EPOCH - 1
    data = world.signed("m-1", START, generated=1)
    refused(world, "INTERVAL_NOT_ENDED", data)
    world.now += 1
    submit(world, data)


def test_15_kw_make_3_75_kwh_and_not_a_millionth_more(world: World) -> None:
    refused(world, "CAPACITY_EXCEEDED", world.signed("m-1", START, generated="3.750001"))
    submit(world, world.signed("m-1", START, generated="3.75", consumed=9))


def test_an_identical_reading_is_a_success_without_effect(world: World) -> None:
    data = world.signed("m-1", START, generated=1)
    first = world.do("oracle.submit_reading", "headend", meter_data=data)
    before = world.fingerprint()
    again = world.do("oracle.submit_reading", "headend", meter_data=data)
    assert (again.seq, again.entry_hash) == (first.seq, first.entry_hash)
    assert again.replayed
    assert not again.events
    assert world.fingerprint() == before
    assert world.available("alice", "GRID") == 1_000_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"end": START + 2 * EPOCH}, "INVALID_INTERVAL", id="two intervals"),
        pytest.param(
            {"start": START + 1, "end": START + 1 + EPOCH}, "INVALID_INTERVAL", id="off grid"
        ),
        pytest.param({"generated": "-1"}, "INVALID_ENERGY_AMOUNT", id="negative"),
        pytest.param({"generated": "0.0000001"}, "INVALID_ENERGY_AMOUNT", id="seven decimals"),
        pytest.param({"consumed": True}, "INVALID_ENERGY_AMOUNT", id="no number"),
        pytest.param({"voltage": 230}, "INVALID_INPUT", id="a part that no reading has"),
    ],
)
def test_malformed_readings_are_refused(world: World, change: dict[str, object], code: str) -> None:
    refused(world, code, {**world.signed("m-1", START, generated=1), **change})


@pytest.mark.parametrize("name", ["meter_id", "start", "generated", "consumed", "signature"])
def test_a_reading_with_a_part_missing_is_refused(world: World, name: str) -> None:
    data = world.signed("m-1", START, generated=1)
    del data[name]
    refused(world, "INVALID_INPUT", data)


def test_another_key_does_not_sign_for_the_meter(world: World) -> None:
    data = world.signed("m-1", START, generated=1)
    forged = SigningKey.generate().sign(reading_bytes(data)).signature
    refused(world, "INVALID_SIGNATURE", {**data, "signature": base64.b64encode(forged).decode()})
    refused(world, "INVALID_SIGNATURE", {**data, "signature": "AAAA"})


@pytest.mark.parametrize(
    ("kind", "data"),
    [("GENERATION", {"consumed": 1}), ("CONSUMPTION", {"generated": 1})],
)
def test_a_meter_counts_what_it_was_registered_for(
    world: World, kind: str, data: dict[str, int]
) -> None:
    world.meter("m-2", "alice", kind=kind)
    refused(world, "METER_MISMATCH", world.signed("m-2", START, **data))


def test_registers_never_run_backwards(world: World) -> None:
    world.now += 5 * EPOCH
    for offset, register in ((0, 100), (2, 102)):
        data = world.signed("m-1", START + offset * EPOCH, 1, register_generated=register)
        submit(world, data)
    middle = START + EPOCH
    for backwards in ("99.999999", "102.000001"):
        data = world.signed("m-1", middle, 1, register_generated=backwards)
        refused(world, "REGISTER_NOT_MONOTONIC", data)
    submit(world, world.signed("m-1", middle, 1, register_generated=100))


def test_generation_of_a_user_that_is_not_active_is_withheld(world: World) -> None:
    args = {"user": "alice", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **args)
    receipt = world.submit("m-1", START, generated=1)
    assert receipt.events[0].fields["withheld"] == 1_000_000
    assert world.posted("alice", "GRID") == 0


def test_without_auto_mint_a_reading_is_only_stored() -> None:
    world = World().open(settled_with(auto_mint=False))
    world.user("alice")
    world.meter("m-1", "alice")
    world.now = START + EPOCH
    world.submit("m-1", START, generated=1)
    assert world.posted("alice", "GRID") == 0
