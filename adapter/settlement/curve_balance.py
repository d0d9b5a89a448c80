"""Rounding of very many powers so that they sum to zero: the results of `curve_clearing.balanced`.

Source: contract specification, 10.2.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import NamedTuple

import numpy as np

from adapter.settlement.kernel_rows import Ints, blocks


class Parts(NamedTuple):
    """What a power has beyond whole units: (over + share * rise) / length."""

    over: Ints
    rise: Ints
    length: Ints
    """1 or more."""

    def at(self, places: slice) -> "Parts":
        """Return some of them."""
        return Parts(self.over[places], self.rise[places], self.length[places])


_KEY_BITS = 20
"""Remainders are ranked by so many bits first, exactly where that leaves a choice."""
_WHOLE = 0
"""Key of what has no remainder; others have one from 1 on."""
_DENOMINATOR_BITS = 42


def balanced(whole: Ints, parts: Parts, share: Fraction) -> Ints:
    """Return whole numbers that sum to zero, as the exact powers do; `whole` becomes them.

    Each is rounded down; what is then missing goes to the largest remainders, earlier ones first.
    """
    scale = _scale(parts, share)
    key, error = np.empty_like(whole), 0
    for block in blocks(len(whole)):
        some = parts.at(block)
        added, ranks, too_low = _ranked(some, share, scale)
        whole[block] += added
        key[block] = np.where((some.over | some.rise) != 0, ranks + 1, _WHOLE)
        error = max(error, too_low)
    missing = -int(whole.sum())
    if not missing:
        return whole
    turn = _turn(key, missing)
    sure = key > turn + error
    open_ones = np.flatnonzero((key >= max(turn - error, _WHOLE + 1)) & ~sure)
    whole += sure
    left = missing - int(np.count_nonzero(sure))
    whole[_largest(open_ones.tolist(), parts, share)[:left]] += 1
    return whole


def _turn(key: Ints, count: int) -> int:
    """Return the largest key that `count` others or itself reach."""
    reach = np.cumsum(np.bincount(key)[::-1])
    return len(reach) - 1 - int(np.searchsorted(reach, count))


def _largest(places: Sequence[int], parts: Parts, share: Fraction) -> list[int]:
    """Return places by exact remainder, largest first, in whole numbers over one denominator."""
    lengths = parts.length[places].tolist()
    common = lcm(*set(lengths))
    top, bottom = share.numerator, share.denominator
    rows = zip(parts.over[places].tolist(), parts.rise[places].tolist(), lengths, strict=True)
    remainders = [
        (over * bottom + rise * top) % (length * bottom) * (common // length)
        for over, rise, length in rows
    ]
    by_remainder = sorted(range(len(places)), key=remainders.__getitem__, reverse=True)
    return [places[turn] for turn in by_remainder]


class _Scale(NamedTuple):
    """A share as a fraction of 63 bits."""

    numerator: int
    denominator: int
    is_exact: bool
    """Otherwise it is rounded down."""


def _scale(parts: Parts, share: Fraction) -> _Scale:
    longest, steepest = int(parts.length.max()), int(parts.rise.max())
    low, scale = share.numerator, share.denominator
    if longest * scale < 2**_DENOMINATOR_BITS and (longest + steepest) * scale < 2**62:
        return _Scale(low, scale, is_exact=True)
    bits = min(_DENOMINATOR_BITS - longest.bit_length(), 61 - steepest.bit_length())
    return _Scale(low * 2**bits // scale, 2**bits, is_exact=False)


def _ranked(parts: Parts, share: Fraction, scale: _Scale) -> tuple[Ints, Ints, int]:
    """Return whole units, the first bits of the remainders, and how far those may be too low."""
    over, rise, length = parts
    numerator = over * scale.denominator + rise * scale.numerator
    denominator = length * scale.denominator
    added = numerator // denominator
    rest = numerator - added * denominator
    if scale.is_exact:
        return added, (rest << _KEY_BITS) // denominator, 0
    for place in np.flatnonzero(rest + rise >= denominator).tolist():
        found = _exact(parts, share, place)
        added[place] = found.numerator // found.denominator
        exact_rest = (found % 1) * int(denominator[place])
        rest[place] = exact_rest.numerator // exact_rest.denominator
    key = (rest << _KEY_BITS) // denominator
    error = int((((rest + rise) << _KEY_BITS) // denominator - key).max())
    return added, key, error


def _exact(parts: Parts, share: Fraction, place: int) -> Fraction:
    over, rise, length = (int(values[place]) for values in parts)
    return (over + share * rise) / length
