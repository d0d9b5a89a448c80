"""The worked books end to end, in memory and on SQLite. Source: specification, 9.2 and 9.3."""

import importlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from adapter.settlement import LedgerStore, Receipt, verify
from adapter.settlement.block_views import ViewPosting, all_events
from adapter.settlement.canonical import parse_canonical
from adapter.settlement.events import Event
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.trading import BOOK_A, BOOK_B, FIRST, RATES, Trading
from tests.unit.settlement.world import sqlite_ledger

verify_module = importlib.import_module("adapter.settlement.verify")
STORES = pytest.mark.parametrize(
    "store", [pytest.param(MemoryLedger, id="memory"), pytest.param(sqlite_ledger, id="SQLite")]
)
Store = Callable[[], LedgerStore]
ROOT = "d19d6e5c193523baa32738ffc3cfbc14ba8bdfa9527fc676645e8ebcbbdf8c40"
"""Published root of the block `trades` of book A with leaf_rows 1."""


def cleared(store: Store, book: tuple[tuple[str, int, str], ...]) -> tuple[Trading, Receipt]:
    """Return a world in which a book was entered and cleared."""
    world = Trading(store())
    world.open(RATES)
    world.enter(book)
    return world, world.clear()


def views(world: Trading, receipt: Receipt) -> list[Event]:
    """Return all events of an entry."""
    entry = world.ledger.entry(receipt.seq)
    assert entry is not None
    return [event for _, event in all_events(world.ledger, parse_canonical(entry.body))]


@STORES
def test_book_a_clears_at_six_and_settles_as_the_table_says(store: Store) -> None:
    world, receipt = cleared(store, BOOK_A)
    assert receipt.result == {
        "epoch": FIRST,
        "area": "main",
        "price": "6.00",
        "volume": "14",
        "trades": 5,
    }
    # GRID 100 before; cash 1000 before. Buyers pay 6.55 per kWh, sellers get 5.95.
    expected = {
        "u1": ("95", "1029.75"),
        "u2": ("106", "960.70"),
        "u3": ("95", "1029.75"),
        "u4": ("103", "980.35"),
        "u5": ("96", "1023.80"),
        "u6": ("105", "967.25"),
        "u7": ("100", "1000.00"),
        "u8": ("100", "1000.00"),
    }
    for user, (grid, cash) in expected.items():
        assert world.read("token.balance_of", user=user)["available"] == grid
        assert world.read("token.balance_of", user=user, asset="USD")["available"] == cash
        assert world.held(user, "GRID") == world.held(user, "USD") == 0
    # 14 kWh × 0.50 and 14 kWh × (0.05 + 0.05).
    wheeling = world.ledger.account("grid|USD|WHEELING")
    fees = world.ledger.account("grid|USD|FEES")
    assert wheeling is not None
    assert fees is not None
    assert (wheeling.posted, fees.posted) == (7_000_000, 1_400_000)


@STORES
def test_book_b_clears_between_the_last_ask_and_the_last_bid(store: Store) -> None:
    _, receipt = cleared(store, BOOK_B)
    # lo 6.00, hi 6.40, 40 ticks of 0.01 apart: 6.20.
    assert (receipt.result["price"], receipt.result["volume"]) == ("6.20", "14")


def test_the_holds_are_what_the_table_says() -> None:
    world = Trading().open(RATES)
    world.enter(BOOK_A)
    held = [world.held(f"u{i}", "USD" if side == "BUY" else "GRID") for i, (side, *_) in _book()]
    expected = [5, "51.30", 6, "20.85", 4, "35.25", 3, "24.20"]
    assert held == [Decimal(str(amount)) for amount in expected]


def _book() -> list[tuple[int, tuple[str, int, str]]]:
    return list(enumerate(BOOK_A, 1))


@STORES
def test_orders_end_as_they_were_filled(store: Store) -> None:
    world, _ = cleared(store, BOOK_A)
    filled = [("FILLED", "5"), ("FILLED", "6"), ("EXPIRED", "5"), ("FILLED", "3")]
    filled += [("FILLED", "4"), ("FILLED", "5"), ("EXPIRED", "0"), ("EXPIRED", "0")]
    assert [world.state(number) for number in range(1, 9)] == filled


@STORES
def test_the_trades_are_events_of_the_entry_and_can_be_read(store: Store) -> None:
    world, receipt = cleared(store, BOOK_A)
    events = views(world, receipt)
    (inline,) = receipt.events
    assert (inline.name, inline.fields["trades_root"]) == ("MarketCleared", ROOT)
    assert events[0] == inline
    trades = [event.fields for event in events if event.name == "TradeExecuted"]
    pairs = [(t["sell_order"], t["buy_order"], t["energy"] // 1_000_000) for t in trades]
    assert pairs == [(1, 2, 5), (5, 2, 1), (5, 6, 3), (3, 6, 2), (3, 4, 3)]
    # Trade (5, 6, 3): 18.00, wheeling 1.50, 0.15 of fee on either side.
    assert trades[2] == {
        "trade_id": f"{FIRST}-main-2",
        "buy_order": 6,
        "sell_order": 5,
        "buyer": "u6",
        "seller": "u5",
        "energy": 3_000_000,
        "price": 6_000_000,
        "value": 18_000_000,
        "wheeling": 1_500_000,
        "buyer_fee": 150_000,
        "seller_fee": 150_000,
    }
    read = world.read("trading.get_trade", "u5", trade_id=f"{FIRST}-main-2")
    assert (read["value"], read["wheeling"], read["seq"]) == ("18.00", "1.50", receipt.seq)
    expired = {e.fields["order_no"]: e.fields for e in events if e.name == "OrderExpired"}
    assert {number: fields["released"] for number, fields in expired.items()} == {
        3: 1_000_000,
        7: 3_000_000,
        8: 24_200_000,
    }
    transfers = [event for event in events if event.name == "Transfer"]
    assert len(events) == 1 + len(transfers) + len(trades) + len(expired) == 14


def test_the_events_go_on_from_any_index() -> None:
    world, receipt = cleared(MemoryLedger, BOOK_A)
    entry = world.ledger.entry(receipt.seq)
    assert entry is not None
    document = parse_canonical(entry.body)
    whole = list(all_events(world.ledger, document))
    assert [index for index, _ in whole] == list(range(14))
    for start in range(15):
        assert list(all_events(world.ledger, document, start)) == whole[start:]


@STORES
def test_the_journal_of_a_clearing_verifies(store: Store) -> None:
    world, _ = cleared(store, BOOK_A)
    bodies = [entry.body for entry in world.ledger.entries(-1, 10_000)]
    verdict = verify(bodies, MemoryLedger(), stored=world.ledger)
    assert verdict.ok, verdict.why


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param(lambda all_: all_[1:], "ends with", id="a trade left out"),
        pytest.param(lambda all_: all_[:-1], "ends with", id="a release left out"),
        pytest.param(lambda all_: [*all_, all_[0]], "has no open hold", id="one twice"),
        pytest.param(
            lambda all_: [all_[0]._replace(legs=()), *all_[1:]], "ends with", id="energy not moved"
        ),
        pytest.param(
            lambda all_: [all_[0]._replace(legs=all_[0].legs * 2), *all_[1:]],
            "is used for",
            id="more than the hold",
        ),
    ],
)
def test_what_the_blocks_stand_for_must_give_the_balances(
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[list[ViewPosting]], list[ViewPosting]],
    why: str,
) -> None:
    world, _ = cleared(MemoryLedger, BOOK_A)
    bodies = [entry.body for entry in world.ledger.entries(-1, 10_000)]
    whole = verify_module.view_postings

    def spoiled(reader: LedgerStore, document: Mapping[str, Any]) -> list[ViewPosting]:
        found = list(whole(reader, document))
        return spoil(found) if found else found

    monkeypatch.setattr(verify_module, "view_postings", spoiled)
    verdict = verify(bodies, MemoryLedger())
    assert verdict.bad_seq == len(bodies) - 1
    assert "4 postings" in verdict.why
    assert why in verdict.why
