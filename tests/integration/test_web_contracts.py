"""`/contracts`: calls by token and by signature, reads, events, state and journal."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.settlement import FUNCTIONS, READS
from tests.fakes.network import BAP, BPP
from tests.fakes.readings import submit_readings
from tests.fakes.web import Web, error_of, json_of, open_web

APPROVE = "/contracts/token/approve"
DEPOSIT = "/contracts/token/deposit"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


def deposit(web: Web, key: str = "c-1", amount: object = "5.00", **params: str) -> Any:
    """Return the call of the treasurer, not sent yet."""
    body = {"to": "bob", "amount": amount, "external_reference": f"bank-{key}"}
    headers = web.operators["treasury"] | {"Idempotency-Key": key}
    return web.grid.post(DEPOSIT, json=body, headers=headers, params=params)


async def balance(web: Web) -> str:
    params = {"user": "bob", "asset": "USD"}
    url = "/contracts/token/balance_of"
    answer = await web.grid.get(url, params=params, headers=web.operators["rec"])
    return str(json_of(answer)["result"]["posted"])


async def signed(
    web: Web,
    path: str,
    body: Mapping[str, Any],
    *,
    signer: Signer | None = None,
    created_s: int | None = None,
) -> httpx.Response:
    """Return the answer to a body signed by the buyer's app, unless said otherwise."""
    raw = strict_json.encode(body)
    signer = signer or Signer(BAP, "k1", bytes([1] * 32))  # the fake network's seed
    now_s = web.network.clock.now_ms() // 1_000 if created_s is None else created_s
    header = signer.header(raw, created_s=now_s, expires_s=now_s + 60)
    headers = {"Authorization": header, "Content-Type": "application/json"}
    return await web.grid.post(path, content=raw, headers=headers)


def approval(**changes: Any) -> dict[str, Any]:
    """Return a signed body that raises what the network may take of bob."""
    args = {"spender": BPP, "value": "3.00", "asset": "USD"}
    base = {"command_id": "s-1", "contract": "token", "function": "approve", "args": args}
    return base | {"on_behalf_of": "bob"} | changes


async def test_a_call_answers_with_entry_result_and_events(web: Web) -> None:
    answer = await deposit(web)
    assert answer.status_code == 200
    body = json_of(answer)
    assert body.keys() == {"command_id", "seq", "entry_hash", "replayed", "result", "events"}
    assert (body["command_id"], body["replayed"]) == ("c-1", False)
    assert body["events"][0]["name"] == "Deposited"
    assert body["events"][0]["amount"] == "5.00"
    assert await balance(web) == "25.00"  # 20.00 of the set-up + 5.00


async def test_a_repeated_call_has_no_second_effect(web: Web) -> None:
    first, again = json_of(await deposit(web)), json_of(await deposit(web))
    assert again == first | {"replayed": True}
    assert await balance(web) == "25.00"


async def test_the_same_key_with_other_arguments_is_a_conflict(web: Web) -> None:
    await deposit(web)
    refused = await deposit(web, amount="6.00")
    assert (refused.status_code, error_of(refused)["code"]) == (409, "IDEMPOTENCY_CONFLICT")


async def test_a_number_without_quotes_is_exact_too(web: Web) -> None:
    await deposit(web, amount=0.1)
    await deposit(web, "c-2", amount=0.2)
    assert await balance(web) == "20.30"


async def test_a_dry_run_answers_the_same_and_changes_nothing(web: Web) -> None:
    tried = json_of(await deposit(web, dry_run="true"))
    assert await balance(web) == "20.00"
    done = json_of(await deposit(web))
    assert tried == done


async def test_a_call_without_idempotency_key_is_refused(web: Web) -> None:
    body = {"to": "bob", "amount": "1", "external_reference": "x"}
    refused = await web.grid.post(DEPOSIT, json=body, headers=web.operators["treasury"])
    assert (refused.status_code, error_of(refused)["code"]) == (400, "INVALID_INPUT")
    assert "Idempotency-Key" in error_of(refused)["message"]


async def test_an_operator_may_act_for_a_user_it_represents_only(web: Web) -> None:
    headers = web.operators["headend"] | {"Idempotency-Key": "c-1", "X-On-Behalf-Of": "bob"}
    body = {"spender": BPP, "value": "1", "asset": "USD"}
    refused = await web.grid.post(APPROVE, json=body, headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "NOT_AUTHORIZED")


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "INVALID_INPUT"),
    (b"{", "INVALID_INPUT"),
    (b"[]", "INVALID_INPUT"),
    (b'{"to":"bob","to":"bob"}', "INVALID_INPUT"),
    (b'{"to":"bob","amount":NaN,"external_reference":"x"}', "INVALID_INPUT"),
    (b'{"to":"bob","amount":1e400,"external_reference":"x"}', "INVALID_INPUT"),
    (b'{"to":"bob","amount":"1","external_reference":"\xff"}', "INVALID_INPUT"),
    (b'{"to":"bob","amount":"1"}', "INVALID_INPUT"),
    (b'{"to":"bob","amount":"1","external_reference":"x","more":1}', "INVALID_INPUT"),
]


async def test_a_bad_body_is_refused_by_a_settlement_code(web: Web) -> None:
    headers = web.operators["treasury"] | {
        "Idempotency-Key": "c-1",
        "Content-Type": "application/json",
    }
    for raw, code in BAD_BODIES:
        refused = await web.grid.post(DEPOSIT, content=raw, headers=headers)
        assert (refused.status_code, error_of(refused)["code"]) == (400, code), raw


async def test_an_unknown_function_is_named(web: Web) -> None:
    headers = web.operators["rec"] | {"Idempotency-Key": "c-1"}
    for method, path in (
        ("POST", "/contracts/token/steal"),
        ("POST", "/contracts/nothing/deposit"),
        ("POST", "/contracts/token/balance_of"),
        ("GET", "/contracts/token/deposit"),
        ("GET", "/contracts/token/nothing"),
    ):
        refused = await web.grid.request(
            method, path, json={} if method == "POST" else None, headers=headers
        )
        assert (refused.status_code, error_of(refused)["code"]) == (404, "UNKNOWN_FUNCTION"), path


# Signed calls


async def test_a_participant_signs_for_the_user_it_represents(web: Web) -> None:
    answer = await signed(web, APPROVE, approval())
    assert answer.status_code == 200, answer.text
    assert json_of(answer)["command_id"] == "s-1"
    assert (await signed(web, APPROVE, approval())).json()["replayed"] is True


async def test_without_a_named_user_the_signer_acts_for_itself(web: Web) -> None:
    body = approval()
    del body["on_behalf_of"]
    answer = json_of(await signed(web, APPROVE, body))
    assert answer["events"][0]["owner"] == BAP


SIGNED_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"function": "transfer"}, "path"),
    ({"contract": "registry"}, "path"),
    ({"args": "none"}, "object"),
    ({"command_id": 7}, "text"),
    ({"on_behalf_of": 7}, "text"),
    ({"more": 1}, "signed body"),
]


async def test_a_signed_body_must_agree_with_the_path(web: Web) -> None:
    for changes, word in SIGNED_REFUSALS:
        refused = await signed(web, APPROVE, approval(**changes))
        error = error_of(refused)
        assert (refused.status_code, error["code"]) == (400, "INVALID_INPUT"), changes
        assert word in error["message"], changes


async def test_the_headers_are_ignored_when_the_body_is_signed(web: Web) -> None:
    raw = strict_json.encode(approval(command_id="s-2"))
    now_s = web.network.clock.now_ms() // 1_000
    header = Signer(BAP, "k1", bytes([1] * 32)).header(raw, created_s=now_s, expires_s=now_s + 60)
    headers = {
        "Authorization": header,
        "Content-Type": "application/json",
        "Idempotency-Key": "other",
        "X-On-Behalf-Of": "sun",
    }
    answer = await web.grid.post(APPROVE, content=raw, headers=headers)
    assert json_of(answer)["command_id"] == "s-2"


async def test_a_signature_that_does_not_hold_is_unauthenticated(web: Web) -> None:
    now_s = web.network.clock.now_ms() // 1_000
    wrong_key = Signer(BAP, "k1", bytes([9] * 32))
    unknown = Signer("nobody.example", "k1", bytes([1] * 32))
    for signer, created_s, cause in (
        (wrong_key, now_s, "AUT_SIGNATURE_INVALID"),
        (unknown, now_s, "AUT_SUBSCRIBER_NOT_FOUND"),
        (None, now_s - 61, "AUT_SIGNATURE_INVALID"),
        (None, now_s + 6, "AUT_SIGNATURE_INVALID"),
    ):
        refused = await signed(web, APPROVE, approval(), signer=signer, created_s=created_s)
        error = error_of(refused)
        assert (refused.status_code, error["code"]) == (401, "UNAUTHENTICATED")
        assert error["details"]["cause"]["code"] == cause


async def test_a_signature_over_other_bytes_is_unauthenticated(web: Web) -> None:
    now_s = web.network.clock.now_ms() // 1_000
    signer = Signer(BAP, "k1", bytes([1] * 32))
    header = signer.header(b"{}", created_s=now_s, expires_s=now_s + 60)
    headers = {"Authorization": header, "Content-Type": "application/json"}
    refused = await web.grid.post(APPROVE, content=strict_json.encode(approval()), headers=headers)
    assert refused.status_code == 401


async def test_a_signed_get_covers_the_empty_body_and_shows_own_affairs_only(web: Web) -> None:
    now_s = web.network.clock.now_ms() // 1_000
    signer = Signer(BAP, "k1", bytes([1] * 32))
    header = signer.header(b"", created_s=now_s, expires_s=now_s + 60)
    headers = {"Authorization": header}
    url = "/contracts/token/balance_of"
    own = await web.grid.get(url, params={"user": "bob", "asset": "USD"}, headers=headers)
    assert json_of(own)["result"]["posted"] == "20.00"
    other = await web.grid.get(url, params={"user": "sun", "asset": "USD"}, headers=headers)
    assert (other.status_code, error_of(other)["code"]) == (404, "USER_NOT_FOUND")


# Reads


async def test_an_argument_given_twice_is_refused(web: Web) -> None:
    url = "/contracts/token/balance_of?user=bob&user=sun"
    refused = await web.grid.get(url, headers=web.operators["rec"])
    assert (refused.status_code, error_of(refused)["code"]) == (400, "INVALID_INPUT")


async def test_the_list_names_every_function_with_the_schema_of_its_arguments(web: Web) -> None:
    listed = json_of(await web.grid.get("/contracts"))["contracts"]
    names = {(contract, one["name"]) for contract, each in listed.items() for one in each}
    assert names == FUNCTIONS.keys() | READS.keys()
    deposit = next(one for one in listed["token"] if one["name"] == "deposit")
    assert deposit["arguments"]["required"] == ["to", "amount", "external_reference"]
    assert deposit["callers"] == "TREASURER"


async def test_the_state_names_head_and_totals(web: Web) -> None:
    done = json_of(await deposit(web))
    state = json_of(await web.grid.get("/contracts/state", headers=web.operators["rec"]))
    assert (state["seq"], state["head"]) == (done["seq"], done["entry_hash"])
    assert (state["totals"]["cash"], state["totals"]["grid_supply"]) == ("25.00", "0")


async def test_events_come_in_order_and_go_on_after_the_last_known(web: Web) -> None:
    headers = web.operators["rec"]
    page = json_of(await web.grid.get("/contracts/events", headers=headers))
    ids = [tuple(map(int, event["id"].split("."))) for event in page["events"]]
    assert ids == sorted(set(ids))
    assert page["events"][0]["name"] == "Initialized"
    done = json_of(await deposit(web))
    after = {"after": page["next"]}
    more = json_of(await web.grid.get("/contracts/events", headers=headers, params=after))
    assert [event["id"] for event in more["events"]] == [f"{done['seq']}.0"]


async def test_a_bare_number_stands_for_all_events_of_its_entry(web: Web) -> None:
    web.network.clock.move_to("2026-03-02T08:31:00Z")
    await submit_readings(web.network, count=1)  # stores, mints and transfers in one entry
    headers = web.operators["rec"]
    page = json_of(await web.grid.get("/contracts/events", headers=headers))
    last = page["events"][-1]["seq"]
    several = [event["seq"] for event in page["events"] if event["name"] == "Minted"]
    assert len([event for event in page["events"] if event["seq"] == several[0]]) > 1
    known = {"after": str(several[0])}
    rest = json_of(await web.grid.get("/contracts/events", headers=headers, params=known))
    assert {event["seq"] for event in rest["events"]} == {last}


async def test_events_are_filtered_by_contract_name_and_what_the_caller_may_see(web: Web) -> None:
    params = {"contract": "token", "name": "Deposited"}
    mine = await web.grid.get("/contracts/events", headers=web.operators["rec"], params=params)
    assert [event["name"] for event in json_of(mine)["events"]] == ["Deposited"]
    others = await web.grid.get(
        "/contracts/events", headers=web.operators["headend"], params=params
    )
    assert json_of(others)["events"] == []


@pytest.mark.parametrize("after", ["x", "1.2.3", "-1", "1."])
async def test_an_unreadable_place_in_the_events_is_refused(web: Web, after: str) -> None:
    refused = await web.grid.get(
        "/contracts/events", headers=web.operators["rec"], params={"after": after}
    )
    assert (refused.status_code, error_of(refused)["code"]) == (400, "INVALID_INPUT")


async def test_the_journal_is_a_chain_of_canonical_lines_for_auditors(web: Web) -> None:
    answer = await web.grid.get("/contracts/journal", headers=web.operators["rec"])
    lines = answer.content.splitlines()
    before = "0" * 64
    for seq, line in enumerate(lines):
        entry = strict_json.decode_object(line)
        assert (entry["seq"], entry["prev"]) == (seq, before)
        before = hashlib.sha256(b"\x00" + line).hexdigest()
    state = json_of(await web.grid.get("/contracts/state", headers=web.operators["rec"]))
    assert state["head"] == before
    end = {"after": str(len(lines) - 1)}
    none = await web.grid.get("/contracts/journal", headers=web.operators["rec"], params=end)
    assert (none.status_code, none.content) == (200, b"")
    refused = await web.grid.get("/contracts/journal", headers=web.operators["headend"])
    assert (refused.status_code, error_of(refused)["code"]) == (403, "NOT_AUTHORIZED")


async def test_a_node_that_does_not_host_the_contract_layer_says_so(web: Web) -> None:
    for path in ("/contracts/state", "/contracts/events", "/contracts/token/balance_of?user=bob"):
        refused = await web.bap.get(path)
        assert refused.status_code == 404
        assert error_of(refused)["code"] == "NET_NOT_IMPLEMENTED"
