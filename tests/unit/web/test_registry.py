"""The registry that a node serves."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from adapter.protocol.signature import Signer
from adapter.transport.registry_records import participant_from, record_from
from adapter.transport.registry_static import StaticRegistry
from adapter.web.registry import registry_router
from tests.fakes.time import FixedClock

KEY = base64.b64encode(Signer("a", "k", bytes(32)).public_key).decode()
NETWORK = f"""participants:
  - {{subscriber_id: a.example, key_id: old, type: BAP, url: "https://a.example", domain: x,
     signing_public_key: "{KEY}", valid_from: "2026-01-01T00:00:00Z"}}
  - {{subscriber_id: a.example, key_id: gone, type: BAP, url: "https://a.example", domain: x,
     signing_public_key: "{KEY}", valid_from: "2026-03-01T00:00:00Z", status: UNSUBSCRIBED}}
  - {{subscriber_id: a.example, key_id: new, type: BAP, url: "https://a.example", domain: x,
     signing_public_key: "{KEY}", valid_from: "2026-02-01T00:00:00Z"}}
  - {{subscriber_id: b.example, key_id: k1, type: BPP, url: "https://b.example", domain: y,
     signing_public_key: "{KEY}"}}
"""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = tmp_path / "network.yaml"
    file.write_text(NETWORK)
    registry = StaticRegistry(file, FixedClock())
    app = FastAPI()
    app.include_router(
        registry_router(lambda wanted: [record_from(one) for one in registry.find(wanted)])
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://registry"
    ) as made:
        yield made


@pytest.mark.parametrize("path", ["/lookup", "/registry/lookup"])
async def test_both_paths_answer_with_an_array_of_records(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.post(path, json={"subscriber_id": "b.example", "key_id": "k1"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == [
        {
            "subscriber_id": "b.example",
            "key_id": "k1",
            "type": "BPP",
            "url": "https://b.example",
            "domain": "y",
            "signing_public_key": KEY,
            "status": "SUBSCRIBED",
        }
    ]
    assert participant_from(response.json()[0]).key_id == "k1"


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        pytest.param({"subscriber_id": "a.example"}, ["new", "old", "gone"], id="usable, newest"),
        pytest.param({"subscriber_id": "a.example", "key_id": ""}, ["new", "old", "gone"], id="''"),
        pytest.param({"domain": "y"}, ["k1"], id="domain"),
        pytest.param({"type": "BPP", "domain": "x"}, [], id="all must match"),
        pytest.param({"subscriber_id": "c.example"}, [], id="unknown"),
        pytest.param({"key_id": "k1", "nonce": 1, "url": None}, ["k1"], id="ONIX's other fields"),
    ],
)
async def test_all_given_fields_must_match(
    client: httpx.AsyncClient, wanted: dict[str, Any], keys: list[str]
) -> None:
    response = await client.post("/lookup", json=wanted)
    assert [one["key_id"] for one in response.json()] == keys


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{}", 400, "SCH_REQUIRED_FIELD_MISSING"),
        (b'{"subscriber_id":7}', 400, "SCH_TYPE_NOT_SUPPORTED"),
        (b"[]", 400, "SCH_SCHEMA_VALIDATION_FAILED"),
        (b"x", 400, "SCH_INVALID_JSON"),
        (b'{"key_id":"a","key_id":"b"}', 400, "SCH_INVALID_JSON"),
        (b'{"key_id":"' + b"a" * 4_096 + b'"}', 413, "SCH_INVALID_FORMAT"),
    ],
)
async def test_a_bad_question_is_refused_without_an_echo(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    response = await client.post("/lookup", content=body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code


async def test_only_post_is_offered(client: httpx.AsyncClient) -> None:
    assert (await client.get("/lookup")).status_code == 405
