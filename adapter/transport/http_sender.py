"""HTTP towards peers and registries: pooled, bounded, guarded.

No redirects, no proxies, no cookies, no credentials; TLS from 1.2 on with verification.
Source: protocol specification, sections 10 and 14.
"""

import ssl
from collections.abc import Mapping

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver

from adapter.service.ports import Answer, SendError
from adapter.transport.address_guard import AddressGuard, ForbiddenAddressError

CONNECT_S = 5
TOTAL_S = 10
MAX_ANSWER = 64 * 1_024
"""Bytes of an answer; a longer one counts as unreadable."""
KEEP_ALIVE_S = 15
CONNECTIONS = 100

_OWN_HEADERS = {
    "user-agent": "p2ptrade",
    "accept": "application/json",
    "accept-encoding": "identity",
}


class HttpSender:
    """Implements `ports.Sender`. Used by one event loop."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: AbstractResolver | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        """Take what may be dialled, and what replaces the system's authorities and resolver."""
        self._guard = guard
        self._tls = tls
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a POST.

        Raises:
            SendError: no answer; permanent when the address may not be dialled.
        """
        return await self._request("POST", url, body, headers)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a GET.

        Raises:
            SendError: no answer.
        """
        return await self._request("GET", url, None, headers or {})

    async def close(self) -> None:
        """Close pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        try:
            target = yarl.URL(url, encoded=url.isascii())  # called as it was checked
            async with self._open_session().request(
                method,
                target,
                data=body,
                headers=headers,
                allow_redirects=False,
            ) as response:
                answer = await _bounded(response)
                return Answer(response.status, _lower(response.headers), answer)
        except TimeoutError:
            why = "time-out"
            raise SendError(why) from None
        except aiohttp.ClientSSLError:
            why = "TLS failed"
            raise SendError(why) from None
        except aiohttp.ClientConnectorError as error:
            permanent = isinstance(error.os_error, ForbiddenAddressError)
            raise SendError(_why(error), permanent=permanent) from None
        except aiohttp.InvalidURL:
            why = "the URL cannot be called"
            raise SendError(why, permanent=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SendError(_why(error)) from None

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the session, made at first use because it belongs to the running event loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS,
                keepalive_timeout=KEEP_ALIVE_S,
                socket_factory=self._guard,
                resolver=self._resolver,
                use_dns_cache=self._resolver is None,
                ssl=self._tls or ssl.create_default_context(),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_OWN_HEADERS,
                trust_env=False,
                auto_decompress=False,
            )
        return self._session


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """Return the body; nothing of one that is too long, whose connection is given up."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER:
            response.close()
            return b""
    return bytes(body)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by lower-case name; one that stands twice becomes a list, as in RFC 9110."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _why(error: Exception) -> str:
    """Return the kind of failure, on one line and without what the peer sent."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {error.os_error.strerror or error.os_error}"
    return f"no answer: {type(error).__name__}"
