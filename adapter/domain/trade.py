"""One trade as one node sees it.

A trade is known by its side and its transaction. The seller's platform keeps the leg towards its
grid operator inside the same record: one trade, one row, one version. A market has one leg for all
its prosumers, so that leg is a record of its own, the session. Records are values; a change
returns a new one. What a state may do next is in `protocol.lifecycle`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from adapter.domain.parties import Side


class TradeState(StrEnum):
    """States of a trade; who may enter which is in `protocol.lifecycle`."""

    NEW = "NEW"
    SELECT_PENDING = "SELECT_PENDING"
    SELECTED = "SELECTED"
    INIT_PENDING = "INIT_PENDING"
    INITIATED = "INITIATED"
    CONFIRM_PENDING = "CONFIRM_PENDING"
    CONFIRM_UNKNOWN = "CONFIRM_UNKNOWN"
    CONFIRMED = "CONFIRMED"
    DELIVERING = "DELIVERING"
    COMPLETED = "COMPLETED"
    TERMINATED = "TERMINATED"


class Ending(StrEnum):
    """Why a trade was terminated."""

    LAPSED = "LAPSED"
    """The terms ran out before a confirm."""
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    """Refused, failed in delivery, or expired."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A subscriber and the URL its messages go to."""

    subscriber_id: str
    uri: str


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that waits for its answer: ours to a peer, or a peer's to us."""

    action: str
    message_id: str
    deadline_ms: int
    """When the one who asked stops waiting."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """The request's context, from which the callback copies; empty for requests of our own."""
    order: Mapping[str, Any] | None = None
    """The order it asks for, kept by a seller's platform until its grid operator has answered."""


class LegState(StrEnum):
    """Where the leg towards the grid operator stands."""

    WAITING = "WAITING"
    """A request is under way."""
    ANSWERED = "ANSWERED"
    EXPIRED = "EXPIRED"
    """The deadline passed; a late answer is followed by a compensating cancel."""
    ASKING = "ASKING"
    """A confirm went unanswered, its status was asked for."""


@dataclass(frozen=True, slots=True)
class CascadeLeg:
    """The transaction of a seller's platform with its grid operator about the same contract."""

    operator: Peer
    transaction_id: str
    contract_id: str
    order_id: str
    state: LegState
    request: OpenRequest
    """The last request sent on this leg."""
    role_inputs: Mapping[str, Any] = field(default_factory=dict)
    """GRID_OPERATOR roleInputs as the operator last answered."""


@dataclass(frozen=True, slots=True)
class StockTaken:
    """What this trade has taken from an offer."""

    offer_id: str
    energy_micro_kwh: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A prosumer's place in the session of a market."""

    transaction_id: str
    """Of the prosumer's own trade with the market."""
    platform: str
    """Subscriber id of its app."""
    meter_id: str
    message_id: str = ""
    """Of the last init about it to the grid operator, empty when none waits for an answer."""
    power_micro_kw: int = 0
    """What it cleared, 10^-6 kW, + export, as last told to the grid operator."""
    is_over: bool = False
    """Nothing more is expected of its share."""


@dataclass(frozen=True)  # without slots, see `replace`
class Trade:
    """A trade on one side of one transaction."""

    side: Side
    transaction_id: str
    peer: Peer
    """The counterparty of the transaction."""
    dialect: str
    state: TradeState = TradeState.NEW
    back: TradeState = TradeState.NEW
    """The state to return to when the pending request fails."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """Ids, URIs and domain of the transaction, from which pushed callbacks are made."""
    order: Mapping[str, Any] | None = None
    """The order as last agreed or, before that, last answered; draft shape, exact numbers."""
    contract_id: str | None = None
    terms_until_ms: int | None = None
    """Until when the terms of the last on_select or on_init stand."""
    request: OpenRequest | None = None
    """The one request that is pending; status does not count."""
    leg: CascadeLeg | None = None
    stock: StockTaken | None = None
    session_id: str | None = None
    """Of a prosumer's trade at a market: transaction of the session it takes part in."""
    seats: tuple[Seat, ...] = ()
    """Of a market's session: who takes part, in the order of coming."""
    shares: Mapping[str, str] = field(default_factory=dict)
    """At a grid operator: of a market's contract the status of each share by its meter."""
    approved: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """At a grid operator: of a market's contract the least and most power of each meter that it
    approved, 10^-6 kW, + export."""
    applied_rank: int = 0
    """Rank of the last applied status: PENDING 1, ACTIVE 2, final 3."""
    applied_ms: int = 0
    """Timestamp of the last applied status."""
    error: Mapping[str, Any] | None = None
    """The last error that the network answered with."""
    ended: Ending | None = None
    """Why a terminated trade ended."""
    plan: Mapping[str, Any] | None = None
    """On the buyer's side: what `POST /trades` asked for; the node goes on by itself."""
    found: Mapping[str, Any] | None = None
    """With a plan: the best offer so far of an on_discover of which more pages may come."""
    pages_until_ms: int | None = None
    """Until when they are waited for."""
    flags: tuple[str, ...] = ()
    """Contradictions seen that a person should look at."""
    version: int = 0
    """Counts the saved changes."""

    @property
    def due_ms(self) -> int | None:
        """Return when its terms lapse, or pages are waited for no longer, if nothing happens."""
        if self.state is TradeState.NEW:
            return self.pages_until_ms
        waits = self.state in (TradeState.SELECTED, TradeState.INITIATED)
        return self.terms_until_ms if waits and self.request is None else None
