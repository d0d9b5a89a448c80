"""Mutants of contracts: one to three values replaced, removed or added, at random."""

import copy
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.unit.protocol.messages import Message

Place = tuple[str | int, ...]
SCHEMAS = "#/components/schemas/"
CONTRACT = f"{SCHEMAS}EnergyContractP2PTrade.EnergyContractP2PTrade"

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    10**12,
    Decimal("0.5"),
    Decimal("-0.000001"),
    Decimal("8.0"),
    Decimal("1.0"),
    Decimal("0E-30"),
    Decimal("1E+20"),
    "",
    "x",
    "é",
    "0.12",
    "NUMBER",
    "STRING",
    "OBJECT",
    "DATETIME",
    "SELLER",
    "CONSUMER",
    "PROSUMER",
    "GRID_OPERATOR",
    "MARKET_CLEARING_AGENT",
    "ACTIVE",
    "COMPLETED",
    "ENERGY",
    "FLAT",
    "MONDAY",
    "24:00",
    "07:30",
    "EUR",
    "eur",
    "2026-03-02T09:00:00Z",
    "2026-02-30T09:00:00Z",
    "2026-12-31T23:59:60Z",
    "2026-03-02 09:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "https://x.example",
    [],
    [None],
    [1, "x"],
    {},
    {"type": "NUMBER", "required": True, "value": 1},
    {"type": "STRING", "required": True, "value": None},
    {"type": "OBJECT", "required": False},
    {"type": "ROUTE", "required": True, "value": 1, "extra": 1},
    {"type": "REGULAR", "required": True},
    {"_x": 1},
)
KEYS = (
    "_note",
    "@type",
    "extra",
    "value",
    "required",
    "type",
    "tariff",
    "offerCurve",
    "pricePerKWh",
    "currency",
    "wheelingCharges",
    "clearedPower",
    "clearingPrice",
    "endTime",
    "filledBy",
    "vat",
    "price",
)
PARTS = {
    "revenueFlows": "EnergyContract.RevenueFlows",
    "inputParameters": "EnergyContract.InputParameters",
}
INPUTS = {"tariff": "EnergyCoordination.Tariff", "offerCurve": "EnergyCoordination.OfferCurve"}


def parts_of(terms: Message) -> list[tuple[str, Any]]:
    """Return the parts of a contract that have a schema of their own, with its reference."""
    found = [(f"{SCHEMAS}{PARTS[name]}", terms[name]) for name in PARTS if name in terms]
    for role in terms["roles"]:
        found.append((f"{SCHEMAS}EnergyContractP2PTrade.P2PRole", role))
        for name, schema in INPUTS.items():
            value = role["roleInputs"].get(name)
            if isinstance(value, dict):
                found.append((f"{SCHEMAS}{schema}", value))
    return found


def mutant(value: Any, rng: random.Random) -> Any:
    """Return a copy of an object with one to three changes."""
    changed = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = places(changed)
        if not found:
            break
        _change(changed, rng.choice(found), rng)
    return changed


def places(node: Any, path: Place = ()) -> list[Place]:
    """Return the place of every value below a root."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    found: list[Place] = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def _change(root: Any, path: Place, rng: random.Random) -> None:
    parent = root
    for key in path[:-1]:
        parent = parent[key]
    kind = rng.random()
    if kind < 0.5:
        parent[path[-1]] = copy.deepcopy(rng.choice(VALUES))
    elif kind < 0.75:
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
    else:
        parent.append(copy.deepcopy(rng.choice((*VALUES, *parent))))


def _role(terms: Message, *names: str) -> Message:
    found: Message = next(role for role in terms["roles"] if role["role"] in names)
    return found


def _inputs(terms: Message, *names: str) -> Message:
    found: Message = _role(terms, *names)["roleInputs"]
    return found


def _plain(value: Any) -> Any:
    """Return an input without its envelope."""
    if isinstance(value, dict) and isinstance(value.get("required"), bool):
        return value["value"]
    return value


def _tariff(terms: Message) -> Message:
    found: Message = _plain(_inputs(terms, "SELLER")["tariff"])
    return found


def _curve(terms: Message) -> Message:
    found: Message = _plain(_inputs(terms, "PROSUMER")["offerCurve"])
    return found


_ENERGY = {"type": "ENERGY", "price": 1}
Breaker = Callable[[Message], object]
BUYER = ("BUYER", "CONSUMER")
AGENT = "MARKET_CLEARING_AGENT"
ANY: dict[str, Breaker] = {
    "no status": lambda c: c.pop("status"),
    "no contract id": lambda c: c.update(contractId=""),
    "no roles": lambda c: c.update(roles=[]),
    "unknown key": lambda c: c.update(price=1),
    "unknown role": lambda c: c["roles"][0].update(role="OWNER"),
    "nobody fills it": lambda c: c["roles"][1].update(filledBy=None),
    "no inputs": lambda c: c["roles"][0].pop("roleInputs"),
    "no time of birth": lambda c: c.update(createdAt="yesterday"),
    "flow without formula": lambda c: c["revenueFlows"]["flows"][0].pop("formula"),
    "flow to nobody": lambda c: c["revenueFlows"]["flows"][0].update(to="BANK"),
    "no flows": lambda c: c["revenueFlows"].update(flows=[]),
    "formula in pieces": lambda c: c["revenueFlows"]["flows"][0].update(formula="1 +"),
    "formula of nothing": lambda c: c["revenueFlows"]["flows"][0].update(formula="waitTime"),
    "not closed": lambda c: c["revenueFlows"].update(netZero=False),
    "a role of another mode": lambda c: c["roles"].append(
        {
            "role": "SELLER" if c["roles"][0]["role"] == AGENT else "PROSUMER",
            "filled": False,
            "filledBy": None,
            "roleInputs": {},
        }
    ),
}
BILATERAL: dict[str, Breaker] = {
    "no quantity": lambda c: _inputs(c, *BUYER).pop("contractedQuantity"),
    "quantity of zero": lambda c: _inputs(c, *BUYER).update(contractedQuantity=0),
    "quantity as text": lambda c: _inputs(c, *BUYER).update(contractedQuantity="8"),
    "a buyer's price": lambda c: _inputs(c, *BUYER).update(pricePerKWh=1),
    "no target": lambda c: _inputs(c, *BUYER).update(targetMeterId=None),
    "one meter": lambda c: _inputs(c, *BUYER).update(targetMeterId="MS-1"),
    "window backwards": lambda c: _inputs(c, *BUYER).update(tradeEndTime="2026-03-02T09:00:00Z"),
    "too fine": lambda c: _inputs(c, *BUYER).update(contractedQuantity=Decimal("1.0000001")),
    "no source": lambda c: _inputs(c, "SELLER").pop("sourceType"),
    "limits apart": lambda c: _inputs(c, "SELLER").update(minimumQuantity=2, maximumQuantity=1),
    "negative limit": lambda c: _inputs(c, "SELLER").update(minimumQuantity=-1),
    "two sellers": lambda c: c["roles"].append(copy.deepcopy(_role(c, "SELLER"))),
    "other envelope": lambda c: _inputs(c, *BUYER).update(
        contractedQuantity={"type": "ROUTE", "required": True, "value": 1}
    ),
}
BREAKERS: dict[str, dict[str, Breaker]] = {
    "FIXED_PRICE": {
        **ANY,
        **BILATERAL,
        "free energy": lambda c: _inputs(c, "SELLER").update(pricePerKWh=0),
        "negative price": lambda c: _inputs(c, "SELLER").update(pricePerKWh=-1),
        "no currency": lambda c: _inputs(c, "SELLER").pop("currency"),
        "no such currency": lambda c: _inputs(c, "SELLER").update(currency="ZZZ"),
        "price and tariff": lambda c: _inputs(c, "SELLER").update(
            tariff={"currency": "EUR", "elements": [{"priceComponents": [_ENERGY]}]}
        ),
        "division by nothing": lambda c: c["revenueFlows"]["flows"][0].update(formula="1 / 0"),
    },
    "TARIFF": {
        **ANY,
        **BILATERAL,
        "no elements": lambda c: _tariff(c).update(elements=[]),
        "no energy": lambda c: _tariff(c)["elements"][0].update(
            priceComponents=[{"type": "FLAT", "price": 1}]
        ),
        "negative energy": lambda c: _tariff(c)["elements"][0].update(
            priceComponents=[{"type": "ENERGY", "price": -1}]
        ),
        "half a time": lambda c: _tariff(c)["elements"][0].update(
            restrictions={"startTime": "09:00"}
        ),
        "no such time": lambda c: _tariff(c)["elements"][0].update(
            restrictions={"startTime": "09:00", "endTime": "24:00"}
        ),
        "empty tier": lambda c: _tariff(c)["elements"][0].update(
            restrictions={"minKWh": 5, "maxKWh": 5}
        ),
        "bounds apart": lambda c: _tariff(c).update(
            minPrice={"exclVat": 2}, maxPrice={"exclVat": 1}
        ),
        "VAT takes away": lambda c: _tariff(c).update(minPrice={"exclVat": 2, "inclVat": 1}),
        "step of zero": lambda c: _tariff(c)["elements"][0]["priceComponents"][0].update(
            stepSize=0
        ),
        "no such zone": lambda c: c["inputParameters"].update(timeZone="Europe/Atlantis"),
        "tariff of nothing": lambda c: _inputs(c, "SELLER").update(tariff=None),
        "no currency": lambda c: _tariff(c).pop("currency"),
        "two currencies": lambda c: _inputs(c, "SELLER").update(currency="CHF"),
    },
    "MARKET": {
        **ANY,
        "no fee": lambda c: _inputs(c, AGENT).pop("marketMakingFee"),
        "negative fee": lambda c: _inputs(c, AGENT).update(marketMakingFee=-1),
        "result at the wrong time": lambda c: (
            _inputs(c, AGENT).pop("clearedPower")
            if c["status"] == "ACTIVE"
            else _inputs(c, AGENT).update(clearingPrice=1)
        ),
        "power as text": lambda c: _inputs(c, AGENT).update(clearedPower={"p0.example": "1"}),
        "no curve": lambda c: _inputs(c, "PROSUMER").pop("offerCurve"),
        "empty curve": lambda c: _curve(c).update(curve=[]),
        "no range": lambda c: _curve(c).update(minExport=0, maxExport=0),
        "curve beyond its range": lambda c: _curve(c)["curve"][0].update(powerKW=10**6),
        "curve that falls": lambda c: _curve(c)["curve"].append({"price": 99, "powerKW": -(10**6)}),
        "negative price": lambda c: _curve(c)["curve"][0].update(price=-1),
        "two currencies": lambda c: _two_currencies(c),
        "a price of its own": lambda c: _inputs(c, "PROSUMER").update(pricePerKWh=1),
        "two agents": lambda c: c["roles"].append(copy.deepcopy(_role(c, AGENT))),
        "power that nobody offered": lambda c: _inputs(c, AGENT).update(
            clearedPower={"p0.example": 10**6}, clearingPrice=1
        ),
    },
}
"""Changes after which no contract of the mode may pass both tiers."""


def _two_currencies(terms: Message) -> None:
    extra = copy.deepcopy(_role(terms, "PROSUMER"))
    extra |= {"filledBy": "z.example", "filled": True}
    values = extra["roleInputs"]
    values |= {"sourceMeterId": "MZ-1", "offerCurve": {**_curve(terms), "currency": "CHF"}}
    terms["roles"].append(extra)
