"""Whatever ends before it is settled gives everything back: no hold stays, all sums are zero."""

from collections import Counter

import pytest

from tests.unit.settlement.world import EPOCH, Market, settled_with

CANCEL = "agreements.cancel_agreement"


@pytest.fixture
def world() -> Market:
    """Return the demo with a fee of 0.10 for readings, and 5 USD in the oracle's fund."""
    world = Market().set_up(settled_with(oracle_fee="0.10"))
    world.do("oracle.fund_oracle", "bap", "alice", amount=5)
    return world


def open_things(world: Market) -> list[int]:
    """Make two agreements, a proposal, and two requests; return the agreements' numbers."""
    numbers = [world.agree("k-1"), world.agree("k-2", energy_amount_kwh=5), world.propose("k-3")]
    world.now += EPOCH
    for caller, meter in (("bap", "m-buy"), ("bpp", "m-sell")):
        owner = {"bap": "alice", "bpp": "bob"}[caller]
        world.do("oracle.request_energy_data", caller, owner, meter_id=meter, interval=world.start)
    return numbers


def held(world: Market) -> dict[str, int]:
    """Return what is held in all, by asset."""
    sums: Counter[str] = Counter()
    for account in world.ledger.accounts():
        sums[account.id.split("|")[1]] += account.held
    return {asset: amount for asset, amount in sums.items() if amount}


def check_sums(world: Market) -> None:
    """Check that every asset adds up to zero over all accounts."""
    sums: Counter[str] = Counter()
    for account in world.ledger.accounts():
        sums[account.id.split("|")[1]] += account.posted
    assert set(sums.values()) <= {0}


def check_everything_is_back(world: Market) -> None:
    assert held(world) == {}
    check_sums(world)
    assert world.posted("alice", "USD") == world.available("alice", "USD") == 15_000_000
    assert world.read("oracle.get_oracle_balance")["available"] == "5.00"
    for meter, side, cap in (("m-buy", "BUY", "50"), ("m-sell", "SELL", "100")):
        shown = world.read("registry.get_trade_caps", meter_id=meter)[side]
        assert (shown["cap"], shown["room"]) == (cap, cap)


def test_the_story_holds_cash_and_caps(world: Market) -> None:
    open_things(world)
    # Cash 1.75 + 0.875, fees 2 x 0.10; caps of the proposal 10 on both meters, the other 15 in use.
    assert held(world) == {"USD": 2_825_000, "CAP": 20_000_000}
    shown = world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"]
    assert (shown["total"], shown["reserved"], shown["room"]) == ("15", "10", "25")
    check_sums(world)


def test_cancelling_everything_gives_everything_back(world: Market) -> None:
    world.start += 8 * EPOCH
    numbers = open_things(world)
    for number in numbers:
        world.do(CANCEL, "bpp", "bob", agreement_no=number)
    for request_no in (1, 2):
        world.do("oracle.fail_request", "headend", request_no=request_no)
    check_everything_is_back(world)


def test_letting_everything_expire_gives_everything_back(world: Market) -> None:
    open_things(world)
    world.now = world.end + 2 * 86_400_000
    world.tick()
    check_everything_is_back(world)


def test_a_suspension_gives_back_what_is_proposed(world: Market) -> None:
    open_things(world)
    suspend = {"user": "bob", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **suspend)
    assert held(world) == {"USD": 2_825_000}
    world.now = world.end + 2 * 86_400_000
    world.tick()
    check_everything_is_back(world)


def test_a_reading_that_comes_too_late_stays_free_for_its_owner() -> None:
    world = Market().set_up(settled_with(delivery_grace_s=0))
    world.agree(basis="DELIVERED")
    world.now = world.end
    world.submit("m-sell", world.start, generated=1)
    world.now += 1
    # The deadline is over and not acted upon yet, so the agreement still waits for this quarter.
    world.submit("m-sell", world.start + 2 * EPOCH, generated=2)
    assert world.available("bob", "GRID") == 0
    world.tick()
    # The first quarter is sold, the late one is the seller's own.
    assert (world.posted("alice", "GRID"), world.available("bob", "GRID")) == (1_000_000, 2_000_000)
    assert held(world) == {}
