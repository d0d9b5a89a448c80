"""A market towards its grid operator: one transaction for all prosumers of a delivery window.

Each init of a prosumer goes on as an init of its own; at the gate the curves of all who have
committed are cleared and one confirm makes that binding, for everybody or for nobody. Whom the
grid operator refuses is left out, and the rest is cleared again. Nobody is confirmed before the
grid operator has confirmed.
Source: contract specification, section 10; protocol specification, section 12; decision 0018.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import SECOND_MS, format_instant
from adapter.domain.market import CLEARING_MS
from adapter.domain.offers import MOST_PARTICIPANTS
from adapter.domain.parties import Side
from adapter.domain.quantities import to_micro
from adapter.domain.replace import replace
from adapter.domain.trade import (
    CascadeLeg,
    Ending,
    LegState,
    OpenRequest,
    Seat,
    Trade,
    TradeState,
)
from adapter.protocol.acks import error_object
from adapter.protocol.actions import Action
from adapter.protocol.cleared import cleared_keys, meter_of, nameless
from adapter.protocol.contract import CONTRACT_PATH, filled_role, inputs_of, open_role
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    Lapsed,
    NoAnswer,
    NotTaken,
    Received,
)
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers.cascade import STATUS_WAIT_MS
from adapter.protocol.handlers.cascade_errors import passed_on, silence_cause, unavailable
from adapter.protocol.handlers.cascade_requests import (
    ask_status,
    child_request,
    compensating_cancel,
    leg_of,
    opened,
    operator_order,
)
from adapter.protocol.handlers.market import is_living
from adapter.protocol.handlers.shared import (
    FINAL_RANK,
    RANKS,
    check_same_contract,
    current_order,
    news_step,
)
from adapter.protocol.lifecycle import Step, advance, is_final
from adapter.protocol.market_events import (
    Cleared,
    Declined,
    Joins,
    MarketEvent,
    Reported,
    Reserved,
    Uncleared,
)
from adapter.protocol.market_orders import (
    APPROVED,
    Entry,
    Share,
    cleared_contract,
    common_operator,
    gate_of,
    is_tradable,
    offered_curve,
    prosumer_of,
    share_fulfillment,
    with_roles,
)
from adapter.protocol.market_view import AGENT, OPERATOR
from adapter.protocol.orders import contract_of, with_contract, with_status
from adapter.protocol.share_refusals import own_refusal, refused_meters

Tells = tuple[tuple[Side, str, MarketEvent], ...]
Member = tuple[Seat, Trade]
"""A seat and the trade of the prosumer that has it."""


def decide(trade: Trade | None, event: Event, facts: Facts) -> Decision:
    """Return what follows from `event`; see `handlers.decide`."""
    if isinstance(event, Joins):
        return _join(trade, event, facts)
    assert trade is not None
    match event:
        case Lapsed():
            return _close(trade, facts)
        case Received(envelope):
            return _CALLBACKS[envelope.action](trade, envelope, facts)
        case NoAnswer(Action.INIT, message_id, acked):
            error = unavailable("it did not answer in time", silence_cause(acked=acked))
            return _refuse_init(trade, message_id, error)
        case NotTaken(Action.INIT, message_id, refusal):
            return _refuse_init(trade, message_id, passed_on(refusal))
        case NoAnswer(action, message_id) if _is_current(trade, message_id):
            return _silent(trade, action, facts)
        case NotTaken(action, message_id, refusal) if _is_current(trade, message_id):
            is_confirm = action is Action.CONFIRM
            return _refused(trade, refusal, facts) if is_confirm else _silent(trade, action, facts)
        case _:
            return Decision()


# A prosumer joins


def _join(trade: Trade | None, event: Joins, facts: Facts) -> Decision:
    """Take a prosumer in, and ask the grid operator to hold room for it."""
    order = event.request.order
    assert order is not None
    contract, entry = contract_of(order), prosumer_of(order)
    bind = contract["contractId"] if trade is None else None
    joined = advance(trade or _opened(event, contract, facts), Step.INIT)
    seat = Seat(event.transaction_id, str(entry["filledBy"]), meter_of(entry))
    others = _others(joined.seats, seat, facts)
    if event.operator is None:
        tells = _tell([seat], Reserved(None, None, None))
        return Decision(replace(joined, seats=(*others, seat)), tells=tells, bind=bind)
    terms = with_roles(_terms(joined), (entry, open_role(OPERATOR)))
    child = operator_order(_about(joined, (entry,)), terms, event.operator, facts)
    asked = child_request(
        Action.INIT, event.operator, joined.transaction_id, event.request, child, facts
    )
    leg = CascadeLeg(
        event.operator,
        joined.transaction_id,
        str(joined.contract_id),
        child["beckn:id"],
        LegState.WAITING,
        opened(asked),
        {} if joined.leg is None else joined.leg.role_inputs,
    )
    seat = replace(seat, message_id=asked.context["message_id"])
    return Decision(replace(joined, seats=(*others, seat), leg=leg), (asked,), bind=bind)


def _others(seats: Sequence[Seat], seat: Seat, facts: Facts) -> tuple[Seat, ...]:
    """Return the seats beside a new one: not the same prosumer's, nor what had the meter before."""
    others = [
        other
        for other in seats
        if other.transaction_id != seat.transaction_id and other.meter_id != seat.meter_id
    ]
    if len(others) >= MOST_PARTICIPANTS:  # those that were given up make room
        others = [other for other in others if is_living(other, facts)]
    return tuple(others)


def _opened(event: Joins, contract: Mapping[str, Any], facts: Facts) -> Trade:
    """Return the session of a market that nobody has joined yet."""
    order = {"beckn:id": f"order-{contract['contractId']}"}
    return Trade(
        Side.MARKET_SESSION,
        event.session_id,
        event.operator or facts.me.as_bpp,
        "draft",
        order=with_contract(order, with_roles(contract, ())),
        contract_id=contract["contractId"],
        terms_until_ms=gate_of(contract),
    )


def _terms(trade: Trade) -> Mapping[str, Any]:
    return contract_of(current_order(trade))


def _about(trade: Trade, entries: Iterable[Entry]) -> dict[str, Any]:
    """Return an order with a fulfilment for each of some prosumers."""
    terms = _terms(trade)
    fulfillments = [share_fulfillment(entry, terms) for entry in entries]
    return {**current_order(trade), "beckn:fulfillments": fulfillments}


def _on_init(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Tell a prosumer's trade what the grid operator holds for it; a late answer is ignored.

    What it holds then lapses by itself: a cancel would be about everybody.
    """
    del facts
    if envelope.error is not None:
        return _refuse_init(trade, envelope.message_id, passed_on(envelope.error))
    check_same_contract(envelope.order, trade.contract_id)
    inputs = inputs_of(envelope.contract, OPERATOR)
    if not inputs:
        return _refuse_init(trade, envelope.message_id, unavailable("it named no terms"))
    seat = _asked_for(trade, envelope.message_id)
    if seat is None:
        return Decision()
    leg = replace(leg_of(trade), role_inputs=inputs)
    role = filled_role(OPERATOR, leg.operator.subscriber_id, inputs)
    approved = (envelope.contract.get("inputParameters") or {}).get(APPROVED)
    reserved = _with_seat(replace(trade, leg=leg), replace(seat, message_id=""))
    return Decision(reserved, tells=_tell([seat], Reserved(role, approved, envelope.deadline_ms)))


def _refuse_init(trade: Trade, message_id: str, error: WireError) -> Decision:
    seat = _asked_for(trade, message_id)
    if seat is None:
        return Decision()
    return Decision(
        _with_seat(trade, replace(seat, message_id="")), tells=_tell([seat], Declined(error))
    )


def _asked_for(trade: Trade, message_id: str) -> Seat | None:
    """Return the seat about which an init was sent."""
    return next((seat for seat in trade.seats if seat.message_id == message_id), None)


def _with_seat(trade: Trade, changed: Seat) -> Trade:
    seats = [
        changed if seat.transaction_id == changed.transaction_id else seat for seat in trade.seats
    ]
    return replace(trade, seats=tuple(seats))


# The gate


def _close(trade: Trade, facts: Facts) -> Decision:
    """Clear what was committed, if there is still time to have it confirmed."""
    gate_ms = gate_of(_terms(trade))
    members = _committed(trade, facts)
    if facts.now_ms > gate_ms + CLEARING_MS:
        msg = f"the market closed {format_instant(gate_ms)} and could not clear in time"
        return _fail(trade, members, WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg), facts)
    late = [seat for seat, own in members if facts.now_ms > _deadline_ms(own)]
    in_time = [member for member in members if member[0] not in late]
    alike = nameless((seat.platform, seat.meter_id) for seat, _ in in_time)
    clearing = [member for member in in_time if member[0].meter_id not in alike]
    cleared = _clear(trade, clearing, facts)
    msg = "the commitment ended before the market cleared"
    expired = _tell(late, Declined(WireError("CTX_TTL_EXPIRED", msg, path="$.context.ttl")))
    msg = "others took part under the names of this meter and of this platform"
    unnamed = _tell(
        [seat for seat, _ in in_time if seat.meter_id in alike],
        Declined(WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=f"{CONTRACT_PATH}.roles")),
    )
    return replace(cleared, tells=(*expired, *unnamed, *cleared.tells))


def _committed(trade: Trade, facts: Facts) -> list[Member]:
    found = ((seat, facts.market_trade(seat.transaction_id)) for seat in trade.seats)
    return [
        (seat, own)
        for seat, own in found
        if own is not None and own.state is TradeState.CONFIRM_PENDING
    ]


def _deadline_ms(own: Trade) -> int:
    assert own.request is not None
    return own.request.deadline_ms


def _clear(trade: Trade, members: Sequence[Member], facts: Facts) -> Decision:
    """Clear the curves of some, and have it confirmed; or end without volume.

    At a price of nothing, or of which the fee leaves an export less than nothing, nobody trades.
    """
    assert facts.clear_curves is not None
    curves = {
        seat.meter_id: offered_curve(contract_of(current_order(own))) for seat, own in members
    }
    found = facts.clear_curves({meter: curve for meter, curve in curves.items() if curve})
    trades = {seat.transaction_id for seat, _ in members}
    seats = tuple(
        replace(
            seat,
            power_micro_kw=found.power_micro_kw.get(seat.meter_id, 0)
            if seat.transaction_id in trades
            else 0,
        )
        for seat in trade.seats
    )
    shares = [
        Share(prosumer_of(current_order(own)), _operator_inputs(own), power)
        for seat, own in members
        if (power := found.power_micro_kw.get(seat.meter_id, 0))
    ]
    if not shares or not is_tradable(found.price_micro, _terms(trade)):
        return _end(trade, _tell([seat for seat, _ in members], Uncleared()), facts)
    assert found.price_micro is not None
    cleared = replace(advance(trade, Step.CONFIRM), seats=seats)
    if trade.leg is None:
        contract = cleared_contract(_terms(trade), shares, found.price_micro, None)
        order = with_contract(_about(cleared, [share.entry for share in shares]), contract)
        return _conclude(replace(cleared, order=order), facts.now_ms, facts)
    return _ask_confirm(cleared, shares, found.price_micro, facts)


def _operator_inputs(own: Trade) -> Mapping[str, Any]:
    return inputs_of(contract_of(current_order(own)), OPERATOR)


def _ask_confirm(trade: Trade, shares: Sequence[Share], price_micro: int, facts: Facts) -> Decision:
    """Send the one confirm about everybody who trades."""
    leg = leg_of(trade)
    role = common_operator(leg.operator.subscriber_id, leg.role_inputs, shares)
    contract = cleared_contract(_terms(trade), shares, price_micro, role)
    order = with_contract(_about(trade, [share.entry for share in shares]), contract)
    child = operator_order(order, contract, leg.operator, facts)
    whole = OpenRequest(Action.CONFIRM.value, "", gate_of(contract) + CLEARING_MS)
    try:
        asked = child_request(Action.CONFIRM, leg.operator, leg.transaction_id, whole, child, facts)
    except WireError as error:  # no time is left
        return _fail(trade, _committed(trade, facts), passed_on(error_object(error)), facts)
    waiting = replace(leg, state=LegState.WAITING, request=opened(asked))
    return Decision(replace(trade, leg=waiting, order=order), (asked,))


# What the grid operator makes of it


def _on_confirm(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    check_same_contract(envelope.order, trade.contract_id)
    leg = leg_of(trade)
    if trade.state is not TradeState.CONFIRM_PENDING:
        late = leg.state is LegState.EXPIRED and envelope.error is None
        return Decision(outgoing=(compensating_cancel(trade, facts),) if late else ())
    if leg.state is not LegState.ASKING and not _is_current(trade, envelope.message_id):
        return Decision()
    if envelope.error is not None:
        return _refused(trade, envelope.error, facts)
    if envelope.contract.get("status") != "ACTIVE":
        error = unavailable("it did not activate")
        return _fail(trade, _committed(trade, facts), error, facts)
    return _conclude(trade, envelope.timestamp_ms, facts)


def _conclude(trade: Trade, at_ms: int, facts: Facts) -> Decision:
    """Tell everybody: the contract is in force for those who trade, over for the others."""
    contract = {**_terms(trade), "status": "ACTIVE"}
    keys, price = cleared_keys(contract), inputs_of(contract, AGENT)["clearingPrice"]
    tells: list[tuple[Side, str, MarketEvent]] = []
    for seat, _ in _committed(trade, facts):
        if seat.power_micro_kw:
            key = keys[seat.meter_id]
            cleared = Cleared(to_micro(price), seat.power_micro_kw, key, at_ms)
            tells += _tell([seat], cleared)
        else:
            tells += _tell([seat], Uncleared())
    confirmed = replace(
        advance(trade, Step.ON_CONFIRM),
        order=with_contract(current_order(trade), contract),
        leg=None if trade.leg is None else replace(trade.leg, state=LegState.ANSWERED),
        terms_until_ms=None,
        seats=tuple(replace(seat, is_over=not seat.power_micro_kw) for seat in trade.seats),
    )
    return Decision(confirmed, tells=tuple(tells))


def _refused(trade: Trade, refusal: Mapping[str, Any], facts: Facts) -> Decision:
    """Clear again without those who are the reason; without a reason it is over for all."""
    members = _committed(trade, facts)
    meters = refused_meters(refusal)
    gone = [seat for seat, _ in members if seat.power_micro_kw and seat.meter_id in meters]
    if not gone:
        return _fail(trade, members, passed_on(refusal), facts)
    again = _clear(trade, [member for member in members if member[0] not in gone], facts)
    told = [
        _tell([seat], Declined(passed_on(own_refusal(refusal, seat.meter_id)))) for seat in gone
    ]
    return replace(again, tells=(*chain.from_iterable(told), *again.tells))


def _silent(trade: Trade, action: Action, facts: Facts) -> Decision:
    """Ask what became of an unanswered confirm; give up when that is not answered either."""
    if trade.state is not TradeState.CONFIRM_PENDING:
        return Decision()
    until_ms = gate_of(_terms(trade)) + CLEARING_MS
    wait_ms = min(STATUS_WAIT_MS, until_ms - SECOND_MS - facts.now_ms)
    if action is Action.CONFIRM and wait_ms > 0:
        return ask_status(trade, wait_ms, facts)
    error = unavailable("it did not answer in time", silence_cause(acked=True))
    return _fail(trade, _committed(trade, facts), error, facts)


def _fail(trade: Trade, members: Sequence[Member], error: WireError, facts: Facts) -> Decision:
    """End without a trade, and say why."""
    return _end(trade, _tell([seat for seat, _ in members], Declined(error)), facts)


def _end(trade: Trade, tells: Tells, facts: Facts) -> Decision:
    """End without a trade, and release what the grid operator may hold or have confirmed."""
    ended = replace(
        advance(trade, Step.TERMINATE),
        order=with_status(current_order(trade), "TERMINATED"),
        ended=Ending.FAILED,
    )
    if trade.leg is None:
        return Decision(ended, tells=tells)
    ended = replace(ended, leg=replace(trade.leg, state=LegState.EXPIRED))
    holds = bool(trade.leg.role_inputs)  # it has answered some init
    return Decision(ended, (compensating_cancel(ended, facts),) if holds else (), tells=tells)


# News


def _on_news(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Pass news about a share on to its prosumer's trade; or learn what became of a confirm."""
    if trade.state is TradeState.CONFIRM_PENDING:
        return _found(trade, envelope, facts)
    if envelope.error is not None:
        return Decision()
    check_same_contract(envelope.order, trade.contract_id)
    meters = _meters(envelope.order)
    seats = [seat for seat in trade.seats if seat.power_micro_kw and seat.meter_id in meters]
    return _report(trade, seats[:1], envelope)


def _found(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Take the status of an unanswered confirm: it held, or it did not."""
    if leg_of(trade).state is not LegState.ASKING:
        return Decision()
    if envelope.error is None:
        check_same_contract(envelope.order, trade.contract_id)
        if news_step(envelope.order) in (Step.ACTIVATE, Step.DELIVER):
            return _conclude(trade, envelope.timestamp_ms, facts)
    return _silent(trade, Action.STATUS, facts)


def _on_cancel(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Tell everybody when the grid operator cancels what it had confirmed."""
    del facts
    if envelope.error is not None or trade.state is not TradeState.CONFIRMED:
        return Decision()
    check_same_contract(envelope.order, trade.contract_id)
    return _report(trade, [seat for seat in trade.seats if not seat.is_over], envelope)


def _report(trade: Trade, seats: Sequence[Seat], envelope: Envelope) -> Decision:
    """Tell trades what the grid operator says; the session ends with the last share."""
    tells = _tell(seats, Reported(envelope))
    if RANKS.get(str(envelope.contract.get("status"))) != FINAL_RANK or is_final(trade):
        return Decision(tells=tells)
    for seat in seats:
        trade = _with_seat(trade, replace(seat, is_over=True))
    if all(seat.is_over for seat in trade.seats):
        order = with_status(current_order(trade), "COMPLETED")
        trade = replace(advance(trade, Step.COMPLETE), order=order)
    return Decision(trade, tells=tells)


def _meters(order: Mapping[str, Any]) -> set[str]:
    """Return the meters at which an order delivers."""
    return {
        str((stop.get("beckn:location") or {}).get("beckn:address"))
        for fulfillment in order.get("beckn:fulfillments") or ()
        for stop in fulfillment.get("beckn:stops") or ()
    }


def _is_current(trade: Trade, message_id: str) -> bool:
    return trade.leg is not None and trade.leg.request.message_id == message_id


def _tell(seats: Iterable[Seat], event: MarketEvent) -> Tells:
    return tuple((Side.MARKET, seat.transaction_id, event) for seat in seats)


_CALLBACKS = {
    Action.ON_INIT: _on_init,
    Action.ON_CONFIRM: _on_confirm,
    Action.ON_CANCEL: _on_cancel,
    Action.ON_STATUS: _on_news,
    Action.ON_UPDATE: _on_news,
}
