"""agreements: the buyer's own signed confirm as its consent to an agreement.

Evidence is the `Authorization` value and the body of the confirm that the buyer's app signed. The
host looks the key up in the registry and writes it into the command, so that the check below needs
no network and `ledger verify` repeats it years later. The form of the signature is that of the
network: three lines, the third the BLAKE2b-512 of the body.
Source: settlement specification, section 11.1; decision 0011.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from adapter.domain.errors import QuantityError
from adapter.domain.instants import parse_instant
from adapter.domain.quantities import to_micro
from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.canonical import parse_canonical
from adapter.settlement.contracts.parties import acts_for
from adapter.settlement.contracts.signed_price import price_pairs
from adapter.settlement.kinds import Kind
from adapter.settlement.refusals import invalid
from adapter.settlement.rows import Reply
from adapter.settlement.state import LedgerStore
from adapter.settlement.work import Work

HEADER_MAX = 2_048
BODY_MAX = 65_536
"""Bytes of a confirm; the largest examples have 8 000. It is kept in the journal."""
SKEW_MS = 5_000
"""How far ahead the clock of the buyer's app may be."""
LIFETIME_MAX_S = 3_600
DIGEST_LABELS = ("BLAKE-512=", "BLAKE2b-512=")
_WIRE_PARTS = ("authorization", "body")
_ALL_PARTS = (*_WIRE_PARTS, "public_key")
_PARAMETER = re.compile(r'[ \t]*([A-Za-z]+)=(?:"([^"]*)"|([0-9]{1,12}))[ \t]*(?:,|\Z)')
_SCHEME = "signature "


class EvidenceError(ValueError):
    """Why evidence does not bind the consumer; the text is for the caller."""


def _decode(name: str, wire: object) -> dict[str, str]:
    if not isinstance(wire, Mapping) or set(wire) != set(_WIRE_PARTS):
        raise invalid(name, "not an object of authorization and body")
    return {part: wire[part] for part in _WIRE_PARTS}


def _check(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not set(_WIRE_PARTS) <= set(value) <= set(_ALL_PARTS):
        raise invalid(name, "not an object of authorization and body")
    for part, most in (("authorization", HEADER_MAX), ("body", BODY_MAX), ("public_key", 64)):
        text, where = value.get(part, "x"), f"{name}.{part}"
        if not isinstance(text, str) or not 0 < len(text) <= most:
            raise invalid(where, f"not a text of at most {most} characters")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise invalid(where, "holds half of a surrogate pair") from None


SIGNED_CONFIRM = Kind(
    "the buyer's signed confirm",
    {
        "type": "object",
        "properties": {
            "authorization": {"type": "string", "maxLength": HEADER_MAX},
            "body": {"type": "string", "maxLength": BODY_MAX},
        },
        "required": list(_WIRE_PARTS),
        "additionalProperties": False,
    },
    _decode,
    _check,
)


@dataclass(frozen=True, slots=True)
class SignedBy:
    """What a header says about its signature."""

    subscriber_id: str
    key_id: str
    created_s: int
    expires_s: int
    signature: bytes


def read_header(value: str) -> SignedBy:
    """Return the parts of an `Authorization` value of three fields.

    Raises:
        EvidenceError: not of that form.
    """
    parts = _parameters(value)
    try:
        subscriber_id, key_id, algorithm = parts["keyId"].split("|")
        header = SignedBy(
            subscriber_id,
            key_id,
            int(parts["created"]),
            int(parts["expires"]),
            base64.b64decode(parts["signature"], validate=True),
        )
    except (KeyError, ValueError, binascii.Error):
        msg = "the Authorization value cannot be read"
        raise EvidenceError(msg) from None
    fields = parts.get("headers")
    if algorithm != "ed25519" or fields != "(created) (expires) digest":
        msg = "the Authorization value is not ed25519 over (created) (expires) digest"
        raise EvidenceError(msg)
    return header


def _parameters(value: str) -> dict[str, str]:
    at = len(_SCHEME) if value.lower().startswith(_SCHEME) else len(value)
    found: dict[str, str] = {}
    while match := _PARAMETER.match(value, at):
        name, quoted, digits = match.groups()
        if name in found:
            break
        found[name] = digits if quoted is None else quoted
        at = match.end()
    if at != len(value):
        msg = "the Authorization value cannot be read"
        raise EvidenceError(msg)
    return found


def resolved_key(ledger: LedgerStore, actor: str, command_id: str) -> str | None:
    """Return the public key in the evidence of an accepted command, None when there is none."""
    reply = ledger.get(Reply, f"{actor}|{command_id}")
    entry = None if reply is None else ledger.entry(reply.seq)
    evidence = {} if entry is None else parse_canonical(entry.body)["args"].get("evidence")
    return evidence.get("public_key") if isinstance(evidence, Mapping) else None


def check_evidence(work: Work, agreement: Agreement, evidence: Mapping[str, str]) -> None:
    """Check that who is bound, or its app, signed a confirm of exactly these terms just now.

    Raises:
        EvidenceError: it does not bind that party.
    """
    header = read_header(evidence["authorization"])
    if not acts_for(work, header.subscriber_id, agreement.terms.bound):
        msg = f"{header.subscriber_id} does not represent {agreement.terms.bound}"
        raise EvidenceError(msg)
    now_s = work.now_ms // 1_000
    is_current = header.created_s * 1_000 <= work.now_ms + SKEW_MS and now_s <= header.expires_s
    if not is_current or not 0 < header.expires_s - header.created_s <= LIFETIME_MAX_S:
        msg = "the signature is not valid at this time"
        raise EvidenceError(msg)
    if "public_key" not in evidence:
        msg = f"the registry has no usable key {header.key_id} of {header.subscriber_id}"
        raise EvidenceError(msg)
    body = evidence["body"].encode()
    if not _is_signed(header, evidence["public_key"], body):
        msg = "the signature does not hold for the body"
        raise EvidenceError(msg)
    _check_confirm(_parsed(body), header, agreement, work.genesis.currency)


def _is_signed(header: SignedBy, public_key: str, body: bytes) -> bool:
    digest = base64.b64encode(hashlib.blake2b(body, digest_size=64).digest()).decode()
    times = f"(created): {header.created_s}\n(expires): {header.expires_s}\n"
    return any(
        _holds(public_key, f"{times}digest: {label}{digest}".encode(), header.signature)
        for label in DIGEST_LABELS
    )


def _holds(public_key: str, message: bytes, signature: bytes) -> bool:
    try:
        raw = base64.b64decode(public_key, validate=True)
        if len(raw) != 32 or not crypto_core_ed25519_is_valid_point(raw):
            return False
        VerifyKey(raw).verify(message, signature)
    except (BadSignatureError, binascii.Error, ValueError):
        return False
    return True


def _parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; a name that stands twice could mean two things."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            msg = "the body has a name twice in one object"
            raise EvidenceError(msg)
        return dict(pairs)

    try:
        found = json.loads(
            body, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=members
        )
    except EvidenceError:
        raise
    except (ValueError, RecursionError):
        msg = "the body is not JSON"
        raise EvidenceError(msg) from None
    if not isinstance(found, dict):
        msg = "the body is not a JSON object"
        raise EvidenceError(msg)
    return found


def _refuse_constant(name: str) -> None:
    msg = f"the body holds {name}"
    raise EvidenceError(msg)


def _check_confirm(
    body: Mapping[str, Any], header: SignedBy, agreement: Agreement, currency: str
) -> None:
    """Check that a body is a confirm, between these two platforms, of the agreement's terms."""
    terms = agreement.terms
    context = _object(body, "context")
    _compare(
        ("context.action", context.get("action"), "confirm"),
        ("context.bap_id", context.get("bap_id"), header.subscriber_id),
        ("context.bpp_id", context.get("bpp_id"), agreement.caller),
    )
    contract = _object(_object(_object(body, "message"), "order"), "beckn:orderAttributes")
    seller, buyer = _inputs(contract, "SELLER"), _inputs(contract, "BUYER")
    operator = _inputs(contract, "GRID_OPERATOR")
    _compare(
        ("contractId", contract.get("contractId"), terms.contract_id),
        ("sourceMeterId", seller.get("sourceMeterId"), terms.source_meter),
        ("targetMeterId", buyer.get("targetMeterId"), terms.target_meter),
        ("contractedQuantity", _micro(buyer.get("contractedQuantity")), terms.energy),
        *price_pairs(terms, seller, contract.get("inputParameters"), currency),
        ("tradeStartTime", _instant(buyer.get("tradeStartTime")), terms.start_ms),
        ("tradeEndTime", _instant(buyer.get("tradeEndTime")), terms.end_ms),
        ("wheelingCharges", _micro(operator.get("wheelingCharges")), terms.wheeling_rate),
    )


def _compare(*pairs: tuple[str, object, object]) -> None:
    """Check what was signed against what the agreement says, each with its name."""
    for name, signed, agreed in pairs:
        if signed != agreed:
            msg = f"{name} of the signed confirm is not that of the agreement"
            raise EvidenceError(msg)


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    if not isinstance(found, Mapping):
        msg = f"the body has no object {name}"
        raise EvidenceError(msg)
    return found


def _inputs(contract: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """Return the inputs of a role as direct values; CONSUMER is BUYER, as on the wire."""
    roles = contract.get("roles")
    names = {role, "CONSUMER"} if role == "BUYER" else {role}
    for entry in roles if isinstance(roles, list) else ():
        if isinstance(entry, Mapping) and str(entry.get("role")) in names:
            inputs = _object(entry, "roleInputs")
            return {name: _direct(value) for name, value in inputs.items()}
    msg = f"the contract has no {role}"
    raise EvidenceError(msg)


def _direct(value: Any) -> Any:
    is_envelope = isinstance(value, Mapping) and isinstance(value.get("required"), bool)
    return value.get("value") if is_envelope else value


def _micro(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        return to_micro(value)
    except QuantityError:
        return None


def _instant(value: object) -> int | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None
