"""What the three handlers have in common."""

from collections.abc import Iterable, Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_instant
from adapter.domain.replace import replace
from adapter.domain.trade import Ending, OpenRequest, Peer, Trade, TradeState
from adapter.protocol.acks import error_object
from adapter.protocol.actions import Action
from adapter.protocol.contexts import CALLBACK_TTL_MS, base_of, message_context
from adapter.protocol.contract import (
    PROSUMER_INPUTS,
    REQUIRED_INPUTS,
    formulas_of,
    inputs_of,
    price_parameters,
    role_of,
)
from adapter.protocol.decision import Facts, MessageKind, Outgoing
from adapter.protocol.envelope import Envelope
from adapter.protocol.lifecycle import CONFIRMED_STATES, Step, illegal
from adapter.protocol.orders import (
    CONTRACT,
    contract_of,
    delivery_of,
    first_id,
    order_id,
)

PENDING_RANK, ACTIVE_RANK, FINAL_RANK = 1, 2, 3
RANKS: Mapping[str, int] = {
    "PENDING": PENDING_RANK,
    "ACTIVE": ACTIVE_RANK,
    "COMPLETED": FINAL_RANK,
    "TERMINATED": FINAL_RANK,
}
"""A callback with a lower rank than the applied one is late. Source: section 9."""

_CONTRACT_AT = f"$.message.order['{CONTRACT}']"


def refuse_while_pending(trade: Trade, what: str) -> None:
    """Refuse a request while an answer is pending (R12).

    Raises:
        WireError: BIZ_INVALID_STATE_TRANSITION.
    """
    if trade.request is not None:
        msg = f"the answer to {trade.request.action} is pending, {what} must wait for it"
        raise WireError("BIZ_INVALID_STATE_TRANSITION", msg, path="$.context.action")


def check_confirmable(trade: Trade, now_ms: int) -> None:
    """Refuse a confirm that comes twice, too late or too early.

    Raises:
        WireError: BIZ_ALREADY_CONFIRMED, BIZ_QUOTE_EXPIRED_OR_CHANGED,
            BIZ_INVALID_STATE_TRANSITION.
    """
    if trade.state in CONFIRMED_STATES:
        msg = f"contract {trade.contract_id} is confirmed already"
        raise WireError("BIZ_ALREADY_CONFIRMED", msg, path="$.context.action")
    refuse_while_pending(trade, "confirm")
    lapsed = trade.ended is Ending.LAPSED
    if trade.state is not TradeState.INITIATED and not lapsed:
        raise illegal(trade, "confirm")
    if lapsed or (trade.terms_until_ms is not None and now_ms > trade.terms_until_ms):
        msg = f"the terms of contract {trade.contract_id} have lapsed; start again with a select"
        raise WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg, path="$.context.timestamp")


def check_same_terms(
    order: Mapping[str, Any], agreed: Mapping[str, Any], roles: Iterable[str] = REQUIRED_INPUTS
) -> None:
    """Refuse an order that differs from the agreed one in anything that binds.

    Compared are contract id, required inputs of every role, flow formulas, item and offer ids.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT, naming the first difference.
    """
    check_same_contract(order, contract_of(agreed).get("contractId"))
    check_same_offer(order, agreed, roles)


def check_same_contract(order: Mapping[str, Any], contract_id: str | None) -> None:
    """Refuse an order about another contract.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT.
    """
    if contract_id is not None and contract_of(order).get("contractId") not in (None, contract_id):
        raise inconsistent("contractId", contract_id, f"{_CONTRACT_AT}.contractId")


def check_same_offer(
    order: Mapping[str, Any], agreed: Mapping[str, Any], roles: Iterable[str]
) -> None:
    """Refuse an order that differs in anything that binds but its contract id.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT, naming the first difference.
    """
    contract, terms = contract_of(order), contract_of(agreed)
    for role in roles:
        one, other = role_of(contract, role), role_of(terms, role)
        if one == other:  # nearly always, and much cheaper than input by input
            continue
        names = PROSUMER_INPUTS if role == "PROSUMER" else REQUIRED_INPUTS[role]
        given, fixed = inputs_of(contract, role), inputs_of(terms, role)
        for name in names:
            if not _same(given.get(name), fixed.get(name)):
                what = f"{role}.{name}"
                raise inconsistent(what, fixed.get(name), f"{_CONTRACT_AT}.roles")
    _check_price_parameters(contract, terms)
    if formulas_of(contract) != formulas_of(terms):
        raise inconsistent("revenueFlows", "as answered", f"{_CONTRACT_AT}.revenueFlows.flows")
    for part in ("beckn:items", "beckn:offers"):
        if part in agreed and first_id(order, part) != first_id(agreed, part):
            raise inconsistent(part, first_id(agreed, part), f"$.message.order['{part}'][0]")


def _check_price_parameters(contract: Mapping[str, Any], terms: Mapping[str, Any]) -> None:
    """Refuse a tariff that is read in another way; left out, it is read as agreed."""
    if inputs_of(terms, "SELLER").get("tariff") is None:
        return
    given, fixed = contract.get("inputParameters") or {}, price_parameters(terms)
    for name, value in fixed.items():
        if given.get(name, value) != value:
            raise inconsistent(name, value, f"{_CONTRACT_AT}.inputParameters.{name}")


def _same(one: object, other: object) -> bool:
    """Return whether two inputs are equal; date-times are compared as instants."""
    if isinstance(one, str) and isinstance(other, str) and one != other:
        try:
            return parse_instant(one) == parse_instant(other)
        except ValueError:
            return False
    return one == other


def inconsistent(what: str, expected: object, path: str) -> WireError:
    """Return the refusal of a message that contradicts what was agreed."""
    msg = f"{what} differs from what was agreed, {str(expected)[:60]!r}"
    return WireError("BIZ_UPDATE_INCONSISTENT", msg, path=path)


def check_order_known(trade: Trade, envelope: Envelope) -> None:
    """Refuse a status or cancel of an order that is not this transaction's.

    Raises:
        WireError: BIZ_ORDER_NOT_FOUND.
    """
    known, asked = order_id(current_order(trade)), order_id(envelope.order)
    if not known or asked != known:
        msg = f"no order {asked[:40]!r} in this transaction"
        raise WireError("BIZ_ORDER_NOT_FOUND", msg, path="$.message.order['beckn:id']")


def current_order(trade: Trade) -> Mapping[str, Any]:
    """Return the order as agreed, else as last asked for, else an empty one."""
    if trade.order is not None:
        return trade.order
    if trade.request is not None and trade.request.order is not None:
        return trade.request.order
    return {}


def open_request(
    envelope: Envelope, facts: Facts, order: Mapping[str, Any] | None = None
) -> OpenRequest:
    """Return a peer's request as pending on our answer."""
    deadline_ms = envelope.deadline_ms
    if deadline_ms is None:
        deadline_ms = facts.now_ms + facts.ttl_ms
    base = base_of(envelope.context, facts.me.as_bpp)
    return OpenRequest(envelope.action.value, envelope.message_id, deadline_ms, base, order)


def answer(
    request: OpenRequest,
    facts: Facts,
    *,
    order: Mapping[str, Any] | None = None,
    ttl_ms: int = CALLBACK_TTL_MS,
    expires_ms: int | None = None,
) -> Outgoing:
    """Return the callback that answers a peer's request with an order."""
    return _callback(request, facts, {"order": order}, None, ttl_ms, expires_ms)


def answer_error(trade: Trade, request: OpenRequest, facts: Facts, error: WireError) -> Outgoing:
    """Return the error callback that answers a peer's request."""
    order = trade.order
    message = None if order is None else {"order": order}
    return _callback(request, facts, message, error_object(error), CALLBACK_TTL_MS, None)


def _callback(
    request: OpenRequest,
    facts: Facts,
    message: Mapping[str, Any] | None,
    error: Mapping[str, Any] | None,
    ttl_ms: int,
    expires_ms: int | None,
) -> Outgoing:
    action = Action(request.action).callback
    context = message_context(
        request.context,
        action,
        message_id=request.message_id,
        now_ms=facts.now_ms,
        ttl_ms=ttl_ms,
    )
    peer = Peer(request.context["bap_id"], request.context["bap_uri"])
    return Outgoing(
        MessageKind.CALLBACK, action, peer, context, message, error, expires_ms=expires_ms
    )


def push(trade: Trade, action: Action, facts: Facts) -> Outgoing:
    """Return a callback nobody asked for, with the order as it stands and a fresh message id."""
    context = message_context(
        trade.context,
        action,
        message_id=facts.new_id(),
        now_ms=facts.now_ms,
        ttl_ms=CALLBACK_TTL_MS,
    )
    message = {"order": trade.order}
    return Outgoing(MessageKind.CALLBACK, action, trade.peer, context, message)


def news_step(order: Mapping[str, Any]) -> Step:
    """Return the step that a peer's on_status declares."""
    status = contract_of(order).get("status", "PENDING")
    if status == "ACTIVE":
        state, _ = delivery_of(order)
        moving = state in ("IN_PROGRESS", "COMPLETED")
        return Step.DELIVER if moving else Step.ACTIVATE
    return {
        "COMPLETED": Step.COMPLETE,
        "TERMINATED": Step.TERMINATE,
    }.get(status, Step.STAY_PENDING)


def is_late(trade: Trade, envelope: Envelope) -> bool:
    """Return whether a callback tells less than what was applied already. Source: section 9."""
    rank = RANKS.get(str(envelope.contract.get("status")), PENDING_RANK)
    return (rank, envelope.timestamp_ms) < (trade.applied_rank, trade.applied_ms)


def applied(trade: Trade, envelope: Envelope) -> Trade:
    """Return the trade with the callback's rank and time noted."""
    rank = RANKS.get(str(envelope.contract.get("status")), PENDING_RANK)
    return replace(trade, applied_rank=rank, applied_ms=envelope.timestamp_ms)


def cancelled_twice(trade: Trade) -> WireError:
    """Return the notice for the cancel of a cancelled contract."""
    msg = f"contract {trade.contract_id} is cancelled already"
    return WireError("BIZ_ALREADY_CANCELLED", msg)


def begun(trade: Trade) -> WireError:
    """Return the refusal of a cancel after delivery has begun."""
    msg = f"delivery of contract {trade.contract_id} has begun, it cannot be cancelled"
    return WireError("POL_CANCELLATION_NOT_ALLOWED", msg, path="$.context.action")


def without_grid_operator(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract without its GRID_OPERATOR role."""
    roles = [entry for entry in contract["roles"] if entry.get("role") != "GRID_OPERATOR"]
    return {**contract, "roles": roles}


def flagged_end(trade: Trade, step: Step) -> Trade | None:
    """Return the trade with a note that its peer declared another end; None when it did not."""
    ends = {Step.COMPLETE: TradeState.COMPLETED, Step.TERMINATE: TradeState.TERMINATED}
    if step not in ends or ends[step] is trade.state or "two_ends" in trade.flags:
        return None
    return replace(trade, flags=(*trade.flags, "two_ends"))
