"""What a market's session and the trades of its prosumers tell each other inside one node.

The session speaks with the grid operator, each trade with one prosumer's app. Nothing of this is
on a wire: it is played in the unit of work of the message or timer that led to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.trade import OpenRequest, Peer
from adapter.protocol.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Joins:
    """To the session: a prosumer's init came; its room is to be reserved."""

    session_id: str
    transaction_id: str
    """Of the prosumer's trade."""
    request: OpenRequest
    """The init, with the order it asks for."""
    operator: Peer | None


@dataclass(frozen=True, slots=True)
class Reserved:
    """To a trade: the grid operator holds room for it, or there is none to ask."""

    role: Mapping[str, Any] | None
    """GRID_OPERATOR as it stands in the contract, None without an operator."""
    approved_kw: Any
    """approvedMaxTradeKW as answered, None without."""
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Declined:
    """To a trade: its pending init or commitment came to nothing."""

    error: WireError


@dataclass(frozen=True, slots=True)
class Cleared:
    """To a committed trade: the market cleared, and the grid operator has confirmed."""

    price_micro_per_kwh: int
    power_micro_kw: int
    """10^-6 kW, + export."""
    key: str
    """Its key in clearedPower."""
    at_ms: int
    """When that was said."""


@dataclass(frozen=True, slots=True)
class Uncleared:
    """To a committed trade: the market closed without anything for it."""


@dataclass(frozen=True, slots=True)
class Reported:
    """To a confirmed trade: the grid operator's news about its share."""

    envelope: Envelope


MarketEvent = Joins | Reserved | Declined | Cleared | Uncleared | Reported
