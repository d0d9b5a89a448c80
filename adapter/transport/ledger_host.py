"""Asks the node that hosts the contract layer over HTTP, signed with this node's key."""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import WireError
from adapter.protocol import strict_json
from adapter.service.ledger_host import HostAwayError, RootPage
from adapter.service.ports import Answer, SendError
from adapter.service.signing import MessageSigner
from adapter.settlement import signed_root_of
from adapter.transport.http_sender import HttpSender

LIFETIME_MS = 60_000
"""Of a request's signature."""


class HttpLedgerHost:
    """Implements `service.ledger_host.LedgerHost`."""

    def __init__(self, base_url: str, http: HttpSender, signer: MessageSigner) -> None:
        """Take the base URL of the host."""
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._signer = signer

    async def roots(self, after_epoch: int, limit: int) -> RootPage:
        """Return signed statements after an epoch.

        Raises:
            HostAwayError: no answer that can be read.
        """
        url = f"{self._base_url}/contracts/roots?after={after_epoch}&limit={limit}"
        headers = {"authorization": self._signer.header(b"", lifetime_ms=LIFETIME_MS)}
        try:
            answer = await self._http.get(url, headers)
        except SendError as error:
            raise self._away(str(error)) from None
        content = self._content(answer)
        try:
            roots = [signed_root_of(root) for root in content["roots"]]
            return RootPage(str(content["ledger"]), str(content["key_id"]), roots)
        except (KeyError, TypeError, ValueError) as error:
            why = f"no page of statements: {error}"
            raise self._away(why) from None

    async def countersign(self, last_epoch: int, signed: Mapping[str, Any]) -> None:
        """Hand in a countersignature.

        Raises:
            HostAwayError: not taken.
        """
        url = f"{self._base_url}/contracts/roots/{last_epoch}/countersignatures"
        body = strict_json.encode(signed)
        headers = {
            "authorization": self._signer.header(body, lifetime_ms=LIFETIME_MS),
            "content-type": "application/json",
        }
        try:
            answer = await self._http.post(url, body, headers)
        except SendError as error:
            raise self._away(str(error)) from None
        self._content(answer)

    def _content(self, answer: Answer) -> Mapping[str, Any]:
        try:
            content = strict_json.decode_object(answer.body)
        except WireError:
            why = f"answered {answer.status} with something else than JSON"
            raise self._away(why) from None
        if answer.status != 200:
            error = content.get("error")
            code = error.get("code") if isinstance(error, Mapping) else None
            why = f"answered {answer.status} {code}"
            raise self._away(why)
        return content

    def _away(self, why: str) -> HostAwayError:
        return HostAwayError(f"{self._base_url}: {why[:300]}")
