"""The table of steps: nothing leads out of it, and what it does not list changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.domain.trade import Peer, Trade, TradeState
from adapter.protocol.lifecycle import (
    BACK,
    PENDING_STATES,
    TRANSITIONS,
    Step,
    advance,
    allows,
    is_final,
    to_mermaid,
)

PEER = Peer("peer.example", "https://peer.example/bap/receiver")


def trade(side: Side, state: TradeState = TradeState.NEW) -> Trade:
    return Trade(side, "T-1", PEER, "draft", state=state)


sides = st.sampled_from(list(TRANSITIONS))
steps = st.lists(st.sampled_from(list(Step)), max_size=40)


@given(side=sides, walk=steps)
def test_no_walk_leaves_the_table(side: Side, walk: list[Step]) -> None:
    walker = trade(side)
    for step in walk:
        before = walker
        if allows(walker, step):
            walker = advance(walker, step)
            target = TRANSITIONS[side][before.state][step]
            assert walker.state == (before.back if target == BACK else target)
        else:
            with pytest.raises(WireError) as refusal:
                advance(walker, step)
            assert refusal.value.code == "BIZ_INVALID_STATE_TRANSITION"
            assert walker == before
        assert walker.state in TRANSITIONS[side]


@given(side=sides, walk=steps)
def test_what_is_final_stays_final(side: Side, walk: list[Step]) -> None:
    walker = trade(side)
    for step in walk:
        if is_final(walker):
            assert not allows(walker, step)
        elif allows(walker, step):
            walker = advance(walker, step)


@given(side=sides, walk=steps)
def test_a_failed_request_leads_back_to_where_it_was_made(side: Side, walk: list[Step]) -> None:
    walker = trade(side)
    for step in walk:
        if not allows(walker, step):
            continue
        origin, walker = walker.state, advance(walker, step)
        asked = walker.state in PENDING_STATES and origin not in PENDING_STATES
        if asked and allows(walker, Step.FAIL):
            assert advance(walker, Step.FAIL).state == origin


@pytest.mark.parametrize("side", TRANSITIONS)
def test_only_completed_and_terminated_are_final(side: Side) -> None:
    final = {state for state in TRANSITIONS[side] if is_final(trade(side, state))}
    assert final == {TradeState.COMPLETED, TradeState.TERMINATED}


@pytest.mark.parametrize("side", TRANSITIONS)
def test_every_state_can_be_reached_and_left(side: Side) -> None:
    seen, waiting = set[TradeState](), [trade(side)]
    while waiting:
        one = waiting.pop()
        if one.state not in seen:
            seen.add(one.state)
            waiting += [advance(one, step) for step in TRANSITIONS[side][one.state]]
    assert seen == set(TRANSITIONS[side])


@pytest.mark.parametrize("side", [Side.BAP, Side.BPP])
@pytest.mark.parametrize(
    "state", [TradeState.CONFIRM_PENDING, TradeState.CONFIRMED, TradeState.DELIVERING]
)
@pytest.mark.parametrize("step", [Step.SELECT, Step.INIT, Step.CONFIRM])
def test_nothing_is_agreed_anew_after_a_confirm(side: Side, state: TradeState, step: Step) -> None:
    assert not allows(trade(side, state), step)


@pytest.mark.parametrize(
    "side", [side for side, table in TRANSITIONS.items() if TradeState.DELIVERING in table]
)
def test_what_is_being_delivered_cannot_be_cancelled(side: Side) -> None:
    assert not allows(trade(side, TradeState.DELIVERING), Step.CANCEL)


def test_a_platform_confirms_only_after_its_operator() -> None:
    into = [
        (state, step)
        for state, row in TRANSITIONS[Side.BPP].items()
        for step, target in row.items()
        if target == TradeState.CONFIRMED and state != TradeState.CONFIRMED
    ]
    assert into == [(TradeState.CONFIRM_PENDING, Step.ON_CONFIRM)]


def test_a_refusal_says_what_would_be_allowed() -> None:
    with pytest.raises(WireError, match="SELECTED accepts select, init, cancel, lapse"):
        advance(trade(Side.BPP, TradeState.SELECTED), Step.CONFIRM)


@pytest.mark.parametrize("side", TRANSITIONS)
def test_the_picture_shows_every_state(side: Side) -> None:
    picture = to_mermaid(side)
    assert all(f"    {state} --> " in picture for state in TRANSITIONS[side])
