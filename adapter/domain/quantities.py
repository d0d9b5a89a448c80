"""Energy, unit price and money as exact integers, and the only rounding function.

All three count millionths: of a kWh, of a currency unit per kWh, of a currency unit. On the wire
they are JSON numbers with at most six decimals, in our own bodies decimal strings. Nothing here
is ever a binary fraction. Source: decision 0003.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Self

from adapter.domain.errors import QuantityError

MICRO = 1_000_000
MAX_MICRO = 10**12
"""Bound of energies and prices, so that a product stays below 2^63 after division by 10^6."""

_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
MINOR_DIGITS = {
    "JPY": 0,
    "KRW": 0,
    "VND": 0,
    "CLP": 0,
    "ISK": 0,
    "BHD": 3,
    "KWD": 3,
    "OMR": 3,
    "JOD": 3,
    "TND": 3,
}
"""Currencies whose minor unit is not the hundredth. Source: ISO 4217."""


def to_micro(value: Decimal | int | str) -> int:
    """Return `value` in millionths, exactly.

    Raises:
        QuantityError: not a finite decimal, over six decimals, or beyond 10^12 units.
    """
    try:
        number = value if isinstance(value, Decimal) else Decimal(value)
    except InvalidOperation:
        msg = f"{str(value)[:40]!r} is not a decimal number"
        raise QuantityError(msg) from None
    if not number.is_finite() or number.adjusted() > 12:
        msg = f"{str(number)[:40]} is out of range"
        raise QuantityError(msg)
    try:
        return int(_EXACT.quantize(_EXACT.scaleb(number, 6), Decimal(1)))
    except (Inexact, InvalidOperation):
        msg = f"{str(number)[:40]} has more than six decimals"
        raise QuantityError(msg) from None


def to_decimal(micro: int) -> Decimal:
    """Return `micro` millionths as the shortest exact Decimal without an exponent."""
    number = Decimal(micro).scaleb(-6, _EXACT).normalize(_EXACT)
    exponent = number.as_tuple().exponent
    return number.quantize(Decimal(1)) if isinstance(exponent, int) and exponent > 0 else number


def to_text(micro: int, min_digits: int = 0) -> str:
    """Return `micro` millionths as a decimal string with at least `min_digits` decimals."""
    sign, rest = ("-", -micro) if micro < 0 else ("", micro)
    whole, fraction = divmod(rest, MICRO)
    digits = f"{fraction:06d}".rstrip("0").ljust(min_digits, "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded to the nearest integer, ties to even.

    The only place where anything is rounded to nearest. `denominator` must be positive.
    """
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole % 2 == 1))


@dataclass(frozen=True, slots=True, order=True)
class Energy:
    """An amount of energy."""

    micro_kwh: int

    @classmethod
    def from_kwh(cls, kwh: Decimal | int | str) -> Self:
        """Return exactly `kwh`.

        Raises:
            QuantityError: over six decimals or beyond 10^6 kWh.
        """
        micro = to_micro(kwh)
        if abs(micro) > MAX_MICRO:
            msg = f"{to_text(micro)} kWh is beyond 1000000 kWh"
            raise QuantityError(msg)
        return cls(micro)

    @property
    def kwh(self) -> Decimal:
        """Return the kWh as an exact Decimal, for the wire."""
        return to_decimal(self.micro_kwh)

    def __add__(self, other: "Energy") -> "Energy":
        """Return the exact sum."""
        return Energy(self.micro_kwh + other.micro_kwh)

    def __sub__(self, other: "Energy") -> "Energy":
        """Return the exact difference."""
        return Energy(self.micro_kwh - other.micro_kwh)

    def __str__(self) -> str:
        """Return the kWh as a decimal string."""
        return to_text(self.micro_kwh)


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """Currency per kWh."""

    micro_per_kwh: int
    currency: str

    @classmethod
    def from_decimal(cls, price: Decimal | int | str, currency: str) -> Self:
        """Return exactly `price` per kWh.

        Raises:
            QuantityError: over six decimals, negative or beyond 10^6.
        """
        micro = to_micro(price)
        if not 0 <= micro <= MAX_MICRO:
            msg = f"{to_text(micro)} per kWh is not between 0 and 1000000"
            raise QuantityError(msg)
        return cls(micro, currency)

    @property
    def per_kwh(self) -> Decimal:
        """Return the price as an exact Decimal, for the wire."""
        return to_decimal(self.micro_per_kwh)

    def __str__(self) -> str:
        """Return the price as a decimal string with the currency's minor digits."""
        return to_text(self.micro_per_kwh, minor_digits(self.currency))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency, negative when owed."""

    micro: int
    currency: str

    @property
    def amount(self) -> Decimal:
        """Return the amount as an exact Decimal, for the wire."""
        return to_decimal(self.micro)

    def __add__(self, other: "Money") -> "Money":
        """Return the exact sum of two amounts of one currency."""
        if other.currency != self.currency:
            msg = f"cannot add {other.currency} to {self.currency}"
            raise QuantityError(msg)
        return Money(self.micro + other.micro, self.currency)

    def __neg__(self) -> "Money":
        """Return the same amount the other way round."""
        return Money(-self.micro, self.currency)

    def __str__(self) -> str:
        """Return the amount as a decimal string with at least the currency's minor digits."""
        return to_text(self.micro, minor_digits(self.currency))


def minor_digits(currency: str) -> int:
    """Return how many decimals amounts of `currency` show at least."""
    return MINOR_DIGITS.get(currency, 2)


def cost(energy: Energy, price: UnitPrice) -> Money:
    """Return the money for `energy` at `price`, to a millionth, ties to even.

    Every sum of such legs is exact.
    """
    return Money(divide_half_even(energy.micro_kwh * price.micro_per_kwh, MICRO), price.currency)
