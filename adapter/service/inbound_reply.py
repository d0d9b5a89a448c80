"""What a node answers on a network path."""

from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case and values, as ASGI has them."""


@dataclass(frozen=True, slots=True)
class InboundReply:
    """An answer that is ready to be sent."""

    status: int
    headers: Headers
    """Without content type and length, which the web adds."""
    body: bytes


def values_of(headers: Headers, name: bytes) -> list[str]:
    """Return the values of every header `name`, given in lower case, in order."""
    return [value.decode("latin-1") for key, value in headers if key == name]
