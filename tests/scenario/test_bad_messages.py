"""Bodies and contexts that every node must refuse, and that refusing them stores nothing."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from adapter.protocol import strict_json
from tests.fakes.dump import dump, stored_messages
from tests.fakes.network import BAP, BPP, Network
from tests.fakes.orders import init_order, select_order
from tests.fakes.stranger import Message, Reply, Stranger


async def refused(network: Network, buyer: Stranger, raw: bytes, action: str = "select") -> Reply:
    before = dump(network)
    reply = await buyer.post_bytes(action, raw)
    assert reply.word == "NACK", reply.raw
    assert dump(network) == before
    assert stored_messages(network, BPP) == 0
    return reply


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"select", id="no JSON"),
        pytest.param(b'{"context":{},', id="cut off"),
        pytest.param(b'\xef\xbb\xbf{"context":{},"message":{}}', id="BOM"),
        pytest.param('{"context":{},"message":{}}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"context":{},"message":{},"message":{}}', id="duplicate key"),
        pytest.param(b'{"context":{},"message":{"a":NaN}}', id="NaN"),
        pytest.param(b'{"context":{},"message":{"a":Infinity}}', id="Infinity"),
        pytest.param(rb'{"context":{},"message":{"a":"\ud800"}}', id="lone surrogate"),
        pytest.param(b'{"context":{},"message":{"a":"\xff"}}', id="not UTF-8"),
        pytest.param(b'{"context":{},"message":{"a":1e400}}', id="1e400"),
        pytest.param(b'{"context":{},"message":{"a":%s}}' % (b"1" * 41), id="41 digits"),
        pytest.param(b'{"context":{},"message":' + b"[" * 64 + b"]" * 64 + b"}", id="depth 65"),
    ],
)
async def test_what_is_no_strict_json_is_refused_after_its_signature(
    network: Network, buyer: Stranger, raw: bytes
) -> None:
    reply = await refused(network, buyer, raw)
    assert (reply.status, reply.code) == (400, "SCH_INVALID_JSON")
    assert "messageId" not in reply.body["message"]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[]", id="array"),
        pytest.param(b'"select"', id="string"),
        pytest.param(b"{}", id="empty object"),
        pytest.param(b'{"message":{}}', id="no context"),
        pytest.param(b'{"context":{}}', id="no message"),
        pytest.param(b'{"context":[],"message":{}}', id="context is an array"),
        pytest.param(b'{"context":{},"message":"x"}', id="message is a string"),
    ],
)
async def test_what_has_no_context_and_message_is_refused_after_its_signature(
    network: Network, buyer: Stranger, raw: bytes
) -> None:
    reply = await refused(network, buyer, raw)
    assert reply.status == 400
    assert reply.code in ("SCH_SCHEMA_VALIDATION_FAILED", "SCH_INVALID_JSON")


@pytest.mark.parametrize("raw", [b"select", b"[]"], ids=["no JSON", "array"])
async def test_what_cannot_be_read_and_is_unsigned_is_refused_as_unsigned(
    network: Network, raw: bytes
) -> None:
    reply = await network.bpp.inbound.receive("bpp", "select", [], raw)
    assert reply.status == 401
    assert b"AUT_SIGNATURE_MISSING" in reply.body


REQUIRED = {
    "version": "CTX_MISSING_FIELD",
    "action": "CTX_MISSING_FIELD",
    "transaction_id": "CTX_MISSING_FIELD",
    "message_id": "CTX_MISSING_FIELD",
    "bap_id": "CTX_MISSING_FIELD",
    "bap_uri": "CTX_CALLBACK_URL_MISSING",
    "bpp_id": "CTX_MISSING_FIELD",
    "bpp_uri": "CTX_MISSING_FIELD",
    "timestamp": "CTX_MISSING_FIELD",
}


def context_of(buyer: Stranger, **changes: Any) -> bytes:
    body = buyer.request("select", select_order(10))
    context = body["context"] | changes
    body["context"] = {name: value for name, value in context.items() if value is not ...}
    return strict_json.encode(body)


@pytest.mark.parametrize(("name", "code"), REQUIRED.items(), ids=REQUIRED)
async def test_each_required_field_is_missed(
    network: Network, buyer: Stranger, name: str, code: str
) -> None:
    reply = await refused(network, buyer, context_of(buyer, **{name: ...}))
    assert (reply.status, reply.code) == (400, code)
    assert reply.error["details"]["path"] == f"$.context.{name}"


@pytest.mark.parametrize("value", [7, True, {}, [], ""], ids=repr)
@pytest.mark.parametrize("name", ["transaction_id", "message_id", "bap_id", "timestamp", "ttl"])
async def test_a_field_of_the_wrong_type_is_refused(
    network: Network, buyer: Stranger, name: str, value: object
) -> None:
    reply = await refused(network, buyer, context_of(buyer, **{name: value}))
    assert (reply.status, reply.code) == (400, "CTX_INVALID_FIELD")
    assert reply.error["details"]["path"] == f"$.context.{name}"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"action": "init"}, "CTX_ACTION_MISMATCH", id="action of another path"),
        pytest.param({"version": "2.0.1"}, "CTX_VERSION_UNSUPPORTED", id="version 2.0.1"),
        pytest.param({"version": "1.1.0"}, "CTX_VERSION_UNSUPPORTED", id="version 1.1.0"),
        pytest.param({"bpp_id": "bpp.else.example"}, "CTX_INVALID_FIELD", id="another's bpp_id"),
        pytest.param({"transactionId": "T"}, "CTX_INVALID_FIELD", id="both spellings"),
        pytest.param(
            {"timestamp": "2026-03-02T08:00:00"}, "CTX_INVALID_FIELD", id="time without offset"
        ),
        pytest.param(
            {"timestamp": "2026-03-02T08:00:06Z"}, "CTX_INVALID_FIELD", id="6 s in the future"
        ),
        pytest.param(
            {"timestamp": "0001-01-01T00:00:00+23:59"}, "CTX_", id="before the first year"
        ),
        pytest.param({"ttl": "30"}, "CTX_INVALID_FIELD", id="ttl 30"),
        pytest.param({"ttl": "PT0S"}, "CTX_INVALID_FIELD", id="ttl PT0S"),
        pytest.param(
            {"timestamp": "2026-03-02T07:59:29.999Z"}, "CTX_TTL_EXPIRED", id="ttl passed by 1 ms"
        ),
        pytest.param({"transaction_id": "T" * 129}, "CTX_INVALID_FIELD", id="129 characters"),
        pytest.param({"message_id": "a b"}, "CTX_INVALID_FIELD", id="a blank in an id"),
        pytest.param({"bpp_uri": "ftp://a.example"}, "CTX_INVALID_BPP_URI", id="ftp"),
        pytest.param(
            {"bap_uri": "http://127.0.0.1:9199/bap/receiver"},
            "CTX_INVALID_FIELD",
            id="a callback URL the registry does not list",
        ),
        pytest.param(
            {"bap_uri": "http://127.0.0.1:9104/elsewhere"},
            "CTX_INVALID_FIELD",
            id="a callback path the registry does not list",
        ),
    ],
)
async def test_a_wrong_context_is_refused(
    network: Network, buyer: Stranger, changes: dict[str, Any], code: str
) -> None:
    reply = await refused(network, buyer, context_of(buyer, **changes))
    assert reply.status == 400
    assert reply.code.startswith(code)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"timestamp": "2026-03-02T08:00:05Z"}, id="5 s ahead"),
        pytest.param({"timestamp": "2026-03-02T09:00:00+01:00"}, id="another offset"),
        pytest.param({"timestamp": "2026-03-02T07:59:30Z"}, id="at the end of its life"),
        pytest.param({"timestamp": "2026-01-01T00:00:00Z", "ttl": "P3M"}, id="a life of months"),
        pytest.param({"timestamp": "2025-01-01T00:00:00Z", "ttl": ...}, id="no ttl"),
        pytest.param({"transaction_id": "T" * 128}, id="128 characters"),
        pytest.param({"surprise": {"a": 1}}, id="unknown key"),
        pytest.param({"bpp_uri": "http://127.0.0.1:9102/bpp/receiver/"}, id="final slash"),
    ],
)
async def test_an_odd_but_allowed_context_is_accepted(
    network: Network, buyer: Stranger, changes: dict[str, Any]
) -> None:
    reply = await buyer.post_bytes("select", context_of(buyer, **changes))
    assert reply.word == "ACK", reply.error


async def test_the_signer_must_be_the_sender_of_the_context(
    network: Network, buyer: Stranger
) -> None:
    reply = await refused(network, buyer, context_of(buyer, bap_id=BAP))
    assert (reply.status, reply.code) == (401, "AUT_UNAUTHORIZED_ACTION")
    assert "www-authenticate" in reply.headers


async def test_the_sender_must_be_the_counterparty_of_the_transaction(
    network: Network, buyer: Stranger
) -> None:
    first = Stranger(network, BAP)
    await first.ask("select", select_order(10), transaction_id="T-1")
    before = dump(network)
    reply = await buyer.ask("select", select_order(10), transaction_id="T-1")
    assert (reply.status, reply.code) == (401, "AUT_UNAUTHORIZED_ACTION")
    assert dump(network) == before


def _no_items(order: Message) -> None:
    del order["beckn:items"]


def _mwh(order: Message) -> None:
    order["beckn:items"][0]["quantity"]["unit"] = "MWh"


def _no_quantity(order: Message) -> None:
    del order["beckn:items"][0]["quantity"]


def _zero(order: Message) -> None:
    order["beckn:items"][0]["quantity"]["count"] = 0


def _seven_decimals(order: Message) -> None:
    order["beckn:items"][0]["quantity"]["count"] = strict_json.decode_object(b'{"a":1.0000001}')[
        "a"
    ]


def _huge(order: Message) -> None:
    order["beckn:items"][0]["quantity"]["count"] = 10**25


def _no_contract(order: Message) -> None:
    del order["beckn:orderAttributes"]


def _no_contract_id(order: Message) -> None:
    del order["beckn:orderAttributes"]["contractId"]


def _no_seller(order: Message) -> None:
    order["beckn:orderAttributes"]["roles"].pop(0)


def _active(order: Message) -> None:
    order["beckn:orderAttributes"]["status"] = "ACTIVE"


def _window(order: Message) -> None:
    role = order["beckn:orderAttributes"]["roles"][1]["roleInputs"]
    role["tradeStartTime"], role["tradeEndTime"] = role["tradeEndTime"], role["tradeStartTime"]


def _ended(order: Message) -> None:
    role = order["beckn:orderAttributes"]["roles"][1]["roleInputs"]
    role["tradeStartTime"], role["tradeEndTime"] = "2026-03-02T07:00:00Z", "2026-03-02T07:30:00Z"


def _off_grid(order: Message) -> None:
    role = order["beckn:orderAttributes"]["roles"][1]["roleInputs"]
    role["tradeStartTime"] = "2026-03-02T08:20:00Z"


BOTH: dict[str, Callable[[Message], None]] = {
    "no items": _no_items,
    "unit MWh": _mwh,
    "no quantity": _no_quantity,
    "0 kWh": _zero,
    "seven decimals": _seven_decimals,
    "10^25 kWh": _huge,
    "no contract": _no_contract,
    "no contract id": _no_contract_id,
    "no seller": _no_seller,
    "status ACTIVE": _active,
}
INIT_ONLY: dict[str, Callable[[Message], None]] = {
    "window the wrong way round": _window,
    "window that is over": _ended,
}


@pytest.mark.parametrize(
    ("action", "change"),
    [
        *((action, change) for change in BOTH.values() for action in ("select", "init")),
        *(("init", change) for change in INIT_ONLY.values()),
    ],
    ids=[
        *(f"{action}, {name}" for name in BOTH for action in ("select", "init")),
        *(f"init, {name}" for name in INIT_ONLY),
    ],
)
async def test_an_order_that_cannot_be_traded_is_refused_without_a_fault(
    network: Network, buyer: Stranger, action: str, change: Callable[[Message], None]
) -> None:
    order = select_order(10) if action == "select" else init_order(10)
    order = copy.deepcopy(order)
    change(order)
    before = dump(network)
    reply = await buyer.ask(action, order)
    assert reply.word == "NACK"
    assert reply.status in (400, 409)
    assert not reply.code.startswith("NET_")
    assert reply.error["details"]["path"].startswith("$.")
    assert dump(network) == before


async def test_a_window_off_the_quarter_hours_gets_an_error_callback(
    network: Network, buyer: Stranger
) -> None:
    order = init_order(10)
    _off_grid(order)
    del order["beckn:fulfillments"]
    reply = await buyer.ask("init", order)
    if reply.word == "ACK":
        assert buyer.last("on_init")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert await network.stock() == "30"
