"""Intents of the protocol as calls of the contract layer, in the same unit of work.

The seller's platform calls as the provider's representative: provider and consumer are the
owners of the two meters, whatever platforms the contract names. A refusal of the contract layer
becomes the code that the wire knows, its own code the cause.
Source: settlement specification, section 11.2.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adapter.domain.errors import ContractError
from adapter.domain.intents import (
    AcceptAgreement,
    AcceptShares,
    CancelAgreement,
    Granted,
    Intent,
    Outcome,
    ProposeAgreement,
    ProposeShare,
    Refused,
)
from adapter.domain.quantities import Energy
from adapter.protocol.contract import CONTRACT_PATH, filled_role, with_role
from adapter.protocol.orders import exact
from adapter.service.agreed_price import check_flows, price_args
from adapter.service.cap_room import BUY, SELL, owner_of, room_left
from adapter.service.ports import UnitOfWork
from adapter.service.settle_shares import accept_shares, cancel_shares, propose_share
from adapter.settlement import (
    AgreementState,
    AgreementView,
    agreement_view,
    execute,
    parse_command,
)

WIRE_CODES: Mapping[str, str] = {
    "TRADE_CAP_EXCEEDED": "BIZ_QUANTITY_UNAVAILABLE",
    "INSUFFICIENT_FUNDS": "BIZ_PAYMENT_FAILED",
    "INSUFFICIENT_ALLOWANCE": "BIZ_PAYMENT_FAILED",
    "AGREEMENT_ALREADY_EXISTS": "BIZ_INVALID_STATE_TRANSITION",
    "PROPOSAL_EXPIRED": "BIZ_QUOTE_EXPIRED_OR_CHANGED",
    "CANCELLATION_NOT_ALLOWED": "POL_CANCELLATION_NOT_ALLOWED",
}
"""What a refusal is called on the wire; all others are BIZ_FULFILLMENT_UNAVAILABLE."""
_NO_MEANS = "the means of a party, or its allowance on them, do not cover what the trade takes"
_WIRE_MESSAGES: Mapping[str, str] = {
    "INSUFFICIENT_FUNDS": _NO_MEANS,
    "INSUFFICIENT_ALLOWANCE": _NO_MEANS,
}
"""In place of the contract layer's own: what one party owns is not the other's business."""
_WIRE_DETAILS = ("participant", "participants", "max_trade_kwh")
_QUANTITY_PATH = f"{CONTRACT_PATH}.roles[?(@.role=='BUYER')].roleInputs.contractedQuantity"


def settle_intent(uow: UnitOfWork, intent: Intent, command_id: str, now_ms: int) -> Outcome:
    """Return the contract layer's answer; a refusal has changed nothing."""
    try:
        return uow.savepoint(lambda: _CALLS[type(intent)](uow, intent, command_id, now_ms))
    except ContractError as error:
        if error.code == "TRADE_CAP_EXCEEDED" and isinstance(intent, ProposeAgreement):
            return _over_cap(intent, _max_trade(uow, intent, now_ms))
        return _refused(error)


def _propose(uow: UnitOfWork, intent: ProposeAgreement, command_id: str, now_ms: int) -> Granted:
    at_ms = intent.window.start_ms
    provider = owner_of(uow, intent.source_meter_id, at_ms)
    consumer = owner_of(uow, intent.target_meter_id, at_ms)
    args: dict[str, object] = {
        "contract_id": intent.contract_id,
        "provider": provider,
        "consumer": consumer,
        "source_meter": intent.source_meter_id,
        "target_meter": intent.target_meter_id,
        "energy_amount_kwh": intent.energy.kwh,
        **price_args(intent.price),
        "currency": intent.price.currency,
        "window": {"start": intent.window.start_ms, "end": intent.window.end_ms},
        "basis": intent.basis,
    }
    command = parse_command(command_id, "agreements", "create_agreement", args)
    done = execute(uow.ledger, command, intent.caller, now_ms, on_behalf_of=provider)
    view = agreement_view(uow.ledger, intent.caller, done.result["agreement_no"], now_ms)
    assert view is not None
    inputs = role_inputs(view)
    contract = with_role(intent.contract, filled_role("GRID_OPERATOR", "operator", inputs))
    check_flows(intent, contract, view.terms.wheeling_rate)
    return Granted(inputs, view.until_ms)


def _view(uow: UnitOfWork, intent: Intent, now_ms: int) -> AgreementView:
    view = agreement_view(uow.ledger, intent.caller, intent.contract_id, now_ms)
    if view is None:
        raise ContractError("AGREEMENT_NOT_FOUND", f"no agreement about {intent.contract_id!r}")
    return view


def role_inputs(view: AgreementView) -> dict[str, Any]:
    """Return the GRID_OPERATOR inputs: a snapshot at approval, without this contract."""
    return {
        "wheelingCharges": exact(view.terms.wheeling_rate),
        "current_buyer_trades_total": exact(view.buyer_cap.total),
        "current_seller_trade_total": exact(view.seller_cap.total),
        "buyer_trade_cap": exact(view.buyer_cap.cap),
        "seller_trade_cap": exact(view.seller_cap.cap),
    }


def _accept(uow: UnitOfWork, intent: AcceptAgreement, command_id: str, now_ms: int) -> Granted:
    view = _view(uow, intent, now_ms)
    args: dict[str, object] = {"agreement_no": view.agreement_no}
    command = parse_command(command_id, "agreements", "accept_agreement", args)
    execute(uow.ledger, command, intent.caller, now_ms, on_behalf_of=view.terms.provider)
    return Granted()


def _cancel(uow: UnitOfWork, intent: CancelAgreement, command_id: str, now_ms: int) -> Outcome:
    """Cancel for the provider; where both parties have to agree, that alone may only ask.

    Of a market all shares are cancelled.
    """
    done = cancel_shares(uow, intent, command_id, now_ms)
    if done is not None:
        return done
    view = _view(uow, intent, now_ms)
    args: dict[str, object] = {"agreement_no": view.agreement_no}
    command = parse_command(command_id, "agreements", "cancel_agreement", args)
    execute(uow.ledger, command, intent.caller, now_ms, on_behalf_of=view.terms.provider)
    if _view(uow, intent, now_ms).state is AgreementState.CANCELLED:
        return Granted()
    msg = "the buyer has to agree: agreements.cancel_agreement by the buyer or its app"
    return _refused(ContractError("CANCELLATION_NOT_ALLOWED", msg))


def _refused(error: ContractError) -> Refused:
    code = WIRE_CODES.get(error.code, "BIZ_FULFILLMENT_UNAVAILABLE")
    message = _WIRE_MESSAGES.get(error.code, error.message)
    shown = {name: error.details[name] for name in _WIRE_DETAILS if name in error.details}
    cause = {"code": error.code, "message": message} | ({"details": shown} if shown else {})
    return Refused(code, message, cause)


def _over_cap(intent: ProposeAgreement, room: Energy) -> Refused:
    message = f"{intent.energy} kWh exceeds the maximum trade of {room} kWh"
    cause = {
        "code": "TRADE_CAP_EXCEEDED",
        "message": message,
        "details": {"max_trade_kwh": str(room)},
    }
    return Refused(WIRE_CODES["TRADE_CAP_EXCEEDED"], message, cause, _QUANTITY_PATH)


def _max_trade(uow: UnitOfWork, intent: ProposeAgreement, now_ms: int) -> Energy:
    """Return the smaller room of the two meters; what the contract itself reserves counts as room.

    With caps per slot it is the room of the fullest slot, as the energy counts evenly over them.
    """
    known = agreement_view(uow.ledger, intent.caller, intent.contract_id, now_ms)
    is_proposed = known is not None and known.state is AgreementState.PROPOSED
    own = Energy(known.terms.energy) if known is not None and is_proposed else Energy(0)
    meters = ((intent.source_meter_id, SELL), (intent.target_meter_id, BUY))
    rooms = [room_left(uow, meter, side, intent.window, now_ms) for meter, side in meters]
    return Energy(min(room for room in rooms if room is not None)) + own


_Call = Callable[[UnitOfWork, Any, str, int], Outcome]
_CALLS: Mapping[type, _Call] = {
    ProposeAgreement: _propose,
    AcceptAgreement: _accept,
    CancelAgreement: _cancel,
    ProposeShare: propose_share,
    AcceptShares: accept_shares,
}
