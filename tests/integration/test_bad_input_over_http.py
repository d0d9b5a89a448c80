"""Bad messages over real HTTP to real processes: the documented refusal, signed, and no change.

Every case compares all rows of all nodes before and after. Cases that only the elapsed second
decides are left to the unit tests of the signature. Source: protocol specification, section 17.
"""

import base64
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.instants import format_instant
from adapter.protocol import strict_json
from tests.fakes.live import (
    BAD_KEYS,
    MALLORY,
    OTHER,
    SELLER_2,
    SOON,
    STORED_REFUSAL,
    STRICT,
    Household,
    Live,
    Message,
    Peer,
    Reply,
    parameters,
)
from tests.fakes.live_orders import Terms, contract_of, reference, role_inputs, select_for
from tests.security.test_s1_callback_urls import HOSTILE_URLS
from tests.security.test_s9_hostile_json import HOSTILE

pytestmark = pytest.mark.timeout(120)

INIT, SELECT = "/bpp/receiver/init", "/bpp/receiver/select"
MAX_BODY = 256 * 1_024
FOUR = "(created) (expires) digest request-signature"


@pytest.fixture(scope="module")
def slow(live: Live) -> Iterator[socket.socket]:
    """A callback whose body never comes to its end; it has 15 s while other tests run."""
    host, port = live.node("bap").base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /bap/receiver/on_init HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b"{")
        yield connection


@pytest.fixture
def other(live: Live) -> Peer:
    return live.peer(OTHER)


@pytest.fixture(scope="module")
def house(live: Live) -> Household:
    """A buyer for messages that never get as far as the grid operator."""
    return live.household(cap="1000")


@pytest.fixture(scope="module")
def terms(live: Live) -> Terms:
    """An offer for the same."""
    return live.offer()


def check_nack(live: Live, reply: Reply, message_id: str | None, *, name: str = "bpp") -> None:
    """Demand the shape of a refusal, and its signature when the request had one."""
    expected = {"status", "error"} | ({"messageId"} if message_id is not None else set())
    assert reply.message.keys() == expected, reply.message
    assert reply.message["status"] == "NACK"
    assert reply.message.get("messageId") == message_id
    assert reply.error.keys() <= {"code", "message", "details"}
    assert reply.error["message"]
    assert "Traceback" not in reply.raw.decode()
    assert reply.headers["content-type"] == "application/json"
    if reply.status == 401:
        realm = live.node(name).subscriber_id
        challenge = f'Signature realm="{realm}",headers="(created) (expires) digest"'
        assert reply.headers["www-authenticate"] == challenge
    if reply.request_signature is not None:
        assert live.is_signed(reply, name)


# Signatures

Forge = Callable[[Peer, bytes], list[str]]
"""Makes the Authorization headers for a body."""


def forged(before: str, after: str, count: int = 1) -> Forge:
    def forge(peer: Peer, raw: bytes) -> list[str]:
        good = peer.sign(raw)
        assert before in good
        return [good.replace(before, after, count)]

    return forge


def without(name: str) -> Forge:
    def forge(peer: Peer, raw: bytes) -> list[str]:
        kept = [f'{key}="{value}"' for key, value in parameters(peer.sign(raw)).items()]
        return ["Signature " + ",".join(one for one in kept if not one.startswith(f"{name}="))]

    return forge


def with_signature(change: Callable[[str], str]) -> Forge:
    def forge(peer: Peer, raw: bytes) -> list[str]:
        good = peer.sign(raw)
        value = parameters(good)["signature"]
        return [good.replace(value, change(value))]

    return forge


def timed(*, created: int = 0, lifetime: int = 300) -> Forge:
    return lambda peer, raw: [
        peer.sign(raw, created=peer.live.now_s() + created, lifetime=lifetime)
    ]


def key(key_id: str) -> Forge:
    return lambda peer, raw: [peer.sign(raw, key_id=key_id)]


def url_alphabet(value: str) -> str:
    """Return the same 64 bytes in the other alphabet; `=` alone tells when there is no sign."""
    changed = value.replace("+", "-").replace("/", "_")
    return changed if changed != value else value.rstrip("=")


def under_zero_key(peer: Peer, raw: bytes) -> list[str]:
    """R = identity, s = 0 holds for any message under the all-zero key."""
    value = base64.b64encode(b"\x01" + bytes(63)).decode()
    return [peer.sign(raw).replace(parameters(peer.sign(raw))["signature"], value)]


MISSING, INVALID = "AUT_SIGNATURE_MISSING", "AUT_SIGNATURE_INVALID"
FORGERIES: dict[str, tuple[Forge, str]] = {
    "no header": (lambda peer, raw: [], MISSING),
    "an empty header": (lambda peer, raw: [""], MISSING),
    "an empty signature": (with_signature(lambda value: ""), MISSING),
    "without signature": (without("signature"), MISSING),
    "two headers": (lambda peer, raw: [peer.sign(raw)] * 2, INVALID),
    "two different headers": (lambda peer, raw: [peer.sign(raw), "Bearer x"], INVALID),
    "two headers joined": (lambda peer, raw: [f"{peer.sign(raw)}, {peer.sign(raw)}"], INVALID),
    "no scheme": (forged("Signature ", ""), INVALID),
    "another scheme": (forged("Signature ", "Bearer "), INVALID),
    "scheme alone": (lambda peer, raw: ["Signature"], INVALID),
    "without keyId": (without("keyId"), INVALID),
    "without algorithm": (without("algorithm"), INVALID),
    "without created": (without("created"), INVALID),
    "without expires": (without("expires"), INVALID),
    "without headers": (without("headers"), INVALID),
    "created twice": (lambda peer, raw: [peer.sign(raw) + ',created="1"'], INVALID),
    "signature twice": (lambda peer, raw: [peer.sign(raw) + ',signature="AAAA"'], INVALID),
    "keyId of 1 part": (forged(f"{OTHER}|k1|ed25519", OTHER), INVALID),
    "keyId of 2 parts": (forged("|ed25519", ""), INVALID),
    "keyId of 4 parts": (forged("|ed25519", "|x|ed25519"), INVALID),
    "keyId with another algorithm": (forged("|ed25519", "|rsa"), INVALID),
    "algorithm rsa": (forged('"ed25519"', '"rsa"'), INVALID),
    "algorithm hs2019": (forged('"ed25519"', '"hs2019"'), INVALID),
    "headers shorter": (forged(" digest", ""), INVALID),
    "headers reordered": (forged("(created) (expires)", "(expires) (created)"), INVALID),
    "four fields on a request": (forged("(created) (expires) digest", FOUR), INVALID),
    "created in the future": (timed(created=60), INVALID),
    "expired": (timed(created=-301), INVALID),
    "created is expires": (timed(lifetime=0), INVALID),
    "expires before created": (timed(created=4, lifetime=-2), INVALID),
    "lives 3601 s": (timed(lifetime=3_601), INVALID),
    "lives ten years": (timed(lifetime=315_360_000), INVALID),
    "URL alphabet": (with_signature(url_alphabet), INVALID),
    "63 bytes": (
        with_signature(lambda value: base64.b64encode(base64.b64decode(value)[:63]).decode()),
        INVALID,
    ),
    "another signature": (
        with_signature(lambda value: base64.b64encode(bytes(64)).decode()),
        INVALID,
    ),
    "a body byte changed": (
        lambda peer, raw: [peer.sign(raw.replace(b"PT30S", b"PT31S"))],
        INVALID,
    ),
    "re-serialised body": (lambda peer, raw: [peer.sign(raw.replace(b'":', b'": '))], INVALID),
    "newline behind the body": (lambda peer, raw: [peer.sign(raw + b"\n")], INVALID),
    "key of another": (
        lambda peer, raw: [peer.live.peer(MALLORY).sign(raw).replace(MALLORY, OTHER)],
        INVALID,
    ),
    "all-zero key": (under_zero_key, INVALID),
    "over 2048 bytes": (lambda peer, raw: [peer.sign(raw) + ',x="' + "y" * 2_048 + '"'], INVALID),
    "another participant": (
        lambda peer, raw: [peer.live.peer(MALLORY).sign(raw)],
        "AUT_UNAUTHORIZED_ACTION",
    ),
    "unknown subscriber": (forged(OTHER, "nobody.example"), "AUT_SUBSCRIBER_NOT_FOUND"),
    "unknown key": (forged("|k1|", "|k99|"), "AUT_SUBSCRIBER_NOT_FOUND"),
    **{f"{one} key": (key(one), "AUT_KEY_EXPIRED_OR_REVOKED") for one in BAD_KEYS},
}


def test_a_message_whose_signature_is_not_good_changes_nothing(
    live: Live, other: Peer, house: Household, terms: Terms, slow: socket.socket
) -> None:
    del slow  # begins to wait
    body = other.init(terms, house)
    raw = strict_json.encode(body)
    wrong = {}
    with live.unchanged():
        for name, (forge, code) in FORGERIES.items():
            reply = other.post(body, authorization=forge(other, raw))
            if reply.request_signature is not None and "scheme" in name:
                reply = replace(reply, request_signature=None)  # not readable without a scheme
            if "twice" in name or "joined" in name or name.startswith(("without", "over")):
                reply = replace(reply, request_signature=None)  # readable or not is left open
            check_nack(live, reply, body["context"]["message_id"])
            if reply.brief != (401, code):
                wrong[name] = reply.brief
    assert wrong == {}
    assert other.callbacks(body) == 0
    assert "error" not in other.accepted(body).body  # the message itself was good


def test_a_key_that_ends_before_its_signature_is_refused(
    live: Live, other: Peer, house: Household
) -> None:
    body = other.init(live.offer(), house)
    raw = strict_json.encode(body)
    with live.unchanged():
        late = other.post(body, authorization=[other.sign(raw, key_id=SOON, lifetime=3_600)])
    assert late.brief == (401, "AUT_KEY_EXPIRED_OR_REVOKED")
    assert other.post(body, authorization=[other.sign(raw, key_id=SOON)]).status == 200


def test_a_node_with_the_registry_file_tells_an_unknown_key(live: Live, other: Peer) -> None:
    body = other.request("init", {"order": {}}, to="grid_operator")
    good = other.sign(strict_json.encode(body))
    with live.unchanged():
        replies = [
            other.post(body, to="grid_operator", authorization=[good.replace(old, new)])
            for old, new in (("|k1|", "|k99|"), (OTHER, "nobody.example"))
        ]
        for reply in replies:
            check_nack(live, reply, body["context"]["message_id"], name="grid_operator")
    assert [reply.code for reply in replies] == ["AUT_KEY_NOT_FOUND", "AUT_SUBSCRIBER_NOT_FOUND"]


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(timed(created=4), id="created within the allowed skew"),
        pytest.param(timed(created=-3_000, lifetime=3_600), id="an hour of life"),
        pytest.param(
            lambda peer, raw: [
                peer.sign(raw).replace("algorithm", 'request-signature="AAAA",algorithm')
            ],
            id="a request-signature before the signature",
        ),
        pytest.param(forged("Signature ", "SIGNATURE  "), id="scheme in capitals"),
        pytest.param(forged(",", " , ", 9), id="blanks around the commas"),
    ],
)
def test_an_odd_but_good_signature_is_accepted(
    live: Live, other: Peer, house: Household, forge: Forge
) -> None:
    body = other.init(live.offer(), house)
    reply = other.post(body, authorization=forge(other, strict_json.encode(body)))
    assert reply.status == 200, reply.raw
    assert live.is_signed(reply, "bpp")


def test_a_gateway_signature_is_judged_too(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    body = other.init(terms, house)
    raw = strict_json.encode(body)
    bad = other.sign(raw + b" ")
    with live.unchanged():
        reply = other.post(body, headers={"X-Gateway-Authorization": bad})
    assert reply.brief == (401, INVALID)
    assert "proxy-authenticate" in reply.headers
    body = other.init(live.offer(), house)
    good = live.peer(MALLORY).sign(strict_json.encode(body))
    assert other.post(body, headers={"X-Gateway-Authorization": good}).status == 200


# HTTP


def test_http_that_is_no_message_is_refused_and_signed(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    body = other.init(terms, house)
    raw = strict_json.encode(body)
    padded = raw + b" " * (MAX_BODY + 1 - len(raw))
    cases: list[tuple[str, bytes, dict[str, str], tuple[int, str]]] = [
        (INIT, padded, {}, (413, "SCH_INVALID_FORMAT")),
        (INIT, raw, {"Content-Type": "text/plain"}, (415, "SCH_INVALID_FORMAT")),
        (INIT, raw, {"Content-Type": "application/jsonx"}, (415, "SCH_INVALID_FORMAT")),
        (INIT, raw, {"Content-Encoding": "gzip"}, (415, "SCH_INVALID_FORMAT")),
        (INIT, raw, {"X-Long": "x" * 16_384}, (431, "SCH_INVALID_FORMAT")),
        ("/bpp/receiver/on_init", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bpp/receiver/nothing", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bpp/receiver/", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bpp/receiver/init/", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bpp/receiver//init", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bpp/receiver/INIT", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bpp/receiver/init%0a", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bap/receiver/init", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        ("/bap/receiver/on_discover/x", raw, {}, (404, "NET_NOT_IMPLEMENTED")),
        *(
            (f"/bpp/receiver/{action}", raw, {}, (501, "NET_NOT_IMPLEMENTED"))
            for action in ("update", "track", "rate", "support", "catalog/push")
        ),
    ]
    with live.unchanged():
        for path, content, headers, brief in cases:
            reply = other.post(content, at=path, headers=headers)
            assert reply.brief == brief, (path, headers)
            if brief[0] == 431:  # the head is not read, so its signature is not
                reply = replace(reply, request_signature=None)
            check_nack(live, reply, None)


def test_a_body_of_256_kib_is_read(live: Live, other: Peer, house: Household) -> None:
    raw = strict_json.encode(other.init(live.offer(), house))
    padded = raw + b" " * (MAX_BODY - len(raw))
    assert other.post(padded, at=INIT).status == 200


def test_a_body_in_chunks_has_the_same_bound(live: Live, other: Peer) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b" " * 1_024

    with live.unchanged():
        answer = live.http.post(live.url("bpp", INIT), content=chunks(300))
    assert answer.status_code == 413


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_receiver_takes_post_alone(live: Live, method: str) -> None:
    for path in (INIT, "/bpp/receiver/nothing", "/bap/receiver/on_init"):
        answer = live.http.request(method, live.url("bpp", path))
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_bytes_that_are_no_http_get_no_server_error(live: Live) -> None:
    host, port = live.node("bpp").base_url.removeprefix("http://").split(":")
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        b"POST /bpp/receiver/init\r\n\r\n",
        b"POST /bpp/receiver/init HTTP/9.9\r\n\r\n",
        b"POST /bpp/receiver/init HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /bpp/receiver/init HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /bpp/receiver/init HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\n\r\n\r\n\r\nGET\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(64)
        assert b" 5" not in answer[:14], garbage
    assert live.get("bpp", "/health/live").status_code == 200


# JSON


def test_s9_a_hostile_body_is_refused_as_json_once_its_signature_holds(
    live: Live, other: Peer
) -> None:
    with live.unchanged():
        for name, raw in HOSTILE.items():
            too_long = (413, "SCH_INVALID_FORMAT") if len(raw) > MAX_BODY else None
            unsigned = other.post(raw, at=INIT, authorization=[])
            assert unsigned.brief == (too_long or (401, MISSING)), name
            signed = other.post(raw, at=INIT)
            assert signed.brief == (too_long or (400, "SCH_INVALID_JSON")), name
            check_nack(live, signed, None)


def test_s9_json_that_is_no_message_is_refused(live: Live, other: Peer) -> None:
    with live.unchanged():
        for raw in (
            *(
                b"[]",
                b"null",
                b"1",
                b'"x"',
                b"{}",
                b'{"context":{}}',
                b'{"context":[],"message":{}}',
            ),
            *(b'{"message":{}}', b'{"context":{},"message":[]}', b'{"context":null,"message":{}}'),
        ):
            assert other.post(raw, at=INIT, authorization=[]).brief == (401, MISSING), raw
            assert other.post(raw, at=INIT).brief == (400, "SCH_SCHEMA_VALIDATION_FAILED"), raw


def test_s9_no_endpoint_fails_on_a_hostile_body(live: Live) -> None:
    paths = {
        "bap": [
            *("/bap/receiver/on_init", "/bap/receiver/on_status", "/bap/caller/discover"),
            *("/bap/caller/init", "/trades", "/lookup"),
        ],
        "bpp": [
            *("/bpp/receiver/discover", "/bpp/receiver/confirm", "/bap/receiver/on_confirm"),
            *("/bpp/caller/on_status", "/offers"),
        ],
        "grid_operator": [
            *("/bpp/receiver/init", "/contracts/token/deposit", "/contracts/oracle/submit_reading"),
            *("/contracts/registry/initialize", "/contracts/x/y", "/bpp/caller/on_update"),
        ],
        "registry": ["/lookup", "/registry/lookup", "/nothing"],
    }
    failed = []
    with live.unchanged():
        for name, listed in paths.items():
            token = live.own(name)
            if name == "grid_operator":
                token = live.operator("treasury.example")
            headers = token | {"Content-Type": "application/json", "Idempotency-Key": "hostile"}
            for path in listed:
                for case, raw in HOSTILE.items():
                    answer = live.http.post(live.url(name, path), content=raw, headers=headers)
                    if not 400 <= answer.status_code < 500 or len(answer.content) > 1_000:
                        failed.append((name, path, case, answer.status_code))
    assert failed == []


ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, Decimal("0.0000001"), 10**30, Decimal("1e30"), "", " ", "x" * 5_000),
    *("\x00", "\u202e\U0001f600", "2026-13-45T99:99:99Z", "${jndi:ldap://x}", "' OR 1=1 --"),
    *([], {}, [[]], [None], {"": {}}, {"beckn:id": 5}, ["a"] * 2_000),
)
"""Values for a place where another kind was expected."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every member and element."""
    if isinstance(value, dict):
        pairs: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return
    for name, inner in pairs:
        yield (*path, name)
        yield from places(inner, (*path, name))


def with_odd(body: Message, path: tuple[Any, ...], odd: Any) -> Message:
    """Return a copy with another value at one place."""
    changed: Message = strict_json.decode_object(strict_json.encode(body))
    inner: Any = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = odd
    return changed


def test_s9_no_odd_value_at_any_place_of_a_message_is_a_fault_of_the_node(
    live: Live, other: Peer, house: Household
) -> None:
    """Every place of a discover with every odd value, of a select with a third, of an init 3."""
    terms = live.offer(available_kwh="1000")
    select = other.request("select", {"order": select_for(terms, 2)})
    init = other.init(terms, house)
    cases = [(select, place, odd) for place in places(select) for odd in ODD]
    cases += [(init, place, ODD[number % len(ODD)]) for number, place in enumerate(places(init))]

    def sent(case: tuple[Message, tuple[Any, ...], Any]) -> tuple[str, Any, int] | None:
        body, place, odd = case
        changed = with_odd(body, place, odd)
        if place[0] != "context":
            ids = {"message_id": live.new_id("odd"), "transaction_id": live.new_id("odd")}
            changed["context"] |= ids
        reply = other.post(
            strict_json.encode(changed), at=f"/bpp/receiver/{body['context']['action']}"
        )
        return (str(place), odd, reply.status) if reply.status >= 500 else None

    with ThreadPoolExecutor(8) as pool:
        failed = [one for one in pool.map(sent, cases) if one is not None]
    assert failed == []
    live.settle()


# Context

CONTEXT: dict[str, tuple[Message, str, str]] = {
    **{
        f"{name} is missing": ({name: None}, "CTX_MISSING_FIELD", name)
        for name in (
            *("version", "action", "transaction_id", "message_id", "bap_id", "bpp_id", "bpp_uri"),
            "timestamp",
        )
    },
    "bap_uri is missing": ({"bap_uri": None}, "CTX_CALLBACK_URL_MISSING", "bap_uri"),
    "version 2.0.1": ({"version": "2.0.1"}, "CTX_VERSION_UNSUPPORTED", "version"),
    "version 1.1.0": ({"version": "1.1.0"}, "CTX_VERSION_UNSUPPORTED", "version"),
    "another action": ({"action": "confirm"}, "CTX_ACTION_MISMATCH", "action"),
    "callback action": ({"action": "on_init"}, "CTX_ACTION_MISMATCH", "action"),
    "number as message id": ({"message_id": 5}, "CTX_INVALID_FIELD", "message_id"),
    "129 characters": ({"message_id": "m" * 129}, "CTX_INVALID_FIELD", "message_id"),
    "blank in an id": ({"transaction_id": "a b"}, "CTX_INVALID_FIELD", "transaction_id"),
    "newline in an id": ({"transaction_id": "a\nb"}, "CTX_INVALID_FIELD", "transaction_id"),
    "id beyond ASCII": ({"transaction_id": "é"}, "CTX_INVALID_FIELD", "transaction_id"),
    "another node": ({"bpp_id": "grid.operator.example"}, "CTX_INVALID_FIELD", "bpp_id"),
    "relative bpp_uri": ({"bpp_uri": "/bpp/receiver"}, "CTX_INVALID_BPP_URI", "bpp_uri"),
    "ftp bpp_uri": ({"bpp_uri": "ftp://a/b"}, "CTX_INVALID_BPP_URI", "bpp_uri"),
    "time without offset": (
        {"timestamp": "2026-03-02T08:00:00"},
        "CTX_INVALID_FIELD",
        "timestamp",
    ),
    "time in the future": ({"timestamp": "2099-01-01T00:00:00Z"}, "CTX_INVALID_FIELD", "timestamp"),
    "time in words": ({"timestamp": "now"}, "CTX_INVALID_FIELD", "timestamp"),
    "ttl 30": ({"ttl": "30"}, "CTX_INVALID_FIELD", "ttl"),
    "ttl as number": ({"ttl": 30}, "CTX_INVALID_FIELD", "ttl"),
    "ttl of nothing": ({"ttl": "PT0S"}, "CTX_INVALID_FIELD", "ttl"),
    "negative ttl": ({"ttl": "-PT5S"}, "CTX_INVALID_FIELD", "ttl"),
    "ttl is over": (
        {"timestamp": "2026-03-02T08:00:00Z", "ttl": "PT30S"},
        "CTX_TTL_EXPIRED",
        "ttl",
    ),
    "less than 4 s are left": ({"ttl": "PT2S"}, "CTX_TTL_EXPIRED", "ttl"),
    **{
        f"{other} beside {name}": ({other: "x"}, "CTX_INVALID_FIELD", other)
        for name, other in (
            *(("transaction_id", "transactionId"), ("message_id", "messageId")),
            *(("bap_id", "bapId"), ("bap_uri", "bapUri")),
            *(("bpp_id", "bppId"), ("bpp_uri", "bppUri")),
        )
    },
}


def test_a_context_that_breaks_a_rule_is_refused_with_its_code_and_path(
    live: Live, other: Peer, house: Household
) -> None:
    terms = live.offer()
    wrong = {}
    with live.unchanged(STORED_REFUSAL):  # BIZ-like refusals of a unit of work are remembered
        for name, (changes, code, field) in CONTEXT.items():
            reply = other.post(other.init(terms, house, **changes), at=INIT)
            found = reply.status, reply.code, reply.error["details"].get("path")
            if found != (400, code, f"$.context.{field}"):
                wrong[name] = found
            replies_to = reply.message.get("messageId")
            check_nack(live, reply, replies_to)
    assert wrong == {}


def test_ids_of_128_visible_characters_and_unknown_keys_are_accepted(
    live: Live, other: Peer
) -> None:
    odd = "!\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~"
    context = {"message_id": odd.ljust(128, "m"), "transaction_id": odd.ljust(128, "t")}
    found = other.ask("discover", {"intent": {}}, **context, try_=True, location={"x": [1]})
    assert found["context"]["message_id"] == context["message_id"]


def test_a_message_without_ttl_and_one_to_no_bpp_are_accepted(live: Live, other: Peer) -> None:
    found = other.ask("discover", {"intent": {}}, ttl=None, bpp_id=None, bpp_uri=None)
    assert found["message"]["catalogs"]


# Addresses


def test_s1_a_callback_url_that_is_not_the_listed_one_opens_no_socket(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    listed = other.uri
    origin = live.mailbox.url
    wrong = [
        *HOSTILE_URLS,
        origin,
        f"{origin}/{OTHER}/bap",
        f"{origin}/{OTHER}/bap/receiver2",
        f"{origin}/{MALLORY}/bap/receiver",
        listed.replace("127.0.0.1", "localhost"),
        listed.replace("127.0.0.1", "0.0.0.0"),
        listed.replace("127.0.0.1", "127.1"),
        listed.replace("http:", "https:"),
        live.url("grid_operator", "/bap/receiver"),
        live.url("registry", "/"),
        f"{listed}?x=1",
        f"{listed}#x",
        f"{listed}/../x",
        listed.replace("//", "//user:secret@"),
        5,
        ["http://a"],
    ]
    before = live.mailbox.count(lambda one: True)
    with live.unchanged():
        for url in wrong:
            reply = other.post(other.init(terms, house, bap_uri=url), at=INIT)
            code = "CTX_CALLBACK_URL_MISSING" if url == "" else "CTX_INVALID_FIELD"
            assert reply.brief == (400, code), url
            assert reply.error["details"]["path"] == "$.context.bap_uri"
    assert live.mailbox.count(lambda one: True) == before


def test_a_callback_url_below_the_listed_one_is_called(live: Live, other: Peer) -> None:
    body = other.request("discover", {"intent": {}}, bap_uri=f"{other.uri}/deeper/")
    assert other.post(body).status == 200
    path = f"/{OTHER}/bap/receiver/deeper/on_discover"
    live.mailbox.first(lambda one: one.path == path, "no callback")


def test_s5_a_message_is_good_for_one_path_of_one_node(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    body = other.init(terms, house)
    with live.unchanged():
        assert other.post(body, at="/bpp/receiver/confirm").code == "CTX_ACTION_MISMATCH"
        elsewhere = other.post(body, to="grid_operator")
        check_nack(live, elsewhere, body["context"]["message_id"], name="grid_operator")
        assert elsewhere.brief == (400, "CTX_INVALID_FIELD")
        assert other.post(body, to="bap").status == 404


def test_a_transaction_belongs_to_who_opened_it(live: Live, other: Peer, house: Household) -> None:
    opened = other.init(live.offer(), house)
    on_init = other.accepted(opened).body
    mallory = live.peer(MALLORY)
    order = on_init["message"]["order"]
    with live.unchanged():
        for action, message in (
            ("confirm", order),
            ("status", reference(order)),
            ("cancel", reference(order)),
            ("init", order),
        ):
            reply = mallory.post(mallory.follow(opened, action, message))
            assert reply.brief == (401, "AUT_UNAUTHORIZED_ACTION"), action


# Schema and rules


def test_all_errors_of_the_schema_are_listed(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    body = other.init(terms, house)
    contract = contract_of(body["message"]["order"])
    del contract["contractId"]
    contract["status"] = "NEVER"
    contract["createdAt"] = "yesterday"
    body["message"]["order"]["beckn:items"][0]["quantity"]["count"] = "two"
    with live.unchanged():
        reply = other.post(body)
    check_nack(live, reply, body["context"]["message_id"])
    listed = reply.error["details"]["errors"]
    assert reply.status == 400
    assert {one["code"] for one in listed} >= {
        *("SCH_REQUIRED_FIELD_MISSING", "SCH_INVALID_ENUM", "SCH_INVALID_FORMAT"),
        "SCH_TYPE_NOT_SUPPORTED",
    }
    first = listed[0]
    assert (reply.code, reply.error["details"]["path"]) == (first["code"], first["path"])
    assert all(one.keys() >= {"code", "path", "message"} for one in listed)
    assert all(one["path"].startswith("$.message.order") for one in listed)


FILTERS = ("$[?(", "@.a", "1 ==", "@.a == 1 &&", "(" * 100, "@.a~=1", "@.a == 1 @.b == 2")
"""What no filter is."""


def test_a_filter_that_cannot_be_read_leaves_no_row(live: Live, other: Peer) -> None:
    with live.unchanged():
        for expression in FILTERS:
            filters = {"type": "jsonpath", "expression": expression}
            for message in ({"filters": filters}, {"intent": {"filters": filters}}):
                body = other.request("discover", message)
                reply = other.post(body)
                assert reply.brief == (400, "SCH_INVALID_JSONPATH"), expression
                check_nack(live, reply, body["context"]["message_id"])


Change = Callable[[Message], None]
"""Changes an order."""


def inputs(role: str, **values: Any) -> Change:
    return lambda order: role_inputs(contract_of(order), role).update(values)


def part(name: str, **values: Any) -> Change:
    return lambda order: order[name][0].update(values)


def provider(order: Message) -> None:
    order["beckn:provider"]["beckn:id"] = "provider-nobody"


def quantity(kwh: Any) -> Change:
    def change(order: Message) -> None:
        order["beckn:items"][0]["quantity"]["count"] = kwh
        role_inputs(contract_of(order), "BUYER")["contractedQuantity"] = kwh

    return change


def formula(order: Message) -> None:
    flows = contract_of(order)["revenueFlows"]["flows"]
    flows[0]["formula"] = "roles.BUYER.roleInputs.contractedQuantity × 0.000001"


def grid_inputs(order: Message) -> None:
    given = {
        "wheelingCharges": 0,
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 1_000,
        "seller_trade_cap": 1_000,
    }
    contract_of(order)["roles"].append(
        {
            "role": "GRID_OPERATOR",
            "filledBy": "grid.operator.example",
            "filled": True,
            "roleInputs": given,
        }
    )


def seller_is(name: str) -> Change:
    def change(order: Message) -> None:
        next(r for r in contract_of(order)["roles"] if r["role"] == "SELLER")["filledBy"] = name

    return change


TERMS: dict[str, tuple[Change, tuple[tuple[int, str], ...]]] = {
    "lower price": (
        inputs("SELLER", pricePerKWh=Decimal("0.149999")),
        ((400, "BIZ_PRICE_MISMATCH"),),
    ),
    "other currency": (inputs("SELLER", currency="INR"), ((400, "BIZ_PRICE_MISMATCH"),)),
    "other source meter": (
        inputs("SELLER", sourceMeterId="meter-home-3"),
        ((409, "BIZ_UPDATE_INCONSISTENT"),),
    ),
    "other source": (inputs("SELLER", sourceType="WIND"), ((409, "BIZ_UPDATE_INCONSISTENT"),)),
    "other formula": (formula, ((409, "BIZ_UPDATE_INCONSISTENT"),)),
    "operator's terms": (grid_inputs, ((409, "BIZ_UPDATE_INCONSISTENT"),)),
    "other seller": (seller_is(MALLORY), ((409, "BIZ_UPDATE_INCONSISTENT"),)),
    "no such offer": (part("beckn:offers", **{"beckn:id": "x"}), ((400, "BIZ_OFFER_NOT_FOUND"),)),
    "no such item": (part("beckn:items", **{"beckn:id": "x"}), ((400, "BIZ_ITEM_NOT_FOUND"),)),
    "no such provider": (provider, ((400, "BIZ_PROVIDER_NOT_FOUND"),)),
    "over stock": (quantity(Decimal("12.000001")), ((400, "BIZ_QUANTITY_UNAVAILABLE"),)),
    "7 decimals": (quantity(Decimal("1.0000001")), ((400, "SCH_ATTRIBUTE_PACK_INVALID"),)),
    "one quantity alone": (
        inputs("BUYER", contractedQuantity=3),
        ((400, "BIZ_QUANTITY_UNAVAILABLE"),),
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_terms_that_are_not_the_offers_are_refused(
    live: Live, other: Peer, house: Household, terms: Terms, name: str
) -> None:
    change, allowed = TERMS[name]
    body = other.init(terms, house)
    change(body["message"]["order"])
    with live.unchanged(STORED_REFUSAL):
        reply = other.post(body)
        assert reply.brief in allowed
        check_nack(live, reply, body["context"]["message_id"])
        assert reply.error["details"]["path"].startswith("$")
        assert other.post(body).raw == reply.raw
    assert other.callbacks(body) == 0


def test_no_zero_and_no_negative_quantity_is_taken(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    with live.unchanged(STORED_REFUSAL):
        for kwh in (0, -1, Decimal("-0.000001"), 10**30, Decimal("1e-7"), "2", True, None):
            reply = other.post(other.init(terms, house, kwh))
            assert 400 <= reply.status < 500, kwh
            assert reply.code.startswith(("SCH_", "BIZ_QUANTITY_UNAVAILABLE")), kwh


# Idempotency


def test_s3_the_same_bytes_100_times_at_once_have_one_effect(
    live: Live, other: Peer, house: Household
) -> None:
    terms = live.offer()
    body = other.init(terms, house)
    raw = strict_json.encode(body)
    authorization = [other.sign(raw)]
    with ThreadPoolExecutor(20) as pool:
        replies = list(
            pool.map(lambda _: other.post(raw, at=INIT, authorization=authorization), range(100))
        )
    assert {(reply.status, reply.raw) for reply in replies} == {(200, replies[0].raw)}
    assert all(live.is_signed(reply, "bpp") for reply in replies)
    other.callback(body)
    live.settle()
    message_id, transaction_id = (body["context"][k] for k in ("message_id", "transaction_id"))
    assert live.rows("bpp", "SELECT count(*) FROM inbox WHERE message_id = ?", message_id) == [(1,)]
    assert live.stock(terms.offer_id) == "10"
    assert other.callbacks(body) == 1
    children = live.rows(
        "bpp",
        "SELECT count(*) FROM outbox WHERE action = 'init' AND transaction_id IN"
        " (SELECT w.transaction_id FROM trade t JOIN wire_transaction w ON w.number = t.leg_number"
        " WHERE t.transaction_id = ?)",
        transaction_id,
    )
    assert children == [(1,)]
    # again after a restart, and signed anew
    live.restart("bpp")
    with live.unchanged():
        again = other.post(raw, at=INIT, authorization=authorization)
        anew = other.post(raw, at=INIT)
    assert (again.status, again.raw) == (200, replies[0].raw)
    assert (anew.status, anew.raw) == (200, replies[0].raw)
    assert live.is_signed(again, "bpp")
    assert live.is_signed(anew, "bpp")
    assert other.callbacks(body) == 1


def test_s3_the_same_id_with_another_body_is_refused(
    live: Live, other: Peer, house: Household
) -> None:
    terms = live.offer()
    body = other.init(terms, house)
    other.accepted(body)
    changed = other.init(terms, house, 3, **body["context"])
    with live.unchanged():
        reply = other.post(changed)
        check_nack(live, reply, body["context"]["message_id"])
        assert other.post(body).status == 200
    assert reply.brief == (400, "CTX_MESSAGE_ID_DUPLICATE")
    assert reply.error["details"]["path"] == "$.context.message_id"


def test_s3_two_bodies_of_one_id_at_once_have_one_effect(
    live: Live, other: Peer, house: Household
) -> None:
    terms = live.offer()
    first = other.init(terms, house, 2)
    bodies = [other.init(terms, house, kwh, **first["context"]) for kwh in (2, 3)] * 10
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(other.post, bodies))
    assert sorted(reply.status for reply in replies) == [200] * 10 + [400] * 10
    refused = {reply.code for reply in replies if reply.status == 400}
    assert refused == {"CTX_MESSAGE_ID_DUPLICATE"}
    live.settle()
    assert live.stock(terms.offer_id) in ("10", "9")


def test_s3_another_sender_may_use_the_same_message_id(live: Live, other: Peer) -> None:
    first = other.request("discover", {"intent": {}})
    other.accepted(first)
    mallory = live.peer(MALLORY)
    same = mallory.request("discover", {"intent": {}}, message_id=first["context"]["message_id"])
    mallory.accepted(same)


def test_s3_a_peer_for_whom_replay_is_refused(live: Live) -> None:
    strict = live.peer(STRICT)
    body = strict.request("discover", {"intent": {}})
    raw = strict_json.encode(body)
    authorization = [strict.sign(raw)]
    assert strict.post(body, authorization=authorization).status == 200
    strict.callback(body)
    with live.unchanged():
        reply = strict.post(body, authorization=authorization)
        check_nack(live, reply, body["context"]["message_id"])
    assert reply.brief == (401, "AUT_REPLAY_DETECTED")
    anew = strict.post(body, authorization=[strict.sign(raw, lifetime=299)])
    assert anew.status == 200


def test_a_known_message_is_answered_after_its_ttl(live: Live, other: Peer) -> None:
    past = format_instant(live.clock.now_ms() // 1_000 * 1_000 - 29_000)
    body = other.request("discover", {"intent": {}}, timestamp=past, ttl="PT31S")
    reply = other.post(body)
    assert reply.status == 200
    other.callback(body)
    live.wait_until(lambda: live.now_s() * 1_000 > 0 and _is_over(live, body), "no end of ttl")
    with live.unchanged():
        again = other.post(body)
        fresh = other.post(other.request("discover", {"intent": {}}, timestamp=past, ttl="PT31S"))
    assert (again.status, again.raw) == (200, reply.raw)
    assert fresh.brief == (400, "CTX_TTL_EXPIRED")


def _is_over(live: Live, body: Message) -> bool:
    now = format_instant((live.clock.now_ms() // 1_000 - 32) * 1_000)
    return str(body["context"]["timestamp"]) <= now


# State


def test_a_transaction_does_not_start_with_confirm_status_or_cancel(
    live: Live, other: Peer, house: Household, terms: Terms
) -> None:
    order = other.order(terms, house)
    with live.unchanged():
        for action, message in (
            ("confirm", order),
            ("status", reference(order)),
            ("cancel", reference(order)),
        ):
            body = other.request(action, {"order": message})
            reply = other.post(body)
            check_nack(live, reply, body["context"]["message_id"])
            assert reply.brief == (400, "CTX_TRANSACTION_ID_UNKNOWN"), action


def test_confirm_before_init_is_refused(live: Live, other: Peer, house: Household) -> None:
    terms = live.offer()
    select = other.request("select", {"order": select_for(terms, 2)})
    other.accepted(select)
    with live.unchanged(STORED_REFUSAL):
        reply = other.post(other.follow(select, "confirm", other.order(terms, house)))
    assert reply.brief == (409, "BIZ_INVALID_STATE_TRANSITION")
    check_nack(live, reply, reply.message["messageId"])


CONFIRMS: dict[str, tuple[Change, tuple[int, str]]] = {
    "a lower price": (
        inputs("SELLER", pricePerKWh=Decimal("0.1")),
        (409, "BIZ_UPDATE_INCONSISTENT"),
    ),
    "another quantity": (quantity(1), (409, "BIZ_UPDATE_INCONSISTENT")),
    "another quantity alone": (
        inputs("BUYER", contractedQuantity=1),
        (400, "BIZ_QUANTITY_UNAVAILABLE"),
    ),
    "another meter": (inputs("BUYER", targetMeterId="meter-x"), (409, "BIZ_UPDATE_INCONSISTENT")),
    "less wheeling": (inputs("GRID_OPERATOR", wheelingCharges=0), (409, "BIZ_UPDATE_INCONSISTENT")),
    "a higher cap": (
        inputs("GRID_OPERATOR", buyer_trade_cap=10_000),
        (409, "BIZ_UPDATE_INCONSISTENT"),
    ),
    "another contract": (
        lambda order: contract_of(order).update(contractId="contract-x"),
        (409, "BIZ_UPDATE_INCONSISTENT"),
    ),
    "another formula": (formula, (409, "BIZ_UPDATE_INCONSISTENT")),
    "another offer": (
        part("beckn:offers", **{"beckn:id": "x"}),
        (409, "BIZ_UPDATE_INCONSISTENT"),
    ),
}


def test_s14_a_confirm_that_differs_from_on_init_is_refused_and_a_good_one_then_taken_once(
    live: Live, other: Peer
) -> None:
    house, terms = live.household(), live.offer()
    init = other.init(terms, house)
    order = other.accepted(init).body["message"]["order"]
    wrong = {}
    with live.unchanged(STORED_REFUSAL):
        for name, (change, brief) in CONFIRMS.items():
            body = other.follow(
                init, "confirm", strict_json.decode_object(strict_json.encode(order))
            )
            change(body["message"]["order"])
            reply = other.post(body)
            check_nack(live, reply, body["context"]["message_id"])
            if reply.brief != brief:
                wrong[name] = reply.brief
    assert wrong == {}
    confirmed = other.accepted(other.follow(init, "confirm", order)).body
    assert contract_of(confirmed["message"]["order"])["status"] == "ACTIVE"
    with live.unchanged(STORED_REFUSAL):
        twice = other.post(other.follow(init, "confirm", order))
        check_nack(live, twice, twice.message["messageId"])
        again = other.post(other.follow(init, "init", other.order(terms, house)))
        foreign = other.post(other.follow(init, "status", reference({"beckn:id": "order-x"})))
        unknown = other.post(other.follow(init, "cancel", reference({"beckn:id": "order-x"})))
    assert twice.brief == (409, "BIZ_ALREADY_CONFIRMED")
    assert again.brief == (409, "BIZ_INVALID_STATE_TRANSITION")
    assert foreign.brief == unknown.brief == (400, "BIZ_ORDER_NOT_FOUND")
    cancel = other.accepted(other.follow(init, "cancel", reference(order))).body
    assert contract_of(cancel["message"]["order"])["status"] == "TERMINATED"
    assert live.stock(terms.offer_id) == "12"
    with live.unchanged(STORED_REFUSAL):
        body = other.follow(init, "cancel", reference(order))
        repeated = other.post(body)
        late = other.post(other.follow(init, "confirm", order))
    assert repeated.brief == (202, "BIZ_ALREADY_CANCELLED")
    assert repeated.message["status"] == "ACK"
    assert live.is_signed(repeated, "bpp")
    assert late.status == 409
    assert other.callbacks(body) == 0


def test_ten_confirms_at_once_hold_the_money_once(live: Live, other: Peer) -> None:
    house, terms = live.household(), live.offer()
    init = other.init(terms, house, 10)
    order = other.accepted(init).body["message"]["order"]
    bodies = [other.follow(init, "confirm", order) for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(other.post, bodies))
    assert sorted(reply.status for reply in replies) == [200] + [409] * 9
    taken = next(b for b, r in zip(bodies, replies, strict=True) if r.status == 200)
    assert "error" not in other.callback(taken).body
    query = "/contracts/token/balance_of"
    answer = live.http.get(
        live.url("grid_operator", query),
        params={"user": house.user, "asset": "USD"},
        headers=live.operator("rec.example"),
    )
    # 10 x (0.15 + 0.025) = 1.75
    assert strict_json.decode_object(answer.content)["result"]["held"] == "1.75"


def test_s14_a_contract_is_bound_to_one_transaction(
    live: Live, other: Peer, house: Household
) -> None:
    terms = live.offer()
    other.accepted(other.init(terms, house, 1))
    mallory = live.peer(MALLORY)
    with live.unchanged(STORED_REFUSAL):
        for peer in (other, mallory):
            reply = peer.post(peer.init(terms, house, 1))
            assert reply.brief == (409, "BIZ_UPDATE_INCONSISTENT")


# What the grid operator and the ledger refuse


def refused_init(live: Live, peer: Peer, house: Household, kwh: Any, **offer: Any) -> Message:
    """Return the error of an on_init; the stock must be as before."""
    terms = live.offer(available_kwh="1000", **offer)
    body = peer.init(terms, house, kwh)
    found = peer.accepted(body).body
    assert found["context"]["action"] == "on_init"
    assert live.stock(terms.offer_id) == "1000"
    error: Message = found["error"]
    assert error.keys() == {"code", "message", "details"}
    return error


def held(live: Live) -> list[tuple[Any, ...]]:
    """Return what the ledger holds."""
    return live.rows("grid_operator", "SELECT * FROM ledger_holds WHERE state = 'PENDING'")


def test_one_micro_kwh_over_the_cap_gets_an_error_callback_and_the_cap_itself_terms(
    live: Live, other: Peer
) -> None:
    house = live.household(cap="5")
    before = held(live)
    error = refused_init(live, other, house, Decimal("5.000001"))
    assert error["code"] == "BIZ_QUANTITY_UNAVAILABLE"
    assert error["details"]["path"].endswith("contractedQuantity")
    assert error["details"]["cause"]["details"]["max_trade_kwh"] == "5"
    assert held(live) == before
    terms = live.offer()
    init = other.init(terms, house, 5)
    on_init = other.accepted(init).body
    grid = role_inputs(contract_of(on_init["message"]["order"]), "GRID_OPERATOR")
    assert (grid["buyer_trade_cap"], grid["current_buyer_trades_total"]) == (5, 0)
    confirmed = other.accepted(other.follow(init, "confirm", on_init["message"]["order"])).body
    assert contract_of(confirmed["message"]["order"])["status"] == "ACTIVE"
    full = refused_init(live, other, house, Decimal("0.000001"))
    assert full["details"]["cause"]["details"]["max_trade_kwh"] == "0"


def test_s13_of_two_inits_for_one_cap_at_once_one_gets_the_rest(live: Live, other: Peer) -> None:
    house = live.household(cap="15")
    bodies = [other.init(live.offer(), house, 10) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert [reply.status for reply in pool.map(other.post, bodies)] == [200, 200]
    answers = [other.callback(body).body for body in bodies]
    errors = [one["error"] for one in answers if "error" in one]
    assert [one["details"]["cause"]["details"]["max_trade_kwh"] for one in errors] == ["5"]


@pytest.mark.parametrize(
    ("cash", "allowance", "cause"),
    [
        pytest.param("1.74", "20.00", "INSUFFICIENT_FUNDS", id="a cent too little cash"),
        pytest.param("20.00", "1.74", "INSUFFICIENT_ALLOWANCE", id="a cent too little allowance"),
        pytest.param("20.00", "0", "INSUFFICIENT_ALLOWANCE", id="no allowance"),
    ],
)
def test_money_that_does_not_cover_the_hold_is_an_error_callback(
    live: Live, other: Peer, cash: str, allowance: str, cause: str
) -> None:
    # 10 kWh x (0.15 + 0.025) = 1.75
    house, terms = live.household(cash=cash, allowance=allowance), live.offer()
    init = other.init(terms, house, 10)
    order = other.accepted(init).body["message"]["order"]
    before = held(live)
    found = other.accepted(other.follow(init, "confirm", order)).body
    assert found["context"]["action"] == "on_confirm"
    assert found["error"]["code"] == "BIZ_PAYMENT_FAILED"
    causes = []
    inner = found["error"]
    while "cause" in inner.get("details", {}):
        inner = inner["details"]["cause"]
        causes.append(inner["code"])
    assert cause in causes
    assert held(live) == before
    status = contract_of(found["message"]["order"])["status"]
    assert status == "PENDING"


def test_exactly_the_money_that_is_needed_will_do(live: Live, other: Peer) -> None:
    house, terms = live.household(cash="1.75", allowance="1.75"), live.offer()
    init = other.init(terms, house, 10)
    order = other.accepted(init).body["message"]["order"]
    found = other.accepted(other.follow(init, "confirm", order)).body
    assert contract_of(found["message"]["order"])["status"] == "ACTIVE"


def test_a_meter_that_nobody_owns_gets_an_error_callback(live: Live, other: Peer) -> None:
    house = Household("nobody", "meter-of-nobody", live.household().signer)
    error = refused_init(live, other, house, 1)
    assert error["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert error["details"]["cause"]["code"]


def test_s16_a_buyers_app_cannot_propose_for_a_seller_it_does_not_represent(
    live: Live, other: Peer
) -> None:
    """A cascaded init of its own, at a price of its own, past the seller's platform."""
    house, terms = live.household(), live.offer()
    order = other.order(terms, house)
    for name in ("beckn:items", "beckn:offers", "beckn:payments"):
        del order[name]
    role_inputs(contract_of(order), "SELLER")["pricePerKWh"] = Decimal("0.001")
    contract_of(order)["roles"].append(
        {"role": "GRID_OPERATOR", "filledBy": None, "filled": False, "roleInputs": {}}
    )
    before = live.dump()["grid_operator"]
    for peer in (other, live.peer(MALLORY)):
        body = peer.request("init", {"order": order}, to="grid_operator")
        reply = peer.post(body, to="grid_operator")
        if reply.status == 200:
            assert peer.callback(body).body["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    live.settle()
    after = live.dump()["grid_operator"]
    assert {name for name in after if after[name] != before[name] and "ledger" in name} == set()


# Callbacks


def callback_to(live: Live, peer: Peer, action: str, message: Message, **context: Any) -> Message:
    """Return a callback to the buyer's app from a seller's platform played by hand."""
    bap = live.node("bap")
    usual = {
        "bap_id": bap.subscriber_id,
        "bap_uri": f"{bap.base_url}/bap/receiver",
        "bpp_id": peer.name,
        "bpp_uri": peer.uri,
        "ttl": "PT1H",
    }
    return peer.request(action, message, **(usual | context))


def test_s17_a_callback_that_nobody_asked_for_is_refused(
    live: Live, house: Household, terms: Terms
) -> None:
    seller = live.peer(SELLER_2)
    order = live.peer().order(terms, house)
    with live.unchanged():
        for action, code, field in (
            *((one, "CTX_INVALID_FIELD", "message_id") for one in ("on_select", "on_init")),
            ("on_confirm", "CTX_INVALID_FIELD", "message_id"),
            *(
                (one, "CTX_TRANSACTION_ID_UNKNOWN", "transaction_id")
                for one in ("on_status", "on_update", "on_cancel")
            ),
        ):
            body = callback_to(live, seller, action, {"order": order})
            reply = seller.post(body, to="bap")
            check_nack(live, reply, body["context"]["message_id"], name="bap")
            assert reply.brief == (400, code), action
            assert reply.error["details"]["path"] == f"$.context.{field}"
        catalogue = callback_to(live, seller, "on_discover", {"catalogs": []})
        assert seller.post(catalogue, to="bap").brief == (400, "CTX_INVALID_FIELD")
        unserved = callback_to(live, seller, "on_track", {"order": order})
        assert seller.post(unserved, to="bap", at="/bap/receiver/on_track").status in (404, 501)


def sent_to_seller(live: Live, action: str, message: Message, **context: Any) -> Message:
    """Let the buyer's app send a request to the seller played by hand, and return it."""
    body = {"context": {"bpp_id": SELLER_2, **context}, "message": message}
    answer = live.http.post(
        live.url("bap", f"/bap/caller/{action}"),
        content=strict_json.encode(body),
        headers=live.own("bap") | {"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    wanted = strict_json.decode_object(answer.content)["context"]["message_id"]
    found = live.mailbox.first(
        lambda one: one.path.startswith(f"/{SELLER_2}/") and one.message_id == wanted, "no request"
    )
    return found.body


def test_s17_a_callback_must_match_the_open_request_in_every_part(live: Live) -> None:
    seller, mallory = live.peer(SELLER_2), live.peer(MALLORY)
    asked = sent_to_seller(live, "discover", {"intent": {}})
    ids = {name: asked["context"][name] for name in ("transaction_id", "message_id")}
    good = callback_to(live, seller, "on_discover", {"catalogs": []}, **ids)
    before = live.dump()
    refused = [
        callback_to(live, seller, "on_select", {"order": {}}, **ids),
        callback_to(live, seller, "on_discover", {"catalogs": []}, **(ids | {"message_id": "x"})),
        callback_to(
            live, seller, "on_discover", {"catalogs": []}, **(ids | {"transaction_id": "x"})
        ),
        callback_to(live, seller, "on_discover", {"catalogs": []}, **ids, bap_id=OTHER),
    ]
    for body in refused:
        assert seller.post(body, to="bap").status == 400, body["context"]
    impostor = callback_to(
        live, mallory, "on_discover", {"catalogs": []}, **ids, bpp_uri="http://a/b"
    )
    assert mallory.post(impostor, to="bap").brief == (401, "AUT_UNAUTHORIZED_ACTION")
    assert live.peer().post(good, to="bap").brief == (401, "AUT_UNAUTHORIZED_ACTION")
    bound = seller.sign(strict_json.encode(good)).replace("(created) (expires) digest", FOUR)
    assert seller.post(good, to="bap", authorization=[bound]).brief == (401, INVALID)
    assert live.dump() == before
    first = seller.post(good, to="bap")
    assert first.status == 200
    assert live.is_signed(first, "bap")
    with live.unchanged():
        assert seller.post(good, to="bap").raw == first.raw


def test_a_second_different_answer_is_refused(live: Live, house: Household, terms: Terms) -> None:
    seller = live.peer(SELLER_2)
    order = select_for(terms, 2)
    contract = contract_of(order)
    next(r for r in contract["roles"] if r["role"] == "SELLER")["filledBy"] = SELLER_2
    asked = sent_to_seller(live, "select", {"order": order})
    ids = {name: asked["context"][name] for name in ("transaction_id", "message_id")}
    order["beckn:quote"] = {
        "@type": "beckn:Quotation",
        "beckn:price": _price("0.30"),  # 2 x 0.15
        "beckn:breakup": [
            {
                "@type": "beckn:Breakup",
                "beckn:title": "Energy 2 kWh x 0.15",
                "beckn:price": _price("0.30"),
            }
        ],
    }
    answer = callback_to(live, seller, "on_select", {"order": order}, **ids)
    taken = seller.post(answer, to="bap")
    assert taken.status == 200, taken.raw
    with live.unchanged():
        other_one = callback_to(live, seller, "on_select", {"order": order}, **ids, ttl="PT2H")
        second = seller.post(other_one, to="bap")
        check_nack(live, second, ids["message_id"], name="bap")
        assert second.brief == (400, "CTX_MESSAGE_ID_DUPLICATE")
        assert seller.post(answer, to="bap").raw == taken.raw
        # news about this transaction from the wrong platform
        foreign = live.peer(MALLORY)
        news = callback_to(live, foreign, "on_status", {"order": order}, **ids)
        assert foreign.post(news, to="bap").status in (400, 401)


def _price(amount: str) -> Message:
    return {
        "@type": "schema:PriceSpecification",
        "schema:price": Decimal(amount),
        "schema:priceCurrency": "USD",
    }


def test_a_slow_body_is_408_and_the_connection_ends(slow: socket.socket) -> None:
    slow.settimeout(30)
    answer = b""
    while piece := slow.recv(4_096):
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    message = strict_json.decode_object(body)["message"]
    assert (message["status"], message["error"]["code"]) == ("NACK", "SCH_INVALID_FORMAT")
