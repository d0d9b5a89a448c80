"""The application around the endpoints: refusals of the framework, faults, health, documents."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from adapter.transport.registry_static import LOOK_MS
from adapter.web.ending import Ending
from tests.fakes.web import Web, error_of, json_of, offer_body, open_web, purchase_body

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


# Refusals


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/nothing", 404, id="unknown path"),
        pytest.param("GET", "/trades/", 404, id="slash at the end"),
        pytest.param("PUT", "/trades", 405, id="unknown method"),
        pytest.param("GET", "/bap/caller/discover", 405, id="GET of a caller path"),
        pytest.param("GET", "/../etc/passwd", 404, id="dots"),
        pytest.param("POST", "/lookup", 404, id="lookup on a node that serves no registry"),
    ],
)
async def test_what_the_framework_refuses_is_coded(
    web: Web, method: str, path: str, status: int
) -> None:
    refused = await web.bap.request(method, path)
    assert refused.status_code == status
    assert error_of(refused)["code"] == "NET_NOT_IMPLEMENTED"
    if status == 405:
        assert refused.headers["Allow"]


HOSTILE = [
    b"",
    b"{",
    b"null",
    b"[1]",
    b'{"q": NaN}',
    b'{"q": 1e400}',
    b'{"q": "\\ud800"}',
    b'{"a": 1, "a": 2}',
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 65 + b"1" + b"}" * 65,
    b'{"quantity_kwh": ' + b"9" * 5_000 + b"}",
]


async def test_a_hostile_body_is_a_coded_400_on_every_path(web: Web) -> None:
    for client, path in ((web.bap, "/trades"), (web.bpp, "/offers")):
        for raw in HOSTILE:
            refused = await client.post(path, content=raw, headers=JSON)
            assert refused.status_code == 400, raw[:40]
            assert error_of(refused)["code"].startswith("SCH_"), raw[:40]


async def test_a_refusal_does_not_echo_what_was_sent(web: Web) -> None:
    secret = "do-not-repeat-me"
    for body in ({"offer_id": [secret]}, offer_body(source_type=secret)):
        refused = await web.bpp.post("/offers", json=body)
        assert refused.status_code == 400
        assert secret not in refused.text
    named = await web.bpp.post("/offers", json=offer_body(**{"k" * 1_000: 1}))
    assert named.text.count("k") < 300  # the name of an unknown key is cut


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param({"Content-Type": "text/plain"}, b"{}", 415, id="another type"),
        pytest.param(JSON | {"Content-Encoding": "gzip"}, b"{}", 415, id="encoded"),
        pytest.param(JSON, b" " * (256 * 1024 + 1), 413, id="too long"),
    ],
)
async def test_what_is_no_json_request_is_refused_as_http(
    web: Web, headers: dict[str, str], body: bytes, status: int
) -> None:
    refused = await web.bap.post("/trades", content=body, headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (status, "SCH_INVALID_FORMAT")


async def test_a_body_without_content_type_is_read_as_json(web: Web) -> None:
    refused = await web.bap.post("/trades", content=b"{}")
    assert error_of(refused)["code"] == "SCH_REQUIRED_FIELD_MISSING"


async def test_a_fault_is_a_coded_500_without_its_reason(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    del web.network.bap.queries._store  # a fault that no request should cause
    answer = await web.bap.get("/trades")
    assert answer.status_code == 500
    error = error_of(answer)
    assert error["code"] == "NET_INTERNAL_ERROR"
    assert "_store" not in answer.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_answers_are_not_cached(web: Web) -> None:
    assert (await web.bap.get("/trades")).headers["Cache-Control"] == "no-store"


async def test_the_network_paths_answer_beside_the_application(web: Web) -> None:
    refused = await web.bap.post("/bap/receiver/on_status", json={}, headers={"Authorization": ""})
    assert refused.status_code == 401
    assert json_of(refused)["message"]["error"]["code"] == "AUT_SIGNATURE_MISSING"
    unknown = await web.grid.post("/bpp/receiver/select", json={})
    assert unknown.status_code == 404
    assert json_of(unknown)["message"]["status"] == "NACK"


# Operations


async def test_a_node_is_live_and_ready(web: Web) -> None:
    assert json_of(await web.bap.get("/health/live")) == {"status": "live"}
    ready = json_of(await web.bap.get("/health/ready"))
    assert ready == {
        "status": "ready",
        "checks": {"database": "ok", "key": "ok", "registry": "ok"},
    }


async def test_a_node_without_its_database_is_not_ready(web: Web) -> None:
    await web.network.bap.parts.store.close()
    answer = await web.bap.get("/health/ready")
    assert answer.status_code == 503
    error = error_of(answer)
    assert error["code"] == "NET_DOWNSTREAM_UNAVAILABLE"
    assert error["details"]["checks"]["database"] != "ok"
    assert answer.headers["Retry-After"] == "1"
    assert (await web.bap.get("/health/live")).status_code == 200


async def test_a_node_that_the_registry_lists_with_another_key_is_not_ready(
    web: Web, tmp_path: Path
) -> None:
    file = tmp_path / "network.yaml"
    lines = file.read_text().splitlines()
    keys = [i for i, line in enumerate(lines) if "signing_public_key" in line]
    lines[keys[0]], lines[keys[1]] = lines[keys[1]], lines[keys[0]]
    file.write_text("\n".join(lines))
    web.network.clock.advance(LOOK_MS)  # so long a changed file may be overlooked
    answer = await web.bap.get("/health/ready")
    assert answer.status_code == 503
    assert error_of(answer)["details"]["checks"]["key"] != "ok"


async def test_metrics_count_requests_and_show_no_ids(web: Web) -> None:
    await web.bpp.post("/offers", json=offer_body())
    answer = await web.pumped(web.bap.post("/trades", json=purchase_body()))
    assert answer.status_code == 201
    text = (await web.bap.get("/metrics")).text
    assert 'p2ptrade_http_requests_total{face="own",status="201"} 1.0' in text
    assert "p2ptrade_outbox_lag_seconds 0.0" in text
    assert "p2ptrade_outbox_dead_letters 0.0" in text
    entries = (await web.grid.get("/metrics")).text
    assert "p2ptrade_ledger_entries 14.0" in entries  # 2 of genesis, 10 of the set-up, 2 of trade
    for name in ("bpp.seller", "meter-", "bob"):
        assert name not in text + entries


# Documents


async def test_the_api_document_is_valid_and_describes_bodies(web: Web) -> None:
    document = json_of(await web.bap.get("/openapi.json"))
    validate(document)
    bodies = {"/trades", "/offers", "/bap/caller/{action}", "/contracts/{contract}/{function}"}
    for path in bodies:
        operation = document["paths"][path]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["type"] == "object", path
        assert operation["security"], path
    taken = document["paths"]["/trades"]["post"]["responses"]
    assert taken["201"]["content"]["application/json"]["schema"]["$ref"].endswith("TradeModel")
    assert taken["409"]["content"]
    assert "422" not in taken
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_the_documents_page_loads_nothing_from_elsewhere(web: Web) -> None:
    page = await web.bap.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<code>/trades/{transaction_id}</code>" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


# The end


async def test_work_that_is_done_before_the_end_gives_its_result() -> None:
    assert await Ending().unless(asyncio.sleep(0, "done")) == "done"


async def test_an_error_of_the_work_goes_on() -> None:
    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await Ending().unless(fails())


async def test_the_lifespan_starts_and_stops_the_node(tmp_path: Path) -> None:
    async with open_web(tmp_path) as web:
        transport = web.bpp._transport
        assert isinstance(transport, httpx.ASGITransport)
        sent: list[dict[str, Any]] = []
        end = asyncio.Event()
        begun = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not sent:
                return {"type": "lifespan.startup"}
            begun.set()
            await end.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        running = asyncio.ensure_future(transport.app({"type": "lifespan"}, receive, send))
        await begun.wait()
        assert web.network.bpp._tasks
        assert not any(task.done() for task in web.network.bpp._tasks)
        end.set()
        await running
        assert [one["type"] for one in sent] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]
        assert all(task.done() for task in web.network.bpp._tasks)
