"""Who may call what: bearer tokens by scope, and what needs none."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from adapter.transport.token_files import Scope, TokenRecord, add_token, hash_token, write_tokens
from tests.fakes.network import BPP
from tests.fakes.web import Web, error_of, open_web

BEARER_PATHS = [
    ("POST", "/trades"),
    ("GET", "/trades"),
    ("GET", "/trades/x"),
    ("GET", "/trades/x/messages"),
    ("POST", "/offers"),
    ("GET", "/offers"),
    ("DELETE", "/offers/x"),
]
CONTRACT_PATHS = [
    ("POST", "/contracts/token/deposit"),
    ("GET", "/contracts/token/balance_of"),
    ("GET", "/contracts/events"),
    ("GET", "/contracts/state"),
    ("GET", "/contracts/journal"),
]
CALLER_PATHS = [("POST", "/bap/caller/discover"), ("POST", "/bpp/caller/on_status")]
OPEN_PATHS = ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", "/contracts"]


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


def client_of(web: Web, path: str) -> httpx.AsyncClient:
    if path.startswith("/contracts"):
        return web.grid
    return web.bpp if path.startswith(("/offers", "/bpp")) else web.bap


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("Bearer", id="no token"),
        pytest.param("Bearer wrong", id="wrong"),
        pytest.param("Basic dXNlcjpwYXNz", id="another scheme"),
        pytest.param(f"Bearer {'a' * 5000}", id="long"),
    ],
)
async def test_every_path_is_closed_without_a_valid_token(web: Web, header: str | None) -> None:
    for method, path in BEARER_PATHS + CONTRACT_PATHS:
        client = client_of(web, path)
        headers = {} if header is None else {"Authorization": header}
        request = client.build_request(method, path, headers=headers)
        if header is None:
            del request.headers["Authorization"]
        refused = await client.send(request)
        assert refused.status_code == 401, (method, path)
        assert error_of(refused)["code"] == "UNAUTHENTICATED", (method, path)
        assert refused.headers["WWW-Authenticate"] == "Bearer"


async def test_a_caller_path_is_closed_with_a_nack(web: Web) -> None:
    headers = {"Authorization": "Bearer wrong"}
    for method, path in CALLER_PATHS:
        refused = await client_of(web, path).request(method, path, headers=headers)
        assert refused.status_code == 401
        assert refused.json()["message"]["status"] == "NACK"
        assert refused.json()["message"]["error"]["code"] == "UNAUTHENTICATED"


async def test_an_application_token_does_not_open_the_contract_layer(web: Web) -> None:
    for method, path in CONTRACT_PATHS:
        refused = await web.grid.request(method, path)  # the client's own is the application's
        assert refused.status_code == 401, path
        assert "needed is operator" in error_of(refused)["message"]


async def test_paths_without_data_are_open(web: Web) -> None:
    for path in OPEN_PATHS:
        request = web.grid.build_request("GET", path)
        del request.headers["Authorization"]
        assert (await web.grid.send(request)).status_code == 200, path


async def test_the_token_of_another_node_is_wrong(web: Web) -> None:
    headers = {"Authorization": web.application[BPP]}
    assert (await web.bap.get("/trades", headers=headers)).status_code == 401


async def test_two_authorization_headers_are_refused(web: Web) -> None:
    own = ("Authorization", web.application[BPP])
    request = httpx.Request("GET", "http://node/offers", headers=[own, own])
    refused = await web.bpp.send(request)
    assert refused.status_code == 401


async def test_a_new_token_works_without_a_restart_and_a_deleted_one_no_longer(
    web: Web, tmp_path: Path
) -> None:
    file = tmp_path / f"{BPP}.tokens.yaml"
    token = add_token(file, Scope.OPERATOR)
    headers = {"Authorization": f"Bearer {token}"}
    assert (await web.bpp.get("/offers", headers=headers)).status_code == 200
    write_tokens(file, [TokenRecord(hash_token("other"), Scope.OPERATOR)])
    assert (await web.bpp.get("/offers", headers=headers)).status_code == 401


async def test_a_broken_tokens_file_leaves_the_old_tokens_in_use(web: Web, tmp_path: Path) -> None:
    (tmp_path / f"{BPP}.tokens.yaml").write_text("- {sha256: short, scope: application}\n")
    assert (await web.bpp.get("/offers")).status_code == 200


async def test_a_token_is_judged_before_the_body(web: Web) -> None:
    headers = {"Authorization": "Bearer wrong"}
    refused = await web.bpp.post("/offers", content=b"{", headers=headers)
    assert refused.status_code == 401


async def test_an_operator_acts_as_the_actor_of_its_token(web: Web) -> None:
    call = {"to": "bob", "amount": "1", "external_reference": "bank-9"}
    key = {"Idempotency-Key": "c-1"}
    wrong = await web.grid.post(
        "/contracts/token/deposit", json=call, headers=web.operators["rec"] | key
    )
    assert (wrong.status_code, error_of(wrong)["code"]) == (403, "NOT_TREASURER")
    right = await web.grid.post(
        "/contracts/token/deposit", json=call, headers=web.operators["treasury"] | key
    )
    assert right.status_code == 200
