"""Calls a node's own HTTP interface, for the command line and the demo.

The contract layer takes an operator's token or a participant's signature over the body; the other
paths take a token.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import httpx

from adapter.domain.errors import AdapterError, WireError
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.service.ports import Clock
from adapter.transport.clock import SystemClock

TIMEOUT_S = 60
CONNECT_S = 10
SILENCE_S = 45
"""A stream says something every 15 s."""
LIFETIME_S = 60
"""Of a signature; the clocks of caller and node may differ by 5 s."""


class ServerEvent(NamedTuple):
    """One server-sent event, or only the place that the node has come to."""

    id: str
    data: str
    """Empty for a place alone, and once without a place as soon as the stream is open."""


class NodeError(AdapterError):
    """A refusal by a node, as its answer tells it."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any]) -> None:
        """Keep what the answer says."""
        super().__init__(code, message, details=details)
        self._status = status

    @property
    def http_status(self) -> int:
        """Return the status of the answer."""
        return self._status

    @property
    def transient_status(self) -> bool:
        """Return whether the same request may succeed later."""
        return self._status >= 500


class NodeAwayError(Exception):
    """No answer; one line."""


class NodeClient:
    """One caller of one node."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        signer: Signer | None = None,
        clock: Clock | None = None,
        timeout_s: int = TIMEOUT_S,
    ) -> None:
        """Take the node's base URL, and a token or a key to sign with."""
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._signer = signer
        self._clock = clock or SystemClock()
        self._http = httpx.Client(timeout=timeout_s, trust_env=False, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of a path.

        Raises:
            NodeError, NodeAwayError.
        """
        return self._json(self._send("GET", path, params or {}, b"", {}))

    def post(
        self, path: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None
    ) -> Any:
        """Return the JSON that answers a body.

        Raises:
            NodeError, NodeAwayError.
        """
        return self._json(self._send("POST", path, params or {}, strict_json.encode(body), {}))

    def call(
        self,
        contract: str,
        function: str,
        args: Mapping[str, Any],
        *,
        command_id: str,
        on_behalf_of: str | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Return the answer to a call of the contract layer.

        Raises:
            NodeError, NodeAwayError.
        """
        headers: dict[str, str] = {}
        body: Mapping[str, Any] = args
        if self._signer is not None:
            signed = {"command_id": command_id, "contract": contract, "function": function}
            behalf = {} if on_behalf_of is None else {"on_behalf_of": on_behalf_of}
            body = {**signed, **behalf, "args": args}
        else:
            headers["Idempotency-Key"] = command_id
            if on_behalf_of is not None:
                headers["X-On-Behalf-Of"] = on_behalf_of
        params = {"dry_run": "true"} if dry_run else {}
        path = f"/contracts/{contract}/{function}"
        answer: dict[str, Any] = self._json(
            self._send("POST", path, params, strict_json.encode(body), headers)
        )
        return answer

    def read(self, contract: str, function: str, args: Mapping[str, str]) -> dict[str, Any]:
        """Return `{seq, result}` of a read of the contract layer.

        Raises:
            NodeError, NodeAwayError.
        """
        answer: dict[str, Any] = self.get(f"/contracts/{contract}/{function}", args)
        return answer

    def stream(
        self, path: str, params: Mapping[str, str], last_id: str | None = None
    ) -> Iterator[ServerEvent]:
        """Give the server-sent events of a path until the node ends the stream.

        Args:
            path: of the stream.
            params: of the query.
            last_id: of the last event known.

        Raises:
            NodeError: refused.
            NodeAwayError: no connection, or nothing came for SILENCE_S.
        """
        headers = {"Accept": "text/event-stream", **self._authorization(b"")}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        timeout = httpx.Timeout(CONNECT_S, read=SILENCE_S)
        url = f"{self._base_url}{path}"
        try:
            with self._http.stream(
                "GET", url, params=dict(params), headers=headers, timeout=timeout
            ) as response:
                if not response.is_success:
                    response.read()
                    self._json(response)
                yield ServerEvent("", "")  # connected
                yield from server_events(response.iter_lines())
        except httpx.HTTPError as error:
            msg = f"{self._base_url} does not answer: {error}"
            raise NodeAwayError(msg) from None
        except httpx.InvalidURL as error:
            msg = f"{self._base_url} is no URL: {error}"
            raise NodeAwayError(msg) from None

    def _authorization(self, body: bytes) -> dict[str, str]:
        if self._signer is not None:
            now_s = self._clock.now_ms() // 1_000
            header = self._signer.header(body, created_s=now_s, expires_s=now_s + LIFETIME_S)
            return {"Authorization": header}
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: bytes,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        given = dict(headers)
        if method == "POST":
            given["Content-Type"] = "application/json"
        given |= self._authorization(body)
        try:
            return self._http.request(
                method,
                f"{self._base_url}{path}",
                params=dict(params),
                content=body if method == "POST" else None,
                headers=given,
            )
        except httpx.HTTPError as error:
            msg = f"{self._base_url} does not answer: {error}"
            raise NodeAwayError(msg) from None
        except httpx.InvalidURL as error:
            msg = f"{self._base_url} is no URL: {error}"
            raise NodeAwayError(msg) from None

    def _json(self, response: httpx.Response) -> Any:
        try:
            content = strict_json.decode(response.content)
        except WireError:
            content = None
        if response.is_success and content is not None:
            return content
        error = content.get("error") if isinstance(content, dict) else None
        if not isinstance(error, dict):
            msg = f"{self._base_url} answered {response.status_code} with something else than JSON"
            raise NodeAwayError(msg)
        details = error.get("details")
        raise NodeError(
            response.status_code,
            str(error.get("code")),
            str(error.get("message")),
            details if isinstance(details, dict) else {},
        )


def server_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Give the events that the lines of a stream spell; comments and unknown fields are skipped."""
    place, data = "", list[str]()
    for line in lines:
        if not line:
            if data or place:
                yield ServerEvent(place, "\n".join(data))
            place, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            place = value
        elif name == "data":
            data.append(value)
