"""The pool, function by function: refusals in documented order, on both stores."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import LedgerStore, Receipt, verify
from adapter.settlement.pool_rows import (
    OFFER_TRANSITIONS,
    OfferState,
    OfferStep,
    PoolOffer,
    next_offer,
)
from adapter.settlement.postings import TransitionError
from adapter.settlement.rows import padded
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, GENESIS, NOON, World, sqlite_ledger

POOL: Mapping[str, Any] = {
    **GENESIS,
    "roles": {**GENESIS["roles"], "POOL_OPERATOR": ["pool-op"]},
    "settings": {
        **GENESIS["settings"],
        "wheeling_rate": Decimal("0.5"),
        "buyer_fee": Decimal("0.05"),
        "seller_fee": Decimal("0.05"),
    },
}
STORES: list[Callable[[], LedgerStore]] = [MemoryLedger, sqlite_ledger]


@pytest.fixture(params=STORES, ids=["memory", "sqlite"])
def world(request: pytest.FixtureRequest) -> World:
    """Return a seller with 10 GRID, a buyer with 100.00, a consumer, and a pool operator."""
    world = World(request.param()).open(POOL)
    world.user("sue")
    world.user("bert", representative="app")
    world.user("carl", "CONSUMER")
    world.now = NOON - EPOCH
    world.meter("m-sue", "sue", kw=60)
    world.meter("m-bert", "bert", kw=60)
    world.now = NOON
    world.deposit("bert", 100)
    world.submit("m-sue", NOON - EPOCH, generated=10)
    return world


def offer(world: World, amount: object = 5, price: object = 6, **more: Any) -> int:
    """Return the number of a new offer of the seller."""
    args = {"amount": amount, "price": price, **more}
    args = {name: value for name, value in args.items() if value is not None}
    return int(world.do("pool.trade_energy", "sue", **args).result["offer_no"])


def buy(world: World, number: int) -> Receipt:
    return world.do("pool.buy_energy", "bert", offer_no=number)


def names(receipt: Receipt) -> list[str]:
    return [event.name for event in receipt.events]


def suspend(world: World, user: str, state: str = "SUSPENDED") -> Receipt:
    args = {"user": user, "new_status": state}
    return world.do("registry.update_user_status", "regulator", **args)


def state_of(world: World, number: int) -> OfferState:
    row = world.ledger.get(PoolOffer, padded(number))
    assert row is not None
    return row.state


# States


def test_every_state_has_a_row_and_only_open_offers_move() -> None:
    assert set(OFFER_TRANSITIONS) == set(OfferState)
    for step in OfferStep:
        for state in set(OfferState) - {OfferState.OPEN}:
            with pytest.raises(TransitionError, match="accepts nothing"):
                next_offer(state, step)
    assert next_offer(OfferState.OPEN, OfferStep.BUY) is OfferState.COMPLETED
    assert next_offer(OfferState.OPEN, OfferStep.CANCEL) is OfferState.CANCELLED
    assert next_offer(OfferState.OPEN, OfferStep.EXPIRE) is OfferState.EXPIRED


# register_prosumer


def test_joining_is_applying_to_the_one_registry(world: World) -> None:
    receipt = world.do("pool.register_prosumer", "zoe")
    assert names(receipt) == ["UserApplied"]
    info = world.read("registry.get_user_info", user="zoe")
    assert (info["status"], info["user_type"]) == ("PENDING", "PROSUMER")
    assert world.ledger.account("zoe|GRID|MAIN") is None
    world.refused("USER_ALREADY_EXISTS", "pool.register_prosumer", "zoe")
    world.refused("INVALID_INPUT", "pool.register_prosumer", "system")


# add_energy


def withheld(world: World, user: str = "sue", meter: str = "m-sue") -> int:
    """Store a reading of 3 generated and 2 consumed whose GRID is withheld; return its start."""
    suspend(world, user)
    world.now += EPOCH
    start = world.now - EPOCH
    world.submit(meter, start, generated=3, consumed=2)
    suspend(world, user, "ACTIVE")
    return start


def test_own_energy_is_backed_by_a_reading(world: World) -> None:
    start = withheld(world)
    args = {"prosumer": "sue", "meter_id": "m-sue", "interval": start}
    receipt = world.do("pool.add_energy", "sue", amount=2, **args)
    assert names(receipt) == ["EnergyAdded", "Minted", "Transfer"]
    assert receipt.events[0].fields["source"] == "READING"
    assert world.posted("sue", "GRID") == 12_000_000
    world.do("pool.add_energy", "sue", amount=1, **args)
    world.refused("ALREADY_MINTED", "pool.add_energy", "sue", amount="0.000001", **args)


def test_refusals_of_add_energy_in_order(world: World) -> None:
    start = withheld(world)
    name, own = "pool.add_energy", {"meter_id": "m-sue", "interval": start}
    args = {"prosumer": "sue", "amount": 1}
    world.refused("INVALID_ENERGY_AMOUNT", name, "sue", prosumer="sue", amount=0, **own)
    world.refused("INVALID_INTERVAL", name, "sue", meter_id="m-sue", interval=start + 1, **args)
    world.refused("INVALID_INPUT", name, "sue", meter_id="m-sue", **args)
    world.refused("INVALID_INPUT", name, "sue", interval=start, **args)
    world.refused("INVALID_INPUT", name, "sue", **args)
    world.refused("INVALID_INPUT", name, "pool-op", evidence="x", **own, **args)
    world.refused("INVALID_INPUT", name, "pool-op", evidence="x", meter_id="m-sue", **args)
    # Neither the prosumer nor an operator, each with the backing that is theirs.
    world.refused("NOT_AUTHORIZED", name, "bert", **own, **args)
    world.refused("NOT_AUTHORIZED", name, "pool-op", **own, **args)
    world.refused("NOT_AUTHORIZED", name, "sue", evidence="I say so", **args)
    world.refused("NOT_AUTHORIZED", name, "minter", evidence="I say so", **args)
    zoe = {"prosumer": "zoe", "amount": 1}
    world.refused("USER_NOT_FOUND", name, "zoe", **own, **zoe)
    world.refused("USER_NOT_FOUND", name, "pool-op", evidence="x", **zoe)
    later = {"meter_id": "m-sue", "interval": start + EPOCH}
    world.refused("READING_NOT_FOUND", name, "sue", **later, **args)
    world.refused("READING_NOT_FOUND", name, "sue", meter_id="none", interval=start, **args)
    world.refused("METER_MISMATCH", name, "bert", prosumer="bert", amount=4, **own)
    suspend(world, "sue")
    # More than was read comes before a user that is not ACTIVE.
    world.refused("ALREADY_MINTED", name, "sue", prosumer="sue", amount=4, **own)
    world.refused("USER_NOT_VERIFIED", name, "sue", **own, **args)
    world.refused("USER_NOT_VERIFIED", name, "pool-op", evidence="x", **args)


def test_no_more_is_added_than_the_meter_can_generate(world: World) -> None:
    # A reading beyond the capacity is never stored, so only a smaller binding could show it:
    # the check stands behind the one of the oracle.
    world.now += EPOCH
    data = world.signed("m-sue", world.now - EPOCH, generated="15.000001")
    world.refused("CAPACITY_EXCEEDED", "oracle.submit_reading", "headend", meter_data=data)


def test_an_operator_vouches_for_energy_in_lots_of_its_own(world: World) -> None:
    args = {"prosumer": "bert", "amount": 7, "evidence": "test bench protocol 3"}
    receipt = world.do("pool.add_energy", "pool-op", **args)
    assert names(receipt) == ["EnergyAdded", "Minted", "Transfer"]
    assert receipt.events[0].fields["source"] == "OPERATOR"
    assert "meter_id" not in receipt.events[1].fields
    assert world.posted("bert", "GRID") == 7_000_000
    world.do("pool.consume_energy", "pool-op", prosumer="bert", amount=3, evidence="lamp test")
    position = world.read("pool.get_prosumer_info", account="bert")["net_position"]
    assert position == {"total": "4", "by_readings": "0", "by_operators": "4"}
    position = world.read("pool.get_grid_balance")
    assert position == {"total": "14", "by_readings": "10", "by_operators": "4"}
    assert world.read("token.total_supply") == "14"


def test_the_lots_of_operators_are_reported_apart(world: World) -> None:
    args = {"prosumer": "bert", "evidence": "protocol"}
    added = world.do("pool.add_energy", "pool-op", amount=7, **args)
    used = world.do("pool.consume_energy", "pool-op", amount="2.5", **args)
    lots = [
        {"lot_no": 1, "operator": "pool-op", "generated": "7", "consumed": "0", "seq": added.seq},
        {"lot_no": 2, "operator": "pool-op", "generated": "0", "consumed": "2.5", "seq": used.seq},
    ]
    assert world.read("pool.get_operator_lots", "bert", account="bert") == lots
    assert world.read("pool.get_operator_lots", "auditor", account="sue") == []
    with pytest.raises(ContractError) as caught:
        world.read("pool.get_operator_lots", "sue", account="bert")
    assert caught.value.code == "USER_NOT_FOUND"


def test_the_same_evidence_again_is_the_same_command(world: World) -> None:
    args = {"prosumer": "bert", "amount": 7, "evidence": "protocol 3", "cmd": "op-1"}
    world.do("pool.add_energy", "pool-op", **args)
    assert world.do("pool.add_energy", "pool-op", **args).replayed
    assert world.posted("bert", "GRID") == 7_000_000


# consume_energy


def test_own_consumption_is_retired(world: World) -> None:
    start = withheld(world)
    args = {"prosumer": "sue", "meter_id": "m-sue", "interval": start}
    receipt = world.do("pool.consume_energy", "sue", amount=2, **args)
    assert names(receipt) == ["EnergyConsumed", "Burned", "Transfer"]
    assert world.posted("sue", "GRID") == 8_000_000
    world.refused("READING_EXHAUSTED", "pool.consume_energy", "sue", amount="0.000001", **args)


def test_refusals_of_consume_energy_in_order(world: World) -> None:
    world.now += EPOCH
    start = world.now - EPOCH
    world.submit("m-bert", start, consumed=2)
    name, own = "pool.consume_energy", {"meter_id": "m-bert", "interval": start}
    args = {"prosumer": "bert", "amount": 1}
    world.refused("INVALID_INPUT", name, "bert", **args)
    world.refused("INVALID_INPUT", name, "pool-op", evidence="x", **own, **args)
    world.refused("NOT_AUTHORIZED", name, "sue", **own, **args)
    world.refused("NOT_AUTHORIZED", name, "bert", evidence="x", **args)
    world.refused("USER_NOT_FOUND", name, "zoe", prosumer="zoe", amount=1, **own)
    later = {"meter_id": "m-bert", "interval": start + EPOCH}
    world.refused("READING_NOT_FOUND", name, "bert", **later, **args)
    world.refused("METER_MISMATCH", name, "sue", prosumer="sue", amount=1, **own)
    world.refused("READING_EXHAUSTED", name, "bert", prosumer="bert", amount=3, **own)
    world.refused("INSUFFICIENT_ENERGY", name, "bert", **own, **args)
    world.refused("INSUFFICIENT_ENERGY", name, "pool-op", evidence="x", **args)


def test_offered_energy_cannot_be_retired(world: World) -> None:
    start = withheld(world)
    offer(world, 10)
    args = {"prosumer": "sue", "meter_id": "m-sue", "interval": start, "amount": 1}
    world.refused("INSUFFICIENT_ENERGY", "pool.consume_energy", "sue", **args)
    operator = {"prosumer": "sue", "amount": 1, "evidence": "x"}
    world.refused("INSUFFICIENT_ENERGY", "pool.consume_energy", "pool-op", **operator)


# add_funds


def test_funds_are_a_deposit(world: World) -> None:
    args = {"prosumer": "sue", "amount": "2.50", "external_reference": "bank-x"}
    receipt = world.do("pool.add_funds", "treasurer", **args)
    assert names(receipt) == ["FundsAdded", "Deposited"]
    assert world.posted("sue", "USD") == 2_500_000


def test_refusals_of_add_funds_in_order(world: World) -> None:
    name = "pool.add_funds"
    args = {"amount": 1, "external_reference": "r-1"}
    zero = {"amount": 0, "external_reference": "r-1"}
    world.refused("INVALID_INPUT", name, "bert", prosumer="zoe", **zero)
    world.refused("NOT_TREASURER", name, "bert", prosumer="zoe", **args)
    world.refused("USER_NOT_FOUND", name, "treasurer", prosumer="zoe", **args)
    world.do(name, "treasurer", prosumer="bert", **args)
    suspend(world, "sue")
    world.refused("DUPLICATE_REFERENCE", name, "treasurer", prosumer="sue", **args)
    other = {"amount": 1, "external_reference": "r-2"}
    world.refused("USER_NOT_VERIFIED", name, "treasurer", prosumer="sue", **other)
    deposited = {"to": "bert", "amount": 1, "external_reference": "r-1"}
    world.refused("DUPLICATE_REFERENCE", "token.deposit", "treasurer", **deposited)


# trade_energy


def test_an_offer_holds_its_energy(world: World) -> None:
    receipt = world.do("pool.trade_energy", "sue", amount=4, price="6.10", expires_at=NOON + 1)
    assert receipt.result == {"offer_no": 1}
    (event,) = receipt.events
    assert (event.name, dict(event.fields)) == (
        "TradeOffered",
        {
            "offer_no": 1,
            "seller": "sue",
            "energy": 4_000_000,
            "price": 6_100_000,
            "expires_at": NOON + 1,
        },
    )
    assert (world.posted("sue", "GRID"), world.available("sue", "GRID")) == (10_000_000, 6_000_000)
    (hold,) = world.ledger.open_holds("offer:1")
    assert (hold.account, hold.amount, hold.until_ms) == ("sue|GRID|MAIN", 4_000_000, NOON + 1)
    assert offer(world, 6) == 2
    world.refused("INSUFFICIENT_ENERGY", "pool.trade_energy", "sue", amount="0.001", price=1)


def test_refusals_of_trade_energy_in_order(world: World) -> None:
    name = "pool.trade_energy"
    world.refused("INVALID_ENERGY_AMOUNT", name, "zoe", amount=0, price=0)
    world.refused("INVALID_ENERGY_AMOUNT", name, "zoe", amount="0.0000001", price=1)
    world.refused("INVALID_PRICE", name, "zoe", amount=1, price=0)
    world.refused("INVALID_PRICE", name, "zoe", amount=1, price="0.0000001")
    world.refused("INVALID_PRICE", name, "zoe", amount=1)
    # 0.05 of seller fee, 1000000 for price, wheeling and buyer fee together.
    world.refused("INVALID_PRICE", name, "zoe", amount=1, price="0.049999")
    world.refused("INVALID_PRICE", name, "zoe", amount=1, price="999999.450001")
    world.refused("INVALID_INPUT", name, "zoe", amount=1, price=1, expires_at=NOON - 1)
    # 4 millionths at 0.10 are 0.4 millionths of a currency: nothing.
    world.refused("INVALID_ENERGY_AMOUNT", name, "zoe", amount="0.000004", price="0.1")
    world.refused("USER_NOT_VERIFIED", name, "zoe", amount=1, price=1)
    world.refused("NOT_PROSUMER", name, "carl", amount=1, price=1)
    world.refused("INSUFFICIENT_ENERGY", name, "bert", amount=1, price=1)
    world.refused("INSUFFICIENT_ENERGY", name, "sue", amount="10.000001", price=1)
    suspend(world, "sue")
    world.refused("USER_NOT_VERIFIED", name, "sue", amount=1, price=1)


def test_the_instant_of_its_end_is_still_in_time_for_an_offer(world: World) -> None:
    number = offer(world, expires_at=NOON)
    assert names(buy(world, number))[0] == "TradeExecuted"


def test_without_a_price_the_pool_price_is_copied(world: World) -> None:
    world.do("pool.set_energy_price", "admin", price="4.20")
    number = world.do("pool.trade_energy", "sue", amount=5).result["offer_no"]
    world.do("pool.set_energy_price", "admin", price=9)
    assert world.read("pool.get_trade_info", offer_no=number)["price"] == "4.20"


# buy_energy


def test_a_sale_moves_energy_and_all_cash_legs_at_once(world: World) -> None:
    receipt = buy(world, offer(world, 3, 6))
    # Trade (5,6,3) of the worked book: 3 × 6.00, wheeling 3 × 0.50, 3 × 0.05 from each side.
    assert receipt.result == {"offer_no": 1, "trade_id": "pool-1"}
    assert names(receipt) == ["TradeExecuted", "Transfer"]
    assert dict(receipt.events[0].fields) == {
        "trade_id": "pool-1",
        "offer_no": 1,
        "seller": "sue",
        "buyer": "bert",
        "energy": 3_000_000,
        "price": 6_000_000,
        "value": 18_000_000,
        "wheeling": 1_500_000,
        "buyer_fee": 150_000,
        "seller_fee": 150_000,
    }
    assert (world.posted("sue", "GRID"), world.posted("bert", "GRID")) == (7_000_000, 3_000_000)
    assert world.available("bert", "USD") == 80_350_000  # 100 - 19.65
    assert world.posted("sue", "USD") == 17_850_000
    assert world.posted("grid", "USD") == 1_800_000  # wheeling 1.50 and fees 0.30
    assert state_of(world, 1) is OfferState.COMPLETED
    assert world.ledger.open_holds("offer:1") == []


def test_the_buyer_needs_what_it_pays_and_not_a_millionth_more(world: World) -> None:
    # 3.333333 × 6.333333 = 21.111107777... → 21.111108, wheeling 1.6666665 → 1.666666 (even),
    # buyer fee 0.16666665 → 0.166667: 22.944441 in all.
    number = offer(world, "3.333333", "6.333333")
    world.deposit("carl", "22.944440")
    error = world.refused("INSUFFICIENT_FUNDS", "pool.buy_energy", "carl", offer_no=number)
    assert error.details["needed"] == "22944441"
    assert error.details["available"] == "22944440"
    world.deposit("carl", "0.000001")
    world.do("pool.buy_energy", "carl", offer_no=number)
    assert world.posted("carl", "USD") == 0


def test_rates_are_those_of_the_offer(world: World) -> None:
    number = offer(world, 1, 6)
    for name in ("wheeling_rate", "buyer_fee", "seller_fee"):
        world.do("registry.set_parameter", "admin", name=name, value=3)
    world.now += EPOCH
    buy(world, number)
    assert world.available("bert", "USD") == 93_450_000  # 100 - 6 - 0.50 - 0.05


def test_refusals_of_buy_energy_in_order(world: World) -> None:
    name = "pool.buy_energy"
    world.refused("INVALID_INPUT", name, "bert", offer_no=0)
    world.refused("TRADE_NOT_FOUND", name, "zoe", offer_no=1)
    number = offer(world, 2, 60, expires_at=NOON + 5)
    world.do("pool.cancel_trade", "sue", offer_no=number)
    world.refused("TRADE_NOT_OPEN", name, "zoe", offer_no=number)
    number = offer(world, 2, 60, expires_at=NOON + 5)
    world.refused("USER_NOT_VERIFIED", name, "zoe", offer_no=number)
    world.now = NOON + 6
    world.refused("USER_NOT_VERIFIED", name, "zoe", offer_no=number)
    world.refused("SELF_TRADE", name, "sue", offer_no=number)
    world.refused("TRADE_NOT_OPEN", name, "carl", offer_no=number)
    world.now = NOON + 5
    # A self-buy without the money is a self-trade first.
    world.refused("SELF_TRADE", name, "sue", offer_no=number)
    world.refused("INSUFFICIENT_FUNDS", name, "carl", offer_no=number)
    world.refused("INSUFFICIENT_FUNDS", name, "bert", offer_no=number)


def test_an_offer_is_sold_once(world: World) -> None:
    world.deposit("carl", 100)
    number = offer(world)
    buy(world, number)
    for user in ("carl", "bert", "sue"):
        world.refused("TRADE_NOT_OPEN", "pool.buy_energy", user, offer_no=number)
    world.refused("TRADE_NOT_OPEN", "pool.cancel_trade", "sue", offer_no=number)


def test_a_consumer_may_buy_and_a_representative_may_buy_for_its_user(world: World) -> None:
    world.deposit("carl", 100)
    world.do("pool.buy_energy", "carl", offer_no=offer(world, 1))
    world.do("pool.buy_energy", "app", "bert", offer_no=offer(world, 1))
    assert world.posted("bert", "GRID") == world.posted("carl", "GRID") == 1_000_000


# cancel_trade


def test_cancelling_frees_the_energy(world: World) -> None:
    number = offer(world)
    receipt = world.do("pool.cancel_trade", "sue", offer_no=number)
    assert names(receipt) == ["TradeCancelled"]
    assert world.available("sue", "GRID") == 10_000_000
    assert state_of(world, number) is OfferState.CANCELLED


def test_refusals_of_cancel_trade_in_order(world: World) -> None:
    name = "pool.cancel_trade"
    world.refused("TRADE_NOT_FOUND", name, "bert", offer_no=1)
    number = offer(world, expires_at=NOON)
    for other in ("bert", "regulator", "admin", "zoe"):
        world.refused("NOT_ORDER_OWNER", name, other, offer_no=number)
    world.now = NOON + 1
    world.refused("NOT_ORDER_OWNER", name, "bert", offer_no=number)
    world.refused("TRADE_NOT_OPEN", name, "sue", offer_no=number)


# set_energy_price


def test_the_pool_price_is_set_by_the_admin(world: World) -> None:
    assert world.read("pool.get_energy_price", "nobody") is None
    world.refused("INVALID_PRICE", "pool.set_energy_price", "bert", price=0)
    world.refused("NOT_OWNER", "pool.set_energy_price", "bert", price=1)
    first = world.do("pool.set_energy_price", "admin", price="5.5")
    assert dict(first.events[0].fields) == {"new": 5_500_000}
    second = world.do("pool.set_energy_price", "admin", price=6)
    assert dict(second.events[0].fields) == {"old": 5_500_000, "new": 6_000_000}
    assert world.read("pool.get_energy_price", "nobody") == "6.00"


# Expiry


def test_an_offer_lapses_one_millisecond_after_its_end(world: World) -> None:
    number = offer(world, expires_at=NOON + EPOCH)
    world.now = NOON + EPOCH
    assert world.tick() == []
    assert world.read("pool.get_trade_info", offer_no=number)["status"] == "OPEN"
    world.now += 1
    assert world.read("pool.get_trade_info", offer_no=number)["status"] == "EXPIRED"
    assert world.available("sue", "GRID") == 5_000_000  # held until expire_due releases it
    (receipt,) = world.tick()
    assert names(receipt) == ["TradeExpired"]
    assert state_of(world, number) is OfferState.EXPIRED
    assert world.available("sue", "GRID") == 10_000_000
    world.refused("TRADE_NOT_OPEN", "pool.buy_energy", "bert", offer_no=number)
    assert world.tick() == []


def test_an_offer_without_an_end_stays(world: World) -> None:
    number = offer(world)
    world.now += 366 * 86_400_000
    assert world.tick() == []
    buy(world, number)


def test_offers_expire_oldest_first_and_up_to_the_limit(world: World) -> None:
    later, sooner = offer(world, 1, expires_at=NOON + 2), offer(world, 1, expires_at=NOON + 1)
    world.now = NOON + 3
    world.do("registry.expire_due", "headend", limit=1)
    assert state_of(world, sooner) is OfferState.EXPIRED
    assert state_of(world, later) is OfferState.OPEN


# Suspension, type


@pytest.mark.parametrize("state", ["SUSPENDED", "DEACTIVATED"])
def test_leaving_active_cancels_open_offers(world: World, state: str) -> None:
    sold, first, second = (offer(world, amount) for amount in (1, 2, 3))
    buy(world, sold)
    receipt = suspend(world, "sue", state)
    assert names(receipt) == ["UserStatusUpdated", "TradeCancelled", "TradeCancelled"]
    assert [event.fields["offer_no"] for event in receipt.events[1:]] == [first, second]
    assert world.available("sue", "GRID") == world.posted("sue", "GRID") == 9_000_000
    assert state_of(world, sold) is OfferState.COMPLETED
    voided = world.ledger.entry(receipt.seq)
    assert voided is not None
    assert voided.body.count(b'"why":"suspend"') == 2


def test_who_offers_energy_stays_a_prosumer(world: World) -> None:
    number = offer(world)
    args = {"user": "sue", "new_type": "CONSUMER"}
    world.refused("TYPE_IN_USE", "registry.update_user_type", "regulator", **args)
    world.do("pool.cancel_trade", "sue", offer_no=number)
    world.do("registry.update_user_type", "regulator", **args)
    world.refused("NOT_PROSUMER", "pool.trade_energy", "sue", amount=1, price=1)


# Reads


def test_the_net_position_is_signed_and_never_a_balance(world: World) -> None:
    world.now += EPOCH
    world.submit("m-bert", world.now - EPOCH, consumed=12)
    info = world.read("pool.get_prosumer_info", "bert", account="bert")
    assert info == {
        "energy": {"available": "0", "held": "0"},
        "cash": {"available": "100.00", "held": "0.00"},
        "net_position": {"total": "-12", "by_readings": "-12", "by_operators": "0"},
    }
    # 10 minted, nothing retired, 12 of consumption not covered by GRID.
    assert world.read("pool.get_grid_balance", "nobody")["total"] == "-2"


def test_the_net_position_of_a_meter_that_changed_hands_stays_with_its_owners(
    world: World,
) -> None:
    world.do("registry.unassign_meter", "regulator", meter_id="m-sue")
    world.now += EPOCH
    world.meter("m-sue", "bert")
    world.now += 2 * EPOCH
    world.submit("m-sue", world.now - EPOCH, generated=1)
    positions = [
        world.read("pool.get_prosumer_info", account=user)["net_position"]["total"]
        for user in ("sue", "bert")
    ]
    assert positions == ["10", "1"]


def test_withheld_generation_counts_in_the_position(world: World) -> None:
    withheld(world)
    position = world.read("pool.get_prosumer_info", account="sue")["net_position"]
    assert position["total"] == "11"  # 10 + 3 - 2
    assert world.posted("sue", "GRID") == 10_000_000


def test_an_open_offer_is_for_all_to_see_but_not_who_sells(world: World) -> None:
    number = offer(world, 2, "6.1", expires_at=NOON + EPOCH)
    public = {
        "offer_no": number,
        "status": "OPEN",
        "energy": "2",
        "price": "6.10",
        "wheeling_rate": "0.50",
        "buyer_fee": "0.05",
        "expires_at": NOON + EPOCH,
    }
    own = {**public, "seller": "sue", "seller_fee": "0.05"}
    assert world.read("pool.get_open_trades", "nobody") == [public]
    assert world.read("pool.get_trade_info", "bert", offer_no=number) == public
    assert world.read("pool.get_trade_info", "sue", offer_no=number) == own
    assert world.read("pool.get_open_trades", "auditor") == [own]
    buy(world, number)
    assert world.read("pool.get_open_trades", "nobody") == []
    closed = {**own, "status": "COMPLETED", "buyer": "bert"}
    for party in ("sue", "bert", "app", "regulator"):
        assert world.read("pool.get_trade_info", party, offer_no=number) == closed
    assert unseen(world, "carl", number) == "TRADE_NOT_FOUND"


def test_open_offers_come_in_pages(world: World) -> None:
    numbers = [offer(world, 1, expires_at=NOON if i == 2 else None) for i in range(4)]
    world.now = NOON + 1

    def page(**args: int) -> list[int]:
        return [shown["offer_no"] for shown in world.read("pool.get_open_trades", **args)]

    assert page() == [numbers[0], numbers[1], numbers[3]]
    assert page(limit=2) == numbers[:2]
    assert page(after=numbers[1], limit=1) == [numbers[3]]
    assert page(after=numbers[3]) == []


def test_a_lapsed_offer_is_in_no_list(world: World) -> None:
    number = offer(world, expires_at=NOON)
    world.now = NOON + 1
    assert world.read("pool.get_open_trades") == []
    assert unseen(world, "bert", number) == "TRADE_NOT_FOUND"


def unseen(world: World, caller: str, number: int) -> str:
    with pytest.raises(ContractError) as caught:
        world.read("pool.get_trade_info", caller, offer_no=number)
    return caught.value.code


def test_what_is_not_there_or_not_ones_own_is_not_found(world: World) -> None:
    assert unseen(world, "sue", 1) == "TRADE_NOT_FOUND"
    for caller, account in (("bert", "sue"), ("auditor", "zoe")):
        with pytest.raises(ContractError) as caught:
            world.read("pool.get_prosumer_info", caller, account=account)
        assert caught.value.code == "USER_NOT_FOUND"


# The journal


def test_the_journal_of_a_pool_replays(world: World) -> None:
    buy(world, offer(world, 1, expires_at=NOON + 1))
    offer(world, 1, expires_at=NOON + 1)
    offer(world, 1)
    world.do("pool.add_energy", "pool-op", prosumer="bert", amount=7, evidence="protocol")
    world.now += 2
    world.tick()
    suspend(world, "sue")
    bodies = [entry.body for entry in world.ledger.entries(-1, 1_000)]
    verdict = verify(bodies, MemoryLedger(), stored=world.ledger)
    assert verdict.ok, verdict.why
