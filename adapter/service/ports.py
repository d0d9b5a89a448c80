"""What the service needs from the outside, as protocols.

`store`, `transport` and the tests' fakes implement them; `bootstrap` chooses.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from adapter.domain.offers import Offer
from adapter.domain.participants import Participant
from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.service.records import (
    ALL,
    NOTHING,
    About,
    Asked,
    InboxRow,
    LoggedMessage,
    OutboxRow,
    Share,
)
from adapter.settlement import LedgerStore, SignedRoot

T = TypeVar("T")


class Clock(Protocol):
    """The node's time. Nothing else reads a clock."""

    def now_us(self) -> int:
        """Return microseconds since 1970, UTC."""
        ...

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...


class Ids(Protocol):
    """Source of fresh ids."""

    def new(self) -> str:
        """Return a UUID in text form."""
        ...


class UnitOfWork(Protocol):
    """One message's transaction: everything below is committed together or not at all.

    Synchronous, run by the store; it may be run again from the start, so it must not do anything
    but call these methods.
    """

    @property
    def ledger(self) -> LedgerStore:
        """Return the ledger inside this transaction."""
        ...

    def savepoint(self, work: Callable[[], T]) -> T:
        """Run `work`; when it raises, its writes are undone and the exception goes on."""
        ...

    # Inbox
    def inbox_row(self, sender: str, message_id: str, action: str, variant: str) -> InboxRow | None:
        """Return the stored message, if it was received before."""
        ...

    def add_inbox_row(self, row: InboxRow) -> None:
        """Keep a message and its reply; the key must be new."""
        ...

    # Trades
    def trade(self, side: Side, transaction_id: str) -> Trade | None:
        """Return a trade by side and transaction."""
        ...

    def trade_of_leg(self, leg_transaction_id: str) -> Trade | None:
        """Return the BPP-side trade whose leg has this transaction."""
        ...

    def trade_of_contract(self, side: Side, peer: str, contract_id: str) -> Trade | None:
        """Return the newest trade of a side with that contract id and counterparty."""
        ...

    def contract_transaction(self, contract_id: str) -> str | None:
        """Return the transaction that a contract id of our own catalogue is bound to."""
        ...

    def bind_contract(self, contract_id: str, transaction_id: str) -> None:
        """Bind a contract id of our own to a transaction, for good."""
        ...

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade, return it with its next version; a stale version is an error."""
        ...

    def due_trades(self, now_ms: int, limit: int) -> Sequence[Trade]:
        """Return trades with `due_ms` before `now_ms`, oldest first."""
        ...

    def trades(self, side: Side | None, before: str | None, limit: int) -> Sequence[Trade]:
        """Return trades, newest first, a page after transaction `before`."""
        ...

    # Requests of our own
    def asked(self, message_id: str, action: str) -> Asked | None:
        """Return a request of ours."""
        ...

    def open_asked(self, transaction_id: str, action: str | None = None) -> Sequence[Asked]:
        """Return our unanswered requests of a transaction."""
        ...

    def save_asked(self, asked: Asked) -> None:
        """Write a request of ours."""
        ...

    def due_asked(self, now_ms: int, limit: int) -> Sequence[Asked]:
        """Return open requests with a deadline before `now_ms`, oldest first."""
        ...

    def add_attempt(self, message_id: str, action: str, authorization: str) -> None:
        """Keep the Authorization header of one attempt to send."""
        ...

    def drop_attempt(self, message_id: str, action: str, authorization: str) -> None:
        """Forget the header of an attempt that was not made."""
        ...

    def attempts(self, message_id: str, action: str) -> Sequence[str]:
        """Return the Authorization headers of all attempts of a message of ours."""
        ...

    # Outbox
    def enqueue(self, row: OutboxRow) -> int:
        """Queue a message; return its id."""
        ...

    def outbox_row(self, row_id: int) -> OutboxRow | None:
        """Return one outbox row."""
        ...

    def find_outbox(self, message_id: str, action: str) -> OutboxRow | None:
        """Return the newest outbox row of a message."""
        ...

    def is_due(self, message_id: str, action: str) -> bool:
        """Return whether the newest outbox row of a message is DUE; the row is not read."""
        ...

    def claim_outbox(
        self, now_ms: int, lease_ms: int, limit: int, share: Share = ALL
    ) -> Sequence[OutboxRow]:
        """Claim due rows, oldest first, at most one per (peer, transaction).

        A row is due when it is DUE and `next_ms` has come, or CLAIMED with a lease that ended. A
        row behind an earlier unsent row of its (peer, transaction) waits, and so does one whose
        peer has had its share.
        """
        ...

    def save_outbox(self, row: OutboxRow) -> bool:
        """Write a row back after an attempt; False when its claim was over and others have it."""
        ...

    def next_outbox_ms(self) -> int | None:
        """Return when the next row becomes due, None when nothing waits."""
        ...

    def dead_outbox(self, limit: int) -> Sequence[OutboxRow]:
        """Return dead letters, oldest first."""
        ...

    # Offers
    def offer(self, offer_id: str) -> Offer | None:
        """Return an offer, withdrawn ones included."""
        ...

    def offers(self) -> Sequence[Offer]:
        """Return all offers that are not withdrawn, oldest first."""
        ...

    def save_offer(self, offer: Offer) -> None:
        """Write an offer."""
        ...

    # Contract history, for rules over earlier messages
    def contract_history(self, key: str) -> bytes | None:
        """Return the stored summary of a contract's earlier messages."""
        ...

    def save_contract_history(self, key: str, summary: bytes) -> None:
        """Write that summary."""
        ...

    # Pushed news: which events of an agreement went out already
    def mark(self, key: str) -> bool:
        """Set a named mark; return False when it was set before."""
        ...

    # Root statements, of the ledger hosted here or of the one that is followed
    def keep_root(self, root: SignedRoot, contradicts: str = "") -> None:
        """Keep a statement with its checked signatures, and which kept one it contradicts."""
        ...

    def root(self, statement_hash: str) -> SignedRoot | None:
        """Return a kept statement by its hash."""
        ...

    def roots(self, ledger: str, after_epoch: int, limit: int) -> Sequence[SignedRoot]:
        """Return kept statements with a last epoch above `after_epoch`, in order of epochs."""
        ...

    def last_root(self, ledger: str) -> SignedRoot | None:
        """Return the kept statement of the highest epoch."""
        ...

    def root_ledger(self) -> str | None:
        """Return the name of the ledger whose statements are kept; a node follows one."""
        ...

    def has_countersigned(self, subscriber_id: str) -> bool:
        """Return whether a subscriber has countersigned any statement."""
        ...

    def contradicting_roots(self, limit: int) -> Sequence[SignedRoot]:
        """Return kept statements that contradict others."""
        ...

    # What is broken in the hosted journal, for all processes of the node
    def journal_fault(self) -> str | None:
        """Return what is broken, None when nothing is known to be."""
        ...

    def keep_journal_fault(self, fault: str) -> None:
        """Keep what was found; what was found before stays."""
        ...

    def drop_journal_fault(self, fault: str) -> None:
        """Forget a fault that is no more; another one stays."""
        ...

    def messages(self, transaction_ids: Iterable[str]) -> Sequence[LoggedMessage]:
        """Return the messages of transactions, in order of time."""
        ...

    def prune(self, before_us: int, limit: int) -> int:
        """Delete inbox rows and sent outbox rows of finished trades older than that."""
        ...


class Store(Protocol):
    """Durable state of one node."""

    async def write(
        self, unit: Callable[[UnitOfWork], T], *, brief: bool = False, about: About = NOTHING
    ) -> T:
        """Run a unit of work and return its result once it is durably committed.

        Args:
            unit: what to run.
            brief: it takes milliseconds at most, so the event loop itself may run it.
            about: what it is known to read; a store may fetch that beforehand.

        Raises:
            WireError: NET_OVERLOADED when too many units wait, NET_DOWNSTREAM_UNAVAILABLE when
                the database refuses. Whatever `unit` raises rolls it back and is raised here.
        """
        ...

    async def read(self, query: Callable[[UnitOfWork], T]) -> T:
        """Run a query on one consistent snapshot; writing there is an error."""
        ...

    async def close(self) -> None:
        """Finish waiting units and close."""
        ...


class Registry(Protocol):
    """Who takes part in the network."""

    async def key(self, subscriber_id: str, key_id: str) -> Participant:
        """Return the record of one key, usable or not.

        Raises:
            WireError: AUT_SUBSCRIBER_NOT_FOUND, AUT_KEY_NOT_FOUND, NET_DOWNSTREAM_UNAVAILABLE.
        """
        ...

    async def refreshed_key(self, subscriber_id: str, key_id: str) -> Participant | None:
        """Return the record past the cache, or None when that was done a moment ago."""
        ...

    async def records(self, subscriber_id: str) -> Sequence[Participant]:
        """Return all records of a subscriber, usable and newest first; empty when unknown.

        Raises:
            WireError: NET_DOWNSTREAM_UNAVAILABLE.
        """
        ...


class Verifier(Protocol):
    """Checks signatures without blocking the event loop."""

    async def verify(self, public_key: bytes, messages: Iterable[bytes], signature: bytes) -> bool:
        """Return whether the signature holds for one of the messages."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class SendError(Exception):
    """No answer: connection, TLS, time-out, or an address that may not be called."""

    def __init__(self, why: str, *, permanent: bool = False) -> None:
        """Say why; `permanent` when no later attempt can work, as for a forbidden address."""
        super().__init__(why)
        self.permanent = permanent


class Sender(Protocol):
    """Posts bytes to a peer."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the peer's answer, bounded in time and size; redirects are not followed.

        Raises:
            SendError: no answer.
        """
        ...

    async def close(self) -> None:
        """Close pooled connections."""
        ...
