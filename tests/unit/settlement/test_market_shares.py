"""Shares of a market on the ledger: the market is the counterparty of each and has no meter.

The worked market is C1 of the contract specification, section 10: 0.069057 for 4.716981 kWh, with a
fee of 0.01 and a wheeling charge of 0.002.
"""

from decimal import Decimal
from typing import Any

import pytest

from adapter.settlement.accounts import fees, main, wheeling
from tests.unit.settlement.bazaar import ACCEPT, CREATE, ENERGY, MARKET, PRICE, Bazaar
from tests.unit.settlement.world import EPOCH, NOON, events_of, settled_with

WHEELING = settled_with(wheeling_rate=Decimal("0.002"))
SETTLE = "agreements.settle_payment"
CANCEL = "agreements.cancel_agreement"


@pytest.fixture
def world() -> Bazaar:
    """Return a market with a load and a roof."""
    world = Bazaar().set_up(WHEELING)
    world.take_part("roof", exports=True)
    world.take_part("load", exports=False)
    return world


def test_the_worked_market_settles_to_the_unit(world: Bazaar) -> None:
    world.clear()
    # value 0.069057 x 4.716981 = 0.325740556917, fee 0.04716981, wheeling 0.009433962:
    # one ceiling is held per leg: of the load two, of the market the export's value, wheeling twice
    assert world.held("load") == 325_741 + 47_170
    assert world.held(MARKET) == 325_741 + 9_434 + 9_434
    world.read_all(roof=ENERGY, load=ENERGY)
    settled = events_of(world.tick(), "PaymentSettled")
    assert [event.fields["value"] for event in settled] == [325_741, 325_741]
    assert [event.fields["fees"] for event in settled] == [47_170, 47_170]
    assert [event.fields["wheeling"] for event in settled] == [9_434, 9_434]
    assert world.posted("load", "USD") == 1_000_000_000 - 372_911
    assert world.posted("roof", "USD") == 278_571
    assert world.on_account(main(MARKET, "USD")) == 1_000_000_000 + 94_340 - 18_868
    assert world.on_account(wheeling("grid", "USD")) == 18_868
    assert [world.posted(user, "GRID") for user in ("roof", MARKET, "load")] == [0, 0, 4_716_981]
    assert [world.held(user) for user in ("roof", MARKET, "load")] == [0, 0, 0]
    assert world.is_sound()


def test_with_buyer_only_the_export_is_paid_in_full(world: Bazaar) -> None:
    world.clear(fee_treatment="BUYER_ONLY")
    world.read_all(roof=ENERGY, load=ENERGY)
    world.tick()
    assert world.posted("roof", "USD") == 325_741
    assert world.posted(MARKET, "USD") == 1_000_000_000 + 47_170 - 18_868


@pytest.mark.parametrize(
    ("quarters", "load", "roof", "wheel"),
    [
        pytest.param(1, 93_227, 69_643, 4_716, id="1.179245 kWh: 0.081435 -+ 0.011792"),
        pytest.param(2, 186_455, 139_285, 9_434, id="2.358491 kWh: 0.162870 -+ 0.023585"),
    ],
)
def test_other_windows(quarters: int, load: int, roof: int, wheel: int) -> None:
    world = Bazaar(quarters=quarters).set_up(WHEELING)
    world.take_part("roof", exports=True)
    world.take_part("load", exports=False)
    energy = {1: Decimal("1.179245"), 2: Decimal("2.358491")}[quarters]
    world.agree("roof", energy, PRICE)
    world.agree("load", energy, PRICE)
    world.now = world.end
    for start in range(world.start, world.end, EPOCH):
        world.submit("m-roof", start, generated=2)
        world.submit("m-load", start, consumed=2)
    world.tick()
    assert 1_000_000_000 - world.posted("load", "USD") == load
    assert world.posted("roof", "USD") == roof
    assert world.on_account(wheeling("grid", "USD")) == wheel


# Order, and the energy that passes through


def test_a_withdrawal_waits_for_every_export(world: Bazaar) -> None:
    world.take_part("farm", exports=True)
    numbers = [world.agree(user, 2, PRICE) for user in ("roof", "farm")]
    world.agree("load", 4, PRICE)
    world.read_all(load=4, roof=2)
    world.tick()
    assert world.states() == ["SETTLED", "ACTIVE", "DELIVERED"]
    refused = world.refused("DELIVERY_INCOMPLETE", SETTLE, "load", transaction_no=2)
    assert refused.details["agreement_no"] == numbers[1]
    assert (world.posted(MARKET, "GRID"), world.available(MARKET, "GRID")) == (2_000_000, 0)
    world.read_all(farm=2)
    world.tick()
    assert world.states() == ["SETTLED", "SETTLED", "SETTLED"]
    assert (world.posted("load", "GRID"), world.posted(MARKET, "GRID")) == (4_000_000, 0)


def test_what_did_not_arrive_is_missed_in_proportion(world: Bazaar) -> None:
    world.take_part("shop", exports=False)
    world.take_part("mill", exports=False)
    world.agree("roof", 12, PRICE)
    for user, energy in (("load", 5), ("shop", 4), ("mill", 3)):
        world.agree(user, energy, PRICE)
    world.read_all(roof=8, load=5, shop=4, mill=3)
    done = world.tick()
    # 8 of 12: 3.333333, 2.666667, 2, as allocation shares it; everybody pays for what cleared
    got = [world.posted(user, "GRID") for user in ("load", "shop", "mill", MARKET)]
    assert got == [3_333_333, 2_666_667, 2_000_000, 0]
    assert world.posted("load", "USD") == 1_000_000_000 - 5 * 79_057
    found = [(e.fields["meter_id"], e.fields["kind"]) for e in events_of(done, "DeviationRecorded")]
    assert found == [("m-roof", "SELLER_SHORTFALL")]
    assert world.is_sound()


def test_what_is_left_when_a_withdrawal_ends_goes_to_those_that_settle(world: Bazaar) -> None:
    world.take_part("shop", exports=False)
    world.agree("roof", 4, PRICE)
    world.agree("load", 2, PRICE)
    world.agree("shop", 2, PRICE)
    world.read_all(roof=3, load=2)
    world.tick()
    # of 3 the load gets its half; the shop's half waits for it
    assert (world.posted("load", "GRID"), world.posted(MARKET, "GRID")) == (1_500_000, 1_500_000)
    world.now = world.end + 86_400_001
    world.tick()
    assert world.states() == ["SETTLED", "SETTLED", "EXPIRED"]
    # the shop never read: its part stays with the market, which has paid for it, and is free
    assert world.available(MARKET, "GRID") == 1_500_000
    assert world.is_sound()


def test_parts_are_settled_in_the_same_order(world: Bazaar) -> None:
    export, withdrawal = world.clear()
    middle = world.start + 2 * EPOCH
    world.read_all(roof=ENERGY, load=ENERGY)
    for number in (withdrawal, export):
        world.do("agreements.deliver_energy", "headend", agreement_no=number, until=middle)
    world.tick()
    assert world.states() == ["SETTLED", "SETTLED"]
    assert world.posted("load", "USD") == 1_000_000_000 - 372_911
    assert world.posted("roof", "USD") == 278_571
    assert world.posted("load", "GRID") == 4_716_981
    assert world.is_sound()


# Who may bind whom


def test_a_reservation_is_no_offer_that_its_meter_could_take(world: Bazaar) -> None:
    number = world.propose("roof", 100, 999)
    world.refused("NOT_AUTHORIZED", ACCEPT, "roof", agreement_no=number)
    world.refused("NOT_AUTHORIZED", ACCEPT, "app-roof", "roof", agreement_no=number)


@pytest.mark.parametrize("user", ["roof", "load"])
def test_a_share_that_the_prosumer_proposed_needs_no_allowance(user: str) -> None:
    world = Bazaar().set_up(WHEELING)
    world.take_part("roof", exports=True, allowed=0)
    world.take_part("load", exports=False, allowed=0)
    _supply_of(world, f"app-{user}")
    receipt = world.do(CREATE, f"app-{user}", user, **world.share(user, ENERGY, PRICE))
    number = receipt.result["agreement_no"]
    world.refused("NOT_AUTHORIZED", ACCEPT, f"app-{user}", user, agreement_no=number)
    world.accept(number)


def _supply_of(world: Bazaar, app: str) -> None:
    """Let the market buy of a farm at the same app: a contract is that of who proposes."""
    world.take_part("farm", exports=True, allowed=0)
    args = {"user": "farm", "subscriber": app}
    world.do("registry.set_representative", "regulator", **args)
    receipt = world.do(CREATE, app, "farm", **world.share("farm", ENERGY, PRICE))
    world.accept(int(receipt.result["agreement_no"]))


def test_a_share_takes_the_allowance_of_whom_it_binds(world: Bazaar) -> None:
    world.clear()
    args = {"spender": "network"}
    left = world.read("token.allowance", "auditor", owner="roof", asset="GRID", **args)
    assert Decimal(left) == 1_000 - ENERGY
    left = world.read("token.allowance", "auditor", owner="load", asset="USD", **args)
    assert Decimal(left) == 1_000 - Decimal("0.372911")


@pytest.mark.parametrize(("user", "unit"), [("roof", "GRID"), ("load", "USD")])
def test_without_an_allowance_nobody_is_bound(user: str, unit: str) -> None:
    world = Bazaar().set_up(WHEELING)
    world.take_part("roof", exports=True, allowed=0)
    world.take_part("load", exports=False, allowed=0)
    world.supply(ENERGY)
    number = world.propose(user, ENERGY, PRICE)
    refused = world.refused("INSUFFICIENT_ALLOWANCE", ACCEPT, MARKET, agreement_no=number)
    assert unit in refused.message
    world.do("token.approve", user, spender=MARKET, value=5, asset=unit)
    world.accept(number)


def test_a_market_needs_working_capital_and_says_who_lacks_it() -> None:
    world = Bazaar().set_up(WHEELING, working_capital=0)
    world.take_part("roof", exports=True)
    number = world.propose("roof", ENERGY, PRICE)
    refused = world.refused("INSUFFICIENT_FUNDS", ACCEPT, MARKET, agreement_no=number)
    assert refused.details["user"] == MARKET
    world.deposit(MARKET, Decimal("0.34"))  # 0.325741 + 0.009434 are needed
    world.accept(number)


# What may be proposed


def _no_meter(share: dict[str, Any]) -> None:
    del share["source_meter"]


def _two_meters(share: dict[str, Any]) -> None:
    share["target_meter"] = "m-load"


def _other_id(share: dict[str, Any]) -> None:
    share["contract_id"] = "c-1"


def _other_meter_in_id(share: dict[str, Any]) -> None:
    share["contract_id"] = "c-1#m-load"


def _no_contract_in_id(share: dict[str, Any]) -> None:
    share["contract_id"] = "#m-roof"


def _basis(share: dict[str, Any]) -> None:
    share["basis"] = "DELIVERED"


def _too_long(share: dict[str, Any]) -> None:
    share["valid_until"] = share["window"]["start"] + 1


def _past(share: dict[str, Any]) -> None:
    share["valid_until"] = NOON - 1


def _fee_treatment(share: dict[str, Any]) -> None:
    share["fee_treatment"] = "NOBODY"


@pytest.mark.parametrize(
    "change",
    [
        _no_meter,
        _two_meters,
        _other_id,
        _other_meter_in_id,
        _no_contract_in_id,
        _basis,
        _too_long,
        _past,
        _fee_treatment,
    ],
    ids=lambda change: change.__name__.strip("_"),
)
def test_what_is_no_share_is_refused(world: Bazaar, change: Any) -> None:
    share = world.share("roof", ENERGY, PRICE)
    change(share)
    world.refused("INVALID_INPUT", CREATE, MARKET, **share)


@pytest.mark.parametrize("name", ["fee_treatment", "valid_until"])
def test_only_a_market_has_its_terms(world: Bazaar, name: str) -> None:
    share = world.share("roof", 1, PRICE, target_meter="m-load", consumer="load")
    del share["market_making_fee"]
    share[name] = {"fee_treatment": "SYMMETRIC", "valid_until": world.start}[name]
    assert name in world.refused("INVALID_INPUT", CREATE, "roof", **share).message


@pytest.mark.parametrize("name", ["source_meter", "target_meter"])
def test_without_a_market_both_sides_have_a_meter(world: Bazaar, name: str) -> None:
    share = world.share("roof", 1, PRICE, target_meter="m-load", consumer="load")
    del share["market_making_fee"], share[name]
    assert name in world.refused("INVALID_INPUT", CREATE, "roof", **share).message


def test_a_fee_above_the_price_would_leave_the_seller_owing(world: Bazaar) -> None:
    low = Decimal("0.009999")
    world.refused("INVALID_PRICE", CREATE, MARKET, **world.share("roof", 1, low))
    world.propose("roof", 1, Decimal("0.01"))
    world.propose("load", 1, low)


def test_the_platforms_own_fees_are_not_taken_in_a_market() -> None:
    genesis = settled_with(buyer_fee=Decimal("0.5"), seller_fee=Decimal("0.5"))
    world = Bazaar().set_up(genesis)
    world.take_part("roof", exports=True)
    world.take_part("load", exports=False)
    world.clear()
    world.read_all(roof=ENERGY, load=ENERGY)
    world.tick()
    assert world.on_account(fees("grid", "USD")) == 0
    # the market's own fees, less wheeling of 0.025
    assert world.posted(MARKET, "USD") == 1_000_000_000 + 94_340 - 2 * 117_925


def test_only_the_metered_side_uses_a_cap(world: Bazaar) -> None:
    world.cap("m-roof", "SELL", 5)
    world.cap("m-roof", "BUY", 1)
    world.clear()
    caps = world.read("registry.get_trade_caps", meter_id="m-roof")
    assert (caps["SELL"]["total"], caps["BUY"]["total"]) == ("4.716981", "0")
    world.refused("TRADE_CAP_EXCEEDED", CREATE, MARKET, **_again(world))


def _again(world: Bazaar) -> dict[str, Any]:
    return world.share("roof", 1, PRICE, contract_id="c-2#m-roof")


def test_caps_per_slot_are_used_on_the_metered_side() -> None:
    world = Bazaar().set_up(settled_with(cap_scope="PER_SLOT"))
    world.take_part("roof", exports=True)
    args = {"meter_id": "m-roof", "side": "SELL"}
    world.do("registry.set_trade_cap", "grid", cap=1, slot=world.start, **args)
    world.refused("TRADE_CAP_EXCEEDED", CREATE, MARKET, **world.share("roof", "4.000001", PRICE))
    world.agree("roof", 4, PRICE)
    caps = world.read("registry.get_trade_caps", meter_id="m-roof", slot=world.start)
    assert caps["SELL"]["total"] == "1"


# How long a reservation stands, and how shares end


def test_a_reservation_stands_as_long_as_the_market_says(world: Bazaar) -> None:
    until = world.start - EPOCH + 60_000
    number = world.propose("roof", ENERGY, PRICE, valid_until=until)
    world.now = until
    world.tick()
    assert world.states() == ["PROPOSED"]
    world.accept(number)
    world.now = NOON
    number = world.propose("load", ENERGY, PRICE, valid_until=until)
    world.now = until + 1
    world.refused("PROPOSAL_EXPIRED", ACCEPT, MARKET, agreement_no=number)
    world.tick()
    assert world.states() == ["ACTIVE", "EXPIRED"]


def test_a_new_reservation_of_a_meter_replaces_the_old_one(world: Bazaar) -> None:
    world.cap("m-roof", "SELL", 10)
    world.propose("roof", 10, PRICE)
    world.propose("roof", 10, PRICE)
    assert world.states() == ["PROPOSED"]
    caps = world.read("registry.get_trade_caps", meter_id="m-roof")
    assert caps["SELL"]["reserved"] == "10"


def test_nobody_leaves_a_market_that_has_cleared(world: Bazaar) -> None:
    for user, number in zip(("roof", "load"), world.clear(), strict=True):
        world.refused("CANCELLATION_NOT_ALLOWED", CANCEL, user, agreement_no=number)
    reserved = world.propose("load", 1, PRICE, contract_id="c-2#m-load")
    world.do(CANCEL, "load", agreement_no=reserved)


def test_an_export_that_was_never_read_expires_and_holds_nobody_up(world: Bazaar) -> None:
    world.clear()
    world.read_all(load=ENERGY)
    world.tick()
    assert world.states() == ["ACTIVE", "DELIVERED"]
    world.now = world.end + 86_400_001
    world.tick()
    assert world.states() == ["EXPIRED", "SETTLED"]
    # the load pays what cleared and gets none of the energy that never came
    assert world.posted("load", "USD") == 1_000_000_000 - 372_911
    assert world.posted("load", "GRID") == 0
    assert [world.held(user) for user in ("roof", MARKET, "load")] == [0, 0, 0]


def test_a_late_deadline_closes_a_half_read_share(world: Bazaar) -> None:
    world.clear()
    world.now = world.end
    world.submit("m-roof", world.start, generated=2)
    world.read_all(load=ENERGY)
    world.now = world.end + 86_400_001
    done = world.tick()
    kinds = [(e.fields["meter_id"], e.fields["kind"]) for e in events_of(done, "DeviationRecorded")]
    assert kinds == [("m-roof", "MISSING_READING"), ("m-roof", "SELLER_SHORTFALL")]
    assert world.states() == ["SETTLED", "SETTLED"]
    assert world.posted("load", "GRID") == 2_000_000


# What is shown


def test_a_share_is_shown_without_the_meter_that_it_has_not(world: Bazaar) -> None:
    world.clear()
    export, withdrawal = (
        world.read("agreements.get_agreement", agreement_no=number) for number in (1, 2)
    )
    assert (export["source_meter"], export["market"]) == ("m-roof", MARKET)
    assert "target_meter" not in export
    assert "source_meter" not in withdrawal
    assert (withdrawal["fee_per_kwh"], withdrawal["basis"]) == ("0.01", "CONTRACTED")
    world.read_all(roof=ENERGY, load=ENERGY)
    world.tick()
    export, withdrawal = (
        world.read("agreements.get_agreement", agreement_no=number) for number in (1, 2)
    )
    # what the consumer paid: the market the value and wheeling, the load the value and the fee
    assert (export["paid"], withdrawal["paid"]) == ("0.335175", "0.372911")
    parts = [world.read("agreements.get_transaction", transaction_no=n) for n in (1, 2)]
    assert [part["fees"] for part in parts] == ["0.04717", "0.04717"]
    history = world.read("agreements.get_transaction_history", "market", prosumer=MARKET)
    assert len(history) == 2


def test_only_the_parties_of_a_share_see_it(world: Bazaar) -> None:
    world.clear()
    read = "agreements.get_agreement"
    assert world.read(read, "app-load", agreement_no=2)["consumer"] == "load"
    with pytest.raises(Exception, match="no agreement"):
        world.read(read, "app-load", agreement_no=1)


def test_deviations_of_a_share_are_priced_for_its_one_meter(world: Bazaar) -> None:
    world.clear()
    world.read_all(roof=ENERGY - 1, load=ENERGY)
    world.tick()
    args = {"meter": "m-roof", "price": True, "import_price": 8, "export_price": 4}
    (preview,) = world.read("agreements.get_deviations", **args)["preview"]
    # 1 kWh short at 8; the market has no utility
    assert (preview["seller_utility"], preview["buyer_utility"]) == ("8.00", "0.00")
