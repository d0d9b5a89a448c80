"""What a seller's platform or a market answers to a discover: its catalogue. It opens no trade."""

from dataclasses import replace

from adapter.domain.trade import Trade
from adapter.protocol.catalogue import catalogue_message, catalogue_pages, written
from adapter.protocol.decision import Decision, Facts
from adapter.protocol.discover import wish_of
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers.shared import answer, open_request

PAGE_OFFERS = 40
"""Offers in one on_discover: a body must stay below 256 KiB, an offer takes 2.5 to 5 kB."""


def answer_discover(trade: Trade | None, envelope: Envelope, facts: Facts) -> Decision:
    """Return the offers that are wished for, page by page."""
    del trade
    cascades = facts.operator is not None
    is_wished = wish_of(envelope.message)
    known = (written(offer, facts.me, cascades=cascades) for offer in facts.offers)
    found = [one.offer for one in known if is_wished(one.item, one.terms.shown)]
    reply = answer(open_request(envelope, facts), facts)
    pages = catalogue_pages(found, PAGE_OFFERS) or [[]]
    return Decision(
        outgoing=tuple(
            replace(reply, message=catalogue_message(page, facts.me, cascades=cascades))
            for page in pages
        )
    )
