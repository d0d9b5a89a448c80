"""`p2ptrade serve` with the parts that a good developer would have taken first.

The node is ours; behind its ports are openapi-core for the schema, cryptography for signatures,
httpx for what is sent, and one commit for each unit of work. All are used as their documents say:
one client with kept connections, one loaded schema document. cryptography must be importable.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

import adapter.bootstrap
from adapter.cli.main import main
from adapter.domain.findings import Finding
from adapter.protocol import strict_json
from adapter.protocol.schemas import Schemas
from adapter.protocol.signature import Signer
from adapter.service.ports import Answer, SendError
from adapter.store import sqlite_writer

T = TypeVar("T")

TOTAL_S = 10


class NaiveSchemas(Schemas):
    """Judges whole messages by openapi-core; what only this node reads stays with ours."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        """Load the document."""
        super().__init__(documents)
        self._openapi = OpenAPI.from_dict(dict(documents))

    def check(self, action: str, body: Mapping[str, Any]) -> tuple[Finding, ...]:
        """Return our findings, and ask for them only when openapi-core refuses."""
        side = "bap" if action.startswith("on_") else "bpp"
        path, raw = f"/{side}/receiver/{action}", strict_json.encode(body)
        try:
            self._openapi.validate_request(
                MockRequest("https://node.example", "post", path, data=raw)
            )
        except OpenAPIError:
            return super().check(action, body)
        return ()


class NaiveVerifier:
    """Implements `ports.Verifier`: at once, with cryptography."""

    async def verify(self, public_key: bytes, messages: Iterable[bytes], signature: bytes) -> bool:
        """Return whether the signature holds for one of the messages."""
        key = Ed25519PublicKey.from_public_bytes(public_key)
        for message in messages:
            try:
                key.verify(signature, message)
            except InvalidSignature:
                continue
            return True
        return False

    def close(self) -> None:
        """Do nothing."""


class NaiveSigner(Signer):
    """Signs with cryptography."""

    def __init__(self, subscriber_id: str, key_id: str, seed: bytes) -> None:
        """Take the seed."""
        super().__init__(subscriber_id, key_id, seed)
        self._naive = Ed25519PrivateKey.from_private_bytes(seed)

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._naive.sign(message)


class NaiveSender:
    """Implements `ports.Sender` with one httpx client."""

    def __init__(self, *_: object) -> None:
        """Open nothing yet."""
        self._client = httpx.AsyncClient(timeout=TOTAL_S, trust_env=False)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a POST."""
        return await self._answer(self._client.post(url, content=body, headers=dict(headers)))

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET."""
        return await self._answer(self._client.get(url, headers=dict(headers or {})))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _answer(self, asked: Any) -> Answer:
        try:
            response = await asked
        except httpx.HTTPError as error:
            raise SendError(str(error)) from None
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, found, response.content)


def use_naive_parts() -> None:
    """Let `bootstrap` build nodes of this process from the naive parts."""
    parts: dict[str, Callable[..., Any]] = {
        "Schemas": NaiveSchemas,
        "SlicingVerifier": NaiveVerifier,
        "Signer": NaiveSigner,
        "HttpSender": NaiveSender,
    }
    assert parts.keys() <= vars(adapter.bootstrap).keys()
    vars(adapter.bootstrap).update(parts)
    sqlite_writer.GROUP_UNITS = 1


if __name__ == "__main__":
    use_naive_parts()
    main()
