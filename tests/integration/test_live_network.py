"""The running network of the tests itself: `unchanged` sees what changes, and only that."""

import time

import pytest

from adapter.domain.instants import EPOCH_MS
from tests.fakes.live import TIMERS_S, Live

pytestmark = pytest.mark.timeout(180)


def test_a_call_that_writes_to_the_ledger_is_found_out(live: Live) -> None:
    user = live.household().user
    with pytest.raises(AssertionError, match="ledger_entries"), live.unchanged():
        live.deposit(user, "0.01")


def test_a_message_that_is_remembered_is_found_out(live: Live) -> None:
    with pytest.raises(AssertionError, match="inbox"), live.unchanged():
        live.peer().ask("discover", {"intent": {}})


def test_no_timer_disturbs_who_demands_that_nothing_changes(live: Live) -> None:
    other, house = live.peer(), live.household()
    other.accepted(other.init(live.offer(), house))  # terms of 15 minutes
    live.settle()
    quarter_ms = (live.clock.now_ms() // EPOCH_MS + 1) * EPOCH_MS
    live.move(quarter_ms - 30_000 - live.clock.now_ms())
    assert live.due_soon()[0] == quarter_ms
    before = anchors(live)
    live.quiet()
    assert live.due_soon() == []
    with live.unchanged():
        live.wait_until(lambda: live.clock.now_ms() > quarter_ms, "time stands still")
        time.sleep(2 * TIMERS_S)
    assert anchors(live) == before + 1


def test_what_a_timer_does_is_found_out_too(live: Live) -> None:
    """Were it excused, a request could hide behind it."""
    live.deposit(live.household().user, "0.01")
    quarter_ms = (live.clock.now_ms() // EPOCH_MS + 1) * EPOCH_MS
    live.settle()
    with pytest.raises(AssertionError, match="ledger_entries"), live.unchanged():
        live.move(quarter_ms - live.clock.now_ms())


def anchors(live: Live) -> int:
    """Return how many statements the ledger's timer has made."""
    query = "SELECT count(*) FROM ledger_entries WHERE json_extract(body, '$.function') = ?"
    [(count,)] = live.rows("grid_operator", query, "close_epoch")
    return int(count)
