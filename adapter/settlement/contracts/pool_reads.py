"""Reads of the pool.

Open offers are for everyone to see, without their seller; who took part in an offer is for its
parties and for overseers.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

from adapter.domain.quantities import to_text
from adapter.settlement import accounts
from adapter.settlement.canonical import EXACT_BELOW
from adapter.settlement.commands import ReadView
from adapter.settlement.contracts.account_reads import balance
from adapter.settlement.contracts.parties import known_user
from adapter.settlement.contracts.pool import known_offer
from adapter.settlement.contracts.visibility import sees_user
from adapter.settlement.kinds import ID, NUMBER, integer_kind
from adapter.settlement.pool_rows import OfferState, OperatorLot, PoolOffer, PoolPrice
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import (
    NET,
    OPERATOR_NET,
    Genesis,
    net_of,
    operator_net_of,
    padded,
)
from adapter.settlement.state import LedgerStore, Span
from adapter.settlement.work import sum_of

PAGE_MAX = 1_000
"""Offers in one answer; the next page begins after the last of them."""


@dataclass(frozen=True, slots=True)
class GetEnergyPrice:
    """The pool price; null as long as none is set."""


@dataclass(frozen=True, slots=True)
class GetGridBalance:
    """Generated less consumed energy of the area; negative: it drew from upstream."""


@dataclass(frozen=True, slots=True)
class GetProsumerInfo:
    """GRID, cash and net position of a user."""

    account: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class GetOperatorLots:
    """Energy of a user that operators vouched for, oldest first."""

    account: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class GetTradeInfo:
    """One offer."""

    offer_no: Annotated[int, NUMBER]


@dataclass(frozen=True, slots=True)
class GetOpenTrades:
    """The offers that can be bought now, oldest first."""

    after: Annotated[int, integer_kind("the last known offer", 0, EXACT_BELOW - 1)] = 0
    limit: Annotated[int, integer_kind("offers", 1, PAGE_MAX)] = PAGE_MAX


def get_energy_price(view: ReadView, _args: GetEnergyPrice) -> Any:
    """Answer for anyone."""
    known = view.ledger.get(PoolPrice, "")
    return to_text(known.price, _digits(view.ledger)) if known else None


def get_grid_balance(view: ReadView, _args: GetGridBalance) -> Any:
    """Answer for anyone; what operators vouched for is shown apart."""
    return _position(view.ledger, NET, OPERATOR_NET)


def get_prosumer_info(view: ReadView, args: GetProsumerInfo) -> Any:
    """Answer to the user and to overseers."""
    user = _visible_user(view, args.account)
    currency, digits = _genesis(view.ledger).currency, _digits(view.ledger)
    energy = balance(view.ledger, user, accounts.GRID)
    cash = balance(view.ledger, user, currency)
    return {
        "energy": {"available": to_text(energy.available), "held": to_text(energy.held)},
        "cash": {"available": to_text(cash.available, digits), "held": to_text(cash.held, digits)},
        "net_position": _position(view.ledger, net_of(user), operator_net_of(user)),
    }


def get_operator_lots(view: ReadView, args: GetOperatorLots) -> Any:
    """Answer to the user and to overseers; the entry `seq` holds the evidence."""
    user = _visible_user(view, args.account)
    return [
        {
            "lot_no": lot.lot_no,
            "operator": lot.operator,
            "generated": to_text(lot.generated),
            "consumed": to_text(lot.consumed),
            "seq": lot.seq,
        }
        for lot in view.ledger.find(OperatorLot, "user", user)
    ]


def get_trade_info(view: ReadView, args: GetTradeInfo) -> Any:
    """Answer for anyone while the offer is open, afterwards to its parties and overseers."""
    offer = known_offer(view.ledger, args.offer_no)
    if offer.state_at(view.now_ms) is not OfferState.OPEN and not _sees(view, offer):
        raise refusal("TRADE_NOT_FOUND", f"no offer {args.offer_no} that you may see")
    return _shown(view, offer)


def get_open_trades(view: ReadView, args: GetOpenTrades) -> Any:
    """Answer for anyone."""
    offers = view.ledger.find(PoolOffer, "open", "", Span(start=padded(args.after + 1)))
    open_now = (offer for offer in offers if offer.state_at(view.now_ms) is OfferState.OPEN)
    return [_shown(view, offer) for offer in islice(open_now, args.limit)]


def _shown(view: ReadView, offer: PoolOffer) -> dict[str, Any]:
    digits = _digits(view.ledger)
    shown = {
        "offer_no": offer.offer_no,
        "status": str(offer.state_at(view.now_ms)),
        "energy": to_text(offer.energy),
        "price": to_text(offer.price, digits),
        "wheeling_rate": to_text(offer.wheeling_rate, digits),
        "buyer_fee": to_text(offer.buyer_fee, digits),
    }
    if offer.expires_ms:
        shown["expires_at"] = offer.expires_ms
    if _sees(view, offer):
        shown |= {"seller": offer.seller, "seller_fee": to_text(offer.seller_fee, digits)}
        if offer.buyer:
            shown["buyer"] = offer.buyer
    return shown


def _visible_user(view: ReadView, user: str) -> str:
    known_user(view.ledger, user)
    if not sees_user(view.ledger, view.actor, user):
        raise refusal("USER_NOT_FOUND", f"{user} is not a user that you may see")
    return user


def _sees(view: ReadView, offer: PoolOffer) -> bool:
    parties = [user for user in (offer.seller, offer.buyer) if user]
    return any(sees_user(view.ledger, view.actor, user) for user in parties)


def _position(ledger: LedgerStore, name: str, by_operators: str) -> dict[str, str]:
    total, vouched = sum_of(ledger, name), sum_of(ledger, by_operators)
    return {
        "total": to_text(total),
        "by_readings": to_text(total - vouched),
        "by_operators": to_text(vouched),
    }


def _digits(ledger: LedgerStore) -> int:
    return _genesis(ledger).digits


def _genesis(ledger: LedgerStore) -> Genesis:
    genesis = ledger.get(Genesis, "")
    assert genesis is not None
    return genesis
