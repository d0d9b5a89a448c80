"""The event feed over a clearing: trades are views of its blocks, and pages have no gaps."""

import subprocess
import sys
from typing import Any

import pytest

from adapter.service import event_feed
from adapter.service.event_feed import BEGINNING, Position, event_page
from tests.unit.settlement.trading import BOOK_A, RATES, Trading

ALL = ("", "")


@pytest.fixture
def world() -> Trading:
    """Return a ledger on which book A was cleared and something else happened afterwards."""
    world = Trading().open(RATES)
    world.enter(BOOK_A)
    world.clear()
    world.deposit("u1", 1)
    return world


def pages(world: Trading, actor: str, only: tuple[str, str] = ALL) -> list[dict[str, Any]]:
    """Return all events that an actor sees, page by page."""
    found: list[dict[str, Any]] = []
    after: Position = BEGINNING
    while True:
        page = event_page(world.ledger, after, actor, only, 3)
        found += page["events"]
        seq, _, index = page["next"].partition(".")
        position = (int(seq), int(index) if index else event_feed.WHOLE_ENTRY)
        if position == after:
            return found
        after = position


@pytest.mark.parametrize("most", [1, 3, 5, 14, 10_000])
def test_no_page_size_makes_a_gap(
    world: Trading, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole = pages(world, "auditor")
    monkeypatch.setattr(event_feed, "EVENTS_MAX", most)
    assert pages(world, "auditor") == whole
    ids = [event["id"] for event in whole]
    assert len(set(ids)) == len(ids)


def test_the_views_follow_the_written_events_of_the_entry(world: Trading) -> None:
    head = world.ledger.head()
    assert head is not None
    clearing = [e for e in pages(world, "auditor") if e["seq"] == head.seq - 1]
    assert [event["id"] for event in clearing] == [f"{head.seq - 1}.{i}" for i in range(14)]
    names = [event["name"] for event in clearing]
    assert names == ["MarketCleared", *["Transfer", "TradeExecuted"] * 5, *["OrderExpired"] * 3]
    assert clearing[4]["value"] == "6.00"


def test_a_trade_is_seen_by_its_two_parties(world: Trading) -> None:
    only = ("trading", "TradeExecuted")
    for user, trades in {"u6": 2, "u5": 2, "u1": 1, "u7": 0}.items():
        seen = pages(world, user, only)
        assert len(seen) == trades
        assert all(user in (event["buyer"], event["seller"]) for event in seen)
    assert pages(world, "", only) == []


def test_everyone_sees_price_and_volume(world: Trading) -> None:
    (event,) = pages(world, "", ("", "MarketCleared"))
    assert (event["price"], event["volume"], event["trades"]) == ("6.00", "14", 5)


def test_nothing_waits_for_numpy_before_a_market_is_cleared() -> None:
    program = "import adapter.settlement, sys; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
