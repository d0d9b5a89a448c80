"""The Beckn HTTP signature: header grammar, signing strings, signing and checking.

Ed25519 over a signing string whose digest is BLAKE2b-512 of the body bytes as sent. Three lines
for requests and plain callbacks; a fourth, `request-signature`, for answers and bound callbacks.
This module knows neither clock nor registry: times, keys and reference signatures are arguments.
Source: protocol specification, section 5.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from adapter.domain.errors import WireError
from adapter.protocol.digest import body_digest

THREE_FIELDS = "(created) (expires) digest"
FOUR_FIELDS = THREE_FIELDS + " request-signature"
DIGEST_LABELS = ("BLAKE-512=", "BLAKE2b-512=")
"""Two spellings of one hash; the first is what we send."""
CACHED_KEYS = 4_096
"""Public keys kept ready for use."""
MAX_HEADER_BYTES = 2048
MAX_LIFETIME_S = 3600
"""Longest accepted `expires - created`, so that replay memory is bounded."""

_PARAMETER = re.compile(
    r'[ \t]*([A-Za-z][A-Za-z0-9_-]*)=(?:"([ !#-\[\]-~]+)"|([0-9]+))[ \t]*(,|\Z)'
)
_SCHEME = re.compile(r"signature +", re.IGNORECASE)
_NAMES = frozenset({"keyId", "algorithm", "created", "expires", "headers", "signature"})
_UNQUOTED = frozenset({"created", "expires"})
_KEY_PART = re.compile(r"[!#-+\--\[\]-{}~]{1,255}")
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}")
_USUAL = re.compile(
    rf'(Signature )?keyId="({_KEY_PART.pattern})\|({_KEY_PART.pattern})\|ed25519",'
    r'algorithm="ed25519",created="([0-9]{1,12})",expires="([0-9]{1,12})",'
    rf'headers="({re.escape(THREE_FIELDS)}|{re.escape(FOUR_FIELDS)})",'
    r'signature="([A-Za-z0-9+/]{85}[AQgw]==)"'
)
"""A header as nearly everybody writes it, this node too; it breaks no check. The last letter
before `==` has four zero bits, else the Base64 would not be canonical."""


@dataclass(frozen=True, slots=True)
class SignatureHeader:
    """A well-formed signature header."""

    subscriber_id: str
    key_id: str
    created_s: int
    expires_s: int
    headers: str
    """THREE_FIELDS or FOUR_FIELDS."""
    signature: str
    """Base64 of 64 bytes, as written."""
    signature_bytes: bytes


def signing_string(
    *,
    created_s: int,
    expires_s: int,
    digest: str,
    label: str = DIGEST_LABELS[0],
    request_signature: str | None = None,
) -> bytes:
    """Return the bytes that are signed: lines joined by LF, none at the end."""
    lines = f"(created): {created_s}\n(expires): {expires_s}\ndigest: {label}{digest}"
    if request_signature is not None:
        lines += f"\nrequest-signature: {request_signature}"
    return lines.encode()


class Signer:
    """Signs as one subscriber with one key. Ed25519 is deterministic: same input, same header."""

    def __init__(self, subscriber_id: str, key_id: str, seed: bytes) -> None:
        """Take the 32-byte seed of the key."""
        self.subscriber_id = subscriber_id
        self.key_id = key_id
        self._public_key, self._secret_key = crypto_sign_seed_keypair(seed)
        self._start = (
            f'Signature keyId="{subscriber_id}|{key_id}|ed25519",algorithm="ed25519",created="'
        )

    @property
    def public_key(self) -> bytes:
        """Return the 32-byte public key."""
        return self._public_key

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        return crypto_sign(message, self._secret_key)[:crypto_sign_BYTES]

    def header(
        self, body: bytes, *, created_s: int, expires_s: int, request_signature: str | None = None
    ) -> str:
        """Return the header value for exactly these bytes.

        Args:
            body: the bytes that go out.
            created_s: unix seconds.
            expires_s: unix seconds.
            request_signature: for an answer, the signature value of the request; for a bound
                callback that value or the whole header.
        """
        text = signing_string(
            created_s=created_s,
            expires_s=expires_s,
            digest=body_digest(body),
            request_signature=request_signature,
        )
        signature = base64.b64encode(self.sign_bytes(text)).decode()
        fields = THREE_FIELDS if request_signature is None else FOUR_FIELDS
        return (
            f'{self._start}{created_s}",expires="{expires_s}",headers="{fields}",'
            f'signature="{signature}"'
        )


def own_signature_value(header: str) -> str:
    """Return the signature value of a header that `Signer.header` made."""
    return header[:-1].rpartition('signature="')[2]


def parse_header(value: str, *, answer: bool = False) -> SignatureHeader:
    """Return the parts of an `Authorization` value, or of a `Signature` header when `answer`.

    Checks 1 to 5 and 7 of section 5.2, in that order.

    Raises:
        WireError: AUT_SIGNATURE_MISSING, AUT_SIGNATURE_INVALID.
    """
    usual = _USUAL.fullmatch(value)
    if usual is not None and (answer or usual[1]):
        _, subscriber_id, key_id, created, expires, fields, text = usual.groups()
        raw = binascii.a2b_base64(text)
        return SignatureHeader(subscriber_id, key_id, int(created), int(expires), fields, text, raw)
    return _unusual_header(value, answer=answer)


def _unusual_header(value: str, *, answer: bool) -> SignatureHeader:
    parameters = _parameters(value, scheme_optional=answer)
    parts = parameters["keyId"].split("|")
    if len(parts) != 3 or parts[2] != "ed25519" or not all(map(_KEY_PART.fullmatch, parts[:2])):
        raise _invalid()
    if parameters["algorithm"] != "ed25519":
        raise _invalid()
    if parameters["headers"] not in (THREE_FIELDS, FOUR_FIELDS):
        raise _invalid()
    times = parameters["created"], parameters["expires"]
    if not all(map(_UNIX_SECONDS.fullmatch, times)):
        raise _invalid()
    try:
        signature = base64.b64decode(parameters["signature"], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid() from None
    canonical = base64.b64encode(signature).decode() == parameters["signature"]
    if len(signature) != 64 or not canonical:
        raise _invalid()
    created_s, expires_s = map(int, times)
    return SignatureHeader(
        parts[0],
        parts[1],
        created_s,
        expires_s,
        parameters["headers"],
        parameters["signature"],
        signature,
    )


def signature_value(values: Iterable[str]) -> str | None:
    """Return the readable signature value of a request, for the fourth line of its answer."""
    found = list(values)
    if len(found) != 1:
        return None
    try:
        return _parameters(found[0], scheme_optional=False)["signature"]
    except WireError:
        return None


def check_times(header: SignatureHeader, *, now_ms: int, skew_ms: int) -> None:
    """Refuse a signature that is not yet or no longer valid, or lives too long (check 6).

    Raises:
        WireError: AUT_SIGNATURE_INVALID.
    """
    in_time = header.created_s * 1000 <= now_ms + skew_ms and now_ms // 1000 <= header.expires_s
    lifetime = header.expires_s - header.created_s
    if not in_time or not 0 < lifetime <= MAX_LIFETIME_S:
        raise _invalid()


def candidate_strings(
    header: SignatureHeader,
    body: bytes,
    references: Iterable[str] = (),
    labels: Iterable[str] = DIGEST_LABELS,
    digest: str | None = None,
) -> Iterator[bytes]:
    """Yield the signing strings to try in turn (check 10).

    Args:
        header: the header to check.
        body: the bytes it is said to cover.
        references: for a header of four fields, the signature values and whole headers of every
            attempt of the request that this answers.
        labels: accepted spellings of the digest.
        digest: that of the body, if it is known already.
    """
    digest = digest or body_digest(body)
    lasts = [None] if header.headers == THREE_FIELDS else list(references)
    for label in labels:
        for last in lasts:
            yield signing_string(
                created_s=header.created_s,
                expires_s=header.expires_s,
                digest=digest,
                label=label,
                request_signature=last,
            )


def verify_bytes(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the Ed25519 signature holds; False for keys that are no good points."""
    key = _verify_key(public_key)
    if key is None:
        return False
    try:
        key.verify(message, signature)
    except BadSignatureError:
        return False
    return True


@lru_cache(maxsize=CACHED_KEYS)
def _verify_key(public_key: bytes) -> VerifyKey | None:
    """Return the key if it is a good one; to find that out takes as long as a check with it."""
    return VerifyKey(public_key) if is_good_public_key(public_key) else None


def is_good_public_key(public_key: bytes) -> bool:
    """Return whether these are 32 bytes of a canonical point of the main subgroup.

    Small-order keys are refused: with one of them every message has a valid signature.
    """
    return len(public_key) == 32 and bool(crypto_core_ed25519_is_valid_point(public_key))


def decode_seed(text: str) -> bytes:
    """Return the 32-byte seed of a key file: base64 of 32 bytes, or of seed + public key.

    Raises:
        ValueError: neither of the two.
    """
    raw = base64.b64decode(text.strip(), validate=True)
    if len(raw) not in (32, 64):
        msg = f"a seed has 32 bytes (or 64 with its public key), this one {len(raw)}"
        raise ValueError(msg)
    return raw[:32]


def _invalid() -> WireError:
    return WireError("AUT_SIGNATURE_INVALID", "the signature does not hold for this message")


def _parameters(value: str, *, scheme_optional: bool) -> dict[str, str]:
    """Return the six known parameters; one that stands twice or lacks is refused."""
    if not value.strip():
        raise missing_signature()
    scheme = _SCHEME.match(value)
    if len(value.encode()) > MAX_HEADER_BYTES or not (scheme or scheme_optional):
        raise _invalid()
    position = scheme.end() if scheme else 0
    found: dict[str, str] = {}
    more = ","
    while more == ",":
        match = _PARAMETER.match(value, position)
        if match is None:
            raise missing_signature() if _empty_signature(value) else _invalid()
        name, quoted, digits, more = match.groups()
        if name in found or (quoted is None and name in _NAMES - _UNQUOTED):
            raise _invalid()
        found[name] = quoted if quoted is not None else digits
        position = match.end()
    if "signature" not in found:
        raise missing_signature()
    if not found.keys() >= _NAMES:
        raise _invalid()
    return found


def _empty_signature(value: str) -> bool:
    return re.search(r'(?:^|[ ,])signature=""', value) is not None


def missing_signature() -> WireError:
    """Return the refusal of a message that carries no signature."""
    return WireError("AUT_SIGNATURE_MISSING", "the message carries no signature")
