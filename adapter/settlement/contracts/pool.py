"""pool: offers of GRID at a fixed price, bought as a whole and settled at once.

An offer holds its energy, so the same GRID is never sold twice. Source: settlement specification,
section 12.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.settlement import accounts, units
from adapter.settlement.contracts.dvp import Trade, settle_dvp
from adapter.settlement.contracts.parties import is_prosumer, verify
from adapter.settlement.contracts.pool_closing import end_offer
from adapter.settlement.contracts.users import ApplyUser, apply_user
from adapter.settlement.kinds import ENERGY, NUMBER, PRICE, TIME
from adapter.settlement.pool_rows import OfferState, OfferStep, PoolOffer, PoolPrice, next_offer
from adapter.settlement.postings import Why
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import UserType, padded
from adapter.settlement.state import Reader
from adapter.settlement.units import Rates
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True)
class JoinPool:
    """Ask to become a user of type PROSUMER; there is only one registry."""


def register_prosumer(work: Work, _args: JoinPool) -> Mapping[str, Any]:
    """Do what apply_user does; nobody is registered on the side."""
    return apply_user(work, ApplyUser(UserType.PROSUMER))


@dataclass(frozen=True, slots=True)
class TradeEnergy:
    """Offer GRID at a fixed price, at the pool price if none is named."""

    amount: Annotated[int, ENERGY]
    price: Annotated[int | None, PRICE] = None
    expires_at: Annotated[int | None, TIME] = None
    """Last instant at which the offer can be bought; absent: it stays."""


def check_offer(work: Work, args: TradeEnergy) -> None:
    """Check the price with its fees, the deadline, and that the energy is worth anything.

    Raises:
        ContractError: INVALID_PRICE, INVALID_INPUT, INVALID_ENERGY_AMOUNT.
    """
    rates = _rates(work, args)
    units.check_rates(rates)
    if args.expires_at is not None and args.expires_at < work.now_ms:
        raise invalid("expires_at", f"{args.expires_at} is over, now is {work.now_ms}")
    if not units.value(args.amount, rates.price):
        msg = f"amount: {args.amount} millionths of a kWh are worth nothing at that price"
        raise refusal("INVALID_ENERGY_AMOUNT", msg)


def trade_energy(work: Work, args: TradeEnergy) -> Mapping[str, Any]:
    """Open the offer and hold its energy."""
    seller = work.user
    verify(work, seller)
    if not is_prosumer(work, seller):
        raise refusal("NOT_PROSUMER", f"{seller} is a CONSUMER and sells nothing")
    account = accounts.main(seller, accounts.GRID)
    work.require(account, args.amount, "INSUFFICIENT_ENERGY", f"GRID of {seller}")
    number, expires_ms = work.next_number("offer"), args.expires_at or 0
    rates = _rates(work, args)
    offer = PoolOffer(
        number, seller, args.amount, *rates, expires_ms, OfferState.OPEN, "", work.now_ms
    )
    work.put(replace(offer, hold=work.hold(account, offer.energy, offer.purpose, expires_ms)))
    work.emit(
        "TradeOffered",
        {
            "offer_no": number,
            "seller": seller,
            "energy": offer.energy,
            "price": offer.price,
            "expires_at": args.expires_at,
        },
    )
    return {"offer_no": number}


def _rates(work: Work, args: TradeEnergy) -> Rates:
    """Return the rates of an offer made now.

    Raises:
        ContractError: INVALID_PRICE, none named and none set.
    """
    known = work.get(PoolPrice, "")
    price = args.price or (known.price if known else None)
    if price is None:
        raise refusal("INVALID_PRICE", "price: none named, and the pool has no price yet")
    settings = work.settings
    return Rates(price, settings.wheeling_rate, settings.buyer_fee, settings.seller_fee)


@dataclass(frozen=True, slots=True)
class BuyEnergy:
    """Buy an offer as a whole; energy and cash move at once."""

    offer_no: Annotated[int, NUMBER]


def buy_energy(work: Work, args: BuyEnergy) -> Mapping[str, Any]:
    """Pay the seller, the grid operator and the fees, and get the energy."""
    offer, buyer = known_offer(work, args.offer_no), work.user
    _check_open(offer, offer.state)
    verify(work, buyer, offer.seller)
    if buyer == offer.seller:
        raise refusal("SELF_TRADE", f"{buyer} is the seller")
    _check_open(offer, offer.state_at(work.now_ms))
    legs = units.legs(offer.energy, offer.rates)
    account = accounts.main(buyer, work.genesis.currency)
    work.require(account, legs.buyer_debit, "INSUFFICIENT_FUNDS", f"cash of {buyer}")
    trade_id = f"pool-{offer.offer_no}"
    work.emit(
        "TradeExecuted",
        {
            "trade_id": trade_id,
            "offer_no": offer.offer_no,
            "buyer": buyer,
            "seller": offer.seller,
            "energy": offer.energy,
            "price": offer.price,
            "value": legs.value,
            "wheeling": legs.wheeling,
            "buyer_fee": legs.buyer_fee,
            "seller_fee": legs.seller_fee,
        },
    )
    cash_hold = work.hold(account, legs.buyer_debit, offer.purpose)
    trade = Trade(offer.seller, buyer, offer.energy, legs)
    settle_dvp(work, trade, [work.known_hold(offer.hold)], {buyer: cash_hold}, more_to_come=False)
    work.put(replace(offer, state=next_offer(offer.state, OfferStep.BUY), buyer=buyer))
    return {"offer_no": offer.offer_no, "trade_id": trade_id}


@dataclass(frozen=True, slots=True)
class CancelTrade:
    """Take back an open offer; its energy is free again."""

    offer_no: Annotated[int, NUMBER]


def cancel_trade(work: Work, args: CancelTrade) -> Mapping[str, Any]:
    """Cancel for the seller."""
    offer = known_offer(work, args.offer_no)
    if work.user != offer.seller:
        raise refusal("NOT_ORDER_OWNER", f"offer {offer.offer_no} is not of {work.user}")
    _check_open(offer, offer.state_at(work.now_ms))
    end_offer(work, offer, Why.CANCEL)
    return {"offer_no": offer.offer_no}


def known_offer(reader: Reader, offer_no: int) -> PoolOffer:
    """Return an offer.

    Raises:
        ContractError: TRADE_NOT_FOUND.
    """
    offer = reader.get(PoolOffer, padded(offer_no))
    if offer is None:
        raise refusal("TRADE_NOT_FOUND", f"no offer {offer_no}")
    return offer


def _check_open(offer: PoolOffer, state: OfferState) -> None:
    if state is not OfferState.OPEN:
        raise refusal("TRADE_NOT_OPEN", f"offer {offer.offer_no} is {state}")


@dataclass(frozen=True, slots=True)
class SetEnergyPrice:
    """Set the reference price, which offers take that name none."""

    price: Annotated[int, PRICE]


def set_energy_price(work: Work, args: SetEnergyPrice) -> Mapping[str, Any]:
    """Set the price; open offers keep theirs."""
    old = work.get(PoolPrice, "")
    work.put(PoolPrice(args.price, work.seq))
    work.emit("EnergyPriceSet", {"old": old.price if old else None, "new": args.price})
    return {}
