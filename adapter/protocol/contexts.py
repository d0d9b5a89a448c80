"""Contexts of the messages we send. Source: protocol specification, section 3."""

from collections.abc import Mapping
from typing import Any

from adapter.domain.instants import format_duration, format_instant
from adapter.domain.trade import Peer
from adapter.protocol.actions import Action
from adapter.protocol.envelope import VERSION

DOMAIN = "energy-trade"
TERMS_TTL_MS = 15 * 60 * 1000
"""How long the terms of an on_select or on_init stand at most."""
CALLBACK_TTL_MS = 60 * 60 * 1000
"""Longer than our retry schedule, so that a late callback still arrives."""

_COPIED = ("version", "domain", "transaction_id", "bap_id", "bap_uri", "bpp_id", "bpp_uri")


def transaction_base(
    *, bap: Peer, bpp: Peer, transaction_id: str, domain: str = DOMAIN
) -> dict[str, Any]:
    """Return the part of the context that all messages of a transaction share."""
    return {
        "version": VERSION,
        "domain": domain,
        "transaction_id": transaction_id,
        "bap_id": bap.subscriber_id,
        "bap_uri": bap.uri,
        "bpp_id": bpp.subscriber_id,
        "bpp_uri": bpp.uri,
    }


def base_of(context: Mapping[str, Any], me: Peer) -> dict[str, Any]:
    """Return the part of a request's context that all its callbacks copy unchanged.

    A discover may leave the BPP out; then the BPP that answers names itself.
    """
    base = {name: context[name] for name in _COPIED if name in context}
    return {"bpp_id": me.subscriber_id, "bpp_uri": me.uri} | base


def message_context(
    base: Mapping[str, Any], action: Action, *, message_id: str, now_ms: int, ttl_ms: int
) -> dict[str, Any]:
    """Return the context of one message of the transaction that `base` is about."""
    return {
        **{name: base[name] for name in _COPIED if name in base},
        "action": action.value,
        "message_id": message_id,
        "timestamp": format_instant(now_ms),
        "ttl": format_duration(ttl_ms),
    }
