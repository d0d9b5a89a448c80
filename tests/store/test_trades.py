"""Trades, and the contracts they are about."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from adapter.domain.parties import Side
from adapter.domain.trade import Peer, Trade, TradeState
from adapter.service.ports import Store, UnitOfWork
from adapter.store.errors import StoreError
from tests.store.samples import BAP, leg, trade


def ids(trades: Sequence[Trade]) -> list[str]:
    return [found.transaction_id for found in trades]


async def save(store: Store, *trades: Trade) -> list[Trade]:
    return await store.write(lambda unit: [unit.save_trade(one) for one in trades])


async def test_a_saved_trade_comes_back_with_exact_numbers(store: Store) -> None:
    order = {"price": Decimal("0.10"), "long": Decimal("1." + "3" * 39), "count": 10**39}
    sample = trade(order=order, contract_id="c1", flags=("a", "b"), state=TradeState.INITIATED)
    [saved] = await save(store, sample)
    assert saved == replace(sample, version=1)
    found = await store.read(lambda unit: unit.trade(Side.BPP, "t1"))
    assert found == saved
    assert found.order is not None
    assert str(found.order["price"]) == "0.10"


async def test_both_sides_of_a_transaction_are_kept_apart(store: Store) -> None:
    _, seller = await save(store, trade(side=Side.BAP), trade(side=Side.BPP))
    assert await store.read(lambda unit: unit.trade(Side.BPP, "t1")) == seller
    assert await store.read(lambda unit: unit.trade(Side.GRID_OPERATOR, "t1")) is None


async def test_each_save_raises_the_version(store: Store) -> None:
    [first] = await save(store, trade())
    [second] = await save(store, replace(first, state=TradeState.SELECTED))
    assert second.version == 2
    assert await store.read(lambda unit: unit.trade(Side.BPP, "t1")) == second


@pytest.mark.parametrize(
    "version",
    [pytest.param(0, id="as if new"), pytest.param(1, id="old"), pytest.param(3, id="ahead")],
)
async def test_a_stale_version_is_refused(store: Store, version: int) -> None:
    [first] = await save(store, trade())
    [second] = await save(store, first)
    with pytest.raises(StoreError, match=f"version {version} "):
        await save(store, replace(second, version=version, dialect="lts"))
    assert await store.read(lambda unit: unit.trade(Side.BPP, "t1")) == second


async def test_an_unknown_trade_cannot_have_a_version(store: Store) -> None:
    with pytest.raises(StoreError, match="version 1 "):
        await save(store, trade(version=1))


async def test_a_trade_is_found_by_its_leg(store: Store) -> None:
    [saved] = await save(store, trade(leg=leg()))
    assert await store.read(lambda unit: unit.trade_of_leg("t-leg")) == saved
    assert await store.read(lambda unit: unit.trade_of_leg("t1")) is None


async def test_a_leg_belongs_to_one_trade(store: Store) -> None:
    await save(store, trade(leg=leg()))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await save(store, trade("t2", leg=leg()))


async def test_a_new_leg_replaces_the_old_one(store: Store) -> None:
    [saved] = await save(store, trade(leg=leg()))
    [saved] = await save(store, replace(saved, leg=leg("t-new")))
    assert await store.read(lambda unit: unit.trade_of_leg("t-leg")) is None
    assert await store.read(lambda unit: unit.trade_of_leg("t-new")) == saved


async def test_the_newest_trade_of_a_contract_is_found(store: Store) -> None:
    _, newest, *_ = await save(
        store,
        trade("t1", contract_id="c1"),
        trade("t2", contract_id="c1"),
        trade("t3", contract_id="c1", side=Side.BAP),
        trade("t4", contract_id="c1", peer=Peer("other.example", "u")),
        trade("t5", contract_id="c2"),
    )
    assert await store.read(lambda unit: unit.trade_of_contract(Side.BPP, BAP, "c1")) == newest
    assert await store.read(lambda unit: unit.trade_of_contract(Side.BPP, BAP, "c9")) is None


async def test_due_trades_are_those_past_their_time_oldest_first(store: Store) -> None:
    state = TradeState.SELECTED
    await save(
        store,
        trade("t1", state=state, terms_until_ms=300),
        trade("t2", state=state, terms_until_ms=100),
        trade("t3", state=state, terms_until_ms=500),
        trade("t4", state=state, terms_until_ms=200),
        trade("t5", state=TradeState.CONFIRMED, terms_until_ms=100),
        trade("t6", state=state),
    )
    assert ids(await store.read(lambda unit: unit.due_trades(500, 9))) == ["t2", "t4", "t1"]
    assert ids(await store.read(lambda unit: unit.due_trades(501, 9)))[-1] == "t3"
    assert ids(await store.read(lambda unit: unit.due_trades(500, 2))) == ["t2", "t4"]


async def test_terms_beyond_every_clock_can_be_stored(store: Store) -> None:
    [saved] = await save(store, trade(state=TradeState.SELECTED, terms_until_ms=10**40))
    assert await store.read(lambda unit: unit.trade(Side.BPP, "t1")) == saved
    assert await store.read(lambda unit: unit.due_trades(2**50, 9)) == []


async def test_trades_are_listed_newest_first_in_pages(store: Store) -> None:
    saved = await save(store, *(trade(f"t{number}") for number in range(5)))
    await save(store, saved[0])  # a change does not move a trade to another page
    assert ids(await store.read(lambda unit: unit.trades(Side.BPP, None, 2))) == ["t4", "t3"]
    assert ids(await store.read(lambda unit: unit.trades(Side.BPP, "t3", 2))) == ["t2", "t1"]
    assert ids(await store.read(lambda unit: unit.trades(Side.BPP, "t1", 2))) == ["t0"]
    assert ids(await store.read(lambda unit: unit.trades(Side.BPP, "t0", 2))) == []
    assert ids(await store.read(lambda unit: unit.trades(Side.BAP, None, 2))) == []
    assert ids(await store.read(lambda unit: unit.trades(None, "unknown", 2))) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
async def test_pages_of_all_sides_leave_nothing_out(store: Store, limit: int) -> None:
    both = [trade("t1", side=Side.BAP), trade("t2"), trade("t3"), trade("t1"), trade("t4")]
    await save(store, *both)
    listed: list[Trade] = []
    before: str | None = None
    while page := await store.read(lambda unit, before=before: unit.trades(None, before, limit)):  # type: ignore[misc]
        listed += page
        before = page[-1].transaction_id
    assert ids(listed) == ["t4", "t3", "t2", "t1", "t1"]
    assert {found.side for found in listed[-2:]} == {Side.BAP, Side.BPP}


async def test_a_contract_id_is_bound_for_good(store: Store) -> None:
    def bind_twice(unit: UnitOfWork) -> str | None:
        unit.bind_contract("c1", "t1")
        unit.bind_contract("c1", "t1")
        return unit.contract_transaction("c1")

    assert await store.write(bind_twice) == "t1"
    with pytest.raises(StoreError, match="c1 is bound to t1, not to t2"):
        await store.write(lambda unit: unit.bind_contract("c1", "t2"))
    assert await store.read(lambda unit: unit.contract_transaction("c2")) is None


async def test_the_history_of_a_contract_is_replaced(store: Store) -> None:
    assert await store.read(lambda unit: unit.contract_history("k")) is None
    await store.write(lambda unit: unit.save_contract_history("k", b"1"))
    await store.write(lambda unit: unit.save_contract_history("k", b"2"))
    assert await store.read(lambda unit: unit.contract_history("k")) == b"2"


async def test_a_mark_is_set_once(store: Store) -> None:
    assert await store.write(lambda unit: unit.mark("k"))
    assert not await store.write(lambda unit: unit.mark("k"))
    assert await store.write(lambda unit: unit.mark("other"))
