"""The seller's platform as BAP towards its grid operator: one leg per trade.

A leg is a transaction of its own about the same contract. Its callbacks, deadlines and refusals
move the parent trade; what the operator decided about caps and cash reaches the buyer with the
same code. Source: protocol specification, section 12 and R5 to R8.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import SECOND_MS
from adapter.domain.quantities import Energy
from adapter.domain.trade import (
    CascadeLeg,
    Ending,
    LegState,
    OpenRequest,
    Peer,
    Trade,
    TradeState,
)
from adapter.protocol.actions import Action
from adapter.protocol.contexts import (
    CALLBACK_TTL_MS,
    TERMS_TTL_MS,
    message_context,
    transaction_base,
)
from adapter.protocol.contract import (
    CONTRACT_PATH,
    filled_role,
    inputs_of,
    open_role,
    read_terms,
    with_role,
)
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    MessageKind,
    NoAnswer,
    NotTaken,
    Outgoing,
    Received,
    StockChange,
)
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers.shared import (
    ACTIVE_RANK,
    answer,
    answer_error,
    applied,
    current_order,
    is_late,
    news_step,
    push,
)
from adapter.protocol.lifecycle import Step, advance, allows, is_final
from adapter.protocol.orders import (
    CORE_CONTEXT,
    contract_of,
    delivery_of,
    energy_line,
    order_id,
    order_reference,
    wheeling_line,
    wheeling_price,
    with_contract,
    with_delivery,
    with_quote,
    with_status,
)

MIN_PARENT_LEFT_MS = 4 * SECOND_MS
"""A parent message with less time left is refused: no cascade fits into it (R5)."""
STATUS_WAIT_MS = 5 * SECOND_MS
"""How long the status of an unanswered confirm is waited for."""
_RESERVED_MS = 10 * SECOND_MS
_SAME_CODE = frozenset({"BIZ_QUANTITY_UNAVAILABLE", "BIZ_PAYMENT_FAILED"})
"""Codes on which the buyer can act, passed on at level 1."""
_QUANTITY_PATH = f"{CONTRACT_PATH}.roles[?(@.role=='BUYER')].roleInputs.contractedQuantity"


def decide(trade: Trade, event: Event, facts: Facts) -> Decision:
    """Return what follows from an event on the leg of `trade`."""
    match event:
        case Received(envelope):
            return _CALLBACKS[envelope.action](trade, envelope, facts)
        case NoAnswer(action, message_id, acked):
            if not _is_current(trade, message_id):
                return Decision()
            return _SILENCE[action](trade, acked, facts)
        case NotTaken(action, message_id, error, unknown):
            if unknown or not _is_current(trade, message_id):
                return Decision()  # the stored deadline decides (R6)
            return _REFUSALS[action](trade, error, facts)
        case _:
            raise AssertionError(event)


# Asking


def ask_init(trade: Trade, order: Mapping[str, Any], operator: Peer, facts: Facts) -> Decision:
    """Send the cascaded init of a parent whose init is pending."""
    parent = _parent(trade)
    contract = with_role(contract_of(order), open_role("GRID_OPERATOR"))
    contract_id = str(contract["contractId"])
    again = trade.leg is not None and trade.leg.contract_id == contract_id
    transaction_id = _leg(trade).transaction_id if again else facts.new_id()
    child_order = _child_order(order, contract, operator, facts)
    asked = _request(Action.INIT, operator, transaction_id, parent, child_order, facts)
    leg = CascadeLeg(
        operator,
        transaction_id,
        contract_id,
        child_order["beckn:id"],
        LegState.WAITING,
        _open(asked),
    )
    return Decision(replace(trade, leg=leg), (asked,))


def ask_confirm(trade: Trade, facts: Facts) -> Decision:
    """Send the cascaded confirm of a parent whose confirm is pending."""
    leg, parent = _leg(trade), _parent(trade)
    order = current_order(trade)
    child_order = _child_order(order, contract_of(order), leg.operator, facts)
    asked = _request(Action.CONFIRM, leg.operator, leg.transaction_id, parent, child_order, facts)
    waiting = replace(leg, state=LegState.WAITING, request=_open(asked))
    return Decision(replace(trade, leg=waiting), (asked,))


def ask_cancel(trade: Trade, facts: Facts) -> Decision:
    """Send the cascaded cancel of a parent whose cancel is pending."""
    leg, parent = _leg(trade), _parent(trade)
    asked = _cancel_request(trade, facts)
    _, deadline_ms = _child_time(parent, facts.now_ms)
    asked = replace(asked, deadline_ms=deadline_ms)
    waiting = replace(leg, state=LegState.WAITING, request=_open(asked))
    return Decision(replace(trade, leg=waiting), (asked,))


def _request(
    action: Action,
    operator: Peer,
    transaction_id: str,
    parent: OpenRequest,
    order: Mapping[str, Any],
    facts: Facts,
) -> Outgoing:
    ttl_ms, deadline_ms = _child_time(parent, facts.now_ms)
    context = _child_context(action, operator, transaction_id, ttl_ms, facts)
    return Outgoing(
        MessageKind.REQUEST,
        action,
        operator,
        context,
        {"order": order},
        deadline_ms=deadline_ms,
        expires_ms=facts.now_ms + ttl_ms,
    )


def _child_context(
    action: Action, operator: Peer, transaction_id: str, ttl_ms: int, facts: Facts
) -> dict[str, Any]:
    base = transaction_base(bap=facts.me.as_bap, bpp=operator, transaction_id=transaction_id)
    return message_context(
        base, action, message_id=facts.new_id(), now_ms=facts.now_ms, ttl_ms=ttl_ms
    )


def _child_time(parent: OpenRequest, now_ms: int) -> tuple[int, int]:
    """Return (ttl, deadline) of a child request, so that the parent is answered in time.

    Raises:
        WireError: CTX_TTL_EXPIRED, the parent leaves less than 4 s.
    """
    left_ms = parent.deadline_ms - now_ms
    if left_ms < MIN_PARENT_LEFT_MS:
        msg = f"{max(left_ms, 0)} ms are left to ask the grid operator, 4 s are needed"
        raise WireError("CTX_TTL_EXPIRED", msg, path="$.context.ttl")
    whole_s = (left_ms - min(_RESERVED_MS, left_ms // 3)) // SECOND_MS
    ttl_ms = max(whole_s, 1) * SECOND_MS
    return ttl_ms, now_ms + ttl_ms + SECOND_MS


def _child_order(
    order: Mapping[str, Any], contract: Mapping[str, Any], operator: Peer, facts: Facts
) -> dict[str, Any]:
    """Return the operator's order about the same contract: no items, offers or payments."""
    child: dict[str, Any] = {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Order",
        "beckn:id": f"{order_id(order)}-grid",
        "beckn:provider": {"@type": "beckn:Provider", "beckn:id": operator.subscriber_id},
    }
    if order.get("beckn:fulfillments"):
        child["beckn:fulfillments"] = order["beckn:fulfillments"]
    child["beckn:billing"] = {"@type": "beckn:Billing", "beckn:name": facts.me.subscriber_id}
    return with_contract(child, contract)


def _open(asked: Outgoing) -> OpenRequest:
    assert asked.deadline_ms is not None
    return OpenRequest(asked.action.value, asked.context["message_id"], asked.deadline_ms)


# Answers of the operator


def _on_init(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if not _is_current(trade, envelope.message_id):
        return Decision()
    _check_contract(trade, envelope)
    leg = _leg(trade)
    if leg.state is LegState.EXPIRED:
        undo = () if envelope.error is not None else (compensating_cancel(trade, facts),)
        return Decision(_answered(trade), undo)
    if envelope.error is not None:
        return _fail_init(trade, envelope.error, facts)
    inputs = inputs_of(envelope.contract, "GRID_OPERATOR")
    parent = _parent(trade)
    assert parent.order is not None
    role = filled_role("GRID_OPERATOR", leg.operator.subscriber_id, inputs)
    contract = with_role(contract_of(parent.order), role)
    terms = read_terms(contract)
    room = _room(inputs)
    if terms.energy > room:
        return _fail_init(trade, _over_cap(terms.energy, room), facts)
    order = with_quote(
        with_contract(parent.order, contract),
        energy_line(terms.energy, terms.price),
        wheeling_line(terms.energy, wheeling_price(contract)),
    )
    until_ms = facts.now_ms + TERMS_TTL_MS
    if envelope.deadline_ms is not None:
        until_ms = min(until_ms, envelope.deadline_ms)
    answered = _answered(trade)
    answered = replace(answered, leg=replace(_leg(answered), role_inputs=inputs))
    return initiate(answered, order, until_ms, facts)


def initiate(trade: Trade, order: Mapping[str, Any], until_ms: int, facts: Facts) -> Decision:
    """Answer the pending init: the terms are complete."""
    request = _parent(trade)
    initiated = replace(
        advance(trade, Step.ON_INIT), request=None, order=order, terms_until_ms=until_ms
    )
    reply = answer(
        request,
        facts,
        order=order,
        ttl_ms=max(until_ms - facts.now_ms, SECOND_MS),
        expires_ms=until_ms,
    )
    return Decision(initiated, (reply,))


def _on_confirm(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    if not _is_current(trade, envelope.message_id):
        return Decision()
    _check_contract(trade, envelope)
    if _leg(trade).state is LegState.EXPIRED:
        return Decision(_answered(trade), (compensating_cancel(trade, facts),))
    if envelope.error is not None:
        return _fail_confirm(_answered(trade), _passed_on(envelope.error), facts)
    if envelope.contract.get("status") != "ACTIVE":
        return _fail_confirm(_answered(trade), _unavailable("it did not activate"), facts)
    return conclude_confirm(applied(_answered(trade), envelope), facts)


def conclude_confirm(trade: Trade, facts: Facts) -> Decision:
    """Answer the pending confirm: the contract is active."""
    request = _parent(trade)
    order = with_delivery(current_order(trade), status="ACTIVE", state="PENDING")
    confirmed = replace(
        advance(trade, Step.ON_CONFIRM), request=None, order=order, terms_until_ms=None
    )
    return Decision(confirmed, (answer(request, facts, order=order),))


def _on_cancel(trade: Trade, envelope: Envelope, facts: Facts) -> Decision:
    _check_contract(trade, envelope)
    if envelope.error is not None:
        if trade.request is None or not _is_current(trade, envelope.message_id):
            return Decision()
        return _fail_cancel(_answered(trade), _passed_on(envelope.error), facts)
    if is_final(trade) or not allows(trade, Step.CANCEL):
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
    leg = _leg(trade)
    if envelope.error is not None:
        return Decision()
    _check_contract(trade, envelope)
    step = news_step(envelope.order)
    if leg.state is LegState.ASKING:
        return _confirm_found(trade, envelope, step, facts)
    if is_late(trade, envelope) or not allows(trade, step):
        return Decision(_flagged(trade, step) if is_final(trade) else None)
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
    error = _unavailable("it did not answer in time", _silence_cause(acked))
    expired = replace(trade, leg=replace(_leg(trade), state=LegState.EXPIRED))
    return _end_init(expired, error, facts)


def _silent_confirm(trade: Trade, acked: bool, facts: Facts) -> Decision:
    """Ask for the status before giving up: the operator may have confirmed."""
    del acked
    leg, parent = _leg(trade), _parent(trade)
    wait_ms = min(STATUS_WAIT_MS, parent.deadline_ms - SECOND_MS - facts.now_ms)
    if wait_ms <= 0:
        return _give_up_confirm(trade, facts)
    context = _child_context(
        Action.STATUS, leg.operator, leg.transaction_id, max(wait_ms, SECOND_MS), facts
    )
    asked = Outgoing(
        MessageKind.REQUEST,
        Action.STATUS,
        leg.operator,
        context,
        {"order": order_reference({"beckn:id": leg.order_id})},
        deadline_ms=facts.now_ms + wait_ms,
        expires_ms=facts.now_ms + wait_ms,
    )
    asking = replace(leg, state=LegState.ASKING, request=_open(asked))
    return Decision(replace(trade, leg=asking), (asked,))


def _silent_status(trade: Trade, acked: bool, facts: Facts) -> Decision:
    del acked
    return _give_up_confirm(trade, facts) if trade.request is not None else Decision()


def _silent_cancel(trade: Trade, acked: bool, facts: Facts) -> Decision:
    """Tell the buyer; the cancel itself stays queued until the operator has it (R8)."""
    error = _unavailable("it did not answer in time", _silence_cause(acked))
    return _fail_cancel(trade, error, facts)


def _give_up_confirm(trade: Trade, facts: Facts) -> Decision:
    """Answer with an error, undo what the operator may have done, let the terms lapse."""
    cancel = compensating_cancel(trade, facts)
    expired = replace(
        trade,
        leg=replace(_leg(trade), state=LegState.EXPIRED),
        terms_until_ms=facts.now_ms - 1,
    )
    error = _unavailable("it did not answer in time", _silence_cause(acked=True))
    decision = _fail_confirm(expired, error, facts)
    return replace(decision, outgoing=(*decision.outgoing, cancel))


def _fail_init(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    return _end_init(_answered(trade), _passed_on(error), facts)


def _end_init(trade: Trade, error: WireError, facts: Facts) -> Decision:
    request = _parent(trade)
    failed = replace(advance(trade, Step.FAIL), request=None, stock=None)
    return Decision(failed, (answer_error(failed, request, facts, error),), stock=give_back(trade))


def _fail_confirm(trade: Trade, error: WireError, facts: Facts) -> Decision:
    request = _parent(trade)
    failed = replace(advance(trade, Step.FAIL), request=None)
    return Decision(failed, (answer_error(failed, request, facts, error),))


def _fail_cancel(trade: Trade, error: WireError, facts: Facts) -> Decision:
    request = _parent(trade)
    kept = replace(trade, request=None)
    return Decision(kept, (answer_error(kept, request, facts, error),))


def _refused_init(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    return _fail_init(trade, error, facts)


def _refused_confirm(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    return _fail_confirm(_answered(trade), _passed_on(error), facts)


def _refused_cancel(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    if trade.request is None:
        return Decision()
    return _fail_cancel(_answered(trade), _passed_on(error), facts)


def _refused_status(trade: Trade, error: Mapping[str, Any], facts: Facts) -> Decision:
    del error
    return _silent_status(trade, acked=True, facts=facts)


def _passed_on(error: Mapping[str, Any]) -> WireError:
    """Return the operator's error as the buyer gets it."""
    code = str(error.get("code"))
    path = (error.get("details") or {}).get("path")
    if code in _SAME_CODE:
        return WireError(code, str(error.get("message")), path=path, cause=error)
    if code == "POL_CANCELLATION_NOT_ALLOWED":
        return WireError(code, str(error.get("message")), cause=error)
    return _unavailable("it refused", error)


def _unavailable(why: str, cause: Mapping[str, Any] | None = None) -> WireError:
    msg = f"the grid operator did not take part: {why}"
    return WireError("BIZ_FULFILLMENT_UNAVAILABLE", msg, cause=cause)


def _silence_cause(acked: bool) -> dict[str, str]:
    if acked:
        return {"code": "NET_TIMEOUT", "message": "acknowledged, but no callback in time"}
    return {"code": "NET_DOWNSTREAM_UNAVAILABLE", "message": "the grid operator was not reached"}


def _over_cap(wanted: Energy, room: Energy) -> dict[str, Any]:
    return {
        "code": "BIZ_QUANTITY_UNAVAILABLE",
        "message": f"{wanted} kWh exceeds the maximum trade of {room} kWh",
        "details": {"path": _QUANTITY_PATH, "max_trade_kwh": str(room)},
    }


def compensating_cancel(trade: Trade, facts: Facts) -> Outgoing:
    """Return a cancel on the leg that is sent until the operator has it."""
    return _cancel_request(trade, facts)


def _cancel_request(trade: Trade, facts: Facts) -> Outgoing:
    leg = _leg(trade)
    context = _child_context(
        Action.CANCEL, leg.operator, leg.transaction_id, CALLBACK_TTL_MS, facts
    )
    message = {"order": order_reference({"beckn:id": leg.order_id})}
    return Outgoing(
        MessageKind.COMPENSATION,
        Action.CANCEL,
        leg.operator,
        context,
        message,
        deadline_ms=facts.now_ms + CALLBACK_TTL_MS,
    )


def give_back(trade: Trade) -> tuple[StockChange, ...]:
    """Return what the trade took from an offer, to be put back."""
    if trade.stock is None:
        return ()
    return (StockChange(trade.stock.offer_id, trade.stock.energy_micro_kwh),)


def _room(inputs: Mapping[str, Any]) -> Energy:
    """Return the smaller of what both meters may still trade. Source: contract section 8."""
    buyer = Energy.from_kwh(inputs["buyer_trade_cap"]) - Energy.from_kwh(
        inputs["current_buyer_trades_total"]
    )
    seller = Energy.from_kwh(inputs["seller_trade_cap"]) - Energy.from_kwh(
        inputs["current_seller_trade_total"]
    )
    return min(buyer, seller)


def _check_contract(trade: Trade, envelope: Envelope) -> None:
    named = envelope.contract.get("contractId", trade.contract_id)
    if named != trade.contract_id:
        msg = f"the contract of this cascade is {trade.contract_id!r}, not {str(named)[:60]!r}"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.contractId")


def _is_current(trade: Trade, message_id: str) -> bool:
    return trade.leg is not None and trade.leg.request.message_id == message_id


def _flagged(trade: Trade, step: Step) -> Trade | None:
    """Note that the operator declared another end than the one that counts."""
    ends = {Step.COMPLETE: TradeState.COMPLETED, Step.TERMINATE: TradeState.TERMINATED}
    if step not in ends or ends[step] is trade.state or "two_ends" in trade.flags:
        return None
    return replace(trade, flags=(*trade.flags, "two_ends"))


def _answered(trade: Trade) -> Trade:
    return replace(trade, leg=replace(_leg(trade), state=LegState.ANSWERED))


def _leg(trade: Trade) -> CascadeLeg:
    assert trade.leg is not None
    return trade.leg


def _parent(trade: Trade) -> OpenRequest:
    assert trade.request is not None
    return trade.request


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
