"""A Beckn-style protocol adapter for EnergyContractP2PTrade.

The names listed in `__all__` are the public surface: pure functions, no clock, no network, each
imported when it is first used. Everything else may change from release to release.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "AdapterError",
    "ClearedOrders",
    "Finding",
    "FlowReport",
    "Order",
    "Report",
    "TariffPrice",
    "clear_book",
    "compute_tariff",
    "evaluate_flows",
    "sign_message",
    "validate_message",
    "verify_message",
]

# By name, so that no layer comes to depend on all others; types are in `__init__.pyi`.
_HOMES = {
    "AdapterError": "adapter.domain.errors",
    "ClearedOrders": "adapter.settlement.clearing_orders",
    "Finding": "adapter.domain.findings",
    "FlowReport": "adapter.protocol.flows",
    "Order": "adapter.settlement.clearing_orders",
    "Report": "adapter.protocol.validation",
    "TariffPrice": "adapter.domain.tariff",
}


def __getattr__(name: str) -> Any:
    """Return a public name, imported now."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES.get(name, "adapter.public")), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
