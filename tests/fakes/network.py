"""A buyer's app, a seller's platform and a grid operator in one event loop.

Real pipeline, real signatures, real SQLite files; only time, ids and the wire between the nodes
are ours. Messages move when `deliver` is called, so a test sees every step.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from adapter.bootstrap import Node, Ports, build_node
from adapter.domain.instants import parse_instant
from adapter.domain.offers import Offer
from adapter.domain.quantities import to_micro
from adapter.protocol.signature import Signer
from adapter.service.ports import Answer, SendError
from adapter.settings import load_settings
from adapter.settlement import parse_command
from tests.fakes.time import CountingIds, FixedClock

BAP, BPP, GRID = "bap.buyer.example", "bpp.seller.example", "grid.operator.example"
SELLER_METER, BUYER_METER = "meter-roof-7", "meter-home-3"
START, END = "2026-03-02T08:15:00Z", "2026-03-02T09:15:00Z"


@dataclass
class Wire:
    """Implements `service.ports.Sender` between the nodes of one network."""

    nodes: dict[str, Node] = field(default_factory=dict)
    """By host and port."""
    log: list[tuple[str, bytes]] = field(default_factory=list)
    """URL and body of everything that arrived, in order."""
    lost: Callable[[str, bytes], bool] = lambda url, body: False
    """Says which messages get lost."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        node = self.nodes[urlsplit(url).netloc]
        if self.lost(url, body):
            why = "lost on the way"
            raise SendError(why)
        self.log.append((url, body))
        _, receiver, _, action = urlsplit(url).path.split("/")
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        reply = await node.inbound.receive(receiver, action, raw, body)
        answered = {name.decode(): value.decode() for name, value in reply.headers}
        return Answer(reply.status, answered, reply.body)

    async def close(self) -> None:
        pass


@dataclass
class Network:
    """Three nodes and their clock."""

    bap: Node
    bpp: Node
    grid: Node
    clock: FixedClock
    wire: Wire
    meter_keys: dict[str, Signer]

    @property
    def nodes(self) -> tuple[Node, Node, Node]:
        return self.bap, self.bpp, self.grid

    async def deliver(self, hops: int = 50) -> None:
        """Let messages travel until none is left, a second per hop."""
        for _ in range(hops):
            before = len(self.wire.log)
            for node in self.nodes:
                await node.outbound.drain_due()
            if len(self.wire.log) == before:
                return
            self.clock.advance(1)
        raise AssertionError("messages never stop")

    async def tick(self) -> None:
        """Let timers run and deliver what they cause."""
        for _ in range(3):
            for node in self.nodes:
                await node.timers.tick()
            await self.deliver()

    async def call(self, actor: str, contract: str, function: str, **args: object) -> Any:
        """Call the contract layer at the grid operator."""
        on_behalf_of = args.pop("on_behalf_of", None)
        number = self.grid.parts.ids.new()
        command = parse_command(f"test-{number}", contract, function, args)
        assert self.grid.contracts is not None
        behalf = None if on_behalf_of is None else str(on_behalf_of)
        answer = await self.grid.contracts.call(command, actor=actor, on_behalf_of=behalf)
        return answer["result"]

    async def balance(self, owner: str, asset: str) -> str:
        """Return what an owner holds of an asset."""
        assert self.grid.contracts is not None
        args = {"user": owner, "asset": asset}
        answer = await self.grid.contracts.read("token", "balance_of", args, actor="rec")
        return str(answer["result"]["posted"])

    async def close(self) -> None:
        for node in self.nodes:
            await node.stop()


async def open_network(folder: Path, *, public: bool = False, **changes: Any) -> Network:
    """Return a network whose ledger knows both users, funded and with caps.

    `public`: the nodes have https names instead of loopback addresses.
    `changes`: `buyer_cap`, `seller_cap`, `cash`, `allowance` as decimal strings.
    """
    clock, wire = FixedClock(), Wire()
    signers = {
        name: Signer(name, "k1", bytes([i] * 32)) for i, name in enumerate((BAP, BPP, GRID), 1)
    }
    hosts = {BAP: "127.0.0.1:9101", BPP: "127.0.0.1:9102", GRID: "127.0.0.1:9103"}
    urls = {name: f"https://{name}" if public else f"http://{host}" for name, host in hosts.items()}
    _write_registry(folder, signers, urls)
    nodes = {}
    for i, (name, role) in enumerate(((BAP, "bap"), (BPP, "bpp"), (GRID, "grid_operator")), 1):
        file = _write_node(folder, name, role, urls[name])
        (folder / f"{role}.seed").write_text(base64.b64encode(bytes([i] * 32)).decode())
        (folder / f"{role}.seed").chmod(0o600)
        node = build_node(load_settings(file), Ports(clock=clock, ids=CountingIds(i), sender=wire))
        wire.nodes[urlsplit(urls[name]).netloc] = node
        nodes[name] = node
    keys = {
        meter: Signer(meter, "m", bytes([40 + i] * 32))
        for i, meter in enumerate((SELLER_METER, BUYER_METER))
    }
    network = Network(nodes[BAP], nodes[BPP], nodes[GRID], clock, wire, keys)
    assert network.grid.contracts is not None
    await network.grid.contracts.open(network.grid.genesis)
    await _set_up(network, changes)
    return network


async def _set_up(network: Network, changes: Mapping[str, Any]) -> None:
    for user, meter, subscriber in (("bob", BUYER_METER, BAP), ("sun", SELLER_METER, BPP)):
        await network.call(
            "rec", "registry", "register_user", user=user, user_type="PROSUMER", location="Lane 4"
        )
        await network.call(
            "rec", "registry", "set_representative", user=user, subscriber=subscriber
        )
        key = base64.b64encode(network.meter_keys[meter].public_key).decode()
        await network.call(
            "rec",
            "registry",
            "assign_meter",
            meter_id=meter,
            owner=user,
            kind="BOTH",
            capacity_kw="15",
            public_key=key,
        )
    await network.call(
        GRID,
        "registry",
        "set_trade_cap",
        meter_id=BUYER_METER,
        side="BUY",
        cap=changes.get("buyer_cap", "50"),
    )
    await network.call(
        GRID,
        "registry",
        "set_trade_cap",
        meter_id=SELLER_METER,
        side="SELL",
        cap=changes.get("seller_cap", "100"),
    )
    await network.call(
        "treasury",
        "token",
        "deposit",
        to="bob",
        amount=changes.get("cash", "20.00"),
        external_reference="bank-1",
    )
    await network.call(
        BAP,
        "token",
        "approve",
        on_behalf_of="bob",
        spender="network",
        value=changes.get("allowance", "20.00"),
        asset="USD",
    )


def offer(**changes: Any) -> Offer:
    """Return an offer of solar energy, 30 kWh at 0.15."""
    base: dict[str, Any] = {
        "offer_id": "offer-roof-7",
        "source_meter_id": SELLER_METER,
        "source_type": "SOLAR",
        "currency": "USD",
        "price_micro_per_kwh": to_micro("0.15"),
        "available_micro_kwh": to_micro("30"),
        "published_micro_kwh": to_micro("30"),
        "production_start_ms": parse_instant("2026-03-02T08:00:00Z"),
        "production_end_ms": parse_instant("2026-03-02T18:00:00Z"),
        "created_ms": parse_instant("2026-03-02T07:30:00Z"),
    }
    return Offer(**(base | changes))


def plan(**changes: Any) -> dict[str, Any]:
    """Return the body of `POST /trades` for 10 kWh."""
    base = {
        "bpp_id": BPP,
        "target_meter_id": BUYER_METER,
        "quantity_kwh": "10",
        "start": START,
        "end": END,
    }
    return base | changes


def _write_registry(folder: Path, signers: Mapping[str, Signer], urls: Mapping[str, str]) -> None:
    rows = [
        {
            "subscriber_id": name,
            "key_id": "k1",
            "type": "BAP" if name == BAP else "BPP",
            "url": f"{urls[name]}/{'bap' if name == BAP else 'bpp'}/receiver",
            "domain": "energy-trade",
            "signing_public_key": base64.b64encode(signer.public_key).decode(),
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2036-01-01T00:00:00Z",
            "status": "SUBSCRIBED",
        }
        for name, signer in signers.items()
    ]
    (folder / "network.yaml").write_text(yaml.safe_dump({"participants": rows}))


def _write_node(folder: Path, name: str, role: str, url: str) -> Path:
    document: dict[str, Any] = {
        "node": {
            "subscriber_id": name,
            "key_id": "k1",
            "seed_file": f"{role}.seed",
            "roles": [role],
            "base_url": url,
        },
        "database": {"url": f"sqlite:///{role}.db"},
        "registry": {"kind": "static", "file": "network.yaml"},
    }
    if role == "bpp":
        document["cascade"] = {"grid_operator": GRID}
    if role == "grid_operator":
        document["contracts"] = {"host": "here", "genesis": "genesis.yaml"}
        genesis = {
            "admin": "admin",
            "regulators": ["rec"],
            "roles": {
                "TREASURER": ["treasury"],
                "ORACLE_OPERATOR": ["headend", "system"],
                "MARKET_MAKER": ["system"],
                "GRID_OPERATOR": [GRID],
            },
            "settings": {
                "currency": "USD",
                "price_tick": "0.001",
                "wheeling_rate": "0.025",
                "dispute_window_s": 0,
            },
        }
        (folder / "genesis.yaml").write_text(yaml.safe_dump(genesis))
    file = folder / f"{role}.yaml"
    file.write_text(yaml.safe_dump(document))
    return file
