"""What a node counts about itself, for Prometheus. A registry per node, nothing at module level."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from adapter.bootstrap import Node
from adapter.domain.errors import AdapterError
from adapter.web.body import AsgiReceive
from adapter.web.network import AsgiSend

DEAD_COUNTED = 1_000
"""Dead letters that are counted; more show as this many."""
CONTRADICTIONS_COUNTED = 100
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)

AsgiApp = Callable[[MutableMapping[str, Any], AsgiReceive, AsgiSend], Awaitable[None]]


class Metrics:
    """Counters of requests, and gauges that are read when somebody asks."""

    def __init__(self, version: str) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "p2ptrade_http_requests",
            "Requests answered, by face and status.",
            ("face", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "p2ptrade_http_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("face",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._lag = Gauge(
            "p2ptrade_outbox_lag_seconds",
            "How long the oldest due message has been waiting to be sent.",
            registry=self.registry,
        )
        self._dead = Gauge(
            "p2ptrade_outbox_dead_letters",
            f"Messages given up; more than {DEAD_COUNTED} are not counted.",
            registry=self.registry,
        )
        self._entries = Gauge(
            "p2ptrade_ledger_entries",
            "Entries of the journal; 0 where the contract layer is not hosted.",
            registry=self.registry,
        )
        self._contradictions = Gauge(
            "p2ptrade_root_contradictions",
            f"Root statements that contradict kept ones; more than {CONTRADICTIONS_COUNTED} are"
            " not counted. Above 0 the host of the ledger has said two things.",
            registry=self.registry,
        )
        Info("p2ptrade", "This program.", registry=self.registry).info({"version": version})

    def measured(self, face: str, app: AsgiApp) -> AsgiApp:
        """Return the application with its requests counted as those of `face`."""
        seconds = self._seconds.labels(face)
        counters: dict[int, Any] = {}

        async def counted(
            scope: MutableMapping[str, Any], receive: AsgiReceive, send: AsgiSend
        ) -> None:
            begun = time.perf_counter()
            status = 0

            async def noted(message: MutableMapping[str, Any]) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noted)
            finally:
                seconds.observe(time.perf_counter() - begun)
                if status not in counters:
                    counters[status] = self._requests.labels(face, str(status or "none"))
                counters[status].inc()

        return counted

    async def look(self, node: Node) -> None:
        """Set the gauges; one that cannot be read keeps its last value."""
        try:
            next_ms = await node.parts.store.read(lambda uow: uow.next_outbox_ms())
            late_ms = 0 if next_ms is None else node.parts.clock.now_ms() - next_ms
            self._lag.set(max(late_ms, 0) / 1_000)
            self._dead.set(len(await node.dead_letters.listed(DEAD_COUNTED)))
            twice = await node.parts.store.read(
                lambda uow: uow.contradicting_roots(CONTRADICTIONS_COUNTED)
            )
            self._contradictions.set(len(twice))
            if node.contracts is not None:
                self._entries.set((await node.contracts.state())["seq"] + 1)
        except AdapterError:
            return  # the database is away; /health/ready says so
