"""Running nodes as their applications, operators and meters see them: everything over HTTP."""

import base64
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from adapter.demo.folder import HEADEND, REGULATOR, DemoFolder
from adapter.demo.processes import failure
from adapter.domain.instants import EPOCH_MS, SECOND_MS, format_instant
from adapter.settlement import reading_bytes
from adapter.transport.clock import SystemClock
from adapter.transport.node_client import NodeAwayError, NodeClient, NodeError

POLL_S = 0.05
AFTER_MS = 2 * SECOND_MS
"""How far behind an instant the clock is set."""

Tell = Callable[[str, str], None]
"""Called with (who, what) for each step done."""


@dataclass(frozen=True, slots=True)
class Window:
    """When the energy is delivered."""

    start_ms: int
    end_ms: int

    @property
    def start(self) -> str:
        """Return the start as RFC 3339."""
        return format_instant(self.start_ms)

    @property
    def end(self) -> str:
        """Return the end as RFC 3339."""
        return format_instant(self.end_ms)

    @property
    def intervals(self) -> range:
        """Return the starts of its 15-minute intervals."""
        return range(self.start_ms, self.end_ms, EPOCH_MS)


class Session:
    """Clients of all nodes of one network, and the small steps every script is made of."""

    def __init__(self, folder: DemoFolder, tell: Tell) -> None:
        """Take the network and whom to tell about each step."""
        self.folder = folder
        self.tell = tell
        self.clock = SystemClock(folder.clock_file)
        self._open = ExitStack()
        grid = folder.nodes["grid_operator"]
        self._actors = {
            actor: self._client("grid_operator", token=token)
            for actor, token in grid.operator_tokens.items()
        }
        self._apps = {
            name: self._client(name, token=node.application_token)
            for name, node in folder.nodes.items()
        }
        self._signed = {
            name: self._open.enter_context(
                NodeClient(grid.base_url, signer=signer, clock=self.clock)
            )
            for name, signer in folder.signers.items()
        }
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # The contract layer

    def call(self, actor: str, function: str, args: Mapping[str, Any], told: str) -> None:
        """Let an actor of the contract layer call a function, with its token."""
        self._calls += 1
        contract, name = function.split(".")
        command_id = f"demo-{self._calls}"
        client = self._actors[actor]
        self.answer(lambda: client.call(contract, name, args, command_id=command_id))
        if told:
            self.tell(actor, told)

    def approve(self, node: str, user: str, asset: str, value: str) -> None:
        """Let the network use what a user has; its platform signs with its own key."""
        args = {"spender": "network", "value": value, "asset": asset}
        command_id = f"demo-approve-{user}-{asset}"
        client = self._signed[node]
        self.answer(
            lambda: client.call("token", "approve", args, command_id=command_id, on_behalf_of=user)
        )
        who = self.folder.nodes[node].subscriber_id
        self.tell(who, f"allows the network {value} {asset} of {user} (signed with its own key)")

    def register(self, user: str, representative: str) -> None:
        """Register a user whom a subscriber of the network acts for."""
        args = {"user": user, "user_type": "PROSUMER", "location": "Lane 4"}
        self.call(REGULATOR, "registry.register_user", args, f"registers {user}")
        args = {"user": user, "subscriber": representative}
        told = f"lets {representative} act for {user}"
        self.call(REGULATOR, "registry.set_representative", args, told)

    def assign(self, user: str, meter: str) -> None:
        """Give a user a meter of 15 kW."""
        key = base64.b64encode(self.folder.meter_signers[meter].public_key).decode()
        args = {"meter_id": meter, "owner": user, "capacity_kw": "15", "public_key": key}
        told = f"assigns {meter} of 15 kW, with a key of its own"
        self.call(REGULATOR, "registry.assign_meter", args, told)

    def submit(
        self, window: Window, generated: Mapping[str, str], consumed: Mapping[str, str]
    ) -> None:
        """Submit what each meter measured in each quarter hour, signed by the meter."""
        for start_ms in window.intervals:
            for meter in self.folder.meter_signers:
                reading = self._reading(
                    meter, start_ms, generated.get(meter, "0"), consumed.get(meter, "0")
                )
                self.call(HEADEND, "oracle.submit_reading", {"meter_data": reading}, "")

    def _reading(self, meter: str, start_ms: int, generated: str, consumed: str) -> dict[str, Any]:
        data: dict[str, Any] = {
            "meter_id": meter,
            "start": start_ms,
            "end": start_ms + EPOCH_MS,
            "generated": generated,
            "consumed": consumed,
        }
        signature = self.folder.meter_signers[meter].sign_bytes(reading_bytes(data))
        return {**data, "signature": base64.b64encode(signature).decode()}

    def balance(self, owner: str, asset: str) -> str:
        """Return what an owner has of an asset."""
        args = {"user": owner, "asset": asset}
        regulator = self._actors[REGULATOR]
        answer = self.answer(lambda: regulator.read("token", "balance_of", args))
        return str(answer["result"]["posted"])

    # The applications

    def post(self, name: str, path: str, body: Any, query: Mapping[str, str] | None = None) -> Any:
        """Post to a node as its application."""
        return self.answer(lambda: self._apps[name].post(path, body, query))

    def get(self, name: str, path: str) -> Any:
        """Read from a node as its application."""
        return self.answer(lambda: self._apps[name].get(path))

    def trade(self, name: str, transaction_id: str) -> dict[str, Any]:
        """Return a trade as a node knows it."""
        found: dict[str, Any] = self.get(name, f"/trades/{transaction_id}")
        return found

    def messages(self, name: str, transaction_id: str) -> list[dict[str, Any]]:
        """Return the messages of a trade as a node logged them."""
        listed: list[dict[str, Any]] = self.get(name, f"/trades/{transaction_id}/messages")[
            "messages"
        ]
        return listed

    def wait_for(
        self, name: str, transaction_id: str, key: str, wanted: Iterable[str], seconds: int
    ) -> dict[str, Any]:
        """Return a trade once its `key` has a wanted value.

        Raises:
            DemoError: it has not in time.
        """
        good = tuple(wanted)
        end = time.monotonic() + seconds
        while (trade := self.trade(name, transaction_id))[key] not in good:
            if time.monotonic() > end:
                why = f"at {name} the trade is {trade['state']} after {seconds} s, not {good[0]}"
                told = f"{why}: {trade.get('error')}"
                raise failure(told, *self.trading_nodes())
            time.sleep(POLL_S)
        return trade

    # Time

    def next_quarters(self, ahead: int) -> int:
        """Return the start of the quarter hour so many ahead, in ms."""
        return (self.clock.now_ms() // EPOCH_MS + ahead) * EPOCH_MS

    def pass_instant(self, instant_ms: int) -> None:
        """Move the clock of all nodes behind an instant."""
        ahead_ms = instant_ms + AFTER_MS - SystemClock().now_ms()
        fresh = self.folder.clock_file.with_suffix(".new")
        fresh.write_text(f"{ahead_ms // SECOND_MS}\n")
        fresh.replace(self.folder.clock_file)
        self.tell("clock", f"all nodes: {format_instant(self.clock.now_ms() // 1000 * 1000)}")

    # Small steps

    def answer(self, ask: Callable[[], Any]) -> Any:
        """Return what a node answers.

        Raises:
            DemoError: it refuses or is away.
        """
        try:
            return ask()
        except NodeError as error:
            why = f"{error.code}: {error.message}"
            raise failure(why, *self.trading_nodes()) from None
        except NodeAwayError as error:
            raise failure(str(error), *self.trading_nodes()) from None

    def trading_nodes(self) -> list[Any]:
        """Return the nodes whose logs tell what went wrong."""
        return [node for name, node in self.folder.nodes.items() if name != "registry"]

    def _client(self, name: str, token: str) -> NodeClient:
        node = self.folder.nodes[name]
        return self._open.enter_context(NodeClient(node.base_url, token=token))
