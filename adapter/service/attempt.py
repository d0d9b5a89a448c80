"""One attempt to deliver a message: may the peer be called, what it is sent, what its answer means.

What becomes of the row is decided in `delivery`; when it is tried, in `outbound`.
Source: protocol specification, sections 5, 7, 10 and 14.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from adapter.domain.errors import WireError
from adapter.domain.replace import replace
from adapter.protocol.acks import Verdict, read_answer
from adapter.protocol.callback_url import check_callback_url
from adapter.protocol.signature import (
    FOUR_FIELDS,
    candidate_strings,
    check_times,
    own_signature_value,
    parse_header,
    signature_value,
)
from adapter.service import delivery
from adapter.service.delivery import RandomBelow, Step
from adapter.service.ports import Answer, Clock, Registry, Sender, SendError, Verifier
from adapter.service.records import OutboxKind, OutboxRow
from adapter.service.signing import MessageSigner
from adapter.service.trust import trusted_signer

REGISTRY_WAIT_MS = 5_000
"""How long a row waits that could not be judged, or sent, in time because the registry is slow."""

_log = logging.getLogger(__name__)


class PeerRules(Protocol):
    """Settings of one peer that matter here."""

    @property
    def callback_signature(self) -> str:
        """Return plain, bound or bound_header."""
        ...

    @property
    def digest_labels(self) -> Sequence[str]:
        """Return the accepted digest labels."""
        ...

    @property
    def clock_skew_ms(self) -> int:
        """Return how far ahead a peer's clock may be."""
        ...

    @property
    def signature_lifetime_ms(self) -> int:
        """Return how long our signatures last."""
        ...

    @property
    def require_ack_signature(self) -> bool:
        """Return whether an answer counts only with a valid signature."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptParts:
    """What an attempt needs."""

    registry: Registry
    sender: Sender
    verifier: Verifier
    signer: MessageSigner
    clock: Clock
    random_below: RandomBelow
    """For the jitter of waits."""
    rules_for: Callable[[str], PeerRules]
    """By subscriber id."""
    allow_http: bool
    """Whether peers may be called by plain http."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What an attempt brought."""

    step: Step
    reached: bool | None
    """Whether the host answered sensibly; None when it was not asked."""


class Window(NamedTuple):
    """When an attempt may take place, in seconds of the event loop's clock."""

    start_by_s: float
    """What has not gone out by then does not go out."""
    over_by_s: float
    """Nobody waits longer, for the registry or for the peer."""


@dataclass(slots=True)
class _Course:
    """How far an attempt has come."""

    row: OutboxRow
    header: str
    refusal: Step | None = None
    """Why the peer was not called."""
    sent_us: int | None = None
    took_us: int | None = None
    answer: Answer | None = None
    failure: SendError | None = None
    signature: str = "invalid"
    """Of the answer; one that could not be checked is no valid one."""


class Attempts:
    """Attempts of one node."""

    def __init__(self, parts: AttemptParts) -> None:
        """Take what they need."""
        self._parts = parts

    def signed(self, row: OutboxRow) -> str:
        """Return a fresh Authorization header; a callback may be bound to its request.

        Pure but for the clock, so a unit of work may call it.
        """
        rules = self._parts.rules_for(row.peer)
        reference = None
        if row.kind is OutboxKind.CALLBACK and row.request_authorization is not None:
            if rules.callback_signature == "bound":
                reference = signature_value([row.request_authorization])
            elif rules.callback_signature == "bound_header":
                reference = row.request_authorization
        return self._parts.signer.header(
            row.body, lifetime_ms=rules.signature_lifetime_ms, request_signature=reference
        )

    async def make(self, row: OutboxRow, header: str, window: Window) -> Tried:
        """Send a row with a header of `signed` unless its peer may not be called.

        When the window ends, what has come so far counts: an answer, or that there was none.
        """
        course = _Course(row, header)
        try:
            async with asyncio.timeout_at(window.over_by_s):
                await self._run(course, window)
        except TimeoutError:
            pass
        return self._tried(course)

    async def _run(self, course: _Course, window: Window) -> None:
        row = course.row
        course.refusal = await self._peer_refusal(row)
        is_late = asyncio.get_running_loop().time() > window.start_by_s
        if course.refusal is not None or is_late or self._is_expired(row):
            return
        course.sent_us = self._parts.clock.now_us()
        begun_ns = time.monotonic_ns()  # the clock may be moved meanwhile
        headers = {"authorization": course.header, "content-type": "application/json"}
        try:
            course.answer = await self._parts.sender.post(row.url, row.body, headers)
        except SendError as error:
            course.failure = error
        finally:
            course.took_us = (time.monotonic_ns() - begun_ns) // 1_000
        if course.answer is not None:
            course.signature = await self._answer_signature(row, course.answer, course.header)

    def _is_expired(self, row: OutboxRow) -> bool:
        """Return whether the registry took so long that the message may not go out any more."""
        return delivery.is_late(row, self._parts.clock.now_ms())

    def _tried(self, course: _Course) -> Tried:
        """Return what an attempt brought that ran to its end, or as far as there was time."""
        row, answer = course.row, course.answer
        if course.refusal is not None:
            return Tried(course.refusal, reached=None)
        if course.sent_us is None:
            next_ms = self._parts.clock.now_ms() + REGISTRY_WAIT_MS
            return Tried(delivery.postponed(row, next_ms), reached=None)
        attempts, sent_us, took_us = row.attempts + 1, course.sent_us, course.took_us
        if answer is None:
            tried = replace(row, attempts=attempts, sent_us=sent_us, took_us=took_us)
            return Tried(self._unanswered(tried, course.failure), reached=False)
        tried = replace(
            row,
            attempts=attempts,
            sent_us=sent_us,
            took_us=took_us,
            http_status=answer.status,
            ack_signature=course.signature,
        )
        verdict = read_answer(answer.status, answer.headers, answer.body)
        return Tried(self._answered(tried, verdict), answer.status < 500)

    async def _peer_refusal(self, row: OutboxRow) -> Step | None:
        """Return what becomes of a row whose peer may not be called now; None when it may."""
        parts = self._parts
        now_ms = parts.clock.now_ms()
        try:
            records = await parts.registry.records(row.peer)
        except WireError:
            return delivery.postponed(row, now_ms + REGISTRY_WAIT_MS)
        try:
            if not any(record.usable(now_ms) for record in records):
                code = "AUT_KEY_EXPIRED_OR_REVOKED" if records else "AUT_SUBSCRIBER_NOT_FOUND"
                text = f"the registry lists no usable key of {row.peer}"
                return delivery.impossible(row, WireError(code, text))
            is_callback = row.kind is OutboxKind.CALLBACK
            check_callback_url(
                row.url.rpartition("/")[0],
                records,
                now_ms=now_ms,
                allow_http=parts.allow_http,
                path="$.context.bap_uri" if is_callback else "$.context.bpp_uri",
                record_type="BAP" if is_callback else "BPP",
            )
        except WireError as error:
            return delivery.impossible(row, error)
        return None

    def _unanswered(self, row: OutboxRow, error: SendError | None) -> Step:
        if error is not None and error.permanent:
            refusal = WireError("CTX_INVALID_FIELD", f"{row.peer} may not be called: {error}")
            return delivery.impossible(row, refusal)
        return self._silent(row, str(error or "time-out"))

    def _silent(self, row: OutboxRow, why: str) -> Step:
        return delivery.after_silence(
            row,
            why,
            now_ms=self._parts.clock.now_ms(),
            random_below=self._parts.random_below,
        )

    def _answered(self, row: OutboxRow, verdict: Verdict) -> Step:
        parts = self._parts
        _warn(row, verdict)
        if row.ack_signature != "valid" and parts.rules_for(row.peer).require_ack_signature:
            return self._silent(row, f"the signature of the answer is {row.ack_signature}")
        return delivery.after_answer(
            row, verdict, now_ms=parts.clock.now_ms(), random_below=parts.random_below
        )

    async def _answer_signature(self, row: OutboxRow, answer: Answer, authorization: str) -> str:
        """Return valid, invalid or missing."""
        value = answer.headers.get("signature")
        if not value:
            return "missing"
        reference = own_signature_value(authorization)
        parts, rules = self._parts, self._parts.rules_for(row.peer)
        now_ms = parts.clock.now_ms()
        try:
            header = parse_header(value, answer=True)
            check_times(header, now_ms=now_ms, skew_ms=rules.clock_skew_ms)
            if header.subscriber_id != row.peer or header.headers != FOUR_FIELDS:
                return "invalid"
            strings = candidate_strings(header, answer.body, [reference], rules.digest_labels)
            await trusted_signer(
                parts.registry, parts.verifier, header, list(strings), now_ms=now_ms
            )
        except WireError:
            return "invalid"
        return "valid"


def log_fields(row: OutboxRow) -> dict[str, Any]:
    """Return what a log record says of a row."""
    return {
        "transaction_id": row.transaction_id,
        "message_id": row.message_id,
        "action": row.action,
        "peer": row.peer,
        "code": row.code,
        "http_status": row.http_status,
        "attempts": row.attempts,
    }


def _warn(row: OutboxRow, verdict: Verdict) -> None:
    if not verdict.understood:
        _log.warning("answer of unknown shape", extra=log_fields(row))
    if row.ack_signature != "valid":
        _log.warning("signature of the answer is %s", row.ack_signature, extra=log_fields(row))
