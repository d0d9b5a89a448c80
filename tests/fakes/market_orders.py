"""Orders and catalogues of a made-up market, written from the specification's text.

The market trades 09:00Z to 10:00Z, closes at 08:45Z and takes 0.03 per kWh. Each call gives
fresh objects.
"""

import copy
from decimal import Decimal
from typing import Any

from tests.fakes.network import BAP, BPP, BUYER_METER, GRID
from tests.fakes.orders import CORE, P2P, Order, contract

START, END = "2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z"
GATE = "2026-03-02T08:45:00Z"
OFFER, PROVIDER, CONTRACT = "market-0900", f"provider-{BPP}", "contract-market-0900"
AGENT = "roles.MARKET_CLEARING_AGENT.roleInputs"
CURVE: dict[str, Any] = {
    "currency": "USD",
    "minExport": -10,
    "maxExport": 0,
    "curve": [
        {"price": Decimal("0.10"), "powerKW": -10},
        {"price": Decimal("0.20"), "powerKW": 0},
    ],
}
"""Withdraws 10 kW up to 0.10, nothing from 0.20 on: 5 kW at 0.15."""


def market_contract(**changes: Any) -> dict[str, Any]:
    """Return the contract that the market's offer invites to; `changes` of inputParameters."""
    cleared = f"{AGENT}.clearedPower[PROSUMER.era]"
    flows = [
        (
            "PROSUMER",
            "MARKET_CLEARING_AGENT",
            f"({AGENT}.clearingPrice + {AGENT}.marketMakingFee) × {cleared}",
        ),
        (
            "MARKET_CLEARING_AGENT",
            "GRID_OPERATOR",
            f"abs({cleared}) × roles.GRID_OPERATOR.roleInputs.wheelingCharges",
        ),
    ]
    return {
        "@context": P2P,
        "@type": "EnergyContractP2PTrade",
        "contractId": CONTRACT,
        "status": "PENDING",
        "createdAt": "2026-03-02T07:30:00Z",
        "roles": [
            {
                "role": "MARKET_CLEARING_AGENT",
                "filledBy": BPP,
                "filled": True,
                "roleInputs": {"marketMakingFee": Decimal("0.03")},
            },
            {"role": "PROSUMER", "filledBy": None, "filled": False, "roleInputs": {}},
        ],
        "inputParameters": {
            "pricingModel": "PAY_AS_CLEAR",
            "deliveryWindow": {"startTime": START, "endTime": END},
            "gateClosureTime": GATE,
            **changes,
        },
        "inputSignals": [],
        "telemetrySources": [],
        "revenueFlows": {
            "flows": [{"from": a, "to": b, "formula": text} for a, b, text in flows],
            "netZero": True,
        },
        "qualityMetrics": {"metrics": []},
    }


def market_offer(offer_id: str = OFFER, *, fee: str = "0.03", **parameters: Any) -> dict[str, Any]:
    """Return an offer of a market's catalogue."""
    terms = market_contract(**parameters)
    terms["contractId"] = f"contract-{offer_id}"
    terms["roles"][0]["roleInputs"]["marketMakingFee"] = Decimal(fee)
    return {
        "@context": CORE,
        "@type": "beckn:Offer",
        "beckn:id": offer_id,
        "beckn:descriptor": {"@type": "beckn:Descriptor", "schema:name": "Local market"},
        "beckn:provider": PROVIDER,
        "beckn:offerAttributes": {
            "@type": "EnergyOffer",
            "offerId": offer_id,
            "contractId": terms["contractId"],
            "providerId": BPP,
            "providerUri": f"http://{BPP}/bpp/receiver",
            "openRole": "PROSUMER",
            "contract": terms,
        },
    }


def catalogue(*offers: dict[str, Any]) -> dict[str, Any]:
    """Return the message of an on_discover; a market's catalogue has no items."""
    return {
        "catalogs": [
            {
                "@context": CORE,
                "@type": "beckn:Catalog",
                "beckn:id": "catalog-market",
                "beckn:descriptor": {"@type": "beckn:Descriptor", "schema:name": "Markets"},
                "beckn:offers": list(offers),
            }
        ]
    }


def prosumer_plan(**changes: Any) -> dict[str, Any]:
    """Return the plan of a prosumer who withdraws."""
    base = {
        "bpp_id": BPP,
        "source_meter_id": BUYER_METER,
        "source_type": "CONSUMER",
        "offer_curve": copy.deepcopy(CURVE),
        "start": START,
        "end": END,
    }
    return base | changes


def approved(order: Order, *, most_kw: int = 8, buyer_cap: int = 50) -> Order:
    """Return an order as the market answers an init: the operator's part is in it."""
    answered = copy.deepcopy(order)
    terms = contract(answered)
    inputs = {
        "wheelingCharges": Decimal("0.025"),
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": buyer_cap,
        "seller_trade_cap": 100,
    }
    role = {"role": "GRID_OPERATOR", "filledBy": GRID, "filled": True, "roleInputs": inputs}
    terms["roles"].append(role)
    terms["inputParameters"]["approvedMaxTradeKW"] = most_kw
    return answered


def cleared(
    order: Order, price: str = "0.15", power: str = "-5", *, status: str = "ACTIVE"
) -> Order:
    """Return an approved order as the market answers a confirm."""
    answered = copy.deepcopy(order)
    terms = contract(answered)
    terms["status"] = status
    terms["roles"][0]["roleInputs"] |= {
        "clearingPrice": Decimal(price),
        "clearedPower": {BAP: Decimal(power)},
    }
    return answered
