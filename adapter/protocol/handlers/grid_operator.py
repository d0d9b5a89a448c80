"""The grid operator's side: reserve at init, agree at confirm, tell about delivery.

Requests come from a seller's platform that acts as BAP. What needs meters or money is asked of
the contract layer; its outcome comes back as `Settled` and becomes the callback.
Source: protocol specification, section 12.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.intents import (
    AcceptAgreement,
    AcceptShares,
    CancelAgreement,
    Granted,
    Outcome,
    ProposeAgreement,
    ProposeShare,
    Refused,
)
from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Ending, Trade, TradeState
from adapter.protocol.actions import Action
from adapter.protocol.contexts import TERMS_TTL_MS, base_of
from adapter.protocol.contract import CONTRACT_PATH, filled_role, read_terms, with_role
from adapter.protocol.decision import Decision, Event, Facts, Lapsed, News, Received, Settled
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers import grid_market
from adapter.protocol.handlers.operator_terms import (
    CANCELLATION_TERMS,
    check_not_taken,
    check_own_role,
    outcome_error,
    pending,
)
from adapter.protocol.handlers.shared import (
    answer,
    answer_error,
    begun,
    cancelled_twice,
    check_confirmable,
    check_order_known,
    check_same_terms,
    current_order,
    open_request,
    push,
    refuse_while_pending,
)
from adapter.protocol.lifecycle import Step, advance, allows, illegal, is_final
from adapter.protocol.market_terms import is_market
from adapter.protocol.orders import (
    contract_of,
    wheeling_line,
    wheeling_price,
    with_contract,
    with_delivery,
    with_quote,
    with_status,
)

_STEP_OF_NEWS: Mapping[str, Step] = {
    "ACTIVE": Step.DELIVER,
    "COMPLETED": Step.COMPLETE,
    "TERMINATED": Step.TERMINATE,
}


def decide(trade: Trade | None, event: Event, facts: Facts) -> Decision:
    """Return what follows from `event`; see `handlers.decide`."""
    match event:
        case Received(envelope):
            about_market = is_market(_contract(trade, envelope))
            requests = _MARKET_REQUESTS if about_market else _REQUESTS
            return requests[envelope.action](trade, event, facts)
        case Settled(cause, intent, outcome):
            assert trade is not None
            return _OUTCOMES[type(intent)](trade, cause.envelope, outcome, facts)
        case News(participant=participant):
            assert trade is not None
            return (grid_market.tell if participant else _tell)(trade, event, facts)
        case Lapsed():
            assert trade is not None
            lapsed = advance(trade, Step.LAPSE)
            return Decision(replace(lapsed, ended=Ending.LAPSED, order=_terminated(trade)))
        case _:
            return Decision()


def _contract(trade: Trade | None, envelope: Envelope) -> Mapping[str, Any]:
    """Return the contract that tells the mode: the trade's own, else that of the message."""
    return envelope.contract if trade is None or trade.order is None else contract_of(trade.order)


def _init(trade: Trade | None, received: Received, facts: Facts) -> Decision:
    envelope = received.envelope
    check_not_taken(envelope, facts)
    if trade is None:
        trade = Trade(Side.GRID_OPERATOR, envelope.transaction_id, envelope.bap, envelope.dialect)
    refuse_while_pending(trade, "init")
    if not allows(trade, Step.INIT):
        raise illegal(trade, "init")
    check_own_role(envelope, facts)
    terms = read_terms(envelope.contract, time_zone=facts.time_zone)
    if trade.contract_id not in (None, terms.contract_id):
        msg = f"this transaction is about contract {trade.contract_id!r}"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.contractId")
    waiting = replace(
        trade,
        context=base_of(envelope.context, facts.me.as_bpp),
        contract_id=terms.contract_id,
        request=open_request(envelope, facts, envelope.order),
    )
    proposal = ProposeAgreement(
        caller=envelope.bap.subscriber_id,
        contract_id=terms.contract_id,
        source_meter_id=terms.source_meter_id,
        target_meter_id=terms.target_meter_id,
        energy=terms.energy,
        price=terms.price,
        window=terms.window,
        basis=terms.basis,
        contract=envelope.contract,
    )
    return Decision(waiting, intents=(proposal,))


def _proposed(trade: Trade, envelope: Envelope, outcome: Outcome, facts: Facts) -> Decision:
    request = pending(trade)
    done = replace(trade, request=None)
    if isinstance(outcome, Refused):
        return Decision(done, (answer_error(done, request, facts, outcome_error(outcome)),))
    until_ms = facts.now_ms + TERMS_TTL_MS
    if outcome.until_ms is not None:
        until_ms = min(until_ms, outcome.until_ms)
    order = _with_terms(request.order or {}, outcome, facts)
    initiated = advance(replace(done, order=order, terms_until_ms=until_ms), Step.INIT)
    ttl_ms = max(until_ms - facts.now_ms, 1000)
    reply = answer(request, facts, order=order, ttl_ms=ttl_ms, expires_ms=until_ms)
    return Decision(initiated, (reply,))


def _with_terms(order: Mapping[str, Any], granted: Granted, facts: Facts) -> dict[str, Any]:
    role = filled_role("GRID_OPERATOR", facts.me.subscriber_id, granted.role_inputs)
    contract = with_role(contract_of(order), role)
    energy = read_terms(contract).energy
    quoted = with_quote(
        with_contract(order, contract), wheeling_line(energy, wheeling_price(contract))
    )
    return with_contract({**quoted, "beckn:cancellationTerms": CANCELLATION_TERMS}, contract)


def _confirm(trade: Trade | None, received: Received, facts: Facts) -> Decision:
    assert trade is not None
    check_confirmable(trade, facts.now_ms)
    check_same_terms(received.envelope.order, current_order(trade))
    check_not_taken(received.envelope, facts)
    intent = AcceptAgreement(trade.peer.subscriber_id, str(trade.contract_id))
    waiting = replace(trade, request=open_request(received.envelope, facts))
    return Decision(waiting, intents=(intent,))


def _accepted(trade: Trade, envelope: Envelope, outcome: Outcome, facts: Facts) -> Decision:
    request = pending(trade)
    done = replace(trade, request=None)
    if isinstance(outcome, Refused):
        return Decision(done, (answer_error(done, request, facts, outcome_error(outcome)),))
    order = with_delivery(current_order(trade), status="ACTIVE", state="PENDING")
    confirmed = advance(replace(done, order=order), Step.CONFIRM)
    return Decision(confirmed, (answer(request, facts, order=order),))


def _cancel(trade: Trade | None, received: Received, facts: Facts) -> Decision:
    assert trade is not None
    envelope = received.envelope
    if trade.ended is Ending.CANCELLED:
        return Decision(notice=cancelled_twice(trade))
    refuse_while_pending(trade, "cancel")
    check_order_known(trade, envelope)
    request = open_request(envelope, facts)
    if trade.state is TradeState.DELIVERING:
        return Decision(trade, (answer_error(trade, request, facts, begun(trade)),))
    if not allows(trade, Step.CANCEL):
        raise illegal(trade, "cancel")
    intent = CancelAgreement(trade.peer.subscriber_id, str(trade.contract_id))
    return Decision(replace(trade, request=request), intents=(intent,))


def _cancelled(trade: Trade, envelope: Envelope, outcome: Outcome, facts: Facts) -> Decision:
    request = pending(trade)
    done = replace(trade, request=None)
    if isinstance(outcome, Refused):
        return Decision(done, (answer_error(done, request, facts, outcome_error(outcome)),))
    ended = advance(
        replace(done, ended=Ending.CANCELLED, order=with_status(current_order(done), "TERMINATED")),
        Step.CANCEL,
    )
    return Decision(ended, (answer(request, facts, order=ended.order),))


def _status(trade: Trade | None, received: Received, facts: Facts) -> Decision:
    assert trade is not None
    check_order_known(trade, received.envelope)
    request = open_request(received.envelope, facts)
    return Decision(outgoing=(answer(request, facts, order=current_order(trade)),))


def _tell(trade: Trade, news: News, facts: Facts) -> Decision:
    """Push what the ledger says about delivery, as far as the trade may still move."""
    step = _STEP_OF_NEWS[news.status]
    if is_final(trade) or not allows(trade, step):
        return Decision()
    state = str(news.delivery.get("deliveryStatus"))
    order = with_delivery(
        current_order(trade), status=news.status, state=state, delivery=news.delivery
    )
    moved = advance(replace(trade, order=order), step)
    if step is Step.TERMINATE:
        moved = replace(moved, ended=Ending.FAILED)
    return Decision(moved, (push(moved, Action.ON_STATUS, facts),))


def _terminated(trade: Trade) -> Mapping[str, Any] | None:
    return None if trade.order is None else with_status(trade.order, "TERMINATED")


_REQUESTS = {
    Action.INIT: _init,
    Action.CONFIRM: _confirm,
    Action.CANCEL: _cancel,
    Action.STATUS: _status,
}
_MARKET_REQUESTS = {
    **_REQUESTS,
    Action.INIT: grid_market.init,
    Action.CONFIRM: grid_market.confirm,
}
_OUTCOMES = {
    ProposeAgreement: _proposed,
    AcceptAgreement: _accepted,
    CancelAgreement: _cancelled,
    ProposeShare: grid_market.proposed,
    AcceptShares: grid_market.accepted,
}
