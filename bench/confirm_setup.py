"""The cascaded `init` and `confirm` of the `confirm` benchmark, as a seller's platform sends them.

Each contract is about 1 kWh from one home's roof to another home's meter, tomorrow. A confirm
brings back the order that the operator answered its init with, caps and totals of that moment
included.
"""

import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapter.demo.folder import BPP, GRID_OPERATOR, KEY_ID
from adapter.domain.instants import format_instant
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.store.sqlite_connection import open_reader
from adapter.transport.key_files import read_seed
from bench.receive_setup import LIFETIME_S, Window, request
from tests.fakes.orders import init_order

HOMES = 16
"""Buyers, and as many sellers."""
_ANSWERS = """
SELECT outbox_body.body FROM outbox JOIN outbox_body ON outbox_body.id = outbox.id
WHERE outbox.action = 'on_init' ORDER BY outbox.id DESC LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go."""

    path: Path
    """Of the network's folder."""
    bpp_uri: str
    """Where the operator takes requests."""
    bap_uri: str
    """Where its callbacks go."""


class Platform:
    """The seller's platform towards one operator's node."""

    def __init__(self, target: Target, now_ms: int) -> None:
        """Read the key, and write one init for each home."""
        self._target = target
        seed = read_seed(target.path / "keys" / "bpp.seed")
        self._signer = Signer(BPP, KEY_ID, seed)
        self._orders = [_order(home, Window.after(now_ms), now_ms) for home in range(HOMES)]

    def inits(self, contracts: Iterable[int], now_ms: int) -> list[bytes]:
        """Return requests that propose the contracts of those numbers."""
        return [self._init(number, now_ms) for number in contracts]

    def confirms(self, contracts: range, now_ms: int, database: Path | None) -> list[bytes]:
        """Return requests that confirm proposals.

        Args:
            contracts: their numbers, those that were proposed last.
            now_ms: when they are signed.
            database: of the operator's node, whose answers are taken from its outbox; None where
                what is confirmed need not be what was answered.
        """
        if database is None:
            return [self._confirm(number, self._order(number), now_ms) for number in contracts]
        with closing(open_reader(database)) as connection:
            connection.control("BEGIN")
            rows = connection.execute(_ANSWERS, (len(contracts),)).fetchall()
        orders = [strict_json.decode_object(body)["message"]["order"] for (body,) in rows]
        by_id = {order["beckn:orderAttributes"]["contractId"]: order for order in orders}
        return [self._confirm(number, by_id[f"contract-{number}"], now_ms) for number in contracts]

    def _init(self, number: int, now_ms: int) -> bytes:
        return self._request("init", number, self._order(number), now_ms)

    def _confirm(self, number: int, order: Mapping[str, Any], now_ms: int) -> bytes:
        return self._request("confirm", number, order, now_ms)

    def _order(self, number: int) -> dict[str, Any]:
        order = self._orders[number % HOMES]
        contract = {**order["beckn:orderAttributes"], "contractId": f"contract-{number}"}
        return {**order, "beckn:id": f"order-{number}-grid", "beckn:orderAttributes": contract}

    def _request(self, action: str, number: int, order: Mapping[str, Any], now_ms: int) -> bytes:
        context = {
            "version": "2.0.0",
            "action": action,
            "domain": "energy-trade",
            "timestamp": format_instant(now_ms // 1_000 * 1_000),
            "ttl": "PT1H",
            "transaction_id": str(uuid.UUID(int=number)),
            "message_id": str(uuid.uuid4()),
            "bap_id": BPP,
            "bap_uri": self._target.bap_uri,
            "bpp_id": GRID_OPERATOR,
            "bpp_uri": self._target.bpp_uri,
        }
        body = strict_json.encode({"context": context, "message": {"order": order}})
        now_s = now_ms // 1_000
        header = self._signer.header(body, created_s=now_s, expires_s=now_s + LIFETIME_S)
        return request(f"/bpp/receiver/{action}", body, header)


def target_of(path: Path) -> Target:
    """Return the operator's addresses as the registry file of a network has them."""
    records = yaml.safe_load((path / "network.yaml").read_text())["participants"]
    urls = {one["subscriber_id"]: str(one["url"]) for one in records}
    return Target(path, urls[GRID_OPERATOR], urls[BPP].replace("/bpp/", "/bap/"))


def _order(home: int, window: Window, now_ms: int) -> dict[str, Any]:
    """Return the order of an init, as plain JSON values with exact numbers."""
    order: dict[str, Any] = strict_json.decode_object(
        strict_json.encode(init_order(1, by="bap.buyer.example"))
    )
    for part in ("beckn:items", "beckn:offers", "beckn:payments"):
        del order[part]
    order["beckn:provider"] = {"@type": "beckn:Provider", "beckn:id": GRID_OPERATOR}
    contract = order["beckn:orderAttributes"]
    contract["createdAt"] = format_instant(now_ms // 1_000 * 1_000)
    seller, buyer = contract["roles"]
    start, end = window.texts
    seller["roleInputs"] |= {"sourceMeterId": f"meter-roof-{home}"}
    buyer["roleInputs"] |= {
        "targetMeterId": f"meter-home-{home}",
        "tradeStartTime": start,
        "tradeEndTime": end,
    }
    grid = {"role": "GRID_OPERATOR", "filledBy": None, "filled": False, "roleInputs": {}}
    contract["roles"].append(grid)
    for stop in order["beckn:fulfillments"][0]["beckn:stops"]:
        stop["beckn:time"]["beckn:range"] = {"start": start, "end": end}
    return order
