"""Messages that break exactly one rule each, made from the reference messages.

Run `python -m tests.conformance.make_invalid` to write `examples/invalid` anew; a test compares.
A folder of a rule over earlier messages is one history, the last file breaks the rule. Beside a
message that only its delivery breaks, `profile.json` says what was delivered when.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from adapter.protocol.rules import HISTORY_RULES, PRICE_RULES
from tests.conformance.make_examples import pretty
from tests.unit.protocol.messages import (
    DAY,
    FORMULA_1,
    Message,
    casc,
    contract,
    curve_of,
    d,
    delivery,
    dlv,
    f,
    inputs,
    item,
    m,
    m_init,
    o,
    offer,
    p,
    p_on_init,
    role,
    t,
)
from tests.unit.protocol.test_rules_catalogue import CATALOGUE
from tests.unit.protocol.test_rules_modes import CATALOGUE as OTHER_MODES

FOLDER = Path(__file__).parents[2] / "examples" / "invalid"

Build = Callable[[], Message]
HISTORIES = frozenset(rule.code for rule in HISTORY_RULES)
PRICES = frozenset(rule.code for rule in PRICE_RULES)
PROFILE = "profile.json"


def changed(build: Build, *changes: Callable[[Message], object]) -> Message:
    """Return a reference message with changes."""
    message = build()
    for change in changes:
        change(message)
    return message


def put(name: str, **values: object) -> Callable[[Message], object]:
    """Return a change that sets inputs of a role."""
    return lambda message: inputs(message, name).update(values)


def context(**values: object) -> Callable[[Message], object]:
    """Return a change that sets keys of the context, None removing one."""

    def change(message: Message) -> None:
        kept = {**message["context"], **values}
        message["context"] = {key: value for key, value in kept.items() if value is not None}

    return change


def aggregator(*, filled_by: str | None) -> Callable[[Message], object]:
    """Return a change that adds an open role that no flow speaks of."""
    added = {"role": "AGGREGATOR", "filled": False, "filledBy": filled_by, "roleInputs": {}}
    return lambda message: contract(message)["roles"].append(added)


def bound_offer() -> Message:
    """Return O with a known buyer and an aggregator wanted: it has nothing to object to."""
    message = changed(o, aggregator(filled_by=None))
    role(message, "BUYER").update(role(f(), "BUYER"))
    offer(message)["beckn:offerAttributes"]["openRole"] = "AGGREGATOR"
    return message


def with_offer(**values: object) -> Message:
    """Return the offer with keys of its EnergyOffer set."""
    return changed(bound_offer, lambda m: offer(m)["beckn:offerAttributes"].update(values))


def low_cap() -> Message:
    """Return F as on_select, its buyer open: no quantity exceeds the cap that is too low."""
    message = changed(f, context(action="on_select"), put("GRID_OPERATOR", seller_trade_cap=5))
    contract(message)["status"] = "PENDING"
    role(message, "BUYER").update(filled=False, filledBy=None, roleInputs={})
    del message["message"]["order"]["beckn:items"]
    return message


def confirm_with_an_open_role() -> Message:
    message = changed(f, context(action="confirm"), aggregator(filled_by=None))
    contract(message)["status"] = "PENDING"
    return message


def more_delivered() -> Message:
    """Return D with 8.5 kWh on all registers."""
    message = changed(dlv, lambda m: delivery(m).update(deliveredQuantity=d("8.5")))
    last = {"sourceReading": d("708.7"), "targetReading": d("508.5"), "energyFlow": d("5.5")}
    delivery(message)["meterReadings"][2] |= last
    delivery(message)["telemetry"][0]["metrics"][0]["value"] = d("8.5")
    return message


def readings_out_of_order() -> Message:
    """Return D with the times of its first two readings exchanged, registers still rising."""
    message = dlv()
    first, second, _ = delivery(message)["meterReadings"]
    first["timestamp"], second["timestamp"] = second["timestamp"], first["timestamp"]
    return message


def cascaded_answer() -> Message:
    """Return the grid operator's on_init."""
    message = changed(casc, context(action="on_init"))
    role(message, "GRID_OPERATOR").update(role(f(), "GRID_OPERATOR"))
    return message


def empty_range() -> Message:
    """Return M before clearing with a curve that offers nothing."""
    nothing = {"minExport": 0, "maxExport": 0, "curve": [{"price": d("0.05"), "powerKW": 0}]}
    return changed(m_init, lambda x: curve_of(x, "pv.example").update(nothing))


def point_outside() -> Message:
    """Return M before clearing with a point beyond its range; no such curve ascends to its end."""
    return changed(m_init, lambda x: curve_of(x, "pv.example")["curve"][1].update(powerKW=7))


def cleared(status: str, **values: object) -> Message:
    """Return M with other clearing results."""
    message = changed(m, put("MARKET_CLEARING_AGENT", **values))
    contract(message)["status"] = status
    if status == "PENDING":  # the cascaded confirm goes out after clearing
        message["context"] |= {
            "action": "confirm",
            "bap_id": "mca.example",
            "bpp_id": "grid.example",
        }
    return message


def unknown_factor() -> Message:
    flow = {"formula": f"{FORMULA_1} × inputParameters.factor"}
    return changed(f, lambda m: contract(m)["revenueFlows"]["flows"][0].update(flow))


def discover(expression: str) -> Message:
    """Return a discover message with a filter."""
    message = changed(f, context(action="discover"))
    message["message"] = {"filters": {"type": "jsonpath", "expression": expression}}
    return message


RULES: dict[str, list[Message]] = {
    "P2P_ROLE_EARLY_NAME": [changed(p, aggregator(filled_by="pool.example"))],
    "P2P_NUMBER_PRECISION": [changed(f, put("GRID_OPERATOR", buyer_trade_cap=d("20.0000001")))],
    "P2P_STAGE_UNFILLED": [confirm_with_an_open_role()],
    "P2P_FLOW_ROLES": [
        changed(
            f,
            lambda m: contract(m)["revenueFlows"]["flows"].append(
                {"from": "BUYER", "to": "AGGREGATOR", "formula": FORMULA_1}
            ),
        )
    ],
    "P2P_FLOW_UNBOUND": [o(), unknown_factor()],
    "P2P_CAP_TOTAL": [low_cap()],
    "P2P_OFFER_CONTRACT": [with_offer(contractId="ctr-x")],
    "P2P_OFFER_OPEN_ROLE": [with_offer(openRole="SELLER")],
    "P2P_OFFER_IDENTITY": [with_offer(providerId="x.example")],
    "P2P_OFFER_PRICE": [
        changed(bound_offer, lambda m: offer(m)["beckn:price"].update({"schema:price": d("0.13")}))
    ],
    "P2P_RESOURCE_MISMATCH": [changed(bound_offer, lambda m: item(m).update(meterId="MS-9"))],
    "P2P_OFFER_EXCEEDS_RESOURCE": [
        changed(bound_offer, lambda m: item(m).update(availableQuantity=d("39.9")))
    ],
    "P2P_CURVE_RANGE": [empty_range()],
    "P2P_CURVE_BOUNDS": [point_outside()],
    "P2P_CLEARED_MISSING": [
        cleared("PENDING", clearingPrice=d("0.07"), clearedPower={"load.example": 0})
    ],
    "P2P_CLEARED_RANGE": [
        cleared(
            "ACTIVE",
            clearedPower={"load.example": d("-5.000001"), "pv.example": d("5.000001")},
        )
    ],
    "P2P_READING_ORDER": [readings_out_of_order()],
    "P2P_DELIVERED_OVER": [more_delivered()],
}
"""Examples where the one of the catalogue breaks a second rule as well."""

EARLIER: dict[str, list[Message]] = {
    "P2P_HIST_STATUS": [dlv(), f()],
    "P2P_HIST_IDENTITY": [
        p(),
        changed(f, lambda m: contract(m).update(createdAt=f"{DAY}06:00:01Z")),
    ],
    "P2P_HIST_TERM_CHANGED": [p(), p_on_init(), changed(f, put("SELLER", pricePerKWh=d("0.13")))],
    "P2P_HIST_TERM_DROPPED": [
        p(),
        p_on_init(),
        changed(f, lambda m: inputs(m, "SELLER").pop("maximumQuantity")),
    ],
    "P2P_HIST_CASCADE_MISMATCH": [
        p(),
        p_on_init(),
        changed(cascaded_answer, put("SELLER", sourceMeterId="MS-9")),
    ],
}
"""Messages of one contract in order; the last breaks the rule."""

WIRE: dict[str, list[Message]] = {
    "SCH_SCHEMA_VALIDATION_FAILED": [
        changed(f, lambda m: m.update(message="order")),
        changed(f, lambda m: contract(m).update(roles=[])),
    ],
    "SCH_REQUIRED_FIELD_MISSING": [changed(f, lambda m: contract(m).pop("contractId"))],
    "SCH_FIELD_NOT_ALLOWED": [changed(f, lambda m: contract(m).update(price=d("0.12")))],
    "SCH_INVALID_ENUM": [changed(f, lambda m: contract(m).update(status="NEW"))],
    "SCH_INVALID_FORMAT": [changed(f, lambda m: contract(m).update(createdAt="yesterday"))],
    "SCH_TYPE_NOT_SUPPORTED": [changed(f, lambda m: contract(m).update(contractId=7))],
    "SCH_INVALID_JSONPATH": [discover("$[?(@.itemAttributes.sourceType ~ 'WIND')]")],
    "CTX_MISSING_FIELD": [changed(f, context(transaction_id=None))],
    "CTX_INVALID_FIELD": [
        changed(f, context(timestamp="2026-03-02T08:00:00")),
        changed(f, context(ttl="30")),
        changed(f, context(action="explode")),
    ],
    "CTX_CALLBACK_URL_MISSING": [changed(f, context(bap_uri=None))],
    "CTX_INVALID_BPP_URI": [changed(f, context(bpp_uri="sell.example/bpp/receiver"))],
    "CTX_VERSION_UNSUPPORTED": [changed(f, context(version="2.0.1"))],
}
"""Codes of the wire that one file alone can show."""

NOT_JSON: dict[str, bytes] = {
    "01_key_twice.json": b'{"context": {"action": "init"},\n "context": {"action": "confirm"}}\n',
    "02_not_a_number.json": b'{"context": {"action": "init"},\n "message": {"price": NaN}}\n',
    "03_comma_at_the_end.json": b'{"context": {"action": "init"},\n "message": {},}\n',
}


DELIVERIES: dict[str, Message] = {
    "P2P_TARIFF_PROFILE": {
        "delivered_kwh": "30",
        "profile": [
            {"start": f"{DAY}16:00:00Z", "end": f"{DAY}20:00:00Z", "kwh": "24"},
            {"start": f"{DAY}20:00:00Z", "end": f"{DAY}22:00:00Z", "kwh": "5"},
        ],
    },
    "P2P_TARIFF_ASSUMED": {"delivered_kwh": "30", "profile": None},
}
"""What the host knows of a delivery, beside T."""


def messages() -> Iterator[tuple[str, list[Message]]]:
    """Give code and messages of every folder but that of SCH_INVALID_JSON."""
    of_catalogue: dict[str, list[Message]] = {}
    for code, _, fires in CATALOGUE:
        of_catalogue.setdefault(code, []).append(fires())
    for code, build, _, steps in OTHER_MODES:
        of_catalogue.setdefault(code, []).append(changed(build, *steps))
    priced = {code: [t()] for code in DELIVERIES}
    yield from (of_catalogue | RULES | EARLIER | WIRE | priced).items()


def files() -> dict[str, bytes]:
    """Return every file by its path below `examples/invalid`."""
    made = {f"SCH_INVALID_JSON/{name}": raw for name, raw in NOT_JSON.items()}
    for code, found in messages():
        for number, message in enumerate(found, 1):
            action = message["context"].get("action", "message")
            made[f"{code}/{number:02d}_{action}.json"] = pretty(message)
    for code, delivery_of in DELIVERIES.items():
        made[f"{code}/{PROFILE}"] = pretty(delivery_of)
    return made


def main() -> None:
    """Write the files."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, raw in files().items():
        file = FOLDER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)


if __name__ == "__main__":
    main()
