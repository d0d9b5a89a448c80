"""A participant played by hand: it signs whatever a test makes up and keeps what it gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.bootstrap import Node
from adapter.domain.instants import format_instant
from adapter.protocol import strict_json
from adapter.service.ports import Answer, SendError
from tests.fakes.network import BPP, HOSTS, OTHER, Network, signers_of
from tests.fakes.orders import Order

Message = dict[str, Any]
ACK: Message = {"message": {"status": "ACK"}}


def nack(code: str, **details: Any) -> Message:
    """Return the body of a refusal."""
    error = {"code": code, "message": "made up", "details": details}
    return {"message": {"status": "NACK", "error": error}}


@dataclass(frozen=True)
class Reply:
    """What a node answered."""

    status: int
    raw: bytes
    headers: Mapping[str, str]

    @property
    def body(self) -> Message:
        return strict_json.decode_object(self.raw)

    @property
    def word(self) -> str:
        """Return ACK or NACK."""
        return str(self.body["message"]["status"])

    @property
    def error(self) -> Message:
        """Return the error object, empty when there is none."""
        found: Message = self.body["message"].get("error", {})
        return found

    @property
    def code(self) -> str:
        return str(self.error.get("code", ""))


@dataclass
class Stranger:
    """Plays `name`; once made, messages to its host come here instead of to a node."""

    network: Network
    name: str = OTHER
    got: list[Message] = field(default_factory=list)
    """What arrived, decoded."""
    refusal: Callable[[str, Message], tuple[int, Message] | None] = lambda action, body: None
    """Status and body of the answer to a message that is not acknowledged."""
    silent: bool = False
    """Messages do not arrive at all."""
    ids: int = 0

    def __post_init__(self) -> None:
        self.network.wire.actors[HOSTS[self.name]] = self

    # Receiving

    def take(self, action: str, headers: Mapping[str, str], body: bytes) -> Answer:
        del headers
        if self.silent:
            why = f"{self.name} is away"
            raise SendError(why)
        decoded = strict_json.decode_object(body)
        refused = self.refusal(action, decoded)
        if refused is not None:
            return Answer(refused[0], {}, strict_json.encode(refused[1]))
        self.got.append(decoded)
        return Answer(200, {}, strict_json.encode(ACK))

    def last(self, action: str) -> Message:
        """Return the newest message of an action."""
        return next(m for m in reversed(self.got) if m["context"]["action"] == action)

    def actions(self) -> list[str]:
        return [message["context"]["action"] for message in self.got]

    # Sending

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.name}-{self.ids}"

    def request(
        self, action: str, order: Order | None = None, *, to: str = BPP, **context: Any
    ) -> Message:
        """Return a request to `to`; the BAP is this stranger."""
        base = {
            "version": "2.0.0",
            "action": action,
            "domain": "energy-trade",
            "timestamp": format_instant(self.network.clock.now_ms()),
            "ttl": "PT30S",
            "transaction_id": f"T-{self.name}",
            "message_id": self.new_id(),
            "bap_id": self.name,
            "bap_uri": f"http://{HOSTS[self.name]}/bap/receiver",
            "bpp_id": to,
            "bpp_uri": f"http://{HOSTS[to]}/bpp/receiver",
        }
        return {"context": base | context, "message": {"order": order} if order else {}}

    def callback(
        self,
        request: Message,
        order: Order | None = None,
        error: Message | None = None,
        **context: Any,
    ) -> Message:
        """Return the callback to a request that arrived here."""
        action = f"on_{request['context']['action']}"
        now = format_instant(self.network.clock.now_ms())
        times = {"action": action, "timestamp": now, "ttl": "PT1H"}
        body: Message = {"context": request["context"] | times | context}
        if order is not None:
            body["message"] = {"order": order}
        return body if error is None else body | {"error": error}

    def headers(self, body: bytes) -> list[tuple[bytes, bytes]]:
        """Return a good Authorization header, signed now."""
        now = self.network.clock.now_ms() // 1000
        signer = signers_of(HOSTS)[self.name]
        value = signer.header(body, created_s=now, expires_s=now + 300)
        return [(b"authorization", value.encode()), (b"content-type", b"application/json")]

    async def post(self, body: Message, *, to: Node | None = None) -> Reply:
        """Sign and post a message to a node, the seller's platform unless told otherwise."""
        return await self.post_bytes(body["context"]["action"], strict_json.encode(body), to=to)

    async def post_bytes(self, action: str, raw: bytes, *, to: Node | None = None) -> Reply:
        """Sign and post bytes."""
        receiver = "bap" if action.startswith("on_") else "bpp"
        inbound = (to or self.network.bpp).inbound
        reply = await inbound.receive(receiver, action, self.headers(raw), raw)
        named = {name.decode(): value.decode() for name, value in reply.headers}
        return Reply(reply.status, reply.body, named)

    async def ask(self, action: str, order: Order | None = None, **context: Any) -> Reply:
        """Post a request to the seller's platform and let messages travel."""
        reply = await self.post(self.request(action, order, **context))
        await self.network.deliver()
        return reply
