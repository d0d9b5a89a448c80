"""Who is calling: bearers of the node's own tokens, and participants by their signature.

Source: interfaces, section 3 and 4; settlement specification, section 17.
"""

import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from adapter.domain.errors import WireError
from adapter.protocol.signature import candidate_strings, check_times, parse_header
from adapter.service.inbound_reply import values_of
from adapter.service.parts import NodeParts
from adapter.service.trust import trusted_signer
from adapter.transport.token_files import (
    Scope,
    TokenFileError,
    TokenRecord,
    hash_token,
    read_tokens,
)

MAX_HEADER = 4_096
"""Characters of an Authorization header that are looked at."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """What a bearer token allows."""

    scope: Scope
    actor: str
    """Who the bearer acts as on the contract layer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the contract layer."""

    actor: str
    signed: bool
    """By the signature of a participant over the body, else by an operator's token."""


class Tokens:
    """The tokens of one node, read again when their file changes."""

    def __init__(self, file: Path | None, own_id: str) -> None:
        """Read the file; without one no token is valid.

        Raises:
            TokenFileError: the file cannot be used.
        """
        self._file = file
        self._own_id = own_id
        self._stamp: tuple[int, int, int] | None = None
        self._records: Sequence[TokenRecord] = ()
        if file is not None:
            self._stamp = _stamp(file)
            self._records = read_tokens(file)

    def find(self, token: str) -> Access | None:
        """Return what a token allows; every stored hash is compared, in constant time."""
        self._refresh()
        presented = hash_token(token)
        found: TokenRecord | None = None
        for record in self._records:
            if hmac.compare_digest(record.sha256, presented):
                found = record
        return None if found is None else Access(found.scope, found.actor or self._own_id)

    def _refresh(self) -> None:
        if self._file is None or (stamp := _stamp(self._file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._records = read_tokens(self._file)
        except TokenFileError as error:
            _log.warning("the new tokens file is refused, the old tokens stay: %s", error)


class Guard:
    """Decides for each request who is calling. Used as dependencies of the routes."""

    def __init__(self, parts: NodeParts, tokens: Tokens) -> None:
        """Take the node's parts, for its registry and clock, and its tokens."""
        self._parts = parts
        self._tokens = tokens

    async def application(self, request: Request) -> Access:
        """Return the access of a bearer token of either scope.

        Raises:
            WireError: UNAUTHENTICATED.
        """
        return self._access(_authorization(request), frozenset(Scope))

    async def operator(self, request: Request) -> Access:
        """Return the access of an operator's token.

        Raises:
            WireError: UNAUTHENTICATED.
        """
        return self._access(_authorization(request), frozenset({Scope.OPERATOR}))

    async def contract_caller(self, request: Request, body: bytes = b"") -> Caller:
        """Return who calls the contract layer: an operator's token, or a signature over `body`.

        Raises:
            WireError: UNAUTHENTICATED; NET_DOWNSTREAM_UNAVAILABLE, the registry is away.
        """
        value = _authorization(request)
        if not value.lower().startswith("signature "):
            access = self._access(value, frozenset({Scope.OPERATOR}))
            return Caller(access.actor, signed=False)
        return Caller(await self._signer(value, body), signed=True)

    def _access(self, authorization: str, scopes: frozenset[Scope]) -> Access:
        scheme, _, token = authorization.partition(" ")
        access = None
        if scheme.lower() == "bearer" and token.strip():
            access = self._tokens.find(token.strip())
        if access is None:
            raise _unauthenticated("a valid bearer token is needed")
        if access.scope not in scopes:
            needed = " or ".join(sorted(scopes))
            msg = f"this token is of another scope, needed is {needed}"
            raise _unauthenticated(msg)
        return access

    async def _signer(self, authorization: str, body: bytes) -> str:
        parts = self._parts
        now_ms = parts.clock.now_ms()
        try:
            header = parse_header(authorization)
            rules = parts.rules_for(header.subscriber_id)
            check_times(header, now_ms=now_ms, skew_ms=rules.clock_skew_ms)
            strings = list(candidate_strings(header, body, labels=rules.digest_labels))
            await trusted_signer(parts.registry, parts.verifier, header, strings, now_ms=now_ms)
        except WireError as error:
            if not error.code.startswith("AUT_"):
                raise
            raise _unauthenticated(error.message, cause=error.code) from None
        return header.subscriber_id


def _authorization(request: Request) -> str:
    values = values_of(request.scope["headers"], b"authorization")
    if len(values) != 1 or len(values[0]) > MAX_HEADER:
        msg = "exactly one Authorization header is needed"
        raise _unauthenticated(msg)
    return values[0]


def _unauthenticated(message: str, cause: str | None = None) -> WireError:
    because = None if cause is None else {"code": cause, "message": message}
    return WireError("UNAUTHENTICATED", message, cause=because)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
