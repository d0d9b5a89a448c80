"""Shares of a market whose delivery is disputed, corrected, or whose party is suspended."""

from decimal import Decimal

import pytest

from tests.unit.settlement.bazaar import ENERGY, MARKET, Bazaar
from tests.unit.settlement.world import EPOCH, settled_with


def _delivered(world: Bazaar) -> None:
    world.clear()
    world.read_all(roof=ENERGY, load=ENERGY)
    for number in (1, 2):
        world.do("agreements.deliver_energy", "headend", agreement_no=number)


@pytest.fixture
def slow() -> Bazaar:
    """Return the worked market with an hour to dispute, delivered."""
    genesis = settled_with(wheeling_rate=Decimal("0.002"), dispute_window_s=3_600)
    world = Bazaar().set_up(genesis)
    world.take_part("roof", exports=True)
    world.take_part("load", exports=False)
    _delivered(world)
    return world


DISPUTE = "agreements.dispute_transaction"
RESOLVE = "agreements.resolve_dispute"


def test_a_disputed_export_keeps_its_withdrawals_waiting(slow: Bazaar) -> None:
    slow.do(DISPUTE, MARKET, transaction_no=1, claimed_quantity=4)
    slow.now += 3_600_001
    slow.tick()
    assert slow.states() == ["DELIVERED", "DELIVERED"]
    slow.do(RESOLVE, "regulator", transaction_no=1, outcome="AMEND", quantity=4)
    slow.tick()
    assert slow.states() == ["SETTLED", "SETTLED"]
    assert slow.posted("roof", "GRID") == 716_981
    assert slow.posted("load", "GRID") == 4_000_000
    # 4 x (0.069057 - 0.01)
    assert slow.posted("roof", "USD") == 236_228


def test_a_disputed_withdrawal_is_not_decided_before_its_exports(slow: Bazaar) -> None:
    slow.do(DISPUTE, "load", transaction_no=2, claimed_quantity=4)
    slow.refused("DELIVERY_INCOMPLETE", RESOLVE, "regulator", transaction_no=2, outcome="UPHOLD")
    slow.now += 3_600_001
    slow.tick()
    slow.do(RESOLVE, "regulator", transaction_no=2, outcome="AMEND", quantity=4)
    assert slow.states() == ["SETTLED", "SETTLED"]
    assert slow.posted("load", "USD") == 1_000_000_000 - 4 * 79_057
    # what nobody takes any more is free again
    assert slow.available(MARKET, "GRID") == 716_981
    assert [slow.held(user) for user in ("roof", MARKET, "load")] == [0, 0, 0]


@pytest.mark.parametrize("number", [1, 2])
def test_a_voided_share_releases_what_was_held_for_it(slow: Bazaar, number: int) -> None:
    slow.do(DISPUTE, MARKET, transaction_no=number, claimed_quantity=0)
    slow.do(RESOLVE, "regulator", transaction_no=number, outcome="VOID")
    slow.now += 3_600_001
    slow.tick()
    assert sorted(slow.states()) == ["CANCELLED", "SETTLED"]
    assert [slow.held(user) for user in ("roof", MARKET, "load")] == [0, 0, 0]
    assert [slow.held(user, "GRID") for user in ("roof", MARKET, "load")] == [0, 0, 0]
    assert slow.is_sound()


def test_a_part_of_a_withdrawal_that_is_voided_frees_both_payers() -> None:
    genesis = settled_with(wheeling_rate=Decimal("0.002"), dispute_window_s=3_600)
    world = Bazaar().set_up(genesis)
    world.take_part("load", exports=False)
    world.supply(4)
    number = world.agree("load", 4, Decimal("0.05"))
    middle = world.start + 2 * EPOCH
    world.now = middle
    for start in (world.start, world.start + EPOCH):
        world.submit("m-load", start, consumed=1)
    world.do("agreements.deliver_energy", "headend", agreement_no=number, until=middle)
    world.do(DISPUTE, "load", transaction_no=1, claimed_quantity=0)
    world.read_all(farm=4)
    world.tick()
    world.now += 3_600_001
    world.tick()
    assert world.states() == ["SETTLED", "DELIVERED"]
    world.do(RESOLVE, "regulator", transaction_no=1, outcome="VOID")
    # 2 of 4 kWh are left: 2 x (0.05 + 0.01), and 2 x 0.002 of the market's
    assert (world.held("load"), world.held(MARKET)) == (120_000, 4_000)


def test_a_suspended_participant_disputes_its_delivery(slow: Bazaar) -> None:
    slow.do(
        "registry.update_user_status", "regulator", user="roof", new_status="SUSPENDED", reason="x"
    )
    slow.now += 3_600_001
    slow.tick()
    assert slow.states() == ["DELIVERED", "DELIVERED"]
    slow.do(RESOLVE, "regulator", transaction_no=1, outcome="UPHOLD")
    slow.tick()
    assert slow.states() == ["SETTLED", "SETTLED"]


def test_a_corrected_reading_counts_for_both_sides(slow: Bazaar) -> None:
    data = slow.signed("m-roof", slow.start, generated=1)
    proposal = {"meter_id": "m-roof", "interval": slow.start, "meter_data": data}
    correction = slow.do("oracle.correct_reading", "headend", **proposal)
    number = correction.result["correction_no"]
    slow.do("oracle.confirm_correction", "regulator", correction_no=number)
    shown = slow.read("agreements.get_agreement", agreement_no=1)
    total = str(ENERGY - ENERGY / 4 + 1)[:8]
    assert shown["allocated_seller"][:6] == shown["allocated_buyer"][:6] == total[:6]
    slow.now += 3_600_001
    slow.tick()
    assert slow.states() == ["SETTLED", "SETTLED"]
    assert slow.posted("load", "GRID") == slow.shares()[0].delivered_seller
    assert slow.is_sound()
