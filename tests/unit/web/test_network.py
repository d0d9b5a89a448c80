"""Step 1 of the pipeline: what is refused as HTTP, and that the rest arrives untouched."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from adapter.domain.errors import WireError
from adapter.service.inbound_reply import InboundReply
from adapter.web.body import MAX_BODY
from adapter.web.network import NetworkEndpoints, NetworkSide, RawHeaders

JSON = {"content-type": "application/json"}


class Pipeline:
    """Stands for the use case: remembers what came and answers, or raises, as told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, RawHeaders, bytes]] = []
        self.outcome: InboundReply | Exception = InboundReply(200, [(b"signature", b"s")], b"{}")

    async def receive(
        self, side: NetworkSide, action: str, headers: RawHeaders, body: bytes
    ) -> InboundReply:
        self.seen.append((side, action, headers, body))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def serves(side: str, action: str) -> bool:
    return action in {"bpp": {"init", "status"}, "bap": {"on_init"}}[side]


def sign_answer(body: bytes, authorizations: Sequence[str]) -> str | None:
    return f"signed over {len(body)} for {authorizations[0]}" if authorizations else None


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def app(pipeline: Pipeline) -> NetworkEndpoints:
    return NetworkEndpoints(pipeline.receive, serves, sign_answer)


@pytest.fixture
async def client(app: NetworkEndpoints) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as made:
        yield made


def error_of(response: httpx.Response) -> str:
    message = response.json()["message"]
    assert message["status"] == "NACK"
    return str(message["error"]["code"])


async def test_a_message_arrives_byte_for_byte(
    client: httpx.AsyncClient, pipeline: Pipeline
) -> None:
    body = '{ "a" : "₹" }\n'.encode()
    response = await client.post(
        "/bpp/receiver/init", content=body, headers=JSON | {"Authorization": "Signature x"}
    )
    assert (response.status_code, response.content) == (200, b"{}")
    assert response.headers["signature"] == "s"
    assert response.headers["content-type"] == "application/json"
    [(side, action, headers, seen)] = pipeline.seen
    assert (side, action, seen) == ("bpp", "init", body)
    assert (b"authorization", b"Signature x") in headers


@pytest.mark.parametrize("path", ["/bap/receiver/on_init", "/prefix/bap/receiver/on_init"])
async def test_a_callback_arrives_on_the_other_side(
    client: httpx.AsyncClient, pipeline: Pipeline, path: str
) -> None:
    await client.post(path, content=b"{}")
    assert pipeline.seen[0][:2] == ("bap", "on_init")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/bpp/receiver/init", 405, id="GET"),
        pytest.param("PUT", "/bpp/receiver/init", 405, id="PUT"),
        pytest.param("OPTIONS", "/bpp/receiver/init", 405, id="OPTIONS"),
        pytest.param("POST", "/bpp/receiver/", 404, id="no action"),
        pytest.param("POST", "/bpp/receiver/search", 404, id="unknown action"),
        pytest.param("POST", "/bpp/receiver/INIT", 404, id="other case"),
        pytest.param("POST", "/bpp/receiver/on_init", 404, id="callback on the bpp side"),
        pytest.param("POST", "/bap/receiver/init", 404, id="request on the bap side"),
        pytest.param("POST", "/bpp/receiver/confirm", 404, id="not served by this node"),
        pytest.param("POST", "/bpp/receiver/init/x", 404, id="longer path"),
        pytest.param("POST", "/bpp/receiver/init%0A", 404, id="newline"),
        pytest.param("POST", "/receiver/init", 404, id="no side"),
        *(
            pytest.param("POST", f"/bpp/receiver/{action}", 501, id=action)
            for action in (
                "update",
                "track",
                "rate",
                "support",
                "catalog/publish",
                "catalog/subscription",
                "catalog/other",
            )
        ),
    ],
)
async def test_what_is_not_offered(
    client: httpx.AsyncClient, pipeline: Pipeline, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path, content=b"{}", headers=JSON)
    assert response.status_code == status
    assert error_of(response) == "NET_NOT_IMPLEMENTED"
    assert response.headers.get("allow") == ("POST" if status == 405 else None)
    assert pipeline.seen == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="no content type"),
        pytest.param(JSON, 200, id="JSON"),
        pytest.param({"content-type": "Application/JSON; charset=utf-8"}, 200, id="parameter"),
        pytest.param({"content-type": "text/plain"}, 415, id="text"),
        pytest.param({"content-type": "application/json5"}, 415, id="longer type"),
        pytest.param({"content-type": ""}, 415, id="empty type"),
        pytest.param(JSON | {"content-encoding": "identity"}, 200, id="identity"),
        pytest.param(JSON | {"content-encoding": "gzip"}, 415, id="gzip"),
        pytest.param(JSON | {"content-encoding": "identity, gzip"}, 415, id="two encodings"),
    ],
)
async def test_content_type_and_encoding(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    response = await client.post("/bpp/receiver/init", content=b"{}", headers=headers)
    assert response.status_code == status
    if status != 200:
        assert error_of(response) == "SCH_INVALID_FORMAT"


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 200), (MAX_BODY + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_have_256_kib(
    client: httpx.AsyncClient, size: int, status: int, chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size, 10_000):
            yield b" " * min(10_000, size - start)

    content = chunks() if chunked else b" " * size
    response = await client.post("/bpp/receiver/init", content=content, headers=JSON)
    assert response.status_code == status
    if status == 413:
        assert error_of(response) == "SCH_INVALID_FORMAT"


async def test_a_refusal_is_signed_when_the_request_had_a_signature(
    client: httpx.AsyncClient,
) -> None:
    plain = await client.post("/bpp/receiver/search", content=b"{}")
    assert "signature" not in plain.headers
    signed = await client.post(
        "/bpp/receiver/search", content=b"{}", headers={"Authorization": "Signature x"}
    )
    assert signed.headers["signature"] == f"signed over {len(signed.content)} for Signature x"


async def test_a_fault_is_500_without_its_text(
    client: httpx.AsyncClient, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.outcome = KeyError("secret")
    response = await client.post("/bpp/receiver/init", content=b"{}")
    assert response.status_code == 500
    assert error_of(response) == "NET_INTERNAL_ERROR"
    assert "secret" not in response.text
    assert "fault" in caplog.text


async def test_a_refusal_that_is_raised_is_rendered(
    client: httpx.AsyncClient, pipeline: Pipeline
) -> None:
    pipeline.outcome = WireError("NET_OVERLOADED", "busy")
    response = await client.post("/bpp/receiver/init", content=b"{}")
    assert (response.status_code, error_of(response)) == (503, "NET_OVERLOADED")


Messages = list[dict[str, Any]]


async def call(app: NetworkEndpoints, messages: Messages) -> Messages:
    """Run the application on given ASGI messages and return what it sent."""
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/bpp/receiver/init", "headers": []}
    await app(scope, receive, send)
    return sent


async def test_a_client_that_goes_away_is_not_answered(
    app: NetworkEndpoints, pipeline: Pipeline
) -> None:
    messages: Messages = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert await call(app, messages) == []
    assert pipeline.seen == []


async def test_a_body_in_pieces_is_put_together(app: NetworkEndpoints, pipeline: Pipeline) -> None:
    messages: Messages = [
        {"type": "http.request", "body": b'{"a"', "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.request", "body": b":1}"},
    ]
    sent = await call(app, messages)
    assert sent[0]["status"] == 200
    assert json.loads(pipeline.seen[0][3]) == {"a": 1}
