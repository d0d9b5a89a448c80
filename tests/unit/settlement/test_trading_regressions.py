"""Wrong behaviour of the published designs that must never appear on the order book.

The list is in settlement.md, section 16; `test_regressions.py` has the lines that are not about
orders and clearing.
"""

import pytest

from adapter.settlement import due_commands
from tests.unit.settlement.trading import FIRST, PLAIN, Trading
from tests.unit.settlement.world import EPOCH, NOON, settled_with


@pytest.fixture
def world() -> Trading:
    """Return a market without rates."""
    return Trading().set_up()


def till(epochs: int) -> dict[str, object]:
    return {"time_in_force": "GTT", "expires_at": NOON + epochs * EPOCH}


def test_b03_a_bid_carries_its_hold_and_pays_when_the_energy_moves(world: Trading) -> None:
    world.order("dan", "BUY", 2, 6)
    assert world.held("dan", "USD") == 12
    world.order("ann", "SELL", 2, 6)
    world.clear()
    assert (world.posted("dan", "GRID"), world.posted("dan", "USD")) == (102_000_000, 988_000_000)


def test_b04_a_filled_bid_matches_once(world: Trading) -> None:
    bid = world.order("dan", "BUY", 1, 6, **till(90))
    for _ in range(20):
        world.order("ann", "SELL", 1, 5)
        world.clear()
    assert world.state(bid) == ("FILLED", "1")
    assert world.posted("dan", "GRID") == 101_000_000
    assert world.posted("ann", "GRID") == 99_000_000


def test_b07_many_orders_do_not_share_the_same_cash(world: Trading) -> None:
    for _ in range(4):
        world.order("dan", "BUY", 25, 10)
    world.order_refused("INSUFFICIENT_FUNDS", "dan", "BUY", "0.001", 10)
    world.order("ann", "SELL", 100, 10)
    # Everything that was accepted is settled, none is skipped for lack of funds.
    assert world.clear().result["volume"] == "100"
    assert world.posted("dan", "USD") == 0


def test_b08_orders_expire_and_filled_ones_free_their_place() -> None:
    limits = {**PLAIN["settings"], "max_orders_per_user_epoch": 1}
    world = Trading().set_up(settled_with(**limits))
    world.order("ann", "SELL", 1, 6)
    world.order_refused("TOO_MANY_ORDERS", "ann", "SELL", 1, 6)
    world.order("dan", "BUY", 1, 6)
    world.clear()
    first = world.order("ann", "SELL", 1, 6)
    world.clear()
    assert world.state(first)[0] == "EXPIRED"
    world.order("ann", "SELL", 1, 6, time_in_force="GTT", expires_at=world.now + 1)
    world.now += 2
    world.tick()
    world.order("ann", "SELL", 1, 6)
    assert world.held("ann", "GRID") == 1


def test_b09_asking_for_upkeep_writes_nothing_and_stops_nothing(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.order("dan", "BUY", 1, 6)
    world.next_epoch()
    before = world.fingerprint()
    for _ in range(1_000):
        assert world.read("oracle.check_upkeep", "")["needed"]
    assert world.fingerprint() == before
    world.tick()
    assert world.posted("dan", "GRID") == 101_000_000


def test_b10_upkeep_clears_each_epoch_exactly_once(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.order("dan", "BUY", 1, 6)
    world.next_epoch()
    cleared = [world.do("oracle.perform_upkeep", "system").result["cleared"] for _ in range(5)]
    assert cleared == [[{"epoch": FIRST, "area": "main"}], [], [], [], []]
    assert due_commands(world.ledger, world.now, 10) == []
    assert world.posted("dan", "GRID") == 101_000_000


def test_b19_a_partly_filled_order_matches_again(world: Trading) -> None:
    ask = world.order("ann", "SELL", 3, 6, **till(9))
    for filled in ("1", "2", "3"):
        world.order("dan", "BUY", 1, 6)
        world.clear()
        assert world.state(ask)[1] == filled
    assert world.state(ask)[0] == "FILLED"


def test_b24_nobody_trades_with_itself(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.order_refused("SELF_TRADE", "ann", "BUY", 1, 6)
    world.order("ann", "BUY", 1, 5)
    world.order("ben", "SELL", 1, 5)
    world.order("ben", "BUY", 1, "4.99")
    world.clear()
    trade = world.read("trading.get_trade", trade_id=f"{FIRST}-main-0")
    assert (trade["seller"], trade["buyer"]) == ("ben", "ann")


def test_the_price_is_not_the_first_ask_nor_does_an_epoch_drift(world: Trading) -> None:
    world.now = NOON + 123_456
    world.order("ann", "SELL", 1, 2)
    world.order("dan", "BUY", 1, 8)
    assert world.clear().result == {
        "epoch": FIRST,
        "area": "main",
        "price": "5.00",
        "volume": "1",
        "trades": 1,
    }
