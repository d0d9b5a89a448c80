"""Pages of the event feed over clearings, whose events are views of blocks."""

import pytest

from adapter.service import event_feed
from adapter.service.event_feed import BEGINNING, WHOLE_ENTRY, Position, event_page
from adapter.web.contract_events import parse_place
from tests.unit.settlement.trading import BOOK_A, RATES, Trading

EVERYTHING = ("", "")


def market() -> Trading:
    world = Trading().set_up(RATES)
    world.enter(BOOK_A)
    world.clear()
    return world


def pages(
    world: Trading, actor: str, only: tuple[str, str] = EVERYTHING, limit: int = 1_000
) -> list[list[dict[str, object]]]:
    """Return all pages as a client reads them."""
    found, after = list[list[dict[str, object]]](), BEGINNING
    while True:
        page = event_page(world.ledger, after, actor, only, limit)
        before, after = after, parse_place(page["next"])
        if after == before:
            return found
        found.append(page["events"])


def names(events: list[dict[str, object]], name: str) -> list[dict[str, object]]:
    return [event for event in events if event["name"] == name]


def test_the_trades_of_a_clearing_are_events_of_its_entry() -> None:
    world = market()
    [events] = pages(world, "auditor")
    trades = names(events, "TradeExecuted")
    assert [(one["sell_order"], one["buy_order"], one["energy"]) for one in trades] == [
        *((1, 2, "5"), (5, 2, "1"), (5, 6, "3"), (3, 6, "2"), (3, 4, "3"))
    ]
    [cleared] = names(events, "MarketCleared")
    assert {one["seq"] for one in trades} == {cleared["seq"]}
    # orders 3 (1 of 6 kWh left), 7 and 8 lapse
    assert [one["order_no"] for one in names(events, "OrderExpired")] == [3, 7, 8]


def test_a_party_sees_its_own_trades_and_everybody_the_price() -> None:
    [events] = pages(market(), "u6")
    assert [one["trade_id"] for one in names(events, "TradeExecuted")] == [
        *("1963632-main-2", "1963632-main-3")
    ]
    [cleared] = names(events, "MarketCleared")
    assert cleared["price"] == "6.00"


@pytest.mark.parametrize("looked_at", [1, 2, 3, 7])
def test_a_page_may_end_inside_an_entry_without_gap_or_repeat(
    looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = market()
    [whole] = pages(world, "auditor")
    monkeypatch.setattr(event_feed, "EVENTS_MAX", looked_at)
    parts = pages(world, "auditor")
    assert [event for part in parts for event in part] == whole
    assert max(map(len, parts)) <= looked_at


def test_every_place_goes_on_with_the_rest() -> None:
    world = market()
    [whole] = pages(world, "auditor")
    ids = [tuple(map(int, str(event["id"]).split("."))) for event in whole]
    for index, (seq, number) in enumerate(ids):
        after: Position = (seq, number)
        page = event_page(world.ledger, after, "auditor", EVERYTHING, 1_000)
        assert page["events"] == whole[index + 1 :]
    end: Position = (ids[-1][0], WHOLE_ENTRY)
    assert event_page(world.ledger, end, "auditor", EVERYTHING, 10)["events"] == []


def test_a_filter_finds_events_of_blocks_too() -> None:
    [events] = pages(market(), "auditor", ("trading", "TradeExecuted"))
    assert len(events) == 5
    [none] = pages(market(), "auditor", ("token", "TradeExecuted"))
    assert none == []
