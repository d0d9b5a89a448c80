"""One pay-as-clear market of a load and a roof, message by message: 09:00Z to 10:00Z.

Worked by hand (C1 and M of the contract specification, sections 10.2 and 7.3): the market clears
at 0.069057 with 4.716981 kW each way; the load pays (0.069057 + 0.01) x 4.716981 = 0.372910, the
roof gets (0.069057 - 0.01) x 4.716981 = 0.278571, wheeling is 0.002 x 4.716981 = 0.009434 for
each, and 0.075471 stays with the one who clears. The load is shown the whole market, the roof its
own part.
"""

from dataclasses import dataclass
from typing import Any

from tests.conformance.wire_parts import (
    CORE,
    DAY,
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

MARKET, GRID = "bpp.market.example", "grid.operator.example"
OFFER_ID, CONTRACT_ID, PROVIDER = "offer-market-9", "contract-market-9", "provider-market"
START, END = "09:00", "10:00"
AGENT = "roles.MARKET_CLEARING_AGENT.roleInputs"
FORMULA_TRADE = (
    f"({AGENT}.clearingPrice + {AGENT}.marketMakingFee) × {AGENT}.clearedPower[PROSUMER.era]"
)
FORMULA_WHEELING = (
    f"abs({AGENT}.clearedPower[PROSUMER.era]) × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
)
REGISTERS = [
    ("09:00", "0"),
    ("09:15", "1.179245"),
    ("09:30", "2.35849"),
    ("09:45", "3.537735"),
    ("10:00", "4.716981"),
]


@dataclass(frozen=True)
class Participant:
    """A prosumer, its platform and its order."""

    platform: str
    meter: str
    source: str
    points: tuple[tuple[str, int], ...]
    power: str
    order_id: str
    amount: str
    breakdown: tuple[tuple[str, str], ...]

    def role(self) -> Part:
        """Return the PROSUMER role."""
        curve = {
            "currency": "EUR",
            "minExport": self.points[0][1],
            "maxExport": self.points[-1][1],
            "curve": [{"price": d(price), "powerKW": power} for price, power in self.points],
        }
        return role(
            "PROSUMER",
            self.platform,
            sourceMeterId=self.meter,
            sourceType=self.source,
            offerCurve=curve,
        )


LOAD = Participant(
    "bap.load.example",
    "meter-cold-store-1",
    "CONSUMER",
    (("0.06", -50), ("0.07", 0)),
    "-4.716981",
    f"order-{uid(21, 3)}",
    "0.37291",
    (("energyCost", "0.325741"), ("marketMakingFee", "0.047169")),
)
ROOF = Participant(
    "bap.roof.example",
    "meter-roof-7",
    "SOLAR",
    (("0.05", 0), ("0.06", 2), ("0.07", 5)),
    "4.716981",
    f"order-{uid(22, 3)}",
    "0.278571",
    (("energyCost", "0.325741"), ("marketMakingFee", "-0.04717")),
)
BOTH = (LOAD, ROOF)
WHEELING_PART = "0.009434"


def _terms(
    status: str, shown: tuple[Participant, ...], *, operator: str = "", cleared: bool = False
) -> Part:
    """Return the contract with the prosumers shown; the operator is absent, "open" or "filled"."""
    result: Part = {}
    if cleared:
        powers = {one.platform: d(one.power) for one in shown}
        result = {"clearingPrice": d("0.069057"), "clearedPower": powers}
    roles = [role("MARKET_CLEARING_AGENT", MARKET, marketMakingFee=d("0.01"), **result)]
    roles += [one.role() for one in shown] or [role("PROSUMER", None)]
    parameters: Part = {
        "pricingModel": "PAY_AS_CLEAR",
        "deliveryWindow": {"startTime": f"{DAY}{START}:00Z", "endTime": f"{DAY}{END}:00Z"},
    }
    snapshot = {
        "wheelingCharges": d("0.002"),
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 60,
        "seller_trade_cap": 60,
    }
    if operator == "filled":
        roles.append(role("GRID_OPERATOR", GRID, **snapshot))
        parameters["approvedMaxTradeKW"] = 15
    elif operator:
        roles.append(role("GRID_OPERATOR", None))
    flows = [
        flow("PROSUMER", "MARKET_CLEARING_AGENT", FORMULA_TRADE),
        flow("MARKET_CLEARING_AGENT", "GRID_OPERATOR", FORMULA_WHEELING),
    ]
    return contract(CONTRACT_ID, status, roles, parameters, flows)


def _order(one: Participant, terms: Part, **parts: Any) -> Part:
    """Return a participant's order; quote, delivery and payment as given."""
    found: Part = {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": one.order_id,
        "beckn:offers": [{"beckn:id": OFFER_ID}],
        "beckn:provider": {"beckn:id": PROVIDER},
        "beckn:fulfillments": [_fulfillment(one, parts.get("delivered"))],
        "beckn:payments": [payment(f"{one.order_id}-payment", parts.get("paid", "NOT-PAID"))],
        "beckn:billing": billing(one.platform),
    }
    if "quoted" in parts:
        found["beckn:quote"] = parts["quoted"]
    return {**found, "beckn:orderAttributes": terms}


def _child(terms: Part, delivered: Part | None = None) -> Part:
    """Return the order that the market sends to the operator."""
    return {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": "order-market-9-grid",
        "beckn:provider": {"@type": "beckn:Provider", "beckn:id": GRID},
        "beckn:fulfillments": [_fulfillment(one, delivered) for one in BOTH],
        "beckn:billing": billing(MARKET),
        "beckn:orderAttributes": terms,
    }


def _fulfillment(one: Participant, delivered: Part | None) -> Part:
    kind = "START" if one is ROOF else "END"
    return fulfillment(f"{one.meter}-delivery", [stop(kind, one.meter, START, END)], delivered)


def _in_progress() -> Part:
    return delivery(REGISTERS[:3], "09:31:00", (START, END), None)


def _completed(amount: str, breakdown: tuple[tuple[str, str], ...]) -> Part:
    parts = {name: d(value) for name, value in breakdown}
    cycle = {"amount": d(amount), "currency": "EUR", "breakdown": parts}
    return delivery(REGISTERS, "10:05:00", (START, END), cycle)


def _offered() -> Part:
    offer = {
        "beckn:id": OFFER_ID,
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": "Local market, 09:00 to 10:00",
        },
        "beckn:provider": PROVIDER,
        "beckn:offerAttributes": offer_attributes(
            OFFER_ID, MARKET, "PROSUMER", _terms("PENDING", ())
        ),
    }
    return catalog(MARKET, [], offer)


def messages() -> dict[str, Part]:
    """Return every message of the market by the name of its file."""
    load, roof = Leg(21, LOAD.platform, MARKET), Leg(22, ROOF.platform, MARKET)
    grid = Leg(23, MARKET, GRID)
    share = quote(
        "0.37291",
        "EUR",
        ("Energy 4.716981 kWh x 0.069057", "0.325741"),
        ("Market making fee", "0.047169"),
    )
    search = {"text_search": "local energy market"}
    said = {
        "01_discover": load.say("discover", "07:45:00", search),
        "02_on_discover": load.say("on_discover", "07:45:00", _offered()),
    }

    def ask(leg: Leg, name: str, action: str, time: str, order: Part) -> None:
        said[name] = leg.say(action, time, {"order": order})

    alone, own = (LOAD,), (ROOF,)
    agreed = {shown: _terms("PENDING", shown, operator="filled") for shown in (alone, own, BOTH)}
    ask(load, "05_init", "init", "07:45:01", _order(LOAD, _terms("PENDING", alone)))
    ask(roof, "05a_init_roof", "init", "07:50:00", _order(ROOF, _terms("PENDING", own)))
    ask(load, "06_on_init", "on_init", "07:50:02", _order(LOAD, agreed[alone]))
    ask(roof, "06a_on_init_roof", "on_init", "07:50:02", _order(ROOF, agreed[own]))
    to_grid = _child(_terms("PENDING", BOTH, operator="open"))
    ask(grid, "07_cascaded_init", "init", "07:50:01", to_grid)
    ask(grid, "08_cascaded_on_init", "on_init", "07:50:01", _child(agreed[BOTH]))
    ask(load, "09_confirm", "confirm", "07:50:03", _order(LOAD, agreed[alone]))
    ask(roof, "09a_confirm_roof", "confirm", "07:50:03", _order(ROOF, agreed[own]))
    cleared = _terms("PENDING", BOTH, operator="filled", cleared=True)
    ask(grid, "09b_cascaded_confirm", "confirm", "08:00:00", _child(cleared))
    whole, part = (
        _terms("ACTIVE", shown, operator="filled", cleared=True) for shown in (BOTH, own)
    )
    ask(grid, "09c_cascaded_on_confirm", "on_confirm", "08:00:00", _child(whole))
    ask(load, "10_on_confirm", "on_confirm", "08:00:01", _order(LOAD, whole, quoted=share))
    ask(roof, "10a_on_confirm_roof", "on_confirm", "08:00:01", _order(ROOF, part))
    known = {"order": {"@type": "beckn:Order", "beckn:id": LOAD.order_id}}
    said["11_status"] = load.say("status", "09:31:02", known)
    running = _child(whole, _in_progress())
    said["11a_cascaded_on_status_in_progress"] = grid.push("09:31:00", running)
    half = _order(LOAD, whole, quoted=share, delivered=_in_progress())
    ask(load, "12_on_status_in_progress", "on_status", "09:31:02", half)
    whole, part = (
        _terms("COMPLETED", shown, operator="filled", cleared=True) for shown in (BOTH, own)
    )
    done = _child(whole, _completed(WHEELING_PART, (("wheelingCharges", WHEELING_PART),)))
    said["12a_cascaded_on_status_completed"] = grid.push("10:05:00", done)
    mine = _completed(LOAD.amount, LOAD.breakdown)
    settled = _order(LOAD, whole, quoted=share, delivered=mine, paid="PAID")
    said["13_on_status_completed"] = load.push("10:05:01", settled)
    theirs = _completed(ROOF.amount, ROOF.breakdown)
    settled = _order(ROOF, part, delivered=theirs, paid="PAID")
    said["13a_on_status_completed_roof"] = roof.push("10:05:01", settled)
    return said
