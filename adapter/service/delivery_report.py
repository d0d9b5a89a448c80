"""EnergyTradeDelivery of an agreement: what the grid operator tells about delivery and payment.

The registers are those of the trade, not of the house: both start at 0 and rise by the energy
allocated to the seller. Source: contract specification, section 11.
"""

from typing import Any

from adapter.domain.instants import format_instant
from adapter.protocol.orders import DELIVERY_CONTEXT, exact
from adapter.settlement import AgreementState, AgreementView, Transaction, TransactionState

_DONE = frozenset({AgreementState.SETTLED, AgreementState.DELIVERED})
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
    cycles = [_cycle(part, view) for part in view.transactions if part.cycle_id]
    if cycles:
        report["settlementCycleId"] = cycles[-1]["cycleId"]
        report["settlementCycles"] = cycles
    report["lastUpdated"] = format_instant(now_ms)
    return report


def delivery_status(view: AgreementView) -> str:
    """Return PENDING, IN_PROGRESS, COMPLETED or FAILED."""
    if view.state in _DONE:
        return "COMPLETED"
    if view.state in _ENDED:
        return "FAILED"
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


def _cycle(part: Transaction, view: AgreementView) -> dict[str, Any]:
    settled = part.state is TransactionState.SETTLED
    cycle: dict[str, Any] = {
        "cycleId": part.cycle_id,
        "startTime": format_instant(part.start_ms),
        "endTime": format_instant(part.end_ms),
        "status": "SETTLED" if settled else "PENDING",
    }
    if settled:
        cycle["amount"] = exact(part.value + part.wheeling)
        cycle["currency"] = view.currency
        cycle["breakdown"] = {
            "energyCost": exact(part.value),
            "wheelingCharges": exact(part.wheeling),
        }
    return cycle
