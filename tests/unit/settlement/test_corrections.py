"""Corrections of readings: proposed by a head-end, confirmed by a regulator, never in the past."""

from typing import Any

import pytest

from adapter.settlement import Receipt, agreement_view
from tests.unit.settlement.world import EPOCH, NOON, Market, World, events_of, settled_with

CORRECT, CONFIRM = "oracle.correct_reading", "oracle.confirm_correction"


@pytest.fixture
def world() -> World:
    """Return a ledger where alice's meter gave 3 kWh and took 2 in the interval of noon."""
    world = World().open()
    for user in ("alice", "bob"):
        world.user(user)
    world.meter("m-1", "alice")
    world.now = NOON + EPOCH
    world.submit("m-1", NOON, generated=3, consumed=2)
    return world


def propose(
    world: World, generated: object, consumed: object = 0, meter: str = "m-1", start: int = NOON
) -> int:
    data = world.signed(meter, start, generated, consumed)
    args = {"meter_id": meter, "interval": start, "meter_data": data, "reason": "drift"}
    return int(world.do(CORRECT, "headend", **args).result["correction_no"])


def confirm(world: World, number: int = 1) -> Receipt:
    return world.do(CONFIRM, "regulator", correction_no=number)


def correct(world: World, generated: object, consumed: object = 0, **place: Any) -> Receipt:
    return confirm(world, propose(world, generated, consumed, **place))


def corrected(receipt: Receipt) -> dict[str, Any]:
    (event,) = events_of([receipt], "ReadingCorrected")
    return dict(event.fields)


def reading(world: World, meter: str = "m-1", start: int = NOON) -> dict[str, Any]:
    found: dict[str, Any] = world.read("oracle.get_reading", meter_id=meter, interval=start)
    return found


def test_a_proposal_changes_nothing(world: World) -> None:
    propose(world, 1)
    assert reading(world)["generated"] == "3"
    assert world.posted("alice", "GRID") == 3_000_000
    shown = world.read("oracle.get_correction", correction_no=1)
    assert (shown["generated"], shown["proposed_by"]) == ("1", "headend")
    assert "confirmed_by" not in shown


def test_more_generation_mints_the_difference(world: World) -> None:
    fields = corrected(correct(world, "3.5", 2))
    assert (fields["old"], fields["new"], fields["owed"]) == (3_000_000, 3_500_000, 0)
    assert world.posted("alice", "GRID") == 3_500_000
    assert reading(world)["minted"] == "3.5"


def test_less_generation_takes_the_difference_back(world: World) -> None:
    receipt = correct(world, 1, 2)
    assert corrected(receipt)["owed"] == 0
    assert world.posted("alice", "GRID") == 1_000_000
    (moved,) = events_of([receipt], "Transfer")
    assert moved.fields == {"from": "alice", "amount": 2_000_000}
    assert world.read("token.total_supply") == "1"


def test_what_is_not_there_is_owed_by_the_next_mints_of_the_meter(world: World) -> None:
    world.do("token.transfer", "alice", to="bob", value="2.5")
    # 3 corrected to 1: 2 too many, 0.5 are there, 1.5 are owed.
    assert corrected(correct(world, 1, 2))["owed"] == 1_500_000
    assert world.posted("alice", "GRID") == 0
    world.now += 2 * EPOCH
    first = world.submit("m-1", NOON + EPOCH, generated=1)
    (done,) = events_of([first], "EnergyDataFulfilled")
    assert (done.fields["tokens_minted"], done.fields["withheld"]) == (0, 0)
    second = world.submit("m-1", NOON + 2 * EPOCH, generated=2)
    (minted,) = events_of([second], "Minted")
    # 0.5 of the debt was left: 2 - 0.5
    assert (minted.fields["amount"], minted.fields["repaid"]) == (1_500_000, 500_000)
    assert world.posted("alice", "GRID") == 1_500_000
    # issued 3 - 0.5 + 1.5; read 1 + 1 + 2, all in circulation: bob 2.5, alice 1.5
    assert world.read("token.total_supply") == "4"


def test_another_owner_of_the_meter_owes_nothing(world: World) -> None:
    world.do("token.transfer", "alice", to="bob", value=3)
    correct(world, 0, 2)
    world.do("registry.unassign_meter", "regulator", meter_id="m-1")
    world.now += EPOCH
    world.meter("m-1", "bob")
    world.now += EPOCH
    world.submit("m-1", NOON + 2 * EPOCH, generated=1)
    assert world.posted("bob", "GRID") == 4_000_000


def test_less_consumption_gives_back_what_was_retired_against_it(world: World) -> None:
    retire = {"amount": 2, "meter_id": "m-1", "interval": NOON}
    world.do("token.retire", "alice", **retire)
    fields = corrected(correct(world, 3, "0.5"))
    assert (fields["old_consumed"], fields["new_consumed"]) == (2_000_000, 500_000)
    assert world.posted("alice", "GRID") == 2_500_000
    assert reading(world)["retired"] == "0.5"


def test_net_positions_follow(world: World) -> None:
    correct(world, 1, 2)
    assert world.read("pool.get_grid_balance")["total"] == "-1"


def test_without_auto_mint_a_correction_mints_nothing_and_takes_only_what_was_minted() -> None:
    world = World().open(settled_with(auto_mint=False))
    world.user("alice")
    world.meter("m-1", "alice")
    world.now = NOON + EPOCH
    world.submit("m-1", NOON, generated=3)
    correct(world, 2)
    assert world.posted("alice", "GRID") == 0
    mint = {"to": "alice", "amount": 2, "meter_id": "m-1", "interval": NOON}
    world.do("token.mint", "minter", **mint)
    assert corrected(correct(world, 1))["owed"] == 0
    assert world.posted("alice", "GRID") == 1_000_000


def test_generation_found_for_a_suspended_owner_is_withheld(world: World) -> None:
    suspend = {"user": "alice", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **suspend)
    correct(world, "3.5", 2)
    assert world.posted("alice", "GRID") == 3_000_000


# Refusals


def test_refusals_of_correct_reading_in_order(world: World) -> None:
    world.meter("m-2", "alice")
    good = world.signed("m-1", NOON, generated=1)
    args = {"meter_id": "m-1", "interval": NOON, "meter_data": good}
    world.refused("NOT_ORACLE_OPERATOR", CORRECT, "alice", **{**args, "meter_id": "m-9"})
    world.refused("READING_NOT_FOUND", CORRECT, "headend", **{**args, "meter_id": "m-9"})
    for meter, start in (("m-2", NOON), ("m-1", NOON + EPOCH)):
        other = {**args, "meter_data": world.signed(meter, start, generated=1)}
        world.refused("METER_MISMATCH", CORRECT, "headend", **other)
    forged = {**args, "meter_data": {**good, "generated": 2}}
    world.refused("INVALID_SIGNATURE", CORRECT, "headend", **forged)
    above = {**args, "meter_data": world.signed("m-1", NOON, generated=4)}
    world.refused("CAPACITY_EXCEEDED", CORRECT, "headend", **above)


def test_registers_of_a_correction_fit_between_their_neighbours(world: World) -> None:
    world.now += EPOCH
    data = world.signed("m-1", NOON + EPOCH, 1, register_generated=100)
    world.do("oracle.submit_reading", "headend", meter_data=data)
    args: dict[str, Any] = {"meter_id": "m-1", "interval": NOON}
    above = world.signed("m-1", NOON, 1, register_generated="100.000001")
    world.refused("REGISTER_NOT_MONOTONIC", CORRECT, "headend", meter_data=above, **args)
    for register in (100, 99):  # the first number is no neighbour of its own correction
        data = world.signed("m-1", NOON, 1, register_generated=register)
        number = world.do(CORRECT, "headend", meter_data=data, **args).result["correction_no"]
        confirm(world, number)


def test_refusals_of_confirm_correction_in_order(world: World) -> None:
    world.do("registry.add_rec_regulator", "admin", new_regulator="headend")
    propose(world, 1)
    world.refused("NOT_REC_REGULATOR", CONFIRM, "alice", correction_no=9)
    world.refused("READING_NOT_FOUND", CONFIRM, "regulator", correction_no=9)
    world.refused("NOT_AUTHORIZED", CONFIRM, "headend", correction_no=1)
    confirm(world)
    world.refused("INVALID_TRANSITION", CONFIRM, "regulator", correction_no=1)


# Agreements


def delivered(**settings: object) -> Market:
    """Return the demo after the last reading: 10 kWh sold, 2.5 in each of four quarters."""
    world = Market().set_up(settled_with(**settings))
    world.agree(basis="DELIVERED")
    world.deliver(10, 10)
    return world


def settled_numbers(world: Market) -> tuple[int, int, int, int]:
    """Return buyer's and seller's GRID, then what the buyer has left and the seller got."""
    return (
        world.posted("alice", "GRID"),
        world.posted("bob", "GRID"),
        world.posted("alice", "USD"),
        world.posted("bob", "USD"),
    )


def test_an_agreement_that_is_still_open_is_allocated_anew() -> None:
    world = delivered()
    # One quarter of the seller from 2.5 to 1.5 before anything is recorded: 9 kWh are sold.
    receipt = correct(world, "1.5", meter="m-sell", start=world.start)
    assert events_of([receipt], "EnergyAllocated")
    world.tick()
    # 20 - 9 x 0.175 = 18.425; 9 x 0.15 = 1.35
    assert settled_numbers(world) == (9_000_000, 0, 18_425_000, 1_350_000)
    assert corrected(receipt)["owed"] == 0


def test_a_delivery_within_its_dispute_window_is_measured_anew() -> None:
    world = delivered(dispute_window_s=3_600)
    world.tick()
    receipt = correct(world, "1.5", meter="m-sell", start=world.start)
    (told,) = events_of([receipt], "EnergyDelivered")
    assert told.fields["settle_quantity"] == 9_000_000
    world.now += 3_600_000
    world.tick()
    assert settled_numbers(world) == (9_000_000, 0, 18_425_000, 1_350_000)


def test_a_settled_agreement_stays_and_the_difference_is_a_deviation() -> None:
    world = delivered()
    world.tick()
    before = settled_numbers(world)
    receipt = correct(world, "1.5", meter="m-sell", start=world.start)
    # The seller has sold its GRID, so one kWh is owed.
    assert corrected(receipt)["owed"] == 1_000_000
    assert settled_numbers(world) == before
    view = agreement_view(world.ledger, "bpp", "k-1", world.now)
    assert view is not None
    (row,) = view.deviations
    assert (row.kind, row.quantity, row.cause) == ("CORRECTION", 1_000_000, "generation less")


def test_the_buyers_reading_counts_for_what_was_consumed() -> None:
    world = Market().set_up()
    world.agree(basis="MIN_OF_TWO")
    world.deliver(10, 10)
    correct(world, 0, "0.5", meter="m-buy", start=world.start)
    world.tick()
    # 8 of 10 are consumed: 20 - 8 x 0.175 = 18.60; 2 kWh stay with the seller.
    assert settled_numbers(world) == (8_000_000, 2_000_000, 18_600_000, 1_200_000)


def test_more_generation_goes_to_an_agreement_that_lacks_it() -> None:
    world = Market().set_up()
    world.agree(basis="DELIVERED")
    world.deliver(8, 10)  # 2 in each quarter
    correct(world, "3.5", meter="m-sell", start=world.start)
    world.tick()
    # 9.5 kWh: 20 - 9.5 x 0.175 = 18.3375
    assert settled_numbers(world) == (9_500_000, 0, 18_337_500, 1_425_000)


def test_two_agreements_share_the_correction_as_they_share_a_reading() -> None:
    world = Market().set_up()
    for name in ("k-1", "k-2"):
        world.agree(name, basis="DELIVERED")
    world.deliver(10, 20)  # 2.5 in each quarter, 1.25 each
    correct(world, "0.5", meter="m-sell", start=world.start)
    world.tick()
    paid = [world.read("agreements.get_agreement", agreement_no=n)["paid"] for n in (1, 2)]
    # 4 kWh each: 4 x 0.175
    assert paid == ["0.70", "0.70"]
    assert world.posted("bob", "GRID") == 0


def test_an_interval_that_waits_for_an_earlier_one_is_corrected_too() -> None:
    world = Market().set_up()
    world.agree(basis="DELIVERED")
    world.now = world.end
    world.submit("m-sell", world.start + EPOCH, generated="2.5")
    assert world.available("bob", "GRID") == 0  # held for the agreement that waits
    correct(world, "1.5", meter="m-sell", start=world.start + EPOCH)
    assert world.posted("bob", "GRID") == 1_500_000
    assert world.available("bob", "GRID") == 0
    for index in (0, 2, 3):
        world.submit("m-sell", world.start + index * EPOCH, generated="2.5")
    for index in range(4):
        world.submit("m-buy", world.start + index * EPOCH, consumed="2.5")
    world.tick()
    assert settled_numbers(world) == (9_000_000, 0, 18_425_000, 1_350_000)


def test_more_than_what_was_minted_is_never_taken_from_an_open_agreement() -> None:
    # 10 sold of 10 generated; the quarter says 0 now and its 2.5 come back from the agreement.
    world = delivered()
    assert world.available("bob", "GRID") == 0
    correct(world, 0, meter="m-sell", start=world.start)
    assert world.posted("bob", "GRID") == 7_500_000
    world.tick()
    assert settled_numbers(world)[:2] == (7_500_000, 0)


def test_a_corrected_delivery_can_be_disputed_although_both_had_accepted_it() -> None:
    world = delivered(dispute_window_s=3_600)
    world.tick()
    for actor, user in (("bap", "alice"), ("bpp", "bob")):
        world.do("agreements.accept_delivery", actor, user, transaction_no=1)
    correct(world, "1.5", meter="m-sell", start=world.start)
    world.tick()
    part = world.read("agreements.get_transaction", transaction_no=1)
    assert (part["state"], part["settle_quantity"]) == ("DELIVERED", "9")
    world.do(
        "agreements.dispute_transaction",
        "bap",
        "alice",
        transaction_no=1,
        claimed_quantity=10,
        reason="the first reading was right",
    )


def test_a_correction_of_a_reading_that_was_replaced_since_is_refused() -> None:
    world = delivered()
    propose = {"meter_id": "m-sell", "interval": world.start, "reason": "meter fault"}
    for generated in ("1", "2"):
        data = world.signed("m-sell", world.start, generated=generated)
        world.do("oracle.correct_reading", "headend", meter_data=data, **propose)
    world.do("oracle.confirm_correction", "regulator", correction_no=1)
    world.refused("READING_CONFLICT", "oracle.confirm_correction", "regulator", correction_no=2)
