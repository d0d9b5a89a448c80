"""oracle: requests for the reading of an interval, paid from the oracle's fund.

PENDING → FULFILLED, FAILED or EXPIRED. Source: settlement specification, section 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.settlement import accounts
from adapter.settlement.contracts.minting import check_capacity, check_ended, mint
from adapter.settlement.contracts.parties import binding_at, check_meter, holds_role, verify
from adapter.settlement.contracts.readings import (
    METER_DATA,
    check_registers,
    new_reading,
    note_fulfilled,
    signing_binding,
    store,
    stored_reading,
    to_mint,
)
from adapter.settlement.kinds import ID, INTERVAL, MONEY, NUMBER, REASON
from adapter.settlement.oracle_rows import (
    PENDING_REQUESTS,
    Request,
    RequestState,
    RequestStep,
    next_request,
)
from adapter.settlement.postings import Why
from adapter.settlement.refusals import refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import padded
from adapter.settlement.state import Reader
from adapter.settlement.work import Work, sum_of


@dataclass(frozen=True, slots=True)
class RequestEnergyData:
    """Ask the metering head-ends for the reading of an interval."""

    meter_id: Annotated[str, ID]
    interval: Annotated[int | None, INTERVAL] = None
    """Absent: the last one that ended."""


def request_energy_data(work: Work, args: RequestEnergyData) -> Mapping[str, Any]:
    """Open a request and hold the fee for it."""
    start_ms = work.next_epoch_ms - 2 * EPOCH_MS if args.interval is None else args.interval
    check_meter(work, args.meter_id)
    binding = binding_at(work, args.meter_id, start_ms)
    owner = binding.owner if binding else ""
    if work.user != owner and not holds_role(work, Role.ORACLE_OPERATOR, work.actor):
        msg = f"{work.user} did not own {args.meter_id} in that interval"
        raise refusal("NOT_AUTHORIZED", msg)
    verify(work, owner)
    settings = work.settings
    if sum_of(work, PENDING_REQUESTS) >= settings.max_pending_requests:
        msg = f"{settings.max_pending_requests} requests are pending, as many as allowed"
        raise refusal("TOO_MANY_PENDING_REQUESTS", msg)
    request = Request(
        work.next_number("request"),
        work.user,
        args.meter_id,
        start_ms,
        RequestState.PENDING,
        work.after(settings.oracle_timeout_s),
    )
    if settings.oracle_fee:
        fund = accounts.oracle_fund(work.genesis.currency)
        work.require(fund, settings.oracle_fee, "INSUFFICIENT_ORACLE_BALANCE", "the oracle's fund")
        hold = work.hold(fund, settings.oracle_fee, request.purpose, request.expires_ms)
        request = replace(request, fee_hold=hold)
    work.put(request)
    work.emit(
        "OracleRequestCreated",
        {
            "request_no": request.request_no,
            "requester": request.requester,
            "meter_id": request.meter_id,
            "interval": request.start_ms,
            "expires_at": request.expires_ms,
        },
    )
    return {
        "request_no": request.request_no,
        "interval": request.start_ms,
        "expires_at": request.expires_ms,
    }


@dataclass(frozen=True, slots=True)
class FulfillEnergyData:
    """Answer a request with the signed reading, and take its fee."""

    request_no: Annotated[int, NUMBER]
    meter_data: Annotated[Mapping[str, Any], METER_DATA]


def fulfill_energy_data(work: Work, args: FulfillEnergyData) -> Mapping[str, Any]:
    """Store the reading unless it is stored, and mint what of it is not minted yet.

    The fee is for a reading that was stored or minted by this; what is known already costs nothing,
    else asking for it again and again would empty the fund.
    """
    request, data = known_request(work, args.request_no), args.meter_data
    if (data["meter_id"], data["start"]) != (request.meter_id, request.start_ms):
        msg = f"request {request.request_no} asks for another meter or interval"
        raise refusal("METER_MISMATCH", msg)
    binding = signing_binding(work, data)
    _check_open(request)
    stored = stored_reading(work, data)
    if stored is None:
        check_registers(work, data)
    _check_in_time(work, request)
    check_ended(work, request.start_ms)
    amount = 0
    if stored is None:
        check_capacity(request.meter_id, data["generated"], binding.capacity_micro_kw)
        store(work, new_reading(work, data, binding), request.request_no)
    else:
        amount = to_mint(work, stored)
        note_fulfilled(work, stored, amount, request.request_no)
        if amount:
            mint(work, stored, amount)
    if request.fee_hold and stored is not None and not amount:
        work.void(request.fee_hold, Why.EXCESS)
    elif request.fee_hold:
        operator = accounts.main(work.actor, work.genesis.currency)
        work.post(request.fee_hold, [(operator, work.known_hold(request.fee_hold).amount)])
    _close(work, request, RequestStep.FULFIL)
    return {"request_no": request.request_no, "interval": request.start_ms}


@dataclass(frozen=True, slots=True)
class FailRequest:
    """Say that no reading will come; the fee goes back to the fund."""

    request_no: Annotated[int, NUMBER]
    reason: Annotated[str, REASON] = ""


def fail_request(work: Work, args: FailRequest) -> Mapping[str, Any]:
    """Close the request without a reading."""
    request = known_request(work, args.request_no)
    _check_open(request)
    _check_in_time(work, request)
    _release_fee(work, request, Why.CANCEL)
    _close(work, request, RequestStep.FAIL)
    work.emit(
        "OracleRequestFailed",
        {
            "request_no": request.request_no,
            "meter_id": request.meter_id,
            "reason": args.reason,
        },
    )
    return {"request_no": request.request_no}


@dataclass(frozen=True, slots=True)
class FundOracle:
    """Pay own cash into the fund that pays the fees of requests."""

    amount: Annotated[int, MONEY]


def fund_oracle(work: Work, args: FundOracle) -> Mapping[str, Any]:
    """Move the caller's cash into the fund."""
    currency = work.genesis.currency
    account = accounts.main(work.user, currency)
    work.require(account, args.amount, "INSUFFICIENT_FUNDS", f"cash of {work.user}")
    work.direct(account, accounts.oracle_fund(currency), args.amount)
    work.emit("OracleFunded", {"from": work.user, "amount": args.amount})
    return {"from": work.user}


def expire_request(work: Work, request: Request) -> None:
    """End a request that nobody answered in time."""
    _release_fee(work, request, Why.EXPIRE)
    _close(work, request, RequestStep.EXPIRE)
    fields = {"request_no": request.request_no, "meter_id": request.meter_id}
    work.emit("OracleRequestExpired", fields)


def known_request(reader: Reader, request_no: int) -> Request:
    """Return a request.

    Raises:
        ContractError: REQUEST_NOT_FOUND.
    """
    request = reader.get(Request, padded(request_no))
    if request is None:
        raise refusal("REQUEST_NOT_FOUND", f"no request {request_no}")
    return request


def has_pending_request(reader: Reader, meter_id: str, now_ms: int) -> bool:
    """Return whether a reading of the meter may still be fulfilled."""
    found = reader.find(Request, "pending_of", meter_id)
    return any(request.state_at(now_ms) is RequestState.PENDING for request in found)


def _check_open(request: Request) -> None:
    """Check that nobody closed the request; one that has lapsed is refused by its deadline."""
    if request.state in (RequestState.FULFILLED, RequestState.FAILED):
        msg = f"request {request.request_no} is {request.state}"
        raise refusal("REQUEST_ALREADY_FULFILLED", msg)


def _check_in_time(work: Work, request: Request) -> None:
    if request.state_at(work.now_ms) is RequestState.EXPIRED:
        msg = f"request {request.request_no} lapsed after {request.expires_ms}"
        raise refusal("REQUEST_EXPIRED", msg)


def _release_fee(work: Work, request: Request, why: Why) -> None:
    if request.fee_hold:
        work.void(request.fee_hold, why)


def _close(work: Work, request: Request, step: RequestStep) -> None:
    work.put(replace(request, state=next_request(request.state, step), fee_hold=""))
