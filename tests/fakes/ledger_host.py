"""The host of a ledger as its parties reach it, without a socket."""

from collections.abc import Mapping
from typing import Any, cast

import httpx

from adapter.bootstrap import Node
from adapter.service.cosigner import Cosigner
from adapter.service.ports import Answer, SendError
from adapter.transport.http_sender import HttpSender
from adapter.transport.ledger_host import HttpLedgerHost


class ClientSender:
    """Posts and gets through an HTTP client of the real application."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.log: list[tuple[str, str]] = []
        """Method and path of each request, in order."""
        self.away = False

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self._request("GET", url, b"", headers or {})

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await self._request("POST", url, body, headers)

    async def _request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        if self.away:
            why = "no connection"
            raise SendError(why)
        self.log.append((method, httpx.URL(url).path))
        answer = await self._client.request(
            method, url, content=body or None, headers=dict(headers)
        )
        return Answer(answer.status_code, dict(answer.headers), answer.content)


def cosigner_of(node: Node, client: httpx.AsyncClient) -> tuple[Cosigner, ClientSender]:
    """Return what makes a node a party to the ledger that `client` reaches."""
    sender = ClientSender(client)
    http = cast("HttpSender", sender)
    return Cosigner(node.parts, HttpLedgerHost("http://node", http, node.parts.signer)), sender


def signed_header(node: Node, body: bytes = b"") -> dict[str, Any]:
    """Return the header of a request that a node signs."""
    return {"Authorization": node.parts.signer.header(body, lifetime_ms=60_000)}
