"""Orders about the fakes' one offer, written from the specification's text, not by our code.

Each call gives a fresh order: 10 kWh of `offer-roof-7` at 0.15 USD unless told otherwise.
"""

import copy
from decimal import Decimal
from typing import Any

from tests.fakes.network import BPP, BUYER_METER, END, OTHER, SELLER_METER, START

Order = dict[str, Any]

OFFER, ITEM, PROVIDER = "offer-roof-7", "item-offer-roof-7", "provider-meter-roof-7"
TEMPLATE = "contract-offer-roof-7"
_BASE = "https://raw.githubusercontent.com/beckn/protocol-specifications-new/refs/heads/draft"
CORE = f"{_BASE}/schema/core/v2/context.jsonld"
P2P = f"{_BASE}/schema/EnergyContractP2PTrade/v1/context.jsonld"
ENERGY = "roles.BUYER.roleInputs.contractedQuantity × roles.SELLER.roleInputs.pricePerKWh"
WHEELING = "roles.BUYER.roleInputs.contractedQuantity × roles.GRID_OPERATOR.roleInputs"
GRID_INPUTS: dict[str, Any] = {
    "wheelingCharges": Decimal("0.025"),
    "current_buyer_trades_total": 0,
    "current_seller_trade_total": 0,
    "buyer_trade_cap": 50,
    "seller_trade_cap": 100,
}
"""What the operator of `open_network` answers to the first init."""


def contract(order: Order) -> dict[str, Any]:
    """Return the contract of an order."""
    found: dict[str, Any] = order["beckn:orderAttributes"]
    return found


def inputs(order: Order, role: str) -> dict[str, Any]:
    """Return the roleInputs of a role."""
    found: dict[str, Any] = next(
        entry["roleInputs"] for entry in contract(order)["roles"] if entry["role"] == role
    )
    return found


def select_order(
    kwh: Any = 10, *, contract_id: str = TEMPLATE, order_id: str = "order-1", wheeling: bool = True
) -> Order:
    """Return the order of a select with the BUYER open."""
    flows = [{"from": "BUYER", "to": "SELLER", "formula": ENERGY}]
    if wheeling:
        formula = f"{WHEELING}.wheelingCharges"
        flows.append({"from": "BUYER", "to": "GRID_OPERATOR", "formula": formula})
    seller = {
        "sourceMeterId": SELLER_METER,
        "sourceType": "SOLAR",
        "pricePerKWh": Decimal("0.15"),
        "currency": "USD",
    }
    return {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": order_id,
        "beckn:items": [{"beckn:id": ITEM, "quantity": {"count": kwh, "unit": "kWh"}}],
        "beckn:offers": [{"beckn:id": OFFER}],
        "beckn:provider": {"beckn:id": PROVIDER},
        "beckn:orderAttributes": {
            "@context": P2P,
            "@type": "EnergyContractP2PTrade",
            "contractId": contract_id,
            "status": "PENDING",
            "createdAt": "2026-03-02T07:30:00Z",
            "roles": [
                {"role": "SELLER", "filledBy": BPP, "filled": True, "roleInputs": seller},
                {"role": "BUYER", "filledBy": None, "filled": False, "roleInputs": {}},
            ],
            "inputParameters": {},
            "inputSignals": [],
            "telemetrySources": [],
            "revenueFlows": {"flows": flows, "netZero": True},
            "qualityMetrics": {"metrics": []},
        },
    }


def init_order(kwh: Any = 10, *, by: str = OTHER, **changes: Any) -> Order:
    """Return the order of an init with the BUYER filled."""
    order = select_order(kwh, **changes)
    contract(order)["roles"][1] = {
        "role": "BUYER",
        "filledBy": by,
        "filled": True,
        "roleInputs": {
            "targetMeterId": BUYER_METER,
            "contractedQuantity": kwh,
            "tradeStartTime": START,
            "tradeEndTime": END,
        },
    }
    order["beckn:fulfillments"] = [
        {
            "@type": "beckn:Fulfillment",
            "beckn:id": "f-1",
            "beckn:type": "ENERGY_DELIVERY",
            "beckn:stops": [
                _stop("START", SELLER_METER),
                _stop("END", BUYER_METER),
            ],
        }
    ]
    order["beckn:payments"] = [
        {
            "@type": "beckn:Payment",
            "beckn:id": "p-1",
            "beckn:type": "ON-FULFILLMENT",
            "beckn:status": "NOT-PAID",
            "beckn:collected_by": "BPP",
        }
    ]
    order["beckn:billing"] = {"@type": "beckn:Billing", "beckn:name": by}
    return order


def reference(order_id: str = "order-1") -> Order:
    """Return the order of a status or cancel."""
    return {"@context": CORE, "@type": "beckn:Order", "beckn:id": order_id}


def answered(order: Order, status: str, *, state: str | None = None, **grid: Any) -> Order:
    """Return an order as a grid operator or a seller's platform answers it.

    Args:
        order: as asked for.
        status: contract status.
        state: fulfillment state.
        grid: GRID_OPERATOR inputs and `filledBy`; none: the role stays as it is.
    """
    changed: Order = copy.deepcopy(order)
    contract(changed)["status"] = status
    if grid:
        by = grid.pop("filledBy")
        kept = [e for e in contract(changed)["roles"] if e["role"] != "GRID_OPERATOR"]
        filled = {"role": "GRID_OPERATOR", "filledBy": by, "filled": True, "roleInputs": grid}
        contract(changed)["roles"] = [*kept, filled]
    if state is not None:
        descriptor = {"@type": "beckn:Descriptor", "schema:name": state}
        changed["beckn:fulfillments"][0]["beckn:state"] = {
            "@type": "beckn:State",
            "beckn:descriptor": descriptor,
        }
    return changed


def _stop(kind: str, meter: str) -> dict[str, Any]:
    return {
        "@type": "beckn:Stop",
        "beckn:id": f"stop-{kind}",
        "beckn:type": kind,
        "beckn:location": {"@type": "beckn:Location", "beckn:address": meter},
        "beckn:time": {"@type": "beckn:Time", "beckn:range": {"start": START, "end": END}},
    }
