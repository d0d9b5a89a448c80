"""Tier 1: codes, rules, paths and texts of what a message's schema finds."""

import socket
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from adapter.protocol import strict_json
from adapter.protocol.schema_errors import MAX_SHOWN, trace
from adapter.protocol.schemas import Schemas, root_schema
from adapter.protocol.schemas_py import PythonSchemas
from adapter.store.documents import load_bundle
from tests.unit.protocol.messages import (
    Message,
    changed,
    contract,
    d,
    delivery,
    dlv,
    envelope,
    f,
    inputs,
    o,
    offer,
    order,
    p,
    q,
    role,
)

BUNDLE = load_bundle()
SCHEMAS = Schemas(BUNDLE)
ORACLE = PythonSchemas(BUNDLE)
A = "$.message.order['beckn:orderAttributes']"
SELLER = f"{A}.roles[0].roleInputs"
BUYER = f"{A}.roles[1].roleInputs"

MISSING = "SCH_REQUIRED_FIELD_MISSING"
NOT_ALLOWED = "SCH_FIELD_NOT_ALLOWED"
ENUM = "SCH_INVALID_ENUM"
FORMAT = "SCH_INVALID_FORMAT"
TYPE = "SCH_TYPE_NOT_SUPPORTED"
OTHER = "SCH_SCHEMA_VALIDATION_FAILED"
Change = Callable[[Message], object]


def found(message: Message) -> list[tuple[str, str | None, str]]:
    """Return code, rule and path of everything wrong; both engines must agree."""
    action = message["context"]["action"]
    findings = SCHEMAS.check(action, message)
    assert findings == ORACLE.check(action, message)
    return [(finding.code, finding.rule, finding.path) for finding in findings]


@pytest.mark.parametrize("build", [f, p, o, q, dlv])
def test_a_reference_message_is_accepted(build: Callable[[], Message]) -> None:
    assert found(build()) == []


def set_in(name: str, **values: object) -> Change:
    """Return a change of role inputs."""
    return lambda message: inputs(message, name).update(values)


def take(name: str, key: str) -> Change:
    """Return a change that removes a role input."""
    return lambda message: inputs(message, name).pop(key)


WRONG: list[tuple[str, Change, list[tuple[str, str | None, str]]]] = [
    (
        "price missing",
        take("SELLER", "pricePerKWh"),
        [(MISSING, "P2P_PRICE_CHOICE", f"{SELLER}.pricePerKWh")],
    ),
    (
        "currency missing",
        take("SELLER", "currency"),
        [(MISSING, "P2P_PRICE_CHOICE", f"{SELLER}.currency")],
    ),
    (
        "price and tariff",
        set_in(
            "SELLER",
            tariff={"currency": "EUR", "elements": [{"priceComponents": [{}]}]},
        ),
        [
            (OTHER, "P2P_PRICE_CHOICE", f"{SELLER}.pricePerKWh"),
            (OTHER, "P2P_TARIFF_ENERGY", f"{SELLER}.tariff.elements[0].priceComponents"),
            (MISSING, "P2P_INPUT_TYPE", f"{SELLER}.tariff.elements[0].priceComponents[0].price"),
            (MISSING, "P2P_INPUT_TYPE", f"{SELLER}.tariff.elements[0].priceComponents[0].type"),
        ],
    ),
    (
        "price as text",
        set_in("SELLER", pricePerKWh="0.12"),
        [(TYPE, "P2P_INPUT_TYPE", f"{SELLER}.pricePerKWh")],
    ),
    (
        "boolean is no number",
        set_in("SELLER", pricePerKWh=True),
        [(TYPE, "P2P_INPUT_TYPE", f"{SELLER}.pricePerKWh")],
    ),
    (
        "type and value alone are no envelope",
        set_in("SELLER", pricePerKWh={"type": "NUMBER", "value": d("0.12")}),
        [(TYPE, "P2P_INPUT_TYPE", f"{SELLER}.pricePerKWh")],
    ),
    (
        "envelope of another type",
        set_in("SELLER", pricePerKWh=envelope("STRING", d("0.12"))),
        [(ENUM, "P2P_INPUT_ENVELOPE", f"{SELLER}.pricePerKWh.type")],
    ),
    (
        "envelope with a foreign key",
        set_in("SELLER", pricePerKWh=envelope("NUMBER", d("0.12")) | {"_x": 1, "unit": "EUR"}),
        [
            (NOT_ALLOWED, "P2P_INPUT_ENVELOPE", f"{SELLER}.pricePerKWh._x"),
            (NOT_ALLOWED, "P2P_INPUT_ENVELOPE", f"{SELLER}.pricePerKWh.unit"),
        ],
    ),
    (
        "wrong value in an envelope",
        set_in("SELLER", pricePerKWh=envelope("NUMBER", "x")),
        [(TYPE, "P2P_INPUT_TYPE", f"{SELLER}.pricePerKWh.value")],
    ),
    (
        "null in an envelope",
        set_in("BUYER", contractedQuantity=envelope("NUMBER", None)),
        [(TYPE, "P2P_INPUT_MISSING", f"{BUYER}.contractedQuantity.value")],
    ),
    (
        "envelope without value",
        set_in("BUYER", contractedQuantity={"type": "NUMBER", "required": False}),
        [(MISSING, "P2P_INPUT_MISSING", f"{BUYER}.contractedQuantity.value")],
    ),
    (
        "required input null",
        set_in("BUYER", targetMeterId=None),
        [(TYPE, "P2P_INPUT_MISSING", f"{BUYER}.targetMeterId")],
    ),
    (
        "required input absent",
        take("BUYER", "tradeStartTime"),
        [(MISSING, "P2P_INPUT_MISSING", f"{BUYER}.tradeStartTime")],
    ),
    (
        "no inputs at all",
        lambda m: role(m, "BUYER").pop("roleInputs"),
        [(MISSING, "P2P_INPUT_MISSING", BUYER)],
    ),
    (
        "empty text",
        set_in("SELLER", sourceMeterId=""),
        [(OTHER, "P2P_INPUT_TYPE", f"{SELLER}.sourceMeterId")],
    ),
    (
        "not a date-time",
        set_in("BUYER", tradeEndTime="2026-03-02 10:00"),
        [(FORMAT, "P2P_INPUT_TYPE", f"{BUYER}.tradeEndTime")],
    ),
    (
        "no such day",
        set_in("BUYER", tradeEndTime="2026-02-29T10:00:00Z"),
        [(FORMAT, "P2P_INPUT_TYPE", f"{BUYER}.tradeEndTime")],
    ),
    (
        "no offset",
        set_in("BUYER", tradeEndTime="2026-03-02T10:00:00"),
        [(FORMAT, "P2P_INPUT_TYPE", f"{BUYER}.tradeEndTime")],
    ),
    (
        "year that no calendar of ours has",
        set_in("BUYER", tradeEndTime="0000-03-02T10:00:00Z"),
        [(FORMAT, "P2P_INPUT_TYPE", f"{BUYER}.tradeEndTime")],
    ),
    (
        "leap second in the middle of a day",
        set_in("BUYER", tradeEndTime="2026-03-02T10:00:60Z"),
        [(FORMAT, "P2P_INPUT_TYPE", f"{BUYER}.tradeEndTime")],
    ),
    (
        "unknown pricing model",
        set_in("SELLER", pricingModel="FREE"),
        [(ENUM, "P2P_INPUT_TYPE", f"{SELLER}.pricingModel")],
    ),
    (
        "currency of two letters",
        set_in("SELLER", currency="EU"),
        [(FORMAT, "P2P_INPUT_TYPE", f"{SELLER}.currency")],
    ),
    (
        "foreign input",
        set_in("SELLER", wheelingCharges=1),
        [(NOT_ALLOWED, "P2P_INPUT_FORBIDDEN", f"{SELLER}.wheelingCharges")],
    ),
    (
        "foreign input of an open role",
        lambda m: role(m, "GRID_OPERATOR").update(filled=False, roleInputs={"x": 1}),
        [
            (ENUM, "P2P_ACTIVE_UNFILLED", f"{A}.roles[2].filled"),
            (NOT_ALLOWED, "P2P_INPUT_FORBIDDEN", f"{A}.roles[2].roleInputs.x"),
        ],
    ),
    (
        "certification with an unknown key",
        set_in("SELLER", certification={"status": "x", "certificates": ["x"], "by": "y"}),
        [
            (FORMAT, "P2P_INPUT_TYPE", f"{SELLER}.certification.certificates[0]"),
            (NOT_ALLOWED, "P2P_INPUT_TYPE", f"{SELLER}.certification.by"),
        ],
    ),
    (
        "filledBy absent",
        lambda m: role(m, "SELLER").pop("filledBy"),
        [(MISSING, "P2P_ROLE_FILLED_BY", f"{A}.roles[0].filledBy")],
    ),
    (
        "filledBy empty",
        lambda m: role(m, "SELLER").update(filledBy=""),
        [(OTHER, "P2P_ROLE_FILLED_BY", f"{A}.roles[0].filledBy")],
    ),
    (
        "unknown role",
        lambda m: role(m, "SELLER").update(role="FARMER"),
        [(ENUM, None, f"{A}.roles[0].role")],
    ),
    (
        "role that is no object",
        lambda m: contract(m)["roles"].append("x"),
        [(TYPE, None, f"{A}.roles[3]")],
    ),
    (
        "unknown key and status",
        lambda m: contract(m).update(status="NEW", extra=1),
        [(ENUM, None, f"{A}.status"), (NOT_ALLOWED, None, f"{A}.extra")],
    ),
    (
        "65 flows",
        lambda m: contract(m)["revenueFlows"].update(
            flows=contract(m)["revenueFlows"]["flows"][:1] * 65
        ),
        [(OTHER, None, f"{A}.revenueFlows.flows")],
    ),
    (
        "item count and unit",
        lambda m: order(m)["beckn:items"][0].update(quantity={"count": 0, "unit": "MWh"}),
        [
            (OTHER, None, "$.message.order['beckn:items'][0].quantity.count"),
            (ENUM, None, "$.message.order['beckn:items'][0].quantity.unit"),
        ],
    ),
    (
        "context of another type",
        lambda m: m["context"].update(ttl=30),
        [("CTX_INVALID_FIELD", None, "$.context.ttl")],
    ),
    (
        "no order",
        lambda m: m["message"].pop("order"),
        [(MISSING, None, "$.message.order")],
    ),
    (
        "no message",
        lambda m: m.pop("message"),
        [(OTHER, None, "$.message")],
    ),
]


@pytest.mark.parametrize(("change", "expected"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_message_is_found_at_its_place(
    change: Change, expected: list[tuple[str, str | None, str]]
) -> None:
    assert sorted(found(changed(f, change))) == sorted(expected)


def test_all_errors_are_found_at_once_in_document_order() -> None:
    def change(message: Message) -> None:
        contract(message)["createdAt"] = "x"
        inputs(message, "SELLER")["pricePerKWh"] = 0
        inputs(message, "GRID_OPERATOR")["buyer_trade_cap"] = 0
        order(message)["beckn:items"][0]["quantity"]["count"] = "8"

    paths = [path for _, _, path in found(changed(f, change))]
    assert [path.rpartition(".")[2] for path in paths] == [
        "count",
        "createdAt",
        "pricePerKWh",
        "buyer_trade_cap",
    ]


ACCEPTED: list[tuple[str, Change]] = [
    ("tariff has a type of its own", lambda m: _with_tariff(m)),
    ("preferred certification has required", lambda m: _prefer(m)),
    ("null for an optional input", set_in("SELLER", inverterId=None, certification=None)),
    (
        "envelope with null for an optional input",
        set_in("SELLER", inverterId=envelope("STRING", None)),
    ),
    ("DATETIME", set_in("BUYER", tradeEndTime=envelope("DATETIME", "2026-03-02T10:00:00Z"))),
    ("extension keys", lambda m: (contract(m).update(_a=1), inputs(m, "BUYER").update(_b=[]))),
    ("CONSUMER", lambda m: role(m, "BUYER").update(role="CONSUMER")),
    ("open object", lambda m: contract(m).update(inputParameters={"any": {"thing": [1]}})),
    ("open order", lambda m: order(m).update({"beckn:anything": 1, "x": []})),
    ("open context", lambda m: m["context"].update(location={"city": {}}, network_id="n")),
    ("error beside message", lambda m: m.update(error={"code": "X"})),
    ("integer as a decimal", set_in("BUYER", contractedQuantity=d("8.00"))),
    ("long decimal", set_in("BUYER", contractedQuantity=d("8.0000000000000000000000001"))),
    ("offset", set_in("BUYER", tradeEndTime="2026-03-02T11:00:00+01:00")),
]


def _with_tariff(message: Message) -> None:
    values = inputs(message, "SELLER")
    del values["pricePerKWh"], values["currency"]
    component = {"type": "ENERGY", "price": d("0.3"), "stepSize": d("1.0")}
    values["tariff"] = {
        "type": "REGULAR",
        "currency": "EUR",
        "elements": [{"priceComponents": [component]}],
    }


def _prefer(message: Message) -> None:
    inputs(message, "BUYER")["preferredCertification"] = {"status": "x", "required": True}


@pytest.mark.parametrize("change", [a[1] for a in ACCEPTED], ids=[a[0] for a in ACCEPTED])
def test_what_the_rules_of_reading_allow_is_accepted(change: Change) -> None:
    assert found(changed(f, change)) == []


@pytest.mark.parametrize(
    "type_name",
    ["EnergyContract", "deg:EnergyContractP2PTrade", "https://x.example/s#EnergyContractP2PTrade"],
)
def test_the_last_part_of_the_type_chooses_the_schema(type_name: str) -> None:
    good = changed(f, lambda m: contract(m).update({"@type": type_name}))
    bad = changed(lambda: good, lambda m: contract(m).update(status="NEW"))
    assert found(bad) == [(ENUM, None, f"{A}.status")]


def test_an_object_of_another_type_of_ours_is_checked_as_that() -> None:
    message = changed(f, lambda m: contract(m).update({"@type": "EnergyOffer"}))
    assert (MISSING, None, f"{A}.offerId") in found(message)


def test_an_object_of_unknown_type_is_not_checked() -> None:
    message = changed(f, lambda m: contract(m).update({"@type": "EnergyOrder", "status": 5}))
    assert found(message) == []


def test_a_nested_contract_is_checked_where_it_stands() -> None:
    message = changed(o, lambda m: contract(m).update(status="NEW"))
    ((code, _, path),) = found(message)
    assert code == ENUM
    assert path == (
        "$.message.catalogs[0]['beckn:offers'][0]['beckn:offerAttributes'].contract.status"
    )


def test_an_offer_may_describe_its_contract_in_text_or_object() -> None:
    attributes = offer(o())["beckn:offerAttributes"]
    for summary in ("text", {"description": "text", "pricing": {"any": 1}}):
        attributes["contractSummary"] = summary
        assert SCHEMAS.check_attributes("EnergyOffer", attributes) == ()
    attributes["contractSummary"] = ""
    assert len(SCHEMAS.check_attributes("EnergyOffer", attributes)) == 1


def test_a_select_names_a_quantity() -> None:
    message = p()
    message["context"]["action"] = "select"
    assert found(message) == []
    del order(message)["beckn:items"][0]["quantity"]
    assert found(message) == [(MISSING, None, "$.message.order['beckn:items'][0].quantity")]


@pytest.mark.parametrize(
    ("body", "count"),
    [({"text_search": "sun"}, 0), ({"intent": {}}, 0), ({}, 1), ({"filters": {"type": "x"}}, 2)],
)
def test_a_discover_asks_for_something(body: Message, count: int) -> None:
    message = {"context": {"action": "discover"}, "message": body}
    assert len(found(message)) == count


def test_one_attribute_object_can_be_checked_alone() -> None:
    terms = contract(f())
    assert SCHEMAS.check_attributes("EnergyContractP2PTrade", terms) == ()
    terms["status"] = "NEW"
    (finding,) = SCHEMAS.check_attributes("EnergyContractP2PTrade", terms, "$.contract")
    assert finding.path == "$.contract.status"
    (same,) = ORACLE.check_attributes("EnergyContractP2PTrade", terms, "$.contract")
    assert same == finding
    with pytest.raises(KeyError):
        SCHEMAS.check_attributes("Nothing", terms)


def test_an_action_without_a_schema_is_a_key_error() -> None:
    assert "rate" not in SCHEMAS.actions
    with pytest.raises(KeyError):
        SCHEMAS.check("rate", {})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            set_in("SELLER", pricePerKWh="0.12"),
            'SELLER.pricePerKWh: expected number or null, found "0.12"',
        ),
        (
            set_in("SELLER", wheelingCharges=1),
            "SELLER must not carry wheelingCharges (it belongs to GRID_OPERATOR):"
            " expected no wheelingCharges, found 1",
        ),
        (
            set_in("BUYER", contractedQuantity=d("-1E+2")),
            "quantity -100 kWh must be above zero: expected a number > 0, found -100",
        ),
        (
            take("BUYER", "targetMeterId"),
            "BUYER lacks required input targetMeterId: expected targetMeterId, found nothing",
        ),
        (
            lambda m: contract(m).update(status="NEW"),
            'expected one of PENDING, ACTIVE, COMPLETED, TERMINATED, found "NEW"',
        ),
        (lambda m: contract(m).update(roles=[]), "expected at least 1 item, found an array of 0"),
        (
            lambda m: contract(m).update(createdAt=None),
            "expected string, found null",
        ),
    ],
)
def test_the_text_names_what_was_expected_and_found(change: Change, text: str) -> None:
    (finding,) = SCHEMAS.check("on_confirm", changed(f, change))
    assert finding.message == text


def test_found_values_are_cut() -> None:
    (finding,) = SCHEMAS.check(
        "on_confirm", changed(f, lambda m: contract(m).update(status="x" * 100_000))
    )
    shown = finding.message.partition("found ")[2]
    assert len(shown) == MAX_SHOWN


def test_at_most_100_findings_are_given_and_at_once() -> None:
    def change(message: Message) -> None:
        contract(message)["roles"] += [{"role": "X"}] * 5_000

    message = changed(f, change)
    assert len(SCHEMAS.check("on_confirm", message)) == 100


# Traps of the quality targets, section 1.


def test_the_validator_never_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "the validator opened a connection"
        raise AssertionError(msg)

    monkeypatch.setattr(socket, "socket", refuse)
    documents = {
        "paths": {},
        "components": {"schemas": {"X.X": {"$ref": "https://example.com/schema.json"}}},
    }
    for engine in (Schemas(documents), PythonSchemas(documents)):
        with pytest.raises(Exception, match=r"example\.com"):
            engine.check_attributes("X", {})


@pytest.mark.parametrize(
    ("value", "good"),
    [
        pytest.param(Decimal("0.1"), True, id="minimum with a decimal"),
        pytest.param(Decimal("0.09999999999999999999"), False, id="just below it"),
        pytest.param(Decimal("0.29"), True, id="scale is no matter of the schema"),
        pytest.param(Decimal("NaN"), False, id="not a number"),
        pytest.param(Decimal("Infinity"), False, id="infinity"),
    ],
)
def test_decimals_are_compared_exactly(value: Decimal, good: bool) -> None:
    documents: dict[str, Any] = {
        "paths": {},
        "components": {"schemas": {"X.X": {"type": "number", "minimum": Decimal("0.1")}}},
    }
    assert (PythonSchemas(documents).check_attributes("X", value) == ()) is good
    if value.is_finite():
        assert (Schemas(documents).check_attributes("X", value) == ()) is good


@pytest.mark.parametrize(("text", "good"), [("10", True), ("10.0", True), ("10.5", False)])
def test_a_whole_number_is_an_integer_however_it_is_written(text: str, good: bool) -> None:
    documents: dict[str, Any] = {
        "paths": {},
        "components": {"schemas": {"X.X": {"type": "integer"}}},
    }
    value = strict_json.decode(text.encode())
    for engine in (Schemas(documents), PythonSchemas(documents)):
        assert (engine.check_attributes("X", value) == ()) is good


def test_the_error_reaches_the_field_of_a_later_role() -> None:
    message = changed(f, set_in("GRID_OPERATOR", wheelingCharges="x"))
    assert found(message) == [(TYPE, "P2P_INPUT_TYPE", f"{A}.roles[2].roleInputs.wheelingCharges")]


def test_a_delivery_is_checked_inside_its_fulfilment() -> None:
    message = changed(dlv, lambda m: delivery(m).update(deliveryStatus="DONE", _x=1))
    ((code, _, path),) = found(message)
    assert (code, path) == (
        ENUM,
        "$.message.order['beckn:fulfillments'][0]['beckn:attributes'].deliveryStatus",
    )


def test_a_trace_follows_references_with_and_without_their_steps() -> None:
    schema = {
        "$ref": "#/components/schemas/A",
        "components": {
            "schemas": {
                "A": {"x-rule": "R1", "if": {"required": ["a"]}, "then": {"$ref": "#/x"}},
            }
        },
        "x": {"properties": {"b": {"x-rule": "R2", "type": "string"}}},
    }
    full = ["$ref", "if", "then", "$ref", "properties", "b", "type"]
    short = ["then", "properties", "b", "type"]
    assert trace(schema, full) == trace(schema, short) == (schema["x"]["properties"]["b"], "R2")  # type: ignore[index]  # nested literal
    assert trace(schema, ["if", "required"]) == ({"required": ["a"]}, "R1")
    with pytest.raises(LookupError):
        trace(schema, ["then", "nothing"])


def test_compiling_is_done_once_per_action(monkeypatch: pytest.MonkeyPatch) -> None:
    import adapter.protocol.schemas as module

    calls = []
    compiled = module._compile

    def counted(documents: Any, reference: str) -> Any:
        calls.append(reference)
        return compiled(documents, reference)

    monkeypatch.setattr(module, "_compile", counted)
    schemas = Schemas(BUNDLE)
    for _ in range(3):
        schemas.check("on_confirm", f())
    assert calls == ["#/components/schemas/OnConfirm"]
    assert root_schema(BUNDLE, calls[0])["$ref"] == calls[0]


def test_the_slow_libraries_are_not_in_the_request_path() -> None:
    script = (
        "import sys, adapter.protocol.schemas, adapter.protocol.rules, adapter.store.documents\n"
        "print(sorted({'openapi_core', 'jsonschema', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
