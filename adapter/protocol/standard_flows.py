"""The revenue flows that a contract of each mode must have. Source: contract specification, 6.1."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from adapter.formula import parse
from adapter.protocol.contract_view import Mode

Pair = tuple[str, str]
"""Payer and payee."""

_QUANTITY = "roles.BUYER.roleInputs.contractedQuantity"
_WHEELING = "roles.GRID_OPERATOR.roleInputs.wheelingCharges"
_AGENT = "roles.MARKET_CLEARING_AGENT.roleInputs"
_CLEARED = f"{_AGENT}.clearedPower[PROSUMER.era]"

STANDARD_FLOWS: Mapping[Mode, Mapping[Pair, tuple[str, ...]]] = MappingProxyType(
    {
        Mode.FIXED_PRICE: {
            ("BUYER", "SELLER"): (f"{_QUANTITY} × roles.SELLER.roleInputs.pricePerKWh",),
            ("BUYER", "GRID_OPERATOR"): (f"{_QUANTITY} × {_WHEELING}",),
        },
        Mode.TARIFF: {
            ("BUYER", "SELLER"): (
                "computeTariffPrice(roles.SELLER.roleInputs.tariff,"
                " roles.BUYER.roleInputs.tradeStartTime, roles.BUYER.roleInputs.tradeEndTime,"
                " deliveredQuantity) × deliveredQuantity",
            ),
            ("BUYER", "GRID_OPERATOR"): (
                f"deliveredQuantity × {_WHEELING}",
                f"{_QUANTITY} × {_WHEELING}",
            ),
        },
        Mode.MARKET: {
            ("PROSUMER", "MARKET_CLEARING_AGENT"): (
                f"({_AGENT}.clearingPrice + {_AGENT}.marketMakingFee) × {_CLEARED}",
            ),
            ("MARKET_CLEARING_AGENT", "GRID_OPERATOR"): (f"abs({_CLEARED}) × {_WHEELING}",),
        },
    }
)
"""Standard formulas of each pair, by mode; a pair is required when its roles are present."""


@lru_cache(maxsize=32)
def standard_forms(mode: Mode, pair: Pair) -> frozenset[str]:
    """Return the normal forms of a pair's standard formulas; empty if it has none."""
    return frozenset(parse(text).normal for text in STANDARD_FLOWS[mode].get(pair, ()))
