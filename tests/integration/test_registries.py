"""Registries over HTTP: what each answer of a real server means."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from adapter.domain.errors import WireError
from adapter.transport.address_guard import AddressGuard
from adapter.transport.http_sender import HttpSender
from adapter.transport.key_cache import CachedRegistry
from adapter.transport.registry_dedi import DediRegistry
from adapter.transport.registry_lookup import LookupRegistry
from adapter.transport.registry_records import LookupFailedError
from tests.fakes.time import FixedClock

Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]
KEY = "awGPjRK6i/Vg/lWr+0xObclVxlwZXvTjWYtlu6NeOHk="
RECORD = {
    "subscriber_id": "peer.example",
    "key_id": "k1",
    "type": "BAP",
    "url": "https://peer.example/bap/receiver",
    "domain": "energy-trade",
    "signing_public_key": KEY,
    "encr_public_key": "ignored",
    "valid_from": "2026-01-01T00:00:00.000Z",
    "valid_until": "2036-01-01T00:00:00Z",
    "status": "SUBSCRIBED",
    "created": "ignored",
}
DETAILS = {key: RECORD[key] for key in ("url", "type", "domain", "subscriber_id")} | {
    "signing_public_key": KEY
}
DEDI: dict[str, Any] = {"data": {"record_id": "r", "details": DETAILS}}


@pytest.fixture
async def http() -> AsyncIterator[HttpSender]:
    made = HttpSender(AddressGuard(allow_loopback=True))
    yield made
    await made.close()


def answering(
    status: int, body: Any, seen: list[Any] | None = None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append((request.method, request.raw_path, await request.text()))
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=raw)

    return handler


async def test_lookup_asks_by_post_and_reads_the_array(serve: Serve, http: HttpSender) -> None:
    seen: list[Any] = []
    url = await serve(answering(200, [RECORD], seen))
    [found] = await LookupRegistry(f"{url}/registry/", http).lookup("peer.example", "k1")
    assert (found.key_id, found.url) == ("k1", "https://peer.example/bap/receiver")
    assert found.valid_until_ms == 2_082_758_400_000  # 2036-01-01
    method, path, body = seen[0]
    assert (method, path) == ("POST", "/registry/lookup")
    assert json.loads(body) == {"subscriber_id": "peer.example", "key_id": "k1"}
    await LookupRegistry(url, http).lookup("peer.example", None)
    assert json.loads(seen[1][2]) == {"subscriber_id": "peer.example"}


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([], id="unknown"),
        pytest.param([RECORD | {"subscriber_id": "another.example"}], id="another subscriber"),
        pytest.param([RECORD | {"key_id": "k2"}], id="another key"),
    ],
)
async def test_lookup_trusts_only_records_of_the_key_it_asked_for(
    serve: Serve, http: HttpSender, records: Any
) -> None:
    url = await serve(answering(200, records))
    assert await LookupRegistry(url, http).lookup("peer.example", "k1") == []


async def test_lookup_passes_over_a_bad_record_beside_a_good_one(
    serve: Serve, http: HttpSender
) -> None:
    url = await serve(answering(200, [RECORD | {"signing_public_key": "AAAA"}, 7, RECORD]))
    assert len(await LookupRegistry(url, http).lookup("peer.example", "k1")) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(500, [], id="500"),
        pytest.param(404, [], id="404"),
        pytest.param(302, [RECORD], id="redirect"),
        pytest.param(200, b"<html>", id="not JSON"),
        pytest.param(200, b"", id="empty"),
        pytest.param(200, b'[{"a":1,"a":2}]', id="duplicate key"),
        pytest.param(200, {"records": []}, id="not an array"),
        pytest.param(200, [RECORD | {"signing_public_key": "AAAA"}], id="key not 32 bytes"),
        pytest.param(200, [RECORD | {"signing_public_key": "A" * 43 + "="}], id="weak key"),
        pytest.param(200, [RECORD | {"valid_until": "soon"}], id="bad date"),
        pytest.param(200, [7], id="no record"),
        pytest.param(200, b"[" + b" " * 70_000 + b"]", id="longer than 64 KiB"),
    ],
)
async def test_a_lookup_without_a_usable_answer_fails_closed(
    serve: Serve, http: HttpSender, status: int, body: Any
) -> None:
    source = LookupRegistry(await serve(answering(status, body)), http)
    with pytest.raises(LookupFailedError):
        await source.lookup("peer.example", "k1")
    with pytest.raises(WireError) as caught:
        await CachedRegistry(source, FixedClock()).key("peer.example", "k1")
    assert caught.value.code == "NET_DOWNSTREAM_UNAVAILABLE"


async def test_dedi_asks_by_get_with_escaped_segments(serve: Serve, http: HttpSender) -> None:
    seen: list[Any] = []
    answer = DEDI["data"] | {"network_memberships": ["n1"], "ttl": 60}
    url = await serve(answering(200, {"data": answer}, seen))
    [found] = await DediRegistry(url, http).lookup("peer.example", "k/1 ?")
    assert (found.key_id, found.networks, found.ttl_s) == ("k/1 ?", ("n1",), 60)
    assert not found.revoked
    assert seen[0][:2] == ("GET", "/lookup/peer.example/subscribers.beckn.one/k%2F1%20%3F")


async def test_dedi_404_is_unknown(serve: Serve, http: HttpSender) -> None:
    assert await DediRegistry(await serve(answering(404, b"")), http).lookup("a", "b") == []


@pytest.mark.parametrize(
    ("status", "body"),
    [(410, b"gone"), (200, {"data": DEDI["data"] | {"is_revoked": True}})],
    ids=["410", "is_revoked"],
)
async def test_dedi_tells_a_revoked_key(
    serve: Serve, http: HttpSender, status: int, body: Any
) -> None:
    [found] = await DediRegistry(await serve(answering(status, body)), http).lookup(
        "peer.example", "k1"
    )
    assert not found.usable(FixedClock().now_ms())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(500, b"", id="500"),
        pytest.param(403, b"", id="403"),
        pytest.param(200, b"x", id="not JSON"),
        pytest.param(200, [], id="array"),
        pytest.param(200, {}, id="no data"),
        pytest.param(200, {"data": {}}, id="no details"),
        pytest.param(200, {"data": {"details": {}}}, id="empty details"),
        pytest.param(
            200,
            {"data": {"details": DETAILS | {"signing_public_key": "AAAA"}}},
            id="key not 32 bytes",
        ),
    ],
)
async def test_dedi_without_a_usable_answer_fails_closed(
    serve: Serve, http: HttpSender, status: int, body: Any
) -> None:
    source = DediRegistry(await serve(answering(status, body)), http)
    with pytest.raises(LookupFailedError):
        await source.lookup("peer.example", "k1")


async def test_dedi_does_not_trust_a_record_of_another_subscriber(
    serve: Serve, http: HttpSender
) -> None:
    source = DediRegistry(await serve(answering(200, DEDI)), http)
    assert await source.lookup("mallory.example", "k1") == []


async def test_a_registry_that_is_away_fails_closed(http: HttpSender) -> None:
    source = LookupRegistry("http://127.0.0.1:9", http)  # the discard port: nobody listens
    with pytest.raises(LookupFailedError, match="did not answer"):
        await source.lookup("peer.example", "k1")
