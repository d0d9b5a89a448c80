"""A running network of real processes, and foreign participants that talk to it over real HTTP.

The four nodes of the demo on free ports of loopback. The foreign participants have keys of their
own in `network.yaml` and are called back at a small server of this process. What goes over the
wire is signed and checked here with the key library alone, not with the code under test.
"""

import base64
import hashlib
import itertools
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import httpx
import yaml
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from adapter.demo.folder import BPP, DemoFolder, DemoNode, write_folder
from adapter.demo.network import new_ports
from adapter.demo.processes import Processes
from adapter.demo.purchase_script import PurchaseScript
from adapter.domain.instants import EPOCH_MS, format_instant
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.transport.clock import SystemClock
from adapter.transport.node_client import NodeClient
from tests.fakes.live_orders import Order, Terms, order_for

NODES = ("bap", "bpp", "grid_operator")
"""Nodes with a database that matters."""
OTHER, MALLORY, STRICT = "bap.other.example", "bap.mallory.example", "bap.strict.example"
"""Buyers' apps played by hand; the seller's platform takes no bytes of STRICT twice."""
SELLER_2 = "bpp.other.example"
"""A seller's platform played by hand."""
FOREIGN = {OTHER: "bap", MALLORY: "bap", STRICT: "bap", SELLER_2: "bpp"}
BAD_KEYS: Mapping[str, dict[str, Any]] = {
    "revoked": {"is_revoked": True},
    "under": {"status": "UNDER_SUBSCRIPTION"},
    "left": {"status": "UNSUBSCRIBED"},
    "expired": {"valid_until": "2026-01-02T00:00:00Z"},
    "early": {"valid_from": "2035-01-01T00:00:00Z"},
}
"""Further keys of OTHER that no node may trust, by key id: what their records say."""
SOON = "soon"
"""A key of OTHER that ends an hour after the network was made."""
WAIT_S = 60
"""Longest wait for something that a node does by itself."""
QUIET_S = 120
"""Longer than a test takes: so long before it ends nothing becomes due by the clock alone."""
LIFETIME_S = 300
TIMERS_S = 1.2
"""A little longer than the timers of a node take to look again."""
TABLES = (
    *("inbox", "wire_transaction", "trade", "bound_contract", "contract_history", "mark", "asked"),
    *("attempt", "outbox", "outbox_body", "offer"),
    *("ledger_accounts", "ledger_holds", "ledger_entries", "ledger_rows", "ledger_lists"),
)
STORED_REFUSAL = ("inbox", "wire_transaction")
"""Where a refusal that is remembered leaves its row."""

Message = dict[str, Any]
Dump = dict[str, dict[str, list[tuple[object, ...]]]]
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Arrived:
    """A message that a node sent to a foreign participant."""

    path: str
    authorization: str
    raw: bytes

    @cached_property
    def body(self) -> Message:
        return strict_json.decode_object(self.raw)

    @property
    def message_id(self) -> str:
        return str(self.body["context"]["message_id"])


class Mailbox:
    """The server of all foreign participants: keeps what arrives and answers with an ACK."""

    def __init__(self) -> None:
        self.got: list[Arrived] = []
        self.news = Condition()
        self.answers: dict[str, tuple[int, bytes]] = {}
        """Other answers than an ACK, by path."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        mailbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", "0")))
                arrived = Arrived(self.path, self.headers.get("authorization", ""), raw)
                ack = b'{"message":{"status":"ACK"}}'
                status, body = mailbox.answers.get(self.path, (200, ack))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                with mailbox.news:
                    mailbox.got.append(arrived)
                    mailbox.news.notify_all()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def first(self, wanted: Callable[[Arrived], bool], why: str) -> Arrived:
        """Return the first message that is wanted, waiting for it."""
        with self.news:
            found = self.news.wait_for(lambda: [a for a in self.got if wanted(a)], WAIT_S)
        assert found, why
        return found[0]

    def count(self, wanted: Callable[[Arrived], bool]) -> int:
        with self.news:
            return sum(map(wanted, self.got))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True)
class Reply:
    """What a node answered to a message of the network."""

    status: int
    raw: bytes
    headers: httpx.Headers
    request_signature: str | None = None
    """Of the Authorization header that was sent."""

    @cached_property
    def message(self) -> Message:
        body = strict_json.decode_object(self.raw)
        assert body.keys() == {"message"}, body
        found: Message = body["message"]
        return found

    @property
    def error(self) -> Message:
        found: Message = self.message.get("error", {})
        return found

    @property
    def code(self) -> str:
        return str(self.error.get("code", ""))

    @property
    def brief(self) -> tuple[int, str]:
        """Return HTTP status and code."""
        return self.status, self.code


class Killable(Processes):
    """Nodes that can be killed, as a power cut would."""

    def kill(self, node: DemoNode) -> None:
        """Kill a node that was started here, and no other process."""
        process = next(process for one, process in self._running if one == node)
        process.kill()
        process.wait()
        self._running = [(one, running) for one, running in self._running if one != node]
        if process.stdin is not None:
            process.stdin.close()


@dataclass
class Live:
    """A running network."""

    folder: DemoFolder
    processes: Killable
    script: PurchaseScript
    mailbox: Mailbox
    http: httpx.Client
    keys: Mapping[str, SigningKey]
    """Of foreign participants, by subscriber id and key id joined by |."""
    clock: SystemClock
    seeded: set[str] = field(default_factory=set)
    """Texts that no log may hold: meter ids, names, tokens."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def node(self, name: str) -> DemoNode:
        return self.folder.nodes[name]

    def peer(self, name: str = OTHER) -> "Peer":
        return Peer(self, name)

    def now_s(self) -> int:
        return self.clock.now_ms() // 1_000

    def new_id(self, kind: str) -> str:
        return f"{kind}-{next(self.numbers)}"

    # Own interfaces

    def own(self, name: str, token: str | None = None) -> dict[str, str]:
        """Return the header of a node's application, or of another bearer."""
        return {"Authorization": f"Bearer {token or self.node(name).application_token}"}

    def operator(self, actor: str) -> dict[str, str]:
        """Return the header of an operator at the node that hosts the contract layer."""
        return self.own("grid_operator", self.node("grid_operator").operator_tokens[actor])

    def url(self, name: str, path: str) -> str:
        return f"{self.node(name).base_url}{path}"

    def get(self, name: str, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.http.get(self.url(name, path), headers=headers or self.own(name))

    def call(self, actor: str, function: str, /, **args: Any) -> httpx.Response:
        """Return the answer to a contract call by an operator, under a fresh command id."""
        headers = self.operator(actor) | {"Idempotency-Key": self.new_id("command")}
        path = f"/contracts/{function.replace('.', '/')}"
        return self.http.post(self.url("grid_operator", path), json=args, headers=headers)

    def done(self, actor: str, function: str, /, **args: Any) -> Message:
        """Return the answer to a contract call that must be accepted."""
        answer = self.call(actor, function, **args)
        assert answer.status_code == 200, answer.text
        found: Message = strict_json.decode_object(answer.content)
        return found

    # Set-up

    def window(self) -> tuple[int, int]:
        """Return one hour from the second quarter hour ahead, in ms."""
        start_ms = (self.clock.now_ms() // EPOCH_MS + 2) * EPOCH_MS
        return start_ms, start_ms + 4 * EPOCH_MS

    def offer_body(self, **changes: Any) -> Message:
        """Return the body of `POST /offers` for the seller's meter, with an id of its own."""
        start_ms, end_ms = self.window()
        base = {
            "offer_id": self.new_id("offer"),
            "source_meter_id": "meter-roof-7",
            "source_type": "SOLAR",
            "available_kwh": "12",
            "price_per_kwh": "0.15",
            "currency": "USD",
            "production_start": format_instant(start_ms),
            "production_end": format_instant(end_ms),
        }
        return base | changes

    def offer(self, **changes: Any) -> Terms:
        """Publish an offer and return what an order of it must say."""
        body = self.offer_body(**changes)
        answer = self.http.post(self.url("bpp", "/offers"), json=body, headers=self.own("bpp"))
        assert answer.status_code == 201, answer.text
        found = self.peer().ask("discover", {"text_search": body["offer_id"]})
        catalogue = found["message"]["catalogs"][0]
        window = body["production_start"], body["production_end"]
        return Terms(catalogue["beckn:offers"][0], window)

    def stock(self, offer_id: str) -> str:
        listed = strict_json.decode_object(self.get("bpp", "/offers").content)["offers"]
        return str(next(one["available_kwh"] for one in listed if one["offer_id"] == offer_id))

    def household(
        self, by: str = OTHER, cap: str = "50", cash: str = "20.00", allowance: str = "20.00"
    ) -> "Household":
        """Return a new buyer with a meter, represented by `by`."""
        user, meter = self.new_id("user"), self.new_id("meter-secret")
        signer = Signer(meter, "k1", hashlib.sha256(meter.encode()).digest())
        key = base64.b64encode(signer.public_key).decode()
        kind = {"user_type": "PROSUMER", "location": "Lane 4"}
        self.done("rec.example", "registry.register_user", user=user, **kind)
        self.done("rec.example", "registry.set_representative", user=user, subscriber=by)
        meter_of = {"meter_id": meter, "owner": user, "capacity_kw": "15", "public_key": key}
        self.done("rec.example", "registry.assign_meter", **meter_of)
        limit = {"meter_id": meter, "side": "BUY", "cap": cap}
        self.done("grid.operator.example", "registry.set_trade_cap", **limit)
        self.deposit(user, cash)
        if allowance != "0":
            self.allow(by, user, allowance)
        self.seeded |= {meter}
        return Household(user, meter, signer)

    def allow(self, by: str, user: str, amount: str) -> None:
        """Let the network take so much of a user, signed by its representative."""
        args = {"spender": "network", "value": amount, "asset": "USD"}
        if by in FOREIGN:
            answer = self.peer(by).signed_call("token.approve", args, on_behalf_of=user)
            assert answer.status_code == 200, answer.text
            return
        signer, node = self.folder.bap_signer, self.node("grid_operator")
        assert by == signer.subscriber_id
        with NodeClient(node.base_url, signer=signer, clock=self.clock) as client:
            command_id = self.new_id("approve")
            client.call("token", "approve", args, command_id=command_id, on_behalf_of=user)

    def deposit(self, user: str, amount: str) -> None:
        if amount != "0":
            reference = self.new_id("bank")
            paid = {"to": user, "amount": amount, "external_reference": reference}
            self.done("treasury.example", "token.deposit", **paid)

    # State

    def rows(self, name: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return rows of a node's database."""
        uri = f"{self.node(name).database.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def dump(self, but: tuple[str, ...] = ()) -> Dump:
        """Return all rows of all nodes, but for some tables."""
        kept = [table for table in TABLES if table not in but]
        return {
            name: {table: self.rows(name, f"SELECT * FROM {table}") for table in kept}
            for name in NODES
        }

    def wait_until(self, done: Callable[[], bool], why: str) -> None:
        end = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < end, why
            time.sleep(0.005)

    def settle(self) -> None:
        """Return once no node has anything left to send or waits for an answer."""
        queries = (
            "SELECT 1 FROM outbox WHERE state IN ('DUE', 'CLAIMED')",
            "SELECT 1 FROM asked WHERE state = 'OPEN'",
        )
        self.wait_until(
            lambda: not any(self.rows(name, query) for name in NODES for query in queries),
            "messages never stop",
        )

    def quiet(self) -> None:
        """Let happen now what the timers of the nodes would do within the next minutes.

        What follows changes a row only if somebody asks for it, so `unchanged` need excuse nothing.
        """
        while soon := self.due_soon():
            self.move(max(soon) - self.clock.now_ms())

    def due_soon(self) -> list[int]:
        """Return when something becomes due within `QUIET_S`, in ms."""
        now_ms = self.clock.now_ms()
        due = [(now_ms // EPOCH_MS + 1) * EPOCH_MS]  # the ledger is anchored
        listed = "SELECT sort FROM ledger_lists WHERE name = 'due'"
        due += [int(sort) for (sort,) in self.rows("grid_operator", listed)]
        for name in NODES:
            due += [one for (one,) in self.rows(name, "SELECT due_ms FROM trade") if one]
        return [one for one in due if now_ms <= one < now_ms + QUIET_S * 1_000]

    @contextmanager
    def unchanged(self, but: tuple[str, ...] = ()) -> Iterator[None]:
        """Demand that no row of any node changes, for whatever reason."""
        self.settle()
        before = self.dump(but)
        yield
        self.settle()
        after = self.dump(but)
        changed = [
            (name, table)
            for name, tables in before.items()
            for table, rows in tables.items()
            if rows != after[name][table]
        ]
        assert changed == [], changed

    def restart(self, name: str) -> None:
        """Kill a node and start it again."""
        self.processes.kill(self.node(name))
        self.start(name)

    def start(self, name: str) -> None:
        self.processes.start(self.node(name))
        self.processes.wait_until_ready()

    def advance(self, milliseconds: int) -> None:
        """Move the clock of all nodes, or a little further, to where it is quiet again."""
        self.move(milliseconds)
        self.quiet()

    def move(self, milliseconds: int) -> None:
        """Move the clock of all nodes, and wait for what becomes due by that."""
        ahead_ms = self.clock.now_ms() - SystemClock().now_ms() + milliseconds
        fresh = self.folder.clock_file.with_suffix(".new")
        fresh.write_text(f"{ahead_ms // 1_000 + 1}\n")
        fresh.replace(self.folder.clock_file)
        before: Dump = {}
        while before != (after := self.dump()):
            before = after
            time.sleep(TIMERS_S)

    def is_signed(self, reply: Reply, name: str) -> bool:
        """Return whether an answer carries the node's signature over itself and its request."""
        header = reply.headers.get_list("signature")
        if len(header) != 1 or not header[0].startswith("Signature "):
            return False
        given = parameters(header[0])
        subscriber_id = self.node(name).subscriber_id
        if given["keyId"] != f"{subscriber_id}|k1|ed25519" or given["algorithm"] != "ed25519":
            return False
        if given["headers"] != "(created) (expires) digest request-signature":
            return False
        text = signing_string(given["created"], given["expires"], reply.raw)
        text += f"\nrequest-signature: {reply.request_signature}"
        in_time = int(given["created"]) <= self.now_s() + 1 <= int(given["expires"]) + 1
        return in_time and verifies(self.public_key(subscriber_id), text, given["signature"])

    def public_key(self, subscriber_id: str) -> bytes:
        document = yaml.safe_load((self.folder.path / "network.yaml").read_text())
        record = next(r for r in document["participants"] if r["subscriber_id"] == subscriber_id)
        return base64.b64decode(record["signing_public_key"])


@dataclass(frozen=True)
class Household:
    """A user of the contract layer with one meter."""

    user: str
    meter: str
    signer: Signer


@dataclass(frozen=True)
class Peer:
    """A participant played by hand."""

    live: Live
    name: str

    @property
    def uri(self) -> str:
        """Return where this participant takes callbacks, or requests when it sells."""
        side = FOREIGN[self.name]
        return f"{self.live.mailbox.url}/{self.name}/{side}/receiver"

    # Messages

    def request(
        self, action: str, message: Message, /, *, to: str = "bpp", **context: Any
    ) -> Message:
        """Return a request to a node; a context value of None is left out."""
        node = self.live.node(to)
        base = {
            "version": "2.0.0",
            "action": action,
            "domain": "energy-trade",
            "timestamp": format_instant(self.live.clock.now_ms() // 1_000 * 1_000),
            "ttl": "PT30S",
            "transaction_id": self.live.new_id("T"),
            "message_id": self.live.new_id("M"),
            "bap_id": self.name,
            "bap_uri": self.uri,
            "bpp_id": node.subscriber_id,
            "bpp_uri": f"{node.base_url}/bpp/receiver",
        }
        given = {name: value for name, value in (base | context).items() if value is not None}
        return {"context": given, "message": message}

    def init(self, terms: Terms, house: Household, kwh: Any = 2, /, **context: Any) -> Message:
        """Return an init for an offer."""
        return self.request("init", {"order": self.order(terms, house, kwh)}, **context)

    def order(self, terms: Terms, house: Household, kwh: Any = 2) -> Order:
        return order_for(terms, self.name, house.meter, kwh)

    def follow(self, message: Message, action: str, order: Order, /, **context: Any) -> Message:
        """Return the next request of the transaction of another message."""
        transaction_id = message["context"]["transaction_id"]
        context = {"transaction_id": transaction_id, **context}
        return self.request(action, {"order": order}, **context)

    # Signing

    def sign(
        self,
        raw: bytes,
        *,
        key_id: str = "k1",
        created: int | None = None,
        lifetime: int = LIFETIME_S,
    ) -> str:
        """Return the Authorization header for these bytes."""
        created_s = self.live.now_s() if created is None else created
        text = signing_string(str(created_s), str(created_s + lifetime), raw)
        key = self.live.keys[f"{self.name}|{key_id}"]
        signature = base64.b64encode(key.sign(text.encode()).signature).decode()
        return (
            f'Signature keyId="{self.name}|{key_id}|ed25519",algorithm="ed25519",'
            f'created="{created_s}",expires="{created_s + lifetime}",'
            f'headers="(created) (expires) digest",signature="{signature}"'
        )

    # Sending

    def post(
        self,
        body: Message | bytes,
        *,
        to: str = "bpp",
        at: str | None = None,
        authorization: list[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Post a message to a node.

        Args:
            body: a message, or bytes for which `at` must be given.
            to: name of the node.
            at: path below the node, if it is not that of the action.
            authorization: the headers in place of a good signature.
            headers: further ones; they replace the Content-Type.
        """
        raw = body if isinstance(body, bytes) else strict_json.encode(body)
        if at is None:
            assert not isinstance(body, bytes)
            at = path_of(body["context"]["action"])
        values = [self.sign(raw)] if authorization is None else authorization
        given = {"Content-Type": "application/json"} | dict(headers or {})
        sent: Headers = [*given.items(), *(("Authorization", value) for value in values)]
        answer = self.live.http.post(self.live.url(to, at), content=raw, headers=sent)
        given_once = len(values) == 1
        signature = (parameters(values[0]).get("signature") or None) if given_once else None
        return Reply(answer.status_code, answer.content, answer.headers, signature)

    def accepted(self, body: Message, to: str = "bpp") -> Arrived:
        """Post a message that must be acknowledged, and return the callback to it."""
        reply = self.post(body, to=to)
        assert reply.status == 200, reply.raw
        return self.callback(body)

    def callback(self, body: Message) -> Arrived:
        """Return the callback to a request of ours, waiting for it."""
        action, message_id = body["context"]["action"], body["context"]["message_id"]
        path = f"/{self.name}/bap/receiver/on_{action}"
        return self.live.mailbox.first(
            lambda one: one.path == path and one.message_id == message_id,
            f"no on_{action} for {message_id}",
        )

    def ask(self, action: str, message: Message, /, **context: Any) -> Message:
        """Return the body of the callback to a request that must be acknowledged."""
        return self.accepted(self.request(action, message, **context)).body

    def callbacks(self, body: Message) -> int:
        """Return how many callbacks to a request arrived."""
        message_id = body["context"]["message_id"]
        return self.live.mailbox.count(
            lambda one: one.path.startswith(f"/{self.name}/") and one.message_id == message_id
        )

    def signed_call(self, function: str, args: Message, /, **changes: Any) -> httpx.Response:
        """Return the answer to a signed call of the contract layer.

        Args:
            function: as contract.function, in the body and in the path.
            args: of the function.
            changes: of the body; `path` and `authorization` replace those.
        """
        path = changes.pop("path", f"/contracts/{function.replace('.', '/')}")
        contract, name = function.split(".")
        body = {
            "command_id": self.live.new_id("signed"),
            "contract": contract,
            "function": name,
            "args": args,
        }
        authorization = changes.pop("authorization", None)
        raw = strict_json.encode(body | changes)
        headers = {"Content-Type": "application/json"}
        headers["Authorization"] = authorization or self.sign(raw)
        return self.live.http.post(
            self.live.url("grid_operator", path), content=raw, headers=headers
        )


def path_of(action: str) -> str:
    """Return the path that takes an action."""
    return f"/{'bap' if action.startswith('on_') else 'bpp'}/receiver/{action}"


def signing_string(created: str, expires: str, raw: bytes) -> str:
    """Return the three lines; written here from the specification, section 5."""
    digest = base64.b64encode(hashlib.blake2b(raw, digest_size=64).digest()).decode()
    return f"(created): {created}\n(expires): {expires}\ndigest: BLAKE-512={digest}"


def parameters(header: str) -> dict[str, str]:
    """Return the quoted parameters of a signature header."""
    return dict(re.findall(r'([A-Za-z-]+)="([^"]*)"', header))


def verifies(public_key: bytes, text: str, signature: str) -> bool:
    try:
        VerifyKey(public_key).verify(text.encode(), base64.b64decode(signature))
    except BadSignatureError:
        return False
    return True


@contextmanager
def live_network(path: Path) -> Iterator[Live]:
    """Give a running network whose ledger is set up; everything ends with the context."""
    mailbox = Mailbox()
    with ExitStack() as ends:
        ends.callback(mailbox.close)
        folder = write_folder(path, new_ports())
        clock = SystemClock(folder.clock_file)
        keys = {f"{name}|k1": _key(f"{name}|k1") for name in FOREIGN}
        keys |= {f"{OTHER}|{one}": _key(one) for one in (*BAD_KEYS, SOON)}
        _add_participants(folder, keys, mailbox.url, clock.now_ms())
        _change(folder, "bpp", {"protocol": {"peers": {STRICT: {"replay": "reject"}}}})
        # The grid operator reads the file itself: it can tell an unknown key from a subscriber.
        static = {"registry": {"kind": "static", "file": "network.yaml"}}
        _change(folder, "grid_operator", static)
        processes = ends.enter_context(Killable())
        for node in folder.nodes.values():
            processes.start(node)
        processes.wait_until_ready()
        script = ends.enter_context(PurchaseScript(folder, lambda who, what: None))
        http = ends.enter_context(httpx.Client(timeout=WAIT_S + 10, trust_env=False))
        live = Live(folder, processes, script, mailbox, http, keys, clock)
        script.set_up()
        seller = {"meter_id": "meter-roof-7", "side": "SELL", "cap": "100000"}
        live.done("grid.operator.example", "registry.set_trade_cap", **seller)
        yield live


def _key(text: str) -> SigningKey:
    return SigningKey(hashlib.sha256(text.encode()).digest())


def _change(folder: DemoFolder, name: str, changes: Message) -> None:
    file = folder.nodes[name].config
    document = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(document | changes))


def _add_participants(
    folder: DemoFolder, keys: Mapping[str, SigningKey], url: str, now_ms: int
) -> None:
    soon = {"valid_until": format_instant(now_ms // 1_000 * 1_000 + 3_600_000)}
    records = []
    for both, key in keys.items():
        name, key_id = both.split("|")
        side = FOREIGN[name]
        usual = {
            "subscriber_id": name,
            "key_id": key_id,
            "type": side.upper(),
            "url": f"{url}/{name}/{side}/receiver",
            "domain": "energy-trade",
            "signing_public_key": base64.b64encode(bytes(key.verify_key)).decode(),
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2036-01-01T00:00:00Z",
            "status": "SUBSCRIBED",
        }
        records.append(usual | BAD_KEYS.get(key_id, soon if key_id == SOON else {}))
    file = folder.path / "network.yaml"
    document = yaml.safe_load(file.read_text())
    document["participants"] += records
    file.write_text(yaml.safe_dump(document, sort_keys=False))


__all__ = ["BPP", "Live", "Peer", "live_network"]
