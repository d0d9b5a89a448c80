"""Who takes part: node roles and contract roles."""

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


class ContractRole(StrEnum):
    """Roles of an energy contract. CONSUMER on the wire is read as BUYER."""

    BUYER = "BUYER"
    SELLER = "SELLER"
    PROSUMER = "PROSUMER"
    MARKET_CLEARING_AGENT = "MARKET_CLEARING_AGENT"
    AGGREGATOR = "AGGREGATOR"
    GRID_OPERATOR = "GRID_OPERATOR"
