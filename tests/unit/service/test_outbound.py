"""The drain, row by row of protocol sections 7 and 10. Real store, signatures and registry."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.protocol.signature import Signer, parse_header, signature_value
from adapter.service import outbound as outbound_module
from adapter.service.hosts import HOST_LIMIT, OPEN_AFTER
from adapter.service.outbound import PARALLEL, Outbound, OutboundParts
from adapter.service.ports import Answer, SendError, UnitOfWork
from adapter.service.records import OutboxKind, OutboxRow, OutboxState
from adapter.service.signing import MessageSigner
from adapter.store.sqlite import MEMORY, SqliteStore
from adapter.transport.http_sender import TOTAL_S
from adapter.transport.registry_static import StaticRegistry
from adapter.transport.verifier import SlicingVerifier
from tests.fakes.time import FixedClock

ME = Signer("bap.buyer.example", "k1", b"\x01" * 32)
PEER = Signer("bpp.seller.example", "k1", b"\x02" * 32)
OTHER = Signer("bpp.other.example", "k1", b"\x03" * 32)
URL = "http://127.0.0.1:8102/bpp/receiver"
OTHER_URL = "http://127.0.0.1:8103/bpp/receiver"
NOW_MS = FixedClock().now_ms()
BODY = b'{"context":{"action":"init"},"message":{}}'
ACK = b'{"message":{"status":"ACK","messageId":"M"}}'
HOST = "127.0.0.1:8102"

Reply = Callable[[Mapping[str, str]], Answer] | Exception


@dataclass
class ScriptedSender:
    """Implements `ports.Sender`: answers from a script, the last entry for ever."""

    script: list[Reply]
    sent: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    before: Callable[[], Any] | None = None
    """Awaited while a post is under way."""
    running: int = 0
    most: int = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.sent.append((url, body, headers))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.before is not None:
                await self.before()
            reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        finally:
            self.running -= 1
        if isinstance(reply, Exception):
            raise reply
        return reply(headers)

    async def close(self) -> None:
        pass


def answers(
    status: int, body: bytes = ACK, *, signer: Signer | None = PEER, **headers: str
) -> Reply:
    """Return a reply that is signed as our peer signs."""

    def reply(sent: Mapping[str, str]) -> Answer:
        found = {name.replace("_", "-"): value for name, value in headers.items()}
        if signer is not None:
            found["signature"] = signer.header(
                body,
                created_s=NOW_MS // 1_000,
                expires_s=NOW_MS // 1_000 + 3_000,
                request_signature=signature_value([sent["authorization"]]),
            )
        return Answer(status, found, body)

    return reply


def nacks(status: int, code: str) -> Reply:
    error = {"code": code, "message": f"text of {code}"}
    return answers(status, json.dumps({"message": {"status": "NACK", "error": error}}).encode())


@dataclass(frozen=True)
class Rules:
    """Implements `outbound.PeerRules`."""

    callback_signature: str = "plain"
    digest_labels: tuple[str, ...] = ("BLAKE-512=", "BLAKE2b-512=")
    clock_skew_ms: int = 5_000
    signature_lifetime_ms: int = 300_000
    require_ack_signature: bool = False


class FailingRegistry(StaticRegistry):
    """A registry that cannot be asked."""

    async def records(self, subscriber_id: str) -> Any:
        code = "NET_DOWNSTREAM_UNAVAILABLE"
        raise WireError(code, "away")


Ended = tuple[OutboxRow, Mapping[str, Any] | None, bool]


@dataclass
class Bench:
    """A drain with its surroundings."""

    outbound: Outbound
    store: SqliteStore
    sender: ScriptedSender
    clock: FixedClock
    ended: list[Ended]

    async def add(self, **changes: Any) -> int:
        row = replace(request_row(), **changes)
        return await self.store.write(lambda uow: uow.enqueue(row))

    async def row(self, row_id: int) -> OutboxRow:
        found = await self.store.read(lambda uow: uow.outbox_row(row_id))
        assert found is not None
        return found

    async def send(self, *script: Reply, **changes: Any) -> OutboxRow:
        """Queue a row, drain once against the script, return the row."""
        if script:
            self.sender.script = list(script)
        row_id = await self.add(**changes)
        await self.outbound.drain_due()
        return await self.row(row_id)


def request_row() -> OutboxRow:
    return OutboxRow(
        peer=PEER.subscriber_id,
        url=f"{URL}/init",
        kind=OutboxKind.REQUEST,
        action="init",
        side=Side.BAP,
        transaction_id="T",
        message_id="M",
        body=BODY,
        created_ms=NOW_MS,
        next_ms=NOW_MS,
        expires_ms=NOW_MS + 30_000,
    )


CALLBACK: dict[str, Any] = {
    "kind": OutboxKind.CALLBACK,
    "action": "on_status",
    "expires_ms": None,
}


def network_file(folder: Path, status: str = "SUBSCRIBED") -> Path:
    file = folder / "network.yaml"
    peer, me, other = (base64.b64encode(signer.public_key).decode() for signer in (PEER, ME, OTHER))
    file.write_text(
        "participants:\n"
        "- {subscriber_id: bpp.seller.example, key_id: k1, type: BPP, "
        f'url: "{URL}", signing_public_key: "{peer}", status: {status}}}\n'
        "- {subscriber_id: bap.buyer.example, key_id: k1, type: BAP, "
        f'url: "http://127.0.0.1:8101/bap/receiver", signing_public_key: "{me}"}}\n'
        "- {subscriber_id: bpp.other.example, key_id: k1, type: BPP, "
        f'url: "{OTHER_URL}", signing_public_key: "{other}"}}\n'
    )
    return file


MakeBench = Callable[..., Bench]


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    made: list[Bench] = []
    verifier = SlicingVerifier()

    def make(
        *,
        rules: Rules = Rules(),
        status: str = "SUBSCRIBED",
        registry: type[StaticRegistry] = StaticRegistry,
        random_below: Callable[[int], int] = lambda limit: limit // 2,
    ) -> Bench:
        clock, store = FixedClock(), SqliteStore(MEMORY)
        sender = ScriptedSender([answers(200)])
        ended: list[Ended] = []

        def on_end(
            uow: UnitOfWork, row: OutboxRow, error: Mapping[str, Any] | None, without: bool
        ) -> None:
            assert uow.outbox_row(row.id) == row  # marked before, in the same unit
            ended.append((row, error, without))

        parts = OutboundParts(
            store=store,
            registry=registry(network_file(tmp_path, status), clock),
            sender=sender,
            verifier=verifier,
            signer=MessageSigner(ME, clock),
            clock=clock,
            random_below=random_below,
            rules_for=lambda peer: rules,
            on_end=on_end,
            allow_http=True,
        )
        made.append(Bench(Outbound(parts), store, sender, clock, ended))
        return made[-1]

    yield make
    for bench in made:
        await bench.outbound.stop()
        await bench.store.close()
    verifier.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


async def test_a_delivered_request_is_sent_and_is_no_end(bench: Bench) -> None:
    row = await bench.send(answers(200))
    assert (row.state, row.attempts, row.http_status) == (OutboxState.SENT, 1, 200)
    assert row.ack_signature == "valid"
    assert row.sent_us == bench.clock.now_us()
    assert bench.ended == []
    url, body, headers = bench.sender.sent[0]
    assert (url, body) == (f"{URL}/init", BODY)
    assert headers["content-type"] == "application/json"
    assert parse_header(headers["authorization"]).subscriber_id == ME.subscriber_id


async def test_the_attempts_header_is_recorded_before_the_request_goes_out(bench: Bench) -> None:
    async def look() -> None:
        seen.extend(await bench.store.read(lambda uow: list(uow.attempts("M", "init"))))

    seen: list[str] = []
    bench.sender.before = look
    await bench.send(answers(200))
    assert seen == [bench.sender.sent[0][2]["authorization"]]


async def test_every_attempt_is_signed_anew_over_the_same_bytes(bench: Bench) -> None:
    row = await bench.send(SendError("time-out"), answers(200))
    bench.clock.advance(5)
    await bench.outbound.drain_due()
    assert (await bench.row(row.id)).state is OutboxState.SENT
    first, second = bench.sender.sent
    assert first[1] == second[1]
    created = [parse_header(sent[2]["authorization"]).created_s for sent in (first, second)]
    assert created == [NOW_MS // 1_000, NOW_MS // 1_000 + 5]
    assert len(await bench.store.read(lambda uow: list(uow.attempts("M", "init")))) == 2


@pytest.mark.parametrize("status", [202, 409])
async def test_delivery_without_callback_is_told_at_once(bench: Bench, status: int) -> None:
    body = b'{"message":{"status":"ACK","error":{"code":"BIZ_ALREADY_CANCELLED","message":""}}}'
    row = await bench.send(answers(status, body))
    assert row.state is OutboxState.SENT
    assert bench.ended == [(row, {"code": "BIZ_ALREADY_CANCELLED", "message": ""}, True)]


async def test_a_callback_that_is_answered_with_202_is_delivered(bench: Bench) -> None:
    row = await bench.send(answers(202), **CALLBACK)
    assert row.state is OutboxState.SENT
    assert bench.ended == []


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(answers(200, b""), id="200 with empty body"),
        pytest.param(answers(200, b"<html>"), id="200 with another body"),
    ],
)
async def test_an_unknown_body_is_delivered_with_a_warning(
    bench: Bench, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await bench.send(reply)).state is OutboxState.SENT
    assert "answer of unknown shape" in caplog.messages


async def test_a_refused_request_ends_with_the_peers_error(bench: Bench) -> None:
    row = await bench.send(nacks(400, "BIZ_OFFER_NOT_FOUND"))
    assert (row.state, row.code) == (OutboxState.REFUSED, "BIZ_OFFER_NOT_FOUND")
    error = {"code": "BIZ_OFFER_NOT_FOUND", "message": "text of BIZ_OFFER_NOT_FOUND"}
    assert bench.ended == [(row, error, False)]


async def test_a_refusal_without_a_readable_body_still_says_something(bench: Bench) -> None:
    row = await bench.send(answers(404, b"no such page"))
    assert row.state is OutboxState.REFUSED
    [(_, error, _)] = bench.ended
    assert error is not None
    assert error["code"] == "NET_DOWNSTREAM_UNAVAILABLE"
    assert "404" in error["message"]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(SendError("connection refused"), id="no connection"),
        pytest.param(answers(302), id="redirect"),
        pytest.param(answers(408), id="408"),
        pytest.param(answers(429), id="429"),
        pytest.param(answers(500), id="500"),
        pytest.param(nacks(400, "NET_OVERLOADED"), id="transient code"),
    ],
)
async def test_what_may_work_later_is_due_again(bench: Bench, reply: Reply) -> None:
    row = await bench.send(reply)
    assert (row.state, row.attempts) == (OutboxState.DUE, 1)
    assert row.next_ms == NOW_MS + 5_000
    assert bench.ended == []


async def test_retry_after_is_honoured_when_it_is_longer(bench: Bench) -> None:
    row = await bench.send(answers(503, b"", retry_after="20"))
    assert row.next_ms == NOW_MS + 20_000
    other = await bench.send(answers(503, b"", retry_after="1"), transaction_id="U", message_id="N")
    assert other.next_ms == NOW_MS + 5_000


@pytest.mark.parametrize(("drawn", "wait_ms"), [(0, 4_000), (20, 5_000), (40, 6_000)])
async def test_waits_are_jittered_by_20_percent(
    make_bench: MakeBench, drawn: int, wait_ms: int
) -> None:
    bench = make_bench(random_below=lambda limit: drawn)
    row = await bench.send(answers(500))
    assert row.next_ms - NOW_MS == wait_ms


async def test_a_callback_is_tried_16_times_over_50_minutes(bench: Bench) -> None:
    row = await bench.send(answers(500), **CALLBACK)
    waits = []
    while row.state is OutboxState.DUE:
        waits.append((row.next_ms - bench.clock.now_ms()) // 1_000)
        bench.clock.advance_ms(row.next_ms - bench.clock.now_ms())
        await bench.outbound.drain_due()
        row = await bench.row(row.id)
    assert waits[:8] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert (row.state, row.attempts) == (OutboxState.DEAD, 16)
    assert row.code == "NET_CALLBACK_FAILED"
    [(_, error, _)] = bench.ended
    assert error is not None
    assert error["code"] == "NET_CALLBACK_FAILED"


async def test_a_request_stops_when_its_life_would_be_over(bench: Bench) -> None:
    row = await bench.send(SendError("time-out"))
    states = []
    while row.state is OutboxState.DUE:
        states.append(row.attempts)
        bench.clock.advance_ms(row.next_ms - bench.clock.now_ms())
        await bench.outbound.drain_due()
        row = await bench.row(row.id)
    # Attempts at 0, 5 and 15 s; the next would be due at 35 s, its life ends at 30 s.
    assert states == [1, 2]
    assert (row.state, row.attempts, row.code) == (OutboxState.DEAD, 3, "NET_ACK_TIMEOUT")
    [(_, error, without)] = bench.ended
    assert error is not None
    assert (error["code"], without) == ("NET_ACK_TIMEOUT", False)


async def test_a_request_that_was_answered_but_never_taken_names_the_peer(bench: Bench) -> None:
    row = await bench.send(nacks(503, "NET_OVERLOADED"), expires_ms=NOW_MS + 1_000)
    [(_, error, _)] = bench.ended
    assert row.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert error is not None
    assert error["details"]["cause"]["code"] == "NET_OVERLOADED"


async def test_a_request_without_a_ttl_stops_after_6_attempts(bench: Bench) -> None:
    row = await bench.send(SendError("time-out"), expires_ms=None)
    while row.state is OutboxState.DUE:
        bench.clock.advance_ms(row.next_ms - bench.clock.now_ms())
        await bench.outbound.drain_due()
        row = await bench.row(row.id)
    assert (row.state, row.attempts) == (OutboxState.DEAD, 6)


async def test_a_row_that_is_late_when_claimed_is_not_sent(bench: Bench) -> None:
    row_id = await bench.add()
    bench.clock.advance(31)
    await bench.outbound.drain_due()
    row = await bench.row(row_id)
    assert (row.state, row.attempts) == (OutboxState.DEAD, 0)
    assert row.code == "NET_DOWNSTREAM_UNAVAILABLE"
    assert bench.sender.sent == []


@pytest.mark.parametrize("kind", [OutboxKind.CALLBACK, OutboxKind.COMPENSATION])
@pytest.mark.parametrize(
    ("code", "state"),
    [
        pytest.param("AUT_SIGNATURE_INVALID", OutboxState.DUE, id="stale key: go on"),
        pytest.param("NET_OVERLOADED", OutboxState.DUE, id="transient: go on"),
        pytest.param("SCH_REQUIRED_FIELD_MISSING", OutboxState.DEAD, id="bytes stay bad"),
        pytest.param("30001", OutboxState.DEAD, id="numeric code"),
    ],
)
async def test_a_refused_callback(
    bench: Bench, kind: OutboxKind, code: str, state: OutboxState
) -> None:
    row = await bench.send(nacks(400, code), **(CALLBACK | {"kind": kind}))
    assert (row.state, row.code) == (state, code)
    assert len(bench.ended) == (state is OutboxState.DEAD)


async def test_a_request_is_refused_for_good_by_an_aut_code(bench: Bench) -> None:
    assert (await bench.send(nacks(401, "AUT_KEY_NOT_FOUND"))).state is OutboxState.REFUSED


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(answers(200), "valid", id="valid"),
        pytest.param(answers(200, signer=None), "missing", id="missing"),
        pytest.param(
            answers(200, signer=Signer(PEER.subscriber_id, "k1", bytes(32))),
            "invalid",
            id="another key",
        ),
        pytest.param(answers(200, signer=ME), "invalid", id="another subscriber"),
        pytest.param(
            lambda sent: Answer(200, {"signature": sent["authorization"]}, ACK),
            "invalid",
            id="our own header sent back",
        ),
        pytest.param(
            lambda sent: Answer(200, {"signature": "nonsense"}, ACK), "invalid", id="nonsense"
        ),
        pytest.param(
            lambda sent: Answer(
                200,
                {
                    "signature": PEER.header(
                        ACK, created_s=NOW_MS // 1_000, expires_s=NOW_MS // 1_000 + 9
                    )
                },
                ACK,
            ),
            "invalid",
            id="three lines, bound to no request",
        ),
    ],
)
async def test_the_answers_signature_is_recorded_and_changes_nothing(
    bench: Bench, reply: Reply, expected: str
) -> None:
    row = await bench.send(reply)
    assert (row.state, row.ack_signature) == (OutboxState.SENT, expected)


async def test_an_answer_counts_only_when_signed_if_that_is_set(make_bench: MakeBench) -> None:
    bench = make_bench(rules=Rules(require_ack_signature=True))
    row = await bench.send(answers(200, signer=None))
    assert (row.state, row.ack_signature) == (OutboxState.DUE, None)
    assert (await bench.send(answers(200), transaction_id="U")).state is OutboxState.SENT


@pytest.mark.parametrize("form", ["plain", "bound", "bound_header"])
async def test_a_callback_is_signed_as_the_peer_wants(make_bench: MakeBench, form: str) -> None:
    bench = make_bench(rules=Rules(callback_signature=form))
    request = PEER.header(b"{}", created_s=1, expires_s=2)
    await bench.send(answers(200), **CALLBACK, request_authorization=request)
    header = bench.sender.sent[0][2]["authorization"]
    reference = {
        "plain": None,
        "bound": signature_value([request]),
        "bound_header": request,
    }[form]
    parsed = parse_header(header)
    assert header == ME.header(
        BODY,
        created_s=parsed.created_s,
        expires_s=parsed.expires_s,
        request_signature=reference,
    )


async def test_an_unsolicited_callback_is_always_plain(make_bench: MakeBench) -> None:
    bench = make_bench(rules=Rules(callback_signature="bound"))
    await bench.send(answers(200), **CALLBACK)
    header = parse_header(bench.sender.sent[0][2]["authorization"])
    assert header.headers == "(created) (expires) digest"


@pytest.mark.parametrize("status", ["UNSUBSCRIBED", "UNDER_SUBSCRIPTION", "EXPIRED"])
async def test_a_peer_with_an_unusable_record_is_not_called(
    make_bench: MakeBench, status: str
) -> None:
    bench = make_bench(status=status)
    row = await bench.send()
    assert (row.state, row.code) == (OutboxState.DEAD, "AUT_KEY_EXPIRED_OR_REVOKED")
    assert bench.sender.sent == []
    assert len(bench.ended) == 1
    # A header beside it would say that it may have been sent.
    assert await bench.store.read(lambda uow: uow.attempts(row.message_id, row.action)) == []


async def test_an_unknown_peer_is_not_called(bench: Bench) -> None:
    row = await bench.send(peer="unknown.example")
    assert (row.state, row.code) == (OutboxState.DEAD, "AUT_SUBSCRIBER_NOT_FOUND")
    assert bench.sender.sent == []


async def test_while_the_registry_is_away_the_row_waits_without_an_attempt(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(registry=FailingRegistry)
    row = await bench.send()
    assert (row.state, row.attempts, row.next_ms) == (OutboxState.DUE, 0, NOW_MS + 5_000)
    assert bench.sender.sent == []


class SlowRegistry(StaticRegistry):
    """A registry that lets one kind of question wait until it is told to answer."""

    slow = "records"
    goes_on: asyncio.Event

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.goes_on = asyncio.Event()

    async def records(self, subscriber_id: str) -> Any:
        if self.slow == "records":
            await self.goes_on.wait()
        return await super().records(subscriber_id)

    async def key(self, subscriber_id: str, key_id: str) -> Any:
        if self.slow == "key":
            await self.goes_on.wait()
        return await super().key(subscriber_id, key_id)


class KeyRegistry(SlowRegistry):
    """A registry that is slow only when it is asked who signed."""

    slow = "key"


def test_an_attempt_is_over_before_its_lease_and_leaves_the_peer_its_time() -> None:
    # 15 s to begin and 10 s for an answer make 25 s; 5 s of 30 are for the turns around it.
    assert outbound_module.START_WITHIN_MS + TOTAL_S * 1_000 <= outbound_module.END_WITHIN_MS
    assert outbound_module.END_WITHIN_MS + 5_000 <= outbound_module.LEASE_MS


async def test_a_slow_registry_ends_the_attempt_and_another_worker_sends_once(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_module, "END_WITHIN_MS", 50)
    bench = make_bench(registry=SlowRegistry)
    async with asyncio.timeout(20):
        row = await bench.send()
    assert (row.state, row.attempts, row.next_ms) == (OutboxState.DUE, 0, NOW_MS + 5_000)
    assert await bench.store.read(lambda uow: uow.attempts("M", "init")) == []
    bench.clock.advance(5)
    slow = bench.outbound._parts.registry
    assert isinstance(slow, SlowRegistry)
    registry = StaticRegistry(slow._file, bench.clock)
    other = Outbound(replace(bench.outbound._parts, registry=registry))
    await other.drain_due()
    slow.goes_on.set()
    await bench.outbound.drain_due()
    assert len(bench.sender.sent) == 1
    assert (await bench.row(row.id)).state is OutboxState.SENT


async def test_what_the_registry_lets_through_too_late_waits_for_another_attempt(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_module, "START_WITHIN_MS", 20)
    bench = make_bench(registry=SlowRegistry)
    slow = bench.outbound._parts.registry
    assert isinstance(slow, SlowRegistry)
    asyncio.get_running_loop().call_later(0.1, slow.goes_on.set)
    row = await bench.send()
    assert (row.state, row.attempts, row.next_ms) == (OutboxState.DUE, 0, NOW_MS + 5_000)
    assert bench.sender.sent == []


async def test_a_message_that_expires_while_the_registry_is_asked_is_not_sent(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(registry=SlowRegistry)
    slow = bench.outbound._parts.registry
    assert isinstance(slow, SlowRegistry)

    def goes_on() -> None:
        bench.clock.advance(10)
        slow.goes_on.set()

    asyncio.get_running_loop().call_later(0.1, goes_on)
    row = await bench.send(expires_ms=NOW_MS + 5_000)
    assert (row.state, row.attempts) == (OutboxState.DEAD, 0)
    assert bench.sender.sent == []


async def test_a_peer_that_answers_after_the_window_has_not_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_module, "END_WITHIN_MS", 50)
    bench.sender.before = asyncio.Event().wait
    async with asyncio.timeout(20):
        row = await bench.send()
    assert (row.state, row.attempts, row.code) == (OutboxState.DUE, 1, "NET_ACK_TIMEOUT")
    assert row.took_us is not None
    assert row.took_us > 0
    assert len(await bench.store.read(lambda uow: uow.attempts("M", "init"))) == 1


async def test_an_answer_counts_although_the_registry_is_too_slow_to_check_it(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound_module, "END_WITHIN_MS", 50)
    bench = make_bench(registry=KeyRegistry)
    async with asyncio.timeout(20):
        row = await bench.send()
    assert (row.state, row.http_status, row.ack_signature) == (OutboxState.SENT, 200, "invalid")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9999/bpp/receiver/init", "http://127.0.0.1:8102/admin/init"]
)
async def test_a_url_that_the_registry_does_not_list_is_not_called(bench: Bench, url: str) -> None:
    row = await bench.send(url=url)
    assert (row.state, row.code) == (OutboxState.DEAD, "CTX_INVALID_FIELD")
    assert bench.sender.sent == []


async def test_a_forbidden_address_is_a_dead_letter_at_once(bench: Bench) -> None:
    row = await bench.send(SendError("the address is not a public one", permanent=True))
    assert (row.state, row.attempts) == (OutboxState.DEAD, 1)


async def test_at_most_eight_messages_are_under_way_to_one_host(bench: Bench) -> None:
    async def wait() -> None:
        await asyncio.sleep(0.001)

    bench.sender.before = wait
    for number in range(40):
        await bench.add(transaction_id=f"T{number}", message_id=f"M{number}")
    await bench.outbound.drain_due()
    assert len(bench.sender.sent) == 40
    assert bench.sender.most == 8


class DeafSender(ScriptedSender):
    """A sender to one host that never answers, and to others that do."""

    def __init__(self) -> None:
        super().__init__([answers(200, signer=OTHER)])
        self.never = asyncio.Event()
        self.to_deaf = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if HOST in url:
            self.to_deaf += 1
            await self.never.wait()
        return await super().post(url, body, headers)


async def test_a_deaf_host_holds_up_nobody_else(make_bench: MakeBench) -> None:
    """Twice as many messages as are sent at once wait for it, and all were there first."""
    bench = make_bench()
    sender = DeafSender()
    outbound = Outbound(replace(bench.outbound._parts, sender=sender))
    for number in range(2 * PARALLEL):
        await bench.add(transaction_id=f"T{number}", next_ms=NOW_MS - 1, expires_ms=None)
    to_other = {"peer": OTHER.subscriber_id, "url": f"{OTHER_URL}/init"}
    others = [await bench.add(transaction_id=f"U{number}", **to_other) for number in range(40)]
    loop = asyncio.create_task(outbound.run())
    try:
        async with asyncio.timeout(20):
            while {(await bench.row(row_id)).state for row_id in others} != {OutboxState.SENT}:
                await asyncio.sleep(0.01)
        assert sender.to_deaf == HOST_LIMIT
        assert len(sender.sent) == 40
    finally:
        await outbound.stop(grace_s=0)
        await loop


async def test_an_open_circuit_leaves_its_messages_unclaimed(bench: Bench) -> None:
    bench.sender.script = [SendError("down")]
    for number in range(OPEN_AFTER):
        await bench.add(transaction_id=f"T{number}", expires_ms=None)
    await bench.outbound.drain_due()
    later = [await bench.add(transaction_id=f"U{number}", expires_ms=None) for number in range(9)]
    bench.sender.script = [answers(200, signer=OTHER)]
    other = await bench.send(peer=OTHER.subscriber_id, url=f"{OTHER_URL}/init")
    assert other.state is OutboxState.SENT
    rows = [await bench.row(row_id) for row_id in later]
    assert {(row.state, row.next_ms) for row in rows} == {(OutboxState.DUE, NOW_MS)}


async def test_what_ends_together_is_written_back_together(bench: Bench) -> None:
    """Five messages take two turns: one claims and signs all, one writes all back."""
    units = 0
    write = bench.store.write

    async def counted(unit: Any, **how: Any) -> Any:
        nonlocal units
        units += 1
        return await write(unit, **how)

    for number in range(5):
        await bench.add(transaction_id=f"T{number}", message_id=f"M{number}")
    bench.store.write = counted  # type: ignore[method-assign]
    barrier = asyncio.Barrier(5)
    bench.sender.before = barrier.wait
    await bench.outbound.drain_due()
    bench.store.write = write  # type: ignore[method-assign]
    assert len(bench.sender.sent) == 5
    assert units <= 3  # the last one finds nothing more to do


@pytest.fixture
async def drain(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A drain that runs, and writes nothing back for its own sake within a test."""
    monkeypatch.setattr(outbound_module, "WRITE_BACK_S", 600)
    monkeypatch.setattr(outbound_module, "POLL_S", 600)
    loop = asyncio.create_task(bench.outbound.run())
    yield bench
    await bench.outbound.stop()
    await loop


async def until(bench: Bench, state: OutboxState, *row_ids: int) -> None:
    async with asyncio.timeout(20):
        while {(await bench.row(row_id)).state for row_id in row_ids} != {state}:
            await asyncio.sleep(0.005)


async def test_what_was_delivered_is_written_back_with_the_next_message(drain: Bench) -> None:
    first = await drain.add()
    drain.outbound.wake()
    async with asyncio.timeout(20):
        while not drain.sender.sent or drain.outbound._running:
            await asyncio.sleep(0.005)
    assert (await drain.row(first)).state is OutboxState.CLAIMED
    await drain.add(transaction_id="T2", message_id="M2")
    drain.outbound.wake()
    await until(drain, OutboxState.SENT, first)


async def test_what_ends_a_request_is_written_back_at_once(drain: Bench) -> None:
    drain.sender.script = [nacks(400, "BIZ_OFFER_NOT_FOUND")]
    row_id = await drain.add()
    drain.outbound.wake()
    await until(drain, OutboxState.REFUSED, row_id)


async def test_messages_that_found_no_slot_follow_at_once(drain: Bench) -> None:
    names = [f"M{number}" for number in range(3 * HOST_LIMIT)]
    for name in names:
        await drain.add(transaction_id=name, message_id=name)
    drain.outbound.wake()
    async with asyncio.timeout(20):
        while len(drain.sender.sent) < len(names):
            await asyncio.sleep(0.005)


async def test_what_was_delivered_is_written_back_soon_anyway(bench: Bench) -> None:
    row_id = await bench.add()
    loop = asyncio.create_task(bench.outbound.run())
    bench.outbound.wake()
    await until(bench, OutboxState.SENT, row_id)
    await bench.outbound.stop()
    await loop


async def test_a_row_that_cannot_be_written_back_holds_up_no_other(bench: Bench) -> None:
    def broken(_uow: UnitOfWork, row: OutboxRow, *_: Any) -> None:
        if row.transaction_id == "T0":
            raise KeyError

    outbound = Outbound(replace(bench.outbound._parts, on_end=broken))
    bench.sender.script = [nacks(400, "BIZ_OFFER_NOT_FOUND")]
    ids = [await bench.add(transaction_id=f"T{number}") for number in range(3)]
    await outbound.drain_due()
    states = [(await bench.row(row_id)).state for row_id in ids]
    assert states == [OutboxState.CLAIMED, OutboxState.REFUSED, OutboxState.REFUSED]


async def test_what_the_store_does_not_take_now_is_written_back_later(bench: Bench) -> None:
    """The message is not sent again for it."""
    write, refusals = bench.store.write, 2

    async def refusing(unit: Any, **how: Any) -> Any:
        nonlocal refusals
        if bench.sender.sent and refusals:
            refusals -= 1
            code = "NET_OVERLOADED"
            raise WireError(code, "too many")
        return await write(unit, **how)

    row_id = await bench.add()
    bench.store.write = refusing  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(WireError):
            await bench.outbound.drain_due()
    await bench.outbound.drain_due()
    assert (await bench.row(row_id)).state is OutboxState.SENT
    assert len(bench.sender.sent) == 1


async def test_messages_of_one_transaction_keep_their_order(bench: Bench) -> None:
    for number in range(5):
        await bench.add(message_id=f"M{number}", body=b"%d" % number)
    await bench.outbound.drain_due()
    assert [body for _, body, _ in bench.sender.sent] == [b"0", b"1", b"2", b"3", b"4"]


async def test_ten_failures_in_a_row_close_a_host_for_30_s(bench: Bench) -> None:
    bench.sender.script = [SendError("down")]

    async def add(number: int) -> int:
        return await bench.add(transaction_id=f"T{number}", expires_ms=None)

    rows = [await add(number) for number in range(10)]
    await bench.outbound.drain_due()
    assert len(bench.sender.sent) == 10

    rows += [await add(number) for number in range(10, 12)]
    await bench.outbound.drain_due()
    assert len(bench.sender.sent) == 10
    assert [(await bench.row(row_id)).attempts for row_id in rows[10:]] == [0, 0]
    bench.clock.advance_ms(29_999)
    await bench.outbound.drain_due()
    assert len(bench.sender.sent) == 10  # the first ten were due after 5 s, they wait too

    bench.clock.advance_ms(1)
    await bench.outbound.drain_due()
    assert len(bench.sender.sent) == 11  # one trial; it fails, the others wait again

    bench.sender.script = [answers(200)]
    bench.clock.advance(60)
    await bench.outbound.drain_due()
    bench.clock.advance(60)
    await bench.outbound.drain_due()
    assert {(await bench.row(row_id)).state for row_id in rows} == {OutboxState.SENT}


async def test_the_loop_sends_what_a_commit_wakes_it_for_and_stops(bench: Bench) -> None:
    sent = asyncio.Event()

    async def tell() -> None:
        sent.set()

    bench.sender.before = tell
    loop = asyncio.create_task(bench.outbound.run())
    await asyncio.sleep(0)
    row_id = await bench.add()
    bench.outbound.wake()
    await asyncio.wait_for(sent.wait(), 5)
    await bench.outbound.stop()
    await loop
    assert (await bench.row(row_id)).state is OutboxState.SENT


async def test_a_stop_leaves_what_is_not_answered_in_the_outbox(bench: Bench) -> None:
    never = asyncio.Event()
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await never.wait()

    bench.sender.before = hang
    row_id = await bench.add()
    loop = asyncio.create_task(bench.outbound.run())
    await asyncio.wait_for(started.wait(), 5)
    await bench.outbound.stop(grace_s=0)
    await loop
    assert (await bench.row(row_id)).state is OutboxState.CLAIMED
    bench.clock.advance(30)
    claimed = await bench.store.write(
        lambda uow: [row.id for row in uow.claim_outbox(bench.clock.now_ms(), 1, 5)]
    )
    assert claimed == [row_id]  # its lease has ended


async def test_a_fault_in_the_hook_undoes_the_mark(make_bench: MakeBench) -> None:
    bench = make_bench()

    def broken(*_: Any) -> None:
        raise KeyError

    parts = replace(bench.outbound._parts, on_end=broken)
    outbound = Outbound(parts)
    bench.sender.script = [nacks(400, "BIZ_OFFER_NOT_FOUND")]
    row_id = await bench.add()
    await outbound.drain_due()
    assert (await bench.row(row_id)).state is OutboxState.CLAIMED


async def test_s19_logs_name_ids_and_codes_but_no_body_and_no_header(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await bench.send(nacks(400, "BIZ_OFFER_NOT_FOUND"), body=b'{"meter":"meter-4711"}')
    written = " ".join(str(vars(record)) for record in caplog.records)
    [record] = [one for one in caplog.records if one.message == "outbox row is REFUSED"]
    assert (vars(record)["transaction_id"], vars(record)["code"]) == ("T", "BIZ_OFFER_NOT_FOUND")
    assert "meter-4711" not in written
    assert bench.sender.sent[0][2]["authorization"] not in written
    assert "text of BIZ_OFFER_NOT_FOUND" not in written
