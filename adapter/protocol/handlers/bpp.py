"""The seller's platform: offers, terms, and the cascade to its grid operator.

The platform answers a buyer's init and confirm when the operator has answered its own, or with an
error when the deadline passes. The parent is never confirmed before the child.
Source: protocol specification, sections 11 and 12.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import SECOND_MS, DeliveryInterval, parse_instant
from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Ending, StockTaken, Trade, TradeState
from adapter.protocol.actions import Action
from adapter.protocol.catalogue import (
    check_order_against_offer,
    check_stands,
    check_stock,
    pricing,
)
from adapter.protocol.contexts import TERMS_TTL_MS, base_of
from adapter.protocol.contract import CONTRACT_PATH, inputs_of, role_of
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    Lapsed,
    NoAnswer,
    NotTaken,
    Received,
    StockChange,
)
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers import cascade
from adapter.protocol.handlers.cascade import conclude_cancel, give_back
from adapter.protocol.handlers.cascade_requests import ask_cancel, ask_confirm, ask_init
from adapter.protocol.handlers.discovery import answer_discover
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
    refuse_while_pending,
    without_grid_operator,
)
from adapter.protocol.lifecycle import Step, advance, allows, illegal
from adapter.protocol.metered import instant
from adapter.protocol.orders import (
    contract_of,
    energy_lines,
    with_contract,
    with_quote,
    with_status,
    without,
)
from adapter.protocol.role_inputs import unwrap

_TEMPLATE_TAKEN = "contract {} belongs to another transaction; select the offer to get one"


def decide(trade: Trade | None, event: Event, facts: Facts) -> Decision:
    """Return what follows from `event`; see `handlers.decide`."""
    match event:
        case Received(envelope) if not envelope.action.is_callback:
            return _REQUESTS[envelope.action](trade, envelope, facts)
        case Lapsed():
            assert trade is not None
            return _lapse(trade)
        case Received() | NoAnswer() | NotTaken():
            assert trade is not None
            return cascade.decide(trade, event, facts)
        case _:
            return Decision()


def _select(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    trade = _opened(trade, envelope, facts)
    refuse_while_pending(trade, "select")
    selected = advance(trade, Step.SELECT)
    offer = _offer(envelope, facts)
    energy = check_stock(envelope.order, offer, own_micro_kwh=_own_stock(trade, offer))
    contract_id, bind = _contract_id(trade, envelope, offer, facts)
    contract = {**envelope.contract, "contractId": contract_id}
    lines = energy_lines(energy, pricing(offer), _quoted_window(envelope, offer))
    order = with_quote(with_contract(envelope.order, contract), *lines)
    until_ms = _terms_end(offer, facts)
    selected = replace(
        selected,
        order=order,
        contract_id=contract_id,
        terms_until_ms=until_ms,
        stock=None,
    )
    reply = answer(
        open_request(envelope, facts),
        facts,
        order=order,
        ttl_ms=max(until_ms - facts.now_ms, SECOND_MS),
        expires_ms=until_ms,
    )
    return Decision(selected, (reply,), stock=give_back(trade), bind=bind)


def _init(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    trade = _opened(trade, envelope, facts)
    refuse_while_pending(trade, "init")
    pending = advance(trade, Step.INIT)
    offer = _offer(envelope, facts)
    _check_window(envelope, offer)
    energy = check_stock(envelope.order, offer, own_micro_kwh=_own_stock(trade, offer))
    contract_id, bind = _contract_id(trade, envelope, offer, facts)
    order = _order_without_operator(trade, envelope)
    own = _own_stock(trade, offer)
    taken = max(own, energy.micro_kwh)  # terms that stand keep their share until they are replaced
    stock = StockChange(offer.offer_id, own - taken)
    returned = () if own else give_back(trade)
    pending = replace(
        pending,
        contract_id=contract_id,
        request=open_request(envelope, facts, order),
        stock=StockTaken(offer.offer_id, taken),
    )
    if facts.operator is None:
        window = _quoted_window(envelope, offer)
        quoted = with_quote(order, *energy_lines(energy, pricing(offer), window))
        decision = cascade.initiate(pending, quoted, _terms_end(offer, facts), facts)
    else:
        decision = ask_init(pending, order, facts.operator, facts)
    return replace(decision, stock=(*returned, stock, *decision.stock), bind=bind)


def _confirm(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    assert trade is not None
    check_confirmable(trade, facts.now_ms)
    order = current_order(trade)
    check_same_terms(envelope.order, order)
    for offer in facts.offers:
        check_stands(offer, facts.now_ms)
    pending = replace(advance(trade, Step.CONFIRM), request=open_request(envelope, facts, order))
    if trade.leg is None:
        return cascade.conclude_confirm(pending, facts)
    return ask_confirm(pending, facts)


def _cancel(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    assert trade is not None
    if trade.ended is Ending.CANCELLED:
        return Decision(notice=cancelled_twice(trade))
    refuse_while_pending(trade, "cancel")
    check_order_known(trade, envelope)
    request = open_request(envelope, facts)
    if trade.state is TradeState.DELIVERING or _window_begun(trade, facts.now_ms):
        return Decision(trade, (answer_error(trade, request, facts, begun(trade)),))
    if not allows(trade, Step.CANCEL):
        raise illegal(trade, "cancel")
    if trade.leg is None or not trade.leg.role_inputs:  # the operator has reserved nothing
        return conclude_cancel(replace(trade, request=request), facts)
    return ask_cancel(replace(trade, request=request), facts)


def _status(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    assert trade is not None
    check_order_known(trade, envelope)
    reply = answer(open_request(envelope, facts), facts, order=current_order(trade))
    return Decision(outgoing=(reply,))


def _lapse(trade: Trade) -> Decision:
    """End a trade whose terms ran out; what it took from the stock goes back."""
    order = None if trade.order is None else with_status(trade.order, "TERMINATED")
    lapsed = replace(advance(trade, Step.LAPSE), ended=Ending.LAPSED, order=order, stock=None)
    return Decision(lapsed, stock=give_back(trade))


def _opened(trade: Trade | None, envelope: Envelope, facts: Facts) -> Trade:
    if trade is None:
        trade = Trade(Side.BPP, envelope.transaction_id, envelope.bap, envelope.dialect)
    return replace(trade, context=base_of(envelope.context, facts.me.as_bpp))


def _offer(envelope: Envelope, facts: Facts) -> Offer:
    return check_order_against_offer(
        envelope.order,
        facts.offers,
        facts.me,
        cascades=facts.operator is not None,
        now_ms=facts.now_ms,
    )


def _own_stock(trade: Trade, offer: Offer) -> int:
    own = trade.stock
    return own.energy_micro_kwh if own is not None and own.offer_id == offer.offer_id else 0


def _quoted_window(envelope: Envelope, offer: Offer) -> DeliveryInterval:
    """Return for when a tariff is quoted: the window that the buyer names, else the offer's.

    A buyer may name it before it fills its role.
    """
    whole = DeliveryInterval(offer.production_start_ms, offer.production_end_ms)
    if offer.tariff is None:
        return whole
    entry = role_of(envelope.contract, "BUYER") or {}
    inputs = entry.get("roleInputs") or {}
    names = ("tradeStartTime", "tradeEndTime")
    start, end = (instant(unwrap(inputs.get(name))) for name in names)
    if start is None or end is None:
        return whole
    if not offer.production_start_ms <= start < end <= offer.production_end_ms:
        raise _not_produced(offer)
    return DeliveryInterval(start, end)


def _check_window(envelope: Envelope, offer: Offer) -> None:
    """A trade takes place while the offer's energy is produced."""
    buyer = inputs_of(envelope.contract, "BUYER")
    start, end = parse_instant(buyer["tradeStartTime"]), parse_instant(buyer["tradeEndTime"])
    if not offer.production_start_ms <= start < end <= offer.production_end_ms:
        raise _not_produced(offer)


def _not_produced(offer: Offer) -> WireError:
    msg = f"offer {offer.offer_id} produces no energy in all of the trade window"
    return WireError("BIZ_QUANTITY_UNAVAILABLE", msg, path=f"{CONTRACT_PATH}.roles")


def _contract_id(
    trade: Trade, envelope: Envelope, offer: Offer, facts: Facts
) -> tuple[str, str | None]:
    """Return the binding contract id of this trade, and the id to bind if it is new (R4)."""
    named = str(envelope.contract.get("contractId"))
    if named == trade.contract_id:
        return named, None
    if named != offer.template_contract_id:
        raise _foreign_contract(named)
    if facts.bound_to in (None, trade.transaction_id):
        return named, named
    if envelope.action is Action.SELECT:
        fresh = f"{named}-{facts.new_id()}"
        return fresh, fresh
    raise _foreign_contract(named)


def _foreign_contract(named: str) -> WireError:
    msg = _TEMPLATE_TAKEN.format(repr(named[:40]))
    return WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.contractId")


def _order_without_operator(trade: Trade, envelope: Envelope) -> Mapping[str, Any]:
    """Return the order with GRID_OPERATOR open again; only the operator's own answer fills it."""
    entry = role_of(envelope.contract, "GRID_OPERATOR")
    if entry is not None and entry.get("filled"):
        known = trade.leg.role_inputs if trade.leg is not None else {}
        if inputs_of(envelope.contract, "GRID_OPERATOR") != known:
            msg = "GRID_OPERATOR inputs are set by the grid operator alone"
            raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.roles")
    contract = without_grid_operator(envelope.contract)
    return with_contract(without(envelope.order, "beckn:quote"), contract)


def _terms_end(offer: Offer, facts: Facts) -> int:
    until_ms = facts.now_ms + TERMS_TTL_MS
    return until_ms if offer.valid_until_ms is None else min(until_ms, offer.valid_until_ms)


def _window_begun(trade: Trade, now_ms: int) -> bool:
    if trade.state is not TradeState.CONFIRMED:
        return False
    start = inputs_of(contract_of(current_order(trade)), "BUYER")["tradeStartTime"]
    return now_ms >= parse_instant(start)


_REQUESTS = {
    Action.DISCOVER: answer_discover,
    Action.SELECT: _select,
    Action.INIT: _init,
    Action.CONFIRM: _confirm,
    Action.CANCEL: _cancel,
    Action.STATUS: _status,
}
