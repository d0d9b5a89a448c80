"""Rows as JSON text and back, for stores that keep text.

A field is int, str, bool, None or a tuple of these, or a dataclass of such fields.
"""

import dataclasses
import json
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, TypeVar, get_origin, get_type_hints

from adapter.settlement.state import Row

R = TypeVar("R", bound=Row)


def encode_row(row: Row) -> str:
    """Return the text of a row."""
    return json.dumps(_fields(row), separators=(",", ":"), ensure_ascii=False)


def decode_row(kind: type[R], text: str) -> R:
    """Return the row that `encode_row` wrote."""
    place: Any = kind
    row: R = _reader(place)(json.loads(text))
    return row


def _fields(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    plain = {name: getattr(value, name) for name in _names(kind)}
    return {
        name: _fields(part) if dataclasses.is_dataclass(part) else part
        for name, part in plain.items()
    }


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _reader(kind: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a function from the parsed JSON of a dataclass to the value."""
    hints = get_type_hints(kind)
    special = {
        name: reader for name in _names(kind) if (reader := _part_reader(hints[name])) is not None
    }

    def read(fields: dict[str, Any]) -> Any:
        for name, reader in special.items():
            fields[name] = reader(fields[name])
        return kind(**fields)

    return read


def _part_reader(hint: Any) -> Callable[[Any], Any] | None:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _reader(hint)
    if get_origin(hint) is tuple:
        return _tuples
    if isinstance(hint, type) and issubclass(hint, Enum):
        members = {member.value: member for member in hint}
        return members.__getitem__  # several times faster than a call of the class
    return None


def _tuples(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple([_tuples(part) if isinstance(part, list) else part for part in value])
