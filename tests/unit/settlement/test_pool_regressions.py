"""Wrong behaviour of the published designs that must never appear in the pool.

One test per line of settlement.md section 16 that speaks of it; `test_regressions.py` and others
hold the rest.
"""

import pytest

from tests.unit.settlement.world import GENESIS, NOON, World

GENESIS_WITH_OPERATOR = {
    **GENESIS,
    "roles": {**GENESIS["roles"], "POOL_OPERATOR": ["pool-op"]},
}


@pytest.fixture
def world() -> World:
    """Return a seller with 100 kWh and two buyers with 1000.00 each."""
    world = World().open(GENESIS_WITH_OPERATOR)
    for user in ("sue", "bert", "carl"):
        world.user(user)
    world.do("pool.add_energy", "pool-op", prosumer="sue", amount=100, evidence="protocol 1")
    world.deposit("bert", 1_000)
    world.deposit("carl", 1_000)
    return world


def offer(world: World, amount: object, seller: str = "sue") -> int:
    args = {"amount": amount, "price": 5}
    return int(world.do("pool.trade_energy", seller, **args).result["offer_no"])


def test_b01_an_offer_is_completed_only_with_both_legs(world: World) -> None:
    number = offer(world, 100)
    world.do("token.withdraw", "treasurer", from_="bert", amount=600, external_reference="out")
    world.refused("INSUFFICIENT_FUNDS", "pool.buy_energy", "bert", offer_no=number)
    assert world.read("pool.get_trade_info", offer_no=number)["status"] == "OPEN"
    world.do("pool.buy_energy", "carl", offer_no=number)
    assert world.posted("carl", "GRID") == 100_000_000
    assert world.posted("sue", "USD") == 500_000_000


def test_b02_the_seller_that_is_paid_has_given_the_energy(world: World) -> None:
    world.do("pool.buy_energy", "bert", offer_no=offer(world, 100))
    assert world.posted("sue", "GRID") == 0
    args = {"amount": "0.001", "price": 5}
    world.refused("INSUFFICIENT_ENERGY", "pool.trade_energy", "sue", **args)


def test_b04_an_offer_is_bought_once(world: World) -> None:
    number = offer(world, 1)
    world.do("pool.buy_energy", "bert", offer_no=number)
    for _ in range(392):
        world.refused("TRADE_NOT_OPEN", "pool.buy_energy", "carl", offer_no=number)
    assert world.posted("carl", "GRID") == 0


def test_b05_verification_and_prosumer_checks_say_no(world: World) -> None:
    number = offer(world, 1)
    world.refused("USER_NOT_VERIFIED", "pool.buy_energy", "zoe", offer_no=number)
    world.refused("USER_NOT_VERIFIED", "pool.trade_energy", "zoe", amount=1, price=5)
    world.user("dan", "CONSUMER")
    world.refused("NOT_PROSUMER", "pool.trade_energy", "dan", amount=1, price=5)


def test_b12_a_late_offer_stays_open_until_it_is_expired(world: World) -> None:
    args = {"amount": 1, "price": 5, "expires_at": NOON}
    number = world.do("pool.trade_energy", "sue", **args).result["offer_no"]
    world.now = NOON + 1
    world.refused("TRADE_NOT_OPEN", "pool.buy_energy", "bert", offer_no=number)
    (receipt,) = world.tick()
    assert [event.name for event in receipt.events] == ["TradeExpired"]
    assert world.available("sue", "GRID") == 100_000_000


def test_b15_a_suspended_seller_sells_nothing(world: World) -> None:
    number = offer(world, 1)
    args = {"user": "sue", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **args)
    world.refused("TRADE_NOT_OPEN", "pool.buy_energy", "bert", offer_no=number)


def test_b18_large_offer_numbers_are_kept_exactly(world: World) -> None:
    world.refused("TRADE_NOT_FOUND", "pool.buy_energy", "bert", offer_no=2**32 + 1)


def test_b21_two_offers_over_the_same_energy_do_not_both_stand(world: World) -> None:
    number = offer(world, 100)
    args = {"amount": 100, "price": 5}
    world.refused("INSUFFICIENT_ENERGY", "pool.trade_energy", "sue", **args)
    world.refused("INSUFFICIENT_BALANCE", "token.transfer", "sue", to="carl", value=1)
    world.do("pool.buy_energy", "bert", offer_no=number)
    assert (world.posted("sue", "GRID"), world.posted("bert", "GRID")) == (0, 100_000_000)


def test_b22_nobody_adds_energy_or_funds_for_anyone(world: World) -> None:
    energy = {"amount": 5, "evidence": "because"}
    for caller in ("sue", "bert", "admin", "minter", "regulator"):
        world.refused("NOT_AUTHORIZED", "pool.add_energy", caller, prosumer="sue", **energy)
        funds = {"prosumer": "sue", "amount": 5, "external_reference": "r"}
        world.refused("NOT_TREASURER", "pool.add_funds", caller, **funds)
    world.refused("USER_NOT_FOUND", "pool.add_energy", "pool-op", prosumer="zoe", **energy)
    zero = {"prosumer": "sue", "amount": 0}
    world.refused("INVALID_ENERGY_AMOUNT", "pool.add_energy", "pool-op", evidence="x", **zero)
    world.refused("INVALID_ENERGY_AMOUNT", "pool.trade_energy", "sue", amount=0, price=1)
    world.refused("INVALID_PRICE", "pool.trade_energy", "sue", amount=1, price=0)
    number = offer(world, 1)
    world.do("pool.cancel_trade", "sue", offer_no=number)
    assert world.available("sue", "GRID") == 100_000_000


def test_b24_nobody_buys_its_own_offer(world: World) -> None:
    number = offer(world, 1)
    # Without the money either: who trades with itself is told so first.
    world.refused("SELF_TRADE", "pool.buy_energy", "sue", offer_no=number)


def test_nothing_is_given_away_by_rounding(world: World) -> None:
    # 0.000001 kWh at 0.40 is worth 0.4 millionths, which rounds to 0.
    args = {"amount": "0.000001", "price": "0.4"}
    world.refused("INVALID_ENERGY_AMOUNT", "pool.trade_energy", "sue", **args)
    # At 0.60 it is 0.6 millionths, which rounds to 1.
    args = {"amount": "0.000001", "price": "0.6"}
    number = world.do("pool.trade_energy", "sue", **args).result["offer_no"]
    world.do("pool.buy_energy", "bert", offer_no=number)
    assert world.posted("sue", "USD") == 1
