"""One handler per side of a transaction: `decide(trade, event, facts) -> Decision`."""

from collections.abc import Callable, Mapping

from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.protocol.decision import Decision, Event, Facts
from adapter.protocol.handlers import bap, bpp, grid_operator, market, market_session

Handler = Callable[[Trade | None, Event, Facts], Decision]

HANDLERS: Mapping[Side, Handler] = {
    Side.BAP: bap.decide,
    Side.BPP: bpp.decide,
    Side.GRID_OPERATOR: grid_operator.decide,
    Side.MARKET: market.decide,
    Side.MARKET_SESSION: market_session.decide,
}


def decide(side: Side, trade: Trade | None, event: Event, facts: Facts) -> Decision:
    """Return what follows from `event` for a trade of `side`; pure.

    Args:
        side: which side of the transaction this node is.
        trade: the trade as stored, None when there is none yet.
        event: what happened.
        facts: time, ids, identity and whatever else the decision may depend on.

    Raises:
        WireError: the event is refused; nothing changes.
    """
    return HANDLERS[side](trade, event, facts)
