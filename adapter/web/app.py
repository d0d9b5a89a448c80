"""The ASGI application of a node.

    /bap/receiver, /bpp/receiver   plain ASGI on raw bytes, before FastAPI
    everything else                FastAPI: callers, trades, offers, contracts, registry, health

The lifespan starts and stops the node. Source: architecture, section 4; quality targets, section 1.
"""

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from adapter.bootstrap import Node
from adapter.domain.errors import AdapterError
from adapter.transport.registry_records import record_from
from adapter.transport.registry_static import StaticRegistry
from adapter.web.auth import Guard, Tokens
from adapter.web.body import AsgiReceive
from adapter.web.callers import callers_router
from adapter.web.contracts import contracts_router
from adapter.web.docs import add_docs
from adapter.web.ending import Ending
from adapter.web.errors import add_error_handlers
from adapter.web.metrics import AsgiApp, Metrics
from adapter.web.network import AsgiSend, NetworkEndpoints
from adapter.web.offers import offers_router
from adapter.web.operations import operations_router
from adapter.web.outbox import outbox_router
from adapter.web.registry import FindRecords, registry_router
from adapter.web.trades import trades_router

NETWORK_PATHS = ("/bap/receiver/", "/bpp/receiver/")

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]


def create_app(node: Node, ending: Ending | None = None) -> AsgiApp:
    """Return the application of a node; serving it starts and stops the node.

    Args:
        node: not started yet.
        ending: to be told when requests should wait no longer.

    Raises:
        TokenFileError: the tokens file cannot be used.
    """
    metrics = Metrics(version("p2ptrade"))
    network = metrics.measured("network", _network(node))
    own = metrics.measured("own", _logged(_own(node, metrics, ending or Ending())))

    async def app(scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(node, receive, send)
        elif scope["type"] != "http":
            return  # no web sockets here; the server closes them
        elif scope["path"].startswith(NETWORK_PATHS):
            await network(scope, receive, send)
        else:
            await own(scope, receive, send)

    return app


def _network(node: Node) -> NetworkEndpoints:
    """Return the paths of the network, as far as the node's roles take them."""
    return NetworkEndpoints(
        receive=node.inbound.receive,
        serves=node.inbound.serves,
        sign_answer=node.parts.signer.answer_header,
        ack_profile=node.settings.protocol.ack_profile,
    )


def _own(node: Node, metrics: Metrics, ending: Ending) -> FastAPI:
    app = FastAPI(
        title="p2ptrade",
        version=version("p2ptrade"),
        summary=f"Node {node.parts.me.subscriber_id}",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    tokens = Tokens(node.settings.access.tokens_file, node.parts.me.subscriber_id)
    guard = Guard(node.parts, tokens)
    add_error_handlers(app)
    app.include_router(callers_router(node, guard, ending))
    app.include_router(trades_router(node, guard, ending))
    app.include_router(offers_router(node, guard))
    app.include_router(contracts_router(node, guard, ending))
    app.include_router(operations_router(node, metrics))
    app.include_router(outbox_router(node, guard))
    if node.registry_records is not None:
        app.include_router(registry_router(_finder(node.registry_records)))
    add_docs(app)
    return app


def _finder(records: StaticRegistry) -> FindRecords:
    def find(wanted: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        return [record_from(participant) for participant in records.find(wanted)]

    return find


def _logged(app: AsgiApp) -> AsgiApp:
    """Return the application with one log record for what nobody caught; it is answered by now."""

    async def guarded(scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        try:
            await app(scope, receive, send)
        except Exception:
            _log.exception("fault while a request was handled", extra={"path": scope["path"]})

    return guarded


async def _lifespan(node: Node, receive: AsgiReceive, send: AsgiSend) -> None:
    """Start the node, wait for the end, stop it."""
    await receive()
    try:
        await node.start()
    except AdapterError as error:
        reason = f"{error.code}: {error.message}"
        await send({"type": "lifespan.startup.failed", "message": reason})
        return
    _log.info("%s is up", node.parts.me.subscriber_id)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await node.stop()
    _log.info("%s is down", node.parts.me.subscriber_id)
    await send({"type": "lifespan.shutdown.complete"})
