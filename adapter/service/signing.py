"""Signing what this node sends: requests, callbacks and answers."""

import base64
from collections.abc import Iterable

from adapter.protocol.signature import Signer, signature_value
from adapter.service.ports import Clock

DEFAULT_LIFETIME_MS = 300_000
"""`expires` − `created` unless a setting says otherwise. Source: protocol specification, 5."""


class MessageSigner:
    """Signs with the node's key at the node's time. Every call makes a fresh signature."""

    def __init__(self, signer: Signer, clock: Clock, valid_until_ms: int | None = None) -> None:
        """Take the key and, when the registry says so, until when it may be used."""
        self._signer = signer
        self._clock = clock
        self._valid_until_ms = valid_until_ms

    def ends_at(self, valid_until_ms: int | None) -> None:
        """Learn until when the key may be used; None for no end."""
        self._valid_until_ms = valid_until_ms

    @property
    def subscriber_id(self) -> str:
        """Return whose signatures these are."""
        return self._signer.subscriber_id

    @property
    def key_record(self) -> dict[str, str]:
        """Return the key as the ledger's first entry names it."""
        name = f"{self._signer.subscriber_id}|{self._signer.key_id}|ed25519"
        return {"id": name, "public_key": base64.b64encode(self._signer.public_key).decode()}

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the plain signature of a message that names its own purpose."""
        return self._signer.sign_bytes(message)

    def header(
        self,
        body: bytes,
        *,
        lifetime_ms: int = DEFAULT_LIFETIME_MS,
        request_signature: str | None = None,
    ) -> str:
        """Return the signature header over `body`, four lines with a request signature.

        It never outlives the key.
        """
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + lifetime_ms
        if self._valid_until_ms is not None:
            expires_ms = min(expires_ms, self._valid_until_ms)
        return self._signer.header(
            body,
            created_s=now_ms // 1_000,
            expires_s=expires_ms // 1_000,
            request_signature=request_signature,
        )

    def answer_header(
        self,
        body: bytes,
        authorizations: Iterable[str],
        *,
        lifetime_ms: int = DEFAULT_LIFETIME_MS,
    ) -> str | None:
        """Return the `Signature` header of an answer.

        None when the request had no readable signature value. `authorizations` are the values of
        its Authorization headers.
        """
        reference = signature_value(authorizations)
        if reference is None:
            return None
        return self.header(body, lifetime_ms=lifetime_ms, request_signature=reference)
