"""Where a message belongs: which side of which trade, judged against what is stored.

Stages 4 and 5 of the pipeline. They run on a snapshot, to refuse early and in order, and again
inside the unit of work, where nothing can change any more.
Source: protocol specification, sections 8, 9 and 11.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapter.domain.errors import WireError
from adapter.domain.parties import NodeRole, Side
from adapter.domain.trade import Peer
from adapter.protocol.actions import STREAM_CALLBACKS, UNSOLICITED_CALLBACKS, Action
from adapter.protocol.contract import role_of
from adapter.protocol.envelope import Envelope
from adapter.service.dead_letters import undelivered_callback
from adapter.service.parts import NodeParts
from adapter.service.ports import UnitOfWork
from adapter.service.records import Asked, AskedState, InboxRow, OutboxRow

NEED_A_TRADE = frozenset({Action.CONFIRM, Action.STATUS, Action.CANCEL})
"""Requests that no transaction starts with."""
SELLING = frozenset({NodeRole.BPP, NodeRole.MARKET})
"""Who has a catalogue."""
ROLES_OF: Mapping[Action, frozenset[NodeRole]] = {
    Action.DISCOVER: SELLING,
    Action.SELECT: SELLING,
    Action.INIT: SELLING | {NodeRole.GRID_OPERATOR},
    Action.CONFIRM: SELLING | {NodeRole.GRID_OPERATOR},
    Action.STATUS: SELLING | {NodeRole.GRID_OPERATOR},
    Action.CANCEL: SELLING | {NodeRole.GRID_OPERATOR},
}
SIDE_OF: Mapping[NodeRole, Side] = {
    NodeRole.BPP: Side.BPP,
    NodeRole.MARKET: Side.MARKET,
    NodeRole.GRID_OPERATOR: Side.GRID_OPERATOR,
}
"""Sides of those who take requests, in the order in which they are asked."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message belongs in this node."""

    side: Side
    transaction_id: str
    """Of the trade; for a callback on a leg that of its parent."""
    is_new: bool = False
    """There is no such trade yet."""
    known: InboxRow | None = None
    """The stored row when the message was received before."""
    undelivered: OutboxRow | None = None
    """The dead callback of a known request."""
    answers: str | None = None
    """Message id of the request of ours that a callback answers."""


class Places:
    """Finds the place of messages in one node."""

    def __init__(self, parts: NodeParts) -> None:
        """Take the node's parts."""
        self._parts = parts

    def place(self, uow: UnitOfWork, envelope: Envelope) -> Place:
        """Return where the message belongs, and its stored row if it came before.

        Raises:
            WireError: CTX_MESSAGE_ID_DUPLICATE, CTX_INVALID_FIELD, CTX_TRANSACTION_ID_UNKNOWN,
                AUT_UNAUTHORIZED_ACTION.
        """
        known = stored_answer(uow, envelope, variant_of(envelope))
        if known is not None:
            undelivered = undelivered_callback(uow, envelope)
            return Place(Side.BAP, envelope.transaction_id, known=known, undelivered=undelivered)
        now_ms = self._parts.clock.now_ms()
        deadline_ms = envelope.deadline_ms
        late = deadline_ms is not None and now_ms > deadline_ms
        if late and not envelope.action.is_callback:
            msg = f"the message's life of {envelope.context.get('ttl')} is over"
            raise WireError("CTX_TTL_EXPIRED", msg, path="$.context.ttl")
        if envelope.action.is_callback:
            return self._place_callback(uow, envelope)
        return self._place_request(uow, envelope)

    def _place_request(self, uow: UnitOfWork, envelope: Envelope) -> Place:
        transaction_id = envelope.transaction_id
        taking = self._parts.roles & ROLES_OF[envelope.action]
        sides = [side for role, side in SIDE_OF.items() if role in taking]
        for side in sides:
            trade = uow.trade(side, transaction_id)
            if trade is not None:
                _check_counterparty(trade.peer, envelope)
                return Place(side, transaction_id)
        if envelope.action in NEED_A_TRADE:
            raise _unknown_transaction(envelope)
        return Place(_side_of(envelope, sides), transaction_id, is_new=True)

    def _place_callback(self, uow: UnitOfWork, envelope: Envelope) -> Place:
        """Match a callback with a request of ours, or with the trade it is news about."""
        asked = self._asked(uow, envelope)
        if asked is not None:
            _check_counterparty(Peer(asked.peer, ""), envelope)
            if asked.transaction_id != envelope.transaction_id:
                raise _unknown_transaction(envelope)
            if asked.side is not Side.BAP:
                parent = uow.trade_of_leg(asked.transaction_id)
                if parent is None:  # its trade took up another contract, with a leg of its own
                    raise _unknown_transaction(envelope)
                return Place(parent.side, parent.transaction_id, answers=asked.message_id)
            return Place(Side.BAP, asked.transaction_id, answers=asked.message_id)
        if envelope.action not in UNSOLICITED_CALLBACKS:
            msg = f"no {envelope.action.value} is awaited under this message id"
            raise WireError("CTX_INVALID_FIELD", msg, path="$.context.message_id")
        trade = uow.trade(Side.BAP, envelope.transaction_id)
        if trade is not None:
            _check_counterparty(trade.peer, envelope)
            return Place(Side.BAP, trade.transaction_id)
        parent = uow.trade_of_leg(envelope.transaction_id)
        if parent is None or parent.leg is None:
            raise _unknown_transaction(envelope)
        _check_counterparty(parent.leg.operator, envelope)
        return Place(parent.side, parent.transaction_id)

    def _asked(self, uow: UnitOfWork, envelope: Envelope) -> Asked | None:
        request = envelope.action.request
        if request is None:
            return None
        asked = uow.asked(envelope.message_id, request.value)
        rules = self._parts.rules_for(envelope.sender.subscriber_id)
        if asked is None and rules.correlate == "transaction":
            waiting = uow.open_asked(envelope.transaction_id, request.value)
            asked = waiting[0] if len(waiting) == 1 else None
        if asked is not None and asked.state is AskedState.FAILED:
            return None
        return asked


def variant_of(envelope: Envelope) -> str:
    """Return what tells callbacks apart of which several may answer one request."""
    return envelope.digest if envelope.action in STREAM_CALLBACKS else ""


def stored_answer(uow: UnitOfWork, envelope: Envelope, variant: str) -> InboxRow | None:
    """Return the stored row of a message that was received before.

    Raises:
        WireError: CTX_MESSAGE_ID_DUPLICATE, the same id came with another body.
    """
    row = uow.inbox_row(
        envelope.sender.subscriber_id, envelope.message_id, envelope.action.value, variant
    )
    if row is not None and row.digest != envelope.digest:
        code = "CTX_MESSAGE_ID_DUPLICATE"
        msg = f"message id {envelope.message_id!r} was used before with another body"
        raise WireError(code, msg, path="$.context.message_id")
    return row


def _check_counterparty(peer: Peer, envelope: Envelope) -> None:
    if peer.subscriber_id != envelope.sender.subscriber_id:
        msg = "another participant is the counterparty of this transaction"
        raise WireError("AUT_UNAUTHORIZED_ACTION", msg, path="$.context.transaction_id")


def _unknown_transaction(envelope: Envelope) -> WireError:
    msg = f"no transaction {envelope.transaction_id!r} with {envelope.sender.subscriber_id}"
    return WireError("CTX_TRANSACTION_ID_UNKNOWN", msg, path="$.context.transaction_id")


def _side_of(envelope: Envelope, sides: Sequence[Side]) -> Side:
    """Return which of our sides a new transaction is for, by the roles of its contract."""
    cascaded = Side.GRID_OPERATOR in sides and (len(sides) == 1 or _is_cascaded(envelope))
    if cascaded:
        return Side.GRID_OPERATOR
    of_market = role_of(envelope.contract, "MARKET_CLEARING_AGENT") is not None
    return Side.MARKET if Side.MARKET in sides and of_market else sides[0]


def _is_cascaded(envelope: Envelope) -> bool:
    """Return whether the contract addresses us as its grid operator alone. Source: contract 2."""
    contract = envelope.contract
    if role_of(contract, "GRID_OPERATOR") is None:
        return False
    others = [
        entry.get("filledBy")
        for entry in contract.get("roles") or ()
        if isinstance(entry, dict)  # no schema has looked yet
        and entry.get("role") != "GRID_OPERATOR"
        and entry.get("filled")
    ]
    return envelope.bpp.subscriber_id not in others
