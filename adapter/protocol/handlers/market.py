"""A market towards one prosumer's app: its init, its commitment, and what became of it.

A confirm before the gate is a commitment: it is acknowledged, and answered once the market has
cleared. What goes to the grid operator goes by the session (`market_session`), of which the trade
is told. Source: contract specification, sections 5 and 10; protocol specification, section 12;
decision 0018.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import SECOND_MS, format_instant
from adapter.domain.market import CLEARING_MS
from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Ending, OpenRequest, Seat, Trade, TradeState
from adapter.protocol.actions import Action
from adapter.protocol.cleared import meter_of
from adapter.protocol.contexts import base_of
from adapter.protocol.contract import CONTRACT_PATH, inputs_of
from adapter.protocol.decision import Decision, Event, Facts, Lapsed, Received
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers.discovery import answer_discover
from adapter.protocol.handlers.shared import (
    ACTIVE_RANK,
    answer,
    answer_error,
    applied,
    begun,
    cancelled_twice,
    check_confirmable,
    check_order_known,
    check_same_terms,
    current_order,
    flagged_end,
    inconsistent,
    is_late,
    news_step,
    open_request,
    push,
    refuse_while_pending,
)
from adapter.protocol.lifecycle import Step, advance, allows, illegal, is_final
from adapter.protocol.market_catalogue import (
    check_market_order,
    check_parameters,
    market_contract,
    market_place,
    own_prosumer,
)
from adapter.protocol.market_events import Cleared, Declined, Joins, Reported, Reserved, Uncleared
from adapter.protocol.market_orders import (
    approved_range,
    bytes_of,
    gate_of,
    offered_curve,
    place_bytes,
    prosumer_of,
    with_approval,
    with_clearing,
    with_share_quote,
)
from adapter.protocol.market_view import AGENT, OPERATOR, PROSUMER
from adapter.protocol.orders import (
    contract_of,
    delivery_of,
    with_contract,
    with_delivery,
    with_status,
    without,
)
from adapter.protocol.rules.exact import shown

LIVING = frozenset({TradeState.INIT_PENDING, TradeState.INITIATED, TradeState.CONFIRM_PENDING})
"""States in which a prosumer has a place in a market that has not closed."""
_MINE = (PROSUMER, OPERATOR)
_ROLES = f"{CONTRACT_PATH}.roles"


def decide(trade: Trade | None, event: Event, facts: Facts) -> Decision:
    """Return what follows from `event`; see `handlers.decide`."""
    if isinstance(event, Received):
        return _REQUESTS[event.envelope.action](trade, event.envelope, facts)
    assert trade is not None
    match event:
        case Reserved():
            return _reserved(trade, event, facts)
        case Declined(error):
            return _declined(trade, error, facts)
        case Cleared():
            return _cleared(trade, event, facts)
        case Uncleared():
            return _uncleared(trade, facts)
        case Reported(envelope):
            return _reported(trade, envelope, facts)
        case Lapsed():
            order = with_status(current_order(trade), "TERMINATED")
            return Decision(replace(advance(trade, Step.LAPSE), ended=Ending.LAPSED, order=order))
        case _:
            raise AssertionError(event)


# Requests


def _select(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    """Refuse: there is nothing to choose in a market, and no price before it clears."""
    raise illegal(_opened(trade, envelope, facts), "select")


def _init(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    trade = _opened(trade, envelope, facts)
    refuse_while_pending(trade, "init")
    pending = advance(trade, Step.INIT)
    cascades = facts.operator is not None
    offer = check_market_order(
        envelope.order, facts.offers, facts.me, cascades=cascades, now_ms=facts.now_ms
    )
    _check_operator_open(trade, envelope)
    entry = own_prosumer(envelope.contract, trade.peer.subscriber_id, offer.currency)
    contract = market_contract(offer, facts.me, cascades=cascades)
    contract["roles"] = [contract["roles"][0], dict(entry)]
    order = with_contract(without(envelope.order, "beckn:quote"), contract)
    most = market_place(offer).most_participants
    _check_seat(pending, order, most, facts)
    session = facts.session
    session_id = facts.new_id() if session is None else session.transaction_id
    request = open_request(envelope, facts, order)
    joins = Joins(session_id, trade.transaction_id, request, facts.operator)
    pending = replace(
        pending, contract_id=contract["contractId"], request=request, session_id=session_id
    )
    return Decision(pending, tells=((Side.MARKET_SESSION, session_id, joins),))


def _check_operator_open(trade: Trade, envelope: Envelope) -> None:
    """Nobody names the grid operator's terms but the grid operator (R1)."""
    given = inputs_of(envelope.contract, OPERATOR)
    if given and given != inputs_of(contract_of(current_order(trade)), OPERATOR):
        msg = f"{OPERATOR} inputs are set by the grid operator alone"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=_ROLES)


def _check_seat(trade: Trade, order: Mapping[str, Any], most: int, facts: Facts) -> None:
    """Refuse who does not fit into the market beside those who are in it already.

    Raises:
        WireError: BIZ_QUOTE_EXPIRED_OR_CHANGED, it has cleared; BIZ_UPDATE_INCONSISTENT, the
            meter takes part already; BIZ_QUANTITY_UNAVAILABLE, it is full;
            SCH_ATTRIBUTE_PACK_INVALID, the curve is too long, or others have the meter's name and
            the platform's, so that no key of clearedPower would be this prosumer's alone.
    """
    contract, entry = contract_of(order), prosumer_of(order)
    platform, meter = str(entry["filledBy"]), meter_of(entry)
    _check_open(facts)
    size, room = bytes_of(entry, contract), place_bytes(most)
    if size > room:
        msg = f"the {PROSUMER} takes {size} bytes of the market's confirm, {room} are allowed"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=_ROLES)
    seats = () if facts.session is None else facts.session.seats
    others = [seat for seat in seats if seat.transaction_id != trade.transaction_id]
    namesakes = _living_named(meter, others, facts)
    if any(seat.meter_id == meter for seat in namesakes):
        msg = f"meter {meter[:60]!r} takes part already, under another transaction"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=_ROLES)
    if namesakes and _living_named(platform, others, facts):
        msg = f"others take part under both names, {meter[:40]!r} and {platform!r}"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=_ROLES)
    if len(others) >= most and sum(is_living(seat, facts) for seat in others) >= most:
        msg = f"the market has its {most} participants"
        raise WireError("BIZ_QUANTITY_UNAVAILABLE", msg, path=_ROLES)


def _living_named(name: str, seats: Sequence[Seat], facts: Facts) -> list[Seat]:
    """Return who has a name, as platform or as meter, and may still take part."""
    named = (seat for seat in seats if name in (seat.platform, seat.meter_id))
    return [seat for seat in named if is_living(seat, facts)]


def is_living(seat: Seat, facts: Facts) -> bool:
    """Return whether the prosumer of a seat may still take part."""
    trade = facts.market_trade(seat.transaction_id)
    return trade is not None and trade.state in LIVING


def _check_open(facts: Facts) -> None:
    if facts.session is not None and facts.session.state is not TradeState.INITIATED:
        msg = "the market has cleared"
        raise WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg, path="$.context.timestamp")


def _confirm(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    """Take a commitment; it is answered when the market has cleared."""
    assert trade is not None
    check_confirmable(trade, facts.now_ms)
    _check_open(facts)
    agreed = current_order(trade)
    check_same_terms(envelope.order, agreed, _MINE)
    contract, terms = envelope.contract, contract_of(agreed)
    if inputs_of(contract, AGENT) != inputs_of(terms, AGENT):
        raise inconsistent(AGENT, inputs_of(terms, AGENT), _ROLES)
    check_parameters(contract, terms["inputParameters"])
    gate_ms = gate_of(terms)
    until_ms = gate_ms + CLEARING_MS
    if envelope.deadline_ms is not None and envelope.deadline_ms < gate_ms:
        msg = f"the confirm ends before the market closes {format_instant(gate_ms)}"
        raise WireError("CTX_TTL_EXPIRED", msg, path="$.context.ttl")
    request = open_request(envelope, facts, agreed)
    if envelope.deadline_ms is None:
        request = replace(request, deadline_ms=until_ms)
    return Decision(replace(advance(trade, Step.CONFIRM), request=request))


def _cancel(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    """End a trade that is not committed; its reservation lapses with the market's."""
    assert trade is not None
    if trade.ended is Ending.CANCELLED:
        return Decision(notice=cancelled_twice(trade))
    refuse_while_pending(trade, "cancel")
    check_order_known(trade, envelope)
    request = open_request(envelope, facts)
    if trade.state is TradeState.CONFIRMED:
        msg = f"others trade by the same clearing as contract {trade.contract_id}"
        error = WireError("POL_CANCELLATION_NOT_ALLOWED", msg, path="$.context.action")
        return Decision(trade, (answer_error(trade, request, facts, error),))
    if trade.state is TradeState.DELIVERING:
        return Decision(trade, (answer_error(trade, request, facts, begun(trade)),))
    cancelled = replace(
        advance(trade, Step.CANCEL),
        ended=Ending.CANCELLED,
        order=with_status(current_order(trade), "TERMINATED"),
    )
    return Decision(cancelled, (answer(request, facts, order=cancelled.order),))


def _status(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    assert trade is not None
    check_order_known(trade, envelope)
    reply = answer(open_request(envelope, facts), facts, order=current_order(trade))
    return Decision(outgoing=(reply,))


def _opened(trade: Trade | None, envelope: Envelope, facts: Facts) -> Trade:
    if trade is None:
        trade = Trade(Side.MARKET, envelope.transaction_id, envelope.bap, envelope.dialect)
    return replace(trade, context=base_of(envelope.context, facts.me.as_bpp))


# What the session tells


def _reserved(trade: Trade, event: Reserved, facts: Facts) -> Decision:
    """Answer the init: the terms are complete, and stand until the gate."""
    if not allows(trade, Step.ON_INIT):
        return Decision()
    request = _pending(trade)
    assert request.order is not None
    order = with_approval(request.order, event.role, event.approved_kw)
    contract = contract_of(order)
    gate_ms = gate_of(contract)
    if facts.now_ms > gate_ms:
        msg = f"the market closed {format_instant(gate_ms)}"
        return _declined(trade, WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg), facts)
    if offered_curve(contract) is None:
        low, high = approved_range(contract)
        msg = f"{shown(low)} to {shown(high)} kW are approved, of which the curve offers nothing"
        return _declined(trade, WireError("BIZ_QUANTITY_UNAVAILABLE", msg, path=_ROLES), facts)
    until_ms = gate_ms if event.until_ms is None else min(gate_ms, event.until_ms)
    initiated = replace(
        advance(trade, Step.ON_INIT), request=None, order=order, terms_until_ms=until_ms
    )
    ttl_ms = max(until_ms - facts.now_ms, SECOND_MS)
    reply = answer(request, facts, order=order, ttl_ms=ttl_ms, expires_ms=until_ms)
    return Decision(initiated, (reply,))


def _declined(trade: Trade, error: WireError, facts: Facts) -> Decision:
    """Answer the pending init or commitment with an error; a commitment's terms lapse."""
    if not allows(trade, Step.FAIL):
        return Decision()
    request = _pending(trade)
    failed = replace(advance(trade, Step.FAIL), request=None)
    if trade.state is TradeState.CONFIRM_PENDING:
        failed = replace(failed, terms_until_ms=facts.now_ms - 1)
    return Decision(failed, (answer_error(failed, request, facts, error),))


def _cleared(trade: Trade, event: Cleared, facts: Facts) -> Decision:
    """Answer the commitment: the contract is in force, in the participant's own view."""
    request = _pending(trade)
    agreed = current_order(trade)
    powers = {event.key: event.power_micro_kw}
    contract = with_clearing(contract_of(agreed), event.price_micro_per_kwh, powers)
    order = with_delivery(with_contract(agreed, contract), status="ACTIVE", state="PENDING")
    if event.power_micro_kw < 0:
        order = with_share_quote(order, event.key)
    confirmed = replace(
        advance(trade, Step.ON_CONFIRM),
        request=None,
        order=order,
        terms_until_ms=None,
        applied_rank=ACTIVE_RANK,
        applied_ms=event.at_ms,
    )
    return Decision(confirmed, (answer(request, facts, order=order),))


def _uncleared(trade: Trade, facts: Facts) -> Decision:
    """Answer the commitment: the market closed without anything for this curve."""
    request = _pending(trade)
    order = with_status(current_order(trade), "TERMINATED")
    ended = replace(advance(trade, Step.TERMINATE), request=None, order=order, ended=Ending.FAILED)
    return Decision(ended, (answer(request, facts, order=order),))


def _reported(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Apply the grid operator's news about this share and pass it on."""
    step = news_step(envelope.order)
    early = trade.request is not None  # what cleared is told before how it goes on
    if early or is_late(trade, envelope) or not allows(trade, step):
        return Decision(flagged_end(trade, step) if is_final(trade) else None)
    if step is Step.ACTIVATE and trade.applied_rank == ACTIVE_RANK:
        return Decision(applied(trade, envelope))
    state, delivery = delivery_of(envelope.order)
    order = with_delivery(
        current_order(trade),
        status=str(envelope.contract.get("status")),
        state=state,
        delivery=delivery,
    )
    moved = applied(replace(advance(trade, step), order=order), envelope)
    if step is Step.TERMINATE:
        moved = replace(moved, ended=Ending.FAILED)
    return Decision(moved, (push(moved, Action.ON_STATUS, facts),))


def _pending(trade: Trade) -> OpenRequest:
    assert trade.request is not None
    return trade.request


_REQUESTS = {
    Action.DISCOVER: answer_discover,
    Action.SELECT: _select,
    Action.INIT: _init,
    Action.CONFIRM: _confirm,
    Action.CANCEL: _cancel,
    Action.STATUS: _status,
}
