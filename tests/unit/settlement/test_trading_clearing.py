"""trading.match_orders: once, in order, after the end, judged at the end; what orders become."""

from decimal import Decimal

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import verify
from adapter.settlement.order_rows import Order
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.trading import FIRST, Trading
from tests.unit.settlement.world import EPOCH, NOON, settled_with

MATCH = "trading.match_orders"


@pytest.fixture
def world() -> Trading:
    """Return a market without rates: ann, ben and cat are prosumers, dan is a consumer."""
    return Trading().set_up()


def till(epochs: int, less: int = 0) -> dict[str, object]:
    """Return the arguments of an order that ends with the n-th epoch, or some ms before."""
    return {"time_in_force": "GTT", "expires_at": NOON + epochs * EPOCH - less}


def check(world: Trading) -> None:
    """Check that the whole journal verifies."""
    bodies = [entry.body for entry in world.ledger.entries(-1, 10_000)]
    verdict = verify(bodies, MemoryLedger(), stored=world.ledger)
    assert verdict.ok, verdict.why


def test_clearing_is_for_market_makers_and_operators(world: Trading) -> None:
    world.next_epoch()
    world.refused("NOT_MARKET_MAKER", MATCH, "ann", epoch=FIRST)
    world.do(MATCH, "headend", epoch=FIRST)


def test_an_epoch_is_cleared_after_its_end(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.now = NOON + EPOCH - 1
    error = world.refused("EPOCH_NOT_ENDED", MATCH, "system", epoch=FIRST)
    assert error.details["retry_at"] == NOON + EPOCH
    world.now += 1
    world.do(MATCH, "system", epoch=FIRST)


def test_an_epoch_is_cleared_once_and_answers_its_result_ever_after(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.order("ben", "BUY", 1, 6)
    first = world.clear()
    before = world.fingerprint()
    for caller in ("system", "headend"):
        again = world.do(MATCH, caller, epoch=FIRST)
        assert (again.result, again.seq, again.replayed) == (first.result, first.seq, True)
    assert world.fingerprint() == before
    assert world.posted("ben", "GRID") == 101_000_000


def test_epochs_are_cleared_in_order(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.next_epoch()
    world.order("ann", "SELL", 1, 6)
    world.next_epoch()
    error = world.refused("EPOCH_OUT_OF_ORDER", MATCH, "system", epoch=FIRST + 1)
    assert error.details["expected"] == FIRST
    # The order of the checks: an epoch that has not ended either is out of order first.
    world.refused("EPOCH_OUT_OF_ORDER", MATCH, "system", epoch=FIRST + 9)
    world.match(FIRST)
    world.match(FIRST + 1)


def test_epochs_without_orders_need_no_clearing(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.clear()
    world.next_epoch(50)
    world.order("ann", "SELL", 1, 6)
    receipt = world.clear()
    assert receipt.result["epoch"] == FIRST + 51
    before = world.fingerprint()
    empty = world.do(MATCH, "system", epoch=FIRST + 20)
    expected = {"epoch": FIRST + 20, "area": "main", "volume": "0", "trades": 0}
    assert empty.result == expected
    assert world.fingerprint() == before


def test_areas_are_markets_of_their_own(world: Trading) -> None:
    for user, area in (("eva", "far - north"), ("fay", "far - north")):
        world.trader(user, area=area)
    world.order("ann", "SELL", 1, 6)
    world.order("eva", "SELL", 1, 3)
    world.order("fay", "BUY", 1, 5)
    world.order("ben", "BUY", 1, 4)
    world.next_epoch()
    assert world.match(FIRST).result["trades"] == 0
    assert world.match(FIRST, area="far - north").result["price"] == "4.00"
    trade = world.read("trading.get_trade", trade_id=f"{FIRST}-far - north-0")
    assert (trade["seller"], trade["buyer"], trade["area"]) == ("eva", "fay", "far - north")
    check(world)


def test_a_late_clearing_gives_the_same_result() -> None:
    """Judged at the epoch's end: what came or expired since does not count."""
    results = []
    for delay in (0, 10):
        world = Trading().set_up()
        world.order("ann", "SELL", 2, 5)
        world.order("ben", "SELL", 2, 4, **till(1))
        world.order("cat", "BUY", 3, 6, **till(1))
        world.order("dan", "BUY", 9, 7, **till(1, less=1))
        world.next_epoch()
        if delay:
            world.order("ann", "SELL", 9, 1)
            world.now += delay * EPOCH
            world.do("registry.expire_due", "system")
        receipt = world.match(FIRST)
        results.append((receipt.result, [world.state(n)[1] for n in range(1, 4)]))
    assert results[0] == results[1]
    # 3 kWh meet between the ask of 5 and the bid of 6: the ask at 5 is filled in part, so 5.
    expected = {"epoch": FIRST, "area": "main", "price": "5.00", "volume": "3", "trades": 2}
    assert results[0] == (expected, ["1", "2", "3"])


def test_an_order_lives_on_with_what_is_left(world: Trading) -> None:
    ask = world.order("ann", "SELL", 10, 6, **till(4))
    for i, left in ((1, 7), (2, 4), (3, 1)):
        world.order("dan", "BUY", 3, 6)
        world.clear()
        assert world.state(ask) == ("PARTIALLY_FILLED", str(10 - left))
        assert world.held("ann", "GRID") == left, i
    world.order("dan", "BUY", 3, 6)
    last = world.order("ben", "BUY", 3, 6)
    world.clear()
    assert world.state(ask) == ("FILLED", "10")
    # The earlier bid is served first, the later one not at all.
    assert world.state(last) == ("EXPIRED", "0")
    assert world.held("ann", "GRID") == world.held("dan", "USD") == 0
    check(world)


def test_a_bid_that_lives_on_holds_what_its_rest_needs() -> None:
    rates = settled_with(price_tick="0.01", wheeling_rate="0.50", buyer_fee="0.05")
    world = Trading().set_up(rates)
    world.cap("m-dan", "BUY", 10)
    bid = world.order("dan", "BUY", 6, "8.00", **till(8))
    world.order("ann", "SELL", 2, "4.00")
    world.clear()
    # 4 × 8.55 for the rest; the bid is not filled in whole, so the price is its own: 8.00.
    assert world.held("dan", "USD") == Decimal("34.20")
    assert world.posted("dan", "USD") == 1_000_000_000 - 17_100_000
    caps = world.read("registry.get_trade_caps", meter_id="m-dan")["BUY"]
    assert (caps["total"], caps["reserved"]) == ("0", "4")
    world.do("trading.cancel_order", "dan", order_no=bid)
    assert world.held("dan", "USD") == 0
    assert world.read("registry.get_trade_caps", meter_id="m-dan")["BUY"]["reserved"] == "0"
    check(world)


def test_a_settled_trade_gives_its_cap_room_back(world: Trading) -> None:
    world.cap("m-ann", "SELL", 5)
    world.cap("m-ben", "BUY", 5)
    for _ in range(3):
        world.order("ann", "SELL", 5, 6)
        world.order("ben", "BUY", 5, 6)
        world.clear()
    caps = world.read("registry.get_trade_caps", meter_id="m-ann")["SELL"]
    assert (caps["total"], caps["reserved"], caps["room"]) == ("0", "0", "5")
    check(world)


def test_an_order_till_a_time_joins_every_epoch_that_ends_by_then(world: Trading) -> None:
    ends = world.order("ann", "SELL", 1, 6, **till(2))
    short = world.order("ben", "SELL", 1, 5, **till(2, less=1))
    world.clear()
    world.order("dan", "BUY", 2, 6)
    world.clear()
    # At its last instant the first one still takes part, the other is over by then.
    assert world.state(ends) == ("FILLED", "1")
    assert world.state(short) == ("EXPIRED", "0")


def test_an_order_expires_one_millisecond_after_its_end(world: Trading) -> None:
    number = world.order("ann", "SELL", 1, 6, **till(2))
    world.clear()
    world.clear()
    assert world.state(number)[0] == "ACTIVE"
    assert world.do("registry.expire_due", "system").result == {"expired": 0}
    world.now += 1
    assert world.state(number)[0] == "EXPIRED"
    world.refused("ORDER_NOT_ACTIVE", "trading.cancel_order", "ann", order_no=number)
    assert world.held("ann", "GRID") == 1
    (receipt,) = world.tick()
    (event,) = receipt.events
    assert event.name == "OrderExpired"
    expected = {"order_no": number, "user": "ann", "filled": 0, "released": 1_000_000}
    assert event.fields == {**expected, "asset": "GRID"}
    assert world.held("ann", "GRID") == 0
    assert world.tick() == []


def test_an_order_waits_for_its_clearing_before_it_expires() -> None:
    off = settled_with(price_tick="0.01", wheeling_rate=0, auto_market_clearing=False)
    world = Trading().set_up(off)
    number = world.order("ann", "SELL", 1, 6, **till(1, less=-5))
    world.now = NOON + EPOCH + 6
    assert world.tick() == []
    assert world.state(number)[0] == "ACTIVE"
    world.refused("EPOCH_CLOSED", "trading.cancel_order", "ann", order_no=number)
    world.match(FIRST)
    assert world.state(number)[0] == "EXPIRED"
    assert len(world.tick()) == 1


def test_an_order_off_a_new_lot_waits_and_nothing_rounds(world: Trading) -> None:
    odd = world.order("ann", "SELL", "1.001", 6, **till(4))
    world.do("registry.set_parameter", "admin", name="lot_energy", value=1)
    world.next_epoch()
    world.match(FIRST)
    world.order("dan", "BUY", 2, 7)
    world.order("ben", "SELL", 1, 6)
    receipt = world.clear()
    assert receipt.result["volume"] == "1"
    assert world.state(odd) == ("ACTIVE", "0")
    check(world)


def test_a_book_of_one_micro_kwh() -> None:
    """The smallest lot at the smallest price that a whole millionth of money allows."""
    world = Trading().set_up(settled_with(lot_energy="0.000001", price_tick=1, wheeling_rate=0))
    ask = world.order("ann", "SELL", Decimal("0.000001"), 6)
    bid = world.order("ben", "BUY", Decimal("0.000002"), 6)
    world.clear()
    assert world.state(ask) == ("FILLED", "0.000001")
    assert world.state(bid) == ("EXPIRED", "0.000001")
    assert world.posted("ben", "GRID") == 100_000_001
    assert world.posted("ann", "USD") == 1_000_000_006
    check(world)


def test_a_book_of_one_side_trades_nothing(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    receipt = world.clear()
    (event,) = receipt.events
    assert "price" not in event.fields
    assert (event.fields["volume"], event.fields["trades"]) == (0, 0)
    check(world)


def test_a_clearing_rewrites_no_row_of_an_order_that_ends(world: Trading) -> None:
    number = world.order("ann", "SELL", 1, 6)
    world.order("ben", "BUY", 1, 6)
    world.clear()
    row = world.ledger.get(Order, world.now_of(number).key)
    assert row is not None
    assert (row.filled, world.now_of(number).filled) == (0, 1_000_000)


def test_no_one_sees_the_orders_and_trades_of_others(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.order("ben", "BUY", 1, 6)
    with_read = {"order_no": 1}
    assert world.read("trading.get_order", "ann", **with_read)["held"] == "1"
    for caller in ("ben", "grid", ""):
        refuse_read(world, "ORDER_NOT_FOUND", "trading.get_order", caller, **with_read)
        refuse_read(world, "USER_NOT_FOUND", "trading.get_user_orders", caller, user="ann")
    world.clear()
    name = "trading.get_trade"
    for caller in ("ann", "ben", "regulator", "auditor"):
        assert world.read(name, caller, trade_id=f"{FIRST}-main-0")["energy"] == "1"
    for wrong in ("0-main-0", f"{FIRST}-main-1", f"{FIRST}-far-0", "x", f"0{FIRST}-main-0"):
        refuse_read(world, "TRADE_NOT_FOUND", name, "auditor", trade_id=wrong)
    refuse_read(world, "TRADE_NOT_FOUND", name, "cat", trade_id=f"{FIRST}-main-0")


def refuse_read(world: Trading, code: str, function: str, caller: str, **args: object) -> None:
    """Read something that must not be found."""
    with pytest.raises(ContractError) as caught:
        world.read(function, caller, **args)
    assert caught.value.code == code


def test_the_book_shows_quantities_per_price_to_everyone(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.order("ben", "SELL", 2, 6, **till(3))
    world.order("cat", "SELL", 4, 7)
    world.order("dan", "BUY", 3, 5)
    world.order("dan", "BUY", 1, "5.50")
    book = world.read("trading.get_order_book", "")
    assert book == {
        "area": "main",
        "epoch": FIRST,
        "asks": [{"price": "6.00", "energy": "3"}, {"price": "7.00", "energy": "4"}],
        "bids": [{"price": "5.50", "energy": "1"}, {"price": "5.00", "energy": "3"}],
    }
    world.clear()
    book = world.read("trading.get_order_book", "")
    assert (book["asks"], book["bids"]) == ([{"price": "6.00", "energy": "2"}], [])


def test_the_states_of_an_epoch(world: Trading) -> None:
    def state() -> str:
        return str(world.read("trading.get_epoch", "", epoch=FIRST)["state"])

    world.order("ann", "SELL", 2, 6)
    world.order("ben", "BUY", 1, 7)
    assert state() == "OPEN"
    world.next_epoch()
    assert state() == "CLOSED"
    world.match()
    assert state() == "CLEARED"
    epoch = world.read("trading.get_epoch", "", epoch=FIRST)
    assert (epoch["price"], epoch["volume"], epoch["orders"]) == ("6.00", "1", 2)
    world.do("oracle.perform_upkeep", "system")
    assert state() == "ANCHORED"


def test_own_orders_newest_first_and_by_status(world: Trading) -> None:
    world.order("ann", "SELL", 2, 6)
    world.order("ben", "BUY", 2, 6)
    world.order("ann", "SELL", 1, 7)
    world.clear()
    world.order("ann", "SELL", 3, 8)
    read = world.read("trading.get_user_orders", "ann", user="ann")
    assert [(o["order_no"], o["status"]) for o in read] == [
        (4, "ACTIVE"),
        (3, "EXPIRED"),
        (1, "FILLED"),
    ]
    filled = world.read("trading.get_user_orders", "ann", user="ann", status="FILLED")
    assert [order["order_no"] for order in filled] == [1]


def test_the_configuration_names_steps_limits_and_rates(world: Trading) -> None:
    config = world.read("trading.get_market_config", "")
    assert (config["lot_energy"], config["price_tick"], config["epoch_s"]) == ("0.001", "0.01", 900)
    assert config["max_orders_per_user_epoch"] == 100
