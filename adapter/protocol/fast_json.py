"""The fast way through strict JSON: sure of a body, or silent.

`Codec.decode` gives what `strict_json` gives, or `UNSURE`; then `strict_json` reads the body by
itself and says what is wrong with it. It is sure only of a body that msgspec writes back as it
came, white space aside. That proves what msgspec does not look at: no key stands twice, nothing is
escaped in an odd way, and no decimal has been changed, as one beyond the limits is by the context
that makes it. What it does not prove is checked here: the digits of integers and the depth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context
from typing import Any, Final, NamedTuple

UNSURE: Final = object()

_BLANKS = b" \t\n\r"
_STEP = 4
"""Of a row of digits every fourth is looked at, which a UUID cannot fill."""
_DIGITS = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a body must keep."""

    depth: int
    """Values inside one another; the root counts as 1."""
    digits: int
    """Of a number; more than `exponent`."""
    exponent: int
    """Of a number, above or below zero."""


class _Tools(NamedTuple):
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    refusals: tuple[type[Exception], ...]


class Codec:
    """A decoder and an encoder of msgspec, made when they are first worth their import."""

    def __init__(self, limits: Limits, *, warm_up: int) -> None:
        """Take how many bodies are left to the slow decoder unless something is encoded first."""
        self._limits = limits
        self._cold = warm_up
        self._long_integer = b"0" * ((limits.digits + 1) // _STEP)
        self._tools: _Tools | None = None

    def encode(self, value: Any) -> bytes:
        """Return compact UTF-8 JSON; Decimals are written as numbers, digit by digit."""
        return (self._tools or self._make()).encode(value)

    def decode(self, raw: bytes) -> Any:
        """Return the JSON value of `raw` with exact numbers, or `UNSURE`."""
        tools = self._tools
        if tools is None:
            if self._cold > 0:
                self._cold -= 1
                return UNSURE
            tools = self._make()
        try:
            value = tools.decode(raw)
            written = tools.encode(value)
        except tools.refusals:
            return UNSURE
        if written != raw and _without_blanks(written) != _without_blanks(raw):
            return UNSURE
        if self._long_integer in raw[::_STEP].translate(_DIGITS):
            return UNSURE
        most = self._limits.depth
        if raw.count(b"{") + raw.count(b"[") > most and is_deeper(value, most):
            return UNSURE
        return value

    def _make(self) -> _Tools:
        import msgspec  # 50 ms

        refusals = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
        self._tools = _Tools(
            msgspec.json.Decoder(float_hook=_decimals(self._limits).create_decimal).decode,
            msgspec.json.Encoder(decimal_format="number").encode,
            refusals,
        )
        return self._tools


def _decimals(limits: Limits) -> Context:
    """Return what makes decimals, and changes those with a digit beyond 10^±exponent."""
    assert limits.exponent < limits.digits, "one precision bounds both"
    # With Emin 0 the precision bounds the place of the last digit too, that of a zero included.
    return Context(prec=limits.exponent + 1, Emin=0, Emax=limits.exponent, traps=[])


def _without_blanks(text: bytes) -> bytes:
    """Return the text without white space, that in strings included.

    Equal results still prove an equal number of members with equal numbers, for strings are read
    from the text itself.
    """
    return text.translate(None, _BLANKS)


def is_deeper(value: Any, most: int) -> bool:
    """Return whether a JSON value has more than `most` values inside one another."""
    level = [value] if type(value) in (dict, list) else []
    for _ in range(most):
        level = [
            item
            for one in level
            for item in (one.values() if type(one) is dict else one)
            if type(item) is dict or type(item) is list
        ]
    return bool(level)
