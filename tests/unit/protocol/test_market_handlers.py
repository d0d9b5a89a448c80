"""A market's two handlers as functions: what each state makes of each event, and nothing else."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.instants import format_instant, parse_instant
from adapter.domain.parties import Side
from adapter.domain.trade import (
    CascadeLeg,
    LegState,
    OpenRequest,
    Peer,
    Seat,
    Trade,
    TradeState,
)
from adapter.protocol import handlers, strict_json
from adapter.protocol.actions import Action
from adapter.protocol.contexts import message_context, transaction_base
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    Identity,
    Lapsed,
    NoAnswer,
    NotTaken,
    Received,
)
from adapter.protocol.envelope import read_own
from adapter.protocol.market_events import (
    Cleared,
    Declined,
    Joins,
    Reported,
    Reserved,
    Uncleared,
)
from adapter.protocol.orders import with_status
from adapter.settlement.curve_clearing import clear_curves
from tests.fakes.market import (
    CONTRACT_ID,
    GATE,
    GRID,
    LOAD,
    LOAD_CURVE,
    LOAD_METER,
    MARKET,
    ROOF,
    ROOF_CURVE,
    ROOF_METER,
    ROOM,
    market_init,
    market_offer,
)
from tests.fakes.orders import Order, contract, reference

NOW, GATE_MS = parse_instant("2026-03-02T08:00:00Z"), parse_instant(GATE)
ME = Identity(MARKET, f"https://{MARKET}")
OPERATOR = Peer(GRID, f"https://{GRID}/bpp/receiver")
S = TradeState
ILLEGAL = "BIZ_INVALID_STATE_TRANSITION"
LIVING = (S.INIT_PENDING, S.INITIATED, S.CONFIRM_PENDING)


def facts(**changes: Any) -> Facts:
    count = itertools.count()
    base: dict[str, Any] = {
        "now_ms": NOW,
        "me": ME,
        "new_id": lambda: f"id-{next(count)}",
        "ttl_ms": 30_000,
        "operator": OPERATOR,
        "offers": (market_offer(),),
        "clear_curves": clear_curves,
    }
    return Facts(**(base | changes))


def granted(platform: str, meter: str, points: Any) -> Order:
    """Return a participant's order as the operator answered it."""
    order = market_init(platform, meter, points)
    filled = {"role": "GRID_OPERATOR", "filledBy": GRID, "filled": True, "roleInputs": ROOM}
    contract(order)["roles"].append(filled)
    return order


def trade(
    state: TradeState, name: str = "T-1", order: Order | None = None, platform: str = LOAD
) -> Trade:
    """Return a prosumer's trade with the market as it stands in a state."""
    order = order or granted(platform, LOAD_METER, LOAD_CURVE)
    base = transaction_base(
        bap=Peer(platform, f"https://{platform}/bap/receiver"),
        bpp=ME.as_bpp,
        transaction_id=name,
    )
    pending = {S.INIT_PENDING: "init", S.CONFIRM_PENDING: "confirm"}.get(state)
    request = None
    if pending is not None:
        request = OpenRequest(pending, f"{name}-asked", GATE_MS + 60_000, base, order)
    return Trade(
        Side.MARKET,
        name,
        Peer(platform, f"https://{platform}/bap/receiver"),
        "draft",
        state=state,
        context=base,
        order=order if state not in (S.NEW, S.INIT_PENDING) else None,
        contract_id=CONTRACT_ID,
        terms_until_ms=GATE_MS,
        request=request,
        session_id="T-session",
    )


def received(action: str, order: Order, name: str = "T-1", sender: str = LOAD) -> Received:
    """Return a request of a prosumer's app, or a callback of the operator."""
    is_callback = action.startswith("on_")
    bap = ME.as_bap if is_callback else Peer(sender, f"https://{sender}/bap/receiver")
    base = transaction_base(
        bap=bap, bpp=OPERATOR if is_callback else ME.as_bpp, transaction_id=name
    )
    context = message_context(base, Action(action), message_id="m-1", now_ms=NOW, ttl_ms=3_600_000)
    raw = strict_json.encode({"context": context, "message": {"order": order}})
    return Received(read_own(strict_json.decode_object(raw), raw))


def decide(side: Side, one: Trade | None, event: Event, **changes: Any) -> Decision:
    return handlers.decide(side, one, event, facts(**changes))


# One prosumer's trade


def asked(action: str) -> Callable[[], Event]:
    def build() -> Event:
        if action in ("cancel", "status"):
            return received(action, reference())
        if action == "init":
            return received(action, market_init(LOAD, LOAD_METER, LOAD_CURVE))
        return received(action, granted(LOAD, LOAD_METER, LOAD_CURVE))

    return build


REQUESTS: Mapping[str, Mapping[TradeState, str]] = {
    "init": {
        S.NEW: "INIT_PENDING",
        S.INIT_PENDING: ILLEGAL,
        S.INITIATED: "INIT_PENDING",
        S.CONFIRM_PENDING: ILLEGAL,
        S.CONFIRMED: ILLEGAL,
        S.DELIVERING: ILLEGAL,
        S.COMPLETED: ILLEGAL,
        S.TERMINATED: ILLEGAL,
    },
    "confirm": {
        S.NEW: ILLEGAL,
        S.INIT_PENDING: ILLEGAL,
        S.INITIATED: "CONFIRM_PENDING",
        S.CONFIRM_PENDING: ILLEGAL,
        S.CONFIRMED: "BIZ_ALREADY_CONFIRMED",
        S.DELIVERING: "BIZ_ALREADY_CONFIRMED",
        S.COMPLETED: "BIZ_ALREADY_CONFIRMED",
        S.TERMINATED: ILLEGAL,
    },
    "cancel": {
        S.NEW: "BIZ_ORDER_NOT_FOUND",
        S.INIT_PENDING: ILLEGAL,
        S.INITIATED: "TERMINATED",
        S.CONFIRM_PENDING: ILLEGAL,
        S.CONFIRMED: "CONFIRMED",
        S.DELIVERING: "DELIVERING",
        S.COMPLETED: ILLEGAL,
        S.TERMINATED: ILLEGAL,
    },
}


@pytest.mark.parametrize(
    ("action", "state", "expected"),
    [
        pytest.param(action, state, expected, id=f"{action} when {state}")
        for action, row in REQUESTS.items()
        for state, expected in row.items()
    ],
)
def test_each_state_takes_or_refuses_each_request(
    action: str, state: TradeState, expected: str
) -> None:
    before = None if state is S.NEW and action == "init" else trade(state)
    if expected not in TradeState.__members__:
        with pytest.raises(WireError) as refused:
            decide(Side.MARKET, before, asked(action)())
        assert refused.value.code == expected
        return
    decision = decide(Side.MARKET, before, asked(action)())
    assert decision.trade is not None
    assert decision.trade.state == expected


TOLD: Mapping[str, tuple[Event, Mapping[TradeState, str]]] = {
    "reserved": (Reserved(None, None, None), {S.INIT_PENDING: "INITIATED"}),
    "declined": (
        Declined(WireError("BIZ_PAYMENT_FAILED", "no")),
        {S.INIT_PENDING: "NEW", S.CONFIRM_PENDING: "INITIATED"},
    ),
    "reported": (
        Reported(
            received(
                "on_status",
                with_status(granted(LOAD, LOAD_METER, LOAD_CURVE), "TERMINATED"),
                "T-session",
            ).envelope
        ),
        {S.CONFIRMED: "TERMINATED", S.DELIVERING: "TERMINATED"},
    ),
}


@pytest.mark.parametrize(
    ("name", "state"),
    [
        pytest.param(name, state, id=f"{name} when {state}")
        for name in TOLD
        for state in TradeState
        if state in REQUESTS["init"]
    ],
)
def test_what_the_session_tells_moves_only_a_trade_that_waits_for_it(
    name: str, state: TradeState
) -> None:
    event, moves = TOLD[name]
    decision = decide(Side.MARKET, trade(state), event)
    if state in moves:
        assert decision.trade is not None
        assert decision.trade.state == moves[state]
        assert len(decision.outgoing) == 1
    else:
        assert decision.outgoing == ()
        assert decision.trade is None or decision.trade.state == state


def test_a_declined_commitment_has_lapsed() -> None:
    error = WireError("BIZ_PAYMENT_FAILED", "no")
    declined = decide(Side.MARKET, trade(S.CONFIRM_PENDING), Declined(error)).trade
    assert declined is not None
    assert (declined.request, declined.due_ms) == (None, NOW - 1)
    again = decide(Side.MARKET, declined, Lapsed()).trade
    assert again is not None
    assert (again.state, again.ended) == ("TERMINATED", "LAPSED")


def test_an_export_is_told_without_a_quote() -> None:
    committed = trade(S.CONFIRM_PENDING, order=granted(LOAD, ROOF_METER, ROOF_CURVE))
    decision = decide(Side.MARKET, committed, Cleared(69_057, 4_716_981, LOAD, NOW))
    (told,) = decision.outgoing
    assert told.message is not None
    assert "beckn:quote" not in told.message["order"]
    assert decision.trade is not None
    assert decision.trade.applied_ms == NOW


def test_who_cleared_nothing_is_over() -> None:
    ended = decide(Side.MARKET, trade(S.CONFIRM_PENDING), Uncleared()).trade
    assert ended is not None
    assert (ended.state, ended.ended, ended.request) == ("TERMINATED", "FAILED", None)


# The session


LOAD_TRADE = trade(S.CONFIRM_PENDING, "T-1", granted(LOAD, LOAD_METER, LOAD_CURVE), LOAD)
ROOF_TRADE = trade(S.CONFIRM_PENDING, "T-2", granted(ROOF, ROOF_METER, ROOF_CURVE), ROOF)


def session(
    state: TradeState = S.INITIATED, leg_state: LegState = LegState.WAITING, **powers: int
) -> Trade:
    """Return the session of both."""
    order = {
        "beckn:id": f"order-{CONTRACT_ID}",
        "beckn:orderAttributes": contract(granted(LOAD, LOAD_METER, LOAD_CURVE)),
    }
    request = OpenRequest("confirm", "m-1", GATE_MS + 51_000)
    seats = (
        Seat("T-1", LOAD, LOAD_METER, power_micro_kw=powers.get("load", 0)),
        Seat("T-2", ROOF, ROOF_METER, power_micro_kw=powers.get("roof", 0)),
    )
    return Trade(
        Side.MARKET_SESSION,
        "T-session",
        OPERATOR,
        "draft",
        state=state,
        order=order,
        contract_id=CONTRACT_ID,
        terms_until_ms=GATE_MS,
        leg=CascadeLeg(OPERATOR, "T-session", CONTRACT_ID, "order-grid", leg_state, request, ROOM),
        seats=seats,
    )


def with_both(**states: TradeState) -> dict[str, Any]:
    """Return the facts of a session whose trades are in some states."""
    known = {
        "T-1": replace(LOAD_TRADE, state=states.get("load", S.CONFIRM_PENDING)),
        "T-2": replace(ROOF_TRADE, state=states.get("roof", S.CONFIRM_PENDING)),
    }
    return {"market_trade": known.get}


def told(decision: Decision) -> dict[str, str]:
    return {name: type(event).__name__ for _, name, event in decision.tells}


def sent(decision: Decision) -> list[str]:
    return [outgoing.action.value for outgoing in decision.outgoing]


def test_the_gate_clears_and_asks_and_tells_nobody() -> None:
    decision = decide(Side.MARKET_SESSION, session(), Lapsed(), now_ms=GATE_MS + 250, **with_both())
    assert (sent(decision), told(decision)) == (["confirm"], {})
    assert decision.trade is not None
    assert decision.trade.state == "CONFIRM_PENDING"
    assert [seat.power_micro_kw for seat in decision.trade.seats] == [-4_716_981, 4_716_981]
    # 60 s are left, of which 10 are kept to answer
    assert decision.outgoing[0].deadline_ms == GATE_MS + 250 + 49_000 + 1_000
    assert decision.outgoing[0].context["ttl"] == "PT49S"


@pytest.mark.parametrize(
    ("late_ms", "sends", "tells"),
    [
        pytest.param(56_000, ["confirm"], {}, id="4 s are left"),
        pytest.param(56_001, ["cancel"], {"T-1": "Declined", "T-2": "Declined"}, id="less"),
        pytest.param(60_001, ["cancel"], {"T-1": "Declined", "T-2": "Declined"}, id="none"),
    ],
)
def test_a_late_clearing_is_confirmed_in_time_or_not_at_all(
    late_ms: int, sends: list[str], tells: dict[str, str]
) -> None:
    now_ms = GATE_MS + late_ms
    decision = decide(Side.MARKET_SESSION, session(), Lapsed(), now_ms=now_ms, **with_both())
    assert (sent(decision), told(decision)) == (sends, tells)


@pytest.mark.parametrize("other", [state for state in TradeState if state is not S.CONFIRM_PENDING])
def test_only_a_commitment_takes_part(other: TradeState) -> None:
    decision = decide(Side.MARKET_SESSION, session(), Lapsed(), **with_both(load=other))
    assert (sent(decision), told(decision)) == (["cancel"], {"T-2": "Uncleared"})


def on_confirm(status: str = "ACTIVE") -> Received:
    return received(
        "on_confirm", with_status(granted(LOAD, LOAD_METER, LOAD_CURVE), status), "T-session"
    )


@pytest.mark.parametrize(
    ("leg_state", "status", "expected"),
    [
        (LegState.WAITING, "ACTIVE", {"T-1": "Cleared", "T-2": "Cleared"}),
        (LegState.ASKING, "ACTIVE", {"T-1": "Cleared", "T-2": "Cleared"}),
        (LegState.WAITING, "TERMINATED", {"T-1": "Declined", "T-2": "Declined"}),
    ],
)
def test_the_operators_answer_is_everybodys(
    leg_state: LegState, status: str, expected: dict[str, str]
) -> None:
    waiting = _cleared(session(S.CONFIRM_PENDING, leg_state, load=-4_716_981, roof=4_716_981))
    decision = decide(Side.MARKET_SESSION, waiting, on_confirm(status), **with_both())
    assert told(decision) == expected


@pytest.mark.parametrize(
    ("leg_state", "sends"), [(LegState.EXPIRED, ["cancel"]), (LegState.ANSWERED, [])]
)
def test_a_confirm_that_comes_when_all_is_over_is_undone_if_it_was_given_up(
    leg_state: LegState, sends: list[str]
) -> None:
    over = session(S.TERMINATED, leg_state)
    decision = decide(Side.MARKET_SESSION, over, on_confirm(), **with_both())
    assert (sent(decision), told(decision), decision.trade) == (sends, {}, None)


@pytest.mark.parametrize(
    "event",
    [
        NoAnswer(Action.CONFIRM, "older", acked=True),
        NotTaken(Action.CONFIRM, "older", {"code": "NET_X"}, unknown=False),
        NoAnswer(Action.INIT, "nobody's", acked=True),
        NoAnswer(Action.CANCEL, "m-1", acked=True),
    ],
    ids=["silence", "refusal", "an init nobody waits for", "a cancel"],
)
@pytest.mark.parametrize("state", [S.INITIATED, S.CONFIRMED, S.TERMINATED])
def test_what_is_of_no_concern_any_more_changes_nothing(event: Event, state: TradeState) -> None:
    assert decide(Side.MARKET_SESSION, session(state), event, **with_both()) == Decision()


def test_a_session_without_operator_lets_a_prosumer_in_at_once() -> None:
    request = OpenRequest(
        "init", "m-1", NOW + 30_000, {}, market_init(LOAD, LOAD_METER, LOAD_CURVE)
    )
    joins = Joins("T-session", "T-1", request, None)
    decision = decide(Side.MARKET_SESSION, None, joins, operator=None)
    assert (sent(decision), told(decision), decision.bind) == (
        [],
        {"T-1": "Reserved"},
        CONTRACT_ID,
    )
    assert decision.trade is not None
    assert (decision.trade.due_ms, decision.trade.leg) == (GATE_MS, None)


def test_a_session_forgets_those_who_gave_their_place_up() -> None:
    gone = tuple(Seat(f"T-old-{n}", LOAD, f"m-{n}") for n in range(100))
    request = OpenRequest("init", "m-1", NOW + 30_000, {}, granted(LOAD, LOAD_METER, LOAD_CURVE))
    crowded = replace(session(), seats=(*session().seats, *gone))
    joins = Joins("T-session", "T-1", request, OPERATOR)
    joined = decide(Side.MARKET_SESSION, crowded, joins, **with_both()).trade
    assert joined is not None
    assert [seat.transaction_id for seat in joined.seats] == ["T-2", "T-1"]


def test_a_share_that_is_over_is_told_once_more_only_as_news() -> None:
    running = session(S.CONFIRMED, LegState.ANSWERED, load=-4_716_981, roof=4_716_981)
    order = with_status(granted(LOAD, LOAD_METER, LOAD_CURVE), "COMPLETED")
    order["beckn:fulfillments"][0]["beckn:stops"][0]["beckn:location"]["beckn:address"] = LOAD_METER
    news = received("on_status", order, "T-session")
    first = decide(Side.MARKET_SESSION, running, news, **with_both())
    assert told(first) == {"T-1": "Reported"}
    assert first.trade is not None
    assert [seat.is_over for seat in first.trade.seats] == [True, False]
    assert first.trade.state == "CONFIRMED"


def _cleared(one: Trade) -> Trade:
    assert one.order is not None
    terms = contract(granted(LOAD, LOAD_METER, LOAD_CURVE))
    other = contract(granted(ROOF, ROOF_METER, ROOF_CURVE))["roles"][1]
    terms["roles"].insert(2, other)
    terms["roles"][0]["roleInputs"] |= {
        "clearingPrice": 0,
        "clearedPower": {LOAD: 0, ROOF: 0},
    }
    return replace(one, order={**one.order, "beckn:orderAttributes": terms})


def test_times_are_those_of_the_contract() -> None:
    assert format_instant(GATE_MS) == GATE
    assert all(state in REQUESTS["init"] for state in LIVING)
