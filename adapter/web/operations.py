"""Health and metrics for whoever runs the node. Source: interfaces, section 3 and rulings."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from adapter.bootstrap import Node
from adapter.domain.errors import AdapterError, WireError
from adapter.web.errors import error_response, json_response
from adapter.web.metrics import Metrics
from adapter.web.models import refusals

OK = "ok"

Check = Callable[[], Awaitable[str]]
"""Returns `ok`, or in a few words what is wrong."""


class LiveModel(BaseModel):
    """The process answers."""

    status: str


class ReadyModel(BaseModel):
    """The node can do its work."""

    status: str
    checks: dict[str, str]


def operations_router(node: Node, metrics: Metrics) -> APIRouter:
    """Return `/health/live`, `/health/ready` and `/metrics`; none shows data of trades."""
    router = APIRouter(tags=["operations"])

    @router.get("/health/live", response_model=LiveModel)
    async def live() -> Response:
        """Say that the process answers."""
        return json_response(200, {"status": "live"})

    @router.get("/health/ready", response_model=ReadyModel, responses=refusals(503))
    async def ready() -> Response:
        """Say whether the node's own database, key and registry file are usable."""
        checks = await readiness(node)
        wrong = [name for name, state in checks.items() if state != OK]
        if not wrong:
            return json_response(200, {"status": "ready", "checks": checks})
        msg = f"not ready: {', '.join(wrong)}"
        details = {"checks": checks}
        return error_response(WireError("NET_DOWNSTREAM_UNAVAILABLE", msg, details=details))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "For Prometheus."}},
    )
    async def scrape() -> Response:
        """Return counters and gauges in the format of Prometheus."""
        await metrics.look(node)
        text = generate_latest(metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


async def readiness(node: Node) -> dict[str, str]:
    """Return `ok` or what is wrong for database, key, registry and the hosted journal."""
    checks: dict[str, Check] = {
        "database": lambda: _database(node),
        "key": lambda: _key(node),
        "registry": lambda: _registry(node),
    }
    if node.contracts is not None:
        checks["journal"] = lambda: _journal(node)
    return {name: await _guarded(check) for name, check in checks.items()}


async def _guarded(check: Check) -> str:
    try:
        return await check()
    except AdapterError as error:
        return error.message


async def _database(node: Node) -> str:
    await node.parts.store.read(lambda uow: uow.next_outbox_ms())
    return OK


async def _key(node: Node) -> str:
    """Compare the node's key with its own record, where the registry is a file of its own."""
    if node.settings.registry.kind != "static":
        return OK
    section = node.settings.node
    records = await node.parts.registry.records(section.subscriber_id)
    listed = {one.signing_public_key for one in records if one.key_id == section.key_id}
    if listed <= {node.parts.signer.key_record["public_key"]}:
        return OK
    return "the registry file lists another public key for this node"


async def _journal(node: Node) -> str:
    return node.journal.fault or OK


async def _registry(node: Node) -> str:
    file = node.settings.registry.file
    if file is not None and not file.is_file():
        return "the registry file is not there; the records read before stay in use"
    return OK
