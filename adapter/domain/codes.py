"""Every code that a node may put on the wire, with its HTTP status and whether a retry can help.

The codes of the contract layer are in `settlement_codes`. A published code is never renamed or
reused. Source: protocol specification, section 15.
"""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """A published code."""

    name: str
    http_status: int
    """Status of the HTTP answer that carries the code."""
    meaning: str
    """One sentence for people, also used in the generated error page."""
    transient: bool = False
    """A later retry of the same bytes may succeed."""


_TABLE = (
    # Context: what the message says about itself.
    Code("CTX_MISSING_FIELD", 400, "A required context field is missing."),
    Code("CTX_INVALID_FIELD", 400, "A context field has a value that is not allowed."),
    Code("CTX_CALLBACK_URL_MISSING", 400, "The message names no URL for its callback."),
    Code("CTX_INVALID_BPP_URI", 400, "bpp_uri is not an absolute http(s) URL."),
    Code("CTX_ACTION_MISMATCH", 400, "context.action is not the action of the path."),
    Code("CTX_VERSION_UNSUPPORTED", 400, "context.version is not 2.0.0."),
    Code("CTX_TTL_EXPIRED", 400, "The message arrived after timestamp + ttl."),
    Code("CTX_MESSAGE_ID_DUPLICATE", 400, "The message id was used before with another body."),
    Code("CTX_TRANSACTION_ID_UNKNOWN", 400, "No such transaction with this sender."),
    # Authentication.
    Code("AUT_SIGNATURE_MISSING", 401, "The message carries no signature."),
    Code("AUT_SIGNATURE_INVALID", 401, "The signature does not hold for these bytes."),
    Code("AUT_SUBSCRIBER_NOT_FOUND", 401, "The registry does not know the signer."),
    Code("AUT_KEY_NOT_FOUND", 401, "The registry does not know the key of the signer."),
    Code("AUT_KEY_EXPIRED_OR_REVOKED", 401, "The key may not be used now."),
    Code("AUT_UNAUTHORIZED_ACTION", 401, "The signer may not send this message."),
    Code("AUT_REPLAY_DETECTED", 401, "These signed bytes were seen before."),
    Code("AUT_DOMAIN_NOT_ALLOWED", 403, "The domain or network is not served here."),
    Code("AUT_RATE_LIMITED", 429, "The sender sends too fast.", transient=True),
    # Schema.
    Code("SCH_INVALID_JSON", 400, "The body is not strict JSON."),
    Code("SCH_SCHEMA_VALIDATION_FAILED", 400, "The message does not fit its schema."),
    Code("SCH_REQUIRED_FIELD_MISSING", 400, "A required field is missing."),
    Code("SCH_FIELD_NOT_ALLOWED", 400, "A field is not part of the schema."),
    Code("SCH_INVALID_ENUM", 400, "A value is not one of those allowed."),
    Code("SCH_INVALID_FORMAT", 400, "A value has not the demanded format."),
    Code("SCH_TYPE_NOT_SUPPORTED", 400, "A value has the wrong type."),
    Code("SCH_ATTRIBUTE_PACK_INVALID", 400, "A rule of the energy contract does not hold."),
    Code("SCH_INVALID_JSONPATH", 400, "The discover filter cannot be read."),
    # Network.
    Code("NET_INTERNAL_ERROR", 500, "A fault of this node.", transient=True),
    Code("NET_OVERLOADED", 503, "The node has too much to do.", transient=True),
    Code("NET_DOWNSTREAM_UNAVAILABLE", 503, "A party it depends on is away.", transient=True),
    Code("NET_NOT_IMPLEMENTED", 501, "The action is not offered."),
    Code("NET_TIMEOUT", 504, "No callback came in time.", transient=True),
    Code("NET_ACK_TIMEOUT", 504, "No acknowledgement came in time.", transient=True),
    Code("NET_CALLBACK_FAILED", 502, "The callback could not be delivered.", transient=True),
    # Business.
    Code("BIZ_ORDER_NOT_FOUND", 400, "No such order in this transaction."),
    Code("BIZ_OFFER_NOT_FOUND", 400, "No such offer."),
    Code("BIZ_ITEM_NOT_FOUND", 400, "No such item."),
    Code("BIZ_PROVIDER_NOT_FOUND", 400, "No such provider."),
    Code("BIZ_INVALID_STATE_TRANSITION", 409, "The trade is in no state for this step."),
    Code("BIZ_ALREADY_CONFIRMED", 409, "The contract is active already."),
    Code("BIZ_ALREADY_CANCELLED", 202, "The contract is cancelled already."),
    Code("BIZ_QUOTE_EXPIRED_OR_CHANGED", 409, "The terms have lapsed."),
    Code("BIZ_UPDATE_INCONSISTENT", 409, "The message contradicts an earlier one."),
    Code("BIZ_QUANTITY_UNAVAILABLE", 400, "More energy than is offered or may be traded."),
    Code("BIZ_PRICE_MISMATCH", 400, "The price is not that of the offer or of the formulas."),
    Code("BIZ_FULFILLMENT_UNAVAILABLE", 409, "The grid operator did not take part."),
    Code("BIZ_PAYMENT_FAILED", 409, "A party's means, or its allowance, do not cover the trade."),
    # Policy.
    Code("POL_CANCELLATION_NOT_ALLOWED", 409, "Delivery has begun, it cannot be cancelled."),
    Code("POL_ELIGIBILITY_NOT_MET", 400, "A rule of the network is not met."),
    Code("POL_ENGAGEMENT_REFUSED", 403, "The peer is blocked here."),
    Code("POL_CALLER_TRUST_INSUFFICIENT", 403, "The peer is not trusted enough."),
    Code("POL_NP_CAPACITY_EXCEEDED", 429, "The node takes no more trades now.", transient=True),
    Code("POL_NP_DORMANT", 403, "The node takes no trades now.", transient=True),
    # Local interfaces.
    Code("UNAUTHENTICATED", 401, "No valid token or signature."),
)

CODES = MappingProxyType({code.name: code for code in _TABLE})
"""Published wire codes by name."""

READ_ONLY_TRANSIENT = frozenset({"NET_CATALOG_SOURCE_UNAVAILABLE"})
"""Codes that we never send but retry on when a peer does."""


def is_transient(name: str) -> bool:
    """Return whether a peer's answer with this code may be retried; unknown codes may not."""
    code = CODES.get(name)
    return name in READ_ONLY_TRANSIENT or (code is not None and code.transient)
