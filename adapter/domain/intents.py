"""What the protocol asks of the contract layer, and what that answers.

A handler returns intents; `service.settle` turns them into contract calls. So neither side knows
the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.domain.instants import DeliveryInterval
from adapter.domain.quantities import Energy
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


Intent = ProposeAgreement | AcceptAgreement | CancelAgreement


@dataclass(frozen=True, slots=True)
class Granted:
    """The contract layer did it."""

    role_inputs: Mapping[str, Any] = field(default_factory=dict)
    """GRID_OPERATOR roleInputs: charges, totals and caps, exact numbers."""
    until_ms: int | None = None
    """End of the reservation."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The contract layer refused; nothing changed."""

    code: str
    """The code on the wire."""
    message: str
    cause: Mapping[str, Any]
    """The contract layer's own code, message and details."""
    path: str | None = None


Outcome = Granted | Refused
