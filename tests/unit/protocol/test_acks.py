"""Acknowledgements: bodies of ours, and every answer of protocol section 7 read."""

import json
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.findings import Finding, Severity, Tier
from adapter.protocol.acks import (
    MAX_ERRORS,
    MAX_TEXT,
    MessageIds,
    Outcome,
    ack,
    ack_without_callback,
    error_callback,
    error_object,
    nack,
    read_answer,
    read_error,
    take_error,
)

IDS = MessageIds("M", "T")
REFUSAL = WireError("BIZ_OFFER_NOT_FOUND", "no such offer", path="$.message.order")


def finding(code: str, wire_code: str | None = None, path: str = "$.a") -> Finding:
    return Finding(Tier.SEMANTIC, Severity.ERROR, code, path, f"text of {code}", code, wire_code)


def answered(status: int, body: Any, **headers: str) -> tuple[Outcome, str | None]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    verdict = read_answer(status, headers, raw)
    return verdict.outcome, verdict.error["code"] if verdict.error else None


def test_onix_ack_is_byte_equal_to_the_published_vector() -> None:
    answer = ack("onix", MessageIds("a2fe6d52-9fe4-4d1a-9d0b-dccb8b48522d"))
    assert answer.status == 200
    assert answer.body == (
        b'{"message":{"status":"ACK","messageId":"a2fe6d52-9fe4-4d1a-9d0b-dccb8b48522d"}}'
    )


def test_onix_nack_carries_the_error_and_its_status() -> None:
    answer = nack("onix", IDS, REFUSAL)
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "message": {
            "status": "NACK",
            "messageId": "M",
            "error": {
                "code": "BIZ_OFFER_NOT_FOUND",
                "message": "no such offer",
                "details": {"path": "$.message.order"},
            },
        }
    }


def test_onix_ack_without_callback_is_202_with_the_reason() -> None:
    answer = ack_without_callback("onix", IDS, WireError("BIZ_ALREADY_CANCELLED", "done before"))
    assert answer.status == 202
    assert json.loads(answer.body)["message"] == {
        "status": "ACK",
        "messageId": "M",
        "error": {"code": "BIZ_ALREADY_CANCELLED", "message": "done before"},
    }


def test_a_message_without_a_readable_id_is_answered_without_one() -> None:
    assert json.loads(ack("onix", MessageIds()).body) == {"message": {"status": "ACK"}}


def test_own_details_stay_beside_path_and_cause() -> None:
    error = WireError(
        "BIZ_QUANTITY_UNAVAILABLE",
        "too much",
        path="$.q",
        details={"max_trade_kwh": "52"},
        cause={"code": "P2P_CAP_EXCEEDED", "message": "over the cap"},
    )
    assert error_object(error)["details"] == {
        "max_trade_kwh": "52",
        "path": "$.q",
        "cause": {"code": "P2P_CAP_EXCEEDED", "message": "over the cap"},
    }


def test_all_findings_are_listed_and_the_first_gives_path_and_cause() -> None:
    error = WireError(
        "BIZ_QUANTITY_UNAVAILABLE",
        "too much",
        findings=(
            finding("P2P_CAP_EXCEEDED", "BIZ_QUANTITY_UNAVAILABLE", "$.first"),
            finding("P2P_QUOTE_TOTAL", "BIZ_PRICE_MISMATCH", "$.second"),
        ),
    )
    assert error_object(error)["details"] == {
        "path": "$.first",
        "cause": {
            "code": "P2P_CAP_EXCEEDED",
            "message": "text of P2P_CAP_EXCEEDED",
            "details": {"path": "$.first"},
        },
        "errors": [
            {
                "code": "P2P_CAP_EXCEEDED",
                "path": "$.first",
                "message": "text of P2P_CAP_EXCEEDED",
            },
            {
                "code": "P2P_QUOTE_TOTAL",
                "path": "$.second",
                "message": "text of P2P_QUOTE_TOTAL",
            },
        ],
    }


def test_a_schema_finding_without_a_rule_has_no_cause() -> None:
    only = Finding(
        Tier.SCHEMA,
        Severity.ERROR,
        "SCH_INVALID_ENUM",
        "$.a",
        "not one of those",
        wire_code="SCH_INVALID_ENUM",
    )
    details = error_object(WireError("SCH_INVALID_ENUM", "wrong", findings=(only,)))["details"]
    assert details == {
        "path": "$.a",
        "errors": [{"code": "SCH_INVALID_ENUM", "path": "$.a", "message": "not one of those"}],
    }


def test_at_most_100_findings_are_listed() -> None:
    findings = tuple(finding("SCH_INVALID_ENUM") for _ in range(MAX_ERRORS + 1))
    error = WireError("SCH_INVALID_ENUM", "many", findings=findings)
    assert len(error_object(error)["details"]["errors"]) == 100


def nested(depth: int) -> dict[str, Any]:
    error: dict[str, Any] = {"code": f"C{depth}", "message": "", "details": {"kept": depth}}
    for level in reversed(range(1, depth)):
        error = {"code": f"C{level}", "message": "", "details": {"cause": error, "kept": level}}
    return error


def test_a_peers_causes_are_cut_below_the_third() -> None:
    rendered = error_object(WireError("BIZ_FULFILLMENT_UNAVAILABLE", "", cause=nested(10)))
    first = rendered["details"]["cause"]
    third = first["details"]["cause"]["details"]["cause"]
    assert third == {"code": "C3", "message": "", "details": {"kept": 3}}


def test_three_causes_are_kept_as_they_are() -> None:
    rendered = error_object(WireError("BIZ_FULFILLMENT_UNAVAILABLE", "", cause=nested(3)))
    assert rendered["details"]["cause"] == nested(3)


def test_a_peers_long_text_is_cut() -> None:
    cause = {"code": "X" * 500, "message": "y" * 5_000}
    cut = error_object(WireError("NET_TIMEOUT", "", cause=cause))["details"]["cause"]
    assert (len(cut["code"]), len(cut["message"])) == (100, MAX_TEXT)


def test_error_callback_has_the_error_at_top_level_and_a_message_only_if_known() -> None:
    error = error_object(REFUSAL)
    context = {"action": "on_init"}
    assert json.loads(error_callback(context, error)) == {"context": context, "error": error}
    order = {"order": {"beckn:id": "o"}}
    assert json.loads(error_callback(context, error, order))["message"] == order


E = {"code": "BIZ_OFFER_NOT_FOUND", "message": "no such offer"}
BUSY = {"code": "NET_OVERLOADED", "message": "busy"}


@pytest.mark.parametrize(
    ("ack_body", "nack_body"),
    [
        pytest.param(
            {"message": {"status": "ACK", "messageId": "M"}},
            {"message": {"status": "NACK", "messageId": "M", "error": E}},
            id="message.status (onix)",
        ),
        pytest.param(
            {"message": {"ack": {"status": "ACK"}}},
            {"message": {"ack": {"status": "NACK"}, "error": E}},
            id="message.ack.status, error in message",
        ),
        pytest.param(
            {"message": {"ack": {"status": "ACK"}}},
            {"message": {"ack": {"status": "NACK"}}, "error": E},
            id="message.ack.status, error at top level",
        ),
        pytest.param(
            {"status": "ACK", "signature": "Signature ..."},
            {
                "status": "NACK",
                "error": {"errorCode": E["code"], "errorMessage": E["message"]},
            },
            id="status (lts)",
        ),
        pytest.param(
            {"transaction_id": "T", "timestamp": "2026-01-01T00:00:00Z", "ack_status": "ACK"},
            {"transaction_id": "T", "ack_status": "NACK", "error": E},
            id="ack_status (rc)",
        ),
    ],
)
def test_all_four_shapes_are_read(ack_body: Any, nack_body: Any) -> None:
    assert answered(200, ack_body) == (Outcome.DELIVERED, None)
    assert answered(202, ack_body) == (Outcome.DELIVERED_WITHOUT_CALLBACK, None)
    assert answered(409, ack_body) == (Outcome.DELIVERED_WITHOUT_CALLBACK, None)
    assert answered(400, nack_body) == (Outcome.REFUSED, E["code"])
    assert answered(200, nack_body) == (Outcome.REFUSED, E["code"])
    assert read_error(nack_body) == E


ACKED = {"message": {"status": "ACK"}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(
            202,
            {"message": {"status": "ACK", "error": {"code": "BIZ_ALREADY_CANCELLED"}}},
            (Outcome.DELIVERED_WITHOUT_CALLBACK, "BIZ_ALREADY_CANCELLED"),
            id="202 with its reason",
        ),
        pytest.param(200, b"", (Outcome.DELIVERED, None), id="200 without a body"),
        pytest.param(202, b"", (Outcome.DELIVERED, None), id="202 without a body"),
        pytest.param(201, b"<html>", (Outcome.DELIVERED, None), id="201 with another body"),
        pytest.param(200, {"status": 1}, (Outcome.DELIVERED, None), id="200, unknown shape"),
        pytest.param(200, [1], (Outcome.DELIVERED, None), id="200, no object"),
        pytest.param(404, b"not here", (Outcome.REFUSED, None), id="404 without a readable body"),
        pytest.param(
            409,
            {"message": {"status": "NACK", "error": {"code": "BIZ_ALREADY_CONFIRMED"}}},
            (Outcome.REFUSED, "BIZ_ALREADY_CONFIRMED"),
            id="409 NACK",
        ),
        pytest.param(
            400,
            {"message": {"status": "NACK", "error": {"code": 30001, "message": "old"}}},
            (Outcome.REFUSED, "30001"),
            id="numeric code",
        ),
        pytest.param(400, {"error": BUSY}, (Outcome.RETRY, "NET_OVERLOADED"), id="transient code"),
        pytest.param(
            200,
            {"message": {"status": "NACK", "error": BUSY}},
            (Outcome.RETRY, "NET_OVERLOADED"),
            id="transient code with 200",
        ),
        pytest.param(
            400,
            {"error": {"code": "NET_CATALOG_SOURCE_UNAVAILABLE"}},
            (Outcome.RETRY, "NET_CATALOG_SOURCE_UNAVAILABLE"),
            id="transient code that we never send",
        ),
        *(
            pytest.param(status, b"", (Outcome.RETRY, None), id=str(status))
            for status in (301, 302, 307, 408, 425, 429, 500, 501, 502, 503, 504)
        ),
        pytest.param(503, ACKED, (Outcome.RETRY, None), id="503 with an ACK"),
        pytest.param(302, ACKED, (Outcome.RETRY, None), id="302 with an ACK"),
        pytest.param(401, ACKED, (Outcome.REFUSED, None), id="401 with an ACK"),
    ],
)
def test_the_table_of_answers(status: int, body: Any, expected: tuple[Outcome, str | None]) -> None:
    assert answered(status, body) == expected


@pytest.mark.parametrize(
    ("body", "understood"),
    [(b"", False), (b"{}", False), (b"\xff", False), (b'{"message":{"status":"ACK"}}', True)],
)
def test_an_unknown_shape_is_worth_a_warning(body: bytes, understood: bool) -> None:
    assert read_answer(200, {}, body).understood is understood


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("1", 1_000),
        ("300", 300_000),
        ("301", 300_000),
        ("999999999999", 300_000),
        ("-1", None),
        ("1.5", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_honoured_up_to_300_s(value: str, expected_ms: int | None) -> None:
    assert read_answer(503, {"retry-after": value}, b"").retry_after_ms == expected_ms


@pytest.mark.parametrize(
    ("body", "error", "rest"),
    [
        pytest.param({"message": {"order": 1}}, None, {"message": {"order": 1}}, id="no error"),
        pytest.param({"error": E, "context": {}}, E, {"context": {}}, id="top level"),
        pytest.param(
            {"error": E, "message": {"order": 1}},
            E,
            {"message": {"order": 1}},
            id="top level beside a message",
        ),
        pytest.param({"message": {"error": E}}, E, {}, id="alone inside message"),
        pytest.param(
            {"message": {"error": E, "order": 1}},
            E,
            {"message": {"order": 1}},
            id="beside an order",
        ),
        pytest.param(
            {"message": {"errorCode": "X", "errorMessage": "y", "order": 1}},
            {"code": "X", "message": "y"},
            {"message": {"order": 1}},
            id="AsyncError keys",
        ),
        pytest.param(
            {"message": {"error": {"errorCode": "X", "errorMessage": "y"}}},
            {"code": "X", "message": "y"},
            {},
            id="AsyncError keys in error",
        ),
        pytest.param(
            {"error": {"code": "X", "details": {"path": "$"}}},
            {"code": "X", "message": "", "details": {"path": "$"}},
            {},
            id="details are kept",
        ),
        pytest.param(
            {"error": {}}, {"code": "UNKNOWN", "message": ""}, {}, id="an error without a code"
        ),
        pytest.param({"error": None, "message": {}}, None, {"message": {}}, id="null"),
    ],
)
def test_an_error_is_taken_from_top_level_or_message(body: Any, error: Any, rest: Any) -> None:
    assert take_error(body) == (error, rest)
