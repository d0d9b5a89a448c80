"""Steps of a market between prosumers' apps and a grid operator that are played by hand."""

from decimal import Decimal
from typing import Any

from adapter.domain.findings import Finding, Severity
from adapter.protocol import strict_json
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.fakes.market import (
    LOAD_CURVE,
    LOAD_METER,
    ROOF_CURVE,
    ROOF_METER,
    Market,
    Operator,
    Party,
)
from tests.fakes.orders import Order, contract, inputs
from tests.fakes.stranger import Message

SCHEMAS = Schemas(load_bundle())
Points = tuple[tuple[str, str], ...]


def findings(market: Market) -> list[tuple[str, Finding]]:
    """Return what schema and rules find in all that the market sent, but for what informs."""
    found = []
    for url, raw in market.wire.log:
        body = strict_json.decode_object(raw)
        action = body["context"]["action"]
        plain = {name: value for name, value in body.items() if name != "error"}
        hits = list(SCHEMAS.check(action, plain)) if "message" in body else []
        if "error" not in body:
            hits += check_message(action, body)
        found += [(f"{url} {action}", hit) for hit in hits if hit.severity is not Severity.INFO]
    return found


async def committed(
    operator: Operator | None, party: Party, meter: str, points: Points, **options: Any
) -> None:
    """Bring a prosumer into the market and commit it."""
    reply = await party.join(meter, points, **options)
    assert reply.word == "ACK", reply.error
    if operator is not None:
        await operator.work()
    reply = await party.commit(options.get("transaction_id"))
    assert reply.word == "ACK", reply.error


async def both_committed(operator: Operator | None, load: Party, roof: Party) -> None:
    """Commit the load and the roof of C1."""
    wheeling = operator is not None
    await committed(operator, load, LOAD_METER, LOAD_CURVE, wheeling=wheeling)
    await committed(operator, roof, ROOF_METER, ROOF_CURVE, wheeling=wheeling)


async def cleared(market: Market, operator: Operator) -> None:
    """Let the gate close and the operator answer what comes of it."""
    await market.close_gate()
    await operator.work()


def powers(message: Message) -> dict[str, Decimal]:
    """Return clearedPower of a message."""
    found: dict[str, Decimal] = agent(message)["clearedPower"]
    return found


def agent(message: Message) -> dict[str, Any]:
    """Return the inputs of the MARKET_CLEARING_AGENT."""
    return inputs(message["message"]["order"], "MARKET_CLEARING_AGENT")


def status(message: Message) -> str:
    """Return the status of a message's contract."""
    return str(contract(message["message"]["order"])["status"])


def delivered(order: Order, meter: str, *, contract_status: str, state: str) -> Order:
    """Return the news about one share: its own fulfilment and its own view of the contract."""
    found: Order = strict_json.decode_object(strict_json.encode(order))
    terms = contract(found)
    terms["status"] = contract_status
    mine = [one for one in terms["roles"] if one["role"] == "PROSUMER"]
    mine = [one for one in mine if one["roleInputs"]["sourceMeterId"] == meter]
    others = [one for one in terms["roles"] if one["role"] != "PROSUMER"]
    terms["roles"] = [others[0], *mine, *others[1:]]
    keys = {mine[0]["filledBy"], meter}
    power = others[0]["roleInputs"]["clearedPower"]
    others[0]["roleInputs"]["clearedPower"] = {k: v for k, v in power.items() if k in keys}
    found["beckn:fulfillments"] = [
        {**one, "beckn:state": _state(state), "beckn:attributes": _delivery(state)}
        for one in found["beckn:fulfillments"]
        if one["beckn:stops"][0]["beckn:location"]["beckn:address"] == meter
    ]
    return found


def _state(name: str) -> dict[str, Any]:
    descriptor = {"@type": "beckn:Descriptor", "schema:name": name}
    return {"@type": "beckn:State", "beckn:descriptor": descriptor}


def _delivery(state: str) -> dict[str, Any]:
    end = {"IN_PROGRESS": None}.get(state, "2026-03-02T10:00:00Z")
    found: dict[str, Any] = {
        "@type": "EnergyTradeDelivery",
        "deliveryStatus": state,
        "deliveryMode": "GRID_INJECTION",
        "deliveryStartTime": "2026-03-02T09:00:00Z",
        "deliveryEndTime": end,
        "meterReadings": [],
        "telemetry": [],
    }
    if state == "COMPLETED":
        found["deliveredQuantity"] = Decimal("4.716981")
        found["settlementCycleId"] = "settle-001"
        found["settlementCycles"] = [
            {
                "cycleId": "settle-001",
                "status": "SETTLED",
                "startTime": "2026-03-02T09:00:00Z",
                "endTime": end,
                "amount": Decimal("0.37291"),
                "currency": "EUR",
                "breakdown": {
                    "energyCost": Decimal("0.325741"),
                    "marketMakingFee": Decimal("0.047169"),
                },
            }
        ]
    return found
