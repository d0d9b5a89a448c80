"""The load of the `receive` benchmark: a lean HTTP client in a process of its own.

Reads one order per line from stdin and writes one result per line to stdout. Messages are made,
signed and put into whole requests before the clock starts; then each of the connections sends one
request after the other and only looks whether the answer is a signed ACK. With a rate given, each
message has its time, and how long it took counts from then, whether a connection was free or not.
"""

import asyncio
import gc
import json
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import uvloop

from adapter.transport.clock import SystemClock
from bench.receive_setup import PATH, Messages, Window, request

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, requests: deque[tuple[float, bytes]], latencies: list[float]) -> None:
        """Take what all connections share: the requests left, and how long each took.

        A request comes with its time; 0 is as soon as a connection is free.
        """
        self._requests = requests
        self._latencies = latencies
        self._transport: Any = None
        self._got = b""
        self._begun = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = transport

    def send(self) -> None:
        """Send the next request, or be done."""
        if not self._requests:
            self.done.set_result(None)
            return
        due, whole = self._requests.popleft()
        now = time.perf_counter()
        self._begun = due or now
        if due <= now:
            self._transport.write(whole)
        else:
            asyncio.get_running_loop().call_later(due - now, self._transport.write, whole)

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take an answer; one that is no signed ACK ends the benchmark."""
        self._got += data
        head, found, body = self._got.partition(_HEAD_END)
        if not found:
            return
        lower = head.lower()
        at = lower.index(_LENGTH) + len(_LENGTH)
        if len(body) < int(lower[at : at + 5].partition(b"\r")[0]):
            return
        self._latencies.append(time.perf_counter() - self._begun)
        self._got = b""
        if (
            not head.startswith(b"HTTP/1.1 200")
            or b'"ACK"' not in body
            or b"\r\nsignature: " not in lower
        ):
            self.done.set_exception(ValueError((head + body).decode()[:600]))
            return
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail unless everything was sent."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed by the node"))


class Load:
    """Connections to one node."""

    def __init__(self) -> None:
        """Begin with the messages that nobody has sent."""
        now_ms = SystemClock().now_ms()
        self._messages = Messages(Window.after(now_ms), now_ms)

    async def run(
        self, port: int, connections: int, messages: int, first: int, per_second: int = 0
    ) -> dict[str, float]:
        """Send messages, the first about offer `first`, and return what that took.

        Args:
            port: of the node, on loopback.
            connections: that are kept alive.
            messages: to send.
            first: number of the offer that the first one is about.
            per_second: messages that are due; 0 sends as fast as they are answered.
        """
        now_ms = SystemClock().now_ms()
        self._messages.continue_from(first)
        requests = []
        for _ in range(messages):
            body = self._messages.new()
            requests.append(request(PATH, body, self._messages.signature(body, now_ms)))
        return await sent(port, connections, requests, per_second)


async def sent(
    port: int, connections: int, requests: Sequence[bytes], per_second: int = 0
) -> dict[str, float]:
    """Send whole requests and return what that took; see `Load.run`."""
    latencies: list[float] = []
    waiting: deque[tuple[float, bytes]] = deque()
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(waiting, latencies), "127.0.0.1", port))[1]
        for _ in range(min(connections, len(requests)))
    ]
    gc.collect()
    gc.disable()
    cpu, begun = _cpu_s(), time.perf_counter()
    waiting.extend(
        (begun + number / per_second if per_second else 0.0, one)
        for number, one in enumerate(requests)
    )
    for one in opened:
        one.send()
    await asyncio.gather(*(one.done for one in opened))
    wall, cpu = time.perf_counter() - begun, _cpu_s() - cpu
    gc.enable()
    for one in opened:
        one.close()
    latencies.sort()
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    """Work off the orders."""
    load = Load()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(await load.run(**json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
