"""What becomes of an outbox row: schedule, last attempt, meaning of an answer. Pure.

Source: protocol specification, section 10.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from adapter.domain.codes import is_transient
from adapter.domain.errors import WireError
from adapter.domain.replace import replace
from adapter.protocol.acks import Outcome, Verdict, error_object
from adapter.service.records import OutboxKind, OutboxRow, OutboxState

ATTEMPTS = MappingProxyType(
    {OutboxKind.REQUEST: 6, OutboxKind.CALLBACK: 16, OutboxKind.COMPENSATION: 16}
)
"""LTS's five retries end after 155 s, less than a peer's restart: hence 16 for callbacks."""
FIRST_WAIT_MS = 5_000
MAX_WAIT_MS = 300_000
JITTER_PERCENT = 20

RandomBelow = Callable[[int], int]
"""Returns a random integer from 0 to below its argument."""


@dataclass(frozen=True, slots=True)
class Step:
    """A row after an attempt, or after one that was not made."""

    row: OutboxRow
    ended: bool = False
    """Whether the trade must hear of it."""
    error: dict[str, Any] | None = None
    without_callback: bool = False
    unsent: str = ""
    """The header of an attempt that was not made."""


def wait_ms(attempts: int, random_below: RandomBelow) -> int:
    """Return the wait after `attempts` attempts: 5, 10, 20 … 300 s, each ± 20 %."""
    wait = min(FIRST_WAIT_MS << min(attempts - 1, 10), MAX_WAIT_MS)
    return wait * (100 - JITTER_PERCENT + random_below(2 * JITTER_PERCENT + 1)) // 100


def after_answer(
    row: OutboxRow, verdict: Verdict, *, now_ms: int, random_below: RandomBelow
) -> Step:
    """Return what becomes of a row whose attempt was answered; `row` counts that attempt."""
    code = verdict.error["code"] if verdict.error else None
    match verdict.outcome:
        case Outcome.DELIVERED:
            return Step(_ended(row, OutboxState.SENT, None))
        case Outcome.DELIVERED_WITHOUT_CALLBACK:
            tell = row.kind is not OutboxKind.CALLBACK
            return Step(_ended(row, OutboxState.SENT, code), tell, verdict.error, tell)
        case Outcome.REFUSED if not _tries_again(row, code):
            return _refused(row, verdict.error)
        case _:
            return _again(row, verdict, now_ms=now_ms, random_below=random_below)


def after_silence(row: OutboxRow, why: str, *, now_ms: int, random_below: RandomBelow) -> Step:
    """Return what becomes of a row whose attempt had no answer; its outcome is unknown."""
    error = error_object(WireError("NET_ACK_TIMEOUT", f"no acknowledgement: {why}"))
    silent = replace(row, http_status=None, ack_signature=None)
    verdict = Verdict(Outcome.RETRY, error)
    return _again(silent, verdict, now_ms=now_ms, random_below=random_below)


def impossible(row: OutboxRow, error: WireError) -> Step:
    """Return a row that no later attempt can deliver."""
    return _dead(row, error_object(error))


def too_late(row: OutboxRow) -> Step:
    """Return a row whose time has passed."""
    return _dead(row, _gave_up(row, None))


def postponed(row: OutboxRow, next_ms: int) -> Step:
    """Return a row that was not tried: it keeps its attempts."""
    if row.expires_ms is not None and next_ms > row.expires_ms:
        return too_late(row)
    return Step(replace(row, state=OutboxState.DUE, next_ms=next_ms))


def is_late(row: OutboxRow, now_ms: int) -> bool:
    """Return whether no attempt may be made any more."""
    return row.expires_ms is not None and now_ms > row.expires_ms


def _again(row: OutboxRow, verdict: Verdict, *, now_ms: int, random_below: RandomBelow) -> Step:
    wait = max(wait_ms(row.attempts, random_below), verdict.retry_after_ms or 0)
    over = row.expires_ms is not None and now_ms + wait > row.expires_ms
    if over or row.attempts >= ATTEMPTS[row.kind]:
        return _dead(row, _gave_up(row, verdict.error))
    code = verdict.error["code"] if verdict.error else None
    return Step(replace(row, state=OutboxState.DUE, next_ms=now_ms + wait, code=code))


def _tries_again(row: OutboxRow, code: str | None) -> bool:
    """Return whether a refusal may be overcome: a callback's peer may hold a stale key of ours."""
    stale_key = row.kind is not OutboxKind.REQUEST and (code or "").startswith("AUT_")
    return stale_key or is_transient(code or "")


def _refused(row: OutboxRow, error: dict[str, Any] | None) -> Step:
    if error is None:
        text = f"the peer answered {row.http_status} without a readable error"
        error = error_object(WireError("NET_DOWNSTREAM_UNAVAILABLE", text))
    if row.kind is not OutboxKind.REQUEST:
        return _dead(row, error)
    return Step(_ended(row, OutboxState.REFUSED, error["code"]), ended=True, error=error)


def _gave_up(row: OutboxRow, last: dict[str, Any] | None) -> dict[str, Any]:
    """Return the error of a row whose attempts or time are used up."""
    if row.kind is not OutboxKind.REQUEST:
        code, text = "NET_CALLBACK_FAILED", "could not be delivered"
    elif row.attempts and row.http_status is None:
        code, text = "NET_ACK_TIMEOUT", "was not acknowledged in time"
    else:
        code, text = "NET_DOWNSTREAM_UNAVAILABLE", "could not be delivered in time"
    text = f"{row.action} {text} after {row.attempts} attempts"
    return error_object(WireError(code, text, cause=last))


def _dead(row: OutboxRow, error: dict[str, Any]) -> Step:
    return Step(_ended(row, OutboxState.DEAD, error["code"]), ended=True, error=error)


def _ended(row: OutboxRow, state: OutboxState, code: str | None) -> OutboxRow:
    return replace(row, state=state, code=code)
