"""Rows as JSON text and back, for stores that keep text.

A field is int, str, bool, None or a tuple of these, or a dataclass of such fields.
"""

from functools import cache
from typing import Any, TypeVar

from msgspec.json import Decoder, Encoder

from adapter.settlement.state import Row

R = TypeVar("R", bound=Row)

_ENCODER = Encoder()


def encode_row(row: Row) -> str:
    """Return the text of a row."""
    return _ENCODER.encode(row).decode()


def decode_row(kind: type[R], text: str) -> R:
    """Return the row that `encode_row` wrote."""
    place: Any = kind
    row: R = _decoder(place).decode(text)
    return row


@cache
def _decoder(kind: Any) -> Decoder[Any]:
    return Decoder(kind)
