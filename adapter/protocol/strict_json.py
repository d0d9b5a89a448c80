"""Strict JSON: bytes to values with exact numbers, values to bytes.

Refused: anything but UTF-8 without a byte order mark, duplicate keys, NaN and Infinity, lone
surrogates, depth over 64, numbers of more than 40 digits or with an exponent beyond ±30.
Integers become int, other numbers Decimal; a float never appears. `fast_json` reads what it is
sure to read alike; this module decides all else and is the only one that refuses.
Source: protocol specification, sections 4 and 18 (R13); quality targets, S9.
"""

import json
import re
from decimal import Decimal
from typing import Any, Never

from adapter.domain.errors import WireError
from adapter.protocol.fast_json import UNSURE, Codec, Limits

MAX_DEPTH = 64
"""The root counts as 1."""
MAX_DIGITS = 40
MAX_EXPONENT = 30
WARM_UP = 500
"""Bodies decoded here before `fast_json` is asked, unless something is encoded first: its import
costs what it saves on almost 2,000, and a short command reads a few."""

_CODEC = Codec(Limits(MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT), warm_up=WARM_UP)
_LONG_NUMBER = MAX_DIGITS + 8
# Always matches from a quote on and never gives back, so that the time is linear.
_STRING = re.compile(r'"(?:[^"\\]+|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(raw: bytes) -> Any:
    """Return the JSON value of `raw` with exact numbers.

    Raises:
        WireError: SCH_INVALID_JSON, with what is wrong and where.
    """
    value = _CODEC.decode(raw)
    return _decode(raw) if value is UNSURE else value


def _decode(raw: bytes) -> Any:
    """Return the same as `decode`, without the fast way."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        why = f"byte {error.start} is not UTF-8"
        raise _invalid(why) from None
    if text.startswith("\ufeff"):
        raise _invalid("the body starts with a byte order mark")
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        msg = f"{error.msg} at line {error.lineno} column {error.colno}"
        raise _invalid(msg) from None
    except RecursionError:
        why = f"nested deeper than {MAX_DEPTH}"
        raise _invalid(why) from None
    if "\\u" in text or "\\U" in text:
        _check_surrogates(value)
    return value


def decode_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of `raw`.

    Raises:
        WireError: SCH_INVALID_JSON; SCH_SCHEMA_VALIDATION_FAILED for any other JSON value.
    """
    value = decode(raw)
    if not isinstance(value, dict):
        code = "SCH_SCHEMA_VALIDATION_FAILED"
        msg = f"the body is a JSON {_json_type(value)}, expected an object"
        raise WireError(code, msg, path="$")
    return value


def encode(value: Any) -> bytes:
    """Return compact UTF-8 JSON; Decimals are written as numbers, digit by digit."""
    return _CODEC.encode(value)


def _invalid(why: str) -> WireError:
    return WireError("SCH_INVALID_JSON", f"the body is not strict JSON: {why}", path="$")


def _json_type(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _check_depth(text: str) -> None:
    """Refuse nesting over MAX_DEPTH; counting brackets first keeps the usual case at 2 µs."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    for char in _STRING.sub("", text):
        if char in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                why = f"nested deeper than {MAX_DEPTH}"
                raise _invalid(why)
        elif char in "}]":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                why = f"the key {key[:40]!r} stands twice in one object"
                raise _invalid(why)
            seen.add(key)
    return result


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS and len(text.lstrip("-")) > MAX_DIGITS:
        why = f"a number has more than {MAX_DIGITS} digits"
        raise _invalid(why)
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > _LONG_NUMBER:
        why = f"a number has more than {MAX_DIGITS} digits"
        raise _invalid(why)
    number = Decimal(text)
    _, digits, exponent = number.as_tuple()
    if len(digits) > MAX_DIGITS:
        why = f"a number has more than {MAX_DIGITS} digits"
        raise _invalid(why)
    written = re.search(r"[eE]([+-]?\d+)$", text)
    if (written and abs(int(written[1])) > MAX_EXPONENT) or not isinstance(exponent, int):
        why = f"a number has an exponent beyond {MAX_EXPONENT}"
        raise _invalid(why)
    return number


def _constant(text: str) -> Never:
    why = f"{text} is not a JSON number"
    raise _invalid(why)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
)


def _check_surrogates(value: object) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise _invalid("a string holds a lone surrogate")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)
