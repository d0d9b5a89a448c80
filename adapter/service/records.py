"""Rows that a node keeps beside its trades: inbox, outbox, open requests, message log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adapter.domain.parties import Side
from adapter.protocol.decision import MessageKind

OutboxKind = MessageKind
"""How stubbornly a row is sent."""


def signature_mark(expires_s: int, *parts: str) -> str:
    """Return the mark of a signature that was seen; those that end first come first."""
    return "|".join(("signature", f"{expires_s:012d}", *parts))


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A message that was received and answered; unique in (sender, message id, action, variant)."""

    sender: str
    message_id: str
    action: str
    variant: str
    """Empty; for callbacks of which several may answer one request, the digest of the body."""
    digest: str
    """Base64 BLAKE2b-512 of the body."""
    transaction_id: str
    received_us: int
    authorization: str
    """Header of the first delivery; a bound callback refers to it."""
    http_status: int
    reply: bytes
    """Body of the answer, without its signature header."""
    code: str | None
    """Level-1 code of a refusal."""
    body: bytes
    """Bytes as received."""


class OutboxState(StrEnum):
    """DUE → CLAIMED → SENT, REFUSED, DUE again or DEAD; DEAD → DUE by command."""

    DUE = "DUE"
    CLAIMED = "CLAIMED"
    SENT = "SENT"
    REFUSED = "REFUSED"
    DEAD = "DEAD"


@dataclass(frozen=True)  # without slots, see `domain.replace`
class OutboxRow:
    """A message to be sent until the peer has it."""

    peer: str
    url: str
    """Full URL, action included."""
    kind: OutboxKind
    action: str
    side: Side
    """Side of the trade that sends."""
    transaction_id: str
    message_id: str
    body: bytes
    """Sent and signed as they are."""
    created_ms: int
    next_ms: int
    """When the next attempt is due."""
    expires_ms: int | None
    """No attempt after this instant."""
    id: int = 0
    """Given by the store, rises."""
    state: OutboxState = OutboxState.DUE
    attempts: int = 0
    request_authorization: str | None = None
    """Of the request that a callback answers, for bound signatures."""
    http_status: int | None = None
    """Of the last answer."""
    code: str | None = None
    """Of the last refusal."""
    ack_signature: str | None = None
    """valid, invalid or missing: the signature of the last answer."""
    sent_us: int | None = None
    """When the last attempt began."""
    took_us: int | None = None
    """How long the last attempt took."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many messages of each peer a claim may take."""

    each: int
    """Of a peer that `left` does not name."""
    left: Mapping[str, int] = field(default_factory=dict)
    """By peer; zero takes none."""

    def of(self, peer: str) -> int:
        """Return how many messages of one peer may be taken."""
        return self.left.get(peer, self.each)


ALL = Share(1 << 30)
"""As many as there are."""


class AskedState(StrEnum):
    """Of a request of ours."""

    OPEN = "OPEN"
    ANSWERED = "ANSWERED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    """The deadline passed; a late callback is still taken."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of ours and whether its callback came; unique in (message id, action)."""

    message_id: str
    action: str
    """The request's action."""
    side: Side
    """Side of the trade it belongs to; BPP for requests towards the grid operator."""
    transaction_id: str
    """Transaction on the wire, that of the leg for requests towards the grid operator."""
    peer: str
    deadline_ms: int
    state: AskedState = AskedState.OPEN
    answer_digest: str | None = None
    """Digest of the first callback."""
    error: Mapping[str, Any] | None = None
    """Why it failed: `{"code", "message", "details"?}`."""


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """One message of a transaction, in or out, for timelines."""

    direction: str
    """in or out."""
    at_us: int
    sender: str
    receiver: str
    action: str
    transaction_id: str
    message_id: str
    state: str
    """For messages out the outbox state, for messages in ACK or NACK."""
    http_status: int | None
    code: str | None
    signature: str | None
    """valid, invalid or missing; of the message when in, of the answer when out."""
    attempts: int
    next_ms: int | None
    took_us: int | None
    body: bytes


@dataclass(frozen=True, slots=True)
class About:
    """What a unit of work is known to read before it begins.

    It may read more, and need not read all of it: a store that is asked over a network can fetch it
    for many units at once. Keys are what the methods of a unit take.
    """

    message: tuple[str, str, str, str] | None = None
    """Sender, message id, action and variant of the message that is taken."""
    transactions: Sequence[str] = ()
    """Of trades, whatever their side, and of what is queued."""
    legs: Sequence[str] = ()
    """Transactions that may be a leg's."""
    asked: Sequence[tuple[str, str]] = ()
    """Message id and action of requests of ours."""
    histories: Sequence[str] = ()
    offers: Sequence[str] = ()
    contracts: Sequence[str] = ()
    """Contract ids of our own catalogue."""
    traded: Sequence[tuple[str, str, str]] = ()
    """Side, counterparty and contract id of trades."""


NOTHING = About()
"""Nothing is known of what the unit will read."""
