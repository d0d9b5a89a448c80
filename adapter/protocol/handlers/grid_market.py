"""The grid operator towards a market: one transaction for all who take part in one contract.

An init names one prosumer and reserves room for its meter; one confirm names everybody who trades
and what cleared, and is granted for all or for nobody. What the ledger says of a share is told
apart from the others, in the participant's own view.
Source: protocol specification, section 12; contract specification, sections 7.3 and 10; decision
0019.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.intents import (
    AcceptShares,
    ClearedShare,
    Granted,
    Outcome,
    ProposeShare,
    Refused,
    share_id,
)
from adapter.domain.market import cleared_energies
from adapter.domain.parties import Side
from adapter.domain.quantities import MICRO, UnitPrice
from adapter.domain.replace import replace
from adapter.domain.trade import Ending, Trade, TradeState
from adapter.protocol.actions import Action
from adapter.protocol.cleared import cleared_keys, filled_prosumers, meter_of
from adapter.protocol.contexts import base_of
from adapter.protocol.contract import (
    CONTRACT_PATH,
    filled_role,
    formulas_of,
    inputs_of,
    inputs_of_entry,
    role_of,
    with_role,
)
from adapter.protocol.coordination import read_curve
from adapter.protocol.decision import Decision, Facts, News, Received
from adapter.protocol.envelope import Envelope
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
    check_confirmable,
    check_same_contract,
    current_order,
    inconsistent,
    open_request,
    push,
    refuse_while_pending,
)
from adapter.protocol.lifecycle import Step, advance, allows, illegal, is_final
from adapter.protocol.market_orders import APPROVED, approved_range, share_fulfillment
from adapter.protocol.market_terms import (
    CLEARED_PATH,
    check_on_curve,
    cleared_powers,
    clearing_price,
    most_of,
    read_market_terms,
)
from adapter.protocol.market_view import AGENT, OPERATOR
from adapter.protocol.orders import contract_of, exact, with_contract, with_delivery, with_status

FULFILLMENTS = "beckn:fulfillments"
_ROLES_PATH = f"{CONTRACT_PATH}.roles"
_ENDED = ("COMPLETED", "TERMINATED")


# Reserving, one participant at a time


def init(trade: Trade | None, received: Received, facts: Facts) -> Decision:
    """Ask the contract layer to reserve room for the one meter that the contract names."""
    envelope = received.envelope
    check_not_taken(envelope, facts)
    if trade is None:
        trade = Trade(Side.GRID_OPERATOR, envelope.transaction_id, envelope.bap, envelope.dialect)
    refuse_while_pending(trade, "init")
    if not allows(trade, Step.INIT):
        raise illegal(trade, "init")
    check_own_role(envelope, facts)
    contract = envelope.contract
    check_same_contract(envelope.order, trade.contract_id)
    if trade.order is not None:
        _check_same_market(contract, contract_of(trade.order))
    terms = read_market_terms(contract)
    prosumers = filled_prosumers(contract)
    if len(prosumers) != 1:
        msg = f"an init names one PROSUMER, not {len(prosumers)}"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=_ROLES_PATH)
    inputs = inputs_of_entry(prosumers[0])
    most = most_of(read_curve(inputs["offerCurve"]), terms)
    meter_id, contract_id = str(inputs["sourceMeterId"]), str(contract["contractId"])
    waiting = replace(
        trade,
        context=base_of(envelope.context, facts.me.as_bpp),
        contract_id=contract_id,
        request=open_request(envelope, facts, envelope.order),
    )
    proposal = ProposeShare(
        caller=envelope.bap.subscriber_id,
        contract_id=share_id(contract_id, meter_id),
        meter_id=meter_id,
        is_export=most.is_export,
        most=most.energy,
        price=max(most.price, terms.fee, key=lambda price: price.micro_per_kwh),
        terms=terms,
        contract=contract,
    )
    return Decision(waiting, intents=(proposal,))


def _check_same_market(contract: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a contract that says something else about the market than the inits before it.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT.
    """
    fee, agreed = inputs_of(contract, AGENT), inputs_of(known, AGENT)
    if fee.get("marketMakingFee") != agreed.get("marketMakingFee"):
        raise inconsistent("marketMakingFee", agreed.get("marketMakingFee"), _ROLES_PATH)
    if read_market_terms(contract) != read_market_terms(known):
        path = f"{CONTRACT_PATH}.inputParameters"
        raise inconsistent("inputParameters", known.get("inputParameters"), path)
    if formulas_of(contract) != formulas_of(known):
        path = f"{CONTRACT_PATH}.revenueFlows.flows"
        raise inconsistent("revenueFlows", "as answered", path)


def proposed(trade: Trade, envelope: Envelope, outcome: Outcome, facts: Facts) -> Decision:
    """Answer with what was reserved for this participant; the others keep theirs."""
    request = pending(trade)
    done = replace(trade, request=None)
    if isinstance(outcome, Refused):
        alone = replace(done, order=None)  # the others are not this participant's business
        return Decision(done, (answer_error(alone, request, facts, outcome_error(outcome)),))
    assert outcome.until_ms is not None
    order = _with_terms(request.order or {}, outcome, facts)
    joined = replace(
        done,
        order=_joined(trade.order, order),
        approved={**trade.approved, **_approved(order)},
        terms_until_ms=outcome.until_ms,
    )
    initiated = advance(joined, Step.INIT)
    ttl_ms = max(outcome.until_ms - facts.now_ms, 1000)
    reply = answer(request, facts, order=order, ttl_ms=ttl_ms, expires_ms=outcome.until_ms)
    return Decision(initiated, (reply,))


def _with_terms(order: Mapping[str, Any], granted: Granted, facts: Facts) -> dict[str, Any]:
    role = filled_role(OPERATOR, facts.me.subscriber_id, granted.role_inputs)
    contract = with_role(contract_of(order), role)
    assert granted.approved_micro_kw is not None
    parameters = {**contract["inputParameters"], APPROVED: exact(granted.approved_micro_kw)}
    contract = {**contract, "inputParameters": parameters}
    return with_contract({**order, "beckn:cancellationTerms": CANCELLATION_TERMS}, contract)


def _approved(order: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the least and most power of the one meter of an order that was approved."""
    contract = contract_of(order)
    (entry,) = filled_prosumers(contract)
    least, most = approved_range(contract)
    return {meter_of(entry): (int(least * MICRO), int(most * MICRO))}


def _joined(known: Mapping[str, Any] | None, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the order about all participants, one of which has come or come again."""
    contract = contract_of(order)
    (entry,) = filled_prosumers(contract)
    others = () if known is None else filled_prosumers(contract_of(known))
    kept = [other for other in others if meter_of(other) != meter_of(entry)]
    agent, operator = role_of(contract, AGENT), role_of(contract, OPERATOR)
    parameters = {k: v for k, v in contract["inputParameters"].items() if k != APPROVED}
    whole = {
        **contract,
        "roles": [agent, *kept, entry, operator],
        "inputParameters": parameters,
    }
    parts = [*(known or {}).get(FULFILLMENTS, ()), *order.get(FULFILLMENTS, ())]
    by_id = {str(part.get("beckn:id")): part for part in parts}
    return with_contract({**order, FULFILLMENTS: list(by_id.values())}, whole)


# Clearing, for all or for nobody


def confirm(trade: Trade | None, received: Received, facts: Facts) -> Decision:
    """Ask the contract layer to make what cleared binding."""
    assert trade is not None
    envelope = received.envelope
    check_confirmable(trade, facts.now_ms)
    check_same_contract(envelope.order, trade.contract_id)
    known = contract_of(current_order(trade))
    _check_same_terms(envelope.contract, known)
    check_not_taken(envelope, facts)
    contract = envelope.contract
    terms = read_market_terms(contract)
    powers = cleared_powers(contract)
    price = clearing_price(contract, terms)
    _check_on_curves(trade, known, powers, price)
    energies = cleared_energies(powers, terms.window)
    intent = AcceptShares(
        caller=trade.peer.subscriber_id,
        contract_id=str(trade.contract_id),
        price=price,
        terms=terms,
        shares=tuple(
            ClearedShare(meter, powers[meter] > 0, energy) for meter, energy in energies.items()
        ),
    )
    waiting = replace(trade, request=open_request(envelope, facts, envelope.order))
    return Decision(waiting, intents=(intent,))


def _check_same_terms(contract: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a confirm that changes the market, the operator's charge or somebody's offer.

    The operator's totals and caps are of one meter each, so they cannot bind here; each share is
    judged by the ledger.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT; BIZ_FULFILLMENT_UNAVAILABLE, nothing was reserved for
            some meters, `details.cause.details.participants`.
    """
    _check_same_market(contract, known)
    given, fixed = (inputs_of(one, OPERATOR).get("wheelingCharges") for one in (contract, known))
    if given != fixed:
        raise inconsistent("wheelingCharges", fixed, _ROLES_PATH)
    offers = {meter_of(entry): _offer(entry) for entry in filled_prosumers(known)}
    given_offers = {meter_of(entry): _offer(entry) for entry in filled_prosumers(contract)}
    if unknown := [meter for meter in given_offers if meter not in offers]:
        msg = f"nothing is reserved for meter {unknown[0]!r}"
        details = {"participant": unknown[0], "participants": unknown}
        cause = {"code": "AGREEMENT_NOT_FOUND", "message": msg, "details": details}
        raise outcome_error(Refused("BIZ_FULFILLMENT_UNAVAILABLE", msg, cause, _ROLES_PATH))
    for meter, offer in given_offers.items():
        if offer != offers[meter]:
            what = f"PROSUMER {meter}"
            raise inconsistent(what, "as reserved", _ROLES_PATH)


def _offer(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what a prosumer brought, and through whom."""
    return str(entry.get("filledBy")), inputs_of_entry(entry)


def _check_on_curves(
    trade: Trade, known: Mapping[str, Any], powers: Mapping[str, int], price: UnitPrice
) -> None:
    """Refuse a clearing that somebody's curve does not allow, as far as it was approved.

    The ledger sees no curves: it would pay whatever energy was reserved at whatever price. No
    participant is the reason, so none is named.

    Raises:
        WireError: BIZ_PRICE_MISMATCH.
    """
    at = Fraction(price.micro_per_kwh, MICRO)
    for entry in filled_prosumers(known):
        meter = meter_of(entry)
        if meter in powers:
            least, most = trade.approved[meter]
            curve = read_curve(inputs_of_entry(entry)["offerCurve"])
            approved = Fraction(least, MICRO), Fraction(most, MICRO)
            check_on_curve(Fraction(powers[meter], MICRO), curve, at, approved, CLEARED_PATH)


def accepted(trade: Trade, envelope: Envelope, outcome: Outcome, facts: Facts) -> Decision:
    """Answer that the contract is in force for everybody, or why for nobody."""
    request = pending(trade)
    done = replace(trade, request=None)
    if isinstance(outcome, Refused):
        return Decision(done, (answer_error(done, request, facts, outcome_error(outcome)),))
    order = with_status(request.order or {}, "ACTIVE")
    contract = contract_of(order)
    parts = [_with_state(part, "PENDING") for part in _parts(order)]
    order = {**order, FULFILLMENTS: parts, "beckn:cancellationTerms": CANCELLATION_TERMS}
    order = with_contract(order, contract)
    shares = dict.fromkeys(cleared_keys(contract), "ACTIVE")
    confirmed = advance(replace(done, order=order, shares=shares), Step.CONFIRM)
    return Decision(confirmed, (answer(request, facts, order=order),))


def _parts(order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return one delivery for each participant, ours where the market names none of its own."""
    contract = contract_of(order)
    named = {tuple(set(_meters(part))): part for part in order.get(FULFILLMENTS, ())}
    return [
        named.get((meter_of(entry),)) or share_fulfillment(entry, contract)
        for entry in filled_prosumers(contract)
    ]


def _with_state(part: Mapping[str, Any], state: str) -> dict[str, Any]:
    descriptor = {"@type": "beckn:Descriptor", "schema:name": state}
    return {**part, "beckn:state": {"@type": "beckn:State", "beckn:descriptor": descriptor}}


# News of one share


def tell(trade: Trade, news: News, facts: Facts) -> Decision:
    """Push what the ledger says about one share; with the last one the contract is over."""
    if is_final(trade) or trade.shares.get(news.participant, "TERMINATED") in _ENDED:
        return Decision()
    shares = {**trade.shares, news.participant: news.status}
    order = participant_order(current_order(trade), news.participant)
    state = str(news.delivery.get("deliveryStatus"))
    order = with_delivery(order, status=news.status, state=state, delivery=news.delivery)
    whole = _with_part(current_order(trade), order[FULFILLMENTS][0])
    moved = _moved(replace(trade, order=whole, shares=shares))
    return Decision(moved, (push(replace(moved, order=order), Action.ON_STATUS, facts),))


def _moved(trade: Trade) -> Trade:
    """Return the trade in the state that its shares are in together."""
    statuses = set(trade.shares.values())
    if not statuses <= set(_ENDED):
        return advance(trade, Step.DELIVER) if _delivers(trade) else trade
    status = "COMPLETED" if "COMPLETED" in statuses else "TERMINATED"
    ended = replace(trade, order=with_status(current_order(trade), status))
    if status == "TERMINATED":
        return replace(advance(ended, Step.TERMINATE), ended=Ending.FAILED)
    if ended.state is TradeState.CONFIRMED:
        ended = advance(ended, Step.DELIVER)
    return advance(ended, Step.COMPLETE)


def _delivers(trade: Trade) -> bool:
    """Return whether a share that still runs has news of its delivery."""
    if trade.state is TradeState.DELIVERING:
        return True
    return any(
        (part.get("beckn:attributes") or {}).get("deliveryStatus") in ("IN_PROGRESS", "COMPLETED")
        for part in current_order(trade)[FULFILLMENTS]
    )


def participant_order(order: Mapping[str, Any], meter_id: str) -> dict[str, Any]:
    """Return the order about one participant: its role, its own cleared power, its delivery."""
    contract = contract_of(order)
    entry = next(one for one in filled_prosumers(contract) if meter_of(one) == meter_id)
    key = cleared_keys(contract)[meter_id]
    agent = role_of(contract, AGENT)
    assert agent is not None
    inputs = inputs_of(contract, AGENT)
    inputs["clearedPower"] = {key: inputs["clearedPower"][key]}
    own = filled_role(AGENT, agent["filledBy"], inputs)
    roles = [own, entry, role_of(contract, OPERATOR)]
    parts = [part for part in order[FULFILLMENTS] if meter_id in _meters(part)]
    return with_contract({**order, FULFILLMENTS: parts}, {**contract, "roles": roles})


def _with_part(order: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole order with one delivery as it stands now."""
    parts = [
        changed if part.get("beckn:id") == changed.get("beckn:id") else part
        for part in order[FULFILLMENTS]
    ]
    return with_contract({**order, FULFILLMENTS: parts}, contract_of(order))


def _meters(part: Mapping[str, Any]) -> list[str]:
    """Return the meters at which a delivery begins or ends."""
    stops = part.get("beckn:stops") or ()
    return [str((stop.get("beckn:location") or {}).get("beckn:address")) for stop in stops]
