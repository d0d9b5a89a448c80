"""Normal form of a formula, for comparing it with the standard one.

Brackets are dots, a final `.value` of a role path goes, CONSUMER is BUYER, sums and products are
flattened and sorted. Source: contract specification, section 6.3.
"""

import re

from adapter.formula.tree import Call, Negation, Node, Number, Product, Reference, Sum

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*", re.ASCII)
_ROLE_INPUT_PARTS = 4
"""roles, R, roleInputs, N."""


def normal_form(node: Node) -> str:
    """Return a text that is equal for formulas that differ in spelling only."""
    negative, text = _signed(node)
    return f"-{text}" if negative else text


def plain_reference(reference: Reference) -> Reference:
    """Return the reference without `.value` and with BUYER for CONSUMER."""
    parts = reference.parts
    if parts[0] != "roles" or len(parts) < 2:
        return reference
    if parts[1] == "CONSUMER":
        parts = ("roles", "BUYER", *parts[2:])
    if len(parts) == _ROLE_INPUT_PARTS + 1 and parts[-1] == "value":
        parts = parts[:-1]
    return Reference(parts)


def _signed(node: Node) -> tuple[bool, str]:
    match node:
        case Number(value):
            return False, str(value)
        case Reference():
            return False, ".".join(map(_quoted, plain_reference(node).parts))
        case Negation(operand):
            negative, text = _signed(operand)
            return not negative, text
        case Sum():
            terms = sorted(_terms(node, subtract=False))
            return False, "(" + " ".join(terms) + ")"
        case Product():
            factors: list[str] = []
            negative = _factors(node, factors, divide=False)
            return negative, "(" + " ".join(sorted(factors)) + ")"
        case Call(name, arguments):
            return False, f"{name}({', '.join(map(normal_form, arguments))})"


def _quoted(part: str) -> str:
    return part if _NAME.fullmatch(part) else f"[{part}]"


def _terms(node: Node, *, subtract: bool) -> list[str]:
    """Return `+x` or `-x` for each term of nested sums."""
    match node:
        case Sum(terms):
            return [t for minus, term in terms for t in _terms(term, subtract=subtract ^ minus)]
        case Negation(operand):
            return _terms(operand, subtract=not subtract)
        case _:
            negative, text = _signed(node)
            return [("-" if negative ^ subtract else "+") + text]


def _factors(node: Node, found: list[str], *, divide: bool) -> bool:
    """Append `*x` or `/x` for each factor of nested products; return whether a sign came out."""
    match node:
        case Product(factors):
            negative = False
            for inverse, factor in factors:
                negative ^= _factors(factor, found, divide=divide ^ inverse)
            return negative
        case Negation(operand):
            return not _factors(operand, found, divide=divide)
        case _:
            negative, text = _signed(node)
            found.append(("/" if divide else "*") + text)
            return negative
