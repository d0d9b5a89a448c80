"""trading: orders on entry and cancel, every refusal in its place, holds from the first moment."""

from decimal import Decimal

import pytest

from adapter.settlement.order_rows import (
    ORDER_TRANSITIONS,
    OrderState,
    OrderStep,
    next_order,
)
from adapter.settlement.postings import TransitionError
from tests.unit.settlement.trading import FIRST, RATES, Trading
from tests.unit.settlement.world import EPOCH, NOON, settled_with

KWH = 1_000_000


@pytest.fixture
def world() -> Trading:
    """Return a market without rates: ann, ben and cat are prosumers, dan is a consumer."""
    return Trading().set_up()


def gtt(world: Trading, epochs: int = 4) -> dict[str, object]:
    """Return the arguments of an order that joins so many epochs."""
    return {"time_in_force": "GTT", "expires_at": (world.now // EPOCH + epochs) * EPOCH}


def test_an_ask_holds_its_energy_and_says_so(world: Trading) -> None:
    receipt = world.ordered("ann", "SELL", 5, "6.10")
    assert receipt.result == {"order_no": 1, "epoch": FIRST, "area": "main"}
    (event,) = receipt.events
    assert event.name == "SellOrderCreated"
    assert event.fields == {
        "order_no": 1,
        "user": "ann",
        "meter_id": "m-ann",
        "area": "main",
        "energy": 5 * KWH,
        "price": 6_100_000,
        "epoch": FIRST,
        "time_in_force": "EPOCH",
        "expires_at": NOON + EPOCH,
    }
    assert world.held("ann", "GRID") == 5


def test_a_bid_holds_price_wheeling_and_fee() -> None:
    world = Trading().set_up(RATES)
    world.order("dan", "BUY", 6, "8.00")
    # 6 × (8.00 + 0.50 + 0.05).
    assert world.held("dan", "USD") == Decimal("51.30")


def test_orders_hold_room_under_the_trade_cap(world: Trading) -> None:
    world.cap("m-ann", "SELL", 7)
    number = world.order("ann", "SELL", 5, 6)
    caps = world.read("registry.get_trade_caps", meter_id="m-ann")["SELL"]
    assert (caps["total"], caps["reserved"], caps["room"]) == ("0", "5", "2")
    error = world.order_refused("TRADE_CAP_EXCEEDED", "ann", "SELL", "2.001", 6)
    assert error.details["room"] == "2000000"
    world.refused(
        "CAP_BELOW_USE", "registry.set_trade_cap", "grid", meter_id="m-ann", side="SELL", cap=4
    )
    world.do("trading.cancel_order", "ann", order_no=number)
    world.order("ann", "SELL", 7, 6)


def test_the_same_energy_is_offered_once(world: Trading) -> None:
    world.order("ann", "SELL", 60, 6)
    error = world.order_refused("INSUFFICIENT_ENERGY", "ann", "SELL", 41, 6)
    assert (error.details["needed"], error.details["available"]) == ("41000000", "40000000")


def test_the_same_cash_is_bid_once(world: Trading) -> None:
    world.order("dan", "BUY", 100, 6)
    world.order_refused("INSUFFICIENT_FUNDS", "dan", "BUY", 100, "4.01")
    world.order("dan", "BUY", 100, 4)


@pytest.mark.parametrize(
    ("code", "kwh", "price", "more"),
    [
        pytest.param("INVALID_ENERGY_AMOUNT", 0, 6, {}, id="nothing"),
        pytest.param("INVALID_ENERGY_AMOUNT", -1, 6, {}, id="negative energy"),
        pytest.param("INVALID_ENERGY_AMOUNT", "0.0015", 6, {}, id="off the lot of 1 Wh"),
        pytest.param("INVALID_ENERGY_AMOUNT", "0.0000001", 6, {}, id="seven decimals"),
        pytest.param("INVALID_ENERGY_AMOUNT", 10**7, 6, {}, id="above 1000000 kWh"),
        pytest.param("INVALID_PRICE", 5, 0, {}, id="for nothing"),
        pytest.param("INVALID_PRICE", 5, -6, {}, id="negative price"),
        pytest.param("INVALID_PRICE", 5, "6.001", {}, id="off the tick of 0.01"),
        pytest.param("INVALID_PRICE", 5, 10**7, {}, id="above 1000000 per kWh"),
        pytest.param("INVALID_INPUT", 5, 6, {"time_in_force": "DAY"}, id="no such time in force"),
        pytest.param("INVALID_INPUT", 5, 6, {"time_in_force": "GTT"}, id="GTT without an end"),
        pytest.param("INVALID_INPUT", 5, 6, {"expires_at": NOON + 1}, id="EPOCH with an end"),
        pytest.param(
            "INVALID_INPUT",
            5,
            6,
            {"time_in_force": "GTT", "expires_at": NOON - 1},
            id="an end that has passed",
        ),
        pytest.param(
            "INVALID_INPUT",
            5,
            6,
            {"time_in_force": "GTT", "expires_at": NOON + 86_400_001},
            id="an end beyond a day",
        ),
        pytest.param("INVALID_INPUT", 5, 6, {"meter_id": "m|x"}, id="no meter id"),
        pytest.param("METER_NOT_FOUND", 5, 6, {"meter_id": "m-zoe"}, id="unknown meter"),
        pytest.param("METER_MISMATCH", 5, 6, {"meter_id": "m-ben"}, id="the meter of another"),
    ],
)
@pytest.mark.parametrize("side", ["SELL", "BUY"])
def test_bad_terms_are_refused(
    world: Trading, side: str, code: str, kwh: object, price: object, more: dict[str, object]
) -> None:
    world.order_refused(code, "ann", side, kwh, price, **more)


def test_the_longest_life_is_accepted(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6, time_in_force="GTT", expires_at=NOON + 86_400_000)
    world.order("ann", "SELL", 1, 6, time_in_force="GTT", expires_at=NOON)


def test_a_seller_fee_above_the_price_is_refused_and_binds_no_bid() -> None:
    world = Trading().set_up(settled_with(price_tick="0.01", wheeling_rate=0, seller_fee="0.05"))
    world.order_refused("INVALID_PRICE", "ann", "SELL", 1, "0.04")
    world.order("ann", "SELL", 1, "0.05")
    world.order("ben", "BUY", 1, "0.04")


def test_price_and_rates_together_are_bounded() -> None:
    world = Trading().set_up(settled_with(price_tick="0.01", wheeling_rate="0.02"))
    world.order_refused("INVALID_PRICE", "ann", "BUY", "0.001", "999999.99")
    world.order("ann", "BUY", "0.001", "999999.98")


def test_the_only_meter_need_not_be_named(world: Trading) -> None:
    world.order_refused("METER_REQUIRED", "zoe", "BUY", 1, 6)
    world.order("ann", "BUY", 1, 6)
    world.meter("m-ann-2", "ann")
    world.order_refused("METER_REQUIRED", "ann", "BUY", 1, 6)
    world.order("ann", "BUY", 1, 6, meter_id="m-ann-2")


def test_a_meter_that_is_given_up_serves_until_then(world: Trading) -> None:
    world.do("registry.unassign_meter", "regulator", meter_id="m-ann")
    args = {"meter_id": "m-ann"}
    world.order("ann", "SELL", 1, 6, **args)
    later = gtt(world, 2)
    world.order_refused("METER_MISMATCH", "ann", "SELL", 1, 6, **args, **later)
    world.next_epoch()
    world.order_refused("METER_MISMATCH", "ann", "SELL", 1, 6, **args)


def test_only_active_prosumers_sell(world: Trading) -> None:
    world.order_refused("NOT_PROSUMER", "dan", "SELL", 1, 6)
    suspend(world, "ann")
    world.order_refused("USER_NOT_VERIFIED", "ann", "SELL", 1, 6)
    world.order_refused("USER_NOT_VERIFIED", "ann", "BUY", 1, 6)


def suspend(world: Trading, user: str, state: str = "SUSPENDED") -> None:
    args = {"user": user, "new_status": state}
    world.do("registry.update_user_status", "regulator", **args)


@pytest.mark.parametrize(
    ("first", "second", "meets"),
    [
        pytest.param(("SELL", 6), ("BUY", 6), True, id="bid at the own ask"),
        pytest.param(("SELL", 6), ("BUY", 7), True, id="bid above the own ask"),
        pytest.param(("SELL", 6), ("BUY", "5.99"), False, id="bid below the own ask"),
        pytest.param(("BUY", 6), ("SELL", 6), True, id="ask at the own bid"),
        pytest.param(("BUY", 6), ("SELL", "6.01"), False, id="ask above the own bid"),
    ],
)
def test_own_orders_never_meet(
    world: Trading, first: tuple[str, object], second: tuple[str, object], meets: bool
) -> None:
    number = world.order("ann", first[0], 1, first[1])
    if not meets:
        world.order("ann", second[0], 1, second[1])
        return
    error = world.order_refused("SELF_TRADE", "ann", second[0], 1, second[1])
    assert error.details["order_no"] == number
    world.do("trading.cancel_order", "ann", order_no=number)
    world.order("ann", second[0], 1, second[1])


def test_own_orders_of_another_market_or_epoch_do_not_count(world: Trading) -> None:
    world.meter("m-far", "ann", area="far")
    world.order("ann", "SELL", 1, 6, meter_id="m-ann")
    world.order("ann", "BUY", 1, 6, meter_id="m-far")
    world.next_epoch()
    world.order("ann", "BUY", 1, 6, meter_id="m-ann")


def test_an_own_order_that_lives_on_counts_in_later_epochs(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6, **gtt(world))
    world.next_epoch(2)
    world.order_refused("SELF_TRADE", "ann", "BUY", 1, 6)


def test_the_gate_closes_before_the_epoch_ends() -> None:
    world = Trading().set_up(settled_with(price_tick="0.01", wheeling_rate=0, gate_lead_s=60))
    world.now = NOON + 840_000 - 1
    world.order("ann", "SELL", 1, 6)
    world.now += 1
    error = world.order_refused("EPOCH_CLOSED", "ann", "SELL", 1, 6)
    assert error.details["retry_at"] == NOON + EPOCH
    world.now = NOON + EPOCH
    assert world.ordered("ann", "SELL", 1, 6).result["epoch"] == FIRST + 1


def test_an_order_joins_the_epoch_of_its_acceptance(world: Trading) -> None:
    world.now = NOON + EPOCH - 1
    assert world.ordered("ann", "SELL", 1, 6).result["epoch"] == FIRST
    world.now += 1
    assert world.ordered("ann", "SELL", 1, 6).result["epoch"] == FIRST + 1


def test_a_clock_that_goes_back_enters_nothing_into_a_cleared_epoch(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    world.clear()
    world.now -= 1
    error = world.order_refused("EPOCH_CLOSED", "ann", "SELL", 1, 6)
    assert error.details["retry_at"] == NOON + EPOCH


def test_live_orders_of_a_user_are_counted_over_all_markets() -> None:
    limit = settled_with(price_tick="0.01", wheeling_rate=0, max_orders_per_user_epoch=3)
    world = Trading().set_up(limit)
    world.meter("m-far", "ann", area="far")
    first = world.order("ann", "SELL", 1, 6, meter_id="m-ann")
    world.order("ann", "SELL", 1, 6, meter_id="m-ann", **gtt(world))
    world.order("ann", "SELL", 1, 6, meter_id="m-far")
    args = {"meter_id": "m-ann"}
    world.order_refused("TOO_MANY_ORDERS", "ann", "SELL", 1, 6, **args)
    world.do("trading.cancel_order", "ann", order_no=first)
    world.order("ann", "SELL", 1, 6, **args)
    # In the next epoch only the one that lives on still counts.
    world.next_epoch()
    for _ in range(2):
        world.order("ann", "SELL", 1, 6, **args)
    world.order_refused("TOO_MANY_ORDERS", "ann", "SELL", 1, 6, **args)


def test_a_full_book_takes_no_more() -> None:
    limit = settled_with(price_tick="0.01", wheeling_rate=0, max_orders_per_epoch=2)
    world = Trading().set_up(limit)
    world.order("ann", "SELL", 1, 6, **gtt(world))
    number = world.order("ben", "SELL", 1, 6)
    world.order_refused("EPOCH_FULL", "cat", "SELL", 1, 6)
    world.do("trading.cancel_order", "ben", order_no=number)
    world.order("cat", "SELL", 1, 6)
    world.next_epoch()
    world.order("cat", "SELL", 1, 6)
    world.order_refused("EPOCH_FULL", "ben", "SELL", 1, 6)


@pytest.mark.parametrize(
    ("codes", "set_up"),
    [
        pytest.param(["METER_MISMATCH"], "", id="relation first"),
        pytest.param(["USER_NOT_VERIFIED"], "own", id="then the party"),
        pytest.param(["SELF_TRADE"], "own active", id="then own orders"),
        pytest.param(["EPOCH_CLOSED"], "own active alone", id="then time"),
    ],
)
def test_the_first_failing_class_answers(codes: list[str], set_up: str) -> None:
    """Everything is wrong at once, and is put right in the documented order."""
    limits = {"gate_lead_s": 60, "max_orders_per_user_epoch": 1, "max_orders_per_epoch": 1}
    world = Trading().set_up(settled_with(price_tick="0.01", wheeling_rate=0, **limits))
    side_of_own = "BUY" if "alone" not in set_up else "SELL"
    world.order("ann", side_of_own, 1, 6)
    world.cap("m-ann", "SELL", 0)
    world.now = NOON + EPOCH - 1
    if "active" not in set_up:
        suspend(world, "ann")
    meter = "m-ann" if "own" in set_up else "m-ben"
    world.order_refused(codes[0], "ann", "SELL", 1000, 6, meter_id=meter)


def test_counts_come_before_caps_and_caps_before_energy() -> None:
    limits = {"max_orders_per_user_epoch": 1, "max_orders_per_epoch": 1}
    world = Trading().set_up(settled_with(price_tick="0.01", wheeling_rate=0, **limits))
    number = world.order("ann", "SELL", 1, 6)
    world.cap("m-ann", "SELL", 0)
    world.cap("m-ben", "SELL", 0)
    world.order_refused("TOO_MANY_ORDERS", "ann", "SELL", 1000, 6)
    world.order_refused("EPOCH_FULL", "ben", "SELL", 1000, 6)
    world.do("trading.cancel_order", "ann", order_no=number)
    world.order_refused("TRADE_CAP_EXCEEDED", "ben", "SELL", 1000, 6)
    world.cap("m-ben", "SELL", 1000)
    world.order_refused("INSUFFICIENT_ENERGY", "ben", "SELL", 1000, 6)


def test_cancel_releases_both_holds(world: Trading) -> None:
    world.cap("m-ann", "BUY", 10)
    number = world.order("ann", "BUY", 5, 6)
    receipt = world.do("trading.cancel_order", "ann", order_no=number)
    (event,) = receipt.events
    assert event.name == "OrderCancelled"
    expected = {"order_no": number, "user": "ann", "filled": 0}
    assert event.fields == {**expected, "released": 30 * KWH, "asset": "USD"}
    assert world.held("ann", "USD") == 0
    assert world.read("registry.get_trade_caps", meter_id="m-ann")["BUY"]["reserved"] == "0"
    assert world.state(number) == ("CANCELLED", "0")


def test_refusals_of_cancel(world: Trading) -> None:
    name = "trading.cancel_order"
    world.refused("ORDER_NOT_FOUND", name, "ann", order_no=1)
    ask = world.order("ann", "SELL", 2, 6)
    bid = world.order("ben", "BUY", 1, 6)
    world.refused("NOT_ORDER_OWNER", name, "ben", order_no=ask)
    world.next_epoch()
    world.refused("EPOCH_CLOSED", name, "ann", order_no=ask)
    world.match()
    world.refused("ORDER_ALREADY_FILLED", name, "ben", order_no=bid)
    world.refused("ORDER_NOT_ACTIVE", name, "ann", order_no=ask)
    other = world.order("cat", "BUY", 1, 6)
    world.do(name, "cat", order_no=other)
    world.refused("ORDER_NOT_ACTIVE", name, "cat", order_no=other)


def test_a_regulator_cancels_and_a_representative_acts(world: Trading) -> None:
    number = world.order("ann", "SELL", 2, 6)
    world.do("trading.cancel_order", "regulator", order_no=number)
    world.do("registry.set_representative", "ann", user="ann", subscriber="bpp")
    args = {"energy_amount": 1, "price_per_unit": 6}
    receipt = world.do("trading.create_sell_order", "bpp", "ann", **args)
    world.do("trading.cancel_order", "bpp", "ann", order_no=receipt.result["order_no"])
    world.refused("NOT_AUTHORIZED", "trading.create_sell_order", "eve", "ann", **args)


def test_suspension_cancels_open_orders_with_an_event_each(world: Trading) -> None:
    world.order("ann", "SELL", 2, 6)
    world.order("ann", "SELL", 3, 7, **gtt(world))
    world.next_epoch()
    args = {"user": "ann", "new_status": "SUSPENDED"}
    receipt = world.do("registry.update_user_status", "regulator", **args)
    names = [event.name for event in receipt.events]
    assert names == ["UserStatusUpdated", "OrderCancelled", "OrderCancelled"]
    assert world.held("ann", "GRID") == 0
    # Also the one whose ended epoch was not cleared yet: nothing of a suspended user trades.
    world.order("ben", "BUY", 5, 8)
    assert world.match(FIRST).result["trades"] == 0
    assert world.clear().result["trades"] == 0
    assert world.state(1) == world.state(2) == ("CANCELLED", "0")


def test_deactivation_cancels_open_orders(world: Trading) -> None:
    number = world.order("ann", "BUY", 2, 6)
    suspend(world, "ann", "DEACTIVATED")
    assert world.state(number)[0] == "CANCELLED"


def test_a_user_that_offers_energy_stays_prosumer(world: Trading) -> None:
    world.order("ann", "BUY", 1, 5)
    number = world.order("ann", "SELL", 1, 6)
    args = {"user": "ann", "new_type": "CONSUMER"}
    world.refused("TYPE_IN_USE", "registry.update_user_type", "regulator", **args)
    world.do("trading.cancel_order", "ann", order_no=number)
    world.do("registry.update_user_type", "regulator", **args)


def test_a_meter_with_a_live_order_stays(world: Trading) -> None:
    world.order("ann", "SELL", 1, 6)
    args = {"meter_id": "m-ann"}
    world.refused("METER_IN_USE", "registry.unassign_meter", "regulator", **args)
    world.next_epoch()
    world.refused("METER_IN_USE", "registry.unassign_meter", "regulator", **args)
    world.match()
    world.do("registry.unassign_meter", "regulator", **args)


def test_a_cap_per_slot_counts_in_the_slot_of_the_epoch() -> None:
    scope = settled_with(price_tick="0.01", wheeling_rate=0, cap_scope="PER_SLOT")
    world = Trading().set_up(scope)
    args = {"meter_id": "m-ann", "side": "SELL", "cap": 5}
    world.do("registry.set_trade_cap", "grid", **args, slot=NOON)
    world.order("ann", "SELL", 5, 6)
    world.order_refused("TRADE_CAP_EXCEEDED", "ann", "SELL", 1, 6)
    world.next_epoch()
    world.order("ann", "SELL", 6, 6)


def test_rates_of_an_order_are_those_of_its_entry() -> None:
    world = Trading().set_up(RATES)
    number = world.order("ann", "BUY", 1, 6, **gtt(world))
    world.do("registry.set_parameter", "admin", name="wheeling_rate", value="0.90")
    world.clear()
    world.order("ben", "SELL", 1, 6)
    world.clear()
    # Paid by the bid's own rates: 6.00 + 0.50 + 0.05, as held.
    assert world.state(number) == ("FILLED", "1")
    assert world.posted("ann", "USD") == 993_450_000


def test_the_same_command_enters_one_order(world: Trading) -> None:
    first = world.ordered("ann", "SELL", 1, 6, cmd="same")
    again = world.ordered("ann", "SELL", 1, 6, cmd="same")
    assert again.replayed
    assert again.result == first.result
    world.order_refused("IDEMPOTENCY_CONFLICT", "ann", "SELL", 2, 6, cmd="same")
    assert world.held("ann", "GRID") == 1


def test_set_contracts_rewires_nothing(world: Trading) -> None:
    name = "trading.set_contracts"
    world.refused("NOT_OWNER", name, "ann", registry="registry", token="token")
    world.refused("REGISTRY_NOT_SET", name, "admin", registry="mine", token="mine")
    world.refused("TOKEN_NOT_SET", name, "admin", registry="registry", token="mine")
    receipt = world.do(name, "admin", registry="registry", token="token")
    assert [event.name for event in receipt.events] == ["ContractsConfigured"]


def test_market_makers_come_and_go(world: Trading) -> None:
    name = "trading.add_market_maker"
    world.refused("NOT_OWNER", name, "ann", market_maker="ann")
    world.do(name, "admin", market_maker="maker")
    world.refused("MARKET_MAKER_ALREADY_EXISTS", name, "admin", market_maker="maker")
    world.next_epoch()
    world.do("trading.match_orders", "maker", epoch=FIRST)
    world.do("trading.remove_market_maker", "admin", market_maker="maker")
    args = {"market_maker": "maker"}
    world.refused("MARKET_MAKER_NOT_FOUND", "trading.remove_market_maker", "admin", **args)
    world.refused("NOT_MARKET_MAKER", "trading.match_orders", "maker", epoch=FIRST)


def test_nobody_calls_execute_trade(world: Trading) -> None:
    world.refused("UNKNOWN_FUNCTION", "trading.execute_trade", "admin")


@pytest.mark.parametrize("dearest", ["EPOCH", "GTT"])
def test_the_dearest_own_bid_counts_of_whichever_life(world: Trading, dearest: str) -> None:
    prices = {"EPOCH": 5, "GTT": 4} if dearest == "EPOCH" else {"EPOCH": 4, "GTT": 5}
    world.order("ann", "BUY", 1, prices["EPOCH"])
    world.order("ann", "BUY", 1, prices["GTT"], **gtt(world))
    world.order_refused("SELF_TRADE", "ann", "SELL", 1, 5)
    world.order("ann", "SELL", 1, "5.01")


def test_an_own_order_past_its_time_does_not_count(world: Trading) -> None:
    world.order("ann", "BUY", 1, 6, time_in_force="GTT", expires_at=NOON + 5)
    world.order("ann", "BUY", 1, 4, **gtt(world))
    world.now = NOON + 5
    world.order_refused("SELF_TRADE", "ann", "SELL", 1, 6)
    world.now += 1
    world.order("ann", "SELL", 1, 5)
    world.order_refused("SELF_TRADE", "ann", "SELL", 1, 4)


@pytest.mark.parametrize("state", [s for s in OrderState if not ORDER_TRANSITIONS[s]])
def test_an_order_that_is_over_takes_no_step(state: OrderState) -> None:
    for step in OrderStep:
        with pytest.raises(TransitionError, match="accepts nothing"):
            next_order(state, step)


def test_an_order_that_lives_on_meets_no_own_order_entered_before_the_clock_went_back(
    world: Trading,
) -> None:
    world.order("ben", "SELL", 1, 9)
    world.next_epoch()
    world.order("ann", "BUY", 1, 6)
    world.now -= EPOCH
    world.order("ann", "SELL", 1, 6)
    world.order_refused("SELF_TRADE", "ann", "SELL", 1, 6, **gtt(world))
    world.order("ann", "SELL", 1, "6.01", **gtt(world))
    world.order("ann", "SELL", 1, 6, time_in_force="GTT", expires_at=NOON + EPOCH)
