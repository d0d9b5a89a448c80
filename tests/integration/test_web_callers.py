"""Caller paths: Beckn messages of the participant's own application."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapter.protocol import strict_json
from tests.fakes.network import BPP
from tests.fakes.stranger import Stranger, nack
from tests.fakes.web import Web, json_of, offer_body, open_web, purchase_body

DISCOVER: dict[str, Any] = {"context": {"bpp_id": BPP}, "message": {"text_search": "solar"}}


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        await opened.bpp.post("/offers", json=offer_body())
        yield opened


def refusal(body: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a NACK."""
    assert body["message"]["status"] == "NACK"
    error: dict[str, Any] = body["message"]["error"]
    return error


async def test_a_request_answers_with_the_peers_ack_and_the_completed_context(web: Web) -> None:
    answer = await web.pumped(web.bap.post("/bap/caller/discover", json=DISCOVER))
    assert answer.status_code == 200
    body = json_of(answer)
    assert body["message"]["status"] == "ACK"
    assert body["context"]["action"] == "discover"
    assert body["context"]["message_id"] == body["message"]["messageId"]
    assert body["context"]["bap_uri"].endswith("/bap/receiver")


async def test_a_request_may_wait_for_its_callback(web: Web) -> None:
    answer = await web.pumped(web.bap.post("/bap/caller/discover?wait=callback", json=DISCOVER))
    body = json_of(answer)
    assert answer.status_code == 200
    assert body["context"]["action"] == "on_discover"
    offers = body["message"]["catalogs"][0]["beckn:offers"]
    assert [offer["beckn:id"] for offer in offers] == ["roof-7"]


async def test_a_price_in_a_callback_keeps_its_digits(web: Web) -> None:
    answer = await web.pumped(web.bap.post("/bap/caller/discover?wait=callback", json=DISCOVER))
    assert b'"pricePerKWh":0.15,' in answer.content


async def test_given_ids_are_kept(web: Web) -> None:
    context = {"bpp_id": BPP, "transaction_id": "t-7", "message_id": "m-7"}
    request = web.bap.post("/bap/caller/discover", json={**DISCOVER, "context": context})
    body = json_of(await web.pumped(request))
    assert (body["context"]["transaction_id"], body["message"]["messageId"]) == ("t-7", "m-7")


async def test_what_the_receiver_would_refuse_is_refused_here(web: Web) -> None:
    context = {"bpp_id": BPP, "message_id": "m-8"}
    body = {"context": context, "message": {"order": {}}}
    refused = await web.bap.post("/bap/caller/select", json=body)
    assert refused.status_code == 400
    error = refusal(json_of(refused))
    assert error["code"].startswith("SCH_")
    assert error["details"]["errors"]
    assert json_of(refused)["message"]["messageId"] == "m-8"


async def test_a_request_without_a_bpp_is_refused_by_its_path(web: Web) -> None:
    refused = await web.bap.post("/bap/caller/discover", json={"message": {}})
    error = refusal(json_of(refused))
    assert (error["code"], error["details"]["path"]) == ("CTX_MISSING_FIELD", "$.context.bpp_id")


async def test_the_peers_refusal_comes_back_with_its_code(web: Web) -> None:
    peer = Stranger(web.network, BPP)
    peer.refusal = lambda action, body: (400, nack("SCH_INVALID_JSONPATH"))
    answer = await web.pumped(web.bap.post("/bap/caller/discover", json=DISCOVER))
    assert answer.status_code == 400
    error = refusal(json_of(answer))
    assert (error["code"], error["message"]) == ("SCH_INVALID_JSONPATH", "made up")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/bap/caller/on_status", 404, id="callback on the request side"),
        pytest.param("/bap/caller/nothing", 404, id="unknown"),
        pytest.param("/bap/caller/track", 501, id="not offered"),
        pytest.param("/bpp/caller/discover", 404, id="request on the callback side"),
        pytest.param("/bpp/caller/on_status", 404, id="no role bpp"),
    ],
)
async def test_an_action_that_is_not_sent_here(web: Web, path: str, status: int) -> None:
    refused = await web.bap.post(path, json=DISCOVER)
    assert refused.status_code == status
    assert refusal(json_of(refused))["code"] == "NET_NOT_IMPLEMENTED"


async def test_a_body_that_is_no_strict_json_is_a_nack(web: Web) -> None:
    headers = {"Content-Type": "application/json"}
    for raw in (b"", b"{", b'{"message": NaN}', b'{"a":1,"a":2}', b'{"q": 1e999}'):
        refused = await web.bap.post("/bap/caller/discover", content=raw, headers=headers)
        assert refused.status_code == 400, raw
        assert refusal(json_of(refused))["code"] == "SCH_INVALID_JSON", raw


async def test_a_wrong_wait_is_refused(web: Web) -> None:
    refused = await web.bap.post("/bap/caller/discover?wait=forever", json=DISCOVER)
    assert refused.status_code == 400


async def test_the_seller_pushes_news_of_a_trade(web: Web) -> None:
    trade = json_of(await web.pumped(web.bap.post("/trades", json=purchase_body())))
    transaction_id = trade["transaction_id"]
    order = json_of(await web.bpp.get(f"/trades/{transaction_id}"))["order"]
    news = {"context": {"transaction_id": transaction_id}, "message": {"order": order}}
    body = strict_json.encode(news)
    answer = await web.pumped(web.bpp.post("/bpp/caller/on_status", content=body))
    assert answer.status_code == 200, answer.text
    assert json_of(answer)["context"]["action"] == "on_status"
    known = json_of(await web.bap.get(f"/trades/{transaction_id}/messages"))["messages"]
    assert "on_status" in {one["action"] for one in known}


async def test_news_of_an_unknown_transaction_are_refused(web: Web) -> None:
    news = {"context": {"transaction_id": "t-9"}, "message": {"order": {}}}
    refused = await web.bpp.post("/bpp/caller/on_status", json=news)
    assert refused.status_code == 400
    assert refusal(json_of(refused))["code"] == "CTX_TRANSACTION_ID_UNKNOWN"


async def test_an_answer_to_a_request_is_not_pushed_by_hand(web: Web) -> None:
    refused = await web.bpp.post("/bpp/caller/on_confirm", json=DISCOVER)
    assert refused.status_code == 409
    assert refusal(json_of(refused))["code"] == "BIZ_INVALID_STATE_TRANSITION"
