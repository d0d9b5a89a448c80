"""Reads of trading: own orders and trades; prices, volumes and quantities for everyone.

Source: settlement specification, sections 9.1 and 17.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import to_text
from adapter.settlement.block_views import OneBlock, find_trade
from adapter.settlement.commands import ReadView
from adapter.settlement.contracts.anchoring import EPOCH
from adapter.settlement.contracts.clearing_epoch import AREA, clearing_result
from adapter.settlement.contracts.order_book import (
    as_it_is,
    book,
    effective_state,
    end_of,
    next_epoch,
    order_now,
)
from adapter.settlement.contracts.parties import known_user
from adapter.settlement.contracts.visibility import sees_user
from adapter.settlement.kinds import ID, NUMBER, choice_kind, text_kind
from adapter.settlement.order_rows import ClearedEpoch, Order, OrderState, cleared_key
from adapter.settlement.refusals import refusal
from adapter.settlement.roots import last_statement
from adapter.settlement.rows import Genesis, Parameters
from adapter.settlement.state import LedgerStore, Span
from adapter.settlement.work import effective_settings

ORDERS_MAX = 1_000
"""Newest orders of a user that a read goes through."""


@dataclass(frozen=True, slots=True)
class GetOrder:
    """An order of one's own."""

    order_no: Annotated[int, NUMBER]


@dataclass(frozen=True, slots=True)
class GetTrade:
    """A trade of one's own on the book."""

    trade_id: Annotated[str, text_kind("a trade id", 128)]


@dataclass(frozen=True, slots=True)
class GetUserOrders:
    """The newest orders of a user, of one status or all."""

    user: Annotated[str, ID]
    status: Annotated[str | None, choice_kind("an order status", OrderState)] = None


@dataclass(frozen=True, slots=True)
class GetOrderBook:
    """Quantity per price in the present epoch of a market."""

    area: Annotated[str, AREA] = "main"


@dataclass(frozen=True, slots=True)
class GetEpoch:
    """State, price and volume of an epoch in a market."""

    epoch: Annotated[int, EPOCH]
    area: Annotated[str, AREA] = "main"


@dataclass(frozen=True, slots=True)
class GetMarketConfig:
    """Steps, limits and rates that hold for a new order."""


def get_order(view: ReadView, args: GetOrder) -> Any:
    """Answer to the owner and to overseers."""
    order = order_now(view.ledger, args.order_no)
    if order is None or not sees_user(view.ledger, view.actor, order.user):
        raise refusal("ORDER_NOT_FOUND", f"no order {args.order_no} that you may see")
    return _order(view, order)


def get_user_orders(view: ReadView, args: GetUserOrders) -> Any:
    """Answer to the user and to overseers, newest first."""
    known_user(view.ledger, args.user)
    if not sees_user(view.ledger, view.actor, args.user):
        raise refusal("USER_NOT_FOUND", f"{args.user} is not a user that you may see")
    reader = OneBlock(view.ledger)
    rows = view.ledger.find(Order, "user", args.user, Span(newest_first=True))
    orders = (_order(view, as_it_is(reader, row)) for row in islice(rows, ORDERS_MAX))
    return [order for order in orders if args.status in (None, order["status"])]


def get_trade(view: ReadView, args: GetTrade) -> Any:
    """Answer to the two parties and to overseers."""
    trade = find_trade(view.ledger, args.trade_id)
    parties = () if trade is None else (trade.buy.user, trade.sell.user)
    if trade is None or not any(sees_user(view.ledger, view.actor, user) for user in parties):
        raise refusal("TRADE_NOT_FOUND", f"no trade {args.trade_id} that you may see")
    digits = _genesis(view.ledger).digits
    names = ("value", "wheeling", "buyer_fee", "seller_fee")
    money = {name: to_text(getattr(trade.legs, name), digits) for name in names}
    return {
        "trade_id": trade.trade_id,
        "epoch": trade.cleared.epoch,
        "area": trade.cleared.area,
        "buy_order": trade.buy.order_no,
        "sell_order": trade.sell.order_no,
        "buyer": trade.buy.user,
        "seller": trade.sell.user,
        "energy": to_text(trade.energy),
        "price": to_text(trade.price, digits),
        **money,
        "seq": trade.cleared.seq,
    }


def get_order_book(view: ReadView, args: GetOrderBook) -> Any:
    """Answer for anyone: no order and no user is named."""
    epoch, digits = view.now_ms // EPOCH_MS, _genesis(view.ledger).digits
    orders = [o for o in book(view.ledger, args.area, epoch) if o.expires_ms >= view.now_ms]
    return {
        "area": args.area,
        "epoch": epoch,
        "asks": _depth((order for order in orders if order.is_sell), digits),
        "bids": _depth((order for order in orders if not order.is_sell), digits)[::-1],
    }


def _depth(orders: Iterable[Order], digits: int) -> list[dict[str, str]]:
    """Return what is wanted or offered per price, lowest price first."""
    depth: dict[int, int] = defaultdict(int)
    for order in orders:
        depth[order.price] += order.unfilled
    return [
        {"price": to_text(price, digits), "energy": to_text(depth[price])}
        for price in sorted(depth)
    ]


def get_epoch(view: ReadView, args: GetEpoch) -> Any:
    """Answer for anyone."""
    cleared = view.ledger.get(ClearedEpoch, cleared_key(args.area, args.epoch))
    empty = ClearedEpoch(args.area, args.epoch, 0, None, 0, 0, 0, 0, 0)
    return {
        **clearing_result(cleared or empty, _genesis(view.ledger).digits),
        "start": args.epoch * EPOCH_MS,
        "end": end_of(args.epoch),
        "state": _epoch_state(view, args),
        "orders": cleared.orders if cleared else 0,
        **({"seq": cleared.seq} if cleared else {}),
    }


def _epoch_state(view: ReadView, args: GetEpoch) -> str:
    """Return OPEN, CLOSED, CLEARED or ANCHORED; nothing is left to clear if nobody takes part."""
    if view.now_ms < end_of(args.epoch):
        return "OPEN"
    is_waiting = args.epoch >= next_epoch(view.ledger, args.area)
    if is_waiting and book(view.ledger, args.area, args.epoch):
        return "CLOSED"
    statement = last_statement(view.ledger)
    cleared = view.ledger.get(ClearedEpoch, cleared_key(args.area, args.epoch))
    if statement is None or args.epoch > statement.last_epoch:
        return "CLEARED"
    is_covered = cleared is None or cleared.seq <= statement.last_seq
    return "ANCHORED" if is_covered else "CLEARED"


def get_market_config(view: ReadView, _args: GetMarketConfig) -> Any:
    """Answer for anyone."""
    settings = effective_settings(view.ledger.get(Parameters, ""), view.now_ms)
    genesis = _genesis(view.ledger)
    rates = {
        name: to_text(getattr(settings, name), genesis.digits)
        for name in ("price_tick", "wheeling_rate", "buyer_fee", "seller_fee")
    }
    limits = {
        name: getattr(settings, name)
        for name in (
            "epoch_s",
            "gate_lead_s",
            "gtt_max_s",
            "max_orders_per_user_epoch",
            "max_orders_per_epoch",
            "auto_market_clearing",
        )
    }
    return {
        "currency": genesis.currency,
        "lot_energy": to_text(settings.lot_energy),
        **rates,
        **limits,
        "clearing_rule": "UNIFORM",
    }


def _order(view: ReadView, order: Order) -> dict[str, Any]:
    genesis = _genesis(view.ledger)
    state = effective_state(view.ledger, order, view.now_ms)
    order = replace(order, state=state)
    digits = 0 if order.is_sell else genesis.digits
    return {
        "order_no": order.order_no,
        "user": order.user,
        "meter_id": order.meter_id,
        "area": order.area,
        "side": str(order.side),
        "energy": to_text(order.energy),
        "price": to_text(order.price, genesis.digits),
        "epoch": order.epoch,
        "time_in_force": str(order.time_in_force),
        "expires_at": order.expires_ms,
        "status": str(state),
        "filled": to_text(order.filled),
        "held": to_text(order.asset_held if order.is_live else 0, digits),
        "cap_held": to_text(order.cap_held if order.is_live else 0),
        "wheeling_rate": to_text(order.wheeling_rate, genesis.digits),
        "buyer_fee": to_text(order.buyer_fee, genesis.digits),
        "seller_fee": to_text(order.seller_fee, genesis.digits),
        "seq": order.seq,
    }


def _genesis(ledger: LedgerStore) -> Genesis:
    genesis = ledger.get(Genesis, "")
    assert genesis is not None
    return genesis
