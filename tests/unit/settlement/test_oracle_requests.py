"""Requests for readings: who may ask and answer, what they cost, and how they end."""

from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import Receipt
from adapter.settlement.oracle_rows import (
    REQUEST_TRANSITIONS,
    RequestState,
    RequestStep,
    next_request,
)
from adapter.settlement.postings import TransitionError
from tests.unit.settlement.world import EPOCH, NOON, World, events_of, settled_with

START = NOON
ASK, FULFIL, FAIL = (
    "oracle.request_energy_data",
    "oracle.fulfill_energy_data",
    "oracle.fail_request",
)
FUND = "contract:oracle"
TIMEOUT = 600_000


def open_world(**settings: object) -> World:
    """Return a ledger whose oracle has 5 USD, just after the interval `START`."""
    world = World().open(settled_with(**settings))
    for user in ("alice", "bob"):
        world.user(user, representative=f"app-{user}")
    world.meter("m-1", "alice")
    world.meter("m-2", "bob")
    world.now = START + EPOCH
    world.deposit("bob", 5)
    world.do("oracle.fund_oracle", "bob", amount=5)
    return world


@pytest.fixture
def world() -> World:
    """Return that ledger with a fee of 0.25 per reading."""
    return open_world(oracle_fee="0.25")


def ask(world: World, caller: str = "alice", **args: Any) -> int:
    receipt = world.do(ASK, caller, meter_id="m-1", **args)
    return int(receipt.result["request_no"])


def fulfil(world: World, number: int = 1, generated: object = 1, start: int = START) -> Receipt:
    data = world.signed("m-1", start, generated)
    return world.do(FULFIL, "headend", request_no=number, meter_data=data)


def status(world: World, number: int = 1) -> str:
    return str(world.read("oracle.get_request", request_no=number)["status"])


@pytest.mark.parametrize("state", list(RequestState))
@pytest.mark.parametrize("step", list(RequestStep))
def test_steps_of_a_request(state: RequestState, step: RequestStep) -> None:
    assert set(REQUEST_TRANSITIONS) == set(RequestState)
    ends = {"FULFIL": "FULFILLED", "FAIL": "FAILED", "EXPIRE": "EXPIRED"}
    if state is RequestState.PENDING:
        assert next_request(state, step) == ends[step]
        return
    with pytest.raises(TransitionError):
        next_request(state, step)


def test_a_request_holds_its_fee_and_names_its_end(world: World) -> None:
    receipt = world.do(ASK, "app-alice", "alice", meter_id="m-1")
    assert receipt.result == {
        "request_no": 1,
        "interval": START,  # the last one that ended
        "expires_at": world.now + TIMEOUT,
    }
    (event,) = receipt.events
    assert event.fields["requester"] == "alice"
    # 5.00 less 0.25
    assert world.read("oracle.get_oracle_balance") == {
        "posted": "5.00",
        "held": "0.25",
        "available": "4.75",
    }


def test_the_operator_that_fulfils_gets_the_fee_and_the_owner_the_energy(world: World) -> None:
    ask(world)
    receipt = fulfil(world, generated="2.5")
    (done,) = events_of([receipt], "EnergyDataFulfilled")
    assert (done.fields["request_no"], done.fields["tokens_minted"]) == (1, 2_500_000)
    assert world.posted("headend", "USD") == 250_000
    assert world.posted(FUND, "USD") == 4_750_000
    assert world.posted("alice", "GRID") == 2_500_000
    assert status(world) == "FULFILLED"


def test_without_a_fee_nothing_is_held_or_paid() -> None:
    world = open_world()
    ask(world)
    fulfil(world)
    assert world.posted("headend", "USD") == 0
    assert world.posted(FUND, "USD") == 5_000_000


def test_a_reading_that_is_stored_already_fulfils_and_is_minted_once(world: World) -> None:
    world.submit("m-1", START, generated=1)
    ask(world)
    receipt = fulfil(world)
    assert not events_of([receipt], "Minted")
    assert world.posted("alice", "GRID") == 1_000_000
    assert world.posted("headend", "USD") == 0  # nothing was stored or minted for the fee


def test_what_was_withheld_from_a_suspended_owner_is_minted_by_a_later_request(
    world: World,
) -> None:
    suspend = {"user": "alice", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **suspend)
    world.submit("m-1", START, generated=2)
    assert world.posted("alice", "GRID") == 0
    world.refused("USER_NOT_VERIFIED", ASK, "headend", meter_id="m-1")
    world.do("registry.update_user_status", "regulator", user="alice", new_status="ACTIVE")
    ask(world)
    receipt = fulfil(world, generated=2)
    (done,) = events_of([receipt], "EnergyDataFulfilled")
    assert (done.fields["tokens_minted"], done.fields["withheld"]) == (2_000_000, 0)
    assert world.posted("alice", "GRID") == 2_000_000


def test_a_request_of_a_suspended_owner_is_fulfilled_without_minting(world: World) -> None:
    ask(world)
    suspend = {"user": "alice", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **suspend)
    (done,) = events_of([fulfil(world)], "EnergyDataFulfilled")
    assert (done.fields["tokens_minted"], done.fields["withheld"]) == (0, 1_000_000)
    assert world.posted("alice", "GRID") == 0


def test_without_auto_mint_a_request_mints_nothing() -> None:
    world = open_world(auto_mint=False)
    ask(world)
    fulfil(world)
    assert world.posted("alice", "GRID") == 0


def test_a_failed_request_gives_its_fee_back(world: World) -> None:
    ask(world)
    world.do(FAIL, "headend", request_no=1, reason="meter offline")
    assert status(world) == "FAILED"
    assert world.read("oracle.get_oracle_balance")["available"] == "5.00"
    assert world.posted("headend", "USD") == 0


def test_a_request_lapses_one_millisecond_after_its_end(world: World) -> None:
    ask(world)
    world.now += TIMEOUT
    assert status(world) == "PENDING"
    assert world.do("registry.expire_due", "system").result == {"expired": 0}
    world.now += 1
    assert status(world) == "EXPIRED"  # before its command ran
    assert world.read("oracle.get_pending_requests") == []
    assert world.read("oracle.get_oracle_balance")["held"] == "0.25"
    assert len(events_of(world.tick(), "OracleRequestExpired")) == 1
    assert world.read("oracle.get_oracle_balance")["held"] == "0.00"
    assert status(world) == "EXPIRED"


def test_at_its_end_a_request_is_still_fulfilled(world: World) -> None:
    ask(world)
    world.now += TIMEOUT
    fulfil(world)
    assert status(world) == "FULFILLED"


# Refusals in order


def test_refusals_of_request_energy_data_in_order() -> None:
    world = open_world(oracle_fee=3, max_pending_requests=2)
    world.refused("INVALID_INTERVAL", ASK, "eve", meter_id="m-9", interval=START + 1)
    world.refused("METER_NOT_FOUND", ASK, "eve", meter_id="m-9")
    world.refused("NOT_AUTHORIZED", ASK, "bob", meter_id="m-1")
    world.refused("NOT_AUTHORIZED", ASK, "app-bob", "alice", meter_id="m-1")
    before = START - 4 * EPOCH  # nobody owned the meter then
    world.refused("NOT_AUTHORIZED", ASK, "alice", meter_id="m-1", interval=before)
    world.refused("USER_NOT_VERIFIED", ASK, "headend", meter_id="m-1", interval=before)
    ask(world)
    # 5 less the fee of 3
    error = world.refused("INSUFFICIENT_ORACLE_BALANCE", ASK, "alice", meter_id="m-1")
    assert error.details["available"] == "2000000"
    world.deposit("bob", 3)
    world.do("oracle.fund_oracle", "bob", amount=1)
    ask(world, "headend")
    world.refused("TOO_MANY_PENDING_REQUESTS", ASK, "alice", meter_id="m-1")
    fulfil(world)
    world.do("oracle.fund_oracle", "bob", amount=2)
    world.refused("INSUFFICIENT_ORACLE_BALANCE", ASK, "alice", meter_id="m-1")


def test_refusals_of_fulfill_energy_data_in_order(world: World) -> None:
    ask(world)
    good = world.signed("m-1", START, generated=1)
    args = {"request_no": 1, "meter_data": good}
    world.refused("NOT_ORACLE_OPERATOR", FULFIL, "alice", request_no=9, meter_data=good)
    world.refused("REQUEST_NOT_FOUND", FULFIL, "headend", request_no=9, meter_data=good)
    for meter, start in (("m-2", START), ("m-1", START - EPOCH)):
        other = world.signed(meter, start, generated=1)
        world.refused("METER_MISMATCH", FULFIL, "headend", request_no=1, meter_data=other)
    forged = {**good, "generated": 2}
    world.refused("INVALID_SIGNATURE", FULFIL, "headend", request_no=1, meter_data=forged)
    world.do(FULFIL, "headend", **args)
    world.refused("REQUEST_ALREADY_FULFILLED", FULFIL, "headend", **args)
    ask(world)
    other = world.signed("m-1", START, generated=2)
    world.refused("READING_CONFLICT", FULFIL, "headend", request_no=2, meter_data=other)


def test_a_late_or_early_answer_is_refused(world: World) -> None:
    ask(world)
    good = world.signed("m-1", START, generated=4)
    args = {"request_no": 1, "meter_data": good}
    world.refused("CAPACITY_EXCEEDED", FULFIL, "headend", **args)
    world.now += TIMEOUT + 1
    world.refused("REQUEST_EXPIRED", FULFIL, "headend", **args)
    world.refused("REQUEST_EXPIRED", FAIL, "headend", request_no=1)
    world.tick()
    world.refused("REQUEST_EXPIRED", FULFIL, "headend", **args)
    running = world.now - world.now % EPOCH
    ask(world, interval=running)
    early = world.signed("m-1", running, generated=1)
    world.refused("INTERVAL_NOT_ENDED", FULFIL, "headend", request_no=2, meter_data=early)


def test_registers_count_for_requests_too(world: World) -> None:
    ask(world)
    data = world.signed("m-1", START, 1, register_generated=100)
    world.do(FULFIL, "headend", request_no=1, meter_data=data)
    world.now += EPOCH
    ask(world)
    back = world.signed("m-1", START + EPOCH, 1, register_generated=99)
    world.refused("REGISTER_NOT_MONOTONIC", FULFIL, "headend", request_no=2, meter_data=back)


def test_refusals_of_fail_request_in_order(world: World) -> None:
    ask(world)
    world.refused("NOT_ORACLE_OPERATOR", FAIL, "alice", request_no=9)
    world.refused("REQUEST_NOT_FOUND", FAIL, "headend", request_no=9)
    fulfil(world)
    world.refused("REQUEST_ALREADY_FULFILLED", FAIL, "headend", request_no=1)


def test_the_fund_takes_only_what_the_payer_has(world: World) -> None:
    world.refused("INVALID_INPUT", "oracle.fund_oracle", "bob", amount=0)
    world.refused("INSUFFICIENT_FUNDS", "oracle.fund_oracle", "bob", amount=1)
    world.refused("INSUFFICIENT_FUNDS", "oracle.fund_oracle", "stranger", amount=1)


def test_a_meter_whose_reading_is_asked_for_stays_assigned(world: World) -> None:
    ask(world)
    name = "registry.unassign_meter"
    world.refused("METER_IN_USE", name, "regulator", meter_id="m-1")
    world.now += TIMEOUT
    world.refused("METER_IN_USE", name, "regulator", meter_id="m-1")
    world.now += 1
    world.do(name, "regulator", meter_id="m-1")


# Visibility


def test_head_ends_see_all_requests_and_owners_their_own(world: World) -> None:
    ask(world)
    world.do(ASK, "bob", meter_id="m-2")
    pending = "oracle.get_pending_requests"
    meters = {
        caller: [one["meter_id"] for one in world.read(pending, caller)]
        for caller in ("headend", "alice", "app-bob", "stranger")
    }
    assert meters == {
        "headend": ["m-1", "m-2"],
        "alice": ["m-1"],
        "app-bob": ["m-2"],
        "stranger": [],
    }
    shown = world.read("oracle.get_request", "alice", request_no=1)
    assert shown["expires_at"] == world.now + TIMEOUT
    for number in (2, 3):
        with pytest.raises(ContractError) as caught:
            world.read("oracle.get_request", "alice", request_no=number)
        assert caught.value.code == "REQUEST_NOT_FOUND"
