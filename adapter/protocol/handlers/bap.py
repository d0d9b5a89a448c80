"""The buyer's side: requests of its application, callbacks of the seller's platform.

A trade with a plan goes on by itself from on_discover to confirm. A confirm without an answer is
of unknown fate: its status is asked for until it is known or the trade window is over; a second
confirm is never sent. Source: protocol specification, sections 9 and 11.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapter.domain.errors import AdapterError, WireError
from adapter.domain.instants import parse_instant
from adapter.domain.parties import Side
from adapter.domain.trade import Ending, OpenRequest, Trade, TradeState
from adapter.protocol.acks import error_object
from adapter.protocol.actions import Action
from adapter.protocol.contexts import message_context, transaction_base
from adapter.protocol.contract import inputs_of
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    Lapsed,
    MessageKind,
    NoAnswer,
    NotTaken,
    Originated,
    Outgoing,
    Received,
)
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers import plan as plans
from adapter.protocol.handlers.shared import (
    applied,
    begun,
    check_confirmable,
    check_same_contract,
    check_same_offer,
    check_same_terms,
    current_order,
    flagged_end,
    is_late,
    news_step,
    refuse_while_pending,
)
from adapter.protocol.lifecycle import Step, advance, allows, illegal, is_final
from adapter.protocol.orders import contract_of, order_reference, with_status

_SEND_STEPS: Mapping[Action, Step] = {
    Action.SELECT: Step.SELECT,
    Action.INIT: Step.INIT,
    Action.CONFIRM: Step.CONFIRM,
}


def decide(trade: Trade | None, event: Event, facts: Facts) -> Decision:
    """Return what follows from `event`; see `handlers.decide`."""
    if isinstance(event, Originated):
        return originate(trade, event, facts)
    assert trade is not None
    match event:
        case Received(envelope):
            return _CALLBACKS[envelope.action](trade, envelope, facts)
        case NotTaken(Action.STATUS):
            unknown_fate = trade.state is TradeState.CONFIRM_UNKNOWN
            return _ask_status_later(trade, facts) if unknown_fate else Decision()
        case NoAnswer(action, message_id, _):
            error = _timeout(action)
            return _unanswered(trade, action, message_id, error, lost=True, facts=facts)
        case NotTaken(action, message_id, error, unknown):
            return _unanswered(trade, action, message_id, error, lost=unknown, facts=facts)
        case Lapsed():
            order = None if trade.order is None else with_status(trade.order, "TERMINATED")
            return Decision(replace(advance(trade, Step.LAPSE), ended=Ending.LAPSED, order=order))
        case _:
            raise AssertionError(event)


def originate(trade: Trade | None, wish: Originated, facts: Facts) -> Decision:
    """Send a request of the node's own application.

    Raises:
        WireError: the state of the trade does not allow it; CTX_TRANSACTION_ID_UNKNOWN.
    """
    if trade is None and wish.action is Action.STATUS:
        msg = f"no transaction {wish.transaction_id!r} here"
        raise WireError("CTX_TRANSACTION_ID_UNKNOWN", msg, path="$.context.transaction_id")
    if trade is None:
        trade = Trade(Side.BAP, wish.transaction_id, wish.peer, "draft", plan=wish.plan)
    order = wish.message.get("order")
    changed = _before_sending(trade, wish.action, facts)
    asked = Outgoing(
        MessageKind.REQUEST,
        wish.action,
        wish.peer,
        message_context(
            transaction_base(
                bap=facts.me.as_bap,
                bpp=wish.peer,
                transaction_id=wish.transaction_id,
                domain=wish.domain,
            ),
            wish.action,
            message_id=wish.message_id,
            now_ms=facts.now_ms,
            ttl_ms=wish.ttl_ms,
        ),
        wish.message,
        deadline_ms=facts.now_ms + wish.ttl_ms,
        expires_ms=facts.now_ms + wish.ttl_ms,
    )
    if wish.action in (Action.DISCOVER, Action.STATUS):
        return Decision(changed, (asked,))
    assert asked.deadline_ms is not None
    pending = OpenRequest(
        wish.action.value, wish.message_id, asked.deadline_ms, asked.context, order
    )
    return Decision(replace(changed, request=pending, error=None), (asked,))


def _before_sending(trade: Trade, action: Action, facts: Facts) -> Trade:
    if action in (Action.DISCOVER, Action.STATUS):
        return trade
    if action is Action.CONFIRM:
        check_confirmable(trade, facts.now_ms)
    refuse_while_pending(trade, action.value)
    if action is Action.CANCEL:
        if trade.state is TradeState.DELIVERING:
            raise begun(trade)
        if trade.state is TradeState.CONFIRM_UNKNOWN or not allows(trade, Step.CANCEL):
            raise illegal(trade, "cancel")
        return trade
    return advance(trade, _SEND_STEPS[action])


# Callbacks


def _on_discover(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if envelope.error is not None:
        return Decision(replace(trade, error=envelope.error))
    done = trade.request is not None or trade.error is not None  # with an earlier page
    if trade.plan is None or trade.state is not TradeState.NEW or done:
        return Decision()
    try:
        order = plans.select_order(
            trade.plan,
            envelope.message,
            f"order-{facts.new_id()}",
            time_zone=facts.time_zone,
        )
    except AdapterError as error:
        return Decision(replace(trade, error=error_object(error)))
    return _go_on(trade, Action.SELECT, {"order": order}, facts)


def _on_select(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if not _answers_pending(trade, envelope):
        return Decision()
    if envelope.error is not None:
        return Decision(_failed(trade, envelope.error))
    selected = _with_answer(advance(trade, Step.ON_SELECT), envelope)
    if selected.plan is None:
        return Decision(selected)
    try:  # the plan chose an offer; other terms are another choice
        check_same_offer(envelope.order, current_order(trade), ("SELLER",))
    except WireError as error:
        return Decision(replace(selected, error=error_object(error)))
    order = plans.init_order(selected.plan, envelope.order, facts.me.subscriber_id)
    return _go_on(selected, Action.INIT, {"order": order}, facts)


def _on_init(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if not _answers_pending(trade, envelope):
        return Decision()
    if envelope.error is not None:
        return Decision(_failed(trade, envelope.error))
    assert trade.request is not None
    check_same_terms(envelope.order, trade.request.order or {}, ("SELLER", "BUYER"))
    initiated = _with_answer(advance(trade, Step.ON_INIT), envelope)
    if initiated.plan is None:
        return Decision(initiated)
    return _go_on(initiated, Action.CONFIRM, {"order": dict(envelope.order)}, facts)


def _on_confirm(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    del facts
    if not allows(trade, Step.ON_CONFIRM):
        return Decision()
    if envelope.error is not None:
        return Decision(_failed(trade, envelope.error))
    check_same_terms(envelope.order, current_order(trade))
    if envelope.contract.get("status") == "TERMINATED":
        return Decision(_ended(trade, Step.TERMINATE, envelope, Ending.FAILED))
    confirmed = _with_answer(advance(trade, Step.ON_CONFIRM), envelope)
    return Decision(replace(applied(confirmed, envelope), terms_until_ms=None))


def _on_news(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if envelope.error is not None:
        if trade.state is not TradeState.CONFIRM_UNKNOWN:
            return Decision()
        return _ask_status_later(replace(trade, error=envelope.error), facts)
    check_same_contract(envelope.order, trade.contract_id)
    step = news_step(envelope.order)
    if is_final(trade):
        return Decision(flagged_end(trade, step))
    if is_late(trade, envelope) or not allows(trade, step):
        return Decision()
    if step is Step.TERMINATE:
        return Decision(_ended(trade, step, envelope, Ending.FAILED))
    moved = replace(advance(trade, step), order=envelope.order)
    if trade.state in (TradeState.CONFIRM_PENDING, TradeState.CONFIRM_UNKNOWN):
        moved = replace(moved, request=None)
    return Decision(applied(moved, envelope))


def _on_cancel(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    del facts
    if envelope.error is not None:
        mine = _answers_pending(trade, envelope)
        return Decision(replace(trade, request=None, error=envelope.error) if mine else None)
    check_same_contract(envelope.order, trade.contract_id)
    if not allows(trade, Step.CANCEL):
        return Decision()
    return Decision(_ended(trade, Step.CANCEL, envelope, Ending.CANCELLED))


# Failures


def _unanswered(
    trade: Trade,
    action: Action,
    message_id: str,
    error: Mapping[str, Any],
    *,
    lost: bool,
    facts: Facts,
) -> Decision:
    """Return what follows when a request was refused, or got no answer at all (`lost`)."""
    if action is Action.STATUS:
        unknown = trade.state is TradeState.CONFIRM_UNKNOWN
        return _ask_status(trade, facts) if unknown else Decision()
    if action is Action.DISCOVER:
        return Decision(replace(trade, error=error) if trade.plan is not None else None)
    if trade.request is None or trade.request.message_id != message_id:
        return Decision()
    if action is Action.CANCEL:
        return Decision(replace(trade, request=None, error=error))
    if action is Action.CONFIRM and lost:
        unknown_fate = replace(advance(trade, Step.LOSE), request=None, error=error)
        return _ask_status(unknown_fate, facts)
    return Decision(_failed(trade, error))


def _ask_status(trade: Trade, facts: Facts) -> Decision:
    """Ask what became of a confirm, as long as the trade window is not over."""
    order = current_order(trade)
    end = inputs_of(contract_of(order), "BUYER").get("tradeEndTime")
    if end is not None and facts.now_ms >= parse_instant(str(end)):
        return Decision(trade)
    return _go_on(trade, Action.STATUS, {"order": order_reference(order)}, facts)


def _ask_status_later(trade: Trade, facts: Facts) -> Decision:
    """Ask once more when the life of a request is over: the peer did not say what became of it."""
    decision = _ask_status(trade, replace(facts, ttl_ms=2 * facts.ttl_ms))
    later_ms = facts.now_ms + facts.ttl_ms
    outgoing = tuple(replace(asked, not_before_ms=later_ms) for asked in decision.outgoing)
    return replace(decision, outgoing=outgoing)


def _failed(trade: Trade, error: Mapping[str, Any]) -> Trade:
    moved = advance(trade, Step.FAIL) if allows(trade, Step.FAIL) else trade
    return replace(moved, request=None, error=error)


def _ended(trade: Trade, step: Step, envelope: Envelope, ending: Ending) -> Trade:
    order = envelope.order or with_status(current_order(trade), "TERMINATED")
    ended = replace(advance(trade, step), request=None, order=order, ended=ending)
    return applied(ended, envelope)


def _timeout(action: Action) -> dict[str, Any]:
    return {"code": "NET_TIMEOUT", "message": f"no {action.callback.value} came in time"}


# Small steps


def _go_on(trade: Trade, action: Action, message: Mapping[str, Any], facts: Facts) -> Decision:
    """Send the next request of the node's own accord."""
    wish = Originated(
        action,
        message,
        trade.peer,
        trade.transaction_id,
        facts.new_id(),
        facts.ttl_ms,
        trade.context.get("domain", facts.domain),
    )
    try:
        return originate(trade, wish, facts)
    except WireError as error:
        return Decision(replace(trade, error=error_object(error)))


def _answers_pending(trade: Trade, envelope: Envelope) -> bool:
    return trade.request is not None and trade.request.message_id == envelope.message_id


def _with_answer(trade: Trade, envelope: Envelope) -> Trade:
    """Return the trade with the order, contract and terms that a callback brought."""
    return replace(
        trade,
        request=None,
        order=envelope.order,
        contract_id=str(envelope.contract.get("contractId")),
        terms_until_ms=envelope.deadline_ms,
        context=envelope.context,
    )


_CALLBACKS = {
    Action.ON_DISCOVER: _on_discover,
    Action.ON_SELECT: _on_select,
    Action.ON_INIT: _on_init,
    Action.ON_CONFIRM: _on_confirm,
    Action.ON_STATUS: _on_news,
    Action.ON_UPDATE: _on_news,
    Action.ON_CANCEL: _on_cancel,
}
