"""What can happen to a trade, and what a handler answers to it.

A handler is a pure function `decide(trade, event, facts) -> Decision`. It neither sends nor
stores: the service saves the trade, queues what is outgoing, and asks the contract layer for the
intents, whose outcome comes back as the next event.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from adapter.domain.curves import Curve
from adapter.domain.errors import WireError
from adapter.domain.intents import Intent, Outcome
from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Peer, Trade
from adapter.protocol.actions import Action
from adapter.protocol.envelope import Envelope
from adapter.protocol.market_events import MarketEvent


class MessageKind(StrEnum):
    """How stubbornly a message is sent. Source: protocol specification, section 10."""

    REQUEST = "request"
    CALLBACK = "callback"
    """An answer to a request, or pushed news."""
    COMPENSATION = "compensation"
    """A cancel that undoes what a peer may have done; as stubborn as a callback."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent."""

    kind: MessageKind
    action: Action
    peer: Peer
    context: Mapping[str, Any]
    message: Mapping[str, Any] | None
    error: Mapping[str, Any] | None = None
    deadline_ms: int | None = None
    """Until when an answer is awaited; None when none is."""
    expires_ms: int | None = None
    """No attempt after this instant."""
    not_before_ms: int | None = None
    """No attempt before this instant."""


@dataclass(frozen=True, slots=True)
class StockChange:
    """Energy put back into an offer (positive) or taken out of it (negative)."""

    offer_id: str
    micro_kwh: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an event."""

    trade: Trade | None = None
    """The trade to save; None when nothing about it changed."""
    outgoing: tuple[Outgoing, ...] = ()
    intents: tuple[Intent, ...] = ()
    stock: tuple[StockChange, ...] = ()
    bind: str | None = None
    """A contract id of our own to bind to this transaction."""
    notice: WireError | None = None
    """Why the message is acknowledged although no callback will come."""
    tells: tuple[tuple[Side, str, MarketEvent], ...] = ()
    """Side and transaction of other trades of this node, and what each has to hear of this."""


class FlaggedRefusalError(WireError):
    """A refusal after which the trade is not as it was: somebody should look at it."""

    def __init__(self, error: WireError, trade: Trade) -> None:
        """Take the refusal, and the trade to save in spite of it."""
        super().__init__(error.code, error.message, path=error.path, cause=error.cause)
        self.trade = trade


# Events


@dataclass(frozen=True, slots=True)
class Received:
    """A checked message of a peer."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Settled:
    """The contract layer's outcome of an intent that `cause` led to."""

    cause: Received
    intent: Intent
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request of ours stayed without a callback until its deadline."""

    action: Action
    message_id: str
    acked: bool
    """The peer had acknowledged it."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A message of ours was refused, given up, or will not be answered."""

    action: Action
    message_id: str
    error: Mapping[str, Any]
    unknown: bool
    """No answer ever came, so the peer may have it nevertheless."""


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The terms of the trade ran out."""


@dataclass(frozen=True, slots=True)
class Originated:
    """The participant's own application asks to send a request."""

    action: Action
    message: Mapping[str, Any]
    peer: Peer
    transaction_id: str
    message_id: str
    ttl_ms: int
    domain: str
    plan: Mapping[str, Any] | None = None
    """What `POST /trades` asked for, with the first message only."""


@dataclass(frozen=True, slots=True)
class News:
    """The ledger moved an agreement: what the grid operator tells about it."""

    status: str
    """ACTIVE, COMPLETED or TERMINATED."""
    delivery: Mapping[str, Any]
    """EnergyTradeDelivery."""
    participant: str = ""
    """In a market the meter whose share it is about."""


Event = Received | Settled | NoAnswer | NotTaken | Lapsed | Originated | News | MarketEvent


class Clearing(Protocol):
    """What a market of curves clears to; the powers sum to zero."""

    @property
    def price_micro(self) -> int | None:
        """Return 10^-6 currency per kWh; None: no trade."""
        ...

    @property
    def power_micro_kw(self) -> Mapping[str, int]:
        """Return 10^-6 kW of each key, + export."""
        ...


ClearCurves = Callable[[Mapping[str, Curve]], Clearing]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is."""

    subscriber_id: str
    base_url: str

    @property
    def as_bap(self) -> Peer:
        """Return the node as it stands in BAP fields."""
        return Peer(self.subscriber_id, f"{self.base_url}/bap/receiver")

    @property
    def as_bpp(self) -> Peer:
        """Return the node as it stands in BPP fields."""
        return Peer(self.subscriber_id, f"{self.base_url}/bpp/receiver")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a handler may know besides the trade and the event."""

    now_ms: int
    me: Identity
    new_id: Callable[[], str]
    ttl_ms: int
    """Life of the requests we send."""
    domain: str = "energy-trade"
    """Domain of the transactions we open."""
    operator: Peer | None = None
    """Where this BPP cascades to."""
    offers: Sequence[Offer] = ()
    """For discover all open offers, else the one the order names, if it exists."""
    bound_to: str | None = None
    """Transaction that the contract id in the message is bound to."""
    time_zone: str = "UTC"
    """IANA name in which a tariff is read that names none."""
    taken: bool = False
    """Another transaction has the contract of a cascaded init or confirm."""
    session: Trade | None = None
    """At a market: the session of the contract that an init or confirm is about."""
    market_trade: Callable[[str], Trade | None] = lambda transaction_id: None
    """Gives a prosumer's trade with this market by its transaction."""
    clear_curves: ClearCurves | None = None
    """Clears a market of offer curves."""
