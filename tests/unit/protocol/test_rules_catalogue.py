"""Every rule of the catalogue with the example that keeps it and the one that breaks it."""

from collections.abc import Callable

import pytest

from adapter.domain.findings import Severity
from adapter.protocol.rules import ALL_RULES, HISTORY_RULES, PRICE_RULES, check_message
from adapter.protocol.schema_errors import RULE_TEXTS
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.unit.protocol.messages import (
    DAY,
    FORMULA_1,
    Message,
    casc,
    contract,
    d,
    delivery,
    dlv,
    envelope,
    f,
    inputs,
    item,
    o,
    offer,
    order,
    p,
    q,
    role,
)
from tests.unit.protocol.test_rules_modes import IDS as IDS_OF_OTHER_MODES

SCHEMAS = Schemas(load_bundle())
Build = Callable[[], Message]


def found(message: Message) -> dict[str, str]:
    """Return code or rule to path of everything found in a message, both tiers."""
    action = message["context"]["action"]
    schema = SCHEMAS.check(action, message)
    rules = check_message(action, message, schema_findings=schema)
    return {finding.rule or finding.code: finding.path for finding in (*schema, *rules)}


def make(build: Build, *steps: Callable[[Message], object]) -> Build:
    """Return a builder that changes what `build` gives."""

    def built() -> Message:
        message = build()
        for step in steps:
            step(message)
        return message

    return built


def put(name: str, **values: object) -> Callable[[Message], object]:
    """Return a step that sets inputs of a role."""
    return lambda message: inputs(message, name).update(values)


def terms(**values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of the contract."""
    return lambda message: contract(message).update(values)


def context(**values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of the context."""
    return lambda message: message["context"].update(values)


def flow(index: int, **values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of a flow."""
    return lambda message: contract(message)["revenueFlows"]["flows"][index].update(values)


def unfill(name: str) -> Callable[[Message], object]:
    """Return a step that opens a role."""
    return lambda message: role(message, name).update(filled=False, filledBy=None)


def drop(name: str) -> Callable[[Message], object]:
    """Return a step that removes a role."""
    return lambda message: contract(message)["roles"].remove(role(message, name))


def deliver(**values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of the delivery."""
    return lambda message: delivery(message).update(values)


def cycle(**values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of the settlement cycle."""
    return lambda message: delivery(message)["settlementCycles"][0].update(values)


def reading(index: int, **values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of a meter reading."""
    return lambda message: delivery(message)["meterReadings"][index].update(values)


def swap_readings(message: Message) -> None:
    readings = delivery(message)["meterReadings"]
    readings[0], readings[1] = readings[1], readings[0]


def offered(**values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of the EnergyOffer."""
    return lambda message: offer(message)["beckn:offerAttributes"].update(values)


def quoted(**values: object) -> Callable[[Message], object]:
    """Return a step that sets keys of the quoted price, `_` standing for `:`."""
    named = {name.replace("_", ":"): value for name, value in values.items()}
    return lambda message: order(message)["beckn:quote"]["beckn:price"].update(named)


def one_part(message: Message) -> None:
    order(message)["beckn:quote"]["beckn:breakup"] = [
        {"beckn:price": {"schema:price": 1, "schema:priceCurrency": "EUR"}}
    ]


def prosumer(message: Message) -> None:
    curve = {"currency": "EUR", "minExport": 0, "maxExport": 5, "curve": [CURVE_POINT]}
    values = {"sourceMeterId": "MP-1", "sourceType": "SOLAR", "offerCurve": curve}
    contract(message)["roles"].append(
        {"role": "PROSUMER", "filled": True, "filledBy": "pv.example", "roleInputs": values}
    )


def second_operator(message: Message) -> None:
    contract(message)["roles"].append(dict(role(message, "GRID_OPERATOR")))


CURVE_POINT = {"price": d("0.05"), "powerKW": 5}
TARIFF = {"currency": "EUR", "elements": [{"priceComponents": [{"type": "ENERGY", "price": 1}]}]}
VALIDITY = {"startTime": f"{DAY}06:00:00Z", "endTime": f"{DAY}12:00:00Z"}
LATE_VALIDITY = {"startTime": f"{DAY}09:30:00Z", "endTime": f"{DAY}12:00:00Z"}
OPEN_OFFER = {"start": f"{DAY}07:00:00Z", "end": f"{DAY}08:00:00Z"}
PAST_OFFER = {"start": f"{DAY}07:00:00Z", "end": f"{DAY}07:59:59Z"}
SOURCE = {"sourceId": "s-1", "sourceType": "METER_READING"}
END_ENVELOPE = envelope("DATETIME", f"{DAY}10:00:00Z")
tariff_only = make(
    f,
    lambda m: [inputs(m, "SELLER").pop(name) for name in ("pricePerKWh", "currency")],
    put("SELLER", tariff=TARIFF),
)

CATALOGUE: list[tuple[str, Build, Build]] = [
    ("P2P_MODE_NONE", f, make(f, drop("BUYER"))),
    ("P2P_MODE_MIXED", f, make(f, prosumer)),
    ("P2P_ROLE_DUPLICATE", f, make(f, second_operator)),
    ("P2P_MODE_HINT", make(f, terms(_mode="FIXED_PRICE")), make(f, terms(_mode="MARKET_BASED"))),
    ("P2P_EXTENSION_KEY", f, make(f, terms(_note="x"))),
    ("P2P_TYPE_UNKNOWN", f, make(f, terms(**{"@type": "EnergyOrder"}))),
    ("P2P_ROLE_FILLED_BY", f, make(f, lambda m: role(m, "SELLER").update(filledBy=None))),
    ("P2P_ROLE_EARLY_NAME", o, make(o, lambda m: role(m, "BUYER").update(filledBy="buy.example"))),
    ("P2P_INPUT_MISSING", f, make(f, put("BUYER", targetMeterId=envelope("STRING", None)))),
    (
        "P2P_INPUT_FORBIDDEN",
        make(f, put("SELLER", inverterId="inv-1")),
        make(f, put("SELLER", wheelingCharges=d("0.02"))),
    ),
    (
        "P2P_INPUT_TYPE",
        make(f, put("SELLER", pricePerKWh=envelope("NUMBER", d("0.12")))),
        make(f, put("SELLER", pricePerKWh="0.12")),
    ),
    (
        "P2P_INPUT_ENVELOPE",
        make(f, put("BUYER", tradeEndTime=END_ENVELOPE)),
        make(f, put("SELLER", pricePerKWh=envelope("STRING", d("0.12")))),
    ),
    (
        "P2P_PRICE_CHOICE",
        tariff_only,
        make(tariff_only, put("SELLER", pricePerKWh=d("0.12"), currency="EUR")),
    ),
    (
        "P2P_PRICE_POSITIVE",
        make(f, put("SELLER", pricePerKWh=d("0.000001"))),
        make(f, put("SELLER", pricePerKWh=0)),
    ),
    ("P2P_QUANTITY_POSITIVE", f, make(f, put("BUYER", contractedQuantity=0))),
    (
        "P2P_NOT_NEGATIVE",
        make(f, put("GRID_OPERATOR", wheelingCharges=0)),
        make(f, put("GRID_OPERATOR", wheelingCharges=d("-0.01"))),
    ),
    ("P2P_CAP_POSITIVE", f, make(f, put("GRID_OPERATOR", buyer_trade_cap=0))),
    (
        "P2P_NUMBER_PRECISION",
        make(f, put("BUYER", contractedQuantity=d("8.000001"))),
        make(f, put("BUYER", contractedQuantity=d("8.0000001"))),
    ),
    ("P2P_CURRENCY", f, make(f, put("SELLER", currency="ZZZ"))),
    ("P2P_CURRENCY_MISMATCH", dlv, make(dlv, cycle(currency="INR"))),
    ("P2P_CURRENCY_MISMATCH", q, make(q, quoted(schema_priceCurrency="INR"))),
    ("P2P_QUANTITY_LIMITS", f, make(f, put("SELLER", maximumQuantity=d("7.999999")))),
    ("P2P_WINDOW_ORDER", f, make(f, put("BUYER", tradeEndTime=f"{DAY}09:00:00Z"))),
    (
        "P2P_WINDOW_OUTSIDE",
        make(f, terms(inputParameters={"validityWindow": VALIDITY})),
        make(f, terms(inputParameters={"validityWindow": LATE_VALIDITY})),
    ),
    ("P2P_WINDOW_STARTED", f, make(f, context(timestamp=f"{DAY}09:00:01Z"))),
    ("P2P_WINDOW_ENDED", f, make(f, context(timestamp=f"{DAY}10:00:00Z"))),
    (
        "P2P_OFFER_EXPIRED",
        make(f, put("SELLER", validityWindow=OPEN_OFFER)),
        make(f, put("SELLER", validityWindow=PAST_OFFER)),
    ),
    ("P2P_SAME_METER", f, make(f, put("BUYER", targetMeterId="MS-1"))),
    (
        "P2P_PREFERENCE_UNMET",
        make(f, put("BUYER", preferredSourceType="WIND")),
        make(f, put("BUYER", preferredSourceType="SOLAR")),
    ),
    (
        "P2P_TELEMETRY_IN_CONTRACT",
        make(f, terms(telemetrySources=[])),
        make(f, terms(telemetrySources=[SOURCE])),
    ),
    ("P2P_STATUS_ACTION", f, make(f, context(action="confirm"))),
    ("P2P_STAGE_UNFILLED", p, make(p, unfill("BUYER"))),
    ("P2P_ACTIVE_UNFILLED", f, make(f, unfill("GRID_OPERATOR"))),
    ("P2P_COMPLETED_UNSETTLED", dlv, make(dlv, cycle(status="PENDING"))),
    ("P2P_CREATED_LATER", f, make(f, terms(createdAt=f"{DAY}08:00:01Z"))),
    ("P2P_PARTY_MISMATCH", f, make(f, context(bap_id="other.example"))),
    (
        "P2P_FLOW_MISSING",
        f,
        make(f, lambda m: contract(m)["revenueFlows"]["flows"].pop()),
    ),
    ("P2P_FLOW_NET_ZERO", f, make(f, lambda m: contract(m)["revenueFlows"].update(netZero=False))),
    ("P2P_FLOW_ROLES", f, make(f, flow(1, to="AGGREGATOR"))),
    (
        "P2P_FLOW_SYNTAX",
        make(f, flow(0, formula=FORMULA_1.replace("×", "*"))),
        make(f, flow(0, formula="roles.BUYER.roleInputs.contractedQuantity ×")),
    ),
    (
        "P2P_FLOW_PATH",
        make(f, flow(0, formula=FORMULA_1.replace(" ×", ".value ×") + ".value")),
        make(f, flow(0, formula=FORMULA_1.replace("pricePerKWh", "pricePerKwh"))),
    ),
    ("P2P_FLOW_UNBOUND", f, o),
    (
        "P2P_FLOW_NONSTANDARD",
        make(f, flow(0, formula=" × ".join(reversed(FORMULA_1.split(" × "))))),
        make(f, flow(0, formula=FORMULA_1 + " × 2")),
    ),
    ("P2P_FLOW_VALUE", f, make(f, flow(0, formula=FORMULA_1 + " / (1 - 1)"))),
    (
        "P2P_CAP_TOTAL",
        make(f, put("GRID_OPERATOR", seller_trade_cap=14)),
        make(f, put("GRID_OPERATOR", seller_trade_cap=5)),
    ),
    (
        "P2P_CAP_EXCEEDED",
        make(f, put("GRID_OPERATOR", buyer_trade_cap=11)),
        make(f, put("GRID_OPERATOR", buyer_trade_cap=d("10.999999"))),
    ),
    ("P2P_OFFER_CONTRACT", o, make(o, offered(contractId="ctr-x"))),
    ("P2P_OFFER_OPEN_ROLE", o, make(o, offered(openRole="SELLER"))),
    ("P2P_OFFER_IDENTITY", o, make(o, offered(providerId="x.example"))),
    (
        "P2P_OFFER_PRICE",
        o,
        make(o, lambda m: offer(m)["beckn:price"].update({"schema:price": d("0.13")})),
    ),
    ("P2P_RESOURCE_MISMATCH", o, make(o, lambda m: item(m).update(meterId="MS-9"))),
    (
        "P2P_OFFER_EXCEEDS_RESOURCE",
        o,
        make(o, lambda m: item(m).update(availableQuantity=d("39.9"))),
    ),
    (
        "P2P_ITEM_QUANTITY",
        f,
        make(f, lambda m: order(m)["beckn:items"][0]["quantity"].update(count=9)),
    ),
    ("P2P_QUOTE_TOTAL", q, make(q, quoted(schema_price=d("1.13")))),
    ("P2P_QUOTE_FLOW", q, make(q, quoted(schema_price=1), one_part)),
    ("P2P_QUOTE_UNIT", q, make(q, quoted(schema_unitText="kWh"))),
    (
        "P2P_STOP_MISMATCH",
        dlv,
        make(
            dlv,
            lambda m: order(m)["beckn:fulfillments"][0]["beckn:stops"][0]["beckn:location"].update(
                {"beckn:address": "MS-9"}
            ),
        ),
    ),
    (
        "P2P_DELIVERY_STATUS",
        dlv,
        make(
            dlv,
            lambda m: order(m)["beckn:fulfillments"][0]["beckn:state"]["beckn:descriptor"].update(
                {"schema:name": "IN_PROGRESS"}
            ),
        ),
    ),
    ("P2P_DELIVERY_TIME", dlv, make(dlv, deliver(deliveryEndTime=None))),
    ("P2P_DELIVERY_WINDOW", dlv, make(dlv, deliver(deliveryStartTime=f"{DAY}08:59:00Z"))),
    ("P2P_DELIVERY_FUTURE", dlv, make(dlv, deliver(lastUpdated=f"{DAY}10:06:00Z"))),
    ("P2P_READING_ORDER", dlv, make(dlv, swap_readings)),
    ("P2P_READING_REGISTER", dlv, make(dlv, reading(1, targetReading=499))),
    ("P2P_READING_FLOW", dlv, make(dlv, reading(2, energyFlow=8))),
    ("P2P_READING_LOSS", dlv, make(dlv, reading(2, sourceReading=d("707.9")))),
    ("P2P_DELIVERED_QUANTITY", dlv, make(dlv, deliver(deliveredQuantity=d("7.9")))),
    ("P2P_DELIVERED_OVER", dlv, make(dlv, deliver(deliveredQuantity=d("8.5")))),
    (
        "P2P_TELEMETRY_ENERGY",
        dlv,
        make(dlv, lambda m: delivery(m)["telemetry"][0]["metrics"][0].update(value=6)),
    ),
    ("P2P_CYCLE_REF", dlv, make(dlv, deliver(settlementCycleId="cy-9"))),
    ("P2P_CYCLE_AMOUNT", dlv, make(dlv, cycle(amount=d("1.13")))),
    (
        "P2P_CYCLE_PAYMENT",
        dlv,
        make(dlv, lambda m: order(m)["beckn:payments"][0].update({"beckn:status": "NOT-PAID"})),
    ),
]
IDS = [code for code, _, _ in CATALOGUE]


@pytest.mark.parametrize("build", [f, p, casc, dlv, q], ids=["F", "P", "casc", "D", "Q"])
def test_a_reference_message_yields_nothing(build: Build) -> None:
    expected = {"P2P_FLOW_UNBOUND"} if build is casc else set()
    assert set(found(build())) == expected


def test_the_offer_yields_one_unbound_flow() -> None:
    message = o()
    findings = check_message("on_discover", message)
    assert [(x.code, x.severity, x.params["refs"]) for x in findings] == [
        ("P2P_FLOW_UNBOUND", Severity.INFO, "BUYER ROLE_UNFILLED")
    ]


@pytest.mark.parametrize(("code", "ok", "fires"), CATALOGUE, ids=IDS)
def test_the_rule_is_silent_on_its_ok_example(code: str, ok: Build, fires: Build) -> None:
    assert code not in found(ok())


@pytest.mark.parametrize(("code", "ok", "fires"), CATALOGUE, ids=IDS)
def test_the_rule_fires_on_its_example(code: str, ok: Build, fires: Build) -> None:
    assert code in found(fires())


def test_every_rule_has_an_example() -> None:
    known = {rule.code for rule in ALL_RULES} | set(RULE_TEXTS)
    assert known == set(IDS) | set(IDS_OF_OTHER_MODES)
    assert not {rule.code for rule in HISTORY_RULES} & known
    assert not {rule.code for rule in PRICE_RULES} & known


@pytest.mark.parametrize(
    ("code", "wire_code"),
    [
        ("P2P_CAP_EXCEEDED", "BIZ_QUANTITY_UNAVAILABLE"),
        ("P2P_ITEM_QUANTITY", "BIZ_QUANTITY_UNAVAILABLE"),
        ("P2P_QUANTITY_LIMITS", "BIZ_QUANTITY_UNAVAILABLE"),
        ("P2P_QUOTE_TOTAL", "BIZ_PRICE_MISMATCH"),
        ("P2P_OFFER_EXPIRED", "BIZ_QUOTE_EXPIRED_OR_CHANGED"),
        ("P2P_WINDOW_ENDED", "BIZ_QUOTE_EXPIRED_OR_CHANGED"),
        ("P2P_SAME_METER", "SCH_ATTRIBUTE_PACK_INVALID"),
        ("P2P_CREATED_LATER", None),
    ],
)
def test_an_error_carries_the_code_of_its_nack(code: str, wire_code: str | None) -> None:
    fires = next(build for name, _, build in CATALOGUE if name == code)
    message = fires()
    findings = check_message(message["context"]["action"], message)
    assert {x.wire_code for x in findings if x.code == code} == {wire_code}


def test_nothing_else_is_checked_in_a_contract_without_a_mode() -> None:
    message = make(f, drop("BUYER"), terms(_note="x", createdAt="2030-01-01T00:00:00Z"))()
    assert set(found(message)) == {"P2P_MODE_NONE"}


def test_an_object_of_unknown_type_is_not_checked() -> None:
    message = make(f, terms(**{"@type": "EnergyOrder", "roles": "none"}))()
    assert set(found(message)) == {"P2P_TYPE_UNKNOWN"}


def test_a_contract_that_fails_its_schema_is_left_out_and_its_delivery_is_not() -> None:
    message = make(dlv, terms(status="NEW"), reading(2, energyFlow=8))()
    assert set(found(message)) == {"SCH_INVALID_ENUM", "P2P_READING_FLOW"}


def test_findings_come_in_document_order() -> None:
    message = make(dlv, reading(2, energyFlow=8), put("BUYER", targetMeterId="MS-1"))()
    message["context"]["bap_id"] = "other.example"
    assert [x.code for x in check_message("on_status", message)] == [
        "P2P_PARTY_MISMATCH",
        "P2P_SAME_METER",
        "P2P_STOP_MISMATCH",
        "P2P_READING_FLOW",
    ]


def test_hostile_flood_of_extension_keys_is_reported_up_to_the_limit() -> None:
    message = make(f, terms(**{f"_{n}": n for n in range(5_000)}))()
    assert len(check_message("on_confirm", message)) == 100


@pytest.mark.parametrize(
    ("quantity", "exceeded"),
    [
        pytest.param(d("17"), False, id="min(20-3, 30-6) = 17 is allowed"),
        pytest.param(d("17.000001"), True, id="a millionth more is not"),
    ],
)
def test_the_maximum_trade_itself_is_allowed(quantity: object, exceeded: bool) -> None:
    message = make(f, put("BUYER", contractedQuantity=quantity))()
    order(message)["beckn:items"][0]["quantity"]["count"] = quantity
    assert ("P2P_CAP_EXCEEDED" in found(message)) is exceeded


@pytest.mark.parametrize(
    ("basis", "delivered", "amount", "fires"),
    [
        pytest.param("CONTRACTED", "7.6", "1.12", False, id="contracted: 8 x 0.14"),
        pytest.param("DELIVERED", "7.6", "1.064", False, id="delivered: 7.6 x 0.14"),
        pytest.param("DELIVERED", "7.6", "1.12", True, id="delivered, contracted amount"),
        pytest.param("DELIVERED", "8.5", "1.12", False, id="delivered: at most contracted"),
        pytest.param("MIN_OF_TWO", "7.6", "1.05", False, id="minimum: not checkable"),
    ],
)
def test_a_settled_amount_follows_the_settlement_basis(
    basis: str, delivered: str, amount: str, fires: bool
) -> None:
    message = make(
        dlv,
        terms(inputParameters={"settlementBasis": basis}),
        deliver(deliveredQuantity=d(delivered)),
        cycle(amount=d(amount), breakdown={"energyCost": d(amount)}),
    )()
    assert ("P2P_CYCLE_AMOUNT" in found(message)) is fires
