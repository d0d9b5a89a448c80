"""Which dialect a message is written in: told by the shape of its keys, never by its version.

Source: protocol specification, section 3.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from adapter.protocol.contract_view import last_segment


class Dialect(StrEnum):
    """A family of message shapes."""

    DRAFT = "draft"
    LTS = "lts"
    RC = "rc"


_LTS_CONTEXT = frozenset({"bapId", "bapUri", "bppId", "bppUri", "messageId", "transactionId"})
_RC_ORDER = frozenset({"beckn:orderItems", "beckn:orderStatus"})
_RC_DOMAIN = "beckn.one:deg:"


def dialect_of(body: Mapping[str, Any]) -> Dialect:
    """Return the dialect of a message; without any sign of one it is draft."""
    context, message = _object(body.get("context")), _object(body.get("message"))
    if not _LTS_CONTEXT.isdisjoint(context) or "contract" in message:
        return Dialect.LTS
    order = _object(message.get("order"))
    if not _RC_ORDER.isdisjoint(order):
        return Dialect.RC
    if _is_draft_order(order):
        return Dialect.DRAFT
    domain = context.get("domain")
    is_rc = isinstance(domain, str) and domain.startswith(_RC_DOMAIN)
    return Dialect.RC if is_rc else Dialect.DRAFT


def _is_draft_order(order: Mapping[str, Any]) -> bool:
    if "beckn:items" in order or "beckn:offers" in order:
        return True
    type_name = _object(order.get("beckn:orderAttributes")).get("@type")
    return isinstance(type_name, str) and last_segment(type_name) == "EnergyContractP2PTrade"


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
