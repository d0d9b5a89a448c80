"""Read models: trades, their messages, and what a node shows of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.domain.errors import AdapterError, WireError
from adapter.domain.parties import Side
from adapter.domain.quantities import to_text
from adapter.domain.trade import Seat, Trade
from adapter.protocol.explanation import FoundContract, report_of
from adapter.protocol.handlers.shared import current_order
from adapter.protocol.metered import is_final
from adapter.protocol.orders import STATUS_OF, contract_of, delivery_of
from adapter.service.parts import PeerRules
from adapter.service.ports import Store, UnitOfWork
from adapter.service.records import LoggedMessage

MAX_PAGE = 100
"""Trades on one page."""


@dataclass(frozen=True, slots=True)
class TradeDocument:
    """A trade as its owner's application sees it."""

    trade: Trade
    time_zone: str
    """In which a tariff is read that names none."""

    def to_wire(self) -> dict[str, Any]:
        """Return the document of `GET /trades/{transaction_id}`; amounts as decimal strings."""
        trade = self.trade
        contract = contract_of(current_order(trade))
        document: dict[str, Any] = {
            "transaction_id": trade.transaction_id,
            "contract_id": trade.contract_id,
            "status": STATUS_OF.get(trade.state, "PENDING"),
            "state": trade.state.value,
            "side": trade.side.value,
            "peer": trade.peer.subscriber_id,
            "contract": dict(contract) or None,
            "order": dict(current_order(trade)) or None,
            **_flows(current_order(trade), self.time_zone),
        }
        if trade.error is not None:
            document["error"] = dict(trade.error)
        if trade.flags:
            document["flags"] = list(trade.flags)
        if trade.ended is not None:
            document["ended"] = trade.ended.value
        if trade.leg is not None:
            document["cascade"] = {
                "grid_operator": trade.leg.operator.subscriber_id,
                "transaction_id": trade.leg.transaction_id,
                "state": trade.leg.state.value,
            }
        if trade.session_id is not None:
            document["session"] = trade.session_id
        if trade.side is Side.MARKET_SESSION:
            document["participants"] = [_participant(seat) for seat in trade.seats]
        return document


class Queries:
    """Reads of one node."""

    def __init__(self, store: Store, rules_for: Callable[[str], PeerRules]) -> None:
        """Take the store to read from, and what holds for each peer."""
        self._store = store
        self._rules_for = rules_for

    async def trade(self, transaction_id: str) -> TradeDocument:
        """Return a trade of any side, by its own transaction or that of its leg.

        Raises:
            WireError: BIZ_ORDER_NOT_FOUND.
        """
        return self.document(await self._store.read(lambda uow: _find(uow, transaction_id)))

    async def trades(self, before: str | None, limit: int) -> list[TradeDocument]:
        """Return trades, newest first, a page after transaction `before`."""
        count = min(max(limit, 1), MAX_PAGE)
        found = await self._store.read(lambda uow: list(uow.trades(None, before, count)))
        return [self.document(trade) for trade in found]

    def document(self, trade: Trade) -> TradeDocument:
        """Return a trade as its owner's application sees it."""
        return TradeDocument(trade, self._rules_for(trade.peer.subscriber_id).time_zone)

    async def messages(self, transaction_id: str) -> list[dict[str, Any]]:
        """Return the messages of a trade and of its leg or session, in order of time.

        Raises:
            WireError: BIZ_ORDER_NOT_FOUND.
        """

        def query(uow: UnitOfWork) -> Sequence[LoggedMessage]:
            trade = _find(uow, transaction_id)
            ids = {trade.transaction_id}
            if trade.leg is not None:
                ids.add(trade.leg.transaction_id)
            if trade.session_id is not None:
                ids.add(trade.session_id)
            return uow.messages(sorted(ids))

        return [_message(logged) for logged in await self._store.read(query)]


def _participant(seat: Seat) -> dict[str, Any]:
    return {
        "transaction_id": seat.transaction_id,
        "platform": seat.platform,
        "meter_id": seat.meter_id,
        "cleared_kw": to_text(seat.power_micro_kw),
    }


def _find(uow: UnitOfWork, transaction_id: str) -> Trade:
    for side in Side:
        trade = uow.trade(side, transaction_id)
        if trade is not None:
            return trade
    parent = uow.trade_of_leg(transaction_id)
    if parent is None:
        raise WireError("BIZ_ORDER_NOT_FOUND", f"no transaction {transaction_id[:60]!r} here")
    return parent


def _flows(order: Mapping[str, Any], time_zone: str) -> dict[str, Any]:
    """Return the flows, and the price under a tariff: that of the delivery once it is over."""
    contract = contract_of(order)
    if not contract:
        return {"flows": None}
    _, delivery = delivery_of(order)
    over = delivery if delivery is not None and is_final(delivery) else None
    try:
        report = report_of(FoundContract(contract, "$", over), time_zone=time_zone).to_wire()
    except AdapterError:
        return {"flows": None}
    return {name: report[name] for name in ("flows", "tariff") if name in report}


def _message(logged: LoggedMessage) -> dict[str, Any]:
    return {
        "direction": logged.direction,
        "at_us": logged.at_us,
        "from": logged.sender,
        "to": logged.receiver,
        "action": logged.action,
        "transaction_id": logged.transaction_id,
        "message_id": logged.message_id,
        "state": logged.state,
        "http_status": logged.http_status,
        "code": logged.code,
        "signature": logged.signature,
        "attempts": logged.attempts,
        "next_ms": logged.next_ms,
        "took_us": logged.took_us,
    }
