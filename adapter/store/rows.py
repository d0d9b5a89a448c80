"""Values to columns and back, the same for every SQL store.

Nested values are JSON documents with exact numbers. The codec follows the type hints of the
dataclasses: a new field with a default needs no migration, an unknown one is passed over. What is
read here was written here, so it is not bounded again as `protocol.strict_json` bounds a body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Trade, TradeState
from adapter.protocol import strict_json
from adapter.protocol.decision import MessageKind
from adapter.service.records import Asked, AskedState, InboxRow, OutboxRow, OutboxState

Values = tuple[Any, ...]
"""Column values in the order of the columns below: str, int, bytes or None."""

LATEST_MS = 2**53
"""Later than any instant with a meaning; bounds what is only searched for."""

FINISHED = (TradeState.COMPLETED, TradeState.TERMINATED)
"""States of a trade whose messages may be forgotten."""

INBOX_COLUMNS = tuple(field.name for field in fields(InboxRow))
ASKED_COLUMNS = tuple(field.name for field in fields(Asked))
OFFER_COLUMNS = ("offer_id", "created_ms", "available_micro_kwh", "withdrawn", "document")
OUTBOX_COLUMNS = tuple(field.name for field in fields(OutboxRow))
OUTBOX_STORED = tuple(column for column in OUTBOX_COLUMNS if column not in ("id", "body"))
OUTBOX_CHANGED = (
    *("url", "state", "attempts", "next_ms", "expires_ms", "http_status"),
    *("code", "ack_signature", "sent_us", "took_us"),
)
TRADE_COLUMNS = (
    *("side", "transaction_id", "peer", "state", "contract_id"),
    *("due_ms", "version", "document"),
)

KEPT_TRADES = 512
"""Trades that were written last; the next message of one finds it here, and decodes nothing."""
KEPT_CHARACTERS = 16_384
"""A longer document, as of a market with many prosumers, is decoded each time."""

_TRADE = msgspec.json.Decoder(Trade, float_hook=Decimal)
_OFFER = msgspec.json.Decoder(Offer, float_hook=Decimal)
_OBJECT = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_INBOX = attrgetter(*INBOX_COLUMNS)
_OUTBOX_KINDS = tuple(
    (OUTBOX_COLUMNS.index(column), kind)
    for column, kind in (("kind", MessageKind), ("side", Side), ("state", OutboxState))
)


_WRITTEN: dict[str | bytes, Trade] = {}
"""Trades by their documents, so that what is found is what is stored, whoever wrote it."""


def trade_document(trade: Trade) -> str:
    """Return the whole trade as a JSON document."""
    document = strict_json.encode(trade).decode()
    if len(document) <= KEPT_CHARACTERS:
        if len(_WRITTEN) >= KEPT_TRADES:
            _WRITTEN.clear()
        _WRITTEN[document] = trade
    return document


def trade_from(document: str | bytes) -> Trade:
    """Return the trade of a document; nobody changes what is in it."""
    return _WRITTEN.get(document) or _TRADE.decode(document)


def trade_values(trade: Trade) -> Values:
    """Return the columns of a trade."""
    due_ms = trade.due_ms
    return (
        trade.side.value,
        trade.transaction_id,
        trade.peer.subscriber_id,
        trade.state.value,
        trade.contract_id,
        None if due_ms is None else min(max(due_ms, 0), LATEST_MS),
        trade.version,
        trade_document(trade),
    )


def inbox_values(row: InboxRow) -> Values:
    """Return the columns of a received message."""
    values: Values = _INBOX(row)
    return values


def inbox_from(values: Sequence[Any]) -> InboxRow:
    """Return the received message of its columns."""
    return InboxRow(*values)


def asked_values(asked: Asked) -> Values:
    """Return the columns of a request of ours."""
    return (
        asked.message_id,
        asked.action,
        asked.side.value,
        asked.transaction_id,
        asked.peer,
        asked.deadline_ms,
        asked.state.value,
        asked.answer_digest,
        None if asked.error is None else strict_json.encode(asked.error).decode(),
    )


def asked_from(values: Sequence[Any]) -> Asked:
    """Return the request of its columns."""
    message_id, action, side, transaction_id, peer, deadline_ms, state, digest, error = values
    return Asked(
        message_id,
        action,
        Side(side),
        transaction_id,
        peer,
        deadline_ms,
        AskedState(state),
        digest,
        None if error is None else object_from(error),
    )


def outbox_values(row: OutboxRow) -> Values:
    """Return the columns of a message to send, without its id and its body."""
    return (
        row.peer,
        row.url,
        row.kind.value,
        row.action,
        row.side.value,
        row.transaction_id,
        row.message_id,
        row.created_ms,
        row.next_ms,
        row.expires_ms,
        row.state.value,
        row.attempts,
        row.request_authorization,
        row.http_status,
        row.code,
        row.ack_signature,
        row.sent_us,
        row.took_us,
    )


def outbox_changes(row: OutboxRow) -> Values:
    """Return what changes of a message to send after it was queued: OUTBOX_CHANGED."""
    return (
        row.url,
        row.state.value,
        row.attempts,
        row.next_ms,
        row.expires_ms,
        row.http_status,
        row.code,
        row.ack_signature,
        row.sent_us,
        row.took_us,
    )


def outbox_from(values: Sequence[Any]) -> OutboxRow:
    """Return the message to send of its columns."""
    given = list(values)
    for place, kind in _OUTBOX_KINDS:
        given[place] = kind(given[place])
    return OutboxRow(*given)


def offer_values(offer: Offer) -> Values:
    """Return the columns of an offer."""
    document = strict_json.encode(offer).decode()
    stock = offer.available_micro_kwh
    return (offer.offer_id, offer.created_ms, stock, int(offer.withdrawn), document)


@lru_cache(maxsize=1_024)
def offer_from(document: str | bytes) -> Offer:
    """Return the offer of a document, the same one for the same document."""
    return _OFFER.decode(document)


def object_from(document: str | bytes) -> Mapping[str, Any]:
    """Return the JSON object of a document, with exact numbers."""
    return _OBJECT.decode(document)
