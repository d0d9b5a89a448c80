"""The shares of a market as calls of the contract layer, for all who take part or for nobody.

The market calls as itself: its user on the ledger has its subscriber id and no meter, and is the
counterparty of every share. Source: settlement specification, section 11.2; decision 0019.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from adapter.domain.errors import ContractError
from adapter.domain.instants import EPOCH_MS, DeliveryInterval
from adapter.domain.intents import (
    AcceptShares,
    CancelAgreement,
    ClearedShare,
    Granted,
    ProposeShare,
    share_id,
)
from adapter.domain.market import CLEARING_MS, EPOCHS_PER_HOUR, MarketTerms
from adapter.domain.quantities import Energy, UnitPrice
from adapter.protocol.cleared import filled_prosumers
from adapter.protocol.orders import exact
from adapter.service.agreed_price import check_market_flows
from adapter.service.cap_room import BUY, SELL, cap_snapshot, check_window, owner_of, room_left
from adapter.service.ports import UnitOfWork
from adapter.settlement import (
    AgreementState,
    AgreementView,
    agreement_view,
    execute,
    market_views,
    meter_capacity,
    parse_command,
)
from adapter.settlement.contracts.parties import acts_for, verify

_COMMAND_ID_MAX = 256
_OPEN = (AgreementState.PROPOSED, AgreementState.ACTIVE)
_BEGUN = (AgreementState.DELIVERED, AgreementState.SETTLED)


def propose_share(uow: UnitOfWork, intent: ProposeShare, command_id: str, now_ms: int) -> Granted:
    """Reserve what a meter may give or take; another proposal of the meter is replaced.

    Raises:
        ContractError: the first refusal; NOT_AUTHORIZED, the platform of the prosumer does not act
            for the owner of the meter; TRADE_CAP_EXCEEDED, the meter has no room at all.
    """
    check_window(intent.terms.window)
    check_market_flows(intent.contract)
    _check_platform(uow, intent)
    terms, window = intent.terms, intent.terms.window
    until_ms = min(terms.gate_ms + CLEARING_MS, window.start_ms)
    if until_ms < now_ms:
        raise ContractError("PROPOSAL_EXPIRED", f"the market closed at {terms.gate_ms}")
    capacity = _capacity(uow, intent)
    room = _room(uow, intent, now_ms)
    power = capacity if room is None else min(capacity, _power(room, window))
    if power <= 0:
        msg = f"meter {intent.meter_id} may trade nothing more in the delivery window"
        raise ContractError("TRADE_CAP_EXCEEDED", msg)
    share = ClearedShare(
        intent.meter_id, intent.is_export, min(intent.most, _energy_at(power, window))
    )
    args = _terms(uow, intent.caller, share, intent.price, terms)
    args |= {"contract_id": intent.contract_id, "valid_until": until_ms}
    _call(uow, intent.caller, "create_agreement", args, command_id, now_ms)
    view = _known(uow, intent.caller, intent.contract_id, now_ms)
    return Granted(_role_inputs(uow, view, now_ms), view.until_ms, power)


def _check_platform(uow: UnitOfWork, intent: ProposeShare) -> None:
    """Refuse a curve that somebody else brings for the meter.

    An allowance lets a market sell what the owner has; at which price, and whether at all, says
    the owner's own platform alone.
    """
    owner = owner_of(uow, intent.meter_id, intent.terms.window.start_ms)
    platform = str(filled_prosumers(intent.contract)[0].get("filledBy"))
    if not acts_for(uow.ledger, platform, owner):
        msg = f"{platform} does not act for the owner of meter {intent.meter_id}"
        raise ContractError("NOT_AUTHORIZED", msg)


def _capacity(uow: UnitOfWork, intent: ProposeShare) -> int:
    return meter_capacity(uow.ledger, intent.meter_id, intent.terms.window.start_ms)


def _room(uow: UnitOfWork, intent: ProposeShare, now_ms: int) -> int | None:
    """Return what the meter may still trade, what it holds for this share included."""
    side = SELL if intent.is_export else BUY
    room = room_left(uow, intent.meter_id, side, intent.terms.window, now_ms)
    known = agreement_view(uow.ledger, intent.caller, intent.contract_id, now_ms)
    if room is None or known is None or known.state is not AgreementState.PROPOSED:
        return room
    return room + known.terms.energy if str(known.terms.metered[0]) == side else room


def _power(energy: int, window: DeliveryInterval) -> int:
    """Return the most whole power, in 10^-6 kW, that stays within an energy over the window."""
    return energy * EPOCHS_PER_HOUR // _quarters(window)


def _energy_at(power: int, window: DeliveryInterval) -> Energy:
    """Return what a power gives over the window; what is cleared may be rounded up to a unit."""
    return Energy(-(-power * _quarters(window) // EPOCHS_PER_HOUR))


def _quarters(window: DeliveryInterval) -> int:
    return (window.end_ms - window.start_ms) // EPOCH_MS


def _role_inputs(uow: UnitOfWork, view: AgreementView, now_ms: int) -> dict[str, Any]:
    """Return the GRID_OPERATOR inputs: both sides of the one meter, without this share."""
    terms, meter_id = view.terms, view.share_meter
    sides = [cap_snapshot(uow, meter_id, side, terms.window, now_ms) for side in (BUY, SELL)]
    buyer, seller = sides
    if terms.is_withdrawal:
        buyer = view.buyer_cap
    else:
        seller = view.seller_cap
    return {
        "wheelingCharges": exact(terms.wheeling_rate),
        "current_buyer_trades_total": exact(buyer.total),
        "current_seller_trade_total": exact(seller.total),
        "buyer_trade_cap": exact(buyer.cap),
        "seller_trade_cap": exact(seller.cap),
    }


def accept_shares(uow: UnitOfWork, intent: AcceptShares, command_id: str, now_ms: int) -> Granted:
    """Make what cleared binding, share by share, and free what was reserved and did not clear.

    All shares are tried, so that a market learns at once of everybody it has to leave out.

    Raises:
        ContractError: the first refusal; `details.participant` names the meter it is because of,
            `details.participants` all meters that are refused. What was done is for the caller to
            undo.
    """
    verify(uow.ledger, intent.caller)
    # a market sells on what it has bought before
    refused: dict[str, ContractError] = {}
    for share in sorted(intent.shares, key=lambda share: not share.is_export):
        ids = f"{command_id}:{share.meter_id}"
        try:
            uow.savepoint(partial(_accept, uow, intent, share, ids, now_ms))
        except ContractError as error:
            is_of_market = error.details.get("user") == intent.caller
            if not is_of_market and error.code != "INVALID_PRICE":
                refused[share.meter_id] = error
            elif not refused:  # else it may be well without those who are refused
                raise
    if refused:
        raise _first(refused)
    for view in market_views(uow.ledger, intent.caller, intent.contract_id, now_ms):
        if view.state is AgreementState.PROPOSED:
            _cancel(uow, intent.caller, view, command_id, now_ms)
    return Granted()


def _first(refused: Mapping[str, ContractError]) -> ContractError:
    """Return the first refusal with the meters of all."""
    meters = list(refused)
    error = refused[meters[0]]
    details = {**error.details, "participant": meters[0], "participants": meters}
    return ContractError(error.code, error.message, details=details)


def _accept(
    uow: UnitOfWork, intent: AcceptShares, share: ClearedShare, command_id: str, now_ms: int
) -> None:
    contract_id = share_id(intent.contract_id, share.meter_id)
    proposed = _known(uow, intent.caller, contract_id, now_ms)
    if proposed.state is AgreementState.EXPIRED:
        raise ContractError("PROPOSAL_EXPIRED", f"it lapsed at {proposed.until_ms}")
    if proposed.state is not AgreementState.PROPOSED:
        raise ContractError("AGREEMENT_NOT_ACTIVE", f"what was reserved is {proposed.state}")
    most = Energy(proposed.terms.energy)
    if share.energy > most:
        msg = f"{share.energy} kWh exceeds the maximum trade of {most} kWh"
        details = {"max_trade_kwh": str(most)}
        raise ContractError("TRADE_CAP_EXCEEDED", msg, details=details)
    args = _terms(uow, intent.caller, share, intent.price, intent.terms)
    args |= {"contract_id": contract_id, "valid_until": proposed.until_ms}
    _call(uow, intent.caller, "create_agreement", args, f"{command_id}:propose", now_ms)
    number = _known(uow, intent.caller, contract_id, now_ms).agreement_no
    accept = {"agreement_no": number}
    _call(uow, intent.caller, "accept_agreement", accept, f"{command_id}:accept", now_ms)


def cancel_shares(
    uow: UnitOfWork, intent: CancelAgreement, command_id: str, now_ms: int
) -> Granted | None:
    """Cancel all shares of a market's contract; None when it has none.

    Raises:
        ContractError: CANCELLATION_NOT_ALLOWED, delivery has begun or others have to agree.
    """
    views = market_views(uow.ledger, intent.caller, intent.contract_id, now_ms)
    if not views:
        return None
    if any(view.state in _BEGUN for view in views):
        raise ContractError("CANCELLATION_NOT_ALLOWED", "the delivery window has begun")
    for view in views:  # what is in force goes at once, with its first share
        if _known(uow, intent.caller, view.terms.contract_id, now_ms).state in _OPEN:
            _cancel(uow, intent.caller, view, command_id, now_ms)
    left = market_views(uow.ledger, intent.caller, intent.contract_id, now_ms)
    if any(view.state in _OPEN for view in left):
        msg = "the participants have to agree: agreements.cancel_agreement by each or its app"
        raise ContractError("CANCELLATION_NOT_ALLOWED", msg)
    return Granted()


def _cancel(
    uow: UnitOfWork, caller: str, view: AgreementView, command_id: str, now_ms: int
) -> None:
    args = {"agreement_no": view.agreement_no}
    _call(uow, caller, "cancel_agreement", args, f"{command_id}:{view.share_meter}:cancel", now_ms)


def _terms(
    uow: UnitOfWork, caller: str, share: ClearedShare, price: UnitPrice, terms: MarketTerms
) -> dict[str, object]:
    """Return what an agreement about a share says, but for its id and how long it is open."""
    owner = owner_of(uow, share.meter_id, terms.window.start_ms)
    sides: dict[str, object] = {"provider": caller, "consumer": owner}
    sides["target_meter"] = share.meter_id
    if share.is_export:
        sides = {"provider": owner, "consumer": caller, "source_meter": share.meter_id}
    return {
        **sides,
        "energy_amount_kwh": share.energy.kwh,
        "price_per_kwh": price.per_kwh,
        "currency": price.currency,
        "window": {"start": terms.window.start_ms, "end": terms.window.end_ms},
        "market_making_fee": terms.fee.per_kwh,
        "fee_treatment": terms.fee_treatment.value,
    }


def _known(uow: UnitOfWork, caller: str, contract_id: str, now_ms: int) -> AgreementView:
    view = agreement_view(uow.ledger, caller, contract_id, now_ms)
    if view is None:
        raise ContractError("AGREEMENT_NOT_FOUND", f"nothing is reserved for {contract_id!r}")
    return view


def _call(
    uow: UnitOfWork,
    caller: str,
    function: str,
    args: Mapping[str, object],
    command_id: str,
    now_ms: int,
) -> None:
    """Call a function of the agreements as the market; the id is derived from the message's."""
    if len(command_id) > _COMMAND_ID_MAX or not command_id.isascii():
        command_id = hashlib.sha256(command_id.encode()).hexdigest()
    command = parse_command(command_id, "agreements", function, args)
    execute(uow.ledger, command, caller, now_ms)
