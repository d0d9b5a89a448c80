"""Wrong behaviour of the published designs that must never appear here.

One test per line of settlement.md section 16 that applies so far. B4, B7, B8, B10, B19 and B21
speak of order book, clearing and pool, B9 of upkeep; they come with those.
"""

import inspect
from typing import Any

import pytest

from adapter.settlement import (
    FUNCTIONS,
    AgreementState,
    agreement_view,
    due_commands,
    execute,
)
from adapter.settlement.events import EVENTS
from tests.unit.settlement.world import EPOCH, NOON, Market, World, settled_with


@pytest.fixture
def world() -> Market:
    """Return the set-up of the demo."""
    return Market().set_up()


def suspend(world: World, user: str, state: str = "SUSPENDED") -> None:
    args = {"user": user, "new_status": state}
    world.do("registry.update_user_status", "regulator", **args)


def test_b01_a_settled_trade_has_moved_energy_and_cash(world: Market) -> None:
    world.agree()
    world.deliver(10, 10)
    world.tick()
    view = agreement_view(world.ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert view.state is AgreementState.SETTLED
    assert (world.available("alice", "GRID"), world.available("bob", "USD")) == (
        10_000_000,
        1_500_000,
    )


def test_b02_the_seller_that_is_paid_has_given_the_energy(world: Market) -> None:
    world.agree()
    world.deliver(10, 10)
    world.tick()
    assert world.posted("bob", "GRID") == 0


def test_b03_no_agreement_is_active_without_held_cash(world: Market) -> None:
    before = world.available("alice", "USD")
    world.agree()
    assert before - world.available("alice", "USD") == 1_750_000


def test_b05_verification_prosumer_and_allowance_checks_say_no(world: Market) -> None:
    world.refused("USER_NOT_VERIFIED", "token.transfer", "zoe", to="alice", value=1)
    world.user("carl", "CONSUMER")
    world.meter("m-carl", "carl")
    args = world.terms(provider="carl", source_meter="m-carl")
    world.refused("NOT_PROSUMER", "agreements.create_agreement", "carl", **args)
    args = {"from_": "alice", "to": "bob", "value": 1}
    world.refused("INSUFFICIENT_ALLOWANCE", "token.transfer_from", "eve", **args)


def test_b06_nobody_points_the_contracts_elsewhere(world: Market) -> None:
    name = "token.set_registry_contract"
    world.refused("NOT_OWNER", name, "alice", registry_contract="registry")
    world.refused("REGISTRY_NOT_SET", name, "admin", registry_contract="mine")
    suspend(world, "alice")
    world.do(name, "admin", registry_contract="registry")
    assert world.read("registry.is_user_verified", user="alice") is False


def test_b07_an_allowance_reserves_nothing_and_is_used_up(world: Market) -> None:
    # 20 allowed and 20 there: eleven agreements of 1.75 fit, and each takes its share of both.
    for i in range(11):
        window = {"start": world.start + i * EPOCH, "end": world.start + (i + 1) * EPOCH}
        world.agree(f"k-{i}", energy_amount_kwh=1, price_per_kwh="1.725", window=window)
    number = world.propose("k-11", energy_amount_kwh=1, price_per_kwh="1.725")
    args = {"agreement_no": number}
    world.refused("INSUFFICIENT_ALLOWANCE", "agreements.accept_agreement", "bpp", "bob", **args)


def test_b08_proposals_expire_and_free_their_place(world: Market) -> None:
    world.propose(energy_amount_kwh=50)
    args = world.terms("k-2", energy_amount_kwh=1)
    world.refused("TRADE_CAP_EXCEEDED", "agreements.create_agreement", "bpp", "bob", **args)
    world.now += 900_001
    world.tick()
    world.propose("k-2", energy_amount_kwh=1)


def test_b09_asking_what_is_due_writes_nothing(world: Market) -> None:
    world.propose()
    world.now += 900_001
    before = world.fingerprint()
    for _ in range(1_000):
        assert len(due_commands(world.ledger, world.now, 10)) == 1
    assert world.fingerprint() == before


def test_b11_a_reading_is_signed_by_its_own_meter_and_minted_once(world: Market) -> None:
    world.now = world.end
    data = world.signed("m-sell", world.start, generated=1)
    name = "oracle.submit_reading"
    other = {**data, "meter_id": "m-buy"}
    world.refused("INVALID_SIGNATURE", name, "headend", meter_data=other)
    unsigned = {**data, "signature": "A" * 86 + "=="}
    world.refused("INVALID_SIGNATURE", name, "headend", meter_data=unsigned)
    for _ in range(3):
        world.do(name, "headend", meter_data=data)
    args = {"to": "bob", "amount": 1, "meter_id": "m-sell", "interval": world.start}
    world.refused("ALREADY_MINTED", "token.mint", "minter", **args)
    assert world.posted("bob", "GRID") == 1_000_000


def test_b12_a_refusal_changes_no_status_and_expired_is_reached(world: Market) -> None:
    number = world.propose()
    world.now += 900_001
    args = {"agreement_no": number}
    world.refused("PROPOSAL_EXPIRED", "agreements.accept_agreement", "bap", "alice", **args)
    world.tick()
    world.refused("AGREEMENT_NOT_ACTIVE", "agreements.accept_agreement", "bap", "alice", **args)


def test_b13_no_wrap_around_creates_balance(world: Market) -> None:
    for i in range(9):
        args = {"amount": 10**12, "external_reference": f"big-{i}"}
        world.do("token.deposit", "treasurer", to="bob", **args)
    # 10 × 10^18 millionths is beyond 2^63 − 1 = 9.22 × 10^18.
    args = {"amount": 10**12, "external_reference": "big-9"}
    world.refused("OVERFLOW", "token.deposit", "treasurer", to="bob", **args)
    assert world.posted("bob", "USD") == 9 * 10**18


def test_b14_the_number_of_regulators_is_counted() -> None:
    world = World().open()
    for i in range(5):
        world.do("registry.add_rec_regulator", "admin", new_regulator=f"r-{i}")
    for i in range(5):
        world.do("registry.remove_rec_regulator", "admin", regulator=f"r-{i}")
    args = {"regulator": "regulator"}
    code, name = "CANNOT_REMOVE_LAST_REC_REGULATOR", "registry.remove_rec_regulator"
    world.refused(code, name, "admin", **args)


def test_b15_who_left_stays_out_and_who_is_suspended_gets_nothing(world: Market) -> None:
    suspend(world, "bob")
    assert world.read("registry.is_prosumer", user="bob") is False
    args = {"meter_id": "m-x", "owner": "bob", "capacity_kw": 1}
    key = world.public_key("m-sell")
    name = "registry.assign_meter"
    world.refused("USER_NOT_VERIFIED", name, "regulator", public_key=key, **args)
    suspend(world, "bob", "DEACTIVATED")
    args = {"user": "bob", "user_type": "PROSUMER"}
    world.refused("USER_ALREADY_EXISTS", "registry.register_user", "regulator", **args)
    world.refused("USER_ALREADY_EXISTS", "registry.apply_user", "bob", user_type="PROSUMER")


def test_b16_minters_make_no_minters_and_everything_needs_a_reading(world: Market) -> None:
    world.refused("NOT_OWNER", "token.add_minter", "minter", minter="friend")
    args: dict[str, Any] = {"amount": 1, "meter_id": "m-sell", "interval": NOON}
    world.refused("READING_NOT_FOUND", "token.mint", "minter", to="bob", **args)
    world.refused("READING_NOT_FOUND", "token.burn", "burner", from_="bob", **args)
    args["meter_id"] = "none"
    world.refused("METER_NOT_FOUND", "token.mint", "minter", to="bob", **args)


def test_b18_large_numbers_are_kept_exactly(world: Market) -> None:
    big = 2**32 + 1
    args = {"amount": str(big), "external_reference": "big"}
    world.do("token.deposit", "treasurer", to="bob", **args)
    assert world.read("token.balance_of", user="bob", asset="USD")["posted"] == f"{big}.00"
    world.refused("AGREEMENT_NOT_FOUND", "agreements.cancel_agreement", "bob", agreement_no=big)


def test_b20_a_provider_alone_makes_no_debt_and_no_reading(world: Market) -> None:
    number = world.do("agreements.create_agreement", "bob", **world.terms()).result["agreement_no"]
    args = {"agreement_no": number}
    world.refused("INSUFFICIENT_ALLOWANCE", "agreements.accept_agreement", "bob", **args)
    world.do("agreements.accept_agreement", "alice", **args)
    world.do("agreements.deliver_energy", "bob", energy_delivered_kwh=10, **args)
    refused = "DELIVERY_INCOMPLETE"
    world.refused(refused, "agreements.settle_payment", "bob", transaction_no=1)
    data = world.signed("m-sell", NOON, generated=1)
    world.refused("NOT_ORACLE_OPERATOR", "oracle.submit_reading", "bob", meter_data=data)


def test_b21_the_same_energy_is_not_sold_twice(world: Market) -> None:
    # Two agreements of 10 on a meter that gives 10: 5 each, and never less than nothing.
    for name in ("k-1", "k-2"):
        world.agree(name, basis="DELIVERED")
    world.deliver(10, 20)
    world.tick()
    assert world.posted("bob", "GRID") == 0
    assert world.posted("alice", "GRID") == 10_000_000
    paid = [world.read("agreements.get_agreement", agreement_no=n)["paid"] for n in (1, 2)]
    assert paid == ["0.875", "0.875"]


def test_b22_nothing_comes_from_nobody_and_zero_is_no_amount(world: Market) -> None:
    args = {"amount": 1, "external_reference": "r"}
    world.refused("NOT_TREASURER", "token.deposit", "alice", to="alice", **args)
    world.refused("USER_NOT_FOUND", "token.deposit", "treasurer", to="nobody", **args)
    zero = {"amount": 0, "external_reference": "r"}
    world.refused("INVALID_INPUT", "token.deposit", "treasurer", to="alice", **zero)
    world.refused("INVALID_ENERGY_AMOUNT", "token.transfer", "alice", to="bob", value=0)
    number = world.propose()
    world.do("agreements.cancel_agreement", "bpp", "bob", agreement_no=number)


def test_b23_these_tests_run_the_contract_itself() -> None:
    assert inspect.getsource(World.do).count(execute.__name__) == 1
    for row in FUNCTIONS.values():
        home = inspect.getmodule(row.handler)
        assert home is not None
        assert home.__name__.startswith("adapter.settlement.contracts")


@pytest.mark.parametrize("side", ["user", "meter"])
def test_b24_nobody_trades_with_itself(world: Market, side: str) -> None:
    world.meter("m-bob-2", "bob")
    target = "m-bob-2" if side == "user" else "m-sell"
    args = world.terms(consumer="bob", target_meter=target)
    world.refused("SELF_TRADE", "agreements.create_agreement", "bpp", "bob", **args)


def test_grid_is_never_money() -> None:
    # All prices, fees and values are in the ledger's currency; only energies count GRID.
    world = Market().set_up(settled_with(wheeling_rate="0.025"))
    world.agree()
    world.deliver(10, 10)
    for receipt in world.tick():
        for event in receipt.events:
            assert event.name in EVENTS
    for account in world.ledger.accounts():
        if "|GRID|" in account.id and not account.id.startswith("sys|"):
            assert account.posted >= 0


def test_intervals_lie_on_the_grid_whenever_the_call_comes(world: Market) -> None:
    world.now = NOON + 123_456
    receipt = world.do("registry.set_max_meters_per_user", "admin", value=3)
    assert receipt.result["from"] == NOON + EPOCH
