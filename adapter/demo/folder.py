"""The folder of a demo network: keys, tokens, registry file, genesis and one node.yaml each.

network.yaml genesis.yaml clock.txt   shared
bap.yaml bpp.yaml grid_operator.yaml registry.yaml
bap2.yaml market.yaml                 in a market, in place of bpp.yaml
keys/     seeds of nodes and meters, hashes of tokens
var/      databases        logs/   one file per node
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapter.protocol.signature import Signer
from adapter.transport.key_files import write_seed
from adapter.transport.token_files import Scope, add_token

BAP, BPP = "bap.buyer.example", "bpp.seller.example"
BAP2, MARKET = "bap.seller.example", "market.example"
GRID_OPERATOR, REGISTRY = "grid.operator.example", "registry.example"
REGULATOR, TREASURER, HEADEND = "rec.example", "treasury.example", "headend.example"
"""Actors of the contract layer, each with an operator's token at the grid operator's node."""
BUYER_METER, SELLER_METER = "meter-home-3", "meter-roof-7"
CURRENCY = "USD"
KEY_ID = "k1"

NODES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bap": (BAP, ("bap",)),
    "bpp": (BPP, ("bpp",)),
    "grid_operator": (GRID_OPERATOR, ("grid_operator",)),
    "registry": (REGISTRY, ()),
}
"""Subscriber id and roles by the short name of a node, in the order of their ports."""
MARKET_NODES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bap": NODES["bap"],
    "market": (MARKET, ("market",)),
    "grid_operator": NODES["grid_operator"],
    "registry": NODES["registry"],
    "bap2": (BAP2, ("bap",)),
}
"""The same with a market in place of the seller's platform, and an app of the seller's own."""
_CASCADES = frozenset({"bpp", "market"})
_ALL_NODES = {**NODES, **MARKET_NODES}

_GENESIS = {
    "admin": GRID_OPERATOR,
    "regulators": [REGULATOR],
    "roles": {
        "TREASURER": [TREASURER],
        "ORACLE_OPERATOR": [HEADEND],
        "GRID_OPERATOR": [GRID_OPERATOR],
        "AUDITOR": [REGULATOR],
    },
    "settings": {
        "currency": CURRENCY,
        "price_tick": "0.001",
        "wheeling_rate": "0.025",
        "dispute_window_s": 0,
    },
}


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One node of the network."""

    name: str
    """A key of NODES or MARKET_NODES."""
    subscriber_id: str
    base_url: str
    config: Path
    database: Path
    log: Path
    application_token: str
    operator_tokens: Mapping[str, str]
    """By actor."""


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """A network on disk."""

    path: Path
    nodes: Mapping[str, DemoNode]
    clock_file: Path
    signers: Mapping[str, Signer]
    """By node, with its own key, for what it signs at the contract layer."""
    meter_signers: Mapping[str, Signer]
    """By meter id."""

    @property
    def bap_signer(self) -> Signer:
        """Return the key of the buyer's app."""
        return self.signers["bap"]


def write_folder(path: Path, ports: Mapping[str, int]) -> DemoFolder:
    """Write everything that the nodes need and return where it is.

    Args:
        path: an existing, empty folder.
        ports: on 127.0.0.1, by the names of NODES or MARKET_NODES, whose nodes there will be.
    """
    for name in ("keys", "var", "logs"):
        (path / name).mkdir()
    signers = {name: _new_signer(path, name, _ALL_NODES[name][0]) for name in ports}
    meters = {meter: _new_signer(path, meter, meter) for meter in (BUYER_METER, SELLER_METER)}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    records = [_record(name, signers[name], urls[name]) for name in ports if name != "registry"]
    _dump(path / "network.yaml", {"participants": records})
    _dump(path / "genesis.yaml", _GENESIS)
    clock_file = path / "clock.txt"
    clock_file.write_text("0\n")
    nodes = {name: _node(path, name, urls) for name in ports}
    return DemoFolder(path, nodes, clock_file, signers, meters)


def _new_signer(path: Path, name: str, subscriber_id: str) -> Signer:
    return Signer(subscriber_id, KEY_ID, write_seed(path / "keys" / f"{name}.seed"))


def _record(name: str, signer: Signer, url: str) -> dict[str, Any]:
    side = "bap" if "bap" in _ALL_NODES[name][1] else "bpp"
    return {
        "subscriber_id": signer.subscriber_id,
        "key_id": signer.key_id,
        "type": side.upper(),
        "url": f"{url}/{side}/receiver",
        "domain": "energy-trade",
        "signing_public_key": base64.b64encode(signer.public_key).decode(),
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2036-01-01T00:00:00Z",
        "status": "SUBSCRIBED",
    }


def _node(path: Path, name: str, urls: Mapping[str, str]) -> DemoNode:
    subscriber_id, roles = _ALL_NODES[name]
    tokens_file = path / "keys" / f"{name}.tokens.yaml"
    application = add_token(tokens_file, Scope.APPLICATION)
    others = (REGULATOR, TREASURER, HEADEND) if name == "grid_operator" else ()
    actors = (subscriber_id, *others)
    operator = {actor: add_token(tokens_file, Scope.OPERATOR, actor) for actor in actors}
    config = path / f"{name}.yaml"
    _dump(config, _settings(name, subscriber_id, roles, urls))
    return DemoNode(
        name=name,
        subscriber_id=subscriber_id,
        base_url=urls[name],
        config=config,
        database=path / "var" / f"{name}.db",
        log=path / "logs" / f"{name}.log",
        application_token=application,
        operator_tokens=operator,
    )


def _settings(
    name: str, subscriber_id: str, roles: tuple[str, ...], urls: Mapping[str, str]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "node": {
            "subscriber_id": subscriber_id,
            "key_id": KEY_ID,
            "seed_file": f"keys/{name}.seed",
            "roles": list(roles),
            "base_url": urls[name],
            "clock_file": "clock.txt",
        },
        "database": {"url": f"sqlite:///var/{name}.db"},
        "registry": {"kind": "lookup", "url": urls["registry"]},
        "access": {"tokens_file": f"keys/{name}.tokens.yaml"},
    }
    if name == "registry":
        document["registry"] = {"kind": "static", "file": "network.yaml", "serve": True}
    if name in _CASCADES:
        document["cascade"] = {"grid_operator": GRID_OPERATOR}
    if name == "grid_operator":
        document["contracts"] = {"host": "here", "genesis": "genesis.yaml"}
    elif roles:
        document["contracts"] = {"host": urls["grid_operator"]}
    return document


def _dump(file: Path, document: Any) -> None:
    file.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False))
