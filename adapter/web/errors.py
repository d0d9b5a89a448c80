"""Refusals on all paths but those of the network: `{"error": {"code", "message", "details"}}`.

One renderer. What the framework refuses by itself is coded too, and nothing is echoed: a body
that cannot be encoded again must not turn a refusal into a fault.
Source: interfaces, section 3; quality targets, traps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from adapter.domain.errors import AdapterError, WireError
from adapter.protocol import strict_json
from adapter.protocol.acks import error_object
from adapter.web.body import DisconnectedError, RequestError

OWN_STATUS: Mapping[str, int] = {"BIZ_ORDER_NOT_FOUND": 404, "BIZ_OFFER_NOT_FOUND": 404}
"""Statuses on our own paths that differ from those on the wire."""
CLOSE_AFTER = frozenset({408, 413})
"""What is left of the body is not read, so the connection ends with the answer."""
MAX_PROBLEMS = 20
"""Problems of one body that are listed."""

_CODE_OF: Mapping[str, str] = {
    "missing": "SCH_REQUIRED_FIELD_MISSING",
    "extra_forbidden": "SCH_FIELD_NOT_ALLOWED",
    "enum": "SCH_INVALID_ENUM",
    "literal_error": "SCH_INVALID_ENUM",
}
"""Code by pydantic's type of problem; types of values are below, all else is the format."""
_TYPE_PROBLEM = ("_type", "_parsing", "_attributes_type")
_AT = {"body": "$", "query": "$query", "path": "$path", "header": "$header"}


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON with exact numbers that no cache keeps."""
    kept = {"Cache-Control": "no-store", **(headers or {})}
    body = strict_json.encode(value)
    return Response(body, status, headers=kept, media_type="application/json")


def error_body(error: AdapterError) -> dict[str, Any]:
    """Return `{"error": {"code", "message", "details"}}`; the details may be empty."""
    rendered = error_object(error)
    rendered.setdefault("details", {})
    return {"error": rendered}


def error_response(error: AdapterError) -> Response:
    """Return the refusal of a request to one of our own paths."""
    status = OWN_STATUS.get(error.code, error.http_status)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = "1"
    if status in CLOSE_AFTER:
        headers["Connection"] = "close"
    return json_response(status, error_body(error), headers)


def not_offered(message: str) -> RequestError:
    """Return the refusal of a path that this node does not have."""
    return RequestError(404, "NET_NOT_IMPLEMENTED", message)


def add_error_handlers(app: FastAPI) -> None:
    """Let every refusal of the application take the one shape."""
    app.add_exception_handler(AdapterError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DisconnectedError, _gone)
    app.add_exception_handler(Exception, _fault)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AdapterError)
    return error_response(error)


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(validation_error(error.errors()))


async def _http(request: Request, error: Exception) -> Response:
    """Answer for the framework: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    code = "SCH_INVALID_FORMAT" if error.status_code == 400 else "NET_NOT_IMPLEMENTED"
    messages = {404: "there is no such path", 405: f"{request.method} is not offered here"}
    message = messages.get(error.status_code, "the request cannot be taken")
    response = error_response(RequestError(error.status_code, code, message))
    response.headers.update(error.headers or {})
    return response


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _fault(_request: Request, _error: Exception) -> Response:
    """Answer a request that met a bug; the framework raises it again behind the answer."""
    return error_response(WireError("NET_INTERNAL_ERROR", "a fault of this node; try again later"))


def validation_error(problems: Sequence[Any]) -> WireError:
    """Return the refusal for what pydantic found; the values themselves are left out."""
    listed = [_problem(problem) for problem in problems[:MAX_PROBLEMS]]
    first = listed[0]
    details = {"errors": listed} if len(listed) > 1 else {}
    return WireError(first["code"], first["message"], path=first["path"], details=details)


def _problem(problem: Mapping[str, Any]) -> dict[str, str]:
    kind = str(problem["type"])
    is_type = kind.endswith(_TYPE_PROBLEM)
    code = _CODE_OF.get(kind, "SCH_TYPE_NOT_SUPPORTED" if is_type else "SCH_INVALID_FORMAT")
    place, *steps = problem["loc"] or ("body",)
    path = _AT.get(str(place), "$") + "".join(map(_step, steps))
    name = str(steps[-1])[:60] if steps else "the body"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return {"code": code, "path": path[:100], "message": f"{name}: {message}"[:300]}


def _step(part: str | int) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"
