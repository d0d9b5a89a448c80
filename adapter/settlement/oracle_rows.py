"""Rows of the oracle besides readings: requests, corrections, and GRID owed after a correction.

Source: settlement specification, section 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from adapter.settlement.postings import TransitionError
from adapter.settlement.rows import padded
from adapter.settlement.state import Index, Row

PENDING_REQUESTS = "pending_requests"
"""Name of the sum that counts the stored PENDING requests."""


class RequestState(StrEnum):
    """Where a request for a reading stands."""

    PENDING = "PENDING"
    FULFILLED = "FULFILLED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


class RequestStep(StrEnum):
    """What can happen to a request."""

    FULFIL = "FULFIL"
    FAIL = "FAIL"
    EXPIRE = "EXPIRE"


REQUEST_TRANSITIONS: Mapping[RequestState, Mapping[RequestStep, RequestState]] = MappingProxyType(
    {
        RequestState.PENDING: {
            RequestStep.FULFIL: RequestState.FULFILLED,
            RequestStep.FAIL: RequestState.FAILED,
            RequestStep.EXPIRE: RequestState.EXPIRED,
        },
        RequestState.FULFILLED: {},
        RequestState.FAILED: {},
        RequestState.EXPIRED: {},
    }
)


def next_request(state: RequestState, step: RequestStep) -> RequestState:
    """Return the state after `step`.

    Raises:
        TransitionError: INVALID_TRANSITION, no such step; nothing changes.
    """
    try:
        return REQUEST_TRANSITIONS[state][step]
    except KeyError:
        allowed = ", ".join(REQUEST_TRANSITIONS[state]) or "nothing"
        msg = f"a {state} request accepts {allowed}, not {step}"
        raise TransitionError("INVALID_TRANSITION", msg) from None


@dataclass(frozen=True, slots=True)
class Request(Row):
    """A wish for the reading of one 15-minute interval, with the fee for it."""

    KIND: ClassVar[str] = "request"
    request_no: int
    requester: str
    meter_id: str
    start_ms: int
    state: RequestState
    expires_ms: int
    """It can be fulfilled up to and including this instant."""
    fee_hold: str = ""
    """On the oracle's fund; empty when requests cost nothing."""

    @property
    def key(self) -> str:
        """Return the number."""
        return padded(self.request_no)

    @property
    def purpose(self) -> str:
        """Return what its hold is for."""
        return f"request:{self.request_no}"

    def state_at(self, now_ms: int) -> RequestState:
        """Return the state that readers see: a passed deadline shows before its command ran."""
        lapsed = self.state is RequestState.PENDING and now_ms > self.expires_ms
        return RequestState.EXPIRED if lapsed else self.state

    def indexes(self) -> tuple[Index, ...]:
        """List it while it is PENDING: by its deadline, by number, and with its meter."""
        if self.state is not RequestState.PENDING:
            return ()
        return (
            Index("due", "", padded(self.expires_ms)),
            Index("pending", "", self.key),
            Index("pending_of", self.meter_id, self.key),
        )

    def sums(self) -> Mapping[str, int]:
        """Count it while it is PENDING."""
        return {PENDING_REQUESTS: 1} if self.state is RequestState.PENDING else {}


@dataclass(frozen=True, slots=True)
class Correction(Row):
    """A proposal to replace a stored reading; it changes nothing until a regulator confirms it."""

    KIND: ClassVar[str] = "correction"
    correction_no: int
    proposer: str
    meter_id: str
    start_ms: int
    generated: int
    consumed: int
    register_generated: int | None
    register_consumed: int | None
    digest: str
    """SHA-256 of the signed bytes."""
    reason: str
    replaces: str = ""
    """Digest of the reading that stood when this was proposed."""
    confirmed_by: str = ""

    @property
    def key(self) -> str:
        """Return the number."""
        return padded(self.correction_no)


@dataclass(frozen=True, slots=True)
class Owed(Row):
    """GRID that a downward correction could not take back: the next mints of the meter repay it.

    Issued GRID = Σ `Reading.minted` + Σ owed + what operators vouched for.
    """

    KIND: ClassVar[str] = "owed"
    meter_id: str
    owner: str
    """The debt stays with who owned the meter then; another owner of the meter owes nothing."""
    amount: int

    @property
    def key(self) -> str:
        """Return meter and owner."""
        return owed_key(self.meter_id, self.owner)


def owed_key(meter_id: str, owner: str) -> str:
    """Return the key of what an owner owes for a meter."""
    return f"{meter_id}|{owner}"
