"""The requests that a seller's platform or a market sends on the leg towards its grid operator.

Source: protocol specification, section 12.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import SECOND_MS
from adapter.domain.replace import replace
from adapter.domain.trade import CascadeLeg, LegState, OpenRequest, Peer, Trade
from adapter.protocol.actions import Action
from adapter.protocol.contexts import CALLBACK_TTL_MS, message_context, transaction_base
from adapter.protocol.contract import open_role, with_role
from adapter.protocol.decision import Decision, Facts, MessageKind, Outgoing
from adapter.protocol.handlers.shared import current_order
from adapter.protocol.orders import (
    CORE_CONTEXT,
    contract_of,
    order_id,
    order_reference,
    with_contract,
)

MIN_PARENT_LEFT_MS = 4 * SECOND_MS
"""A parent message with less time left is refused: no cascade fits into it (R5)."""
_RESERVED_MS = 10 * SECOND_MS


def ask_init(trade: Trade, order: Mapping[str, Any], operator: Peer, facts: Facts) -> Decision:
    """Send the cascaded init of a parent whose init is pending."""
    parent = parent_of(trade)
    contract = with_role(contract_of(order), open_role("GRID_OPERATOR"))
    contract_id = str(contract["contractId"])
    known = trade.leg if trade.leg is not None and trade.leg.contract_id == contract_id else None
    transaction_id = facts.new_id() if known is None else known.transaction_id
    child_order = operator_order(order, contract, operator, facts)
    asked = child_request(Action.INIT, operator, transaction_id, parent, child_order, facts)
    leg = CascadeLeg(
        operator,
        transaction_id,
        contract_id,
        child_order["beckn:id"],
        LegState.WAITING,
        opened(asked),
        {} if known is None else known.role_inputs,
    )
    return Decision(replace(trade, leg=leg), (asked,))


def ask_confirm(trade: Trade, facts: Facts) -> Decision:
    """Send the cascaded confirm of a parent whose confirm is pending."""
    leg, parent = leg_of(trade), parent_of(trade)
    order = current_order(trade)
    child_order = operator_order(order, contract_of(order), leg.operator, facts)
    asked = child_request(
        Action.CONFIRM, leg.operator, leg.transaction_id, parent, child_order, facts
    )
    waiting = replace(leg, state=LegState.WAITING, request=opened(asked))
    return Decision(replace(trade, leg=waiting), (asked,))


def ask_cancel(trade: Trade, facts: Facts) -> Decision:
    """Send the cascaded cancel of a parent whose cancel is pending."""
    leg, parent = leg_of(trade), parent_of(trade)
    asked = compensating_cancel(trade, facts)
    _, deadline_ms = _child_time(parent, facts.now_ms)
    asked = replace(asked, deadline_ms=deadline_ms)
    waiting = replace(leg, state=LegState.WAITING, request=opened(asked))
    return Decision(replace(trade, leg=waiting), (asked,))


def child_request(
    action: Action,
    operator: Peer,
    transaction_id: str,
    parent: OpenRequest,
    order: Mapping[str, Any],
    facts: Facts,
) -> Outgoing:
    """Return a request to the operator that is answered before `parent` has to be.

    Raises:
        WireError: CTX_TTL_EXPIRED, the parent leaves less than 4 s.
    """
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


def operator_order(
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


def opened(asked: Outgoing) -> OpenRequest:
    """Return a request of ours as waiting for its answer."""
    assert asked.deadline_ms is not None
    return OpenRequest(asked.action.value, asked.context["message_id"], asked.deadline_ms)


def ask_status(trade: Trade, wait_ms: int, facts: Facts) -> Decision:
    """Ask what became of an unanswered confirm, and wait so long for it."""
    leg = leg_of(trade)
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
    asking = replace(leg, state=LegState.ASKING, request=opened(asked))
    return Decision(replace(trade, leg=asking), (asked,))


def compensating_cancel(trade: Trade, facts: Facts) -> Outgoing:
    """Return a cancel on the leg that is sent until the operator has it."""
    leg = leg_of(trade)
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


def leg_of(trade: Trade) -> CascadeLeg:
    """Return the leg of a trade that has one."""
    assert trade.leg is not None
    return trade.leg


def parent_of(trade: Trade) -> OpenRequest:
    """Return the buyer's request that waits for the operator."""
    assert trade.request is not None
    return trade.request
