"""trading: entering and cancelling orders, which hold what they offer from the first moment.

Source: settlement specification, section 9.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS, SECOND_MS
from adapter.settlement import accounts, units
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.contracts import caps
from adapter.settlement.contracts.order_book import (
    best_own,
    count_live,
    count_live_of,
    effective_state,
    end_of,
    first_open,
    is_awaiting,
    live_orders,
    markets,
    next_epoch,
    order_now,
)
from adapter.settlement.contracts.parties import (
    binding_at,
    check_meter,
    holds_role,
    is_prosumer,
    verify,
)
from adapter.settlement.kinds import ENERGY, ID, NUMBER, PRICE, TIME, choice_kind
from adapter.settlement.order_rows import (
    ORDER_TRANSITIONS,
    Market,
    Order,
    OrderState,
    OrderStep,
    TimeInForce,
    next_order,
)
from adapter.settlement.postings import Why
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import Binding, Cap
from adapter.settlement.units import Rates
from adapter.settlement.work import Work

TIME_IN_FORCE = choice_kind("a time in force", TimeInForce)


@dataclass(frozen=True, slots=True)
class CreateSellOrder:
    """Offer GRID on the book at a price or better."""

    energy_amount: Annotated[int, ENERGY]
    price_per_unit: Annotated[int, PRICE]
    time_in_force: Annotated[str, TIME_IN_FORCE] = TimeInForce.EPOCH
    expires_at: Annotated[int | None, TIME] = None
    meter_id: Annotated[str | None, ID] = None


@dataclass(frozen=True, slots=True)
class CreateBuyOrder:
    """Bid for GRID on the book at a price or better."""

    energy_amount: Annotated[int, ENERGY]
    max_price: Annotated[int, PRICE]
    time_in_force: Annotated[str, TIME_IN_FORCE] = TimeInForce.EPOCH
    expires_at: Annotated[int | None, TIME] = None
    meter_id: Annotated[str | None, ID] = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """An order as asked for, of either side."""

    side: TradeSide
    energy: int
    price: int
    time_in_force: TimeInForce
    expires_ms: int | None
    meter_id: str | None


def _ask(args: CreateSellOrder) -> _Wish:
    return _Wish(
        TradeSide.SELL,
        args.energy_amount,
        args.price_per_unit,
        TimeInForce(args.time_in_force),
        args.expires_at,
        args.meter_id,
    )


def _bid(args: CreateBuyOrder) -> _Wish:
    return _Wish(
        TradeSide.BUY,
        args.energy_amount,
        args.max_price,
        TimeInForce(args.time_in_force),
        args.expires_at,
        args.meter_id,
    )


def check_sell_order(work: Work, args: CreateSellOrder) -> None:
    """Check lot, tick, rates and life of an ask.

    Raises:
        ContractError: INVALID_ENERGY_AMOUNT, INVALID_PRICE, INVALID_INPUT.
    """
    _check_terms(work, _ask(args))


def check_buy_order(work: Work, args: CreateBuyOrder) -> None:
    """Check lot, tick, rates and life of a bid.

    Raises:
        ContractError: INVALID_ENERGY_AMOUNT, INVALID_PRICE, INVALID_INPUT.
    """
    _check_terms(work, _bid(args))


def _check_terms(work: Work, wish: _Wish) -> None:
    settings = work.settings
    if wish.energy % settings.lot_energy:
        msg = f"energy_amount: no multiple of the lot, {settings.lot_energy} millionths of a kWh"
        raise refusal("INVALID_ENERGY_AMOUNT", msg)
    if wish.price % settings.price_tick:
        msg = f"price: no multiple of the tick, {settings.price_tick} millionths"
        raise refusal("INVALID_PRICE", msg)
    units.check_rates(_rates(work, wish))
    if wish.time_in_force is TimeInForce.EPOCH:
        if wish.expires_ms is not None:
            raise invalid("expires_at", "an EPOCH order ends with its epoch: only GTT has a time")
        return
    if wish.expires_ms is None:
        raise invalid("expires_at", "missing: a GTT order needs its last instant")
    if not work.now_ms <= wish.expires_ms <= work.after(settings.gtt_max_s):
        raise invalid("expires_at", f"not from now to {settings.gtt_max_s} s ahead")


def _rates(work: Work, wish: _Wish) -> Rates:
    """Return the rates that matter for the side: a fee of the seller binds no bid."""
    settings = work.settings
    seller_fee = settings.seller_fee if wish.side is TradeSide.SELL else 0
    return Rates(wish.price, settings.wheeling_rate, settings.buyer_fee, seller_fee)


def create_sell_order(work: Work, args: CreateSellOrder) -> Mapping[str, Any]:
    """Enter an ask; its GRID is held."""
    return _create(work, _ask(args))


def create_buy_order(work: Work, args: CreateBuyOrder) -> Mapping[str, Any]:
    """Enter a bid; the most that it can cost is held."""
    return _create(work, _bid(args))


def _create(work: Work, wish: _Wish) -> Mapping[str, Any]:
    binding = _meter(work, wish)
    order = _order(work, wish, binding)
    verify(work, order.user)
    if order.is_sell and not is_prosumer(work, order.user):
        raise refusal("NOT_PROSUMER", f"{order.user} is a CONSUMER and cannot sell")
    _check_self_trade(work, order)
    _check_open(work, order)
    _check_places(work, order)
    if order.has_cap:
        caps.check_room(work, order.meter_id, order.side, [(order.cap_account, order.cap_held)])
    account = order.account(work.genesis.currency)
    code = "INSUFFICIENT_ENERGY" if order.is_sell else "INSUFFICIENT_FUNDS"
    work.require(account, order.asset_held, code, account)
    return _enter(work, order)


def _meter(work: Work, wish: _Wish) -> Binding:
    """Return the binding of the meter that the order is for: the only one, unless it is named."""
    if wish.meter_id is None:
        owned = [b for b in work.find(Binding, "owner", work.user) if b.covers(work.now_ms)]
        if len(owned) != 1:
            msg = f"{work.user} owns {len(owned)} meters: say for which one the order is"
            raise refusal("METER_REQUIRED", msg)
        return owned[0]
    check_meter(work, wish.meter_id)
    binding = binding_at(work, wish.meter_id, work.now_ms)
    if binding is None or binding.owner != work.user:
        raise refusal("METER_MISMATCH", f"{work.user} does not own {wish.meter_id} now")
    if binding.until_ms and (wish.expires_ms or 0) > binding.until_ms:
        raise refusal("METER_MISMATCH", f"{work.user} gives {wish.meter_id} up before that")
    return binding


def _order(work: Work, wish: _Wish, binding: Binding) -> Order:
    """Return the order as it would be entered; number and holds are not known yet."""
    settings, epoch = work.settings, work.now_ms // EPOCH_MS
    slot = epoch * EPOCH_MS if settings.cap_scope == "PER_SLOT" else None
    cap = accounts.cap(binding.meter_id, wish.side, slot)
    return Order(
        order_no=0,
        seq=work.seq,
        user=work.user,
        meter_id=binding.meter_id,
        area=binding.area,
        side=wish.side,
        energy=wish.energy,
        price=wish.price,
        epoch=epoch,
        time_in_force=wish.time_in_force,
        expires_ms=end_of(epoch) if wish.expires_ms is None else wish.expires_ms,
        wheeling_rate=settings.wheeling_rate,
        buyer_fee=settings.buyer_fee,
        seller_fee=settings.seller_fee,
        cap_account=cap if work.get(Cap, cap) is not None else "",
        hold_seq=work.seq,
        hold_index=len(work.postings),
    )


def _check_self_trade(work: Work, order: Order) -> None:
    """Check that no own order could meet this one."""
    own = best_own(work.ledger, order, work.now_ms)
    if own is None:
        return
    ask, bid = (order, own) if order.is_sell else (own, order)
    if bid.price >= ask.price:
        msg = f"own order {own.order_no} at {own.price} would meet it, in millionths"
        raise refusal("SELF_TRADE", msg, order_no=own.order_no)


def _check_open(work: Work, order: Order) -> None:
    """Check that the epoch still takes orders."""
    end_ms = end_of(order.epoch)
    if work.now_ms >= end_ms - work.settings.gate_lead_s * SECOND_MS:
        msg = f"epoch {order.epoch} takes no more orders: its gate is closed"
        raise refusal("EPOCH_CLOSED", msg, retry_at=end_ms)
    start = next_epoch(work, order.area)
    if order.epoch < start:
        msg = f"epoch {order.epoch} of {order.area} is cleared"
        raise refusal("EPOCH_CLOSED", msg, retry_at=start * EPOCH_MS)


def _check_places(work: Work, order: Order) -> None:
    """Check the numbers of live orders."""
    settings = work.settings
    mine = count_live_of(work, order.user, order.epoch)
    if mine >= settings.max_orders_per_user_epoch:
        msg = f"{order.user} has {mine} live orders in this epoch, as many as allowed"
        raise refusal("TOO_MANY_ORDERS", msg, retry_at=end_of(order.epoch))
    if count_live(work, order.area, order.epoch) >= settings.max_orders_per_epoch:
        msg = f"{order.area} has {settings.max_orders_per_epoch} live orders, as many as allowed"
        raise refusal("EPOCH_FULL", msg, retry_at=end_of(order.epoch))


def _enter(work: Work, order: Order) -> Mapping[str, Any]:
    """Hold what the order needs, number it and write it."""
    _open_market(work, order)
    order = replace(order, order_no=work.next_number("order"))
    for account, amount in order.holds(work.genesis.currency):
        work.set_aside(account, amount, order.purpose, order.expires_ms)
    work.put(order)
    name = "SellOrderCreated" if order.is_sell else "BuyOrderCreated"
    work.emit(
        name,
        {
            "order_no": order.order_no,
            "user": order.user,
            "meter_id": order.meter_id,
            "area": order.area,
            "energy": order.energy,
            "price": order.price,
            "epoch": order.epoch,
            "time_in_force": order.time_in_force,
            "expires_at": order.expires_ms,
        },
    )
    return {"order_no": order.order_no, "epoch": order.epoch, "area": order.area}


def _open_market(work: Work, order: Order) -> None:
    """Open the market of an area, or skip the epochs in which nobody took part."""
    start = next_epoch(work, order.area)
    if order.epoch > start and first_open(work.ledger, order.area, start) is None:
        work.put(Market(order.area, order.epoch))


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Take an order from the book and release its holds."""

    order_no: Annotated[int, NUMBER]


def cancel_order(work: Work, args: CancelOrder) -> Mapping[str, Any]:
    """Cancel what is not filled yet, unless an ended epoch of the order is still to be cleared."""
    order = order_now(work, args.order_no)
    if order is None:
        raise refusal("ORDER_NOT_FOUND", f"no order {args.order_no}")
    if work.user != order.user and not holds_role(work, Role.REGULATOR, work.actor):
        raise refusal("NOT_ORDER_OWNER", f"order {order.order_no} is not of {work.user}")
    state = effective_state(work, order, work.now_ms)
    if state is OrderState.FILLED:
        raise refusal("ORDER_ALREADY_FILLED", f"order {order.order_no} is filled")
    if not ORDER_TRANSITIONS[state]:
        raise refusal("ORDER_NOT_ACTIVE", f"order {order.order_no} is {state}")
    if is_awaiting(work, order, work.now_ms):
        msg = f"an ended epoch of order {order.order_no} is not cleared yet"
        raise refusal("EPOCH_CLOSED", msg)
    cancel(work, order, Why.CANCEL)
    return {"order_no": order.order_no, "state": OrderState.CANCELLED}


def cancel(work: Work, order: Order, why: Why) -> None:
    """End a live order before it is filled."""
    _end(work, order, OrderStep.CANCEL, why)


def expire_order(work: Work, order: Order) -> None:
    """End an order whose time has passed."""
    _end(work, order, OrderStep.EXPIRE, Why.EXPIRE)


_EVENTS = {OrderStep.CANCEL: "OrderCancelled", OrderStep.EXPIRE: "OrderExpired"}


def _end(work: Work, order: Order, step: OrderStep, why: Why) -> None:
    currency = work.genesis.currency
    held = order.holds(currency)
    for hold_id, (account, amount) in zip(order.hold_ids(), held, strict=True):
        work.give_back(hold_id, account, amount, why)
    work.put(replace(order, state=next_order(order.state, step)))
    work.emit(
        _EVENTS[step],
        {
            "order_no": order.order_no,
            "user": order.user,
            "filled": order.filled,
            "released": order.asset_held,
            "asset": order.asset(currency),
        },
    )


def open_orders(work: Work, user: str) -> list[Order]:
    """Return all orders of a user that can still trade, by market and number."""
    return [order for market in markets(work) for order in live_orders(work, user, market.area)]


def suspend_orders(work: Work, user: str) -> None:
    """Cancel all orders of a user that left ACTIVE."""
    for order in open_orders(work, user):
        cancel(work, order, Why.SUSPEND)


def has_open_sell_order(work: Work, user: str) -> bool:
    """Return whether a user offers energy on the book."""
    return any(order.is_sell for order in open_orders(work, user))


def has_open_order(work: Work, user: str, meter_id: str) -> bool:
    """Return whether an order of a user counts on a meter."""
    return any(order.meter_id == meter_id for order in open_orders(work, user))
