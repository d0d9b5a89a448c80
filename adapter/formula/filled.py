"""A formula with values in place of its references, as a person would write it down."""

from collections.abc import Callable
from fractions import Fraction

from adapter.domain.quantities import MICRO, divide_half_even, to_text
from adapter.formula.tree import Call, Negation, Node, Number, Product, Reference, Sum

Show = Callable[[Reference], str]
"""Gives the text of a reference."""

_LONGEST = 12
"""Decimals of a number that is shown in full."""
_SUM, _PRODUCT, _SIGNED = 1, 2, 3
"""How tightly a node binds its parts."""


def filled_in(node: Node, show: Show) -> str:
    """Return the formula with each reference as `show` writes it."""
    return _text(node, show, 0)


def number_text(value: Fraction) -> str:
    """Return a number as a decimal; one that has none, or a long one, to six decimals after `≈`."""
    for digits in range(_LONGEST + 1):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            return _decimal_text(scaled.numerator, digits)
    return f"≈{to_text(divide_half_even(value.numerator * MICRO, value.denominator))}"


def _decimal_text(scaled: int, digits: int) -> str:
    whole, rest = divmod(abs(scaled), 10**digits)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole}.{rest:0{digits}d}" if digits else f"{sign}{whole}"


def _text(node: Node, show: Show, outside: int) -> str:
    match node:
        case Number(value):
            return number_text(value)
        case Reference():
            text = show(node)
            return f"({text})" if text.startswith("-") and outside >= _PRODUCT else text
        case Negation(operand):
            return _within(f"−{_text(operand, show, _SIGNED)}", _SIGNED, outside)
        case Sum(terms):
            text = _joined(terms, show, _SUM, (" + ", " − "))
            return _within(text, _SUM, outside)
        case Product(factors):
            text = _joined(factors, show, _PRODUCT, (" × ", " ÷ "))
            return _within(text, _PRODUCT, outside)
        case Call(name, arguments):
            return f"{name}({', '.join(_text(argument, show, 0) for argument in arguments)})"


def _joined(
    parts: tuple[tuple[bool, Node], ...], show: Show, own: int, signs: tuple[str, str]
) -> str:
    """Return the parts with their signs; True marks the second sign."""
    text = ""
    for index, (inverse, part) in enumerate(parts):
        # What follows a minus or a division keeps its brackets even at the same level.
        inner = _text(part, show, own + inverse if index else own)
        if index == 0:
            text = f"{signs[1].strip()}{inner}" if inverse else inner
        else:
            text += signs[inverse] + inner
    return text


def _within(text: str, own: int, outside: int) -> str:
    return f"({text})" if own < outside else text
