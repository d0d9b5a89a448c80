"""Reads of the oracle besides readings: requests, corrections, its fund."""

from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.quantities import to_text
from adapter.settlement import accounts
from adapter.settlement.commands import ReadView
from adapter.settlement.contracts.corrections import known_correction
from adapter.settlement.contracts.parties import acts_for, holds_role
from adapter.settlement.contracts.requests import known_request
from adapter.settlement.contracts.visibility import sees_meter
from adapter.settlement.kinds import NUMBER
from adapter.settlement.oracle_rows import Request, RequestState
from adapter.settlement.refusals import refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import Genesis
from adapter.settlement.state import Account


@dataclass(frozen=True, slots=True)
class GetRequest:
    """A request for a reading."""

    request_no: Annotated[int, NUMBER]


@dataclass(frozen=True, slots=True)
class GetPendingRequests:
    """The requests that can still be fulfilled, oldest first."""


@dataclass(frozen=True, slots=True)
class GetOracleBalance:
    """The fund that pays the fees of requests."""


@dataclass(frozen=True, slots=True)
class GetCorrection:
    """A proposed or confirmed correction of a reading."""

    correction_no: Annotated[int, NUMBER]


def get_request(view: ReadView, args: GetRequest) -> Any:
    """Answer to who asked, the owner of the meter, head-ends and overseers."""
    request = known_request(view.ledger, args.request_no)
    if not _sees(view, request):
        raise refusal("REQUEST_NOT_FOUND", f"no request {args.request_no}")
    return _shown(view, request)


def get_pending_requests(view: ReadView, _args: GetPendingRequests) -> Any:
    """Answer with those that the caller may see."""
    pending = view.ledger.find(Request, "pending", "")
    open_now = [one for one in pending if one.state_at(view.now_ms) is RequestState.PENDING]
    return [_shown(view, request) for request in open_now if _sees(view, request)]


def get_oracle_balance(view: ReadView, _args: GetOracleBalance) -> Any:
    """Answer for anyone."""
    genesis = view.ledger.get(Genesis, "")
    assert genesis is not None
    fund = accounts.oracle_fund(genesis.currency)
    account = view.ledger.account(fund) or Account(fund)
    amounts = {
        "posted": account.posted,
        "held": account.held,
        "available": account.available,
    }
    return {name: to_text(amount, genesis.digits) for name, amount in amounts.items()}


def get_correction(view: ReadView, args: GetCorrection) -> Any:
    """Answer to the owner of the interval, head-ends and overseers."""
    row = known_correction(view.ledger, args.correction_no)
    may_answer = holds_role(view.ledger, Role.ORACLE_OPERATOR, view.actor)
    if not may_answer and not sees_meter(view.ledger, view.actor, row.meter_id, row.start_ms):
        raise refusal("READING_NOT_FOUND", f"no correction {args.correction_no}")
    return {
        "correction_no": row.correction_no,
        "meter_id": row.meter_id,
        "interval": row.start_ms,
        "generated": to_text(row.generated),
        "consumed": to_text(row.consumed),
        "reason": row.reason,
        "proposed_by": row.proposer,
        **({"confirmed_by": row.confirmed_by} if row.confirmed_by else {}),
    }


def _sees(view: ReadView, request: Request) -> bool:
    ledger, actor = view.ledger, view.actor
    asked = acts_for(ledger, actor, request.requester)
    may_answer = holds_role(ledger, Role.ORACLE_OPERATOR, actor)
    return asked or may_answer or sees_meter(ledger, actor, request.meter_id, request.start_ms)


def _shown(view: ReadView, request: Request) -> dict[str, Any]:
    return {
        "request_no": request.request_no,
        "requester": request.requester,
        "meter_id": request.meter_id,
        "interval": request.start_ms,
        "status": str(request.state_at(view.now_ms)),
        "expires_at": request.expires_ms,
    }
