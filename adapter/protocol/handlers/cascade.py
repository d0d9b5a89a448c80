"""The seller's platform as BAP towards its grid operator: one leg per trade.

A leg is a transaction of its own about the same contract. Its callbacks, deadlines and refusals
move the parent trade; what the operator decided about caps and cash reaches the buyer with the
same code. Source: protocol specification, section 12 and R5 to R8.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import SECOND_MS
from adapter.domain.quantities import Energy
from adapter.domain.replace import replace
from adapter.domain.trade import (
    Ending,
    LegState,
    StockTaken,
    Trade,
    TradeState,
)
from adapter.protocol.actions import Action
from adapter.protocol.contexts import (
    TERMS_TTL_MS,
)
from adapter.protocol.contract import (
    filled_role,
    inputs_of,
    read_terms,
    with_role,
)
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    NoAnswer,
    NotTaken,
    Received,
    StockChange,
)
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers.cascade_errors import (
    over_cap,
    passed_on,
    room_left,
    silence_cause,
    unavailable,
)
from adapter.protocol.handlers.cascade_requests import (
    ask_status,
    compensating_cancel,
    leg_of,
    parent_of,
)
from adapter.protocol.handlers.shared import (
    ACTIVE_RANK,
    answer,
    answer_error,
    applied,
    check_same_contract,
    current_order,
    flagged_end,
    is_late,
    news_step,
    push,
)
from adapter.protocol.lifecycle import Step, advance, allows, is_final
from adapter.protocol.orders import (
    OFFERS,
    contract_of,
    delivery_of,
    energy_lines,
    first_id,
    item_energy,
    wheeling_line,
    wheeling_price,
    with_contract,
    with_delivery,
    with_quote,
    with_status,
)

STATUS_WAIT_MS = 5 * SECOND_MS
"""How long the status of an unanswered confirm is waited for."""


def decide(trade: Trade, event: Event, facts: Facts) -> Decision:
    """Return what follows from an event on the leg of `trade`."""
    match event:
        case Received(envelope):
            return _CALLBACKS[envelope.action](trade, envelope, facts)
        case NoAnswer(action, message_id, acked):
            if not _is_current(trade, message_id):
                return Decision()
            return _SILENCE[action](trade, acked, facts)
        case NotTaken(action, message_id, error):
            if not _is_current(trade, message_id):
                return Decision()
            return _REFUSALS[action](trade, error, facts)
        case _:
            raise AssertionError(event)


# Answers of the operator


def _on_init(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if not _is_current(trade, envelope.message_id):
        return Decision()
    check_same_contract(envelope.order, trade.contract_id)
    leg = leg_of(trade)
    if leg.state is LegState.EXPIRED:
        return _undo(trade, envelope, facts)
    if envelope.error is not None:
        return _fail_init(trade, envelope.error, facts)
    inputs = inputs_of(envelope.contract, "GRID_OPERATOR")
    parent = parent_of(trade)
    assert parent.order is not None
    role = filled_role("GRID_OPERATOR", leg.operator.subscriber_id, inputs)
    contract = with_role(contract_of(parent.order), role)
    terms = read_terms(contract, time_zone=facts.time_zone)
    room = room_left(inputs)
    if terms.energy > room:
        return _fail_init(trade, over_cap(terms.energy, room), facts)
    order = with_quote(
        with_contract(parent.order, contract),
        *energy_lines(terms.energy, terms.price, terms.window),
        wheeling_line(terms.energy, wheeling_price(contract)),
    )
    until_ms = facts.now_ms + TERMS_TTL_MS
    if envelope.deadline_ms is not None:
        until_ms = min(until_ms, envelope.deadline_ms)
    answered = _answered(trade)
    answered = replace(answered, leg=replace(leg_of(answered), role_inputs=inputs))
    return initiate(answered, order, until_ms, facts)


def initiate(trade: Trade, order: Mapping[str, Any], until_ms: int, facts: Facts) -> Decision:
    """Answer the pending init: the terms are complete."""
    request = parent_of(trade)
    kept, stock = keep_stock(trade, item_energy(order))
    initiated = replace(
        advance(kept, Step.ON_INIT), request=None, order=order, terms_until_ms=until_ms
    )
    reply = answer(
        request,
        facts,
        order=order,
        ttl_ms=max(until_ms - facts.now_ms, SECOND_MS),
        expires_ms=until_ms,
    )
    return Decision(initiated, (reply,), stock=stock)


def _on_confirm(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    check_same_contract(envelope.order, trade.contract_id)
    state = leg_of(trade).state
    if state is LegState.EXPIRED:
        return _undo(trade, envelope, facts)
    if state is not LegState.ASKING and not _is_current(trade, envelope.message_id):
        return Decision()
    if envelope.error is not None:
        return _fail_confirm(_answered(trade), passed_on(envelope.error), facts)
    if envelope.contract.get("status") != "ACTIVE":
        return _fail_confirm(_answered(trade), unavailable("it did not activate"), facts)
    return conclude_confirm(applied(_answered(trade), envelope), facts)


def conclude_confirm(trade: Trade, facts: Facts) -> Decision:
    """Answer the pending confirm: the contract is active."""
    request = parent_of(trade)
    order = with_delivery(current_order(trade), status="ACTIVE", state="PENDING")
    confirmed = replace(
        advance(trade, Step.ON_CONFIRM), request=None, order=order, terms_until_ms=None
    )
    return Decision(confirmed, (answer(request, facts, order=order),))


def _on_cancel(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    check_same_contract(envelope.order, trade.contract_id)
    mine = _is_current(trade, envelope.message_id)
    if envelope.error is not None:
        if trade.request is None or not mine:
            return Decision()
        return _fail_cancel(_answered(trade), passed_on(envelope.error), facts)
    undone = leg_of(trade).state is LegState.EXPIRED and not mine
    if undone or not allows(trade, Step.CANCEL):
        return Decision()
    return conclude_cancel(_answered(trade), facts)


def conclude_cancel(trade: Trade, facts: Facts) -> Decision:
    """End a cancelled trade and tell the buyer, who asked for it or not."""
    request = trade.request
    order = with_status(current_order(trade), "TERMINATED")
    ended = replace(
        advance(trade, Step.CANCEL),
        request=None,
        order=order,
        ended=Ending.CANCELLED,
        stock=None,
    )
    if request is not None and request.action == Action.CANCEL:
        told = answer(request, facts, order=order)
    else:
        told = push(ended, Action.ON_CANCEL, facts)
    return Decision(ended, (told,), stock=give_back(trade))


def _on_news(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Apply an on_status or on_update of the operator and pass it on."""
    leg = leg_of(trade)
    if envelope.error is not None:
        return Decision()
    check_same_contract(envelope.order, trade.contract_id)
    step = news_step(envelope.order)
    if leg.state is LegState.ASKING:
        return _confirm_found(trade, envelope, step, facts)
    if is_late(trade, envelope) or not allows(trade, step):
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
    stock: tuple[StockChange, ...] = ()
    if step is Step.TERMINATE:
        stock = give_back(trade)
        moved = replace(moved, ended=Ending.FAILED, stock=None, request=None)
    return Decision(moved, (push(moved, Action.ON_STATUS, facts),), stock=stock)


def _confirm_found(trade: Trade, envelope: Envelope, step: Step, facts: Facts) -> Decision:
    """The status of an unanswered confirm came: it held, or it did not."""
    if step in (Step.ACTIVATE, Step.DELIVER):
        return conclude_confirm(applied(_answered(trade), envelope), facts)
    return _give_up_confirm(trade, facts)


# Silence and refusals


def _silent_init(trade: Trade, acked: bool, facts: Facts) -> Decision:
    error = unavailable("it did not answer in time", silence_cause(acked=acked))
    expired = replace(trade, leg=replace(leg_of(trade), state=LegState.EXPIRED))
    return _end_init(expired, error, facts)


def _silent_confirm(trade: Trade, acked: bool, facts: Facts) -> Decision:
    """Ask for the status before giving up: the operator may have confirmed."""
    del acked
    wait_ms = min(STATUS_WAIT_MS, parent_of(trade).deadline_ms - SECOND_MS - facts.now_ms)
    if wait_ms <= 0:
        return _give_up_confirm(trade, facts)
    return ask_status(trade, wait_ms, facts)


def _silent_status(trade: Trade, acked: bool, facts: Facts) -> Decision:
    del acked
    return _give_up_confirm(trade, facts) if trade.request is not None else Decision()


def _silent_cancel(trade: Trade, acked: bool, facts: Facts) -> Decision:
    """Tell the buyer; the cancel itself stays queued until the operator has it (R8)."""
    error = unavailable("it did not answer in time", silence_cause(acked=acked))
    return _fail_cancel(trade, error, facts)


def _give_up_confirm(trade: Trade, facts: Facts) -> Decision:
    """Answer with an error, undo what the operator may have done, let the terms lapse."""
    cancel = compensating_cancel(trade, facts)
    expired = replace(
        trade,
        leg=replace(leg_of(trade), state=LegState.EXPIRED),
        terms_until_ms=facts.now_ms - 1,
    )
    error = unavailable("it did not answer in time", silence_cause(acked=True))
    decision = _fail_confirm(expired, error, facts)
    return replace(decision, outgoing=(*decision.outgoing, cancel))


def _fail_init(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    return _end_init(_answered(trade), passed_on(error), facts)


def _end_init(trade: Trade, error: WireError, facts: Facts) -> Decision:
    """Return to the state before the init; terms that stood then stand on, with their stock."""
    request = parent_of(trade)
    failed = replace(advance(trade, Step.FAIL), request=None)
    order = current_order(failed)
    agreed = failed.state is TradeState.INITIATED
    if agreed and trade.stock is not None and trade.stock.offer_id == first_id(order, OFFERS):
        failed, stock = keep_stock(failed, item_energy(order))
    else:
        failed, stock = replace(failed, stock=None), give_back(failed)
        if agreed:  # what these terms had taken of another offer was given back
            failed = replace(failed, terms_until_ms=facts.now_ms - 1)
    return Decision(failed, (answer_error(failed, request, facts, error),), stock=stock)


def _undo(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    """Cancel what the operator says it did, because it said so too late."""
    undo = () if envelope.error is not None else (compensating_cancel(trade, facts),)
    return Decision(outgoing=undo)


def _fail_confirm(trade: Trade, error: WireError, facts: Facts) -> Decision:
    request = parent_of(trade)
    failed = replace(advance(trade, Step.FAIL), request=None)
    return Decision(failed, (answer_error(failed, request, facts, error),))


def _fail_cancel(trade: Trade, error: WireError, facts: Facts) -> Decision:
    request = parent_of(trade)
    kept = replace(trade, request=None)
    return Decision(kept, (answer_error(kept, request, facts, error),))


def _refused_init(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    return _fail_init(trade, error, facts)


def _refused_confirm(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    return _fail_confirm(_answered(trade), passed_on(error), facts)


def _refused_cancel(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    if trade.request is None:
        return Decision()
    if error.get("code") == "BIZ_ALREADY_CANCELLED":
        return conclude_cancel(_answered(trade), facts)
    return _fail_cancel(_answered(trade), passed_on(error), facts)


def _refused_status(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    del error
    return _silent_status(trade, acked=True, facts=facts)


def give_back(trade: Trade) -> tuple[StockChange, ...]:
    """Return what the trade took from an offer, to be put back."""
    if trade.stock is None:
        return ()
    return (StockChange(trade.stock.offer_id, trade.stock.energy_micro_kwh),)


def keep_stock(trade: Trade, energy: Energy) -> tuple[Trade, tuple[StockChange, ...]]:
    """Return the trade with so much of its offer taken, and what is given back of it."""
    if trade.stock is None:
        return trade, ()
    offer_id, taken = trade.stock.offer_id, trade.stock.energy_micro_kwh
    kept = replace(trade, stock=StockTaken(offer_id, energy.micro_kwh))
    return kept, (StockChange(offer_id, taken - energy.micro_kwh),)


def _is_current(trade: Trade, message_id: str) -> bool:
    return trade.leg is not None and trade.leg.request.message_id == message_id


def _answered(trade: Trade) -> Trade:
    return replace(trade, leg=replace(leg_of(trade), state=LegState.ANSWERED))


_CALLBACKS = {
    Action.ON_INIT: _on_init,
    Action.ON_CONFIRM: _on_confirm,
    Action.ON_CANCEL: _on_cancel,
    Action.ON_STATUS: _on_news,
    Action.ON_UPDATE: _on_news,
}
_SILENCE = {
    Action.INIT: _silent_init,
    Action.CONFIRM: _silent_confirm,
    Action.STATUS: _silent_status,
    Action.CANCEL: _silent_cancel,
}
_REFUSALS = {
    Action.INIT: _refused_init,
    Action.CONFIRM: _refused_confirm,
    Action.STATUS: _refused_status,
    Action.CANCEL: _refused_cancel,
}
