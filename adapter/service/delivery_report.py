"""EnergyTradeDelivery of an agreement: what the grid operator tells about delivery and payment.

The registers are those of the trade, not of the house: both start at 0 and rise by the energy
allocated to the seller. Source: contract specification, section 11.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapter.domain.instants import format_instant
from adapter.protocol.orders import DELIVERY_CONTEXT, exact
from adapter.settlement import AgreementState, AgreementView, Transaction, TransactionState
from adapter.settlement.contracts.delivery import cycle_name

_CYCLE_STATUS: Mapping[TransactionState, str] = {
    TransactionState.PENDING: "PENDING",
    TransactionState.DELIVERED: "PENDING",
    TransactionState.DISPUTED: "PENDING",
    TransactionState.SETTLED: "SETTLED",
    TransactionState.VOIDED: "FAILED",
}
_ENDED = frozenset({AgreementState.CANCELLED, AgreementState.EXPIRED})


def delivery_report(view: AgreementView, now_ms: int) -> dict[str, Any]:
    """Return the delivery as the ledger knows it at `now_ms`."""
    status = delivery_status(view)
    report: dict[str, Any] = {
        "@context": DELIVERY_CONTEXT,
        "@type": "EnergyTradeDelivery",
        "deliveryStatus": status,
        "deliveryMode": "GRID_INJECTION",
        "deliveredQuantity": exact(view.delivered_seller),
        "deliveryStartTime": format_instant(view.terms.start_ms),
        "deliveryEndTime": format_instant(view.terms.end_ms)
        if status in ("COMPLETED", "FAILED")
        else None,
        "meterReadings": _readings(view),
        "telemetry": [],
    }
    cycles = [cycle for part in view.transactions for cycle in _cycles(part, view)]
    if cycles and view.is_delivered_in_parts and not view.is_recorded:
        cycles.append(_rest(view))
    if cycles:
        report["settlementCycleId"] = cycles[-1]["cycleId"]
        report["settlementCycles"] = cycles
    report["lastUpdated"] = format_instant(now_ms)
    return report


def delivery_status(view: AgreementView) -> str:
    """Return PENDING, IN_PROGRESS, COMPLETED or FAILED."""
    if view.state in _ENDED:
        return "FAILED"
    if view.state is AgreementState.SETTLED or view.is_recorded:
        return "COMPLETED"
    return "IN_PROGRESS" if view.allocations else "PENDING"


def _readings(view: AgreementView) -> list[dict[str, Any]]:
    """Return the registers at the window's start and after each allocated interval."""
    register = 0
    readings = [_reading(view.terms.start_ms, 0, 0)]
    for interval in view.allocations:
        rise = interval.seller or 0
        register += rise
        readings.append(_reading(interval.end_ms, register, rise))
    return readings


def _reading(at_ms: int, register: int, rise: int) -> dict[str, Any]:
    return {
        "timestamp": format_instant(at_ms),
        "sourceReading": exact(register),
        "targetReading": exact(register),
        "energyFlow": exact(rise),
    }


def _cycles(part: Transaction, view: AgreementView) -> list[dict[str, Any]]:
    """Return the cycles of one delivery.

    A cycle that a dispute amended failed as it was, and one for the amended quantity follows: a
    settled cycle alone must come to what the contract's flows say.
    """
    if not part.is_amended:
        return [_cycle(part, view)]
    amended = replace(part, cycle_id=f"{part.cycle_id}-amended")
    return [_cycle(replace(part, state=TransactionState.VOIDED), view), _cycle(amended, view)]


def _rest(view: AgreementView) -> dict[str, Any]:
    """Return the cycle of the intervals that are not recorded yet, as the next part names it."""
    return {
        "cycleId": cycle_name(len(view.transactions) + 1),
        "startTime": format_instant(view.recorded_to_ms),
        "endTime": format_instant(view.terms.end_ms),
        "status": "PENDING",
    }


def _cycle(part: Transaction, view: AgreementView) -> dict[str, Any]:
    cycle: dict[str, Any] = {
        "cycleId": part.cycle_id,
        "startTime": format_instant(part.start_ms),
        "endTime": format_instant(part.end_ms),
        "status": _CYCLE_STATUS[part.state],
    }
    if part.state is TransactionState.DISPUTED:
        cycle["_dispute"] = {"claimedQuantity": exact(part.disputed_quantity)}
    if part.state is TransactionState.SETTLED:
        breakdown = _share_breakdown(part, view) if view.share_meter else _breakdown(part)
        cycle["amount"] = exact(sum(breakdown.values()))
        cycle["currency"] = view.currency
        cycle["breakdown"] = {name: exact(amount) for name, amount in breakdown.items()}
    return cycle


def _breakdown(part: Transaction) -> dict[str, int]:
    vat = {"vat": part.vat} if part.vat else {}
    return {"energyCost": part.value, "wheelingCharges": part.wheeling, **vat}


def _share_breakdown(part: Transaction, view: AgreementView) -> dict[str, int]:
    """Return what a participant of a market pays or gets; wheeling is the market's business."""
    fee = part.buyer_fee if view.terms.is_withdrawal else -part.seller_fee
    return {"energyCost": part.value, **({"marketMakingFee": fee} if fee else {})}
