"""What each contract role may carry, and how an input is read off the wire.

The schema documents declare the same names; a test compares the two.
Source: contract specification, section 3.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

ROLE_INPUTS: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {
        "SELLER": frozenset(
            {
                "sourceMeterId",
                "sourceType",
                "pricePerKWh",
                "currency",
                "tariff",
                "inverterId",
                "pricingModel",
                "settlementType",
                "certification",
                "minimumQuantity",
                "maximumQuantity",
                "validityWindow",
            }
        ),
        "BUYER": frozenset(
            {
                "targetMeterId",
                "contractedQuantity",
                "tradeStartTime",
                "tradeEndTime",
                "preferredSourceType",
                "preferredCertification",
            }
        ),
        "GRID_OPERATOR": frozenset(
            {
                "wheelingCharges",
                "current_buyer_trades_total",  # plural and singular as upstream writes them
                "current_seller_trade_total",
                "buyer_trade_cap",
                "seller_trade_cap",
            }
        ),
        "MARKET_CLEARING_AGENT": frozenset({"marketMakingFee", "clearingPrice", "clearedPower"}),
        "PROSUMER": frozenset(
            {"sourceMeterId", "sourceType", "offerCurve", "inverterId", "certification"}
        ),
        "AGGREGATOR": None,
    }
)
"""Names of the inputs of each role; None where any name may stand."""

ENVELOPE_TYPES = frozenset(
    {
        "BOOLEAN",
        "NUMBER",
        "DATE_TIME",
        "DATETIME",  # another spelling seen upstream
        "DURATION",
        "OFFER_CURVE",
        "STRING",
        "ROUTE",
        "OBJECT",
    }
)


def canonical_role(role: str) -> str:
    """Return the role as we write it: CONSUMER is BUYER."""
    return "BUYER" if role == "CONSUMER" else role


def unwrap(value: Any) -> Any:
    """Return an input's value, whether it came directly or in an envelope.

    A tariff has a `type` of its own and a preferred certification a `required`: only both, with
    one of nine names and a boolean, make an envelope.
    """
    if type(value) is not dict or type(value.get("required")) is not bool:
        return value
    name = value.get("type")
    return value.get("value") if isinstance(name, str) and name in ENVELOPE_TYPES else value
