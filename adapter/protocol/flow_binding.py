"""What the references of a formula mean in a contract. Source: contract specification, 6.4."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any

from adapter.domain.instants import parse_instant
from adapter.domain.quantities import MICRO, Energy
from adapter.domain.tariff import ProfilePiece
from adapter.formula import Formula, Instant, Value, parse
from adapter.formula.tree import Reference
from adapter.protocol.contract_view import ContractView, RoleView
from adapter.protocol.market_view import PROSUMER, Prosumer
from adapter.protocol.role_inputs import ROLE_INPUTS, canonical_role

CACHED_BINDINGS = 256
"""As many as formulas are kept parsed."""
DEFAULT_TIME_ZONE = "UTC"
ERA = "PROSUMER.era"
"""Key that stands for the current prosumer; `era` is not a field of any object."""
_ROLE_INPUT_PARTS = 4
"""roles, R, roleInputs, N."""


class Reason(StrEnum):
    """Why a reference has no value yet."""

    ROLE_ABSENT = "ROLE_ABSENT"
    ROLE_UNFILLED = "ROLE_UNFILLED"
    INPUT_ABSENT = "INPUT_ABSENT"
    NOT_DELIVERED = "NOT_DELIVERED"
    NOT_SUPPLIED = "NOT_SUPPLIED"
    """Telemetry is no part of a P2P contract."""


@dataclass(frozen=True, slots=True)
class Unbound:
    """A reference without a value."""

    name: str
    """The role, or role and input."""
    reason: Reason

    def __str__(self) -> str:
        return f"{self.name} {self.reason.value}"


class Root(StrEnum):
    """First part of a path."""

    ROLES = "roles"
    PARAMETERS = "inputParameters"
    SIGNALS = "inputSignals"
    TELEMETRY = "telemetrySources"
    DELIVERED = "deliveredQuantity"


@dataclass(frozen=True, slots=True)
class Binding:
    """What one reference points at."""

    root: Root
    name: str
    """Input, parameter, signal or source."""
    role: str = ""
    keys: tuple[str, ...] = ()
    """Steps inside the value."""


@dataclass(frozen=True, slots=True)
class ReadFormula:
    """A formula with the meaning of its references."""

    formula: Formula
    bindings: Mapping[Reference, Binding]
    unknown: tuple[str, ...]
    """References that mean nothing in any contract."""
    per_prosumer: bool
    """Whether the formula speaks of the current prosumer."""


@dataclass(frozen=True, slots=True)
class HostInputs:
    """What the host knows beside the contract."""

    quantity: Energy | None = None
    """Stands for contractedQuantity: the settled energy under another basis."""
    delivered: Energy | None = None
    """Value of `deliveredQuantity`."""
    profile: Sequence[ProfilePiece] | None = None
    """Metered energy of intervals in the trade window, which sums to what was delivered."""
    time_zone: str = DEFAULT_TIME_ZONE
    """IANA name, for a contract that names no zone."""


@lru_cache(maxsize=CACHED_BINDINGS)
def read_formula(text: str) -> ReadFormula:
    """Return the formula with its references bound to names.

    Raises:
        FormulaError: P2P_FLOW_SYNTAX.
    """
    formula = parse(text)
    bindings = {}
    unknown = []
    for reference in formula.references:
        binding = _bind(reference.parts)
        if binding is None:
            unknown.append(str(reference)[:100])
        else:
            bindings[reference] = binding
    per_prosumer = any(b.role == PROSUMER or ERA in b.keys for b in bindings.values())
    return ReadFormula(formula, bindings, tuple(unknown), per_prosumer)


def _bind(parts: tuple[str, ...]) -> Binding | None:
    match parts:
        case ("roles", role, "roleInputs", name, *_):
            return _bind_input(canonical_role(role), name, parts[_ROLE_INPUT_PARTS:])
        case ("inputParameters", name, *keys):
            return Binding(Root.PARAMETERS, name, keys=tuple(keys))
        case ("inputSignals", name):
            return Binding(Root.SIGNALS, name)
        case ("telemetrySources", name, key):
            return Binding(Root.TELEMETRY, name, keys=(key,))
        case ("deliveredQuantity",):
            return Binding(Root.DELIVERED, parts[0])
        case _:
            return None


def _bind_input(role: str, name: str, keys: tuple[str, ...]) -> Binding | None:
    if role not in ROLE_INPUTS:
        return None
    names = ROLE_INPUTS[role]
    if names is not None and name not in names:
        return None
    inner = keys[1:] if keys[:1] == ("value",) else keys
    return Binding(Root.ROLES, name, role, inner)


class Values:
    """Values of the references in one contract."""

    def __init__(
        self, view: ContractView, *, quantity: Energy | None = None, delivered: Energy | None = None
    ) -> None:
        """Take the contract and what the host puts in place of its own values."""
        self.view = view
        self._quantity = quantity
        self._delivered = delivered

    def of(
        self, read: ReadFormula, prosumer: Prosumer | None = None
    ) -> dict[Reference, Value | Unbound]:
        """Return the value of each reference, or why it has none.

        Args:
            read: the formula.
            prosumer: whom the formula is evaluated for, if it speaks of one.
        """
        return {
            reference: self._look_up(binding, prosumer)
            for reference, binding in read.bindings.items()
        }

    def _look_up(self, binding: Binding, prosumer: Prosumer | None) -> Value | Unbound:
        found: Any = None
        match binding.root:
            case Root.ROLES:
                return self._role_input(binding, prosumer)
            case Root.DELIVERED:
                if self._delivered is None:
                    return Unbound(binding.name, Reason.NOT_DELIVERED)
                return _kwh(self._delivered)
            case Root.TELEMETRY:
                return Unbound(f"{binding.root}.{binding.name}", Reason.NOT_SUPPLIED)
            case Root.PARAMETERS:
                found = self.view.parameters.get(binding.name)
            case Root.SIGNALS:
                signals = self.view.contract.get("inputSignals", [])
                found = next(
                    (s.get("value") for s in signals if s["signalId"] == binding.name), None
                )
        return _inside(found, binding.keys, f"{binding.root}.{binding.name}")

    def _role_input(self, binding: Binding, prosumer: Prosumer | None) -> Value | Unbound:
        role = self._role(binding.role, prosumer)
        if isinstance(role, Unbound):
            return role
        keys = binding.keys
        if ERA in keys:
            if prosumer is None:
                absent = self.view.role(PROSUMER) is None
                return Unbound(PROSUMER, Reason.ROLE_ABSENT if absent else Reason.ROLE_UNFILLED)
            keys = tuple(prosumer.key if key == ERA else key for key in keys)
        if binding.name == "contractedQuantity" and self._quantity is not None:
            return _kwh(self._quantity)
        return _inside(role.inputs.get(binding.name), keys, f"{binding.role}.{binding.name}")

    def _role(self, name: str, prosumer: Prosumer | None) -> RoleView | Unbound:
        if name == PROSUMER and prosumer is not None:
            return prosumer.role
        role = self.view.role(name)
        if role is None:
            return Unbound(name, Reason.ROLE_ABSENT)
        if not role.filled or name == PROSUMER:
            return Unbound(name, Reason.ROLE_UNFILLED)
        return role


def _inside(value: Any, keys: tuple[str, ...], name: str) -> Value | Unbound:
    for key in keys:
        if value is None:
            break
        value = value.get(key) if isinstance(value, dict) else None
        name = f"{name}[{key[:80]}]"
    if value is None:
        return Unbound(name, Reason.INPUT_ABSENT)
    return _value(value)


def _kwh(energy: Energy) -> Fraction:
    return Fraction(energy.micro_kwh, MICRO)


def _value(value: Any) -> Value:
    if type(value) is int or type(value) is Decimal:
        return Fraction(value)
    if isinstance(value, str):
        try:
            return Instant(parse_instant(value))
        except ValueError:
            return value
    return value  # type: ignore[no-any-return]  # objects go to functions as they are
