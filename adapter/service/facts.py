"""What the handlers may know of this node besides a trade and an event: offers, other trades."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Trade, TradeState
from adapter.protocol.actions import Action
from adapter.protocol.decision import Event, Facts, Received
from adapter.protocol.envelope import Envelope
from adapter.protocol.lifecycle import CONFIRMED_STATES
from adapter.protocol.orders import OFFERS, first_id
from adapter.service.ports import UnitOfWork
from adapter.settlement.curve_clearing import clear_curves

SELLING = frozenset({Side.BPP, Side.MARKET})
"""Sides that have a catalogue."""
BINDING = frozenset({Action.SELECT, Action.INIT})
"""Requests that bind a contract id of our own catalogue."""
TAKEN_BY = {
    Action.INIT: CONFIRMED_STATES,
    Action.CONFIRM: CONFIRMED_STATES | {TradeState.INITIATED},
}
"""States in which another trade keeps a contract from a request to the grid operator."""


def offers_for(uow: UnitOfWork, side: Side, request: Envelope, now_ms: int) -> Sequence[Offer]:
    """Return all open offers for a discover, else the one that the order names."""
    if side not in SELLING:
        return ()
    if request.action is Action.DISCOVER:
        return [
            offer
            for offer in uow.offers()
            if (offer.valid_until_ms is None or now_ms <= offer.valid_until_ms)
            and (offer.available_micro_kwh > 0 or offer.market is not None)
        ]
    named = first_id(request.order, OFFERS)
    offer = uow.offer(named) if named else None
    return () if offer is None else (offer,)


def bound_to(uow: UnitOfWork, side: Side, trade: Trade | None, request: Envelope) -> str | None:
    """Return the transaction that the contract of a select or init is bound to.

    Not asked for when it is the contract that the trade has already.
    """
    if side is not Side.BPP or request.action not in BINDING:
        return None
    contract_id = str(request.contract.get("contractId", ""))
    if trade is not None and trade.contract_id == contract_id:
        return None
    return uow.contract_transaction(contract_id)


def is_taken(uow: UnitOfWork, side: Side, request: Envelope) -> bool:
    """Return whether another transaction of the same platform has the contract."""
    if side is not Side.GRID_OPERATOR or request.action not in TAKEN_BY:
        return False
    contract_id = str(request.contract.get("contractId", ""))
    sender = request.bap.subscriber_id
    other = uow.trade_of_contract(Side.GRID_OPERATOR, sender, contract_id)
    return (
        other is not None
        and other.transaction_id != request.transaction_id
        and other.state in TAKEN_BY[request.action]
    )


def with_market(uow: UnitOfWork, side: Side, event: Event, facts: Facts) -> Facts:
    """Return the facts with those of the market that an event is about."""
    facts = replace(facts, market_trade=partial(uow.trade, Side.MARKET), clear_curves=clear_curves)
    asks = isinstance(event, Received) and event.envelope.action in (Action.INIT, Action.CONFIRM)
    if side is not Side.MARKET or not asks:
        return facts
    assert isinstance(event, Received)
    contract_id = str(event.envelope.contract.get("contractId", ""))
    session_id = uow.contract_transaction(contract_id)
    if session_id is None:
        return facts
    return replace(facts, session=uow.trade(Side.MARKET_SESSION, session_id))
