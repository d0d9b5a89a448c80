"""Two prosumers' apps, a market and a grid operator in one event loop.

As `tests.fakes.network`: real pipeline, signatures and SQLite files, messages move by `deliver`.
The load is C1 of the contract specification, the roof too; wheeling is 0.002 per kWh, and the
market takes 0.01.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from adapter.bootstrap import Node, Ports, build_node
from adapter.domain.instants import parse_instant
from adapter.domain.offers import MarketPlace, Offer
from adapter.domain.quantities import to_micro
from adapter.protocol.orders import exact
from adapter.protocol.signature import Signer
from adapter.settings import load_settings
from adapter.settlement import parse_command, reading_bytes
from tests.fakes.network import Wire
from tests.fakes.time import CountingIds, FixedClock

LOAD, ROOF, MARKET, GRID = (
    "bap.load.example",
    "bap.roof.example",
    "bpp.market.example",
    "grid.operator.example",
)
ROLES = {LOAD: "bap", ROOF: "bap", MARKET: "market", GRID: "grid_operator"}
HOSTS = {name: f"127.0.0.1:{port}" for port, name in enumerate(ROLES, 9201)}
LOAD_METER, ROOF_METER = "meter-cold-store-1", "meter-roof-7"
OFFER_ID = "market-9"
START, END, GATE = "2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z", "2026-03-02T08:45:00Z"
LOAD_CURVE = (("0.06", "-50"), ("0.07", "0"))
ROOF_CURVE = (("0.05", "0"), ("0.06", "2"), ("0.07", "5"))


@dataclass
class MarketNetwork:
    """Four nodes and their clock."""

    nodes: dict[str, Node]
    clock: FixedClock
    wire: Wire
    meter_keys: dict[str, Signer]
    files: Mapping[str, Path] = field(default_factory=dict)
    """node.yaml by subscriber id."""

    async def deliver(self, hops: int = 80) -> None:
        """Let messages travel until none is left, a second per hop."""
        for _ in range(hops):
            before = len(self.wire.log)
            for node in self.nodes.values():
                await node.outbound.drain_due()
            if len(self.wire.log) == before:
                return
            self.clock.advance(1)
        raise AssertionError("messages never stop")

    async def tick(self) -> None:
        """Let timers run and deliver what they cause."""
        for _ in range(3):
            for node in self.nodes.values():
                await node.timers.tick()
            await self.deliver()

    async def call(self, actor: str, contract: str, function: str, **args: object) -> Any:
        """Call the contract layer at the grid operator."""
        grid = self.nodes[GRID]
        assert grid.contracts is not None
        behalf = args.pop("on_behalf_of", None)
        command = parse_command(f"test-{grid.parts.ids.new()}", contract, function, args)
        on_behalf_of = None if behalf is None else str(behalf)
        answer = await grid.contracts.call(command, actor=actor, on_behalf_of=on_behalf_of)
        return answer["result"]

    async def balance(self, owner: str, asset: str) -> str:
        """Return what an owner holds of an asset."""
        contracts = self.nodes[GRID].contracts
        assert contracts is not None
        args = {"user": owner, "asset": asset}
        answer = await contracts.read("token", "balance_of", args, actor="rec")
        return str(answer["result"]["posted"])

    async def submit(self, meter: str, start: str, end: str, generated: str, used: str) -> None:
        """Submit a reading, signed by its meter."""
        data: dict[str, Any] = {
            "meter_id": meter,
            "start": parse_instant(start),
            "end": parse_instant(end),
            "generated": generated,
            "consumed": used,
        }
        signature = self.meter_keys[meter].sign_bytes(reading_bytes(data))
        reading = {**data, "signature": base64.b64encode(signature).decode()}
        await self.call("headend", "oracle", "submit_reading", meter_data=reading)

    async def close(self) -> None:
        for node in self.nodes.values():
            await node.stop()


async def open_market_network(folder: Path, *, public: bool = False) -> MarketNetwork:
    """Return a network whose ledger knows both prosumers and the market.

    Args:
        folder: for databases and settings.
        public: the nodes have https names instead of loopback addresses.
    """
    clock, wire = FixedClock(), Wire()
    urls = {name: f"https://{name}" if public else f"http://{host}" for name, host in HOSTS.items()}
    signers = {name: Signer(name, "k1", bytes([60 + i] * 32)) for i, name in enumerate(ROLES)}
    records = [_record(name, signer, urls[name]) for name, signer in signers.items()]
    (folder / "network.yaml").write_text(yaml.safe_dump({"participants": records}))
    (folder / "genesis.yaml").write_text(yaml.safe_dump(_GENESIS))
    files, nodes = {}, {}
    for i, name in enumerate(ROLES):
        files[name] = _write_node(folder, name, urls[name], bytes([60 + i] * 32))
        ports = Ports(clock=clock, ids=CountingIds(21 + i), sender=wire)
        nodes[name] = build_node(load_settings(files[name]), ports)
        wire.nodes[urlsplit(urls[name]).netloc] = nodes[name]
    meters = (LOAD_METER, ROOF_METER)
    keys = {meter: Signer(meter, "m", bytes([80 + i] * 32)) for i, meter in enumerate(meters)}
    network = MarketNetwork(nodes, clock, wire, keys, files)
    grid = nodes[GRID]
    assert grid.contracts is not None
    await grid.contracts.open(grid.genesis)
    await _set_up(network)
    return network


def market_offer(**changes: Any) -> Offer:
    """Return the market of 09:00 to 10:00, which closes at 08:45."""
    place = MarketPlace(parse_instant(GATE), to_micro("0.01"))
    base: dict[str, Any] = {
        "offer_id": OFFER_ID,
        "source_meter_id": "",
        "source_type": "",
        "currency": "EUR",
        "price_micro_per_kwh": 0,
        "available_micro_kwh": 0,
        "published_micro_kwh": 0,
        "production_start_ms": parse_instant(START),
        "production_end_ms": parse_instant(END),
        "created_ms": parse_instant("2026-03-02T07:30:00Z"),
        "market": place,
    }
    return Offer(**(base | changes))


def curve_plan(
    meter: str = LOAD_METER, points: tuple[tuple[str, str], ...] = LOAD_CURVE, **changes: Any
) -> dict[str, Any]:
    """Return the plan of a prosumer; the load's unless told otherwise."""
    curve = {
        "currency": "EUR",
        "minExport": exact(to_micro(points[0][1])),
        "maxExport": exact(to_micro(points[-1][1])),
        "curve": [
            {"price": exact(to_micro(price)), "powerKW": exact(to_micro(power))}
            for price, power in points
        ],
    }
    base = {
        "bpp_id": MARKET,
        "source_meter_id": meter,
        "source_type": "CONSUMER" if meter == LOAD_METER else "SOLAR",
        "offer_curve": curve,
        "start": START,
        "end": END,
    }
    return base | changes


async def _set_up(network: MarketNetwork) -> None:
    traders = (("cold-store", LOAD, LOAD_METER), ("roof", ROOF, ROOF_METER), (MARKET, MARKET, None))
    for user, subscriber, meter in traders:
        await network.call(
            "rec", "registry", "register_user", user=user, user_type="PROSUMER", location="Lane 4"
        )
        await network.call(
            "rec", "registry", "set_representative", user=user, subscriber=subscriber
        )
        if meter is None:
            await network.call("admin", "trading", "add_market_maker", market_maker=user)
            continue
        key = base64.b64encode(network.meter_keys[meter].public_key).decode()
        await network.call(
            "rec",
            "registry",
            "assign_meter",
            meter_id=meter,
            owner=user,
            capacity_kw="15",
            public_key=key,
        )
        for side in ("BUY", "SELL"):
            await network.call(
                GRID, "registry", "set_trade_cap", meter_id=meter, side=side, cap="60"
            )
    for number, user in enumerate(("cold-store", MARKET), 1):
        await network.call(
            "treasury", "token", "deposit", to=user, amount="5.00", external_reference=f"b-{number}"
        )
    for subscriber, user, asset in ((LOAD, "cold-store", "EUR"), (ROOF, "roof", "GRID")):
        await network.call(
            subscriber,
            "token",
            "approve",
            on_behalf_of=user,
            spender="network",
            value="60",
            asset=asset,
        )


def _record(name: str, signer: Signer, url: str) -> dict[str, Any]:
    side = "bap" if ROLES[name] == "bap" else "bpp"
    return {
        "subscriber_id": name,
        "key_id": "k1",
        "type": side.upper(),
        "url": f"{url}/{side}/receiver",
        "domain": "energy-trade",
        "signing_public_key": base64.b64encode(signer.public_key).decode(),
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2036-01-01T00:00:00Z",
        "status": "SUBSCRIBED",
    }


def _write_node(folder: Path, name: str, url: str, seed: bytes) -> Path:
    document: dict[str, Any] = {
        "node": {
            "subscriber_id": name,
            "key_id": "k1",
            "seed_file": f"{name}.seed",
            "roles": [ROLES[name]],
            "base_url": url,
        },
        "database": {"url": f"sqlite:///{name}.db"},
        "registry": {"kind": "static", "file": "network.yaml"},
    }
    if name == MARKET:
        document["cascade"] = {"grid_operator": GRID}
    if name == GRID:
        document["contracts"] = {"host": "here", "genesis": "genesis.yaml"}
    kept = folder / f"{name}.seed"
    kept.write_text(base64.b64encode(seed).decode())
    kept.chmod(0o600)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


_GENESIS: dict[str, Any] = {
    "admin": "admin",
    "regulators": ["rec"],
    "roles": {
        "TREASURER": ["treasury"],
        "ORACLE_OPERATOR": ["headend"],
        "GRID_OPERATOR": [GRID],
    },
    "settings": {
        "currency": "EUR",
        "price_tick": "0.001",
        "wheeling_rate": "0.002",
        "dispute_window_s": 0,
    },
}
