"""The modes of the demo: which nodes each needs, and its script."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from adapter.demo.folder import MARKET_NODES, NODES, DemoFolder
from adapter.demo.market_script import MarketScript
from adapter.demo.purchase_script import PurchaseScript, TariffScript
from adapter.demo.script import Script
from adapter.demo.session import Tell


class Mode(StrEnum):
    """How the price is found."""

    FIXED = "fixed"
    TARIFF = "tariff"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class Play:
    """What a mode needs."""

    nodes: tuple[str, ...]
    """Names of the nodes, in the order of their ports."""
    told: str
    """How many they are."""
    script: Callable[[DemoFolder, Tell], Script]


PLAYS: Mapping[Mode, Play] = {
    Mode.FIXED: Play(tuple(NODES), "four", PurchaseScript),
    Mode.TARIFF: Play(tuple(NODES), "four", TariffScript),
    Mode.MARKET: Play(tuple(MARKET_NODES), "five", MarketScript),
}
