"""Orders of a made-up market towards its grid operator, and steps of it played by hand.

The market of the contract specification's example C1: a load and a roof, one hour, fee 0.01. Each
call gives fresh orders.
"""

import copy
from decimal import Decimal
from typing import Any

from tests.fakes.network import (
    BAP,
    BPP,
    BUYER_METER,
    END,
    GRID,
    OTHER,
    SELLER_METER,
    START,
    Network,
)
from tests.fakes.orders import CORE, P2P, Order, contract
from tests.fakes.stranger import Message, Reply, Stranger

MARKET = BPP
OPENED, GATE = "2026-03-02T07:50:00Z", "2026-03-02T08:00:00Z"
ORDER = "order-market-1-grid"
_AGENT = "roles.MARKET_CLEARING_AGENT.roleInputs"
_CLEARED = f"{_AGENT}.clearedPower[PROSUMER.era]"
FLOWS = (
    {
        "from": "PROSUMER",
        "to": "MARKET_CLEARING_AGENT",
        "formula": f"({_AGENT}.clearingPrice + {_AGENT}.marketMakingFee) × {_CLEARED}",
    },
    {
        "from": "MARKET_CLEARING_AGENT",
        "to": "GRID_OPERATOR",
        "formula": f"abs({_CLEARED}) × roles.GRID_OPERATOR.roleInputs.wheelingCharges",
    },
)
Points = tuple[tuple[str, int], ...]
LOAD_CURVE: Points = (("0.06", -50), ("0.07", 0))
ROOF_CURVE: Points = (("0.05", 0), ("0.06", 2), ("0.07", 5))


def prosumer(by: str, meter: str, points: Points, kind: str = "SOLAR") -> Order:
    """Return a filled PROSUMER role."""
    offered = {
        "currency": "USD",
        "minExport": points[0][1],
        "maxExport": points[-1][1],
        "curve": [{"price": Decimal(price), "powerKW": power} for price, power in points],
    }
    inputs = {"sourceMeterId": meter, "sourceType": kind, "offerCurve": offered}
    return {"role": "PROSUMER", "filledBy": by, "filled": True, "roleInputs": inputs}


def load(points: Points = LOAD_CURVE, meter: str = BUYER_METER) -> Order:
    """Return the role of the load."""
    return prosumer(BAP, meter, points, "CONSUMER")


def roof(points: Points = ROOF_CURVE, meter: str = SELLER_METER) -> Order:
    """Return the role of the roof."""
    return prosumer(OTHER, meter, points)


def market_order(*prosumers: Order) -> Order:
    """Return the order of a cascaded init about some prosumers."""
    agent = {
        "role": "MARKET_CLEARING_AGENT",
        "filledBy": MARKET,
        "filled": True,
        "roleInputs": {"marketMakingFee": Decimal("0.01")},
    }
    operator: Order = {"role": "GRID_OPERATOR", "filledBy": None, "filled": False, "roleInputs": {}}
    return {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": ORDER,
        "beckn:provider": {"beckn:id": GRID},
        "beckn:fulfillments": [_fulfillment(entry) for entry in prosumers],
        "beckn:billing": {"@type": "beckn:Billing", "beckn:name": MARKET},
        "beckn:orderAttributes": {
            "@context": P2P,
            "@type": "EnergyContractP2PTrade",
            "contractId": "contract-market-1",
            "status": "PENDING",
            "createdAt": "2026-03-02T07:30:00Z",
            "roles": [agent, *prosumers, operator],
            "inputParameters": {
                "pricingModel": "PAY_AS_CLEAR",
                "deliveryWindow": {"startTime": START, "endTime": END},
                "gateClosureTime": GATE,
            },
            "inputSignals": [],
            "telemetrySources": [],
            "revenueFlows": {"flows": [dict(flow) for flow in FLOWS], "netZero": True},
            "qualityMetrics": {"metrics": []},
        },
    }


def _fulfillment(entry: Order) -> Order:
    inputs = entry["roleInputs"]
    meter, low = inputs["sourceMeterId"], inputs["offerCurve"]["minExport"]
    kind = "END" if low < 0 else "START"
    stop = {
        "@type": "beckn:Stop",
        "beckn:id": f"stop-{kind.lower()}",
        "beckn:type": kind,
        "beckn:location": {"@type": "beckn:Location", "beckn:address": meter},
        "beckn:time": {"@type": "beckn:Time", "beckn:range": {"start": START, "end": END}},
    }
    return {
        "@type": "beckn:Fulfillment",
        "beckn:id": f"{meter}-delivery",
        "beckn:type": "ENERGY_DELIVERY",
        "beckn:stops": [stop],
    }


def cleared_order(granted: Order, *prosumers: Order, price: str, power: dict[str, str]) -> Order:
    """Return the order of the confirm after clearing.

    Args:
        granted: order of the last on_init, for what the operator said.
        prosumers: whoever trades.
        price: clearingPrice.
        power: clearedPower.
    """
    order = market_order(*prosumers)
    agent = contract(order)["roles"][0]["roleInputs"]
    agent["clearingPrice"] = Decimal(price)
    agent["clearedPower"] = {key: Decimal(kw) for key, kw in power.items()}
    operator = copy.deepcopy(contract(granted)["roles"][-1])
    wide = {"current_buyer_trades_total": 0, "current_seller_trade_total": 0}
    operator["roleInputs"] |= wide | {"buyer_trade_cap": 100, "seller_trade_cap": 100}
    contract(order)["roles"][-1] = operator
    return order


async def send(
    network: Network, market: Stranger, action: str, order: Order, **context: Any
) -> Reply:
    """Post a request of the market to the operator and let the callback travel."""
    message = market.request(action, order, to=GRID, **context)
    reply = await market.post(message, to=network.grid)
    await network.deliver()
    return reply


async def reserved(network: Network, market: Stranger, *entries: Order) -> Order:
    """Run one init per prosumer, each granted; return the order of the last on_init."""
    order: Order = {}
    for entry in entries:
        reply = await send(network, market, "init", market_order(entry))
        assert reply.word == "ACK", reply.error
        on_init = market.last("on_init")
        assert "error" not in on_init, on_init["error"]
        order = on_init["message"]["order"]
    return order


def error_of(message: Message) -> tuple[str, Any]:
    """Return the code of an error callback, and the participant it is because of."""
    error = message["error"]
    cause = error.get("details", {}).get("cause", {})
    return error["code"], cause.get("details", {}).get("participant")


async def register_market(network: Network) -> None:
    """Register the market's own user, fund it, let it be a market and sell the roof's energy.

    From now on the roof's owner is with an app of its own.
    """
    network.clock.move_to(OPENED)
    await network.call(
        "rec", "registry", "register_user", user=MARKET, user_type="PROSUMER", location="Hall 1"
    )
    await network.call("admin", "trading", "add_market_maker", market_maker=MARKET)
    deposit = {"to": MARKET, "amount": "20.00", "external_reference": "bank-market"}
    await network.call("treasury", "token", "deposit", **deposit)
    await network.call(BPP, "token", "approve", on_behalf_of="sun", spender="network", value="100")
    await network.call("rec", "registry", "set_representative", user="sun", subscriber=OTHER)
