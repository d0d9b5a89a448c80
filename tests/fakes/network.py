"""A buyer's app, a seller's platform and a grid operator in one event loop.

Real pipeline, real signatures, real SQLite files; only time, ids and the wire between the nodes
are ours. Messages move when `deliver` is called, so a test sees every step.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import yaml

from adapter.bootstrap import Node, Ports, build_node
from adapter.domain.instants import parse_instant
from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.quantities import to_micro, to_text
from adapter.domain.trade import Trade
from adapter.protocol.signature import Signer
from adapter.service.ports import Answer, SendError
from adapter.settings import load_settings
from adapter.settlement import parse_command
from tests.fakes.time import CountingIds, FixedClock

BAP, BPP, GRID = "bap.buyer.example", "bpp.seller.example", "grid.operator.example"
OTHER = "bap.other.example"
"""A second buyer's app: listed in the registry, played by hand."""
HOSTS = {name: f"127.0.0.1:{port}" for port, name in enumerate((BAP, BPP, GRID, OTHER), 9101)}
ROLES = {BAP: "bap", BPP: "bpp", GRID: "grid_operator"}
SELLER_METER, BUYER_METER = "meter-roof-7", "meter-home-3"
START, END = "2026-03-02T08:15:00Z", "2026-03-02T09:15:00Z"


class Actor(Protocol):
    """A participant that is played by hand, in place of a node or beside them."""

    def take(self, action: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer to a message."""
        ...


@dataclass
class Wire:
    """Implements `service.ports.Sender` between the nodes of one network."""

    nodes: dict[str, Node] = field(default_factory=dict)
    """By host and port."""
    actors: dict[str, Actor] = field(default_factory=dict)
    """By host and port, before the nodes."""
    log: list[tuple[str, bytes]] = field(default_factory=list)
    """URL and body of everything that arrived, in order."""
    lost: Callable[[str, bytes], bool] = lambda url, body: False
    """Says which messages get lost."""
    unanswered: Callable[[str, bytes], bool] = lambda url, body: False
    """Says of which messages, which arrive, the answer gets lost."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        host = urlsplit(url).netloc
        if self.lost(url, body):
            why = "lost on the way"
            raise SendError(why)
        self.log.append((url, body))
        _, receiver, _, action = urlsplit(url).path.split("/")
        if host in self.actors:
            return self.actors[host].take(action, headers, body)
        node = self.nodes[host]
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        reply = await node.inbound.receive(receiver, action, raw, body)
        if self.unanswered(url, body):
            why = "the answer was lost"
            raise SendError(why)
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
    files: Mapping[str, Path]
    """node.yaml by subscriber id."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        both = self.bap, self.bpp
        return both if self.grid is self.bpp else (*both, self.grid)

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

    async def run(self, seconds: int) -> None:
        """Let time pass; each second the timers run and messages travel."""
        for _ in range(seconds):
            self.clock.advance(1)
            for node in self.nodes:
                await node.timers.tick()
            for _ in range(9):
                for node in self.nodes:
                    await node.outbound.drain_due()

    async def trade(self, side: Side, number: int = 0) -> Trade:
        """Return a trade of the node that plays `side`, the newest first."""
        node = {Side.BAP: self.bap, Side.BPP: self.bpp}.get(side, self.grid)
        found = await node.parts.store.read(lambda uow: uow.trades(side, None, number + 1))
        return found[number]

    async def stock(self) -> str:
        """Return the kWh left in the first offer."""
        return to_text((await self.bpp.catalogue.offers())[0].available_micro_kwh)

    async def restart_bpp(self) -> None:
        """Stop the seller's platform and open it again on the same database."""
        old = self.bpp
        await old.stop()
        ports = Ports(clock=self.clock, ids=old.parts.ids, sender=self.wire)
        self.bpp = build_node(load_settings(self.files[BPP]), ports)
        self.wire.nodes[HOSTS[BPP]] = self.bpp

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


async def open_network(
    folder: Path,
    *,
    public: bool = False,
    one_node: bool = False,
    cascades: bool = True,
    rules: Mapping[str, Mapping[str, Any]] | None = None,
    databases: Mapping[str, str] | None = None,
    **changes: Any,
) -> Network:
    """Return a network whose ledger knows both users, funded and with caps.

    Args:
        folder: for databases and settings.
        public: the nodes have https names instead of loopback addresses.
        one_node: the seller's platform is its own grid operator.
        cascades: the seller's platform has a grid operator.
        rules: the `protocol` section by subscriber id.
        databases: URL by subscriber id, where it is not a SQLite file.
        changes: `buyer_cap`, `seller_cap`, `cash`, `allowance` as decimal strings; `currency` of
            the allowance; `ledger`, settings of the contract layer.
    """
    clock, wire = FixedClock(), Wire()
    signers = signers_of(HOSTS)
    urls = {name: f"https://{name}" if public else f"http://{host}" for name, host in HOSTS.items()}
    _write_registry(folder, signers, urls)
    operator = BPP if one_node else GRID
    files, nodes = {}, {}
    for i, name in enumerate((BAP, BPP) if one_node else (BAP, BPP, GRID), 1):
        document = _node_document(name, urls[name])
        document["protocol"] = dict((rules or {}).get(name, {}))
        if databases is not None:
            document["database"]["url"] = databases[name]
        if name == BPP and cascades:
            document["cascade"] = {"grid_operator": operator}
        if name == operator:
            document["contracts"] = {"host": "here", "genesis": "genesis.yaml"}
            if one_node:
                document["node"]["roles"] = ["bpp", "grid_operator"]
        files[name] = folder / f"{ROLES[name]}.yaml"
        files[name].write_text(yaml.safe_dump(document))
        seed = folder / f"{ROLES[name]}.seed"
        seed.write_text(base64.b64encode(bytes([i] * 32)).decode())
        seed.chmod(0o600)
    _write_genesis(folder, operator, changes.get("ledger", {}))
    for i, name in enumerate(files, 1):
        ports = Ports(clock=clock, ids=CountingIds(i), sender=wire)
        nodes[name] = build_node(load_settings(files[name]), ports)
        wire.nodes[urlsplit(urls[name]).netloc] = nodes[name]
    keys = {
        meter: Signer(meter, "m", bytes([40 + i] * 32))
        for i, meter in enumerate((SELLER_METER, BUYER_METER))
    }
    network = Network(nodes[BAP], nodes[BPP], nodes[operator], clock, wire, keys, files)
    assert network.grid.contracts is not None
    await network.grid.contracts.open(network.grid.genesis)
    await _set_up(network, operator, changes)
    return network


def signers_of(names: Iterable[str]) -> dict[str, Signer]:
    """Return the keys of participants, in the order in which the registry lists them."""
    return {name: Signer(name, "k1", bytes([i] * 32)) for i, name in enumerate(names, 1)}


async def _set_up(network: Network, operator: str, changes: Mapping[str, Any]) -> None:
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
        operator,
        "registry",
        "set_trade_cap",
        meter_id=BUYER_METER,
        side="BUY",
        cap=changes.get("buyer_cap", "50"),
    )
    await network.call(
        operator,
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
        asset=changes.get("currency", "USD"),
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
            "type": "BAP" if name.startswith("bap.") else "BPP",
            "url": f"{urls[name]}/{'bap' if name.startswith('bap.') else 'bpp'}/receiver",
            "domain": "energy-trade",
            "signing_public_key": base64.b64encode(signer.public_key).decode(),
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2036-01-01T00:00:00Z",
            "status": "SUBSCRIBED",
        }
        for name, signer in signers.items()
    ]
    (folder / "network.yaml").write_text(yaml.safe_dump({"participants": rows}))


def _node_document(name: str, url: str) -> dict[str, Any]:
    role = ROLES[name]
    return {
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


def _write_genesis(folder: Path, operator: str, settings: Mapping[str, Any]) -> None:
    genesis = {
        "admin": "admin",
        "regulators": ["rec"],
        "roles": {
            "TREASURER": ["treasury"],
            "ORACLE_OPERATOR": ["headend", "system"],
            "MARKET_MAKER": ["system"],
            "GRID_OPERATOR": [operator],
        },
        "settings": {
            "currency": "USD",
            "price_tick": "0.001",
            "wheeling_rate": "0.025",
            "dispute_window_s": 0,
            **settings,
        },
    }
    (folder / "genesis.yaml").write_text(yaml.safe_dump(genesis))
