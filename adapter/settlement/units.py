"""Values of legs, holds for them, and the view with 18 decimals, on plain integers.

Energies, prices and money count millionths, as in `domain.quantities`, which does the rounding.
"""

from typing import NamedTuple

from adapter.domain.quantities import MAX_MICRO, MICRO, divide_half_even
from adapter.settlement.refusals import refusal

INT64_MAX = 2**63 - 1
MONEY_MAX_MICRO = 10**18
"""Bound of an amount of money: the largest energy at the largest price."""
PSP22_UNIT = 10**12
"""Units of the 18-decimals view in a millionth."""


class Rates(NamedTuple):
    """Prices per kWh of one trade."""

    price: int
    wheeling: int
    buyer_fee: int
    seller_fee: int


class Legs(NamedTuple):
    """Money of the legs of one trade; the seller fee is paid out of the value."""

    value: int
    wheeling: int
    buyer_fee: int
    seller_fee: int
    vat: int = 0
    """To the seller beside the value, under a tariff without VAT in its prices."""

    @property
    def buyer_debit(self) -> int:
        """Return what the buyer pays in all."""
        return self.value + self.wheeling + self.buyer_fee + self.vat

    def minus(self, other: "Legs") -> "Legs":
        """Return the legs less those of `other`."""
        return Legs(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def plus(self, other: "Legs") -> "Legs":
        """Return the sum of both."""
        return Legs(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def value(energy: int, rate: int) -> int:
    """Return the money for `energy` at `rate`, ties to even."""
    return divide_half_even(energy * rate, MICRO)


def ceiling(energy: int, rate: int) -> int:
    """Return the smallest amount that covers `value(energy, rate)` settled in any parts."""
    return -(-energy * rate // MICRO)


def legs(energy: int, rates: Rates) -> Legs:
    """Return all legs of `energy`. A part posts the difference of two cumulative quantities."""
    return Legs(*(value(energy, rate) for rate in rates))


def cash_hold(energy: int, rates: Rates) -> int:
    """Return the cash to hold for `energy`: one ceiling per leg, as each leg rounds by itself."""
    return sum(ceiling(energy, rate) for rate in (rates.price, rates.wheeling, rates.buyer_fee))


def check_rates(rates: Rates) -> None:
    """Check that every value stays below 2^63 and that the seller is never left owing.

    Raises:
        ContractError: INVALID_PRICE.
    """
    if rates.price + rates.wheeling + rates.buyer_fee > MAX_MICRO:
        msg = "price, wheeling and fee together are above 1000000 per kWh"
        raise refusal("INVALID_PRICE", msg)
    if rates.seller_fee > rates.price:
        msg = "the seller fee is above the price"
        raise refusal("INVALID_PRICE", msg)


def to_psp22(energy: int) -> int:
    """Return `energy` in the 18-decimals view of token tools."""
    return energy * PSP22_UNIT


def from_psp22(amount: int) -> int:
    """Return the energy of an 18-decimals amount, exactly.

    Raises:
        ContractError: INVALID_ENERGY_AMOUNT, finer than a millionth.
    """
    energy, rest = divmod(amount, PSP22_UNIT)
    if rest:
        msg = f"{amount} is no multiple of 10^12: amounts go down to a millionth of a GRID"
        raise refusal("INVALID_ENERGY_AMOUNT", msg)
    return energy
