"""The tree of a formula. Sums and products hold any number of parts, so trees stay flat."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Reference:
    """A path; bracketed keys are parts like any other."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Negation:
    """Minus the operand."""

    operand: "Node"


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms to add; True marks one to subtract."""

    terms: tuple[tuple[bool, "Node"], ...]


@dataclass(frozen=True, slots=True)
class Product:
    """Factors from left to right; True marks one to divide by."""

    factors: tuple[tuple[bool, "Node"], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple["Node", ...]


Node = Number | Reference | Negation | Sum | Product | Call


def references(node: Node) -> tuple[Reference, ...]:
    """Return the references of a tree, each once, in the order in which they are written."""
    found: dict[Reference, None] = {}
    _collect(node, found)
    return tuple(found)


def _collect(node: Node, found: dict[Reference, None]) -> None:
    match node:
        case Reference():
            found.setdefault(node)
        case Negation(operand):
            _collect(operand, found)
        case Sum(parts) | Product(parts):
            for _, part in parts:
                _collect(part, found)
        case Call(_, arguments):
            for argument in arguments:
                _collect(argument, found)
        case Number():
            pass
