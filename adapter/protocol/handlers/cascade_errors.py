"""What a grid operator's refusal or silence is called towards the buyer.

What it decided about caps and cash keeps its code, because the buyer can act on it. Source:
protocol specification, section 12.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.quantities import Energy
from adapter.protocol.contract import CONTRACT_PATH

_SAME_CODE = frozenset({"BIZ_QUANTITY_UNAVAILABLE", "BIZ_PAYMENT_FAILED"})
"""Codes on which the buyer can act, passed on at level 1."""
_QUANTITY_PATH = f"{CONTRACT_PATH}.roles[?(@.role=='BUYER')].roleInputs.contractedQuantity"


def passed_on(error: Mapping[str, Any]) -> WireError:
    """Return the operator's error as the buyer gets it."""
    code = str(error.get("code"))
    path = (error.get("details") or {}).get("path")
    if code in _SAME_CODE:
        return WireError(code, str(error.get("message")), path=path, cause=error)
    if code == "POL_CANCELLATION_NOT_ALLOWED":
        return WireError(code, str(error.get("message")), cause=error)
    return unavailable("it refused", error)


def unavailable(why: str, cause: Mapping[str, Any] | None = None) -> WireError:
    """Return the refusal for everything the buyer cannot act on."""
    msg = f"the grid operator did not take part: {why}"
    return WireError("BIZ_FULFILLMENT_UNAVAILABLE", msg, cause=cause)


def silence_cause(*, acked: bool) -> dict[str, str]:
    """Return why there was no answer (R6)."""
    if acked:
        return {"code": "NET_TIMEOUT", "message": "acknowledged, but no callback in time"}
    return {"code": "NET_DOWNSTREAM_UNAVAILABLE", "message": "the grid operator was not reached"}


def over_cap(wanted: Energy, room: Energy) -> dict[str, Any]:
    """Return the error object of a quantity above what both meters may still trade."""
    return {
        "code": "BIZ_QUANTITY_UNAVAILABLE",
        "message": f"{wanted} kWh exceeds the maximum trade of {room} kWh",
        "details": {"path": _QUANTITY_PATH, "max_trade_kwh": str(room)},
    }


def room_left(inputs: Mapping[str, Any]) -> Energy:
    """Return the smaller of what both meters may still trade. Source: contract section 8."""
    buyer = Energy.from_kwh(inputs["buyer_trade_cap"]) - Energy.from_kwh(
        inputs["current_buyer_trades_total"]
    )
    seller = Energy.from_kwh(inputs["seller_trade_cap"]) - Energy.from_kwh(
        inputs["current_seller_trade_total"]
    )
    return min(buyer, seller)
