"""Canonical bytes: the one spelling of a document that is hashed and signed.

The subset of RFC 8785 that settlement specification section 5 allows: ASCII keys in order, no
white space, UTF-8; integers below 2^53 as numbers, amounts as strings; no fractions, no null.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

EXACT_BELOW = 2**53
"""JSON readers with doubles are exact below this."""


class CanonicalError(ValueError):
    """A document or text that is not canonical."""


def canonical_bytes(document: Mapping[str, Any] | list[Any]) -> bytes:
    """Return the canonical bytes of `document`.

    Raises:
        CanonicalError: a value that the subset does not allow.
    """
    _check(document)
    try:
        return _ENCODER.encode(document).encode()
    except UnicodeEncodeError:
        msg = "a text holds half of a surrogate pair"
        raise CanonicalError(msg) from None


def parse_canonical(data: bytes) -> dict[str, Any]:
    """Return the object that `data` spells canonically.

    Raises:
        CanonicalError: not JSON, not an object, or not the canonical spelling.
    """
    try:
        document = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        msg = f"not readable: {error}"
        raise CanonicalError(msg) from None
    if not isinstance(document, dict):
        msg = "not an object"
        raise CanonicalError(msg)
    if canonical_bytes(document) != data:
        msg = "not the canonical spelling of its content"
        raise CanonicalError(msg)
    return document


def digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical bytes in hex."""
    return hashlib.sha256(canonical_bytes(document)).hexdigest()


def _check(value: Any) -> None:
    """Refuse what the subset lacks. Texts and small numbers, nearly all values, are told apart."""
    if type(value) is dict or isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or not name.isascii():
                msg = f"{name!r} is not an ASCII key"
                raise CanonicalError(msg)
        parts: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        _check_plain(value)
        return
    for part in parts:
        kind = type(part)
        if kind is not str and (kind is not int or abs(part) >= EXACT_BELOW):
            _check(part)


def _check_plain(value: Any) -> None:
    if isinstance(value, int) and abs(value) >= EXACT_BELOW:
        msg = f"{value} is not below 2^53"
        raise CanonicalError(msg)
    if not isinstance(value, str | int):  # bool is an int
        msg = f"{type(value).__name__} is not allowed"
        raise CanonicalError(msg)


def _refuse_number(text: str) -> None:
    msg = f"{text} is not an integer"
    raise CanonicalError(msg)


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False
)
_DECODER = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)
