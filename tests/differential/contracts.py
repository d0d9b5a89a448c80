"""Valid contracts of every mode, for Hypothesis: any terms, but none that a rule refuses."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.unit.protocol.messages import (
    DAY,
    FORMULA_1,
    FORMULA_2,
    FORMULA_3,
    FORMULA_4,
    FORMULA_5,
    FORMULA_6,
    Message,
    envelope,
)

Draw = st.DrawFn
MODES = ("FIXED_PRICE", "TARIFF", "MARKET")
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")

NUMBERS = st.one_of(st.integers(0, 50), st.decimals(0, 50, places=6), st.decimals(0, 1, places=2))
POSITIVE = st.one_of(st.integers(1, 50), st.decimals("0.000001", 50, places=6))
TIMES = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.sampled_from([0, 30, 59]))
NAMES = st.sampled_from(["a", "meter 7", "Zähler", "x.example", "M-1"])
CURRENCIES = st.sampled_from(["EUR", "USD", "INR", "JPY"])
ZONES = st.sampled_from(["UTC", "Europe/Paris", "Asia/Kolkata"])


def exact(value: int | Decimal) -> Decimal:
    """Return a number as a Decimal."""
    return Decimal(value)


@st.composite
def contracts(draw: Draw, mode: str) -> Message:
    """Give a contract of a mode, PENDING as at init or ACTIVE as at on_confirm."""
    active = draw(st.booleans())
    currency = draw(CURRENCIES)
    parameters: Message = {}
    match mode:
        case "MARKET":
            roles, flows = draw(_market(currency, parameters, active))
        case "TARIFF":
            roles, flows = draw(_bilateral(currency, parameters, draw(tariffs(currency))))
        case _:
            roles, flows = draw(_bilateral(currency, parameters, None))
    for role in roles:
        for name, value in role["roleInputs"].items():
            if draw(st.integers(0, 9)) == 0:
                role["roleInputs"][name] = envelope(_envelope_type(name, value), value)
    terms: Message = {
        "contractId": draw(NAMES),
        "status": "ACTIVE" if active else "PENDING",
        "createdAt": f"{DAY}06:00:00Z",
        "roles": roles,
        "revenueFlows": {"flows": flows, "netZero": True},
        "inputParameters": parameters,
    }
    return draw(_decorated(terms))


@st.composite
def _decorated(draw: Draw, terms: Message) -> Message:
    """Add parts that change nothing."""
    extras: Message = {
        "@type": "EnergyContractP2PTrade",
        "_note": "x",
        "telemetrySources": [],
        "qualityMetrics": {"metrics": [{"metricId": "q", "formula": "1 + 1"}]},
        "inputSignals": [{"signalId": "s", "signalType": "PRICE", "source": {}, "value": 1}],
    }
    chosen = draw(st.sets(st.sampled_from(sorted(extras))))
    return {**{name: extras[name] for name in sorted(chosen)}, **terms}


def _envelope_type(name: str, value: object) -> str:
    if name.startswith("trade"):
        return "DATE_TIME"
    if isinstance(value, dict):
        return "OFFER_CURVE" if name == "offerCurve" else "OBJECT"
    return "STRING" if value is None or isinstance(value, str) else "NUMBER"


def _filled(name: str, platform: str, values: Message) -> Message:
    return {"role": name, "filled": True, "filledBy": platform, "roleInputs": values}


@st.composite
def _bilateral(
    draw: Draw, currency: str, parameters: Message, tariff: Message | None
) -> tuple[list[Message], list[Message]]:
    """Give roles and flows of a SELLER and a BUYER; with a tariff it is the price."""
    quantity = draw(POSITIVE)
    seller: Message = {"sourceMeterId": "MS-1", "sourceType": draw(NAMES)}
    if tariff is None:
        seller |= {"pricePerKWh": draw(POSITIVE), "currency": currency}
    else:
        seller["tariff"] = tariff
        parameters |= draw(_some({"timeZone": draw(ZONES), "vatTreatment": "INCLUSIVE"}))
    limits = {
        "minimumQuantity": 0,
        "maximumQuantity": exact(quantity) + 1,
        "inverterId": None,
        "settlementType": "DAILY",
        "certification": {"status": "gold", "certificates": ["https://x.example/c"]},
        "validityWindow": {"start": f"{DAY}07:00:00Z"},
    }
    seller |= draw(_some(limits))
    buyer: Message = {
        "targetMeterId": "MB-1",
        "contractedQuantity": quantity,
        "tradeStartTime": f"{DAY}09:00:00Z",
        "tradeEndTime": draw(st.sampled_from([f"{DAY}10:00:00Z", "2026-03-03T09:00:00+05:30"])),
    }
    buyer |= draw(_some({"preferredCertification": {"status": "x", "required": False}}))
    alias = draw(st.sampled_from(["BUYER", "CONSUMER"]))
    roles = [_filled("SELLER", "sell.example", seller), _filled(alias, "buy.example", buyer)]
    flows = [{"from": alias, "to": "SELLER", "formula": FORMULA_1 if tariff is None else FORMULA_3}]
    parameters |= draw(_some({"settlementBasis": "DELIVERED", "note": {"any": 1}}))
    if draw(st.booleans()):
        roles.append(draw(_operator(exact(quantity))))
        formula = FORMULA_2 if tariff is None else draw(st.sampled_from([FORMULA_2, FORMULA_4]))
        flows.append({"from": "BUYER", "to": "GRID_OPERATOR", "formula": formula})
    return roles, flows


@st.composite
def _operator(draw: Draw, energy: Decimal) -> Message:
    """Give a GRID_OPERATOR whose caps leave room for an energy."""
    bought, sold = draw(NUMBERS), draw(NUMBERS)
    values: Message = {
        "wheelingCharges": draw(NUMBERS),
        "current_buyer_trades_total": bought,
        "current_seller_trade_total": sold,
        "buyer_trade_cap": exact(bought) + energy + 1,
        "seller_trade_cap": exact(sold) + energy,
    }
    return _filled("GRID_OPERATOR", "grid.example", values)


def _some(values: Message) -> st.SearchStrategy[Message]:
    """Give any part of a mapping."""
    names = sorted(values)
    return st.sets(st.sampled_from(names)).map(lambda c: {n: values[n] for n in names if n in c})


@st.composite
def tariffs(draw: Draw, currency: str) -> Message:
    """Give a tariff that has a price at any time."""
    elements = draw(st.lists(_elements(), max_size=3))
    tariff: Message = {
        "currency": currency,
        "elements": [*elements, {"priceComponents": [draw(_components("ENERGY"))]}],
    }
    mix = {"energySources": [{"source": "WIND", "percentage": draw(st.integers(0, 100))}]}
    extras: Message = {
        "type": "REGULAR",
        "minPrice": {"exclVat": Decimal("0.01"), "inclVat": Decimal("0.02")},
        "maxPrice": {"exclVat": 90},
        "energyMix": mix,
    }
    return tariff | draw(_some(extras))


@st.composite
def _components(draw: Draw, kind: str) -> Message:
    extras: Message = {"vat": draw(st.integers(0, 25)), "stepSize": draw(st.integers(1, 1000))}
    return {"type": kind, "price": draw(NUMBERS)} | draw(_some(extras))


@st.composite
def _elements(draw: Draw) -> Message:
    """Give an element with any restrictions."""
    kinds = draw(st.sets(st.sampled_from(["TIME", "FLAT", "PARKING_TIME", "AD_HOC_PAYMENT"])))
    parts = [draw(_components(kind)) for kind in sorted(kinds | {"ENERGY"})]
    limits: Message = {}
    if draw(st.booleans()):
        limits |= {"startTime": draw(TIMES), "endTime": draw(TIMES)}
    low, high = sorted(draw(st.lists(st.integers(0, 60), min_size=2, max_size=2, unique=True)))
    days = draw(st.lists(st.sampled_from(DAYS), max_size=3))
    extras = {"minKWh": low, "maxKWh": high, "dayOfWeek": days, "reservation": "NOT_RESERVED"}
    return {"priceComponents": parts, "restrictions": limits | draw(_some(extras))}


@st.composite
def _market(
    draw: Draw, currency: str, parameters: Message, active: bool
) -> tuple[list[Message], list[Message]]:
    """Give roles and flows of a market with as much offered as taken; or one part of it."""
    powers = draw(st.lists(POSITIVE, min_size=1, max_size=2))
    signed = [sign * exact(power) for power in powers for sign in (-1, 1)]
    if draw(st.booleans()):
        signed = signed[:1]
    prosumers, cleared = [], {}
    for number, power in enumerate(signed):
        platform, meter = f"p{number}.example", f"MP-{number}"
        values = {
            "sourceMeterId": meter,
            "sourceType": "CONSUMER" if power < 0 else "SOLAR",
            "offerCurve": draw(curves(currency, power)),
        }
        prosumers.append(_filled("PROSUMER", platform, values))
        cleared[draw(st.sampled_from([platform, meter]))] = power
    agent: Message = {"marketMakingFee": draw(NUMBERS)}
    if active:
        agent |= {"clearingPrice": draw(NUMBERS), "clearedPower": cleared}
    roles = [_filled("MARKET_CLEARING_AGENT", "mca.example", agent), *prosumers]
    flows = [{"from": "PROSUMER", "to": "MARKET_CLEARING_AGENT", "formula": FORMULA_5}]
    window = {"startTime": f"{DAY}09:00:00Z", "endTime": f"{DAY}09:15:00Z"}
    extras = {
        "deliveryWindow": window,
        "feeTreatment": "BUYER_ONLY",
        "pricingModel": "PAY_AS_CLEAR",
        "approvedMaxTradeKW": 50,
    }
    parameters |= draw(_some(extras))
    if draw(st.booleans()):
        roles.append(draw(_operator(max(map(abs, signed)))))
        flows.append({"from": "MARKET_CLEARING_AGENT", "to": "GRID_OPERATOR", "formula": FORMULA_6})
    return roles, flows


@st.composite
def curves(draw: Draw, currency: str, power: Decimal) -> Message:
    """Give the curve of a buyer or seller with room for a power."""
    far = power + (1 if power > 0 else -1)
    inner = draw(st.lists(st.integers(1, 9), max_size=3))
    levels = sorted([Decimal(0), far, *(far // 10 * tenth for tenth in inner)])
    prices = sorted(draw(st.lists(NUMBERS, min_size=len(levels), max_size=len(levels))))
    points = [{"price": p, "powerKW": kw} for p, kw in zip(prices, levels, strict=True)]
    return {
        "currency": currency,
        "minExport": levels[0],
        "maxExport": levels[-1],
        "curve": points,
    }


def in_message(terms: Message) -> tuple[str, Message]:
    """Return the action and a message that carries a contract."""
    action = "on_confirm" if terms.get("status") == "ACTIVE" else "init"
    context: dict[str, Any] = {
        "version": "2.0.0",
        "action": action,
        "timestamp": f"{DAY}08:00:00Z",
        "transaction_id": "t-1",
        "message_id": "m-1",
        "bap_id": "buy.example",
        "bap_uri": "https://buy.example/bap/receiver",
        "bpp_id": "sell.example",
        "bpp_uri": "https://sell.example/bpp/receiver",
        "ttl": "PT30S",
        "domain": "energy-trade",
    }
    return action, {
        "context": context,
        "message": {"order": {"beckn:id": "o-1", "beckn:orderAttributes": terms}},
    }
