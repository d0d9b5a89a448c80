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
    CancelAgreement,
    Granted,
    Intent,
    Outcome,
    ProposeAgreement,
    Refused,
)
from adapter.domain.quantities import Energy
from adapter.protocol.contract import CONTRACT_PATH, filled_role, with_role
from adapter.protocol.orders import exact
from adapter.service.agreed_price import check_flows, price_args
from adapter.service.ports import UnitOfWork
from adapter.settlement import (
    AgreementState,
    AgreementView,
    agreement_view,
    execute,
    meter_owner,
    parse_command,
    read,
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
_NO_CASH = "the buyer's cash, or the allowance on it, does not cover what the trade would hold"
_WIRE_MESSAGES: Mapping[str, str] = {
    "INSUFFICIENT_FUNDS": _NO_CASH,
    "INSUFFICIENT_ALLOWANCE": _NO_CASH,
}
"""In place of the contract layer's own: what the buyer owns is not the seller's business."""
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
    provider = _owner(uow, intent.source_meter_id, at_ms)
    consumer = _owner(uow, intent.target_meter_id, at_ms)
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
    execute(uow.ledger, command, intent.caller, now_ms, on_behalf_of=provider)
    view = _view(uow, intent, now_ms)
    inputs = role_inputs(view)
    contract = with_role(intent.contract, filled_role("GRID_OPERATOR", "operator", inputs))
    check_flows(intent, contract, view.terms.wheeling_rate)
    return Granted(inputs, view.until_ms)


def _owner(uow: UnitOfWork, meter_id: str, at_ms: int) -> str:
    owner = meter_owner(uow.ledger, meter_id, at_ms)
    if owner is None:
        msg = f"meter {meter_id[:60]!r} has no owner when the trade window begins"
        raise ContractError("METER_NOT_FOUND", msg)
    return owner


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
    """Cancel for the provider; where both parties have to agree, that alone may only ask."""
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
    return Refused(code, message, {"code": error.code, "message": message})


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
    slots = intent.window.epochs()

    def room(meter_id: str, side: str, slot: int | None = None) -> int | None:
        owner = _owner(uow, meter_id, intent.window.start_ms)
        args = {"meter_id": meter_id} | ({} if slot is None else {"slot": slot})
        cap = read(uow.ledger, "registry", "get_trade_caps", args, owner, now_ms)[side]
        return Energy.from_kwh(cap["room"]).micro_kwh if cap["capped"] else None

    rooms = []
    for meter_id, side in ((intent.source_meter_id, "SELL"), (intent.target_meter_id, "BUY")):
        whole = room(meter_id, side)
        if whole is not None:
            rooms.append(whole)
        else:
            parts = [room(meter_id, side, slot) for slot in slots]
            rooms += [part * len(slots) for part in parts if part is not None]
    return Energy(min(rooms)) + own


_Call = Callable[[UnitOfWork, Any, str, int], Outcome]
_CALLS: Mapping[type, _Call] = {
    ProposeAgreement: _propose,
    AcceptAgreement: _accept,
    CancelAgreement: _cancel,
}
