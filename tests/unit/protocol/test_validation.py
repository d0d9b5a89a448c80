"""The validator: bytes in, report out, for any bytes."""

import copy
from collections.abc import Callable

import pytest

from adapter.domain.findings import Finding, Severity
from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from adapter.protocol.detect import Dialect, dialect_of
from adapter.protocol.envelope import context_problems
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.protocol.validation import (
    ENGINES_DISAGREE,
    MAX_BYTES,
    Histories,
    Profile,
    Report,
    SchemaEngine,
    validate,
)
from adapter.store.documents import load_bundle
from tests.security.test_s9_hostile_json import HOSTILE
from tests.unit.protocol.messages import Message, contract, d, dlv, f, inputs, o, p, p_on_init

BUNDLE = load_bundle()
FAST: dict[str, SchemaEngine] = {"rs": Schemas(BUNDLE)}
BOTH: dict[str, SchemaEngine] = {"rs": FAST["rs"], "py": PythonSchemas(BUNDLE)}


def judged(message: object, **options: object) -> Report:
    """Return the report about a message."""
    return validate(strict_json.encode(message), FAST, **options)  # type: ignore[arg-type]


def names(found: tuple[Finding, ...]) -> list[str]:
    """Return the rule or else the code of each finding."""
    return [one.rule or one.code for one in found]


def with_context(**values: object) -> Message:
    """Return F with keys of its context set; None removes one."""
    message = f()
    message["context"] |= values
    message["context"] = {k: v for k, v in message["context"].items() if v is not None}
    return message


def test_a_valid_message() -> None:
    report = judged(f())
    assert report.valid
    assert report.to_wire("f.json") == {
        "file": "f.json",
        "action": "on_confirm",
        "dialect": "draft",
        "mode": "FIXED_PRICE",
        "valid": True,
        "errors": [],
        "findings": [],
    }


def test_an_error_has_every_key_of_the_interface() -> None:
    message = f()
    inputs(message, "SELLER")["pricePerKWh"] = "0.12"
    (error,) = judged(message).to_wire("-")["errors"]
    assert error == {
        "tier": "schema",
        "severity": "error",
        "rule": "P2P_INPUT_TYPE",
        "code": "SCH_TYPE_NOT_SUPPORTED",
        "path": "$.message.order['beckn:orderAttributes'].roles[0].roleInputs.pricePerKWh",
        "message": 'SELLER.pricePerKWh: expected number or null, found "0.12"',
        "wire_code": "SCH_TYPE_NOT_SUPPORTED",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": "2.0.1"}, ("CTX_VERSION_UNSUPPORTED", "version")),
        ({"version": 2}, ("CTX_INVALID_FIELD", "version")),
        ({"action": None}, ("CTX_MISSING_FIELD", "action")),
        ({"action": "explode"}, ("CTX_INVALID_FIELD", "action")),
        ({"action": "update"}, ("CTX_INVALID_FIELD", "action")),
        ({"transaction_id": None}, ("CTX_MISSING_FIELD", "transaction_id")),
        ({"message_id": "a b"}, ("CTX_INVALID_FIELD", "message_id")),
        ({"bap_id": 7}, ("CTX_INVALID_FIELD", "bap_id")),
        ({"bap_uri": None}, ("CTX_CALLBACK_URL_MISSING", "bap_uri")),
        ({"bpp_uri": "sell.example"}, ("CTX_INVALID_BPP_URI", "bpp_uri")),
        ({"timestamp": "2026-03-02T08:00:00"}, ("CTX_INVALID_FIELD", "timestamp")),
        ({"ttl": "30"}, ("CTX_INVALID_FIELD", "ttl")),
        ({"bapId": "buy.example"}, ("CTX_INVALID_FIELD", "bapId")),
    ],
)
def test_a_broken_context_field_is_one_ctx_error(
    change: dict[str, object], expected: tuple[str, str]
) -> None:
    errors = judged(with_context(**change)).errors
    assert [(one.code, one.path) for one in errors] == [(expected[0], f"$.context.{expected[1]}")]


def test_all_errors_of_the_context_are_reported_in_the_order_of_judging() -> None:
    report = judged(with_context(version="1", message_id=None, ttl="PT0S"))
    assert names(report.errors) == [
        "CTX_VERSION_UNSUPPORTED",
        "CTX_MISSING_FIELD",
        "CTX_INVALID_FIELD",
    ]


def test_a_file_has_no_clock_and_no_addressee() -> None:
    assert judged(with_context(timestamp="2999-01-01T00:00:00Z", bap_id="other")).errors != ()
    later = with_context(timestamp="2026-03-02T08:59:59Z", bap_uri="https://elsewhere.example")
    assert judged(later).valid


def test_the_problems_of_a_context_are_those_that_a_node_refuses_first() -> None:
    problems = list(
        context_problems({"action": "confirm"}, Action.INIT, me="me.example", latest_ms=0)
    )
    assert [one.path for one in problems][:3] == [
        "$.context.version",
        "$.context.action",
        "$.context.transaction_id",
    ]
    assert problems[1].code == "CTX_ACTION_MISMATCH"


def test_a_missing_field_under_its_name_in_another_dialect_gets_a_hint() -> None:
    message = with_context(message_id=None, messageId="m-1")
    report = judged(message)
    assert report.dialect is Dialect.LTS
    assert "messageId is its name in another dialect" in report.errors[0].message


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_s9_hostile_bytes_are_one_coded_error(body: bytes) -> None:
    report = validate(body[:MAX_BYTES], FAST)
    assert names(report.errors) == ["SCH_INVALID_JSON"]
    assert (report.action, report.dialect, report.mode, report.findings) == (None, None, None, ())


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"{}",
        b'{"context":1,"message":{}}',
        b'{"context":{"action":"init"},"message":1}',
        b'{"context":{"action":"explode"}}',
        b'{"context":{"action":["init"]},"message":{}}',
        b'{"message":{"order":{}}}',
        b'{"context":{"action":"on_init"},"error":{"code":"X"}}',
        b'{"context":{"action":"on_init"},"error":{"code":"X"},"message":[]}',
        b'{"context":{"action":"discover"},"message":{"filters":{"type":"jsonpath"}}}',
        b'{"context":{"action":"discover"},"message":{"intent":{"filters":{"expression":"?"}}}}',
    ],
)
def test_odd_messages_are_coded_errors(body: bytes) -> None:
    report = validate(body, FAST)
    assert not report.valid
    assert all(one.code.startswith(("SCH_", "CTX_")) for one in report.errors)
    assert all(one.wire_code for one in report.errors)


def test_a_large_message_is_refused_unread() -> None:
    report = validate(b" " * (MAX_BYTES + 1), FAST)
    assert names(report.errors) == ["SCH_INVALID_FORMAT"]


def test_a_filter_that_cannot_be_read() -> None:
    message = {
        "context": {**f()["context"], "action": "discover"},
        "message": {"filters": {"type": "jsonpath", "expression": "$[?(@.a ~ 1)]"}},
    }
    (error,) = judged(message).errors
    assert (error.code, error.path) == (
        "SCH_INVALID_JSONPATH",
        "$.message.filters.expression",
    )


def test_an_error_callback_is_judged_by_its_context_alone() -> None:
    message = f()
    message["error"] = {"code": "BIZ_QUANTITY_UNAVAILABLE", "message": "too much"}
    del message["message"]
    assert judged(message).valid


def test_the_order_beside_an_error_is_asked_no_rule() -> None:
    message = p()
    message["context"]["action"] = "on_confirm"  # P is PENDING: no rule would allow that here
    assert names(judged(message).errors) == ["P2P_STATUS_ACTION"]
    message["error"] = {"code": "BIZ_FULFILLMENT_UNAVAILABLE", "message": "silent"}
    assert judged(message).valid


def test_upstream_profile_fails_no_file_for_a_rule() -> None:
    message = f()
    inputs(message, "BUYER")["targetMeterId"] = "MS-1"
    assert names(judged(message).errors) == ["P2P_SAME_METER"]
    report = judged(message, profile=Profile.UPSTREAM)
    assert report.valid
    assert [(one.code, one.severity) for one in report.findings] == [
        ("P2P_SAME_METER", Severity.ERROR)
    ]


def test_upstream_profile_fails_a_file_for_its_schema() -> None:
    message = f()
    contract(message)["status"] = "NEW"
    assert not judged(message, profile=Profile.UPSTREAM).valid


def test_rules_over_earlier_messages_need_a_history() -> None:
    cheaper = f()
    inputs(cheaper, "SELLER")["pricePerKWh"] = d("0.13")
    histories: Histories = {}
    for message in (p(), p_on_init()):
        assert judged(message, histories=histories).valid
    report = judged(cheaper, histories=histories)
    assert names(report.errors) == ["P2P_HIST_TERM_CHANGED"]
    assert judged(cheaper).valid


def test_a_message_with_errors_leaves_no_history() -> None:
    histories: Histories = {}
    broken = p()
    inputs(broken, "BUYER")["targetMeterId"] = "MS-1"
    judged(broken, histories=histories)
    assert histories == {}


def test_engines_that_agree_say_nothing_of_it() -> None:
    message = f()
    contract(message)["status"] = "NEW"
    report = validate(strict_json.encode(message), BOTH)
    assert names(report.errors) == ["SCH_INVALID_ENUM"]


def test_engines_that_disagree_are_an_error_of_its_own() -> None:
    other = copy.deepcopy(dict(BUNDLE))
    other["components"]["schemas"]["EnergyContract.Status"]["enum"].remove("ACTIVE")
    engines: dict[str, SchemaEngine] = {"rs": FAST["rs"], "py": PythonSchemas(other)}
    report = validate(strict_json.encode(f()), engines, profile=Profile.UPSTREAM)
    (error,) = report.errors
    assert error.code == ENGINES_DISAGREE
    assert error.wire_code is None
    assert "only py says SCH_INVALID_ENUM" in error.message
    assert error.path.endswith(".status")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda m: None, "draft", id="draft order"),
        pytest.param(lambda m: m["context"].update(bapId="x"), "lts", id="camel case"),
        pytest.param(lambda m: m["message"].update(contract={}), "lts", id="message.contract"),
        pytest.param(
            lambda m: m["message"]["order"].update({"beckn:orderItems": []}), "rc", id="order items"
        ),
        pytest.param(
            lambda m: m["context"].update(domain="beckn.one:deg:p2p-trading"),
            "draft",
            id="domain beside a draft order",
        ),
        pytest.param(
            lambda m: m.update(
                message={"order": {"beckn:id": "o"}},
                context={"domain": "beckn.one:deg:p2p-trading"},
            ),
            "rc",
            id="domain beside an id",
        ),
        pytest.param(lambda m: m.update(message=7, context=None), "draft", id="nothing to tell"),
    ],
)
def test_the_dialect_is_told_by_its_keys(
    change: Callable[[Message], object], expected: str
) -> None:
    message = f()
    change(message)
    assert dialect_of(message).value == expected


def test_the_mode_of_a_catalogue_is_that_of_its_first_contract() -> None:
    assert judged(o()).mode == "FIXED_PRICE"


@pytest.mark.parametrize("engines", [FAST, BOTH], ids=["rs", "both"])
def test_the_largest_messages_are_judged_in_bounded_time(engines: dict[str, SchemaEngine]) -> None:
    readings = dlv()
    delivery = readings["message"]["order"]["beckn:fulfillments"][0]["beckn:attributes"]
    delivery["meterReadings"] = delivery["meterReadings"] * 600
    flows = f()
    contract(flows)["revenueFlows"]["flows"] = [
        {"from": "BUYER", "to": "SELLER", "formula": "1+" * 999 + "1"}
    ] * 64
    offers = o()
    catalog = offers["message"]["catalogs"][0]
    catalog["beckn:offers"] = catalog["beckn:offers"] * 150
    for message in (readings, flows, offers):
        validate(strict_json.encode(message), engines)
