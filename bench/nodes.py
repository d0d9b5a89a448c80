"""Three nodes of a network as processes of their own, made for many trades.

Buyer's platform, seller's platform and grid operator with the contract layer, on loopback, each
with its own SQLite file as it is shipped. The registry is the file `network.yaml`. The ledger
knows `homes` buyers and as many sellers, each with one meter, plenty of cash and of caps, and
every seller has one offer.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import yaml

from adapter.demo.folder import (
    BAP,
    BPP,
    BUYER_METER,
    CURRENCY,
    GRID_OPERATOR,
    HEADEND,
    NODES,
    REGULATOR,
    TREASURER,
    DemoFolder,
    DemoNode,
    write_folder,
)
from adapter.demo.processes import Processes, free_ports
from adapter.domain.instants import EPOCH_MS, format_instant
from adapter.settlement import reading_bytes
from adapter.transport.clock import SystemClock
from adapter.transport.node_client import NodeClient

ROOT = Path(__file__).parents[1]
TRADING = ("bap", "bpp", "grid_operator")
OURS = ("-m", "adapter")
OFFERS = "roof"
"""Name of the offers, before the number of the home."""
PLENTY = "900000"
"""kWh of caps and of each offer, and currency of each buyer."""
PRICE, WHEELING = "0.15", "0.025"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Window:
    """When energy is delivered."""

    start_ms: int
    end_ms: int

    @property
    def intervals(self) -> range:
        """Return the starts of its 15-minute intervals."""
        return range(self.start_ms, self.end_ms, EPOCH_MS)


class Nodes(Processes):
    """Running nodes of one program, looked at from outside."""

    def __init__(self, program: Sequence[str], environment: Mapping[str, str]) -> None:
        """Take the arguments of Python before `serve`, and what the environment has besides."""
        super().__init__()
        self._program = tuple(program)
        self._environment = environment

    def start(self, node: DemoNode) -> None:
        """Start a node; its log goes to its own file."""
        own = {name: text for name, text in os.environ.items() if not name.startswith("P2PTRADE_")}
        with node.log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, *self._program, "serve", "--config", str(node.config)),
                    "--until-stdin-closes",
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**own, **self._environment},
                start_new_session=True,
            )
        self._running.append((node, process))

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time of each node so far, in seconds, by short name."""
        found = {}
        for node, process in self._running:
            stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            found[node.name] = (int(stat[11]) + int(stat[12])) / _TICKS_PER_S
        return found

    def memory_mb(self) -> dict[str, float]:
        """Return the resident memory of each node, in MB, by short name."""
        found = {}
        for node, process in self._running:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            found[node.name] = pages * _PAGE / 1e6
        return found


@dataclass(frozen=True, slots=True)
class Network:
    """A running network, ready to trade."""

    folder: DemoFolder
    nodes: Nodes
    homes: int
    clock: SystemClock

    def client(self, name: str, actor: str | None = None) -> NodeClient:
        """Return a caller of a node, for its application or for an actor of the contract layer."""
        node = self.folder.nodes[name]
        token = node.application_token if actor is None else node.operator_tokens[actor]
        return NodeClient(node.base_url, token=token)

    def next_window(self) -> Window:
        """Return one hour from the second quarter hour ahead."""
        start_ms = (self.clock.now_ms() // EPOCH_MS + 2) * EPOCH_MS
        return Window(start_ms, start_ms + 4 * EPOCH_MS)

    def publish(self, window: Window, name: str = OFFERS) -> None:
        """Publish the energy of every seller in a window."""
        with self.client("bpp") as seller:
            for home in range(self.homes):
                body = {
                    "offer_id": f"{name}-{home}",
                    "source_meter_id": f"meter-roof-{home}",
                    "source_type": "SOLAR",
                    "available_kwh": PLENTY,
                    "price_per_kwh": PRICE,
                    "currency": CURRENCY,
                    "production_start": format_instant(window.start_ms),
                    "production_end": format_instant(window.end_ms),
                }
                seller.post("/offers", body)

    def withdraw(self, name: str = OFFERS) -> None:
        """Take the offers of that name off the list."""
        bpp = self.folder.nodes["bpp"]
        headers = {"authorization": f"Bearer {bpp.application_token}"}
        with httpx.Client(headers=headers, trust_env=False) as client:
            for home in range(self.homes):
                client.delete(f"{bpp.base_url}/offers/{name}-{home}").raise_for_status()

    def clock_behind(self, instant_ms: int) -> None:
        """Move the clock of all nodes to an instant; only with `moved_clock`."""
        ahead_ms = instant_ms - SystemClock().now_ms()
        fresh = self.folder.clock_file.with_suffix(".new")
        fresh.write_text(f"{-(-ahead_ms // 1_000)}\n")
        fresh.replace(self.folder.clock_file)

    def purchase(self, window: Window, number: int, name: str = OFFERS) -> dict[str, Any]:
        """Return the body of `POST /trades` for the trade of that number: 1 kWh for one home."""
        home = number % self.homes
        return {
            "bpp_id": BPP,
            "target_meter_id": f"meter-home-{home}",
            "offer_id": f"{name}-{home}",
            "quantity_kwh": "1",
            "start": format_instant(window.start_ms),
            "end": format_instant(window.end_ms),
        }


@contextmanager
def running(
    path: Path,
    *,
    homes: int,
    program: Sequence[str] = OURS,
    environment: Mapping[str, str] = MappingProxyType({}),
    moved_clock: bool = False,
    names: Sequence[str] = TRADING,
) -> Iterator[Network]:
    """Give running nodes whose ledger is set up; they end afterwards.

    Args:
        path: an empty folder.
        homes: buyers, and as many sellers.
        program: what Python runs.
        environment: of the nodes, besides our own.
        moved_clock: whether the nodes read `clock.txt`, at a cost, so that time can be moved.
        names: of the nodes, all three or the grid operator's alone.
    """
    folder = write_folder(path, dict(zip(NODES, free_ports(len(NODES)), strict=True)))
    for name in names:
        _settle_config(folder.nodes[name].config, moved_clock=moved_clock)
    with Nodes(program, environment) as nodes:
        for name in names:
            nodes.start(folder.nodes[name])
        nodes.wait_until_ready()
        clock = SystemClock(folder.clock_file if moved_clock else None)
        network = Network(folder, nodes, homes, clock)
        _set_up(network)
        yield network


def _settle_config(file: Path, *, moved_clock: bool) -> None:
    """Let a node read the registry from the file instead of asking a fourth process."""
    document = yaml.safe_load(file.read_text())
    document["registry"] = {"kind": "static", "file": "network.yaml"}
    if not moved_clock:
        del document["node"]["clock_file"]
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def _set_up(network: Network) -> None:
    """Register users, meters, caps, cash and consent at the grid operator's node."""
    grid = network.folder.nodes["grid_operator"]
    meter = network.folder.meter_signers[BUYER_METER]
    key = base64.b64encode(meter.public_key).decode()
    with (
        network.client("grid_operator", REGULATOR) as regulator,
        network.client("grid_operator", GRID_OPERATOR) as operator,
        network.client("grid_operator", TREASURER) as treasurer,
        NodeClient(grid.base_url, signer=network.folder.signers["bap"], clock=network.clock) as bap,
    ):
        for home in range(network.homes):
            for user, subscriber, name, side in (
                (f"buyer-{home}", BAP, f"meter-home-{home}", "BUY"),
                (f"seller-{home}", BPP, f"meter-roof-{home}", "SELL"),
            ):
                person = {"user": user, "user_type": "PROSUMER", "location": "Lane 4"}
                _call(regulator, "registry.register_user", person, user)
                acting = {"user": user, "subscriber": subscriber}
                _call(regulator, "registry.set_representative", acting, user)
                owned = {"meter_id": name, "owner": user, "capacity_kw": PLENTY, "public_key": key}
                _call(regulator, "registry.assign_meter", owned, user)
                cap = {"meter_id": name, "side": side, "cap": PLENTY}
                _call(operator, "registry.set_trade_cap", cap, user)
            buyer = f"buyer-{home}"
            cash = {"to": buyer, "amount": PLENTY, "external_reference": f"bank-{home}"}
            _call(treasurer, "token.deposit", cash, buyer)
            consent = {"spender": "network", "value": PLENTY, "asset": CURRENCY}
            bap.call("token", "approve", consent, command_id=f"consent-{home}", on_behalf_of=buyer)


def _call(client: NodeClient, function: str, args: Mapping[str, Any], user: str) -> None:
    contract, name = function.split(".")
    client.call(contract, name, args, command_id=f"{function}-{user}")


def submit_readings(network: Network, window: Window, kwh: Sequence[int]) -> None:
    """Submit what the meters of every home measured, `kwh[home]` over the window, evenly."""
    signer = network.folder.meter_signers[BUYER_METER]
    with network.client("grid_operator", HEADEND) as headend:
        for start_ms in window.intervals:
            for home, whole in enumerate(kwh):
                part = _quarter(whole)
                for meter, generated, consumed in (
                    (f"meter-roof-{home}", part, "0"),
                    (f"meter-home-{home}", "0", part),
                ):
                    data: dict[str, Any] = {
                        "meter_id": meter,
                        "start": start_ms,
                        "end": start_ms + EPOCH_MS,
                        "generated": generated,
                        "consumed": consumed,
                    }
                    signature = base64.b64encode(signer.sign_bytes(reading_bytes(data))).decode()
                    reading = {"meter_data": {**data, "signature": signature}}
                    _call(headend, "oracle.submit_reading", reading, f"{meter}-{start_ms}")


def _quarter(kwh: int) -> str:
    whole, rest = divmod(kwh * 100, 4)
    assert rest == 0
    return f"{whole // 100}.{whole % 100:02d}"
