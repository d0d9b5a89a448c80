"""How an offer of the pool ends without a buyer: cancelled, expired, or its seller suspended."""

from dataclasses import replace

from adapter.settlement.pool_rows import OfferStep, PoolOffer, next_offer
from adapter.settlement.postings import Why
from adapter.settlement.state import Reader
from adapter.settlement.work import Work


def end_offer(work: Work, offer: PoolOffer, why: Why) -> None:
    """Release the energy of an open offer and close it."""
    expired = why is Why.EXPIRE
    step = OfferStep.EXPIRE if expired else OfferStep.CANCEL
    work.void(offer.hold, why)
    work.put(replace(offer, state=next_offer(offer.state, step)))
    name = "TradeExpired" if expired else "TradeCancelled"
    work.emit(name, {"offer_no": offer.offer_no, "seller": offer.seller})


def expire_offer(work: Work, offer: PoolOffer) -> None:
    """End an offer past its deadline."""
    end_offer(work, offer, Why.EXPIRE)


def suspend_offers(work: Work, user: str) -> None:
    """Cancel the open offers of a user that left ACTIVE."""
    for offer in work.find(PoolOffer, "open_of", user):
        end_offer(work, offer, Why.SUSPEND)


def has_open_offer(reader: Reader, user: str) -> bool:
    """Return whether a user offers energy."""
    return next(iter(reader.find(PoolOffer, "open_of", user)), None) is not None
