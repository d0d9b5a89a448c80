"""Requests that the participant's own application starts.

`caller` paths take a Beckn message and complete its context; `POST /trades` takes a plan and lets
the node run discover to confirm. Both go the same way as a peer's message: checked, then one unit
of work. Source: interfaces, section 3.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_duration
from adapter.domain.parties import Side
from adapter.domain.trade import Peer, Trade
from adapter.protocol import strict_json
from adapter.protocol.actions import UNSOLICITED_CALLBACKS, Action
from adapter.protocol.callback_url import check_callback_url
from adapter.protocol.contexts import (
    CALLBACK_TTL_MS,
    DOMAIN,
    message_context,
    transaction_base,
)
from adapter.protocol.decision import Originated
from adapter.protocol.digest import body_digest
from adapter.protocol.envelope import check_context
from adapter.protocol.handlers.plan import discover_message
from adapter.protocol.handlers.prosumer_terms import confirm_ttl_ms
from adapter.protocol.policy import check_policy
from adapter.protocol.rules import check_message
from adapter.service.inbound import check_findings
from adapter.service.parts import NodeParts
from adapter.service.ports import UnitOfWork
from adapter.service.records import Asked, AskedState, OutboxKind, OutboxRow, OutboxState
from adapter.service.unit import Units
from adapter.service.waiters import Committed, Waiters, is_decided

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of ours on its way."""

    action: Action
    transaction_id: str
    message_id: str
    ttl_ms: int
    """How long its sender waits for what comes back; a commitment to a market lives longer."""
    context: Mapping[str, Any]


class Originator:
    """Sends what the node's own application asks for."""

    def __init__(
        self, parts: NodeParts, units: Units, committed: Committed, waiters: Waiters
    ) -> None:
        """Take the node's parts and whom to tell about a commit."""
        self._parts = parts
        self._units = units
        self._committed = committed
        self._waiters = waiters

    async def send(self, action: Action, body: Mapping[str, Any]) -> Sent:
        """Complete, check and queue a request.

        Args:
            action: discover, select, init, confirm, status or cancel.
            body: a Beckn message; missing context fields are filled in.

        Raises:
            WireError: what the other side would refuse, and what the trade does not allow.
        """
        given = body.get("context") or {}
        message = body.get("message")
        if not isinstance(given, Mapping) or not isinstance(message, Mapping):
            msg = "a message is an object with the objects context (may be left out) and message"
            raise WireError("SCH_SCHEMA_VALIDATION_FAILED", msg, path="$")
        transaction_id = str(given.get("transaction_id") or self._parts.ids.new())
        peer = await self._peer(given, transaction_id)
        wish = Originated(
            action=action,
            message=message,
            peer=peer,
            transaction_id=transaction_id,
            message_id=str(given.get("message_id") or self._parts.ids.new()),
            ttl_ms=_ttl_ms(given, self._parts.rules_for(peer.subscriber_id).ttl_ms),
            domain=str(given.get("domain") or DOMAIN),
        )
        self._check(action, {"context": self._context(wish), "message": message})
        wait_ms = wish.ttl_ms
        if action is Action.CONFIRM and given.get("ttl") is None:
            now_ms = self._parts.clock.now_ms()
            life_ms = confirm_ttl_ms(message["order"], now_ms=now_ms, least_ms=wish.ttl_ms)
            wish = replace(wish, ttl_ms=life_ms)
        context = self._context(wish)
        await self._parts.store.write(lambda uow: self._units.originate(uow, wish), brief=True)
        self._committed(wish.transaction_id)
        return Sent(action, transaction_id, wish.message_id, wait_ms, context)

    async def start_trade(self, plan: Mapping[str, Any]) -> str:
        """Begin a trade that goes on by itself; return its transaction id.

        Raises:
            WireError: AUT_SUBSCRIBER_NOT_FOUND, the registry does not list the BPP.
        """
        transaction_id = self._parts.ids.new()
        peer = await self._listed({"bpp_id": plan["bpp_id"]})
        wish = Originated(
            action=Action.DISCOVER,
            message=discover_message(plan),
            peer=peer,
            transaction_id=transaction_id,
            message_id=self._parts.ids.new(),
            ttl_ms=self._parts.rules_for(peer.subscriber_id).ttl_ms,
            domain=DOMAIN,
            plan=plan,
        )
        await self._parts.store.write(lambda uow: self._units.originate(uow, wish), brief=True)
        self._committed(transaction_id, is_step=True)
        return transaction_id

    async def wait_for_trade(self, transaction_id: str, timeout_s: float) -> Trade:
        """Return the trade once it is confirmed or has failed, or as it is when time is over."""

        async def look() -> Trade | None:
            trade = await self._trade(transaction_id)
            return trade if is_decided(trade) else None

        decided = await self._waiters.wait(transaction_id, look, timeout_s, steps=False)
        return decided or await self._trade(transaction_id)

    async def wait_for_ack(self, sent: Sent) -> OutboxRow | None:
        """Return the outbox row once the peer has answered; None when its time is over."""

        def query(uow: UnitOfWork) -> OutboxRow | None:
            row = uow.find_outbox(sent.message_id, sent.action.value)
            done = row is not None and row.state in (
                OutboxState.SENT,
                OutboxState.REFUSED,
                OutboxState.DEAD,
            )
            return row if done else None

        return await self._waiters.wait(
            sent.transaction_id, lambda: self._parts.store.read(query), sent.ttl_ms / 1000
        )

    async def wait_for_callback(self, sent: Sent) -> dict[str, Any] | None:
        """Return the body of the callback; None when its time is over.

        Raises:
            WireError: the request was refused or will not be answered.
        """

        def query(uow: UnitOfWork) -> dict[str, Any] | WireError | None:
            asked = uow.asked(sent.message_id, sent.action.value)
            if asked is None or asked.state is AskedState.OPEN:
                return None
            if asked.state is AskedState.ANSWERED:
                return strict_json.decode_object(_answer_of(uow, asked))
            error = asked.error or {"code": "NET_TIMEOUT", "message": "no callback came in time"}
            return WireError(
                str(error["code"]), str(error.get("message")), details=error.get("details")
            )

        async def look() -> dict[str, Any] | WireError | None:
            return await self._parts.store.read(query)

        found: dict[str, Any] | WireError | None = await self._waiters.wait(
            sent.transaction_id, look, sent.ttl_ms / 1000 + 1
        )
        if isinstance(found, WireError):
            raise found
        return found

    async def push(self, action: Action, body: Mapping[str, Any]) -> Sent:
        """Queue news that the seller's own application has: on_status, on_update.

        The node answers requests by itself, so other callbacks are refused.

        Raises:
            WireError: BIZ_INVALID_STATE_TRANSITION, CTX_TRANSACTION_ID_UNKNOWN, SCH_ and P2P_.
        """
        if action not in UNSOLICITED_CALLBACKS or action is Action.ON_CANCEL:
            msg = f"the node answers {action.value} itself; on_status and on_update may be pushed"
            raise WireError("BIZ_INVALID_STATE_TRANSITION", msg, path="$.context.action")
        given = body.get("context") or {}
        transaction_id = str(given.get("transaction_id") or "")
        trade = await self._parts.store.read(lambda uow: uow.trade(Side.BPP, transaction_id))
        if trade is None:
            msg = f"no transaction {transaction_id!r} here"
            raise WireError("CTX_TRANSACTION_ID_UNKNOWN", msg, path="$.context.transaction_id")
        now_ms = self._parts.clock.now_ms()
        message_id = str(given.get("message_id") or self._parts.ids.new())
        context = message_context(
            trade.context, action, message_id=message_id, now_ms=now_ms, ttl_ms=CALLBACK_TTL_MS
        )
        complete = {"context": context, "message": body.get("message") or {}}
        self._check(action, complete)
        row = OutboxRow(
            peer=trade.peer.subscriber_id,
            url=f"{trade.peer.uri.rstrip('/')}/{action.value}",
            kind=OutboxKind.CALLBACK,
            action=action.value,
            side=Side.BPP,
            transaction_id=transaction_id,
            message_id=message_id,
            body=strict_json.encode(complete),
            created_ms=now_ms,
            next_ms=now_ms,
            expires_ms=None,
        )
        await self._parts.store.write(lambda uow: uow.enqueue(row))
        self._committed(transaction_id)
        return Sent(action, transaction_id, message_id, CALLBACK_TTL_MS, context)

    async def _trade(self, transaction_id: str) -> Trade:
        trade = await self._parts.store.read(lambda uow: uow.trade(Side.BAP, transaction_id))
        assert trade is not None
        return trade

    async def _peer(self, given: Mapping[str, Any], transaction_id: str) -> Peer:
        """Return the BPP: as given, as the transaction knows it, its URL from the registry."""
        trade = await self._parts.store.read(lambda uow: uow.trade(Side.BAP, transaction_id))
        if trade is not None and given.get("bpp_id") in (None, trade.peer.subscriber_id):
            return trade.peer
        return await self._listed(given)

    async def _listed(self, given: Mapping[str, Any]) -> Peer:
        """Return the BPP as given, its URL from the registry unless it is given too."""
        subscriber_id = str(given.get("bpp_id") or "")
        if not subscriber_id:
            msg = "bpp_id is missing, it says whom to ask"
            raise WireError("CTX_MISSING_FIELD", msg, path="$.context.bpp_id")
        records = await self._parts.registry.records(subscriber_id)
        now_ms = self._parts.clock.now_ms()
        record = next((one for one in records if one.usable(now_ms)), None)
        if record is None:
            msg = f"the registry lists no usable record of {subscriber_id[:60]!r}"
            raise WireError("AUT_SUBSCRIBER_NOT_FOUND", msg, path="$.context.bpp_id")
        if given.get("bpp_uri") is None:
            return Peer(subscriber_id, record.url)
        uri = str(given["bpp_uri"])
        check_callback_url(
            uri,
            records,
            now_ms=now_ms,
            allow_http=self._parts.allow_http,
            path="$.context.bpp_uri",
            record_type="BPP",
        )
        return Peer(subscriber_id, uri)

    def _context(self, wish: Originated) -> dict[str, Any]:
        base = transaction_base(
            bap=self._parts.me.as_bap,
            bpp=wish.peer,
            transaction_id=wish.transaction_id,
            domain=wish.domain,
        )
        return message_context(
            base,
            wish.action,
            message_id=wish.message_id,
            now_ms=self._parts.clock.now_ms(),
            ttl_ms=wish.ttl_ms,
        )

    def _check(self, action: Action, body: Mapping[str, Any]) -> None:
        """Refuse what the receiver would refuse, by the same rules."""
        context = body["context"]
        receiver = context["bap_id" if action.is_callback else "bpp_id"]
        now_ms = self._parts.clock.now_ms()
        check_context(context, action, me=receiver, now_ms=now_ms, skew_ms=0)
        check_findings(self._parts.schemas.check(action.value, body))
        rules = self._parts.rules_for(receiver)
        check_findings(check_message(action.value, body, time_zone=rules.time_zone))
        check_findings(check_policy(rules.policy, action.value, body))


def _answer_of(uow: UnitOfWork, asked: Asked) -> bytes:
    """Return the first callback to a request, whose message id may be the peer's own."""
    return next(
        logged.body
        for logged in uow.messages([asked.transaction_id])
        if logged.direction == "in" and body_digest(logged.body) == asked.answer_digest
    )


def _ttl_ms(given: Mapping[str, Any], default_ms: int) -> int:
    if given.get("ttl") is None:
        return default_ms
    try:
        return parse_duration(str(given["ttl"]))
    except ValueError as error:
        raise WireError("CTX_INVALID_FIELD", str(error), path="$.context.ttl") from None
