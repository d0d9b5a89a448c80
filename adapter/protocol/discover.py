"""Which offers a discover asks for: words, and a filter of comparisons.

A filter is `$[?( … )]` or the bare predicate: comparisons of paths on `@` with constants, joined
by `&&`, `||` and parentheses, at most 2 KiB. Paths name members of the item or the offer, with or
without their `beckn:` prefix. A path that leads nowhere makes its comparison false.
Source: protocol specification, section 4.1 and R15.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_instant

MAX_FILTER_BYTES = 2048
MAX_NESTING = 32
KEPT_FILTERS = 128
"""Read twice for each message, when it is checked and when it is answered."""

Predicate = Callable[[Mapping[str, Any]], bool]
Wish = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<op>&&|\|\||==|!=|<=|>=|<|>|\(|\))
    | (?P<path>@(?:\.[A-Za-z_][\w:-]*|\['[^']{1,80}'\]|\["[^"]{1,80}"\])+)
    | (?P<text>'[^']*'|"[^"]*")
    | (?P<number>-?\d{1,20}(?:\.\d{1,20})?)
    | (?P<word>true|false|null)
    )""",
    re.VERBOSE | re.ASCII,
)
_WRAPPED = re.compile(r"\s*\$\[\?\((.*)\)\]\s*", re.DOTALL)
_SEGMENT = re.compile(r"\.([A-Za-z_][\w:-]*)|\[['\"]([^'\"]+)['\"]\]", re.ASCII)
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def wish_of(message: Mapping[str, Any]) -> Wish:
    """Return what a discover message asks for, as a test of (item, offer).

    Raises:
        WireError: SCH_INVALID_JSONPATH, the filter cannot be read; SCH_TYPE_NOT_SUPPORTED, a part
            is of another type, which the schema leaves open inside an intent.
    """
    intent = message.get("intent") or {}
    _check_types(message, "$.message")
    _check_types(intent, "$.message.intent")
    words = message.get("text_search") or intent.get("text_search") or ""
    filters = message.get("filters") or intent.get("filters") or {}
    wanted = read_filter(filters["expression"]) if filters.get("expression") else None

    def is_wished(item: Mapping[str, Any], offer: Mapping[str, Any]) -> bool:
        fits = wanted is None or wanted(_candidate(item, offer))
        return fits and has_words(words, item, offer)

    return is_wished


def _check_types(holder: Mapping[str, Any], place: str) -> None:
    filters = holder.get("filters")
    expression = filters.get("expression") if isinstance(filters, Mapping) else None
    for name, value, kind in (
        ("text_search", holder.get("text_search"), str),
        ("filters", filters, Mapping),
        ("filters.expression", expression, str),
    ):
        if value is not None and not isinstance(value, kind):
            msg = f"{name} is of another type"
            raise WireError("SCH_TYPE_NOT_SUPPORTED", msg, path=f"{place}.{name}")


def has_words(text: str, item: Mapping[str, Any], offer: Mapping[str, Any]) -> bool:
    """Return whether every word occurs, in any case, in names, ids, source type or mode."""
    attributes = item.get("beckn:itemAttributes") or {}
    haystack = " ".join(
        str(part)
        for part in (
            item.get("beckn:id"),
            (item.get("beckn:descriptor") or {}).get("schema:name"),
            offer.get("beckn:id"),
            (offer.get("beckn:descriptor") or {}).get("schema:name"),
            offer.get("beckn:provider"),
            attributes.get("sourceType"),
            str(attributes.get("deliveryMode")).replace("_", " "),
        )
    ).lower()
    return all(word in haystack for word in text.lower().split())


@lru_cache(maxsize=KEPT_FILTERS)
def read_filter(expression: str) -> Predicate:
    """Return the predicate of a filter.

    Raises:
        WireError: SCH_INVALID_JSONPATH.
    """
    if len(expression.encode()) > MAX_FILTER_BYTES:
        why = f"it is longer than {MAX_FILTER_BYTES} bytes"
        raise _unreadable(why)
    wrapped = _WRAPPED.fullmatch(expression)
    return _Parser(_tokens(wrapped[1] if wrapped else expression)).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            why = f"no comparison at {text[position : position + 20].strip()!r}"
            raise _unreadable(why)
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent.

    any = all {"||" all};  all = one {"&&" one};  one = "(" any ")" | comparison
    """

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._any()
        if self._at != len(self._tokens):
            why = f"{self._peek()!r} follows a complete predicate"
            raise _unreadable(why)
        return predicate

    def _any(self) -> Predicate:
        parts = self._joined("||", self._all)
        return parts[0] if len(parts) == 1 else lambda x: any(part(x) for part in parts)

    def _all(self) -> Predicate:
        parts = self._joined("&&", self._one)
        return parts[0] if len(parts) == 1 else lambda x: all(part(x) for part in parts)

    def _joined(self, sign: str, part: Callable[[], Predicate]) -> list[Predicate]:
        parts = [part()]
        while self._peek() == sign:
            self._at += 1
            parts.append(part())
        return parts

    def _one(self) -> Predicate:
        if self._peek() != "(":
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_NESTING:
            why = f"it nests deeper than {MAX_NESTING}"
            raise _unreadable(why)
        self._at += 1
        inner = self._any()
        if self._peek() != ")":
            raise _unreadable("a parenthesis is not closed")
        self._at += 1
        self._depth -= 1
        return inner

    def _comparison(self) -> Predicate:
        left, sign, right = self._operand(), self._take(), self._operand()
        if sign not in _COMPARISONS:
            why = f"{sign!r} is no comparison"
            raise _unreadable(why)
        return lambda x: _compare(sign, left(x), right(x))

    def _operand(self) -> Callable[[Mapping[str, Any]], Any]:
        kind = self._tokens[self._at][0] if self._at < len(self._tokens) else "end"
        text = self._take()
        if kind == "path":
            segments = [_spellings(dot or bracket) for dot, bracket in _SEGMENT.findall(text)]
            return lambda x: _follow(x, segments)
        if kind not in ("text", "number", "word"):
            why = f"expected a path or a constant, found {text!r}"
            raise _unreadable(why)
        constant = {"text": text[1:-1], "number": text, "word": _WORDS.get(text)}[kind]
        value = Decimal(text) if kind == "number" else constant
        return lambda _: value

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        if self._at >= len(self._tokens):
            raise _unreadable("it ends in the middle of a comparison")
        self._at += 1
        return self._tokens[self._at - 1][1]


_MISSING = object()
_PREFIXES = ("", "beckn:", "schema:", "beckn:schema:")


def _compare(sign: str, left: object, right: object) -> bool:
    if left is _MISSING or right is _MISSING:
        return False
    left, right = _comparable(left, right)
    same_kind = type(left) is type(right)
    if sign in ("==", "!="):
        return (same_kind and left == right) is (sign == "==")
    return same_kind and isinstance(left, str | Decimal) and bool(_COMPARISONS[sign](left, right))


def _comparable(left: object, right: object) -> tuple[object, object]:
    """Read numbers as Decimal, and two date-times as instants."""
    if isinstance(left, str) and isinstance(right, str):
        if left[:1].isdigit() and right[:1].isdigit():
            try:
                return Decimal(parse_instant(left)), Decimal(parse_instant(right))
            except ValueError:
                pass
        return left, right
    return _exact(left), _exact(right)


def _exact(value: object) -> object:
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _follow(value: Any, segments: Sequence[tuple[str, ...]]) -> Any:
    """Return what stands at a path, each segment given in all its spellings."""
    for spellings in segments:
        if not isinstance(value, dict):
            return _MISSING
        spelled = [name for name in spellings if name in value]
        if len(spelled) > 1:  # the one that stands first
            spelled = [name for name in value if name in spellings]
        value = value[spelled[0]] if spelled else _MISSING
    return value


def _spellings(name: str) -> tuple[str, ...]:
    plain = _plain(name)
    return tuple(f"{prefix}{plain}" for prefix in _PREFIXES)


def _plain(name: str) -> str:
    return name.removeprefix("beckn:").removeprefix("schema:")


def _candidate(item: Mapping[str, Any], offer: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, **offer}


def _unreadable(why: str) -> WireError:
    msg = f"the filter cannot be read: {why}"
    path = "$.message.filters.expression"
    return WireError("SCH_INVALID_JSONPATH", msg, path=path)
