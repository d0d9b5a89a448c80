"""The outbound drain: sends what the outbox holds until each peer has it.

A unit of work writes a row; the drain claims it, signs it now, posts it, reads the answer and
marks the row. At least once: a crash between sending and marking sends again, the receiver's
inbox makes that harmless. What a row becomes is decided in `delivery`.
Source: architecture, section 5; protocol specification, section 10.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from adapter.domain.errors import WireError
from adapter.protocol.acks import Verdict, read_answer
from adapter.protocol.callback_url import check_callback_url
from adapter.protocol.signature import (
    FOUR_FIELDS,
    candidate_strings,
    check_times,
    parse_header,
    signature_value,
)
from adapter.service import delivery
from adapter.service.delivery import RandomBelow, Step
from adapter.service.hosts import Hosts
from adapter.service.ports import (
    Answer,
    Clock,
    Registry,
    Sender,
    SendError,
    Store,
    UnitOfWork,
    Verifier,
)
from adapter.service.records import OutboxKind, OutboxRow
from adapter.service.signing import MessageSigner
from adapter.service.trust import trusted_signer

PARALLEL = 64
"""Messages claimed at once, to all hosts together."""
LEASE_MS = 30_000
"""How long a claim lasts; after a crash the row is due again that much later."""
START_WITHIN_MS = 15_000
"""A claimed row that waited longer is given back: an attempt takes up to 10 s of the lease."""
POLL_S = 1.0
"""Covers a lost wake-up. Source: architecture, section 5."""
STOP_S = 5.0
"""How long a stop waits for messages under way. Source: architecture, section 10."""
BUSY_HOST_WAIT_MS = 1_000
REGISTRY_WAIT_MS = 5_000

_log = logging.getLogger(__name__)

OnEnd = Callable[[UnitOfWork, OutboxRow, Mapping[str, Any] | None, bool], None]
"""Called inside the unit of work that marks a row for good: `(uow, row, error, without_callback)`.

A row ends REFUSED or DEAD with an error, or SENT with `without_callback`, where the error is the
peer's reason, if it gave one. Plain delivery is no end. Like every unit it may run again.
"""


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
class OutboundParts:
    """What the drain works with."""

    store: Store
    registry: Registry
    sender: Sender
    verifier: Verifier
    signer: MessageSigner
    clock: Clock
    random_below: RandomBelow
    """For the jitter of waits."""
    rules_for: Callable[[str], PeerRules]
    """By subscriber id."""
    on_end: OnEnd
    allow_http: bool = False
    """Whether peers may be called by plain http."""


class Outbound:
    """The drain of one node."""

    def __init__(self, parts: OutboundParts) -> None:
        """Take its parts; nothing runs before `run` or `drain_due`."""
        self._parts = parts
        self._hosts = Hosts()
        self._woken = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False

    def wake(self) -> None:
        """Tell the drain that rows may have become due; called after a commit."""
        self._woken.set()

    async def run(self) -> None:
        """Send due rows until stopped."""
        while not self._stopping:
            self._woken.clear()
            try:
                await self._start_due()
            except WireError as error:
                _log.warning("outbox cannot be read", extra={"code": error.code})
            except Exception:  # the drain must not end while the node runs
                _log.exception("fault while the outbox was read")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), POLL_S)

    async def drain_due(self) -> None:
        """Send everything that is due now, and what becomes due meanwhile; for tests and tools."""
        while await self._start_due() or self._running:
            if self._running:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self, grace_s: float = STOP_S) -> None:
        """Claim no more and wait for what is under way; the rest stays in the outbox."""
        self._stopping = True
        self.wake()
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=grace_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _start_due(self) -> int:
        """Claim what is due and start sending it; return how many rows were claimed."""
        free = PARALLEL - len(self._running)
        if free <= 0 or self._stopping:
            return 0
        now_ms = self._parts.clock.now_ms()
        rows = await self._parts.store.write(
            lambda uow: list(uow.claim_outbox(now_ms, LEASE_MS, free))
        )
        for row in rows:
            task = asyncio.create_task(self._handle(row, now_ms))
            self._running.add(task)
            task.add_done_callback(self._finished)
        return len(rows)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The row stays claimed and becomes due again when its lease ends.
            _log.error("outbox row was not handled", exc_info=error)

    async def _handle(self, row: OutboxRow, claimed_ms: int) -> None:
        """Take one claimed row a step further and write it back."""
        host = urlsplit(row.url).netloc
        async with self._hosts.slot(host):
            step = self._not_now(row, host, claimed_ms) or await self._attempt(row, host)
        await self._mark(step)

    def _not_now(self, row: OutboxRow, host: str, claimed_ms: int) -> Step | None:
        """Return what becomes of a row that must not be tried at this moment."""
        now_ms = self._parts.clock.now_ms()
        if delivery.is_late(row, now_ms):
            return delivery.too_late(row)
        if now_ms - claimed_ms > START_WITHIN_MS:
            return delivery.postponed(row, now_ms + BUSY_HOST_WAIT_MS)
        paused_ms = self._hosts.pause_until_ms(host, now_ms)
        return None if paused_ms is None else delivery.postponed(row, paused_ms)

    async def _attempt(self, row: OutboxRow, host: str) -> Step:
        """Check the peer, sign, send, and return what becomes of the row."""
        refusal = await self._peer_refusal(row)
        if refusal is not None:
            return refusal
        header = self._signed(row)
        if row.kind is not OutboxKind.CALLBACK:
            # A bound callback refers to it, and may come before our own answer is read.
            await self._parts.store.write(
                lambda uow: uow.add_attempt(row.message_id, row.action, header)
            )
        clock = self._parts.clock
        tried = replace(row, attempts=row.attempts + 1, sent_us=clock.now_us())
        begun_ns = time.monotonic_ns()  # the clock may be moved meanwhile
        headers = {"authorization": header, "content-type": "application/json"}
        try:
            answer = await self._parts.sender.post(row.url, row.body, headers)
        except SendError as error:
            self._hosts.failed(host, clock.now_ms())
            tried = replace(tried, took_us=_since_us(begun_ns))
            return self._unanswered(tried, error)
        tried = replace(tried, took_us=_since_us(begun_ns), http_status=answer.status)
        return await self._answered(tried, host, answer, header)

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

    def _signed(self, row: OutboxRow) -> str:
        """Return a fresh Authorization header; a callback may be bound to its request."""
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

    def _unanswered(self, row: OutboxRow, error: SendError) -> Step:
        if error.permanent:
            refusal = WireError("CTX_INVALID_FIELD", f"{row.peer} may not be called: {error}")
            return delivery.impossible(row, refusal)
        return self._silent(row, str(error))

    def _silent(self, row: OutboxRow, why: str) -> Step:
        return delivery.after_silence(
            row,
            why,
            now_ms=self._parts.clock.now_ms(),
            random_below=self._parts.random_below,
        )

    async def _answered(
        self, row: OutboxRow, host: str, answer: Answer, authorization: str
    ) -> Step:
        parts = self._parts
        verdict = read_answer(answer.status, answer.headers, answer.body)
        self._count(host, answer.status)
        signature = await self._answer_signature(row, answer, authorization)
        row = replace(row, ack_signature=signature)
        self._warn(row, verdict)
        if signature != "valid" and parts.rules_for(row.peer).require_ack_signature:
            return self._silent(row, f"the signature of the answer is {signature}")
        return delivery.after_answer(
            row, verdict, now_ms=parts.clock.now_ms(), random_below=parts.random_below
        )

    def _count(self, host: str, status: int) -> None:
        if status >= 500:
            self._hosts.failed(host, self._parts.clock.now_ms())
        else:
            self._hosts.succeeded(host)

    async def _answer_signature(self, row: OutboxRow, answer: Answer, authorization: str) -> str:
        """Return valid, invalid or missing."""
        value = answer.headers.get("signature")
        reference = signature_value([authorization])
        if not value or reference is None:
            return "missing"
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

    def _warn(self, row: OutboxRow, verdict: Verdict) -> None:
        if not verdict.understood:
            _log.warning("answer of unknown shape", extra=_fields(row))
        if row.ack_signature != "valid":
            _log.warning("signature of the answer is %s", row.ack_signature, extra=_fields(row))

    async def _mark(self, step: Step) -> None:
        """Write a row back and, when it has ended, tell the trade in the same unit of work."""

        def unit(uow: UnitOfWork) -> None:
            uow.save_outbox(step.row)
            if step.ended:
                self._parts.on_end(uow, step.row, step.error, step.without_callback)

        await self._parts.store.write(unit)
        _log.info("outbox row is %s", step.row.state.value, extra=_fields(step.row))


def _since_us(begun_ns: int) -> int:
    return (time.monotonic_ns() - begun_ns) // 1_000


def _fields(row: OutboxRow) -> dict[str, Any]:
    return {
        "transaction_id": row.transaction_id,
        "message_id": row.message_id,
        "action": row.action,
        "peer": row.peer,
        "code": row.code,
        "http_status": row.http_status,
        "attempts": row.attempts,
    }
