"""Whether a signature holds: the registry's key, its usability, then Ed25519.

Checks 8 to 10 of protocol specification 5.2; the same for messages and for answers.
"""

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache

from adapter.domain.errors import WireError
from adapter.domain.participants import Participant
from adapter.protocol.signature import CACHED_KEYS, SignatureHeader
from adapter.service.ports import Registry, Verifier


async def trusted_signer(
    registry: Registry,
    verifier: Verifier,
    header: SignatureHeader,
    messages: Sequence[bytes],
    *,
    now_ms: int,
) -> Participant:
    """Return the record of the key that signed one of `messages`.

    A signature that fails with a cached key is tried once more with a fresh one.

    Args:
        registry: where keys are looked up.
        verifier: what checks the signature.
        header: the parsed header, its times already checked.
        messages: the signing strings to try in turn.
        now_ms: instant at which the key must be usable.

    Raises:
        WireError: AUT_SUBSCRIBER_NOT_FOUND, AUT_KEY_NOT_FOUND, AUT_KEY_EXPIRED_OR_REVOKED,
            AUT_SIGNATURE_INVALID, NET_DOWNSTREAM_UNAVAILABLE.
    """
    record = await registry.key(header.subscriber_id, header.key_id)
    _refuse_unusable(record, header, now_ms)
    if await _holds(verifier, record, header, messages):
        return record
    fresh = await registry.refreshed_key(header.subscriber_id, header.key_id)
    if fresh is not None:
        _refuse_unusable(fresh, header, now_ms)
        if fresh.signing_public_key != record.signing_public_key and await _holds(
            verifier, fresh, header, messages
        ):
            return fresh
    code = "AUT_SIGNATURE_INVALID"
    raise WireError(code, "the signature does not hold for this message")


def _refuse_unusable(record: Participant, header: SignatureHeader, now_ms: int) -> None:
    outlives = (
        record.valid_until_ms is not None and header.expires_s * 1_000 > record.valid_until_ms
    )
    if outlives or not record.usable(now_ms):
        code = "AUT_KEY_EXPIRED_OR_REVOKED"
        raise WireError(code, "the key may not be used now")


async def _holds(
    verifier: Verifier, record: Participant, header: SignatureHeader, messages: Sequence[bytes]
) -> bool:
    public_key = _key_bytes(record.signing_public_key)
    if public_key is None:
        return False
    return await verifier.verify(public_key, messages, header.signature_bytes)


@lru_cache(maxsize=CACHED_KEYS)
def _key_bytes(text: str) -> bytes | None:
    """Return the key of a record; peers sign message after message with the same few."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
