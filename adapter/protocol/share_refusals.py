"""What a grid operator's refusal of a whole market says about the shares it is because of.

Source: decision 0018.
"""

from collections.abc import Mapping
from typing import Any

_FIRST, _ALL = "participant", "participants"


def refused_meters(refusal: Mapping[str, Any]) -> set[str]:
    """Return the meters whose shares were refused; empty when it is about the whole market."""
    details = _reasons(refusal)
    named = details.get(_ALL)
    meters = [details.get(_FIRST), *(named if isinstance(named, list) else ())]
    return {meter for meter in meters if isinstance(meter, str)}


def own_refusal(refusal: Mapping[str, Any], meter_id: str) -> dict[str, Any]:
    """Return the error about one of the shares; nobody learns of the others.

    What it says in detail, with amounts, is about the first.
    """
    details = refusal.get("details")
    if _reasons(refusal).get(_FIRST) == meter_id and isinstance(details, Mapping):
        cause = {**details["cause"], "details": _alone(_reasons(refusal))}
        return {**refusal, "details": {**_alone(details), "cause": cause}}
    msg = f"the grid operator refused the share of meter {meter_id}"
    return {"code": refusal.get("code"), "message": msg, "details": {_FIRST: meter_id}}


def _reasons(refusal: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the details of the contract layer's own refusal; empty when there are none."""
    found: Any = refusal
    for name in ("details", "cause", "details"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _alone(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != _ALL}
