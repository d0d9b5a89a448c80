"""What auditors and parties check a ledger with: state, journal, root statements, proofs.

Source: settlement specification, sections 5 and 17, ruling R4.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from adapter.bootstrap import Node
from adapter.domain.errors import ContractError
from adapter.service.contracts import ContractCalls
from adapter.service.roots import ROOTS_PAGE
from adapter.web.auth import Caller, Guard
from adapter.web.body import check_content_headers, read_body
from adapter.web.contract_models import ProofModel, RootPageModel, SignedRootModel, StateModel
from adapter.web.contract_parts import MAX_BODY, body_object, hosted_by, invalid_request
from adapter.web.errors import json_response
from adapter.web.models import json_body, refusals

READERS = ("REGULATOR", "AUDITOR")
"""Roles that may read the journal, besides parties that have countersigned a statement."""
MAX_EPOCH = 2**40
_NO_CACHE = {"Cache-Control": "no-store"}
_COUNTERSIGNED = ("statement", "key_id", "signature")
_COUNTERSIGNATURE = json_body(
    {
        "type": "object",
        "properties": {name: {"type": "string"} for name in _COUNTERSIGNED},
        "required": list(_COUNTERSIGNED),
        "additionalProperties": False,
    },
    {
        "statement": "35ecbd83125396ea2ef6b8611171c38ceb2cafb7bdc503f14923ee6d6e32b331",
        "key_id": "bap.buyer.example|k1|ed25519",
        "signature": "<base64 of 64 bytes>",
    },
)


def add_audit_paths(router: APIRouter, node: Node, guard: Guard) -> None:
    """Add state and journal, root statements and proofs."""
    _add_root_paths(router, node, guard)

    @router.get("/contracts/state", response_model=StateModel, responses=refusals(401, 404))
    async def state(request: Request) -> Response:
        """Return head, time and totals of the ledger."""
        hosted = hosted_by(node)
        await guard.contract_caller(request)
        return json_response(200, await hosted.state())

    @router.get(
        "/contracts/journal",
        response_class=Response,
        responses={
            200: {"content": {"application/jsonl": {}}, "description": "Canonical entries."},
            **refusals(400, 401, 403, 404),
        },
    )
    async def journal(
        request: Request, after: Annotated[int, Query(ge=-1, lt=2**53)] = -1
    ) -> Response:
        """Return canonical entries after `after`, one per line, at most 1000; empty is the end."""
        hosted = hosted_by(node)
        caller = await guard.contract_caller(request)
        await _check_reader(hosted, caller)
        lines = [entry + b"\n" for entry in await hosted.journal(after)]
        return Response(b"".join(lines), 200, _NO_CACHE, media_type="application/jsonl")

    @router.get(
        "/contracts/proofs/{trade_id:path}",
        response_model=ProofModel,
        responses=refusals(401, 404, 409),
    )
    async def proof(request: Request, trade_id: str) -> Response:
        """Return the proof of a spot trade, or of an agreement by its contract id."""
        hosted = hosted_by(node)
        caller = await guard.contract_caller(request)
        bundle = await hosted.proof(trade_id, actor=caller.actor)
        return Response(bundle, 200, _NO_CACHE, media_type="application/json")


def _add_root_paths(router: APIRouter, node: Node, guard: Guard) -> None:
    @router.get(
        "/contracts/roots", response_model=RootPageModel, responses=refusals(400, 401, 404, 409)
    )
    async def roots(
        request: Request,
        after: Annotated[int, Query(ge=-1, lt=MAX_EPOCH, description="An epoch.")] = -1,
        limit: Annotated[int, Query(ge=1, le=ROOTS_PAGE)] = ROOTS_PAGE,
    ) -> Response:
        """Return signed root statements that end after an epoch, in order."""
        hosted = hosted_by(node)
        await guard.contract_caller(request)
        return json_response(200, await hosted.roots.page(after, limit))

    @router.post(
        "/contracts/roots/{last_epoch}/countersignatures",
        response_model=SignedRootModel,
        responses=refusals(400, 401, 403, 404),
        openapi_extra=_COUNTERSIGNATURE,
    )
    async def countersign(request: Request, last_epoch: int) -> Response:
        """Keep a party's signature under a statement; the request is signed by the same party."""
        hosted = hosted_by(node)
        check_content_headers(request.scope["headers"], MAX_BODY)
        raw = await read_body(request.receive, MAX_BODY)
        caller = await guard.contract_caller(request, raw)
        if not caller.signed:
            msg = "a countersignature comes from a participant, which signs the request"
            raise ContractError("NOT_AUTHORIZED", msg)
        statement, key_id, signature = _countersignature(body_object(raw))
        kept = await hosted.roots.countersign(
            last_epoch, statement, key_id, signature, subscriber=caller.actor
        )
        return json_response(200, kept)


def _countersignature(body: dict[str, Any]) -> tuple[str, str, str]:
    if body.keys() != set(_COUNTERSIGNED) or not all(isinstance(v, str) for v in body.values()):
        msg = f"a countersignature is {{{', '.join(_COUNTERSIGNED)}}}, all texts"
        raise invalid_request(msg)
    statement, key_id, signature = (body[name] for name in _COUNTERSIGNED)
    return statement, key_id, signature


async def _check_reader(hosted: ContractCalls, caller: Caller) -> None:
    """Refuse the journal to all but overseers and countersigners; it holds every user's affairs.

    Raises:
        ContractError: NOT_AUTHORIZED.
    """
    for role in READERS:
        answer = await hosted.read(
            "registry", "has_role", {"role": role, "actor": caller.actor}, actor=caller.actor
        )
        if answer["result"]:
            return
    if caller.signed and await hosted.roots.is_countersigner(caller.actor):
        return
    msg = "the journal is for REGULATOR, AUDITOR and parties that countersign its roots"
    raise ContractError("NOT_AUTHORIZED", msg)
