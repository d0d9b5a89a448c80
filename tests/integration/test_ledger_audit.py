"""Root statements, countersignatures, proofs and reads of the past, over HTTP."""

import base64
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.bootstrap import Node
from adapter.protocol import strict_json
from adapter.service.cosigner import Cosigner
from adapter.service.ledger_host import HostAwayError, RootPage
from adapter.settlement import (
    SignedRoot,
    check_proof,
    countersigned_bytes,
    parse_command,
)
from adapter.settlement.roots import Statement, statement_of
from adapter.settlement.signed_roots import check_root, signed_root_of
from tests.fakes.ledger_host import cosigner_of, signed_header
from tests.fakes.network import GRID, offer, plan, signers_of
from tests.fakes.readings import submit_readings
from tests.fakes.web import Web, error_of, json_of, open_web

QUARTER_S = 900


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with open_web(tmp_path) as opened:
        yield opened


async def traded(web: Web) -> str:
    """Run one trade to its settlement and anchor it; return the contract id."""
    network = web.network
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network)
    await network.tick()
    await next_epoch(web)
    return str(trade.contract_id)


async def next_epoch(web: Web) -> None:
    """Let an epoch end and the host's timer run."""
    web.network.clock.advance(QUARTER_S)
    await web.network.grid.timers.tick()


async def roots(web: Web, **params: int) -> dict[str, Any]:
    answer = await web.grid.get("/contracts/roots", params=params, headers=web.operators["headend"])
    page: dict[str, Any] = json_of(answer)
    return page


def host_key(web: Web) -> str:
    return web.network.grid.parts.signer.key_record["public_key"]


# Statements of the host


async def test_the_host_anchors_and_signs_each_epoch_that_had_entries(web: Web) -> None:
    assert (await roots(web))["roots"] == []
    await next_epoch(web)
    await next_epoch(web)
    page = await roots(web)
    assert (page["ledger"], page["key_id"]) == (GRID, f"{GRID}|k1|ed25519")
    [root] = [signed_root_of(one) for one in page["roots"]]
    assert check_root(root, host_key(web)) is None
    assert page["next"] == root.statement.last_epoch
    assert (await roots(web, after=page["next"]))["roots"] == []


async def test_statements_come_in_pages(web: Web) -> None:
    for _ in range(3):
        await next_epoch(web)
        args = {"spender": "x", "value": "1", "asset": "USD"}
        await web.network.call("grid", "token", "approve", **args)
        await web.network.call("grid", "token", "approve", **(args | {"value": "0"}))
    await next_epoch(web)
    seen: list[int] = []
    after = -1
    while (page := await roots(web, after=after, limit=2))["roots"]:
        seen += [one["statement"]["last_epoch"] for one in page["roots"]]
        after = page["next"]
    first = seen[0]
    assert seen == [first, first + 1, first + 2, first + 3]


async def test_a_statement_that_a_killed_node_left_unsigned_is_signed_later(web: Web) -> None:
    grid = web.network.grid
    web.network.clock.advance(QUARTER_S)
    head = json_of(await web.grid.get("/contracts/state", headers=web.operators["rec"]))
    first = (head["time"] // 1_000) // QUARTER_S - 1
    await web.network.call("system", "trading", "close_epoch", first=first, last=first)
    assert (await roots(web))["roots"] == []
    await grid.timers.tick()
    assert len((await roots(web))["roots"]) == 1


# Parties


async def test_both_platforms_countersign_and_keep_their_copy(web: Web) -> None:
    await traded(web)
    network = web.network
    for node in (network.bap, network.bpp):
        cosigner, sender = cosigner_of(node, web.grid)
        assert await cosigner.look() == 2
        posts = len([1 for method, _ in sender.log if method == "POST"])
        assert posts == 2
        assert await cosigner.look() == 0
        assert len([1 for method, _ in sender.log if method == "POST"]) == posts
    page = await roots(web)
    for document in page["roots"]:
        root = signed_root_of(document)
        assert check_root(root, host_key(web)) is None
        signers = [one.key_id.split("|")[0] for one in root.countersignatures]
        assert signers == [network.bap.parts.me.subscriber_id, network.bpp.parts.me.subscriber_id]
    for node in (network.bap, network.bpp):
        kept = await node.parts.store.read(lambda uow: uow.roots(GRID, -1, 9))
        assert [one.statement for one in kept] == [
            statement_of(one["statement"]) for one in page["roots"]
        ]
        mine = node.parts.signer.key_record["id"]
        assert [[other.key_id for other in one.countersignatures] for one in kept] == [[mine]] * 2


async def test_a_countersignature_that_did_not_arrive_is_handed_in_again(web: Web) -> None:
    await next_epoch(web)
    cosigner, sender = cosigner_of(web.network.bap, web.grid)
    await cosigner.look()
    await web.network.grid.parts.store.write(forget_countersignatures)
    await cosigner.look()
    assert [method for method, _ in sender.log] == ["GET", "POST", "GET", "POST"]


def forget_countersignatures(uow: Any) -> None:
    uow._connection.execute("DELETE FROM root_countersignature")


async def test_a_host_that_is_away_is_asked_again_later(web: Web) -> None:
    await next_epoch(web)
    cosigner, sender = cosigner_of(web.network.bap, web.grid)
    sender.away = True
    with pytest.raises(HostAwayError):
        await cosigner.look()
    sender.away = False
    assert await cosigner.look() == 1


async def test_the_journal_is_open_to_those_who_countersign(web: Web) -> None:
    await next_epoch(web)
    bap = web.network.bap
    before = await web.grid.get("/contracts/journal", headers=signed_header(bap))
    assert (before.status_code, error_of(before)["code"]) == (403, "NOT_AUTHORIZED")
    await cosigner_of(bap, web.grid)[0].look()
    after = await web.grid.get("/contracts/journal", headers=signed_header(bap))
    assert after.status_code == 200
    assert after.content.count(b"\n") > 10
    await web.network.call("rec", "registry", "set_representative", user="bob", subscriber="")
    gone = await web.grid.get("/contracts/journal", headers=signed_header(bap))
    assert gone.status_code == 403


async def handed_in(
    web: Web, node: Node, epoch: int, changes: dict[str, Any], header: dict[str, str] | None = None
) -> httpx.Response:
    """Hand in a countersignature of `node` under the first statement, with changes."""
    statement = statement_of((await roots(web))["roots"][0]["statement"])
    key_id = node.parts.signer.key_record["id"]
    signature = node.parts.signer.sign_bytes(countersigned_bytes(statement.hash, key_id))
    body = {
        "statement": statement.hash,
        "key_id": key_id,
        "signature": base64.b64encode(signature).decode(),
    }
    raw = strict_json.encode({name: v for name, v in (body | changes).items() if v is not None})
    headers = (header or signed_header(node, raw)) | {"Content-Type": "application/json"}
    url = f"/contracts/roots/{epoch}/countersignatures"
    return await web.grid.post(url, content=raw, headers=headers)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        pytest.param({}, 200, "", id="as it should be"),
        pytest.param({"signature": "A" * 86 + "=="}, 403, "INVALID_SIGNATURE", id="no signature"),
        pytest.param({"statement": "0" * 64}, 403, "INVALID_SIGNATURE", id="signed another"),
        pytest.param({"key_id": f"{GRID}|k1|ed25519"}, 400, "INVALID_INPUT", id="another's key"),
        pytest.param({"key_id": "x"}, 400, "INVALID_INPUT", id="no key id"),
        pytest.param({"statement": None}, 400, "INVALID_INPUT", id="a part is missing"),
        pytest.param({"more": "x"}, 400, "INVALID_INPUT", id="a part too many"),
        pytest.param({"signature": 7}, 400, "INVALID_INPUT", id="not a text"),
    ],
)
async def test_a_countersignature_is_checked(
    web: Web, changes: dict[str, Any], status: int, code: str
) -> None:
    await next_epoch(web)
    epoch = (await roots(web))["next"]
    answer = await handed_in(web, web.network.bap, epoch, changes)
    assert answer.status_code == status, answer.text
    assert code in answer.text
    kept = (await roots(web))["roots"][0]["countersignatures"]
    assert len(kept) == (1 if status == 200 else 0)


async def test_only_a_known_epoch_can_be_countersigned_and_only_by_a_party(web: Web) -> None:
    await next_epoch(web)
    epoch = (await roots(web))["next"]
    unknown = await handed_in(web, web.network.bap, epoch + 1, {})
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "ROOT_NOT_FOUND")
    by_token = await handed_in(web, web.network.bap, epoch, {}, web.operators["rec"])
    assert (by_token.status_code, error_of(by_token)["code"]) == (403, "NOT_AUTHORIZED")
    outsider = await handed_in(web, web.network.grid, epoch, {})
    assert (outsider.status_code, error_of(outsider)["code"]) == (403, "NOT_AUTHORIZED")


# A host that says two things


class LyingHost:
    """Shows statements that were made up, signed with the host's own key."""

    def __init__(self, *statements: Statement, ledger: str = GRID) -> None:
        self.statements = list(statements)
        self.ledger = ledger
        self.taken: list[int] = []

    async def roots(self, after_epoch: int, limit: int) -> RootPage:
        signer = signers_of(("a", "b", GRID))[GRID]
        shown = [one for one in self.statements if one.last_epoch > after_epoch][:limit]
        roots = [
            SignedRoot(one, base64.b64encode(signer.sign_bytes(one.signed_bytes())).decode())
            for one in shown
        ]
        return RootPage(self.ledger, f"{GRID}|k1|ed25519", roots)

    async def countersign(self, last_epoch: int, signed: Any) -> None:
        self.taken.append(last_epoch)


ZEROS = "0" * 64
FIRST = Statement(GRID, 10, 10, 0, 4, ZEROS, ZEROS, ZEROS, ZEROS, 9_900_000)
SECOND = replace(
    FIRST, first_epoch=11, last_epoch=11, first_seq=5, last_seq=9, prev_statement=FIRST.hash
)


def cosigner_with(node: Node, host: LyingHost) -> Cosigner:
    return Cosigner(node.parts, host)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(FIRST, root="1" * 64), id="another root of the same epoch"),
        pytest.param(replace(SECOND, prev_statement=ZEROS), id="another history"),
        pytest.param(replace(SECOND, first_epoch=12, last_epoch=12), id="an epoch left out"),
        pytest.param(replace(SECOND, first_seq=6), id="an entry left out"),
        pytest.param(replace(SECOND, first_seq=4), id="an entry told twice"),
    ],
)
async def test_a_host_that_contradicts_itself_is_found_out(
    web: Web, other: Statement, caplog: pytest.LogCaptureFixture
) -> None:
    bap = web.network.bap
    host = LyingHost(FIRST)
    cosigner = cosigner_with(bap, host)
    await cosigner.look()
    host.statements = [other] if other.last_epoch == FIRST.last_epoch else [FIRST, other]
    with caplog.at_level(logging.ERROR):
        await cosigner.look()
    assert [record.code for record in caplog.records] == ["ROOT_CONTRADICTION"]  # type: ignore[attr-defined]
    assert host.taken == [FIRST.last_epoch] * len(host.taken)
    kept = await bap.parts.store.read(lambda uow: uow.contradicting_roots(9))
    assert [one.statement for one in kept] == [other]
    last = await bap.parts.store.read(lambda uow: uow.last_root(GRID))
    assert last is not None
    assert last.statement == FIRST
    metrics = await web.bap.get("/metrics")
    assert "p2ptrade_root_contradictions 1.0" in metrics.text


async def test_a_statement_that_the_host_no_longer_shows_is_reported(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    host = LyingHost(FIRST)
    cosigner = cosigner_with(web.network.bap, host)
    await cosigner.look()
    host.statements = []
    with caplog.at_level(logging.ERROR):
        await cosigner.look()
    assert [record.code for record in caplog.records] == ["ROOT_WITHDRAWN"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("statement", "ledger"),
    [
        pytest.param(replace(FIRST, first_seq=1), GRID, id="does not begin with entry 0"),
        pytest.param(replace(FIRST, prev_statement="1" * 64), GRID, id="follows another"),
        pytest.param(replace(FIRST, ledger="x"), "x", id="another's ledger"),
    ],
)
async def test_a_first_statement_must_begin_the_host_s_own_ledger(
    web: Web, statement: Statement, ledger: str
) -> None:
    with pytest.raises(HostAwayError):
        await cosigner_with(web.network.bap, LyingHost(statement, ledger=ledger)).look()
    kept = await web.network.bap.parts.store.read(lambda uow: uow.root_ledger())
    assert kept is None


async def test_a_signature_by_another_key_is_not_believed(web: Web) -> None:
    class Forger(LyingHost):
        async def roots(self, after_epoch: int, limit: int) -> RootPage:
            page = await super().roots(after_epoch, limit)
            return replace(page, roots=[replace(page.roots[0], signature="A" * 86 + "==")])

    with pytest.raises(HostAwayError, match="does not hold"):
        await cosigner_with(web.network.bap, Forger(FIRST)).look()


# Proofs


async def test_a_party_fetches_the_proof_of_its_trade_and_anybody_can_check_it(web: Web) -> None:
    contract_id = await traded(web)
    await cosigner_of(web.network.bap, web.grid)[0].look()
    url = f"/contracts/proofs/{contract_id}"
    answer = await web.grid.get(url, headers=signed_header(web.network.bap))
    assert answer.status_code == 200, answer.text
    proven = check_proof(answer.content, host_key(web))
    assert (proven.kind, proven.id) == ("agreement", contract_id)
    [settled] = proven.derived["settled"]
    # 10 kWh x 0.15 and x 0.025
    assert (settled["energy"], settled["value"], settled["wheeling"]) == ("10", "1.50", "0.25")
    assert [len(root.countersignatures) for root in proven.statements] == [1, 1]


async def test_a_proof_is_for_parties_and_only_when_the_epoch_has_ended(web: Web) -> None:
    network = web.network
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    url = f"/contracts/proofs/{trade.contract_id}"
    early = await web.grid.get(url, headers=signed_header(network.bap))
    assert (early.status_code, error_of(early)["code"]) == (409, "EPOCH_NOT_ENDED")
    await next_epoch(web)
    assert (await web.grid.get(url, headers=signed_header(network.bap))).status_code == 200
    stranger = await web.grid.get(url, headers=web.operators["headend"])
    assert (stranger.status_code, error_of(stranger)["code"]) == (404, "TRADE_NOT_FOUND")
    unknown = await web.grid.get("/contracts/proofs/none/of/us", headers=web.operators["rec"])
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "TRADE_NOT_FOUND")
    assert (await web.grid.get(url)).status_code == 401


# The past


async def balance_at(web: Web, seq: int | None, actor: str = "rec") -> httpx.Response:
    params: dict[str, Any] = {"user": "bob", "asset": "USD"}
    if seq is not None:
        params["at_seq"] = seq
    return await web.grid.get(
        "/contracts/token/balance_of", params=params, headers=web.operators[actor]
    )


async def test_a_read_of_the_past_gives_the_state_after_that_entry(web: Web) -> None:
    state = json_of(await web.grid.get("/contracts/state", headers=web.operators["rec"]))
    before = state["seq"]
    for number in range(3):
        args = {"to": "bob", "amount": "1.00", "external_reference": f"more-{number}"}
        await web.network.call("treasury", "token", "deposit", **args)
    posted = []
    for seq in (before + 3, before, before + 2, before + 1, before):  # kept states are used again
        answer = json_of(await balance_at(web, seq))
        assert answer["seq"] == seq
        posted.append(answer["result"]["posted"])
    assert posted == ["23.00", "20.00", "22.00", "21.00", "20.00"]
    assert json_of(await balance_at(web, None))["result"]["posted"] == "23.00"


async def test_effective_states_are_those_of_then(web: Web) -> None:
    contract_id = await traded(web)
    del contract_id
    head = json_of(await web.grid.get("/contracts/state", headers=web.operators["rec"]))["seq"]
    states = set()
    for seq in range(head + 1):
        answer = await web.grid.get(
            "/contracts/agreements/get_agreement",
            params={"agreement_no": 1, "at_seq": seq},
            headers=web.operators["rec"],
        )
        states.add(json_of(answer)["result"]["state"] if answer.is_success else "")
    assert states >= {"", "PROPOSED", "ACTIVE", "SETTLED"}


@pytest.mark.parametrize("seq", [99_999, -1, "x", 2**60])
async def test_a_place_that_is_not_in_the_journal_is_refused(web: Web, seq: Any) -> None:
    answer = await balance_at(web, seq)
    assert answer.status_code == 400
    assert "at_seq" in answer.text


async def by_admin(web: Web, function: str) -> None:
    args = {"role": "AUDITOR", "actor": "headend"}
    assert web.network.grid.contracts is not None
    command = parse_command(function, "registry", function, args)
    await web.network.grid.contracts.call(command, actor="admin")


async def test_who_saw_more_then_than_now_is_refused(web: Web) -> None:
    await by_admin(web, "grant_role")
    granted = json_of(await web.grid.get("/contracts/state", headers=web.operators["rec"]))["seq"]
    await by_admin(web, "revoke_role")
    url = "/contracts/registry/is_user_verified"
    params: dict[str, Any] = {"user": "bob", "at_seq": granted}
    refused = await web.grid.get(url, params=params, headers=web.operators["headend"])
    assert (refused.status_code, error_of(refused)["code"]) == (403, "NOT_AUTHORIZED")
    params["at_seq"] = granted - 1
    assert (await web.grid.get(url, params=params, headers=web.operators["headend"])).is_success


async def test_what_is_hidden_now_is_hidden_in_the_past(web: Web) -> None:
    hidden = await balance_at(web, 3, "headend")
    assert (hidden.status_code, error_of(hidden)["code"]) == (404, "USER_NOT_FOUND")


async def test_a_state_too_far_from_any_kept_one_is_refused(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.service.past.REPLAY_MAX", 5)
    refused = await balance_at(web, 9)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "INVALID_INPUT")
    assert "replayed" in error_of(refused)["message"]
    assert (await balance_at(web, 4)).is_success
    assert (await balance_at(web, 9)).is_success  # goes on from entry 4
