"""The digest of a body, as headers and ids carry it."""

import base64
import hashlib


def body_digest(body: bytes) -> str:
    """Return standard base64 of BLAKE2b-512 of `body`."""
    return base64.b64encode(hashlib.blake2b(body, digest_size=64).digest()).decode()
