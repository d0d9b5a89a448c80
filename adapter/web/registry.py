"""The registry that a node may serve: `POST /lookup` and `POST /registry/lookup`.

Answers as ONIX's registry does, so that ONIX nodes can use it as it is.
Source: protocol specification, section 6.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from adapter.domain.errors import AdapterError, WireError
from adapter.protocol import strict_json
from adapter.protocol.acks import error_object
from adapter.web.body import DisconnectedError, read_json_object

MAX_LOOKUP = 4 * 1_024
"""Bytes of a request."""
FIELDS = ("subscriber_id", "key_id", "type", "domain")
"""What may be asked for; everything given must match."""

FindRecords = Callable[[Mapping[str, str]], Sequence[Mapping[str, Any]]]
"""Returns the records whose fields equal all those wanted, usable and newest first."""


def registry_router(find: FindRecords) -> APIRouter:
    """Return the two paths; they give the same answer."""
    router = APIRouter(tags=["registry"])

    async def lookup(request: Request) -> Response:
        """Return the records that match all given fields, usable and newest first."""
        try:
            body = await read_json_object(request.scope["headers"], request.receive, MAX_LOOKUP)
            records = find(_wanted(body))
        except AdapterError as error:
            refusal = {"error": error_object(error)}
            return _json(error.http_status, refusal)
        except DisconnectedError:
            return Response(status_code=400)
        return _json(200, list(records))

    for path in ("/lookup", "/registry/lookup"):
        router.add_api_route(path, lookup, methods=["POST"], response_class=Response)
    return router


def _wanted(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the given fields; empty ones count as left out, unknown ones are passed over."""
    wanted: dict[str, str] = {}
    for name in FIELDS:
        value = body.get(name)
        if value in (None, ""):
            continue
        if not isinstance(value, str):
            code = "SCH_TYPE_NOT_SUPPORTED"
            raise WireError(code, f"{name} is not a text", path=f"$.{name}")
        wanted[name] = value
    if not wanted:
        code = "SCH_REQUIRED_FIELD_MISSING"
        raise WireError(code, f"none of {', '.join(FIELDS)} is given", path="$")
    return wanted


def _json(status: int, value: Any) -> Response:
    return Response(strict_json.encode(value), status, media_type="application/json")
