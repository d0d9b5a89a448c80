"""One trade under a tariff, message by message: 30 kWh from 16:00Z to 22:00Z, priced in Paris.

Worked by hand (T1 of the contract specification, section 9): 17:00 to 21:00 local 20 kWh x 0.30 =
6.00, then 10 kWh x 0.10 = 1.00, so 7.00; VAT 20 % is 1.40 beside it; wheeling 30 x 0.02 = 0.60. The
buyer pays 9.00 in all.
"""

from typing import Any

from tests.conformance.wire_parts import (
    CORE,
    DAY,
    RESOURCE,
    Leg,
    Part,
    billing,
    catalog,
    contract,
    d,
    delivery,
    flow,
    fulfillment,
    offer_attributes,
    payment,
    quote,
    role,
    stop,
    uid,
)

BAP, BPP, GRID = "bap.buyer.example", "bpp.seller.example", "grid.operator.example"
OFFER_ID, ITEM_ID, CONTRACT_ID = "offer-wind-3", "item-wind-3", "contract-wind-3"
ORDER_ID, DELIVERY_ID = f"order-{uid(11, 3)}", f"order-{uid(11, 3)}-delivery"
START, END = "16:00", "22:00"
FORMULA_ENERGY = (
    "computeTariffPrice(roles.SELLER.roleInputs.tariff, roles.BUYER.roleInputs.tradeStartTime,"
    " roles.BUYER.roleInputs.tradeEndTime, deliveredQuantity) × deliveredQuantity"
)
FORMULA_WHEELING = "deliveredQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
WORKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
REGISTERS = [("16:00", "0"), ("17:00", "5"), ("18:00", "10"), ("19:00", "15"), ("20:00", "20")]
ALL_REGISTERS = [*REGISTERS, ("21:00", "25"), ("22:00", "30")]
ENERGY_QUOTE = (("Energy 30 kWh, time of use", "7"), ("VAT 20 %", "1.4"))
WHEELING_QUOTE = ("Wheeling 30 kWh x 0.02", "0.6")


def _element(price: str, start: str, end: str, **more: Any) -> Part:
    return {
        "priceComponents": [{"type": "ENERGY", "price": d(price), "vat": 20}],
        "restrictions": {"startTime": start, "endTime": end, **more},
    }


TARIFF = {
    "currency": "EUR",
    "tariffId": "evening-peak",
    "type": "REGULAR",
    "elements": [
        _element("0.3", "17:00", "21:00", dayOfWeek=WORKDAYS),
        _element("0.1", "21:00", "07:00"),
        _element("0.18", "07:00", "17:00"),
        _element("0.1", "17:00", "21:00", dayOfWeek=["SATURDAY", "SUNDAY"]),
    ],
    "energyMix": {
        "isGreenEnergy": True,
        "energySources": [{"source": "WIND", "percentage": 100}],
    },
}


def _terms(status: str = "PENDING", *, buyer: bool = True, operator: str = "") -> Part:
    """Return the contract; the operator is absent, "open" or "filled"."""
    roles = [
        role("SELLER", BPP, sourceMeterId="meter-wind-3", sourceType="WIND", tariff=TARIFF),
        role(
            "BUYER",
            BAP,
            targetMeterId="meter-home-3",
            contractedQuantity=30,
            tradeStartTime=f"{DAY}{START}:00Z",
            tradeEndTime=f"{DAY}{END}:00Z",
        )
        if buyer
        else role("BUYER", None),
    ]
    snapshot = {
        "wheelingCharges": d("0.02"),
        "current_buyer_trades_total": 5,
        "current_seller_trade_total": 20,
        "buyer_trade_cap": 50,
        "seller_trade_cap": 100,
    }
    if operator:
        filled = operator == "filled"
        roles.append(
            role("GRID_OPERATOR", GRID, **snapshot) if filled else role("GRID_OPERATOR", None)
        )
    flows = [
        flow("BUYER", "SELLER", FORMULA_ENERGY),
        flow("BUYER", "GRID_OPERATOR", FORMULA_WHEELING),
    ]
    return contract(CONTRACT_ID, status, roles, {"timeZone": "Europe/Paris"}, flows)


def _order(terms: Part, **parts: Any) -> Part:
    """Return the buyer's order; quote, delivery and payment as given."""
    found: Part = {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": ORDER_ID,
        "beckn:items": [{"beckn:id": ITEM_ID, "quantity": {"count": 30, "unit": "kWh"}}],
        "beckn:offers": [{"beckn:id": OFFER_ID}],
        "beckn:provider": {"beckn:id": "provider-wind-3"},
    }
    if "paid" in parts:
        found["beckn:fulfillments"] = [_fulfillment(parts.get("delivered"))]
        found["beckn:payments"] = [payment(f"{ORDER_ID}-payment", parts["paid"])]
        found["beckn:billing"] = billing(BAP)
    if "quoted" in parts:
        found["beckn:quote"] = parts["quoted"]
    return {**found, "beckn:orderAttributes": terms}


def _child(terms: Part, **parts: Any) -> Part:
    """Return the order that the seller's platform sends to the operator."""
    found: Part = {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": f"{ORDER_ID}-grid",
        "beckn:provider": {"@type": "beckn:Provider", "beckn:id": GRID},
        "beckn:fulfillments": [_fulfillment(parts.get("delivered"))],
        "beckn:billing": billing(BPP),
    }
    if "quoted" in parts:
        found["beckn:quote"] = parts["quoted"]
    return {**found, "beckn:orderAttributes": terms}


def _fulfillment(delivered: Part | None) -> Part:
    stops = [stop("START", "meter-wind-3", START, END), stop("END", "meter-home-3", START, END)]
    return fulfillment(DELIVERY_ID, stops, delivered)


def _in_progress(updated: str) -> Part:
    return delivery(REGISTERS[:3], updated, (START, END), None)


def _completed(updated: str) -> Part:
    parts = {"energyCost": 7, "wheelingCharges": d("0.6"), "vat": d("1.4")}
    cycle = {"amount": 9, "currency": "EUR", "breakdown": parts}
    return delivery(ALL_REGISTERS, updated, (START, END), cycle)


def _offered() -> Part:
    resource = {
        "@context": RESOURCE,
        "@type": "EnergyResource",
        "sourceType": "WIND",
        "deliveryMode": "GRID_INJECTION",
        "meterId": "meter-wind-3",
        "availableQuantity": 60,
        "productionWindow": {"start": f"{DAY}12:00:00Z", "end": f"{DAY}23:00:00Z"},
    }
    item = {
        "@context": CORE,
        "@type": "beckn:Item",
        "beckn:id": ITEM_ID,
        "beckn:descriptor": {"@type": "beckn:Descriptor", "schema:name": "Wind energy, 60 kWh"},
        "beckn:provider": {"@type": "beckn:Provider", "beckn:id": "provider-wind-3"},
        "beckn:itemAttributes": resource,
    }
    offer = {
        "beckn:id": OFFER_ID,
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": "Wind energy at prices by time of use",
        },
        "beckn:provider": "provider-wind-3",
        "beckn:items": [ITEM_ID],
        "beckn:offerAttributes": offer_attributes(OFFER_ID, BPP, "BUYER", _terms(buyer=False)),
    }
    return catalog(BPP, [item], offer)


def messages() -> dict[str, Part]:
    """Return every message of the trade by the name of its file."""
    parent, child = Leg(11, BAP, BPP), Leg(12, BPP, GRID)
    whole = quote("9", "EUR", *ENERGY_QUOTE, WHEELING_QUOTE)
    wheeling = quote("0.6", "EUR", WHEELING_QUOTE)
    filters = {
        "type": "jsonpath",
        "expression": "$[?(@.itemAttributes.availableQuantity >= 30)]",
    }
    said = {
        "01_discover": parent.say("discover", "08:00:00", {"filters": filters}),
        "02_on_discover": parent.say("on_discover", "08:00:00", _offered()),
    }

    def ask(leg: Leg, name: str, action: str, time: str, order: Part) -> None:
        said[name] = leg.say(action, time, {"order": order})

    opened, agreed = _terms(buyer=False), _terms(operator="filled")
    in_force = _terms("ACTIVE", operator="filled")
    first_quote = quote("8.4", "EUR", *ENERGY_QUOTE)
    ask(parent, "03_select", "select", "08:00:00", _order(opened))
    ask(parent, "04_on_select", "on_select", "08:00:01", _order(opened, quoted=first_quote))
    ask(parent, "05_init", "init", "08:00:01", _order(_terms(), paid="NOT-PAID"))
    offered = _order(agreed, paid="NOT-PAID", quoted=whole)
    ask(parent, "06_on_init", "on_init", "08:00:02", offered)
    ask(child, "07_cascaded_init", "init", "08:00:02", _child(_terms(operator="open")))
    ask(child, "08_cascaded_on_init", "on_init", "08:00:02", _child(agreed, quoted=wheeling))
    ask(parent, "09_confirm", "confirm", "08:00:03", offered)
    ask(child, "09a_cascaded_confirm", "confirm", "08:00:04", _child(agreed))
    approved = _child(in_force, quoted=wheeling)
    ask(child, "09b_cascaded_on_confirm", "on_confirm", "08:00:04", approved)
    confirmed = _order(in_force, paid="NOT-PAID", quoted=whole)
    ask(parent, "10_on_confirm", "on_confirm", "08:00:04", confirmed)
    known = {"order": {"@type": "beckn:Order", "beckn:id": ORDER_ID}}
    said["11_status"] = parent.say("status", "18:01:02", known)
    running = _child(in_force, quoted=wheeling, delivered=_in_progress("18:01:00"))
    said["11a_cascaded_on_status_in_progress"] = child.push("18:01:00", running)
    half = _order(in_force, paid="NOT-PAID", quoted=whole, delivered=_in_progress("18:01:00"))
    ask(parent, "12_on_status_in_progress", "on_status", "18:01:02", half)
    over = _terms("COMPLETED", operator="filled")
    done = _child(over, quoted=wheeling, delivered=_completed("22:05:00"))
    said["12a_cascaded_on_status_completed"] = child.push("22:05:00", done)
    settled = _order(over, paid="PAID", quoted=whole, delivered=_completed("22:05:00"))
    said["13_on_status_completed"] = parent.push("22:05:01", settled)
    return said
