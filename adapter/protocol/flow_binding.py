"""What the references of a formula mean in a contract. Source: contract specification, 6.4."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any

from adapter.domain.instants import parse_instant
from adapter.domain.quantities import MICRO, Energy
from adapter.formula import Formula, Instant, Value, parse
from adapter.formula.tree import Reference
from adapter.protocol.contract_view import ContractView
from adapter.protocol.role_inputs import ROLE_INPUTS, canonical_role

CACHED_BINDINGS = 256
"""As many as formulas are kept parsed."""
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
    return ReadFormula(formula, bindings, tuple(unknown))


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
        self, view: ContractView, *, quantity: Energy | None, delivered: Energy | None
    ) -> None:
        """Take the contract and what the host puts in place of its own values."""
        self.view = view
        self._quantity = quantity
        self._delivered = delivered

    def of(self, read: ReadFormula) -> dict[Reference, Value | Unbound]:
        """Return the value of each reference, or why it has none."""
        return {reference: self._look_up(binding) for reference, binding in read.bindings.items()}

    def _look_up(self, binding: Binding) -> Value | Unbound:
        found: Any = None
        match binding.root:
            case Root.ROLES:
                return self._role_input(binding)
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

    def _role_input(self, binding: Binding) -> Value | Unbound:
        role = self.view.role(binding.role)
        if role is None:
            return Unbound(binding.role, Reason.ROLE_ABSENT)
        if not role.filled:
            return Unbound(binding.role, Reason.ROLE_UNFILLED)
        if binding.name == "contractedQuantity" and self._quantity is not None:
            return _kwh(self._quantity)
        return _inside(
            role.inputs.get(binding.name), binding.keys, f"{binding.role}.{binding.name}"
        )


def _inside(value: Any, keys: tuple[str, ...], name: str) -> Value | Unbound:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
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
