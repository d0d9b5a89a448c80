"""Disputes about recorded deliveries, how regulators end them, and deliveries in parts."""

from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import Receipt, agreement_view
from tests.unit.settlement.world import EPOCH, Market, events_of, settled_with

DISPUTE, RESOLVE = "agreements.dispute_transaction", "agreements.resolve_dispute"
WINDOW = 3_600_000


@pytest.fixture
def world() -> Market:
    """Return the demo with 10 kWh recorded, and an hour to dispute it."""
    return recorded()


def recorded(basis: str = "CONTRACTED", generated: object = 10, consumed: object = 10) -> Market:
    world = Market().set_up(settled_with(dispute_window_s=WINDOW // 1_000))
    world.agree(basis=basis)
    world.deliver(generated, consumed)
    world.tick()
    return world


def dispute(world: Market, number: int = 1, claimed: object = 8) -> Receipt:
    args = {"transaction_no": number, "claimed_quantity": claimed, "reason": "meter moved"}
    return world.do(DISPUTE, "bap", "alice", **args)


def resolve(world: Market, outcome: str, number: int = 1, **args: Any) -> Receipt:
    return world.do(RESOLVE, "regulator", transaction_no=number, outcome=outcome, **args)


def balances(world: Market) -> dict[str, tuple[int, int]]:
    """Return GRID and USD of buyer, seller and grid operator."""
    who = ("alice", "bob", "grid")
    return {owner: (world.posted(owner, "GRID"), world.posted(owner, "USD")) for owner in who}


def check_nothing_is_held(world: Market) -> None:
    """Check that no account has anything set aside, and that all caps are free."""
    assert [a.id for a in world.ledger.accounts() if a.held] == []
    for meter, side in (("m-buy", "BUY"), ("m-sell", "SELL")):
        caps = world.read("registry.get_trade_caps", meter_id=meter)[side]
        assert (caps["total"], caps["reserved"]) == ("0", "0")


def state(world: Market) -> tuple[str, str]:
    """Return the states of the agreement and of its first transaction."""
    agreement = world.read("agreements.get_agreement", agreement_no=1)["state"]
    return agreement, world.read("agreements.get_transaction", transaction_no=1)["state"]


def test_a_dispute_stops_settlement_beyond_its_window(world: Market) -> None:
    receipt = dispute(world)
    (event,) = events_of([receipt], "TransactionDisputed")
    assert (event.fields["party"], event.fields["claimed_quantity"]) == ("alice", 8_000_000)
    world.now += 10 * WINDOW
    assert not events_of(world.tick(), "PaymentSettled")
    world.refused("TRANSACTION_DISPUTED", "agreements.settle_payment", "bob", transaction_no=1)
    assert state(world) == ("DELIVERED", "DISPUTED")
    shown = world.read("agreements.get_transaction", "alice", transaction_no=1)
    assert (shown["disputed_by"], shown["disputed_quantity"]) == ("alice", "8")
    assert shown["dispute_reason"] == "meter moved"


def test_uphold_pays_what_was_recorded_at_once(world: Market) -> None:
    dispute(world)
    receipt = resolve(world, "UPHOLD")
    assert [e.name for e in receipt.events if e.name != "Transfer"] == [
        "DisputeResolved",
        "PaymentSettled",
    ]
    assert receipt.events[0].fields["quantity"] == 10_000_000
    # 10 x 0.15 and 10 x 0.025
    assert balances(world) == {
        "alice": (10_000_000, 18_250_000),
        "bob": (0, 1_500_000),
        "grid": (0, 250_000),
    }
    assert state(world) == ("SETTLED", "SETTLED")
    check_nothing_is_held(world)


def test_amend_pays_another_quantity_and_frees_the_rest(world: Market) -> None:
    dispute(world)
    resolve(world, "AMEND", quantity=8)
    # 8 x 0.15 and 8 x 0.025; 2 GRID stay with the seller.
    assert balances(world) == {
        "alice": (8_000_000, 18_600_000),
        "bob": (2_000_000, 1_200_000),
        "grid": (0, 200_000),
    }
    check_nothing_is_held(world)


def test_amend_to_nothing_settles_nothing(world: Market) -> None:
    dispute(world)
    resolve(world, "AMEND", quantity=0)
    assert balances(world) == {
        "alice": (0, 20_000_000),
        "bob": (10_000_000, 0),
        "grid": (0, 0),
    }
    assert state(world) == ("SETTLED", "SETTLED")
    check_nothing_is_held(world)


def test_void_releases_everything(world: Market) -> None:
    dispute(world)
    receipt = resolve(world, "VOID")
    names = [event.name for event in receipt.events]
    assert names == ["DisputeResolved", "AgreementCancelled"]
    assert balances(world) == {
        "alice": (0, 20_000_000),
        "bob": (10_000_000, 0),
        "grid": (0, 0),
    }
    assert state(world) == ("CANCELLED", "VOIDED")
    check_nothing_is_held(world)
    world.refused("TRANSACTION_ALREADY_SETTLED", DISPUTE, "alice", **_dispute_args())
    world.refused("TRANSACTION_ALREADY_SETTLED", "agreements.settle_payment", "bob", **_number())


def _number(number: int = 1) -> dict[str, Any]:
    return {"transaction_no": number}


def _dispute_args(number: int = 1) -> dict[str, Any]:
    return {"transaction_no": number, "claimed_quantity": 8}


@pytest.mark.parametrize(
    ("basis", "most"),
    [
        pytest.param("DELIVERED", 8, id="DELIVERED: 8 of 10 were generated and are held"),
        pytest.param("CONTRACTED", 8, id="CONTRACTED: above the GRID that is held"),
    ],
)
def test_an_amended_quantity_needs_grid_that_is_held(basis: str, most: int) -> None:
    world = recorded(basis, generated=8)
    dispute(world)
    args = {"outcome": "AMEND", "quantity": "8.000001", **_number()}
    error = world.refused("INSUFFICIENT_ENERGY", RESOLVE, "regulator", **args)
    assert error.details["available"] == "8000000"
    resolve(world, "AMEND", quantity=most)
    assert world.posted("alice", "GRID") == 8_000_000


def test_an_amended_quantity_is_not_above_the_contract(world: Market) -> None:
    dispute(world)
    args = {"outcome": "AMEND", "quantity": "10.000001", **_number()}
    error = world.refused("INSUFFICIENT_ENERGY", RESOLVE, "regulator", **args)
    assert error.details["available"] == "10000000"


def test_shortfalls_are_recorded_after_a_dispute_too() -> None:
    world = recorded("CONTRACTED", generated=8)
    dispute(world)
    receipt = resolve(world, "UPHOLD")
    kinds = {(e.fields["kind"], e.fields["quantity"]) for e in _deviations(receipt)}
    assert kinds == {("SELLER_SHORTFALL", 2_000_000)}
    assert world.posted("bob", "USD") == 1_500_000


def _deviations(receipt: Receipt) -> list[Any]:
    return events_of([receipt], "DeviationRecorded")


# Refusals


def test_refusals_of_dispute_transaction_in_order(world: Market) -> None:
    world.refused("INVALID_ENERGY_AMOUNT", DISPUTE, "eve", transaction_no=9, claimed_quantity=-1)
    world.refused("TRANSACTION_NOT_FOUND", DISPUTE, "eve", **_dispute_args(9))
    world.refused("NOT_AUTHORIZED", DISPUTE, "regulator", **_dispute_args())
    world.now += WINDOW + 1
    world.refused("DISPUTE_WINDOW_CLOSED", DISPUTE, "bob", **_dispute_args())
    world.tick()
    world.refused("TRANSACTION_ALREADY_SETTLED", DISPUTE, "bob", **_dispute_args())


def test_the_last_instant_of_the_window_is_in_time(world: Market) -> None:
    world.now += WINDOW
    dispute(world)
    world.refused("TRANSACTION_DISPUTED", DISPUTE, "bob", **_dispute_args())


def test_a_claim_cannot_be_disputed_before_it_is_recorded() -> None:
    world = Market().set_up()
    number = world.agree()
    claim = {"agreement_no": number, "energy_delivered_kwh": 10}
    world.do("agreements.deliver_energy", "bpp", "bob", **claim)
    world.refused("DELIVERY_INCOMPLETE", DISPUTE, "alice", **_dispute_args())


def test_who_accepted_a_delivery_with_the_other_has_no_window_left(world: Market) -> None:
    for party in ("alice", "bob"):
        world.do("agreements.accept_delivery", party, **_number())
    world.now += 1
    world.refused("DISPUTE_WINDOW_CLOSED", DISPUTE, "alice", **_dispute_args())


def test_refusals_of_resolve_dispute_in_order(world: Market) -> None:
    amend = {"outcome": "AMEND", "quantity": 8}
    world.refused("INVALID_INPUT", RESOLVE, "eve", outcome="PAY", **_number(9))
    world.refused("INVALID_INPUT", RESOLVE, "eve", outcome="AMEND", **_number(9))
    for outcome in ("UPHOLD", "VOID"):
        world.refused("INVALID_INPUT", RESOLVE, "eve", outcome=outcome, quantity=1, **_number(9))
    world.refused("NOT_REC_REGULATOR", RESOLVE, "alice", **amend, **_number(9))
    world.refused("TRANSACTION_NOT_FOUND", RESOLVE, "regulator", **amend, **_number(9))
    world.refused("INVALID_TRANSITION", RESOLVE, "regulator", **amend, **_number())
    dispute(world)
    resolve(world, "AMEND", quantity=8)
    world.refused("INVALID_TRANSITION", RESOLVE, "regulator", **amend, **_number())


# Suspension


def test_a_suspended_party_disputes_and_the_regulator_ends_it(world: Market) -> None:
    suspend = {"user": "bob", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **suspend)
    assert state(world) == ("DELIVERED", "DISPUTED")
    shown = world.read("agreements.get_transaction", transaction_no=1)
    assert shown["disputed_by"] == "bob"
    resolve(world, "UPHOLD")
    assert world.posted("bob", "USD") == 1_500_000
    check_nothing_is_held(world)


# Deliveries in parts


def part(world: Market, quarters: int) -> Receipt:
    """Record the first so many quarters."""
    args = {"agreement_no": 1, "until": world.start + quarters * EPOCH}
    return world.do("agreements.deliver_energy", "headend", **args)


def in_parts(basis: str = "DELIVERED", first: object = "2.5") -> Market:
    """Return the demo after two of four quarters, recorded as a part."""
    world = Market().set_up(settled_with(dispute_window_s=WINDOW // 1_000))
    world.agree(basis=basis)
    world.now = world.start + 2 * EPOCH
    read(world, range(2), first)
    part(world, 2)
    return world


def read(world: Market, quarters: range, generated: object = "2.5") -> None:
    for index in quarters:
        world.submit("m-sell", world.start + index * EPOCH, generated=generated)
        world.submit("m-buy", world.start + index * EPOCH, consumed="2.5")


def test_parts_are_recorded_disputed_and_settled_by_themselves() -> None:
    world = in_parts()
    dispute(world)
    world.now = world.end
    read(world, range(2, 4))
    world.tick()
    world.now += WINDOW
    world.tick()
    # The second part is settled, the first waits: 5 x 0.15 = 0.75.
    assert world.posted("bob", "USD") == 750_000
    assert state(world) == ("DELIVERED", "DISPUTED")
    resolve(world, "AMEND", quantity=4)
    # 9 kWh in all: 20 - 9 x 0.175; the fifth kWh of the first part stays with the seller.
    assert balances(world) == {
        "alice": (9_000_000, 18_425_000),
        "bob": (1_000_000, 1_350_000),
        "grid": (0, 225_000),
    }
    assert state(world) == ("SETTLED", "SETTLED")
    check_nothing_is_held(world)


def test_what_was_amended_in_one_part_does_not_come_back_in_the_next() -> None:
    world = in_parts()
    dispute(world)
    resolve(world, "AMEND", quantity=4)
    world.now = world.end
    read(world, range(2, 4))
    world.tick()
    world.now += WINDOW
    world.tick()
    assert world.posted("alice", "GRID") == 9_000_000
    assert world.posted("bob", "USD") == 1_350_000
    check_nothing_is_held(world)


def test_an_amended_part_leaves_the_rest_of_the_contract_to_the_others() -> None:
    # 3.75 of 3.75 kWh in two quarters, so 7.5 of 10 kWh; the next two would give 7.5 again.
    world = in_parts(first="3.75")
    dispute(world)
    resolve(world, "AMEND", quantity=5)
    world.now = world.end
    read(world, range(2, 4), "3.75")
    world.tick()
    world.now += WINDOW
    world.tick()
    # 5 of the first part and the 2.5 kWh of the contract that it had left over
    assert world.posted("alice", "GRID") == 7_500_000
    check_nothing_is_held(world)


def test_a_voided_part_frees_its_share_and_the_rest_goes_on() -> None:
    world = in_parts()
    dispute(world)
    resolve(world, "VOID")
    # GRID of the part is free; cash for the 5 kWh to come stays held: 5 x 0.175.
    assert world.available("bob", "GRID") == 5_000_000
    assert world.posted("alice", "USD") - world.available("alice", "USD") == 875_000
    assert state(world) == ("DELIVERED", "VOIDED")
    world.now = world.end
    read(world, range(2, 4))
    world.tick()
    world.now += WINDOW
    world.tick()
    assert balances(world) == {
        "alice": (5_000_000, 19_125_000),
        "bob": (5_000_000, 750_000),
        "grid": (0, 125_000),
    }
    assert state(world) == ("SETTLED", "VOIDED")
    check_nothing_is_held(world)


def test_a_voided_last_part_ends_an_agreement_that_was_paid_in_part() -> None:
    world = in_parts()
    world.now += WINDOW
    world.tick()
    world.now = world.end + WINDOW
    read(world, range(2, 4))
    world.tick()
    dispute(world, 2)
    resolve(world, "VOID", 2)
    assert balances(world)["bob"] == (5_000_000, 750_000)
    assert state(world) == ("SETTLED", "SETTLED")
    check_nothing_is_held(world)


def test_a_part_that_took_all_of_the_cash_leaves_a_last_one_of_nothing() -> None:
    # 10 of 10 kWh in three quarters of 3.333334, the fourth gives nothing.
    world = Market().set_up(settled_with(dispute_window_s=0))
    world.agree(basis="DELIVERED")
    world.now = world.start + 3 * EPOCH
    for index in range(3):
        world.submit("m-sell", world.start + index * EPOCH, generated="3.333334")
        world.submit("m-buy", world.start + index * EPOCH, consumed="3.333334")
    part(world, 3)
    world.tick()
    assert world.posted("alice", "USD") == 18_250_000
    world.now = world.end
    world.submit("m-sell", world.start + 3 * EPOCH)
    world.submit("m-buy", world.start + 3 * EPOCH)
    world.tick()
    assert state(world) == ("SETTLED", "SETTLED")
    check_nothing_is_held(world)


def test_parts_of_a_contracted_basis_add_up_to_the_contract() -> None:
    world = in_parts("CONTRACTED", first=1)
    world.now = world.end
    read(world, range(2, 4), 1)
    world.tick()
    world.now += WINDOW
    world.tick()
    # 10 are paid, 4 were there; the view adds both parts up.
    assert balances(world) == {
        "alice": (4_000_000, 18_250_000),
        "bob": (0, 1_500_000),
        "grid": (0, 250_000),
    }
    view = agreement_view(world.ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert view.is_delivered_in_parts
    assert [part.settle_quantity for part in view.transactions] == [5_000_000, 5_000_000]


# Prices of deviations


def test_the_side_contracts_are_previewed_with_the_numbers_of_the_specification() -> None:
    # 10 kWh @ 6, consumed 8, generated 7, export 4, import 8: buyer -60 + 2 x 4 = -52, seller
    # 60 - 3 x 8 = 36, its utility 3 x 8 = 24, the buyer's -2 x 4 = -8; together 0.
    world = Market().set_up(funds=100)
    world.agree(price_per_kwh=6)
    world.deliver(7, 8)
    world.tick()
    prices = {"price": True, "import_price": 8, "export_price": 4}
    found = world.read("agreements.get_deviations", "bob", meter="m-sell", **prices)
    assert found["preview"] == [
        {
            "agreement_no": 1,
            "buyer": "-52.00",
            "seller": "36.00",
            "seller_utility": "24.00",
            "buyer_utility": "-8.00",
        }
    ]
    plain = world.read("agreements.get_deviations", "bob", meter="m-sell")
    assert found["deviations"] == plain
    assert [(row["kind"], row["quantity"]) for row in plain] == [("SELLER_SHORTFALL", "3")]


@pytest.mark.parametrize("basis", ["DELIVERED", "MIN_OF_TWO"])
def test_what_was_not_paid_costs_nothing_more(basis: str) -> None:
    # Paid are 7 of 10: DELIVERED pays what was generated, MIN_OF_TWO the smaller, both 7.
    world = Market().set_up(funds=100)
    world.agree(price_per_kwh=6, basis=basis)
    world.deliver(7, 8)
    world.tick()
    prices = {"price": True, "import_price": 8, "export_price": 4}
    (preview,) = world.read("agreements.get_deviations", meter="m-sell", **prices)["preview"]
    assert (preview["buyer"], preview["seller"]) == ("-42.00", "42.00")


def test_a_preview_needs_both_prices_and_shows_strangers_nothing(world: Market) -> None:
    name = "agreements.get_deviations"
    for missing in ("import_price", "export_price"):
        args = {"price": True, "import_price": 8, "export_price": 4}
        del args[missing]
        with pytest.raises(ContractError, match=missing):
            world.read(name, meter="m-sell", **args)
    args = {"price": True, "import_price": 8, "export_price": 4}
    assert world.read(name, "stranger", meter="m-sell", **args) == {
        "deviations": [],
        "preview": [],
    }
