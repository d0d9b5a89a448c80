"""uvicorn's HTTP protocol with bounds on the request head.

uvicorn alone keeps an unfinished head open for ever and takes one of any size. Here a head must
be complete within 10 s and 16 KiB, else 408 or 431 and the connection ends.
Source: ruling R14; quality targets, traps and S18.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from adapter.protocol.acks import MessageIds, nack
from adapter.web.body import RequestError

HEAD_S = 10
MAX_HEAD = 16 * 1_024
"""Bytes, request line included."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "
LINGER_S = 1
"""How long a refused client may go on sending: a reset would take the answer from it."""


class _OneWrite:
    """The transport as the answer to a POST sees it: its head waits for the body.

    uvicorn writes the two one after the other, and each write is a call to the system. Only a head
    that names a length waits, so what is streamed begins at once; a POST with a length has a body,
    if an empty one.
    """

    __slots__ = ("_begun", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._begun = False
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif not self._begun and data != _CONTINUE:
            self._begun = True
            if _LENGTH in data:
                self._head = data
                return
        self._transport.write(data)

    def close(self) -> None:
        if self._head:  # the application failed after it had begun
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class BoundedHttpProtocol(HttpToolsProtocol):
    """To be given to uvicorn as `http`."""

    head_s: float = HEAD_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn gives."""
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        """Whether what comes next belongs to a head."""
        self._ended = False
        """Whether the bytes at hand held the end of a message."""
        self._unparsed = 0
        """Bytes since a message began or ended; a field that never ends is seen here alone."""
        self._parsed = 0
        """Bytes of complete fields of this head."""
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless the connection is being given up."""
        if self._refused:
            return
        self._ended = False
        super().data_received(data)
        self._unparsed = 0 if self._ended else self._unparsed + len(data)
        if self._in_head and self._unparsed > MAX_HEAD:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Start counting a head."""
        super().on_message_begin()
        self._in_head = True
        self._unparsed = 0
        self._parsed = 0
        self._start_timer()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        super().on_url(url)
        self._parsed += len(url)
        if self._parsed > MAX_HEAD:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field, or a trailer after the body."""
        super().on_header(name, value)
        self._parsed += len(name) + len(value) + 4
        if self._parsed > MAX_HEAD:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """Hand the request over, if its head is within bounds."""
        self._in_head = False
        self._stop_timer()
        if self._refused:
            return
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope["method"] == "POST":
            # Its task has not begun yet; all that it does with a transport is in `_OneWrite`.
            self.cycle.transport = _OneWrite(self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a body; a head may follow."""
        self._ended = True
        self._in_head = True
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for another head, should anything come before uvicorn ends the idle connection."""
        super().on_response_complete()
        if self._head_timer is None and not self.transport.is_closing():
            self._start_timer()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(self.head_s, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._refuse(408, f"the request head did not come within {HEAD_S} s")

    def _refuse_head(self) -> None:
        if not self._refused:
            self._refuse(431, f"the request head is longer than {MAX_HEAD} bytes")

    def _refuse(self, status: int, message: str) -> None:
        """Answer and close; what else comes is not read.

        Inside a body, or while another answer is under way, there is only the close.
        """
        self._refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if self._in_head and (cycle is None or cycle.response_complete):
            error = RequestError(status, "SCH_INVALID_FORMAT", message)
            body = nack("onix", MessageIds(), error).body
            self.transport.write(
                STATUS_LINE[status]
                + b"content-type: application/json\r\nconnection: close\r\n"
                + b"content-length: %d\r\n\r\n" % len(body)
                + body
            )
            if self.transport.can_write_eof():
                self.transport.write_eof()
                self.loop.call_later(LINGER_S, self.transport.close)
                return
        self.transport.close()
