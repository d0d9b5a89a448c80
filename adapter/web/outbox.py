"""`/outbox`: dead letters, for the node's operator."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from adapter.bootstrap import Node
from adapter.web.auth import Guard
from adapter.web.errors import json_response
from adapter.web.models import refusals

MAX_LISTED = 1_000


class DeadLetterModel(BaseModel):
    """A message that could not be delivered."""

    model_config = ConfigDict(extra="allow")

    id: int
    to: str
    action: str
    attempts: int
    code: str | None


class DeadLettersModel(BaseModel):
    """Dead letters, oldest first."""

    dead_letters: list[DeadLetterModel]


def outbox_router(node: Node, guard: Guard) -> APIRouter:
    """Return the paths of `/outbox`."""
    router = APIRouter(tags=["operations"], dependencies=[Depends(guard.operator)])

    @router.get(
        "/outbox/dead-letters", response_model=DeadLettersModel, responses=refusals(400, 401)
    )
    async def listed(limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100) -> Response:
        """List messages that could not be delivered, oldest first, without their bodies."""
        letters: list[dict[str, Any]] = await node.dead_letters.listed(limit)
        return json_response(200, {"dead_letters": letters})

    @router.post(
        "/outbox/dead-letters/{row_id}/resend", status_code=202, responses=refusals(401, 404)
    )
    async def resend(row_id: int) -> Response:
        """Queue a dead letter again: same bytes, fresh signature, attempts from zero."""
        await node.dead_letters.send_again(row_id)
        return json_response(202, {"id": row_id})

    return router
