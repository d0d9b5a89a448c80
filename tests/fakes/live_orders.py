"""Orders of a foreign buyer's app about an offer as `on_discover` shows it.

Written from the specification's text, not by our code.
"""

import copy
from dataclasses import dataclass
from typing import Any

Order = dict[str, Any]
_BASE = "https://raw.githubusercontent.com/beckn/protocol-specifications-new/refs/heads/draft"
CORE = f"{_BASE}/schema/core/v2/context.jsonld"


@dataclass(frozen=True)
class Terms:
    """An offer of a catalogue."""

    offer: dict[str, Any]
    window: tuple[str, str]

    @property
    def offer_id(self) -> str:
        return str(self.offer["beckn:id"])

    @property
    def contract(self) -> dict[str, Any]:
        """Return a fresh copy of the contract that the offer invites to."""
        found: dict[str, Any] = copy.deepcopy(self.offer["beckn:offerAttributes"]["contract"])
        return found


def order_for(terms: Terms, buyer: str, meter: str, kwh: Any) -> Order:
    """Return the order of an init."""
    contract = terms.contract
    start, end = terms.window
    inputs = {
        "targetMeterId": meter,
        "contractedQuantity": kwh,
        "tradeStartTime": start,
        "tradeEndTime": end,
    }
    contract["roles"] = [role for role in contract["roles"] if role["role"] != "BUYER"]
    contract["roles"].append(
        {"role": "BUYER", "filledBy": buyer, "filled": True, "roleInputs": inputs}
    )
    source = role_inputs(contract, "SELLER")["sourceMeterId"]
    return {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": f"order-{terms.offer_id}",
        "beckn:items": [
            {"beckn:id": terms.offer["beckn:items"][0], "quantity": {"count": kwh, "unit": "kWh"}}
        ],
        "beckn:offers": [{"beckn:id": terms.offer_id}],
        "beckn:provider": {"beckn:id": terms.offer["beckn:provider"]},
        "beckn:fulfillments": [
            {
                "@type": "beckn:Fulfillment",
                "beckn:id": "f-1",
                "beckn:type": "ENERGY_DELIVERY",
                "beckn:stops": [
                    _stop("START", source, terms.window),
                    _stop("END", meter, terms.window),
                ],
            }
        ],
        "beckn:payments": [
            {
                "@type": "beckn:Payment",
                "beckn:id": "p-1",
                "beckn:type": "ON-FULFILLMENT",
                "beckn:status": "NOT-PAID",
                "beckn:collected_by": "BPP",
            }
        ],
        "beckn:billing": {"@type": "beckn:Billing", "beckn:name": buyer},
        "beckn:orderAttributes": contract,
    }


def select_for(terms: Terms, kwh: Any) -> Order:
    """Return the order of a select with the BUYER open."""
    order = order_for(terms, "", "", kwh)
    for part in ("beckn:fulfillments", "beckn:payments", "beckn:billing"):
        del order[part]
    order["beckn:orderAttributes"] = terms.contract
    return order


def reference(order: Order) -> Order:
    """Return the order of a status or cancel."""
    return {"@context": CORE, "@type": "beckn:Order", "beckn:id": order["beckn:id"]}


def contract_of(order: Order) -> dict[str, Any]:
    found: dict[str, Any] = order["beckn:orderAttributes"]
    return found


def role_inputs(contract: dict[str, Any], role: str) -> dict[str, Any]:
    """Return the roleInputs of a role."""
    found: dict[str, Any] = next(
        one["roleInputs"] for one in contract["roles"] if one["role"] == role
    )
    return found


def _stop(kind: str, meter: str, window: tuple[str, str]) -> dict[str, Any]:
    return {
        "@type": "beckn:Stop",
        "beckn:id": f"stop-{kind}",
        "beckn:type": kind,
        "beckn:location": {"@type": "beckn:Location", "beckn:address": meter},
        "beckn:time": {
            "@type": "beckn:Time",
            "beckn:range": {"start": window[0], "end": window[1]},
        },
    }
