"""Reference messages of the contract specification, section 12, written from its text.

Each call gives a fresh message. Numbers are ints and Decimals, as the strict decoder makes them.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

Message = dict[str, Any]
Change = Callable[[Message], object]

FORMULA_1 = "roles.BUYER.roleInputs.contractedQuantity × roles.SELLER.roleInputs.pricePerKWh"
FORMULA_2 = (
    "roles.BUYER.roleInputs.contractedQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
)
FORMULA_3 = (
    "computeTariffPrice(roles.SELLER.roleInputs.tariff, roles.BUYER.roleInputs.tradeStartTime,"
    " roles.BUYER.roleInputs.tradeEndTime, deliveredQuantity) × deliveredQuantity"
)
FORMULA_4 = "deliveredQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
_AGENT = "roles.MARKET_CLEARING_AGENT.roleInputs"
FORMULA_5 = (
    f"({_AGENT}.clearingPrice + {_AGENT}.marketMakingFee) × {_AGENT}.clearedPower[PROSUMER.era]"
)
FORMULA_6 = (
    f"abs({_AGENT}.clearedPower[PROSUMER.era]) × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
)
DAY = "2026-03-02T"


def d(text: str) -> Decimal:
    """Return an exact number."""
    return Decimal(text)


def _contract() -> Message:
    return {
        "@type": "EnergyContractP2PTrade",
        "contractId": "ctr-f",
        "status": "ACTIVE",
        "createdAt": f"{DAY}06:00:00Z",
        "roles": [
            {
                "role": "SELLER",
                "filled": True,
                "filledBy": "sell.example",
                "roleInputs": {
                    "sourceMeterId": "MS-1",
                    "sourceType": "WIND",
                    "pricePerKWh": d("0.12"),
                    "currency": "EUR",
                    "minimumQuantity": 1,
                    "maximumQuantity": 40,
                },
            },
            {
                "role": "BUYER",
                "filled": True,
                "filledBy": "buy.example",
                "roleInputs": {
                    "targetMeterId": "MB-1",
                    "contractedQuantity": 8,
                    "tradeStartTime": f"{DAY}09:00:00Z",
                    "tradeEndTime": f"{DAY}10:00:00Z",
                },
            },
            {
                "role": "GRID_OPERATOR",
                "filled": True,
                "filledBy": "grid.example",
                "roleInputs": {
                    "wheelingCharges": d("0.02"),
                    "current_buyer_trades_total": 3,
                    "current_seller_trade_total": 6,
                    "buyer_trade_cap": 20,
                    "seller_trade_cap": 30,
                },
            },
        ],
        "revenueFlows": {
            "netZero": True,
            "flows": [
                {"from": "BUYER", "to": "SELLER", "formula": FORMULA_1},
                {"from": "BUYER", "to": "GRID_OPERATOR", "formula": FORMULA_2},
            ],
        },
    }


def _message(action: str, timestamp: str, order: Message) -> Message:
    return {
        "context": {
            "version": "2.0.0",
            "action": action,
            "timestamp": f"{DAY}{timestamp}Z",
            "transaction_id": "t-1",
            "message_id": "m-1",
            "bap_id": "buy.example",
            "bap_uri": "https://buy.example/bap/receiver",
            "bpp_id": "sell.example",
            "bpp_uri": "https://sell.example/bpp/receiver",
            "ttl": "PT30S",
            "domain": "energy-trade",
        },
        "message": {"order": order},
    }


def f() -> Message:
    """Return F: on_confirm of 8 kWh at 0.12 EUR, ACTIVE, all roles filled."""
    order = {
        "@type": "beckn:Order",
        "beckn:id": "o-1",
        "beckn:items": [{"beckn:id": "i-1", "quantity": {"count": 8, "unit": "kWh"}}],
        "beckn:orderAttributes": _contract(),
    }
    return _message("on_confirm", "08:00:00", order)


def tariff() -> Message:
    """Return the tariff of T: day, evening and night prices of workdays."""
    days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]

    def element(price: str, start: str, end: str, **more: object) -> Message:
        return {
            "priceComponents": [{"type": "ENERGY", "price": d(price), "vat": 20}],
            "restrictions": {"startTime": start, "endTime": end, **more},
        }

    return {
        "currency": "EUR",
        "elements": [
            element("0.3", "17:00", "21:00", dayOfWeek=days),
            element("0.1", "21:00", "07:00"),
            element("0.18", "07:00", "17:00"),
        ],
    }


def t() -> Message:
    """Return T: F under a tariff, 30 kWh from 16:00Z to 22:00Z in Paris, no GRID_OPERATOR."""
    message = f()
    terms = contract(message)
    terms |= {"contractId": "ctr-t", "inputParameters": {"timeZone": "Europe/Paris"}}
    terms["roles"].pop()
    seller = inputs(message, "SELLER")
    del seller["pricePerKWh"], seller["currency"]
    seller["tariff"] = tariff()
    inputs(message, "BUYER").update(
        contractedQuantity=30,
        tradeStartTime=f"{DAY}16:00:00Z",
        tradeEndTime=f"{DAY}22:00:00Z",
    )
    terms["revenueFlows"]["flows"] = [{"from": "BUYER", "to": "SELLER", "formula": FORMULA_3}]
    order(message)["beckn:items"][0]["quantity"]["count"] = 30
    return message


def t_delivered(*readings: tuple[str, object]) -> Message:
    """Return T COMPLETED with 30 kWh delivered and a settled cycle of 7.00 + 1.40.

    Args:
        readings: time of day and register, e.g. `("18:00", 10)`.
    """
    message = t()
    message["context"] |= {"action": "on_status", "timestamp": f"{DAY}22:05:00Z"}
    contract(message)["status"] = "COMPLETED"
    delivered: Message = {
        "@type": "EnergyTradeDelivery",
        "deliveryStatus": "COMPLETED",
        "deliveredQuantity": 30,
        "deliveryStartTime": f"{DAY}16:00:00Z",
        "deliveryEndTime": f"{DAY}22:00:00Z",
        "meterReadings": [
            {"timestamp": f"{DAY}{time}:00Z", "sourceReading": kwh, "targetReading": kwh}
            for time, kwh in readings
        ],
        "settlementCycleId": "cy-1",
        "settlementCycles": [
            {
                "cycleId": "cy-1",
                "status": "SETTLED",
                "amount": d("8.40"),
                "currency": "EUR",
                "breakdown": {"energyCost": 7, "vat": d("1.40")},
            }
        ],
    }
    order(message)["beckn:fulfillments"] = [{"beckn:id": "ff-1", "beckn:attributes": delivered}]
    return message


def prosumer(name: str, meter: str, source: str, *points: tuple[str, object]) -> Message:
    """Return a filled PROSUMER role with a curve of price and kW."""
    curve = [{"price": d(price), "powerKW": power} for price, power in points]
    return {
        "role": "PROSUMER",
        "filled": True,
        "filledBy": name,
        "roleInputs": {
            "sourceMeterId": meter,
            "sourceType": source,
            "offerCurve": {
                "currency": "EUR",
                "minExport": points[0][1],
                "maxExport": points[-1][1],
                "curve": curve,
            },
        },
    }


def m() -> Message:
    """Return M: on_confirm of a cleared market of one load and one roof."""
    message = f()
    message["context"] |= {"bap_id": "load.example", "bpp_id": "mca.example"}
    operator = role(message, "GRID_OPERATOR")
    operator["roleInputs"] = {
        "wheelingCharges": d("0.002"),
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 60,
        "seller_trade_cap": 60,
    }
    agent = {
        "role": "MARKET_CLEARING_AGENT",
        "filled": True,
        "filledBy": "mca.example",
        "roleInputs": {
            "marketMakingFee": d("0.01"),
            "clearingPrice": d("0.069057"),
            "clearedPower": {"load.example": d("-4.716981"), "pv.example": d("4.716981")},
        },
    }
    contract(message).update(
        contractId="ctr-m",
        roles=[
            agent,
            prosumer("load.example", "ML-1", "CONSUMER", ("0.06", -50), ("0.07", 0)),
            prosumer("pv.example", "MP-1", "SOLAR", ("0.05", 0), ("0.06", 2), ("0.07", 5)),
            operator,
        ],
        revenueFlows={
            "netZero": True,
            "flows": [
                {"from": "PROSUMER", "to": "MARKET_CLEARING_AGENT", "formula": FORMULA_5},
                {"from": "MARKET_CLEARING_AGENT", "to": "GRID_OPERATOR", "formula": FORMULA_6},
            ],
        },
        inputParameters={
            "pricingModel": "PAY_AS_CLEAR",
            "deliveryWindow": {"startTime": f"{DAY}09:00:00Z", "endTime": f"{DAY}10:00:00Z"},
        },
    )
    del order(message)["beckn:items"]
    return message


def m_init() -> Message:
    """Return M as init: PENDING and not cleared yet."""
    message = m()
    message["context"]["action"] = "init"
    contract(message)["status"] = "PENDING"
    agent = inputs(message, "MARKET_CLEARING_AGENT")
    del agent["clearingPrice"], agent["clearedPower"]
    return message


def of_platform(message: Message, name: str) -> Message:
    """Return the PROSUMER role that a platform fills."""
    found: Message = next(r for r in contract(message)["roles"] if r["filledBy"] == name)
    return found


def curve_of(message: Message, name: str) -> Message:
    """Return the offer curve of a platform's PROSUMER."""
    found: Message = of_platform(message, name)["roleInputs"]["offerCurve"]
    return found


def p() -> Message:
    """Return P: F as init, PENDING, without GRID_OPERATOR, first flow only."""
    message = f()
    message["context"]["action"] = "init"
    terms = contract(message)
    terms["status"] = "PENDING"
    terms["roles"].pop()
    terms["revenueFlows"]["flows"].pop()
    return message


def p_on_init() -> Message:
    """Return the on_init that answers P."""
    message = p()
    message["context"]["action"] = "on_init"
    return message


def casc() -> Message:
    """Return P as cascaded init towards the grid operator."""
    message = p()
    message["context"] |= {
        "transaction_id": "t-2",
        "bap_id": "sell.example",
        "bpp_id": "grid.example",
    }
    terms = contract(message)
    terms["roles"].append(
        {"role": "GRID_OPERATOR", "filled": False, "filledBy": None, "roleInputs": {}}
    )
    terms["revenueFlows"] = _contract()["revenueFlows"]
    del message["message"]["order"]["beckn:items"]
    return message


def o() -> Message:
    """Return O: on_discover with F's contract open for a buyer."""
    terms = _contract()
    terms["status"] = "PENDING"
    terms["roles"] = terms["roles"][:2]
    terms["roles"][0]["roleInputs"]["inverterId"] = "inv-1"
    terms["roles"][1] = {"role": "BUYER", "filled": False, "filledBy": None, "roleInputs": {}}
    terms["revenueFlows"]["flows"].pop()
    message = _message("on_discover", "08:00:00", {})
    message["message"] = {
        "catalogs": [
            {
                "@type": "beckn:Catalog",
                "beckn:id": "cat-1",
                "beckn:items": [
                    {
                        "beckn:id": "i-1",
                        "beckn:itemAttributes": {
                            "@type": "EnergyResource",
                            "sourceType": "WIND",
                            "meterId": "MS-1",
                            "inverterId": "inv-1",
                            "availableQuantity": 40,
                        },
                    }
                ],
                "beckn:offers": [
                    {
                        "beckn:id": "off-1",
                        "beckn:items": ["i-1"],
                        "beckn:price": {"schema:price": d("0.12"), "schema:priceCurrency": "EUR"},
                        "beckn:offerAttributes": {
                            "@type": "EnergyOffer",
                            "offerId": "off-1",
                            "contractId": "ctr-f",
                            "providerId": "sell.example",
                            "providerUri": "https://sell.example",
                            "openRole": "BUYER",
                            "contract": terms,
                        },
                    }
                ],
            }
        ]
    }
    return message


def dlv() -> Message:
    """Return D: on_status COMPLETED of F with readings and a settled cycle."""
    message = f()
    message["context"] |= {"action": "on_status", "timestamp": f"{DAY}10:05:00Z"}
    contract(message)["status"] = "COMPLETED"
    window = {"start": f"{DAY}09:00:00Z", "end": f"{DAY}10:00:00Z"}
    registers = (
        ("09:00", d("700"), 500, 0),
        ("09:30", d("703.1"), 503, 3),
        ("10:00", d("708.2"), 508, 5),
    )
    message["message"]["order"] |= {
        "beckn:fulfillments": [
            {
                "beckn:id": "ff-1",
                "beckn:stops": [
                    _stop("START", "MS-1", window),
                    _stop("END", "MB-1", window),
                ],
                "beckn:state": {"beckn:descriptor": {"schema:name": "COMPLETED"}},
                "beckn:attributes": {
                    "@type": "EnergyTradeDelivery",
                    "deliveryStatus": "COMPLETED",
                    "deliveredQuantity": 8,
                    "deliveryStartTime": f"{DAY}09:00:00Z",
                    "deliveryEndTime": f"{DAY}10:00:00Z",
                    "meterReadings": [
                        {
                            "timestamp": f"{DAY}{time}:00Z",
                            "sourceReading": source,
                            "targetReading": target,
                            "energyFlow": energy,
                        }
                        for time, source, target, energy in registers
                    ],
                    "telemetry": [
                        {
                            "eventTime": f"{DAY}10:00:00Z",
                            "metrics": [{"name": "ENERGY", "value": 8, "unitCode": "KWH"}],
                        }
                    ],
                    "settlementCycleId": "cy-1",
                    "settlementCycles": [
                        {
                            "cycleId": "cy-1",
                            "status": "SETTLED",
                            "amount": d("1.12"),
                            "currency": "EUR",
                            "breakdown": {"energyCost": d("0.96"), "wheelingCharges": d("0.16")},
                        }
                    ],
                    "lastUpdated": f"{DAY}10:04:00Z",
                },
            }
        ],
        "beckn:payments": [{"beckn:id": "pay-1", "beckn:status": "PAID"}],
    }
    return message


def _stop(kind: str, meter: str, window: Message) -> Message:
    return {
        "beckn:type": kind,
        "beckn:location": {"beckn:address": meter},
        "beckn:time": {"beckn:range": dict(window)},
    }


def q() -> Message:
    """Return Q: F with the quote 1.12 = 0.96 + 0.16 EUR."""
    message = f()
    message["message"]["order"]["beckn:quote"] = {
        "beckn:price": _price("1.12"),
        "beckn:breakup": [
            {"beckn:title": "Energy", "beckn:price": _price("0.96")},
            {"beckn:title": "Wheeling", "beckn:price": _price("0.16")},
        ],
    }
    return message


def _price(amount: str) -> Message:
    return {"schema:price": d(amount), "schema:priceCurrency": "EUR"}


def contract(message: Message) -> Message:
    """Return the contract of an order message, or of the only offer."""
    body: Message = message["message"]
    if "order" in body:
        found: Message = body["order"]["beckn:orderAttributes"]
    else:
        found = offer(message)["beckn:offerAttributes"]["contract"]
    return found


def role(message: Message, name: str) -> Message:
    """Return the first entry of a role."""
    found: Message = next(r for r in contract(message)["roles"] if r["role"] == name)
    return found


def inputs(message: Message, name: str) -> Message:
    """Return the inputs of a role."""
    found: Message = role(message, name)["roleInputs"]
    return found


def order(message: Message) -> Message:
    """Return the order."""
    found: Message = message["message"]["order"]
    return found


def offer(message: Message) -> Message:
    """Return the only offer."""
    found: Message = message["message"]["catalogs"][0]["beckn:offers"][0]
    return found


def item(message: Message) -> Message:
    """Return the attributes of the only item of a catalogue."""
    found: Message = message["message"]["catalogs"][0]["beckn:items"][0]["beckn:itemAttributes"]
    return found


def delivery(message: Message) -> Message:
    """Return the delivery of the only fulfilment."""
    found: Message = order(message)["beckn:fulfillments"][0]["beckn:attributes"]
    return found


def envelope(type_name: str, value: object) -> Message:
    """Return an input in its envelope."""
    return {"type": type_name, "required": True, "value": value}


def changed(build: Callable[[], Message], change: Change) -> Message:
    """Return a reference message with a change."""
    message = build()
    change(message)
    return message
