"""Wrong behaviour of the published oracle clients that must never appear here.

Lines B11, B12, B17 and B20 of settlement.md section 16, as far as requests, corrections, disputes
and evidence are concerned; the others are in `test_regressions.py`.
"""

import pytest

from tests.unit.settlement.world import EPOCH, NOON, Market, World, events_of, settled_with

ASK, FULFIL = "oracle.request_energy_data", "oracle.fulfill_energy_data"
DISPUTE = "agreements.dispute_transaction"


@pytest.fixture
def world() -> World:
    """Return a ledger with two meters, a fee of 1 USD per reading and 2 USD to pay it."""
    world = World().open(settled_with(oracle_fee=1, max_pending_requests=2))
    for user, meter in (("alice", "m-1"), ("bob", "m-2")):
        world.user(user)
        world.meter(meter, user)
    world.deposit("alice", 2)
    world.do("oracle.fund_oracle", "alice", amount=2)
    world.now = NOON + EPOCH
    return world


def test_b11_a_request_takes_no_reading_of_another_meter_and_mints_once(world: World) -> None:
    world.do(ASK, "alice", meter_id="m-1")
    for meter in ("m-2", "m-1"):
        other = world.signed(meter, NOON if meter == "m-2" else NOON - EPOCH, generated=1)
        world.refused("METER_MISMATCH", FULFIL, "headend", request_no=1, meter_data=other)
    good = world.signed("m-1", NOON, generated=1)
    unsigned = {**good, "signature": "A" * 86 + "=="}
    world.refused("INVALID_SIGNATURE", FULFIL, "headend", request_no=1, meter_data=unsigned)
    world.do(FULFIL, "headend", request_no=1, meter_data=good)
    world.do(ASK, "alice", meter_id="m-1")
    world.do(FULFIL, "headend", request_no=2, meter_data=good)
    world.do("oracle.submit_reading", "headend", meter_data=good)
    assert world.posted("alice", "GRID") == 1_000_000


def test_b12_a_refused_answer_leaves_the_request_and_it_reaches_expired(world: World) -> None:
    world.do(ASK, "alice", meter_id="m-1")
    world.now += 600_001
    data = world.signed("m-1", NOON, generated=1)
    world.refused("REQUEST_EXPIRED", FULFIL, "headend", request_no=1, meter_data=data)
    assert world.read("oracle.get_oracle_balance")["held"] == "1.00"
    assert len(events_of(world.tick(), "OracleRequestExpired")) == 1
    assert world.read("oracle.get_request", request_no=1)["status"] == "EXPIRED"
    assert world.read("oracle.get_oracle_balance")["held"] == "0.00"


def test_b17_fees_are_taken_and_the_pending_limit_counts(world: World) -> None:
    for _ in range(2):
        world.do(ASK, "alice", meter_id="m-1")
    world.refused("TOO_MANY_PENDING_REQUESTS", ASK, "bob", meter_id="m-2")
    data = world.signed("m-1", NOON, generated=1)
    for number in (1, 2):
        world.do(FULFIL, "headend", request_no=number, meter_data=data)
    # 1.00 for the reading; the second request brought nothing new, so its fee is free again.
    assert world.posted("headend", "USD") == 1_000_000
    shown = world.read("oracle.get_oracle_balance")
    assert (shown["posted"], shown["held"]) == ("1.00", "0.00")
    world.do(ASK, "alice", meter_id="m-1")
    world.refused("INSUFFICIENT_ORACLE_BALANCE", ASK, "alice", meter_id="m-1")


def test_b20_both_parties_have_a_way_to_dispute_and_no_reading_is_changed_alone() -> None:
    world = Market().set_up(settled_with(dispute_window_s=60))
    world.agree()
    world.deliver(10, 10)
    world.tick()
    dispute = {"transaction_no": 1, "claimed_quantity": 4}
    world.refused("NOT_AUTHORIZED", DISPUTE, "stranger", **dispute)
    world.do(DISPUTE, "alice", **dispute)
    world.now += 3_600_000
    world.tick()
    assert world.posted("bob", "USD") == 0
    resolve = {"transaction_no": 1, "outcome": "UPHOLD"}
    for party in ("alice", "bob", "headend"):
        world.refused("NOT_REC_REGULATOR", "agreements.resolve_dispute", party, **resolve)
    data = world.signed("m-sell", world.start, generated=0)
    args = {"meter_id": "m-sell", "interval": world.start, "meter_data": data}
    world.refused("NOT_ORACLE_OPERATOR", "oracle.correct_reading", "bob", **args)
    number = world.do("oracle.correct_reading", "headend", **args).result["correction_no"]
    confirm = {"correction_no": number}
    world.refused("NOT_REC_REGULATOR", "oracle.confirm_correction", "bob", **confirm)


def test_b20_the_history_of_a_user_is_looked_up_and_not_searched() -> None:
    world = Market().set_up()
    world.agree()
    world.deliver(10, 10)
    world.tick()
    (own,) = world.read("agreements.get_transaction_history", "alice", prosumer="alice")
    assert own["state"] == "SETTLED"
    assert world.read("agreements.get_transaction_history", "stranger", prosumer="alice") == []
