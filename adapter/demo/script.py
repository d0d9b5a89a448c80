"""The script of the demo: set-up, one trade, delivery, settlement. Source: interfaces, 2.3.

Everything goes over HTTP, as any application, operator or meter would do it.
"""

import base64
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from adapter.demo.folder import (
    BAP,
    BPP,
    BUYER_METER,
    CURRENCY,
    GRID_OPERATOR,
    HEADEND,
    REGULATOR,
    SELLER_METER,
    TREASURER,
    DemoFolder,
)
from adapter.demo.processes import DemoError, failure
from adapter.domain.instants import EPOCH_MS, SECOND_MS, format_instant
from adapter.settlement import reading_bytes
from adapter.transport.clock import SystemClock
from adapter.transport.node_client import NodeAwayError, NodeClient, NodeError

BUYER, SELLER = "buyer-1", "seller-1"
PARTIES = {"BUYER": BUYER, "SELLER": SELLER, "GRID_OPERATOR": GRID_OPERATOR}
ASSETS = ("GRID", CURRENCY)
QUANTITY_KWH, PRICE = "10", "0.15"
DEAR, CHEAP, VAT_PERCENT = "0.30", "0.12", 10
"""The tariff of `--mode tariff`: per kWh in the first half of the window, and in the second."""
HALF_DAY_MS = 43_200_000
READING_KWH = "2.5"
CONFIRM_S, COMPLETE_S = 60, 60
POLL_S = 0.05
AFTER_WINDOW_MS = 2 * SECOND_MS
"""How far behind the end of the window the clock is set."""


class Mode(StrEnum):
    """How the price is found."""

    FIXED = "fixed"
    TARIFF = "tariff"


Tell = Callable[[str, str], None]
"""Called with (who, what) for each step done."""


@dataclass(frozen=True, slots=True)
class Window:
    """When the energy is delivered."""

    start_ms: int
    end_ms: int

    @property
    def intervals(self) -> range:
        """Return the starts of its 15-minute intervals."""
        return range(self.start_ms, self.end_ms, EPOCH_MS)


class Script:
    """One run against running nodes."""

    def __init__(self, folder: DemoFolder, tell: Tell, mode: Mode = Mode.FIXED) -> None:
        """Take the network, whom to tell about each step, and how the price is found."""
        self._mode = mode
        self._folder = folder
        self._tell = tell
        self._clock = SystemClock(folder.clock_file)
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
        self._bap_signed = self._open.enter_context(
            NodeClient(grid.base_url, signer=folder.bap_signer, clock=self._clock)
        )
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # Set-up, at the grid operator's node

    def set_up(self) -> None:
        """Register both users with their meters, give caps, and fund the buyer."""
        for user, representative, meter, side, cap in (
            (BUYER, BAP, BUYER_METER, "BUY", "50"),
            (SELLER, BPP, SELLER_METER, "SELL", "100"),
        ):
            self._register(user, representative, meter)
            self._call(
                GRID_OPERATOR,
                "registry.set_trade_cap",
                {"meter_id": meter, "side": side, "cap": cap},
                f"caps {meter} at {cap} kWh to {side.lower()}",
            )
        self._call(
            TREASURER,
            "token.deposit",
            {"to": BUYER, "amount": "20.00", "external_reference": "bank-1"},
            f"deposits 20.00 {CURRENCY} for {BUYER}",
        )
        self._answer(
            lambda: self._bap_signed.call(
                "token",
                "approve",
                {"spender": "network", "value": "20.00", "asset": CURRENCY},
                command_id="demo-approve",
                on_behalf_of=BUYER,
            )
        )
        self._tell(
            BAP,
            f"allows the network 20.00 {CURRENCY} of {BUYER} (signed with its own key)",
        )

    def _register(self, user: str, representative: str, meter: str) -> None:
        key = base64.b64encode(self._folder.meter_signers[meter].public_key).decode()
        self._call(
            REGULATOR,
            "registry.register_user",
            {"user": user, "user_type": "PROSUMER", "location": "Lane 4"},
            f"registers {user}",
        )
        self._call(
            REGULATOR,
            "registry.set_representative",
            {"user": user, "subscriber": representative},
            f"lets {representative} act for {user}",
        )
        self._call(
            REGULATOR,
            "registry.assign_meter",
            {"meter_id": meter, "owner": user, "capacity_kw": "15", "public_key": key},
            f"assigns {meter} of 15 kW, with a key of its own",
        )

    # The trade

    def window(self) -> Window:
        """Return one hour from the second quarter hour ahead."""
        start_ms = (self._clock.now_ms() // EPOCH_MS + 2) * EPOCH_MS
        return Window(start_ms, start_ms + 4 * EPOCH_MS)

    def offer(self, window: Window) -> None:
        """Publish the seller's energy."""
        body = {
            "offer_id": "roof-7",
            "source_meter_id": SELLER_METER,
            "source_type": "SOLAR",
            "available_kwh": "40",
            **_PRICES[self._mode](window),
            "production_start": format_instant(window.start_ms),
            "production_end": format_instant(window.end_ms),
        }
        self._answer(lambda: self._apps["bpp"].post("/offers", body))
        self._tell(BPP, f"offers 40 kWh of {SELLER_METER} at {PRICE_TOLD[self._mode]}")

    def purchase(self, window: Window) -> dict[str, str]:
        """Return the body of `POST /trades` for the trade of the script."""
        return {
            "bpp_id": BPP,
            "target_meter_id": BUYER_METER,
            "quantity_kwh": QUANTITY_KWH,
            "start": format_instant(window.start_ms),
            "end": format_instant(window.end_ms),
        }

    def buy(self, window: Window) -> str:
        """Run discover to confirm and return the transaction id.

        Raises:
            DemoError: it was not confirmed.
        """
        body, wait = self.purchase(window), {"wait": str(CONFIRM_S)}
        trade = self._answer(lambda: self._apps["bap"].post("/trades", body, wait))
        if trade["status"] != "ACTIVE":
            why = f"the trade is {trade['state']} after {CONFIRM_S} s: {trade.get('error')}"
            raise failure(why, *self._trading_nodes())
        return str(trade["transaction_id"])

    # Delivery

    def pass_window(self, window: Window) -> None:
        """Move the clock of all nodes behind the window."""
        ahead_ms = window.end_ms + AFTER_WINDOW_MS - SystemClock().now_ms()
        fresh = self._folder.clock_file.with_suffix(".new")
        fresh.write_text(f"{ahead_ms // SECOND_MS}\n")
        fresh.replace(self._folder.clock_file)
        self._tell("clock", f"all nodes: {format_instant(self._clock.now_ms() // 1000 * 1000)}")

    def submit_readings(self, window: Window) -> None:
        """Submit what both meters measured in each quarter hour, signed by the meters."""
        for start_ms in window.intervals:
            for meter, generated, consumed in (
                (SELLER_METER, READING_KWH, "0"),
                (BUYER_METER, "0", READING_KWH),
            ):
                reading = self._reading(meter, start_ms, generated, consumed)
                self._call(HEADEND, "oracle.submit_reading", {"meter_data": reading}, "")
        count = len(window.intervals)
        told = f"{count} readings of {READING_KWH} kWh per meter, each signed by its meter"
        self._tell(HEADEND, told)

    def _reading(self, meter: str, start_ms: int, generated: str, consumed: str) -> dict[str, Any]:
        data: dict[str, Any] = {
            "meter_id": meter,
            "start": start_ms,
            "end": start_ms + EPOCH_MS,
            "generated": generated,
            "consumed": consumed,
        }
        signature = self._folder.meter_signers[meter].sign_bytes(reading_bytes(data))
        return {**data, "signature": base64.b64encode(signature).decode()}

    def wait_until_completed(self, transaction_id: str) -> None:
        """Return once the buyer's app knows that the trade is settled.

        Raises:
            DemoError: it does not become COMPLETED in time.
        """
        end = time.monotonic() + COMPLETE_S
        while (status := self.trade("bap", transaction_id)["status"]) != "COMPLETED":
            if time.monotonic() > end:
                why = f"the trade is {status} {COMPLETE_S} s after its readings, not COMPLETED"
                raise failure(why, *self._trading_nodes())
            time.sleep(POLL_S)

    # Reading

    def trade(self, name: str, transaction_id: str) -> dict[str, Any]:
        """Return a trade as a node knows it."""
        found: dict[str, Any] = self._answer(
            lambda: self._apps[name].get(f"/trades/{transaction_id}")
        )
        return found

    def messages(self, name: str, transaction_id: str) -> list[dict[str, Any]]:
        """Return the messages of a trade as a node logged them."""
        path = f"/trades/{transaction_id}/messages"
        listed: list[dict[str, Any]] = self._answer(lambda: self._apps[name].get(path))["messages"]
        return listed

    def balances(self) -> dict[str, dict[str, str]]:
        """Return what every party holds of every asset."""
        return {
            party: {asset: self._balance(party, asset) for asset in ASSETS}
            for party in PARTIES.values()
        }

    def _balance(self, owner: str, asset: str) -> str:
        args = {"user": owner, "asset": asset}
        regulator = self._actors[REGULATOR]
        answer = self._answer(lambda: regulator.read("token", "balance_of", args))
        return str(answer["result"]["posted"])

    # Small steps

    def _client(self, name: str, token: str) -> NodeClient:
        node = self._folder.nodes[name]
        return self._open.enter_context(NodeClient(node.base_url, token=token))

    def _call(self, actor: str, function: str, args: Mapping[str, Any], told: str) -> None:
        self._calls += 1
        contract, name = function.split(".")
        command_id = f"demo-{self._calls}"
        client = self._actors[actor]
        self._answer(lambda: client.call(contract, name, args, command_id=command_id))
        if told:
            self._tell(actor, told)

    def _answer(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except NodeError as error:
            why = f"{error.code}: {error.message}"
            raise failure(why, *self._trading_nodes()) from None
        except NodeAwayError as error:
            raise failure(str(error), *self._trading_nodes()) from None

    def _trading_nodes(self) -> list[Any]:
        return [node for name, node in self._folder.nodes.items() if name != "registry"]


def _fixed_price(_window: Window) -> dict[str, Any]:
    return {"price_per_kwh": PRICE, "currency": CURRENCY}


def _tariff(window: Window) -> dict[str, Any]:
    """Return a tariff whose price changes in the middle of the window, whatever the time is."""
    change_ms = (window.start_ms + window.end_ms) // 2
    change, back = _clock(change_ms), _clock(change_ms + HALF_DAY_MS)
    spans = ((DEAR, back, change), (CHEAP, change, back))
    elements = [
        {
            "priceComponents": [{"type": "ENERGY", "price": Decimal(price), "vat": VAT_PERCENT}],
            "restrictions": {"startTime": start, "endTime": end},
        }
        for price, start, end in spans
    ]
    tariff = {"tariffId": "two-halves", "currency": CURRENCY, "elements": elements}
    return {"tariff": tariff, "time_zone": "UTC"}


def _clock(instant_ms: int) -> str:
    """Return the time of day in UTC."""
    return format_instant(instant_ms)[11:16]


_PRICES: Mapping[Mode, Callable[[Window], dict[str, Any]]] = {
    Mode.FIXED: _fixed_price,
    Mode.TARIFF: _tariff,
}
PRICE_TOLD: Mapping[Mode, str] = {
    Mode.FIXED: f"{PRICE} {CURRENCY} per kWh",
    Mode.TARIFF: f"{DEAR} {CURRENCY} per kWh, {CHEAP} from half an hour on, VAT {VAT_PERCENT} %",
}
"""What a person is told about the price."""

__all__ = ["ASSETS", "PARTIES", "DemoError", "Mode", "Script", "Window"]
