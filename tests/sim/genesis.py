"""The ledgers that runs begin with: the same users and meters under different settings."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from nacl.signing import SigningKey

from tests.unit.settlement.world import EPOCH, GENESIS, NOON, World, sqlite_ledger

PROSUMERS = ("ann", "ben", "eve")
CONSUMERS = ("cat",)
USERS = (*PROSUMERS, *CONSUMERS)
MARKET = "fair"
"""A market: a user without a meter."""
CAPACITY_KW = 40
BEGIN = NOON + EPOCH
_COMMON: Mapping[str, Any] = {
    "buyer_fee": "0.003",
    "seller_fee": "0.002",
    "delivery_grace_s": 3_600,
    "max_meters_per_user": 2,
}
VARIANTS: tuple[Mapping[str, Any], ...] = (
    {},
    {"dispute_window_s": 1_800, "cancel_consent": "BOTH", "auto_mint": False, "oracle_fee": "0.25"},
    {"cap_scope": "PER_SLOT", "wheeling_rate": "0", "expire_batch": 2},
)


@dataclass(frozen=True)
class Start:
    """A ledger to begin with."""

    database: bytes
    """Content of its file."""
    keys: Mapping[str, SigningKey]
    """By meter."""
    settings: Mapping[str, Any]


@cache
def start(variant: int) -> Start:
    """Return the ledger after its set-up, the same each time."""
    ledger = sqlite_ledger()
    connection = ledger._connection
    assert isinstance(connection, sqlite3.Connection)
    world = World(ledger)
    changed = {**_COMMON, **VARIANTS[variant]}
    genesis = {**GENESIS, "settings": {**GENESIS["settings"], **changed}}
    genesis["roles"] = {**GENESIS["roles"], "POOL_OPERATOR": ["pool-op"]}
    world.open(genesis)
    for user in USERS:
        world.user(user, "CONSUMER" if user in CONSUMERS else "PROSUMER")
        world.meter(f"m-{user}", user, kw=CAPACITY_KW)
        world.deposit(user, 500)
    for user in PROSUMERS:
        world.do("pool.add_energy", "pool-op", prosumer=user, amount=20, evidence="stock")
    world.user(MARKET)
    world.do("trading.add_market_maker", "admin", market_maker=MARKET)
    world.deposit(MARKET, 500)
    for user in PROSUMERS:
        world.do("token.approve", user, spender=MARKET, value=60)
    world.do("token.approve", "cat", spender=MARKET, value=60, asset="USD")
    world.do("registry.set_representative", "ann", user="ann", subscriber="app")
    world.do("token.approve", "app", "ann", spender="network", value=90, asset="USD")
    return Start(connection.serialize(), dict(world.keys), genesis["settings"])
