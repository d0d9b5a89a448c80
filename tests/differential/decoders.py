"""Two JSON decoders beside each other, and spellings of one message that they could read apart."""

import random
import re
from collections.abc import Callable

from adapter.domain.errors import WireError
from adapter.protocol import strict_json
from adapter.protocol.fast_json import UNSURE, Codec, Limits
from adapter.protocol.strict_json import MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT

LIMITS = Limits(MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT)
CODEC = Codec(LIMITS, warm_up=0)
_MEMBER = re.compile(rb'"[^"\\]*":(?:"[^"\\]*"|[-0-9.]+|true|false|null)(?=[,}])')
_NUMBER = re.compile(rb"(?<=[:\[,])-?[0-9]+(?:\.[0-9]+)?(?=[,}\]])")
_LETTER = re.compile(rb"(?<=[a-z])[a-z](?=[a-z])")


def outcome(raw: bytes) -> str:
    """Return what strict decoding gives: digits, types and order of keys included."""
    try:
        return repr(strict_json._decode(raw))
    except WireError as error:
        return error.code


def agrees(raw: bytes) -> bool:
    """Demand the strict result wherever the fast way is sure, and return whether it is."""
    value = CODEC.decode(raw)
    if value is UNSURE:
        return False
    assert repr(value) == outcome(raw), raw
    return True


def respelled(raw: bytes, rng: random.Random) -> bytes:
    """Return compact JSON with one thing in it written otherwise, or broken."""
    return rng.choice(_SPELLINGS)(raw, rng)


def _twice(raw: bytes, rng: random.Random) -> bytes:
    """Write a member twice."""
    return _replaced(raw, rng, _MEMBER, lambda member: member + b"," + member)


def _number(raw: bytes, rng: random.Random) -> bytes:
    """Write a number with an exponent, more digits or another sign."""
    ends = [b"e0", b"E+1", b"e-31", b"E31", b"0" * 40, b".0", b".", b"e", b" ", b"\xc2\xa0"]
    starts = [b"", b"", b"", b"-", b"0", b"+", b"1" * 20, b"-0"]
    return _replaced(raw, rng, _NUMBER, lambda text: rng.choice(starts) + text + rng.choice(ends))


def _escape(raw: bytes, rng: random.Random) -> bytes:
    """Write a letter as an escape, or something else in its place."""
    others = [b"\\/", b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"\xed\xa0\x80", b"\t", b'"', b"\\"]
    return _replaced(
        raw, rng, _LETTER, lambda letter: rng.choice([b"\\u%04x" % letter[0], *others])
    )


def _blank(raw: bytes, rng: random.Random) -> bytes:
    """Insert blanks, within a token too."""
    place = rng.randrange(len(raw) + 1)
    return raw[:place] + rng.choice([b" ", b"\r\n", b"\t", b"\x0c", b"\xef\xbb\xbf"]) + raw[place:]


def _cut(raw: bytes, rng: random.Random) -> bytes:
    """Take away a byte."""
    place = rng.randrange(len(raw))
    return raw[:place] + raw[place + 1 :]


def _deep(raw: bytes, rng: random.Random) -> bytes:
    """Put the message inside about as many arrays as are allowed."""
    levels = rng.randrange(50, 66)
    return b"[" * levels + raw + b"]" * levels


def _replaced(
    raw: bytes, rng: random.Random, pattern: re.Pattern[bytes], change: Callable[[bytes], bytes]
) -> bytes:
    found = list(pattern.finditer(raw))
    if not found:
        return raw
    one = rng.choice(found)
    return raw[: one.start()] + change(one[0]) + raw[one.end() :]


_SPELLINGS = (_twice, _number, _escape, _blank, _cut, _deep)
