"""What the handlers may know of this node besides a trade and an event: offers, other trades."""

from dataclasses import replace
from functools import partial

from adapter.domain.parties import Side
from adapter.domain.trade import TradeState
from adapter.protocol.actions import Action
from adapter.protocol.decision import Event, Facts, Received
from adapter.protocol.envelope import Envelope
from adapter.protocol.lifecycle import CONFIRMED_STATES
from adapter.protocol.orders import first_id
from adapter.service.ports import UnitOfWork
from adapter.settlement.curve_clearing import clear_curves

TAKEN_BY = {
    Action.INIT: CONFIRMED_STATES,
    Action.CONFIRM: CONFIRMED_STATES | {TradeState.INITIATED},
}
"""States in which another trade keeps a contract from a request to the grid operator."""


def with_offers(uow: UnitOfWork, envelope: Envelope, facts: Facts) -> Facts:
    """Return the facts with all open offers for a discover, else with the one that is named."""
    if envelope.action is Action.DISCOVER:
        open_offers = [
            offer
            for offer in uow.offers()
            if (offer.valid_until_ms is None or facts.now_ms <= offer.valid_until_ms)
            and (offer.available_micro_kwh > 0 or offer.market is not None)
        ]
        return replace(facts, offers=open_offers)
    offer = uow.offer(first_id(envelope.order, "beckn:offers"))
    contract_id = str(envelope.contract.get("contractId", ""))
    return replace(
        facts,
        offers=() if offer is None else (offer,),
        bound_to=uow.contract_transaction(contract_id),
    )


def is_taken(uow: UnitOfWork, envelope: Envelope) -> bool:
    """Return whether another transaction of the same platform has the contract."""
    contract_id = str(envelope.contract.get("contractId", ""))
    sender = envelope.bap.subscriber_id
    other = uow.trade_of_contract(Side.GRID_OPERATOR, sender, contract_id)
    return (
        other is not None
        and other.transaction_id != envelope.transaction_id
        and other.state in TAKEN_BY[envelope.action]
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
