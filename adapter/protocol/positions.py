"""Where in the text of a message a JSONPath stands: line, column and length, for people.

Nothing here judges a message; it only finds again what `validation` spoke of. One pass over the
text, which is bounded by what a node reads.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adapter.domain.errors import WireError
from adapter.protocol import strict_json

_TOKEN = re.compile(
    r'[ \t\r\n]*(?:(?P<text>"(?:[^"\\]+|\\.)*+")|(?P<sign>[{}\[\],:])|(?P<plain>[^\s{}\[\],:"]+))',
    re.DOTALL,
)
_STEP = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\[(?P<index>\d+)\]|\['(?P<key>(?:[^'\\]|\\.)*)'\]",
    re.ASCII | re.DOTALL,
)
_NAMED_PLACE = re.compile(r" at line (\d+) column (\d+)")
_NAMED_BYTE = re.compile(r"byte (\d+) is not UTF-8")
_SHORT = 4_096
"""A token of more characters is not decoded again to see whether it is the faulty one."""


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of one line."""

    line: int
    """From 1."""
    column: int
    """In characters, from 1."""
    length: int = 1
    """Characters on this line."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def find_places(raw: bytes, paths: Iterable[str]) -> dict[str, Place]:
    """Return where the value of each JSONPath begins; of an absent one, what it is absent from.

    Args:
        raw: strict JSON.
        paths: as findings have them, beginning with `$`.
    """
    text = raw.decode("utf-8", "replace")
    root = _Node()
    steps = {path: tuple(_steps(path)) for path in paths}
    for way in steps.values():
        here = root
        for step in way:
            here = here.children.setdefault(step, _Node())
    _Scanner(text).value(root)
    return {path: _place(text, *root.span_of(way)) for path, way in steps.items()}


def find_fault(raw: bytes, message: str) -> Place:
    """Return where bytes stop being strict JSON.

    Args:
        raw: any bytes.
        message: what the strict decoder said about them.
    """
    byte = _NAMED_BYTE.search(message)
    if byte is not None:
        before = raw[: int(byte[1])].decode("utf-8", "replace")
        return _place(before, len(before), len(before) + 1)
    named = _NAMED_PLACE.search(message)
    if named is not None:
        return Place(int(named[1]), int(named[2]))
    text = raw.decode("utf-8", "replace")
    return _place(text, *_first_fault(text))


def line_of(raw: bytes, number: int) -> str:
    """Return one line of a text without its end, empty when there is none of that number."""
    lines = raw.split(b"\n", number)
    line = lines[number - 1] if number <= len(lines) else b""
    return line.decode("utf-8", "replace").rstrip("\r")


def _place(text: str, start: int, end: int) -> Place:
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", start)
    stop = len(text) if stop < 0 else stop
    return Place(text.count("\n", 0, start) + 1, start - begin + 1, max(1, min(end, stop) - start))


def _tokens(text: str, position: int = 0) -> Iterator[_Token]:
    while True:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            return
        start, position = match.span(match.lastgroup)
        yield _Token(match.lastgroup, match[match.lastgroup], start, position)


class _Node:
    """A wanted place or one on the way to it."""

    __slots__ = ("children", "span")

    def __init__(self) -> None:
        self.children: dict[str | int, _Node] = {}
        self.span: tuple[int, int] | None = None

    def span_of(self, steps: Iterable[str | int]) -> tuple[int, int]:
        """Return start and end of a place below, or of the innermost value around it."""
        here, best = self, self.span or (0, 1)
        for step in steps:
            here = here.children[step]
            best = here.span or best
        return best


class _Scanner:
    """Walks a strict JSON text and notes where the nodes of a tree of places begin."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)

    def value(self, node: _Node) -> None:
        """Read one value."""
        token = next(self._tokens, None)
        if token is not None:
            self._value(token, node)

    def _value(self, token: _Token, node: _Node | None) -> None:
        if node is not None:
            node.span = token.start, token.end
        if token.kind == "sign" and token.text in "{[":
            if node is None or not node.children:
                self._skip()
            elif token.text == "[":
                self._list(node)
            else:
                self._object(node)

    def _object(self, node: _Node) -> None:
        for token in self._tokens:
            if token.text == "}" and token.kind == "sign":
                return
            if token.kind == "text":
                colon, value = next(self._tokens, None), next(self._tokens, None)
                if colon is None or value is None:
                    return
                self._value(value, node.children.get(_key(token.text)))

    def _list(self, node: _Node) -> None:
        index = 0
        for token in self._tokens:
            if token.kind == "sign" and token.text == "]":
                return
            if token.kind == "sign" and token.text == ",":
                index += 1
            else:
                self._value(token, node.children.get(index))

    def _skip(self) -> None:
        """Read on to the end of a list or object whose beginning was read."""
        depth = 1
        for token in self._tokens:
            if token.kind == "sign" and token.text in "{[":
                depth += 1
            elif token.kind == "sign" and token.text in "}]":
                depth -= 1
                if depth == 0:
                    return


def _steps(path: str) -> Iterator[str | int]:
    """Give keys and indexes of a JSONPath as `findings.json_path` writes them."""
    for match in _STEP.finditer(path):
        if match["index"] is not None:
            yield int(match["index"])
        elif match["name"] is not None:
            yield match["name"]
        else:
            yield re.sub(r"\\(.)", r"\1", match["key"], flags=re.DOTALL)


def _key(text: str) -> str:
    """Return the key that a token in quotes says; one that is no strict JSON stays as it is."""
    try:
        return str(strict_json.decode(text.encode()))
    except WireError:
        return text


def _first_fault(text: str) -> tuple[int, int]:
    """Return the first token that strict JSON refuses: too deep, a doubled key, a bad scalar."""
    keys: list[set[str] | None] = []
    before: _Token | None = None
    for token in _tokens(text):
        if token.kind != "sign":
            if not _is_scalar(token.text):
                return token.start, token.end
        elif token.text in "{[":
            keys.append(set() if token.text == "{" else None)
            if len(keys) > strict_json.MAX_DEPTH:
                return token.start, token.end
        elif token.text in "}]" and keys:
            keys.pop()
        elif token.text == ":" and before is not None and keys and keys[-1] is not None:
            if _key(before.text) in keys[-1]:
                return before.start, before.end
            keys[-1].add(_key(before.text))
        before = token
    return 0, 1


def _is_scalar(text: str) -> bool:
    if text[0] == '"' and ("\\u" not in text or len(text) > _SHORT):
        return True
    try:
        strict_json.decode(text[:_SHORT].encode())
    except WireError:
        return False
    return True
