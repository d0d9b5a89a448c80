"""Sums and texts of wire numbers: ints and Decimals, exact whatever their length."""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction

from adapter.domain.quantities import MICRO, divide_half_even, to_text

Number = int | Decimal

_EXACT = Context(prec=500, traps=[Inexact, InvalidOperation])
"""Wire numbers have at most 40 digits and exponents within ±30: no sum of them needs more."""
MAX_DECIMALS = 6
MAX_MAGNITUDE = 1_000_000


def difference(left: Number, right: Number) -> Decimal:
    """Return left minus right."""
    return _EXACT.subtract(left, right)


def total(numbers: Iterable[Number]) -> Decimal:
    """Return the sum; of no numbers it is zero."""
    result = Decimal(0)
    for number in numbers:
        result = _EXACT.add(result, number)
    return result


def micro(number: Number) -> Decimal:
    """Return a number in millionths, with what is left of a longer fraction."""
    return _EXACT.multiply(number, 1_000_000)


def units(number_micro: Number) -> str:
    """Return millionths as the text of whole units."""
    return plain(_EXACT.multiply(number_micro, Decimal("1e-6")))


def fits(number: Number) -> bool:
    """Return whether a number has at most 6 decimals and is at most a million either way."""
    if not -MAX_MAGNITUDE <= number <= MAX_MAGNITUDE:
        return False
    if isinstance(number, int):
        return True
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and (exponent >= -MAX_DECIMALS or micro(number) % 1 == 0)


def shown(value: Fraction) -> str:
    """Return an exact number as text, to 6 decimals."""
    return to_text(divide_half_even(value.numerator * MICRO, value.denominator))


def plain(number: object) -> str:
    """Return a number without exponent or trailing zeros, anything else as its text."""
    if isinstance(number, Decimal):
        text = format(number, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(number)
