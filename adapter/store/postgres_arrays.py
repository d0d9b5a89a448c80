"""Columns of many rows as arrays, in the binary form of PostgreSQL: one value for each column.

A statement then writes or finds many rows at the price of one. The library could send lists too;
it spells them as text, with each byte of a body as two letters.
Source: PostgreSQL, `array_recv` in src/backend/utils/adt/arrayfuncs.c.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

import psycopg

_HEAD = Struct(">5i")
"""Dimensions, whether there are NULLs, type of the elements, how many, number of the first."""
_LENGTH = Struct(">i")
_INT = Struct(">q")
_NULL = _LENGTH.pack(-1)
BINARY = 1
"""Format of all values here."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of columns."""

    name: str
    """Of the array, in a statement."""
    oid: int
    array_oid: int
    encode: Callable[[Any], bytes]


def _text(value: str) -> bytes:
    if "\0" in value:
        msg = "PostgreSQL text fields cannot contain NUL (0x00) bytes"
        raise psycopg.DataError(msg)
    return value.encode()


TEXT = Kind("text[]", 25, 1009, _text)
INT = Kind("bigint[]", 20, 1016, _INT.pack)
BYTES = Kind("bytea[]", 17, 1001, bytes)


class Arrays(NamedTuple):
    """Values of a statement, ready to be sent."""

    types: tuple[int, ...]
    values: Sequence[bytes]
    formats: Sequence[int]


class Columns:
    """Names and types of the columns of some rows."""

    def __init__(self, columns: Mapping[str, Kind]) -> None:
        """Take them in the order in which rows have their values."""
        self.names = tuple(f'"{name}"' for name in columns)
        self._kinds = tuple(columns.values())
        self._types = tuple(kind.array_oid for kind in self._kinds)
        self._formats = [BINARY] * len(self._kinds)

    @property
    def rows(self) -> str:
        """Return what the rows are in a FROM: a table `new` in which they have their order."""
        values = ", ".join(f"${at}::{kind.name}" for at, kind in enumerate(self._kinds, 1))
        return f"unnest({values}) AS new ({', '.join(self.names)})"

    def arrays(self, rows: Sequence[Sequence[Any]]) -> Arrays:
        """Return rows, at least one, column by column.

        Raises:
            psycopg.DataError: a text that PostgreSQL cannot hold.
        """
        found = zip(self._kinds, zip(*rows, strict=True), strict=True)
        return Arrays(self._types, [_array(kind, values) for kind, values in found], self._formats)


def _array(kind: Kind, values: Sequence[Any]) -> bytes:
    encode, length = kind.encode, _LENGTH.pack
    has_null = None in values
    parts = [_HEAD.pack(1, has_null, kind.oid, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            sent = encode(value)
            parts += length(len(sent)), sent
    return b"".join(parts)
