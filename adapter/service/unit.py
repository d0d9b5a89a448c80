"""What one message, timer or wish does inside its unit of work.

Everything here runs synchronously in an open transaction and may run again from the start. It
loads the trade, asks the handler, applies what it decided, and lets the contract layer answer its
intents, until nothing is left. Source: architecture, section 4.
"""

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from adapter.domain.errors import WireError
from adapter.domain.intents import Intent, Outcome
from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Peer, Trade
from adapter.protocol import handlers, strict_json
from adapter.protocol.acks import (
    Acknowledgement,
    MessageIds,
    ack,
    ack_without_callback,
    error_callback,
    nack,
)
from adapter.protocol.actions import REQUESTS, Action
from adapter.protocol.decision import (
    Decision,
    Event,
    Facts,
    FlaggedRefusalError,
    Lapsed,
    News,
    NoAnswer,
    NotTaken,
    Originated,
    Outgoing,
    Received,
    Settled,
)
from adapter.protocol.envelope import Envelope, read_own
from adapter.protocol.signature import parse_header
from adapter.service.dead_letters import revived
from adapter.service.facts import bound_to, is_taken, offers_for, with_market
from adapter.service.histories import Histories, UnitHistories
from adapter.service.parts import NodeParts
from adapter.service.placing import Place, Places, variant_of
from adapter.service.ports import UnitOfWork
from adapter.service.records import (
    Asked,
    AskedState,
    InboxRow,
    OutboxRow,
    OutboxState,
    signature_mark,
)

COMMAND_ID_MAX = 256
"""Longest command id of the contract layer; a longer text is replaced by its hash."""
MAX_EVENTS = 1_000
"""Events that one message may lead to inside a node; more is a bug. A market tells up to 100
prosumers, and clears as often at most when it is its own grid operator."""


class Settle(Protocol):
    """Puts an intent to the contract layer, inside the unit of work."""

    def __call__(self, uow: UnitOfWork, intent: Intent, command_id: str, now_ms: int) -> Outcome:
        """Return what the contract layer answered."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that passed every check which needs no transaction."""

    envelope: Envelope
    authorization: str
    received_us: int
    ack_profile: str
    reject_replay: bool
    operator: Peer | None
    """Where this node cascades to."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message."""

    answer: Acknowledgement
    transaction_id: str
    """Of the trade that may have changed."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A unit of work under way."""

    uow: UnitOfWork
    histories: UnitHistories
    arrival: Arrival | None = None
    """The message that it takes, if it does."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An event, and what the handler decided about it; nothing of it is done yet."""

    side: Side
    transaction_id: str
    event: Event
    before: Trade | None
    """The trade as it was."""
    decision: Decision
    now_ms: int


class Units:
    """The units of work of one node."""

    def __init__(self, parts: NodeParts, settle: Settle) -> None:
        """Take the node's parts and its way to the contract layer."""
        self._parts = parts
        self._settle = settle
        self._places = Places(parts)
        self._histories = Histories()

    # A peer's message

    def take(self, uow: UnitOfWork, arrival: Arrival) -> Taken:
        """Return the answer to a message: the stored one, or a new one stored with its effects.

        Raises:
            WireError: stages 4 and 5 refuse, AUT_REPLAY_DETECTED, NET_DOWNSTREAM_UNAVAILABLE;
                nothing is stored.
        """
        envelope = arrival.envelope
        ids = MessageIds(envelope.message_id, envelope.transaction_id)
        place = self._places.place(uow, envelope)
        if arrival.reject_replay and not uow.mark(_replay_key(arrival)):
            raise WireError("AUT_REPLAY_DETECTED", "these signed bytes were seen before")
        if place.known is not None:
            if place.undelivered is not None:
                uow.save_outbox(revived(place.undelivered, self._parts.clock.now_ms()))
            return Taken(
                Acknowledgement(place.known.http_status, place.known.reply), place.transaction_id
            )
        self._check_operator(place, arrival)
        code: str | None = None
        try:
            notice = self._apply(uow, place, arrival)
        except WireError as error:
            if error.transient:
                raise
            if isinstance(error, FlaggedRefusalError):
                uow.save_trade(error.trade)
            answer, code = nack(arrival.ack_profile, ids, error), error.code
        else:
            if notice is None:
                answer = ack(arrival.ack_profile, ids)
            else:
                answer = ack_without_callback(arrival.ack_profile, ids, notice)
                code = notice.code
        uow.add_inbox_row(_inbox_row(arrival, answer, code))
        return Taken(answer, place.transaction_id)

    def _check_operator(self, place: Place, arrival: Arrival) -> None:
        """Refuse a request that this node could not cascade."""
        cascading = place.side in (Side.BPP, Side.MARKET)
        is_request = cascading and not arrival.envelope.action.is_callback
        if is_request and self._parts.cascades and arrival.operator is None:
            msg = f"the registry lists no usable record of {self._parts.grid_operator}"
            raise WireError("NET_DOWNSTREAM_UNAVAILABLE", msg)

    def _apply(self, uow: UnitOfWork, place: Place, arrival: Arrival) -> WireError | None:
        """Return the notice of an acknowledgement without callback, if there is one.

        Nothing is written before the handler has decided. What follows may refuse in its turn: the
        decisions it leads to, or a database that cannot hold a text.

        Raises:
            WireError: the message is refused; nothing of it stays.
        """
        new = place.transaction_id if place.is_new else None
        work = _Work(uow, self._histories.begin(uow, new), arrival)
        envelope = arrival.envelope
        if place.answers not in (None, envelope.message_id):  # whatever id the peer gave it
            context = {**envelope.context, "message_id": place.answers}
            envelope = replace(envelope, context=context)
        if envelope.error is None:
            work.histories.check(place.side, envelope)
        first = self._decide(work, place.side, place.transaction_id, Received(envelope))

        def carry_out() -> WireError | None:
            if place.answers is not None:
                self._note_answer(uow, envelope)
            return self._play(work, first)

        return uow.savepoint(carry_out)

    def _note_answer(self, uow: UnitOfWork, envelope: Envelope) -> None:
        """Mark our request as answered; one whose ACK was lost need not be sent again."""
        request = envelope.action.request
        asked = uow.asked(envelope.message_id, request.value) if request is not None else None
        if asked is None or asked.answer_digest is not None:
            return
        error = None if envelope.error is None else dict(envelope.error)
        answered = AskedState.ANSWERED
        uow.save_asked(replace(asked, state=answered, answer_digest=envelope.digest, error=error))
        if uow.is_due(asked.message_id, asked.action):
            row = uow.find_outbox(asked.message_id, asked.action)
            assert row is not None
            uow.save_outbox(replace(row, state=OutboxState.SENT))

    # Our own wishes, timers and what became of our messages

    def originate(self, uow: UnitOfWork, wish: Originated) -> None:
        """Send a request of the node's own application.

        Raises:
            WireError: the trade does not allow it; AUT_UNAUTHORIZED_ACTION, another peer's.
        """
        trade = uow.trade(Side.BAP, wish.transaction_id)
        if trade is not None and trade.peer.subscriber_id != wish.peer.subscriber_id:
            code = "AUT_UNAUTHORIZED_ACTION"
            msg = f"transaction {wish.transaction_id} is with {trade.peer.subscriber_id}"
            raise WireError(code, msg, path="$.context.bpp_id")
        self._begin(uow, Side.BAP, wish.transaction_id, wish)

    def asked_expired(self, uow: UnitOfWork, asked: Asked) -> None:
        """Tell the trade that a request of ours got no callback in time."""
        uow.save_asked(replace(asked, state=AskedState.EXPIRED))
        row = uow.find_outbox(asked.message_id, asked.action)
        acked = row is not None and row.state is OutboxState.SENT
        event = NoAnswer(Action(asked.action), asked.message_id, acked)
        self._tell(uow, asked.side, asked.transaction_id, event)

    def row_ended(
        self,
        uow: UnitOfWork,
        row: OutboxRow,
        error: Mapping[str, Any] | None,
        without_callback: bool,  # the drain's hook
    ) -> None:
        """Tell the trade that a message of ours was refused, given up, or stays unanswered."""
        del without_callback
        action = Action(row.action)
        if action not in REQUESTS:
            return
        asked = uow.asked(row.message_id, row.action)
        if asked is None or asked.state is not AskedState.OPEN:
            return
        unknown = _may_have_arrived(uow, row)
        if unknown and row.side in (Side.BPP, Side.MARKET_SESSION):
            return  # the stored deadline of the leg decides (R6)
        reason = error or {"code": "NET_ACK_TIMEOUT", "message": "the peer did not answer"}
        # What may have arrived may be answered: that callback is late then, not unasked for.
        state = AskedState.EXPIRED if unknown else AskedState.FAILED
        uow.save_asked(replace(asked, state=state, error=dict(reason)))
        event = NotTaken(action, row.message_id, reason, unknown)
        self._tell(uow, row.side, row.transaction_id, event)

    def trade_lapsed(self, uow: UnitOfWork, trade: Trade) -> None:
        """End a trade whose terms ran out."""
        self._begin(uow, trade.side, trade.transaction_id, Lapsed())

    def news(self, uow: UnitOfWork, caller: str, contract_id: str, news: News) -> None:
        """Tell the platform of a contract what the ledger did."""
        share = f"#{news.participant}" if news.participant else ""
        trade = uow.trade_of_contract(Side.GRID_OPERATOR, caller, contract_id.removesuffix(share))
        if trade is not None:
            self._begin(uow, Side.GRID_OPERATOR, trade.transaction_id, news)

    def _tell(self, uow: UnitOfWork, side: Side, transaction_id: str, event: Event) -> None:
        trade = uow.trade(side, transaction_id)
        if trade is None and side is Side.BPP:
            trade = uow.trade_of_leg(transaction_id)
        if trade is not None:
            self._begin(uow, side, trade.transaction_id, event)

    # The loop

    def _begin(self, uow: UnitOfWork, side: Side, transaction_id: str, event: Event) -> None:
        """Let a trade of this node go on by an event that is no message of a peer."""
        work = _Work(uow, self._histories.begin(uow))
        self._play(work, self._decide(work, side, transaction_id, event))

    def _play(self, work: _Work, step: _Step) -> WireError | None:
        """Carry out decisions until no event is left; return the first notice."""
        waiting: deque[tuple[Side, str, Event]] = deque()
        notice: WireError | None = None
        for _ in range(MAX_EVENTS):
            notice = notice or step.decision.notice
            self._save(work.uow, step)
            for outgoing in step.decision.outgoing:
                waiting.extend(self._send(work, step, outgoing))
            for intent in step.decision.intents:
                waiting.append((step.side, step.transaction_id, self._settled(work, step, intent)))
            waiting.extend(step.decision.tells)
            if not waiting:
                work.histories.save()
                return notice
            step = self._decide(work, *waiting.popleft())
        raise AssertionError(step.event)

    def _decide(self, work: _Work, side: Side, transaction_id: str, event: Event) -> _Step:
        trade = work.uow.trade(side, transaction_id)
        facts = self._facts(work, side, trade, event)
        decision = handlers.decide(side, trade, event, facts)
        return _Step(side, transaction_id, event, trade, decision, facts.now_ms)

    def _settled(self, work: _Work, step: _Step, intent: Intent) -> Settled:
        assert isinstance(step.event, Received)
        command_id = _command_id(step.event, intent)
        return Settled(step.event, intent, self._settle(work.uow, intent, command_id, step.now_ms))

    def _save(self, uow: UnitOfWork, step: _Step) -> None:
        decision = step.decision
        for change in decision.stock:
            if change.micro_kwh == 0:
                continue
            offer = uow.offer(change.offer_id)
            assert offer is not None
            left = offer.available_micro_kwh + change.micro_kwh
            uow.save_offer(replace(offer, available_micro_kwh=left))
        if decision.trade is not None and decision.trade != step.before:
            saved = uow.save_trade(decision.trade)
            if decision.bind is not None:
                uow.bind_contract(decision.bind, saved.transaction_id)

    def _send(self, work: _Work, step: _Step, outgoing: Outgoing) -> list[tuple[Side, str, Event]]:
        """Queue a message; one to this node itself is taken at once, in the same unit of work."""
        uow = work.uow
        if _begins_leg(step, outgoing.context["transaction_id"]):
            work.histories.begins(outgoing.context["transaction_id"])
        work.histories.remember(step.side, outgoing)
        if outgoing.deadline_ms is not None:
            uow.save_asked(_asked(outgoing, step.side))
        body = _encode(outgoing)
        if outgoing.peer.subscriber_id == self._parts.me.subscriber_id:
            return self._local(uow, outgoing, body)
        uow.enqueue(
            OutboxRow(
                peer=outgoing.peer.subscriber_id,
                url=f"{outgoing.peer.uri.rstrip('/')}/{outgoing.action.value}",
                kind=outgoing.kind,
                action=outgoing.action.value,
                side=step.side,
                transaction_id=outgoing.context["transaction_id"],
                message_id=outgoing.context["message_id"],
                body=body,
                created_ms=step.now_ms,
                next_ms=outgoing.not_before_ms or step.now_ms,
                expires_ms=outgoing.expires_ms,
                request_authorization=self._bound_to(work, outgoing),
            )
        )
        return []

    def _local(
        self, uow: UnitOfWork, outgoing: Outgoing, body: bytes
    ) -> list[tuple[Side, str, Event]]:
        """Return a message to this node itself as an event of its other side."""
        envelope = read_own(strict_json.decode_object(body), body)
        if not envelope.action.is_callback:
            return [(Side.GRID_OPERATOR, envelope.transaction_id, Received(envelope))]
        self._note_answer(uow, envelope)
        parent = uow.trade_of_leg(envelope.transaction_id)
        if parent is None:
            return []
        return [(parent.side, parent.transaction_id, Received(envelope))]

    def _bound_to(self, work: _Work, outgoing: Outgoing) -> str | None:
        """Return the Authorization header of the request that a callback is to be bound to."""
        request, message_id = outgoing.action.request, outgoing.context["message_id"]
        if request is None:
            return None
        if work.arrival is not None and work.arrival.envelope.message_id == message_id:
            return work.arrival.authorization
        row = work.uow.inbox_row(outgoing.peer.subscriber_id, message_id, request.value, "")
        return None if row is None else row.authorization

    def _facts(self, work: _Work, side: Side, trade: Trade | None, event: Event) -> Facts:
        parts, uow, arrival = self._parts, work.uow, work.arrival
        peer = arrival.envelope.sender.subscriber_id if arrival is not None else ""
        rules = parts.rules_for(peer)
        now_ms = parts.clock.now_ms()
        asked = event.envelope if isinstance(event, Received) else None
        if asked is not None and asked.action.is_callback:
            asked = None
        facts = Facts(
            now_ms=now_ms,
            me=parts.me,
            new_id=parts.ids.new,
            ttl_ms=rules.ttl_ms,
            time_zone=rules.time_zone,
            operator=arrival.operator if arrival is not None else None,
            offers=() if asked is None else offers_for(uow, side, asked, now_ms),
            bound_to=None if asked is None else bound_to(uow, side, trade, asked),
            taken=asked is not None and is_taken(uow, side, asked),
        )
        if side in (Side.MARKET, Side.MARKET_SESSION):
            return with_market(uow, side, event, facts)
        return facts


def _may_have_arrived(uow: UnitOfWork, row: OutboxRow) -> bool:
    """Return whether a row that was given up was sent, and not refused the last time.

    An attempt is kept before it is made and counted after it: of one that is not counted, as when
    the node died in between, nobody knows what came of it.
    """
    refused = row.http_status is not None and 400 <= row.http_status < 500
    uncounted = len(uow.attempts(row.message_id, row.action)) > row.attempts
    return row.state is OutboxState.DEAD and (uncounted or (row.attempts > 0 and not refused))


def _begins_leg(step: _Step, transaction_id: str) -> bool:
    """Return whether a transaction was made a moment ago, for the leg of a trade."""
    before = None if step.before is None else step.before.leg
    leg = None if step.decision.trade is None else step.decision.trade.leg
    is_its = leg is not None and leg.transaction_id == transaction_id
    return is_its and (before is None or before.transaction_id != transaction_id)


def _asked(outgoing: Outgoing, side: Side) -> Asked:
    assert outgoing.deadline_ms is not None
    return Asked(
        message_id=outgoing.context["message_id"],
        action=outgoing.action.value,
        side=side,
        transaction_id=outgoing.context["transaction_id"],
        peer=outgoing.peer.subscriber_id,
        deadline_ms=outgoing.deadline_ms,
    )


def _encode(outgoing: Outgoing) -> bytes:
    if outgoing.error is not None:
        return error_callback(outgoing.context, outgoing.error, outgoing.message)
    return strict_json.encode({"context": outgoing.context, "message": outgoing.message})


def _inbox_row(arrival: Arrival, answer: Acknowledgement, code: str | None) -> InboxRow:
    envelope = arrival.envelope
    return InboxRow(
        sender=envelope.sender.subscriber_id,
        message_id=envelope.message_id,
        action=envelope.action.value,
        variant=variant_of(envelope),
        digest=envelope.digest,
        transaction_id=envelope.transaction_id,
        received_us=arrival.received_us,
        authorization=arrival.authorization,
        http_status=answer.status,
        reply=answer.body,
        code=code,
        body=envelope.raw,
    )


def _replay_key(arrival: Arrival) -> str:
    """Return the mark of the sender's signature: other blanks around it are the same bytes."""
    header = parse_header(arrival.authorization)
    sender = arrival.envelope.sender.subscriber_id
    return signature_mark(header.expires_s, sender, header.signature)


def _command_id(received: Received, intent: Intent) -> str:
    """Return the id under which a repeated message repeats its contract call."""
    envelope = received.envelope
    text = f"{intent.contract_id}:{envelope.action.value}:{envelope.message_id}"
    if len(text) <= COMMAND_ID_MAX and text.isascii():
        return text
    return hashlib.sha256(text.encode()).hexdigest()
