"""The buyer's side: requests of its application, callbacks of the seller's platform.

A trade with a plan goes on by itself from on_discover to confirm. A confirm without an answer is
of unknown fate: its status is asked for until it is known or the trade window is over; a second
confirm is never sent. In a market the confirm is a commitment, answered once the market has
cleared; an answer that the prosumer's own curve does not allow is refused and flagged.
Source: protocol specification, sections 9, 11 and 12.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import AdapterError, WireError
from adapter.domain.market import CLEARING_MS
from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Ending, OpenRequest, Trade, TradeState
from adapter.protocol.acks import error_object
from adapter.protocol.actions import Action
from adapter.protocol.contexts import message_context, transaction_base
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    FlaggedRefusalError,
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
from adapter.protocol.handlers import prosumer_plan
from adapter.protocol.handlers.prosumer_terms import (
    OFF_CURVE,
    check_cleared,
    check_market_terms,
    commitment_ends_ms,
    confirm_ttl_ms,
    delivery_ends_ms,
    is_market,
)
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

NEXT_PAGE_MS = 1_000
"""How long the next page of an on_discover is waited for, when there may be one."""
NOTHING_CLEARED: Mapping[str, Any] = {
    "code": "BIZ_QUANTITY_UNAVAILABLE",
    "message": "the market has closed without a trade for this curve",
}
"""Why a commitment ended without a contract."""
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
        case Lapsed() if trade.state is TradeState.NEW:  # no further page came
            return _select_best(trade, trade.found or {}, facts)
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
        return Decision(replace(trade, error=envelope.error, pages_until_ms=None))
    done = trade.request is not None or trade.error is not None  # with an earlier page
    if trade.plan is None or trade.state is not TradeState.NEW or done:
        return Decision()
    earlier = (trade.found or {}).get("catalogs") or ()
    message = {"catalogs": [*earlier, *(envelope.message.get("catalogs") or ())]}
    if plans.is_last_page(trade.plan, envelope):
        return _select_best(trade, message, facts)
    found = plans.best_of(trade.plan, message, time_zone=facts.time_zone)
    until_ms = facts.now_ms + NEXT_PAGE_MS
    return Decision(replace(trade, found=found, pages_until_ms=until_ms))


def _select_best(trade: Trade, message: Mapping[str, Any], facts: Facts) -> Decision:
    """Take up the best offer of all pages."""
    assert trade.plan is not None
    plan, new_order_id = trade.plan, f"order-{facts.new_id()}"
    decided = replace(trade, found=None, pages_until_ms=None)
    try:
        if prosumer_plan.is_prosumer_plan(plan):  # nobody selects in a market
            me = facts.me.subscriber_id
            order = prosumer_plan.init_order(plan, message, new_order_id, me, now_ms=facts.now_ms)
            return _go_on(decided, Action.INIT, {"order": order}, facts)
        order = plans.select_order(plan, message, new_order_id, time_zone=facts.time_zone)
    except AdapterError as error:
        return Decision(replace(decided, error=error_object(error)))
    return _go_on(decided, Action.SELECT, {"order": order}, facts)


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
    asked = trade.request.order or {}
    check_same_terms(envelope.order, asked, ("SELLER", "BUYER"))
    if is_market(asked):
        check_market_terms(envelope.order, asked, facts.me.subscriber_id)
    initiated = _with_answer(advance(trade, Step.ON_INIT), envelope)
    if initiated.plan is None:
        return Decision(initiated)
    life_ms = confirm_ttl_ms(envelope.order, now_ms=facts.now_ms, least_ms=facts.ttl_ms)
    lasting = replace(facts, ttl_ms=life_ms)
    return _go_on(initiated, Action.CONFIRM, {"order": dict(envelope.order)}, lasting)


def _on_confirm(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if not allows(trade, Step.ON_CONFIRM):
        return Decision()
    if envelope.error is not None:
        return Decision(_failed(trade, envelope.error))
    agreed = current_order(trade)
    check_same_terms(envelope.order, agreed)
    if is_market(agreed):
        check_market_terms(envelope.order, agreed, facts.me.subscriber_id)
    if envelope.contract.get("status") == "TERMINATED":
        return Decision(_ended(trade, Step.TERMINATE, envelope, Ending.FAILED))
    _refuse_off_curve(trade, envelope, facts)
    confirmed = _with_answer(advance(trade, Step.ON_CONFIRM), envelope)
    return Decision(replace(applied(confirmed, envelope), terms_until_ms=None, error=None))


def _refuse_off_curve(trade: Trade, envelope: Envelope, facts: Facts) -> None:
    """Refuse what a market claims to have cleared when the prosumer's own curve forbids it.

    Nobody is worse off than its curve. The market learns it by the refusal; the trade is not
    confirmed, but of unknown fate and flagged, for the ledger may say otherwise. Nothing more is
    asked; what corrects the claim is taken.

    Raises:
        FlaggedRefusalError: BIZ_PRICE_MISMATCH.
    """
    agreed = current_order(trade)
    if not is_market(agreed):
        return
    try:
        check_cleared(envelope.order, agreed, facts.me.subscriber_id)
    except WireError as error:
        flags = tuple(dict.fromkeys((*trade.flags, OFF_CURVE)))
        kept = replace(trade, flags=flags, request=None, error=error_object(error))
        raise FlaggedRefusalError(
            error, advance(kept, Step.LOSE) if allows(kept, Step.LOSE) else kept
        ) from error


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
    cleared_ms = commitment_ends_ms(contract_of(current_order(trade)))
    if step is Step.STAY_PENDING and _may_be_committed(trade, cleared_ms, facts):
        return _ask_status_later(trade, facts, not_before_ms=cleared_ms or 0)
    if step is not Step.STAY_PENDING:
        _refuse_off_curve(trade, envelope, facts)
    moved = replace(advance(trade, step), order=envelope.order)
    if trade.state in (TradeState.CONFIRM_PENDING, TradeState.CONFIRM_UNKNOWN):
        error = trade.error if step is Step.STAY_PENDING else None
        moved = replace(moved, request=None, error=error)
    return Decision(applied(moved, envelope))


def _may_be_committed(trade: Trade, cleared_ms: int | None, facts: Facts) -> bool:
    """Return whether PENDING says nothing yet: a market tells what cleared when it has closed."""
    return (
        trade.state is TradeState.CONFIRM_UNKNOWN
        and is_market(current_order(trade))
        and cleared_ms is not None
        and facts.now_ms < cleared_ms + CLEARING_MS
    )


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
    end_ms = delivery_ends_ms(contract_of(order))
    if OFF_CURVE in trade.flags or (end_ms is not None and facts.now_ms >= end_ms):
        return Decision(trade)
    return _go_on(trade, Action.STATUS, {"order": order_reference(order)}, facts)


def _ask_status_later(trade: Trade, facts: Facts, *, not_before_ms: int = 0) -> Decision:
    """Ask once more when the life of a request is over: the peer did not say what became of it."""
    later_ms = max(facts.now_ms + facts.ttl_ms, not_before_ms)
    decision = _ask_status(trade, replace(facts, ttl_ms=later_ms - facts.now_ms + facts.ttl_ms))
    outgoing = tuple(replace(asked, not_before_ms=later_ms) for asked in decision.outgoing)
    return replace(decision, outgoing=outgoing)


def _failed(trade: Trade, error: Mapping[str, Any]) -> Trade:
    moved = advance(trade, Step.FAIL) if allows(trade, Step.FAIL) else trade
    return replace(moved, request=None, error=error)


def _ended(trade: Trade, step: Step, envelope: Envelope, ending: Ending) -> Trade:
    order = envelope.order or with_status(current_order(trade), "TERMINATED")
    ended = replace(advance(trade, step), request=None, order=order, ended=ending)
    committed = trade.state in (TradeState.CONFIRM_PENDING, TradeState.CONFIRM_UNKNOWN)
    if step is Step.TERMINATE and committed and is_market(order):
        ended = replace(ended, error=dict(NOTHING_CLEARED))
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
