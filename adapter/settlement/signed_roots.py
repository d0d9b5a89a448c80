"""Root statements with their signatures: the host's, and those of parties that checked them.

The host signs the statement; a countersignature also covers who makes it, so that neither part can
be changed without the other. Source: settlement specification, section 5; decision 0012.
"""

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import VerifyKey

from adapter.settlement.canonical import CanonicalError, canonical_bytes
from adapter.settlement.roots import STATEMENT_TYPE, Statement, statement_of

COUNTERSIGNATURE_TYPE = "p2ptrade.countersignature.v1"


@dataclass(frozen=True, slots=True)
class Countersignature:
    """What another party signed about a statement it has checked."""

    key_id: str
    """`subscriber|key|ed25519`."""
    public_key: str
    """Base64 of 32 bytes, as the registry gave it."""
    signature: str
    """Base64 of 64 bytes, over `countersigned_bytes`."""


@dataclass(frozen=True, slots=True)
class SignedRoot:
    """A statement with the signature of the ledger's host and those of others."""

    statement: Statement
    signature: str
    """Base64 of 64 bytes, over the statement's `signed_bytes`."""
    countersignatures: tuple[Countersignature, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "statement": {"type": STATEMENT_TYPE, **dataclasses.asdict(self.statement)},
            "signature": self.signature,
            "countersignatures": [dataclasses.asdict(one) for one in self.countersignatures],
        }


def countersigned_bytes(statement_hash: str, key_id: str) -> bytes:
    """Return what a countersignature covers: the statement and who signs it."""
    document = canonical_bytes({"key_id": key_id, "statement": statement_hash})
    return COUNTERSIGNATURE_TYPE.encode() + b"\n" + document


def signed_root_of(document: Any) -> SignedRoot:
    """Return the signed statement that parsed JSON holds; no signature is checked.

    Raises:
        CanonicalError: it is none.
    """
    parts = {"statement", "signature", "countersignatures"}
    if not isinstance(document, Mapping) or document.keys() != parts:
        msg = "a signed statement is {statement, signature, countersignatures}"
        raise CanonicalError(msg)
    statement, others = document["statement"], document["countersignatures"]
    if not isinstance(statement, Mapping) or not isinstance(others, list):
        msg = "a signed statement is {statement, signature, countersignatures}"
        raise CanonicalError(msg)
    if not isinstance(document["signature"], str):
        msg = "signature is not a text"
        raise CanonicalError(msg)
    signed = tuple(_countersignature_of(one) for one in others)
    return SignedRoot(statement_of(statement), document["signature"], signed)


def _countersignature_of(document: Any) -> Countersignature:
    names = [field.name for field in dataclasses.fields(Countersignature)]
    if not isinstance(document, Mapping) or document.keys() != set(names):
        msg = f"a countersignature is {{{', '.join(names)}}}"
        raise CanonicalError(msg)
    if not all(isinstance(document[name], str) for name in names):
        msg = "the parts of a countersignature are texts"
        raise CanonicalError(msg)
    return Countersignature(**document)


def check_root(signed: SignedRoot, public_key: str) -> str | None:
    """Return what is wrong with the signatures of a statement, None when all hold.

    Args:
        signed: the statement.
        public_key: base64, the key of the ledger's host.
    """
    if not holds(public_key, signed.statement.signed_bytes(), signed.signature):
        return "the signature of the host does not hold"
    for one in signed.countersignatures:
        message = countersigned_bytes(signed.statement.hash, one.key_id)
        if not holds(one.public_key, message, one.signature):
            return f"the countersignature of {one.key_id[:200]} does not hold"
    return None


def holds(public_key: str, message: bytes, signature: str) -> bool:
    """Return whether an Ed25519 signature holds; key and signature in canonical base64."""
    key, value = _decoded(public_key, 32), _decoded(signature, 64)
    if key is None or value is None:
        return False
    try:
        VerifyKey(key).verify(message, value)
    except (BadSignatureError, CryptoError, ValueError):
        return False
    return True


def _decoded(text: str, size: int) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return value if len(value) == size and base64.b64encode(value).decode() == text else None
