"""What a stranger may rely on: the paths of interfaces, section 3, asked over real HTTP.

The last tests take nodes away and search the logs of the whole run, so they stand at the end.
"""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapter.demo.folder import GRID_OPERATOR, HEADEND, REGULATOR, TREASURER
from adapter.domain.instants import EPOCH_MS, format_instant
from adapter.protocol import strict_json
from adapter.settlement import reading_bytes
from tests.fakes.live import (
    MALLORY,
    OTHER,
    SELLER_2,
    STRICT,
    Household,
    Live,
    Message,
    Peer,
)

pytestmark = pytest.mark.timeout(120)

TRADE_KEYS = {"transaction_id", "contract_id", "status", "contract", "flows"}
BPP_ID = "bpp.seller.example"


def body_of(answer: httpx.Response) -> Message:
    return strict_json.decode_object(answer.content)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal, which must have exactly the documented shape."""
    body = body_of(answer)
    assert body.keys() == {"error"}, body
    assert body["error"].keys() == {"code", "message", "details"}, body
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code == 401:
        assert "www-authenticate" in answer.headers
    return answer.status_code, str(body["error"]["code"])


def nacked(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal on a Beckn path."""
    message = body_of(answer)["message"]
    assert message["status"] == "NACK", message
    assert message.keys() <= {"status", "messageId", "error"}
    return answer.status_code, str(message["error"]["code"])


def post(
    live: Live, name: str, path: str, body: Any, headers: dict[str, str] | None = None
) -> httpx.Response:
    given = {"Content-Type": "application/json"} | (live.own(name) if headers is None else headers)
    return live.http.post(live.url(name, path), content=strict_json.encode(body), headers=given)


# Paths for operators


def test_health_metrics_and_documentation_are_open(live: Live) -> None:
    for name in ("bap", "bpp", "grid_operator", "registry"):
        for path in ("/health/live", "/health/ready"):
            answer = live.http.get(live.url(name, path))
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        metrics = live.http.get(live.url(name, "/metrics"))
        assert metrics.status_code == 200
        assert metrics.headers["content-type"].startswith("text/plain")
        assert not any(secret in metrics.text for secret in live.seeded)
        docs = live.http.get(live.url(name, "/docs"))
        assert (docs.status_code, docs.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "<script" not in docs.text
        assert 'src="http' not in docs.text


def test_the_openapi_document_names_every_promised_path(live: Live) -> None:
    document = body_of(live.http.get(live.url("grid_operator", "/openapi.json")))
    assert document["openapi"].startswith("3.1")
    promised = {
        "/bap/caller/{action}": {"post"},
        "/bpp/caller/{action}": {"post"},
        "/trades": {"get", "post"},
        "/trades/{transaction_id}": {"get"},
        "/trades/{transaction_id}/messages": {"get"},
        "/offers": {"get", "post"},
        "/offers/{offer_id}": {"delete"},
        "/contracts": {"get"},
        "/contracts/{contract}/{function}": {"get", "post"},
        "/contracts/events": {"get"},
        "/contracts/state": {"get"},
        "/contracts/journal": {"get"},
        "/health/live": {"get"},
        "/health/ready": {"get"},
        "/metrics": {"get"},
    }
    listed = {
        path: methods.keys() & {"get", "post", "delete"}
        for path, methods in document["paths"].items()
    }
    assert {path: listed.get(path) for path in promised} == promised
    registry = body_of(live.http.get(live.url("registry", "/openapi.json")))
    assert registry["paths"].keys() >= {"/lookup", "/registry/lookup"}


def test_what_is_not_there_has_the_one_shape_of_a_refusal(live: Live) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("POST", "/lookup", 404),  # this node serves no registry
        ("PUT", "/offers", 405),
        ("POST", "/health/live", 405),
        ("GET", "/bap/caller/discover", 405),
        ("GET", "/%00", 404),
    ):
        answer = live.http.request(method, live.url("bpp", path), headers=live.own("bpp"))
        assert refusal(answer) == (status, "NET_NOT_IMPLEMENTED"), path


def test_the_registry_answers_like_onix(live: Live) -> None:
    for path in ("/lookup", "/registry/lookup"):
        answer = post(live, "registry", path, {"subscriber_id": OTHER, "key_id": "k1"}, {})
        records = strict_json.decode(answer.content)
        assert (answer.status_code, len(records)) == (200, 1)
        assert records[0]["subscriber_id"] == OTHER
        assert len(base64.b64decode(records[0]["signing_public_key"])) == 32
        assert post(live, "registry", path, {"subscriber_id": "nobody"}, {}).content == b"[]"
        best = strict_json.decode(
            post(live, "registry", path, {"subscriber_id": OTHER}, {}).content
        )
        assert best[0]["status"] == "SUBSCRIBED"
        for bad, status in (({}, 400), ({"key_id": 5}, 400), ({"x": "y" * 5_000}, 413)):
            assert refusal_without_details(post(live, "registry", path, bad, {})) == status


def refusal_without_details(answer: httpx.Response) -> int:
    """Return the status of a refusal of the registry, whose details may be left out."""
    assert body_of(answer)["error"].keys() >= {"code", "message"}
    return answer.status_code


# Tokens


def test_own_paths_are_closed_without_a_token_of_this_node(live: Live) -> None:
    paths = {
        "bap": [("POST", "/trades"), ("GET", "/trades"), ("GET", "/trades/x")],
        "bpp": [("POST", "/offers"), ("GET", "/offers"), ("DELETE", "/offers/x")],
        "grid_operator": [
            *(("POST", "/contracts/token/deposit"), ("GET", "/contracts/token/balance_of")),
            *(("GET", "/contracts/events"), ("GET", "/contracts/state")),
            ("GET", "/contracts/journal"),
        ],
    }
    other_node = {"bap": "bpp", "bpp": "grid_operator", "grid_operator": "bap"}
    with live.unchanged():
        for name, listed in paths.items():
            for method, path in listed:
                for headers in (
                    {},
                    {"Authorization": "Bearer"},
                    {"Authorization": "Bearer wrong"},
                    {"Authorization": "Basic eDp5"},
                    live.own(other_node[name]),
                ):
                    answer = live.http.request(method, live.url(name, path), headers=headers)
                    assert refusal(answer) == (401, "UNAUTHENTICATED"), (path, headers)
        for path in ("/bap/caller/discover", "/bap/caller/discover?wait=callback"):
            answer = post(live, "bap", path, {"context": {"bpp_id": BPP_ID}, "message": {}}, {})
            assert answer.status_code == 401
            assert body_of(answer)["message"]["status"] == "NACK"


def test_an_application_token_does_not_open_the_contract_layer_and_an_operators_opens_trades(
    live: Live,
) -> None:
    application = live.own("grid_operator")
    with live.unchanged():
        paid = {"to": "buyer-1", "amount": "5", "external_reference": "x"}
        headers = application | {"Idempotency-Key": "stolen"}
        answer = post(live, "grid_operator", "/contracts/token/deposit", paid, headers)
        assert refusal(answer) == (401, "UNAUTHENTICATED")
        for path in ("/contracts/state", "/contracts/events", "/contracts/journal"):
            assert refusal(live.get("grid_operator", path)) == (401, "UNAUTHENTICATED")
    node = live.node("bap")
    operator = live.own("bap", node.operator_tokens[node.subscriber_id])
    assert live.get("bap", "/trades", operator).status_code == 200


# Offers and trades


def test_an_offer_is_published_repeated_refused_and_withdrawn(live: Live) -> None:
    wanted = live.offer_body(minimum_kwh="1", maximum_kwh=2.5)
    first = post(live, "bpp", "/offers", wanted)
    again = post(live, "bpp", "/offers", wanted)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    shown = body_of(first)
    assert {name: shown[name] for name in wanted} == wanted | {"maximum_kwh": "2.5"}
    with live.unchanged():
        other = post(live, "bpp", "/offers", wanted | {"price_per_kwh": "0.16"})
        assert refusal(other)[0] == 409
        for bad in (
            *({"price_per_kwh": "0"}, {"price_per_kwh": "-1"}, {"price_per_kwh": "1e-1"}),
            *({"price_per_kwh": "0.1500001"}, {"available_kwh": 10**40}, {"currency": "usd"}),
            *({"offer_id": "a b"}, {"offer_id": ""}, {"source_type": "COAL"}, {"more": 1}),
            *({"production_start": "2026-03-02T08:00:00"}, {"production_end": "soon"}),
        ):
            answer = post(live, "bpp", "/offers", live.offer_body() | bad)
            status, code = refusal(answer)
            assert status == 400, bad
            assert code.startswith("SCH_"), bad
    path = f"/offers/{wanted['offer_id']}"
    gone = live.http.delete(live.url("bpp", path), headers=live.own("bpp"))
    assert (gone.status_code, gone.content) == (204, b"")
    with live.unchanged():
        twice = live.http.delete(live.url("bpp", path), headers=live.own("bpp"))
        assert refusal(twice) == (404, "BIZ_OFFER_NOT_FOUND")
    assert wanted["offer_id"] not in live.get("bpp", "/offers").text


def purchase(live: Live, offer_id: str, meter: str, **changes: Any) -> Message:
    start_ms, end_ms = live.window()
    base = {
        "bpp_id": BPP_ID,
        "target_meter_id": meter,
        "quantity_kwh": "2",
        "start": format_instant(start_ms),
        "end": format_instant(end_ms),
        "offer_id": offer_id,
    }
    return base | changes


def test_a_purchase_is_confirmed_with_the_promised_document(live: Live) -> None:
    house = live.household(by="bap.buyer.example")
    terms = live.offer()
    answer = post(live, "bap", "/trades", purchase(live, terms.offer_id, house.meter))
    assert answer.status_code == 201, answer.text
    trade = body_of(answer)
    assert trade.keys() >= TRADE_KEYS
    assert trade["status"] == "ACTIVE"
    assert [flow["amount"] for flow in trade["flows"]] == ["0.30", "0.05"]  # 2 x 0.15, 2 x 0.025
    flow_keys = {"from", "to", "formula", "bound", "amount", "currency"}
    assert all(flow.keys() == flow_keys for flow in trade["flows"])
    again = live.get("bap", f"/trades/{trade['transaction_id']}")
    assert (again.status_code, body_of(again)) == (200, trade)
    messages = body_of(live.get("bap", f"/trades/{trade['transaction_id']}/messages"))["messages"]
    assert [one["action"] for one in messages] == [
        *("discover", "on_discover", "select", "on_select"),
        *("init", "on_init", "confirm", "on_confirm"),
    ]
    assert {one["signature"] for one in messages} == {"valid"}
    listed = body_of(live.get("bap", "/trades?limit=1"))
    assert listed["trades"][0]["transaction_id"] == trade["transaction_id"]


def test_a_purchase_that_is_not_awaited_is_202_and_one_refused_409_with_its_error(
    live: Live,
) -> None:
    house, terms = live.household(by="bap.buyer.example", allowance="0"), live.offer()
    early = post(live, "bap", "/trades?wait=0", purchase(live, terms.offer_id, house.meter))
    assert early.status_code == 202
    assert body_of(early).keys() >= TRADE_KEYS
    for changes, code in (
        ({"quantity_kwh": "13"}, "BIZ_OFFER_NOT_FOUND"),  # 12 kWh are offered
        ({"offer_id": "no-such-offer"}, "BIZ_OFFER_NOT_FOUND"),
        ({"max_price_per_kwh": "0.149999"}, "BIZ_OFFER_NOT_FOUND"),
        ({}, "BIZ_PAYMENT_FAILED"),  # no allowance
        ({"target_meter_id": "meter-of-nobody"}, "BIZ_FULFILLMENT_UNAVAILABLE"),
    ):
        wanted = purchase(live, live.offer().offer_id, house.meter) | changes
        answer = post(live, "bap", "/trades", wanted)
        trade = body_of(answer)
        assert answer.status_code == 409, changes
        assert trade.keys() >= TRADE_KEYS | {"error"}
        assert trade["error"]["code"] == code, changes
        assert trade["status"] != "ACTIVE"
    live.settle()


def test_a_purchase_in_a_bad_form_is_refused(live: Live) -> None:
    good = purchase(live, "offer", "meter-home-3")
    with live.unchanged():
        for bad in (
            *({"quantity_kwh": "0"}, {"quantity_kwh": "-1"}, {"quantity_kwh": "1.0000001"}),
            *({"quantity_kwh": True}, {"start": good["end"]}, {"start": 5}, {"end": "2026-01-01"}),
            *({"bpp_id": "a|b"}, {"target_meter_id": "x\ny"}, {"more": 1}, {"source_type": "COAL"}),
        ):
            status, code = refusal(post(live, "bap", "/trades", good | bad))
            assert status == 400, bad
            assert code.startswith("SCH_"), bad
        for name in ("bpp_id", "target_meter_id", "quantity_kwh", "start", "end"):
            short = {key: value for key, value in good.items() if key != name}
            missing = post(live, "bap", "/trades", short)
            assert refusal(missing) == (400, "SCH_REQUIRED_FIELD_MISSING"), name
        for wait in ("-1", "301", "x", "1.5"):
            assert refusal(post(live, "bap", f"/trades?wait={wait}", good))[0] == 400
        nobody = post(live, "bap", "/trades", good | {"bpp_id": "nobody.example"})
        assert refusal(nobody) == (400, "CTX_INVALID_FIELD")
        assert refusal(post(live, "bpp", "/trades", good))[0] == 404
        for path in ("/trades/nothing", "/trades/nothing/messages", "/trades/%00"):
            assert refusal(live.get("bap", path)) == (404, "BIZ_ORDER_NOT_FOUND")
        for query in ("limit=0", "limit=101", "limit=x"):
            assert refusal(live.get("bap", f"/trades?{query}"))[0] == 400


# Callers


def caller(live: Live, action: str, body: Any, wait: str = "", name: str = "bap") -> httpx.Response:
    side = "bpp" if action.startswith("on_") else "bap"
    path = f"/{side}/caller/{action}" + (f"?wait={wait}" if wait else "")
    return post(live, name, path, body)


def test_a_caller_gets_the_ack_or_the_callback(live: Live) -> None:
    live.offer()
    body = {"context": {"bpp_id": BPP_ID}, "message": {"intent": {}}}
    acked = caller(live, "discover", body)
    assert acked.status_code == 200
    assert body_of(acked)["message"]["status"] == "ACK"
    context = body_of(acked)["context"]
    assert context["bap_id"] == live.node("bap").subscriber_id
    assert context["ttl"] == "PT30S"
    called = caller(live, "discover", body, "callback")
    assert called.status_code == 200
    assert body_of(called)["context"]["action"] == "on_discover"
    assert body_of(called)["message"]["catalogs"]


def test_a_caller_is_refused_with_a_nack(live: Live) -> None:
    good = {"context": {"bpp_id": BPP_ID}, "message": {"intent": {}}}
    order = {"order": {"@context": "x", "@type": "beckn:Order", "beckn:id": "o"}}
    known = {"bpp_id": BPP_ID, "transaction_id": "T-nobody"}
    cases: list[tuple[str, Any, tuple[int, str]]] = [
        ("nothing", good, (404, "NET_NOT_IMPLEMENTED")),
        ("update", good, (501, "NET_NOT_IMPLEMENTED")),
        ("discover", {"message": {"intent": {}}}, (400, "CTX_MISSING_FIELD")),
        ("discover", {"context": {"bpp_id": BPP_ID}}, (400, "SCH_SCHEMA_VALIDATION_FAILED")),
        ("discover", {"context": [], "message": []}, (400, "SCH_SCHEMA_VALIDATION_FAILED")),
        (
            "discover",
            {"context": {"bpp_id": BPP_ID, "ttl": "30"}, "message": {"intent": {}}},
            (400, "CTX_INVALID_FIELD"),
        ),
        (
            "discover",
            {"context": {"bpp_id": BPP_ID, "message_id": "a b"}, "message": {"intent": {}}},
            (400, "CTX_INVALID_FIELD"),
        ),
        ("on_status", {"context": known, "message": order}, (404, "NET_NOT_IMPLEMENTED")),
    ]
    with live.unchanged():
        for action, body, brief in cases:
            assert nacked(caller(live, action, body)) == brief, (action, body)
        assert nacked(post(live, "bap", "/bap/caller/on_init", good))[0] == 404
        assert refusal(caller(live, "discover", good, "soon"))[0] == 400
        nobody = {"context": {"bpp_id": "nobody.example"}, "message": {"intent": {}}}
        status, code = nacked(caller(live, "discover", nobody))
        assert code == "AUT_SUBSCRIBER_NOT_FOUND"
        assert status < 500
        unknown = caller(live, "on_status", {"context": known, "message": order}, name="bpp")
        assert nacked(unknown) == (400, "CTX_TRANSACTION_ID_UNKNOWN")
        pushed = caller(live, "on_init", {"context": known, "message": order}, name="bpp")
        assert nacked(pushed)[0] in (404, 409)
        for action in ("confirm", "status", "cancel"):
            status, _ = nacked(caller(live, action, {"context": known, "message": order}))
            assert 400 <= status < 500, action


def test_s1_an_application_cannot_send_the_node_elsewhere_than_to_the_listed_url(
    live: Live,
) -> None:
    before = live.mailbox.count(lambda one: True)
    for uri in (live.mailbox.url, live.url("grid_operator", "/bpp/receiver"), "http://10.0.0.1/x"):
        elsewhere = {"context": {"bpp_id": BPP_ID, "bpp_uri": uri}, "message": {"intent": {}}}
        assert nacked(caller(live, "discover", elsewhere)) == (400, "CTX_INVALID_FIELD"), uri
    assert live.mailbox.count(lambda one: True) == before


def test_a_caller_hears_of_silence_refusals_and_errors(live: Live) -> None:
    inbox = f"/{SELLER_2}/bpp/receiver/discover"
    short = {"context": {"bpp_id": SELLER_2, "ttl": "PT2S"}, "message": {"intent": {}}}
    silent = caller(live, "discover", short, "callback")
    assert nacked(silent) == (504, "NET_TIMEOUT")
    refused = {
        "message": {"status": "NACK", "error": {"code": "POL_ENGAGEMENT_REFUSED", "message": "no"}}
    }
    answers = live.mailbox.answers
    try:
        answers[inbox] = (403, json.dumps(refused).encode())
        for wait in ("ack", "callback"):
            answer = caller(live, "discover", short, wait)
            assert nacked(answer)[1] == "POL_ENGAGEMENT_REFUSED"
        answers[inbox] = (500, b"<html>")
        for wait in ("ack", "callback"):
            status, code = nacked(caller(live, "discover", short, wait))
            assert status in (503, 504)
            assert code.startswith("NET_")
    finally:
        answers.clear()
    live.settle()


# The contract layer


def test_a_command_is_done_once_however_often_it_comes(live: Live) -> None:
    house = live.household(cash="0", allowance="0")
    headers = live.operator(TREASURER) | {"Idempotency-Key": live.new_id("key")}
    paid = {"to": house.user, "amount": "5.00", "external_reference": live.new_id("bank")}
    path = "/contracts/token/deposit"
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda _: post(live, "grid_operator", path, paid, headers), range(20))
        )
    bodies = [body_of(answer) for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(body["replayed"] for body in bodies) == [False] + [True] * 19
    assert len({(body["seq"], body["entry_hash"]) for body in bodies}) == 1
    keys = {"command_id", "seq", "entry_hash", "replayed", "result", "events"}
    assert all(body.keys() == keys for body in bodies)
    with live.unchanged():
        other = post(live, "grid_operator", path, paid | {"amount": "6.00"}, headers)
        assert refusal(other) == (409, "IDEMPOTENCY_CONFLICT")
        same = paid | {"amount": Decimal("5.0")}  # as a number: the same command
        assert body_of(post(live, "grid_operator", path, same, headers))["replayed"] is True


def test_a_call_that_is_not_good_changes_nothing(live: Live) -> None:
    house = live.household(allowance="0")
    paid = {"to": house.user, "amount": "1", "external_reference": "x"}
    sent = {"to": "seller-1", "value": "1", "data": ""}
    cases: list[tuple[str, str, Message, tuple[int, str]]] = [
        (HEADEND, "token.deposit", paid, (403, "NOT_TREASURER")),
        (REGULATOR, "token.deposit", paid, (403, "NOT_TREASURER")),
        (TREASURER, "token.deposit", paid | {"amount": "1.0000001"}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", paid | {"amount": "0"}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", paid | {"amount": "-1"}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", paid | {"amount": True}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", paid | {"amount": None}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", paid | {"amount": [1]}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", paid | {"to": "nobody"}, (404, "USER_NOT_FOUND")),
        (TREASURER, "token.deposit", paid | {"more": 1}, (400, "INVALID_INPUT")),
        (TREASURER, "token.deposit", {}, (400, "INVALID_INPUT")),
        (TREASURER, "token.steal", paid, (404, "UNKNOWN_FUNCTION")),
        (TREASURER, "nothing.deposit", paid, (404, "UNKNOWN_FUNCTION")),
        (TREASURER, "token.__class__", paid, (404, "UNKNOWN_FUNCTION")),
        (TREASURER, "token.transfer", sent, (403, "USER_NOT_VERIFIED")),
        (HEADEND, "token.add_minter", {"minter": HEADEND}, (403, "NOT_OWNER")),
        (
            REGULATOR,
            "registry.grant_role",
            {"role": "TREASURER", "actor": REGULATOR},
            (403, "NOT_OWNER"),
        ),
        (
            TREASURER,
            "registry.set_trade_cap",
            {"meter_id": house.meter, "side": "BUY", "cap": "1"},
            (403, "NOT_GRID_OPERATOR"),
        ),
        (
            GRID_OPERATOR,
            "registry.set_trade_cap",
            {"meter_id": house.meter, "side": "BUY", "cap": "1.0000001"},
            (400, "INVALID_ENERGY_AMOUNT"),
        ),
    ]
    wrong = {}
    with live.unchanged():
        for actor, function, args, brief in cases:
            found = refusal(live.call(actor, function, **args))
            if found != brief:
                wrong[f"{actor} {function} {args}"] = found
    assert wrong == {}


def test_a_signed_call_must_be_what_its_path_says_and_who_it_says(live: Live) -> None:
    other, mallory = live.peer(OTHER), live.peer(MALLORY)
    house = live.household(allowance="0")
    args = {"spender": "network", "value": "1.00", "asset": "USD"}
    call = "token.approve"
    mine = {"on_behalf_of": house.user}
    raw = strict_json.encode({"command_id": "x", "contract": "token"})
    with live.unchanged():
        for answer, brief in (
            (
                other.signed_call(call, args, **mine, path="/contracts/token/transfer"),
                (400, "INVALID_INPUT"),
            ),
            (other.signed_call(call, args, **mine, contract="registry"), (400, "INVALID_INPUT")),
            (other.signed_call(call, args, **mine, function="mint"), (400, "INVALID_INPUT")),
            (other.signed_call(call, args, **mine, more=1), (400, "INVALID_INPUT")),
            (other.signed_call(call, args, **mine, command_id=5), (400, "INVALID_INPUT")),
            (other.signed_call(call, args, on_behalf_of=[house.user]), (400, "INVALID_INPUT")),
            (
                other.signed_call(call, {**args, "value": "1.0000001"}, **mine),
                (400, "INVALID_INPUT"),
            ),
            (
                other.signed_call(call, args, **mine, authorization=other.sign(raw)),
                (401, "UNAUTHENTICATED"),
            ),
            (mallory.signed_call(call, args, **mine), (403, "NOT_AUTHORIZED")),
            (
                mallory.signed_call("token.transfer", {"to": "seller-1", "value": "1"}, **mine),
                (403, "NOT_AUTHORIZED"),
            ),
            (
                mallory.signed_call(
                    "registry.register_user",
                    {"user": "m", "user_type": "PROSUMER", "location": "x"},
                ),
                (403, "NOT_REC_REGULATOR"),
            ),
        ):
            assert refusal(answer) == brief, answer.request.content
        for key_id in ("revoked", "expired", "under"):
            body = {"command_id": "k", "contract": "token", "function": "approve", "args": args}
            bad = other.sign(strict_json.encode(body | mine), key_id=key_id)
            answer = other.signed_call(call, args, **mine, command_id="k", authorization=bad)
            assert refusal(answer) == (401, "UNAUTHENTICATED")
    # the same signed bytes again are a replay, no second effect
    given = {**mine, "command_id": live.new_id("twice")}
    assert body_of(other.signed_call(call, args, **given))["replayed"] is False
    with live.unchanged():
        assert body_of(other.signed_call(call, args, **given))["replayed"] is True
        changed = other.signed_call(call, {**args, "value": "2.00"}, **given)
        assert refusal(changed) == (409, "IDEMPOTENCY_CONFLICT")


def reading(house: Household, start_ms: int, **changes: Any) -> Message:
    data = {
        "meter_id": house.meter,
        "start": start_ms,
        "end": start_ms + EPOCH_MS,
        "generated": "0",
        "consumed": "1",
    } | changes
    signature = house.signer.sign_bytes(reading_bytes(data))
    return {"meter_data": {**data, "signature": base64.b64encode(signature).decode()}}


def test_a_reading_that_is_not_good_changes_nothing(live: Live) -> None:
    house, neighbour = live.household(), live.household()
    start_ms = live.clock.now_ms() // EPOCH_MS * EPOCH_MS + EPOCH_MS
    submit = "oracle.submit_reading"
    with live.unchanged():
        future = live.call(HEADEND, submit, **reading(house, start_ms))
        assert refusal(future) == (409, "INTERVAL_NOT_ENDED")
    live.advance(start_ms + EPOCH_MS - live.clock.now_ms())
    live.settle()
    good = reading(house, start_ms)
    forged = reading(neighbour, start_ms)["meter_data"]
    values = good["meter_data"]
    cases: dict[str, tuple[str, Message, tuple[int, str]]] = {
        "by another operator": (TREASURER, good, (403, "NOT_ORACLE_OPERATOR")),
        "for another meter": (
            HEADEND,
            {"meter_data": forged | {"meter_id": house.meter}},
            (403, "INVALID_SIGNATURE"),
        ),
        "signed by another key": (
            HEADEND,
            {"meter_data": values | {"signature": forged["signature"]}},
            (403, "INVALID_SIGNATURE"),
        ),
        "a value changed": (
            HEADEND,
            {"meter_data": values | {"generated": "1"}},
            (403, "INVALID_SIGNATURE"),
        ),
        "no signature at all": (
            HEADEND,
            {"meter_data": {k: v for k, v in values.items() if k != "signature"}},
            (400, "INVALID_INPUT"),
        ),
        "a signature of nothing": (
            HEADEND,
            {"meter_data": values | {"signature": ""}},
            (403, "INVALID_SIGNATURE"),
        ),
        "unknown meter": (
            HEADEND,
            reading(Household("", "meter-x", house.signer), start_ms),
            (404, "METER_NOT_FOUND"),
        ),
        "off the grid of intervals": (
            HEADEND,
            reading(house, start_ms, start=start_ms + 1),
            (400, "INVALID_INTERVAL"),
        ),
        "two intervals": (
            HEADEND,
            reading(house, start_ms, end=start_ms + 2 * EPOCH_MS),
            (400, "INVALID_INTERVAL"),
        ),
        # 15 kW in a quarter hour are 3.75 kWh
        "above capacity": (
            HEADEND,
            reading(house, start_ms, generated="3.750001"),
            (422, "CAPACITY_EXCEEDED"),
        ),
        "before the meter had an owner": (
            HEADEND,
            reading(house, start_ms - 96 * EPOCH_MS),
            (409, "METER_MISMATCH"),
        ),
        "not ended yet": (
            HEADEND,
            reading(house, start_ms + 4 * EPOCH_MS),
            (409, "INTERVAL_NOT_ENDED"),
        ),
        "7 decimals": (
            HEADEND,
            {"meter_data": values | {"generated": "1.0000001"}},
            (400, "INVALID_ENERGY_AMOUNT"),
        ),
        "negative": (
            HEADEND,
            {"meter_data": values | {"generated": "-1"}},
            (400, "INVALID_ENERGY_AMOUNT"),
        ),
        "a part more": (HEADEND, {"meter_data": values | {"x": 1}}, (400, "INVALID_INPUT")),
        "no object": (HEADEND, {"meter_data": [1]}, (400, "INVALID_INPUT")),
    }
    wrong = {}
    with live.unchanged():
        for name, (actor, args, brief) in cases.items():
            found = refusal(live.call(actor, submit, **args))
            if found[0] == 400 and brief[0] == 403 and name == "a signature of nothing":
                continue  # too short a text is refused before it is verified
            if found != brief:
                wrong[name] = found
    assert wrong == {}
    assert live.call(HEADEND, submit, **good).status_code == 200
    with live.unchanged():
        conflict = live.call(HEADEND, submit, **reading(house, start_ms, consumed="2"))
        assert refusal(conflict) == (409, "READING_CONFLICT")
        assert live.call(HEADEND, submit, **good).status_code == 200


def signed_read(live: Live, peer: Peer, path: str, **params: Any) -> httpx.Response:
    """Return the answer to a signed GET."""
    headers = {"Authorization": peer.sign(b"")}
    return live.http.get(live.url("grid_operator", path), params=params, headers=headers)


def test_s16_nobody_reads_the_affairs_of_others(live: Live) -> None:
    other, mallory = live.peer(OTHER), live.peer(MALLORY)
    house, terms = live.household(), live.offer()
    stranger = live.household(by=MALLORY)
    init = other.init(terms, house)
    order = other.accepted(init).body["message"]["order"]
    other.accepted(other.follow(init, "confirm", order))
    events = signed_read(live, other, "/contracts/events", name="AgreementActivated")
    number = body_of(events)["events"][-1]["agreement_no"]
    reads: list[tuple[str, Message, str]] = [
        ("token/balance_of", {"user": house.user, "asset": "USD"}, "USER_NOT_FOUND"),
        (
            "token/allowance",
            {"owner": house.user, "spender": "network", "asset": "USD"},
            "USER_NOT_FOUND",
        ),
        ("token/get_lots", {"meter_id": house.meter}, "METER_NOT_FOUND"),
        ("registry/get_user_info", {"user": house.user}, "USER_NOT_FOUND"),
        ("registry/get_user_meters", {"user": house.user}, "USER_NOT_FOUND"),
        ("registry/get_meter_owner", {"meter_id": house.meter}, "METER_NOT_FOUND"),
        ("registry/get_trade_caps", {"meter_id": house.meter}, "METER_NOT_FOUND"),
        ("agreements/get_agreement", {"agreement_no": number}, "AGREEMENT_NOT_FOUND"),
    ]
    wrong = {}
    with live.unchanged():
        for path, params, code in reads:
            mine = signed_read(live, other, f"/contracts/{path}", **params)
            theirs = signed_read(live, mallory, f"/contracts/{path}", **params)
            if mine.status_code != 200 or refusal(theirs) != (404, code):
                wrong[path] = (mine.text[:200], theirs.text[:200])
        nobody = signed_read(
            live, mallory, "/contracts/token/balance_of", user="nobody", asset="USD"
        )
        real = signed_read(
            live, mallory, "/contracts/token/balance_of", user=house.user, asset="USD"
        )
        same = [
            answer.text.replace("nobody", "?").replace(house.user, "?") for answer in (nobody, real)
        ]
        assert same[0] == same[1]  # a refusal does not tell whether there is such a user
        feed = signed_read(live, mallory, "/contracts/events", limit=1_000).text
        assert house.user not in feed
        assert house.meter not in feed
        assert stranger.user in feed
        assert refusal(signed_read(live, mallory, "/contracts/journal"))[0] == 403
        for function in ("agreements.cancel_agreement", "agreements.accept_agreement"):
            attempt = mallory.signed_call(
                function, {"agreement_no": number}, on_behalf_of=stranger.user
            )
            assert refusal(attempt)[0] in (403, 404)
    assert wrong == {}


def test_a_signature_for_reading_does_not_write(live: Live) -> None:
    other = live.peer(OTHER)
    house = live.household(allowance="0")
    url = live.url("grid_operator", "/contracts/token/approve")
    with live.unchanged():
        headers = {"Authorization": other.sign(b""), "X-On-Behalf-Of": house.user}
        empty = live.http.post(url, headers=headers | {"Idempotency-Key": "x"})
        assert refusal(empty) == (400, "INVALID_INPUT")
        args = {"spender": MALLORY, "value": "1", "asset": "USD"}
        forged = live.http.post(url, json=args, headers=headers | {"Idempotency-Key": "x"})
        assert refusal(forged) == (401, "UNAUTHENTICATED")


# Nodes that are away


def causes_of(error: Message) -> list[str]:
    found = []
    while "cause" in error.get("details", {}):
        error = error["details"]["cause"]
        found.append(str(error["code"]))
    return found


def test_a_registry_that_is_away_is_503_for_who_is_not_known_yet(live: Live) -> None:
    other, strict = live.peer(OTHER), live.peer(STRICT)
    live.advance(400_000)  # every cached key is older than 300 s
    other.ask("discover", {"intent": {}})
    live.settle()
    live.processes.kill(live.node("registry"))
    try:
        body = strict.request("discover", {"intent": {}})
        with live.unchanged():
            reply = strict.post(body)
        assert reply.brief == (503, "NET_DOWNSTREAM_UNAVAILABLE")
        assert int(reply.headers["retry-after"]) > 0
        assert live.is_signed(reply, "bpp")
        other.ask("discover", {"intent": {}})
        away = caller(
            live, "discover", {"context": {"bpp_id": SELLER_2}, "message": {"intent": {}}}
        )
        assert nacked(away) == (503, "NET_DOWNSTREAM_UNAVAILABLE")
    finally:
        live.start("registry")
    assert strict.post(body).status == 200
    strict.callback(body)


def test_an_operator_that_is_away_ends_init_and_confirm_at_their_deadlines(live: Live) -> None:
    other = live.peer(OTHER)
    house, terms, ordered = live.household(), live.offer(), live.offer()
    opened = other.init(ordered, house)
    order = other.accepted(opened).body["message"]["order"]
    live.settle()
    live.processes.kill(live.node("grid_operator"))
    try:
        init = other.init(terms, house, ttl="PT6S")
        confirm = other.follow(opened, "confirm", order, ttl="PT6S")
        assert [other.post(body).status for body in (init, confirm)] == [200, 200]
        on_init = other.callback(init).body
        on_confirm = other.callback(confirm).body
        again = other.post(other.follow(opened, "confirm", order))
    finally:
        live.start("grid_operator")
    for body in (on_init, on_confirm):
        assert body["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert causes_of(on_init["error"])[0] == "NET_DOWNSTREAM_UNAVAILABLE"
    assert causes_of(on_confirm["error"])[0] in ("NET_TIMEOUT", "NET_DOWNSTREAM_UNAVAILABLE")
    assert live.stock(terms.offer_id) == "12"
    assert again.status == 409
    live.advance(120_000)  # the compensating cancel is due at once
    query = "SELECT 1 FROM outbox WHERE kind = 'compensation' AND state <> 'SENT'"
    live.wait_until(lambda: not live.rows("bpp", query), "the cancel is not delivered")
    live.wait_until(lambda: not cap_holds(live, house), "the caps stay reserved")


def cap_holds(live: Live, house: Household) -> list[tuple[Any, ...]]:
    query = "SELECT * FROM ledger_holds WHERE state = 'PENDING' AND account LIKE ?"
    return live.rows("grid_operator", query, f"{house.meter}|%")


# Logs


def test_s19_no_log_of_the_whole_run_holds_secrets_bodies_or_meters_in_clear(live: Live) -> None:
    secrets = {"meter-home-3", "meter-roof-7", *live.seeded}
    for node in live.folder.nodes.values():
        secrets |= {node.application_token, *node.operator_tokens.values()}
    secrets |= {file.read_text().strip() for file in (live.folder.path / "keys").glob("*.seed")}
    secrets |= {"Lane 4", "order-offer-", "beckn:", "Signature keyId", "bank-"}
    assert len(secrets) >= 20
    found = set()
    for node in live.folder.nodes.values():
        lines = node.log.read_text("utf-8").splitlines()
        assert lines
        for line in lines:
            entry = json.loads(line)
            assert isinstance(entry, dict), line
            found |= {(node.name, secret, line[:300]) for secret in secrets if secret in line}
    assert found == set()
