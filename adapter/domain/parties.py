"""Who takes part: roles of nodes, and sides of a transaction."""

from enum import StrEnum


class NodeRole(StrEnum):
    """What a node is on the network; a node may be several."""

    BAP = "bap"
    BPP = "bpp"
    GRID_OPERATOR = "grid_operator"
    MARKET = "market"


class Side(StrEnum):
    """Which side of a Beckn transaction a trade record belongs to."""

    BAP = "bap"
    BPP = "bpp"
    GRID_OPERATOR = "grid_operator"
    MARKET = "market"
    """A market, towards one prosumer's app."""
    MARKET_SESSION = "market_session"
    """A market, towards its grid operator: all prosumers of one delivery window."""
