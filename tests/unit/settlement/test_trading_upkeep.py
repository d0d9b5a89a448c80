"""Upkeep: asked for by a pure read, done once, in order, after any outage."""

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import due_commands, execute, verify
from adapter.settlement.contracts import clearing_epoch
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.trading import FIRST, Trading
from tests.unit.settlement.world import EPOCH, NOON, settled_with

PERFORM = "oracle.perform_upkeep"


@pytest.fixture
def world() -> Trading:
    """Return a market without rates, anchored up to its beginning."""
    world = Trading().set_up()
    world.now = NOON + EPOCH
    world.do(PERFORM, "system")
    return world


def crossing(world: Trading) -> None:
    """Enter an ask and a bid that meet."""
    world.order("ann", "SELL", 1, 6)
    world.order("ben", "BUY", 1, 6)


def test_nothing_due_is_a_success_without_an_entry(world: Trading) -> None:
    before = world.fingerprint()
    result = world.do(PERFORM, "system").result
    assert result == {"expired": 0, "cleared": [], "anchored": False}
    check = world.read("oracle.check_upkeep", "")
    assert check == {"needed": False, "epochs": [], "expirations": 0}
    assert world.read("trading.needs_market_clearing", "") == check
    assert world.fingerprint() == before


def test_upkeep_is_for_operators_and_market_makers(world: Trading) -> None:
    world.refused("NOT_ORACLE_OPERATOR", PERFORM, "ann")
    world.do("trading.add_market_maker", "admin", market_maker="maker")
    world.do(PERFORM, "maker")
    world.do(PERFORM, "headend")


def test_an_epoch_that_ended_is_cleared_and_then_anchored(world: Trading) -> None:
    crossing(world)
    number = world.next_epoch()
    due = world.read("oracle.check_upkeep", "")
    assert due["epochs"] == [{"epoch": number, "area": "main"}]
    receipt = world.do(PERFORM, "system")
    assert [event.name for event in receipt.events] == [
        "MarketClearingChecked",
        "MarketCleared",
        "AutoMarketClearingTriggered",
    ]
    assert receipt.events[0].fields == {"due": 1}
    assert receipt.events[2].fields == {"epochs": [number]}
    assert world.read("oracle.check_upkeep", "")["anchor"] == {"first": number, "last": number}
    receipt = world.do(PERFORM, "system")
    assert [event.name for event in receipt.events] == ["MarketClearingChecked", "EpochAnchored"]
    assert not world.read("oracle.check_upkeep", "")["needed"]


def test_all_that_an_outage_left_is_cleared_in_one_entry_and_in_order(world: Trading) -> None:
    world.trader("eva", area="far")
    world.trader("fay", area="far")
    start = world.now // EPOCH
    for _ in range(2):
        crossing(world)
        world.order("eva", "SELL", 1, 3)
        world.order("fay", "BUY", 1, 3)
        world.next_epoch(20)
    receipt = world.do(PERFORM, "system")
    cleared = [(part["epoch"], part["area"]) for part in receipt.result["cleared"]]
    assert cleared == [(start, "far"), (start, "main"), (start + 20, "far"), (start + 20, "main")]
    for epoch, area in cleared:
        trade = world.read("trading.get_trade", trade_id=f"{epoch}-{area}-0")
        assert trade["seller"] == ("ann" if area == "main" else "eva")
        assert trade["seq"] == receipt.seq
    assert world.posted("ben", "GRID") == world.posted("fay", "GRID") == 102_000_000
    bodies = [entry.body for entry in world.ledger.entries(-1, 10_000)]
    verdict = verify(bodies, MemoryLedger(), stored=world.ledger)
    assert verdict.ok, verdict.why


def test_one_order_in_several_clearings_of_one_entry(world: Trading) -> None:
    later = {"time_in_force": "GTT", "expires_at": world.now + 10 * EPOCH}
    ask = world.order("ann", "SELL", 5, 6, **later)
    for _ in range(3):
        world.order("ben", "BUY", 1, 6)
        world.next_epoch()
    receipt = world.do(PERFORM, "system")
    assert len(receipt.result["cleared"]) == 3
    assert world.state(ask) == ("PARTIALLY_FILLED", "3")
    assert world.held("ann", "GRID") == 2
    bodies = [entry.body for entry in world.ledger.entries(-1, 10_000)]
    assert verify(bodies, MemoryLedger(), stored=world.ledger).ok


def test_a_limit_leaves_the_rest_for_the_next_call(world: Trading) -> None:
    for _ in range(3):
        crossing(world)
        world.next_epoch()
    first = world.do(PERFORM, "system", limit=2)
    assert len(first.result["cleared"]) == 2
    assert len(world.do(PERFORM, "system", limit=2).result["cleared"]) == 1
    assert world.posted("ben", "GRID") == 103_000_000


def test_months_without_orders_are_one_entry(world: Trading) -> None:
    crossing(world)
    world.do("trading.cancel_order", "ann", order_no=1)
    world.next_epoch()
    world.tick()
    world.next_epoch(9_000)
    head = world.ledger.head()
    assert head is not None
    world.tick()
    world.do(PERFORM, "system")
    assert world.ledger.head().seq == head.seq + 1  # type: ignore[union-attr]  # it is open


def test_the_timer_clears_once_however_often_it_asks(world: Trading) -> None:
    crossing(world)
    world.next_epoch()
    polls = [due_commands(world.ledger, world.now, 10) for _ in range(5)]
    assert polls[0][0].function == "perform_upkeep"
    receipts = [
        execute(world.ledger, command, "system", world.now) for poll in polls for command in poll
    ]
    assert [receipt.replayed for receipt in receipts] == [False, True, True, True, True]
    assert due_commands(world.ledger, world.now, 10) == []
    assert world.posted("ben", "GRID") == 101_000_000


def test_a_clock_that_jumps_back_clears_nothing_twice(world: Trading) -> None:
    crossing(world)
    world.next_epoch()
    world.tick()
    world.now -= 3 * EPOCH
    assert world.tick() == []
    world.now += 3 * EPOCH
    assert world.tick() == []
    assert world.posted("ben", "GRID") == 101_000_000


def test_upkeep_expires_and_clears_in_one_call(world: Trading) -> None:
    short = world.order("cat", "SELL", 1, 9, time_in_force="GTT", expires_at=world.now + EPOCH - 1)
    crossing(world)
    world.next_epoch()
    receipt = world.do(PERFORM, "system")
    assert (receipt.result["expired"], len(receipt.result["cleared"])) == (1, 1)
    assert world.state(short)[0] == "EXPIRED"


def test_without_auto_clearing_upkeep_only_expires() -> None:
    off = settled_with(price_tick="0.01", wheeling_rate=0, auto_market_clearing=False)
    world = Trading().set_up(off)
    crossing(world)
    world.order("cat", "SELL", 1, 9, time_in_force="GTT", expires_at=NOON + 1)
    world.next_epoch()
    check = world.read("oracle.check_upkeep", "")
    assert check == {"needed": True, "epochs": [], "expirations": 1}
    result = world.do(PERFORM, "system").result
    assert result == {"expired": 1, "cleared": [], "anchored": False}
    assert world.tick() == []
    assert world.match(FIRST).result["trades"] == 1


def test_auto_clearing_is_switched_for_the_next_epoch(world: Trading) -> None:
    name = "oracle.set_auto_market_clearing"
    world.refused("NOT_OWNER", name, "ann", enabled=False)
    receipt = world.do(name, "admin", enabled=False)
    assert receipt.events[-1].fields == {"enabled": False}
    crossing(world)
    world.next_epoch()
    assert world.tick() == []
    world.do(name, "admin", enabled=True)
    world.next_epoch()
    assert len(world.tick()) == 1


def test_a_statement_waits_until_all_is_cleared(world: Trading) -> None:
    crossing(world)
    world.next_epoch()
    assert "anchor" not in world.read("oracle.check_upkeep", "")
    with pytest.raises(ContractError, match="comes first"):
        world.match(world.now // EPOCH + 5)


def test_a_full_entry_leaves_the_other_books_for_the_next(
    world: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing_epoch, "ENTRY_ROWS", 3)
    for _ in range(3):
        crossing(world)
        world.next_epoch()
    # Two orders in each book: the second one fills the entry.
    cleared = [len(receipt.result["cleared"]) for receipt in world.tick()]
    assert cleared == [2, 1]
    assert world.posted("ben", "GRID") == 103_000_000


def test_what_a_call_expires_is_anchored_by_the_next(world: Trading) -> None:
    world.order("cat", "SELL", 1, 9, time_in_force="GTT", expires_at=world.now + 1)
    world.next_epoch()
    first = world.do(PERFORM, "system")
    assert (first.result["expired"], first.result["anchored"]) == (1, False)
    second = world.do(PERFORM, "system")
    assert (second.result["expired"], second.result["anchored"]) == (0, True)
