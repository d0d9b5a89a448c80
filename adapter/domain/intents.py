"""What the protocol asks of the contract layer, and what that answers.

A handler returns intents; `service.settle` turns them into contract calls. So neither side knows
the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.domain.instants import DeliveryInterval
from adapter.domain.market import MarketTerms
from adapter.domain.quantities import Energy, UnitPrice
from adapter.domain.terms import Price


@dataclass(frozen=True, slots=True)
class ProposeAgreement:
    """Reserve the trade caps of both meters for a contract."""

    caller: str
    """Subscriber that cascades: the seller's platform."""
    contract_id: str
    source_meter_id: str
    target_meter_id: str
    energy: Energy
    price: Price
    window: DeliveryInterval
    basis: str
    contract: Mapping[str, Any]
    """The contract on the wire, whose revenue flows must agree with what will be settled."""


@dataclass(frozen=True, slots=True)
class AcceptAgreement:
    """Turn the reservation into a running agreement and hold the buyer's cash."""

    caller: str
    contract_id: str


@dataclass(frozen=True, slots=True)
class CancelAgreement:
    """Release caps and cash of a contract whose delivery has not begun."""

    caller: str
    contract_id: str


@dataclass(frozen=True, slots=True)
class ProposeShare:
    """Reserve the cap of one meter for what its owner's curve can give or take in a market."""

    caller: str
    """Subscriber that cascades: the market."""
    contract_id: str
    """Of the share, see `share_id`."""
    meter_id: str
    is_export: bool
    most: Energy
    """The most that the curve can give, or take; not above the capacity of the meter."""
    price: UnitPrice
    """The highest price the curve names; what is paid comes with clearing."""
    terms: MarketTerms
    contract: Mapping[str, Any]
    """The contract on the wire, whose revenue flows must be those that are settled."""


@dataclass(frozen=True, slots=True)
class ClearedShare:
    """What one meter gives or takes."""

    meter_id: str
    is_export: bool
    energy: Energy


@dataclass(frozen=True, slots=True)
class AcceptShares:
    """Make what a market cleared binding, for all who take part or for nobody."""

    caller: str
    contract_id: str
    """Of the market."""
    price: UnitPrice
    """clearingPrice."""
    terms: MarketTerms
    shares: tuple[ClearedShare, ...]
    """Exports and withdrawals, which are equal in sum; nobody with 0."""


def share_id(contract_id: str, meter_id: str) -> str:
    """Return the contract id of one meter's share in a market's contract."""
    return f"{contract_id}#{meter_id}"


Intent = ProposeAgreement | AcceptAgreement | CancelAgreement | ProposeShare | AcceptShares


@dataclass(frozen=True, slots=True)
class Granted:
    """The contract layer did it."""

    role_inputs: Mapping[str, Any] = field(default_factory=dict)
    """GRID_OPERATOR roleInputs: charges, totals and caps, exact numbers."""
    until_ms: int | None = None
    """End of the reservation."""
    approved_micro_kw: int | None = None
    """Of a share: the most power that its meter may give or take, in 10^-6 kW."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The contract layer refused; nothing changed."""

    code: str
    """The code on the wire."""
    message: str
    cause: Mapping[str, Any]
    """The contract layer's own code, message and details; in a market `details.participant` is the
    first meter whose share was refused and `details.participants` are all of them, both absent when
    it was not because of participants."""
    path: str | None = None


Outcome = Granted | Refused
