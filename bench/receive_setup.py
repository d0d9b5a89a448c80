"""What the nodes of the `receive` benchmark are told, and the messages they get.

One buyer's platform sends `init` after `init`, each for 1 kWh of an offer of its own, in a
transaction of its own. The seller's platform has no grid operator, so it answers each with an
`on_init` that waits in its outbox.
"""

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapter.domain.instants import EPOCH_MS, format_instant
from adapter.domain.offers import Offer
from adapter.domain.quantities import to_micro
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from tests.fakes.orders import TEMPLATE, init_order

BAP, BPP = "bap.buyer.example", "bpp.seller.example"
ACTION = "init"
PATH = f"/bpp/receiver/{ACTION}"
SIZE = 3_700
"""Bytes of a message, about; upstream's confirm has 3.5 kB, its on_confirm 3.7."""
LIFETIME_S = 300
HOUR_MS = 3_600_000
SOURCES = 6
"""Telemetry sources in each contract, which bring it to SIZE."""


@dataclass(frozen=True, slots=True)
class Window:
    """When the energy of all messages flows: one hour, tomorrow."""

    start_ms: int

    @classmethod
    def after(cls, now_ms: int) -> "Window":
        """Return the hour a day ahead."""
        return cls((now_ms // EPOCH_MS + 96) * EPOCH_MS)

    @property
    def texts(self) -> tuple[str, str]:
        """Return start and end as a message says them."""
        return format_instant(self.start_ms), format_instant(self.start_ms + HOUR_MS)


def signer_of(subscriber_id: str) -> Signer:
    """Return the key of a participant."""
    return Signer(subscriber_id, "k1", hashlib.sha256(subscriber_id.encode()).digest())


def write_folder(folder: Path, *, port: int, database: str) -> Path:
    """Write what a node needs and return its `node.yaml`.

    Args:
        folder: a new one for each node.
        port: on 127.0.0.1.
        database: its URL.
    """
    records = [_record(name) for name in (BAP, BPP)]
    (folder / "network.yaml").write_text(yaml.safe_dump({"participants": records}))
    seed = folder / "bpp.seed"
    seed.write_text(base64.b64encode(hashlib.sha256(BPP.encode()).digest()).decode())
    seed.chmod(0o600)
    address = f"127.0.0.1:{port}"
    document = {
        "node": {
            "subscriber_id": BPP,
            "key_id": "k1",
            "seed_file": seed.name,
            "roles": ["bpp"],
            "base_url": f"http://{address}",
            "bind": address,
        },
        "database": {"url": database},
        "registry": {"kind": "static", "file": "network.yaml"},
    }
    file = folder / "node.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def _record(subscriber_id: str) -> dict[str, str]:
    side = subscriber_id.partition(".")[0]
    return {
        "subscriber_id": subscriber_id,
        "key_id": "k1",
        "type": side.upper(),
        "url": f"http://127.0.0.1:9/{side}/receiver",
        "domain": "energy-trade",
        "signing_public_key": base64.b64encode(signer_of(subscriber_id).public_key).decode(),
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2036-01-01T00:00:00Z",
        "status": "SUBSCRIBED",
    }


def offer_for(number: int, window: Window, now_ms: int) -> Offer:
    """Return the offer that a message is about."""
    return Offer(
        offer_id=f"offer-{number:07d}",
        source_meter_id="meter-roof-7",
        source_type="SOLAR",
        currency="USD",
        price_micro_per_kwh=to_micro("0.15"),
        available_micro_kwh=to_micro("10"),
        published_micro_kwh=to_micro("10"),
        production_start_ms=window.start_ms,
        production_end_ms=window.start_ms + HOUR_MS,
        created_ms=now_ms,
    )


_IDS = (b"00000000-0000-4000-8000-000000000001", b"00000000-0000-4000-8000-00000000000a")
"""Of transaction and message, in the message that the others are made from."""


class Messages:
    """Makes signed messages at little cost: each has ids of its own and the next offer."""

    def __init__(self, window: Window, now_ms: int) -> None:
        """Write one message, which the others are made from."""
        self._next = 0
        self._signer = signer_of(BAP)
        self._template = strict_json.encode(_body(window, now_ms))
        assert abs(len(self._template) - SIZE) < SIZE // 33, len(self._template)

    @property
    def size(self) -> int:
        """Return the bytes of each message."""
        return len(self._template)

    def continue_from(self, number: int) -> None:
        """Let the next message be about that offer."""
        self._next = number

    def new(self) -> bytes:
        """Return the body of a new message."""
        body = self._template.replace(b"offer-roof-7", b"offer-%07d" % self._next)
        self._next += 1
        for place in _IDS:
            body = body.replace(place, str(uuid.uuid4()).encode())
        return body

    def broken(self) -> bytes:
        """Return a message that its schema refuses, of the same size."""
        return self.new().replace(b'"filled":true', b'"filled":"es"')

    def signature(self, body: bytes, now_ms: int) -> str:
        """Return the Authorization header over a body."""
        now_s = now_ms // 1_000
        return self._signer.header(body, created_s=now_s, expires_s=now_s + LIFETIME_S)


def request(path: str, body: bytes, authorization: str) -> bytes:
    """Return a whole HTTP request, as a lean client sends it."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nAuthorization: {authorization}\r\n\r\n"
    )
    return head.encode() + body


def _body(window: Window, now_ms: int) -> dict[str, Any]:
    order = json.loads(
        json.dumps(init_order(1, by=BAP, contract_id=TEMPLATE, wheeling=False), default=str)
    )
    start, end = window.texts
    contract = order["beckn:orderAttributes"]
    contract["roles"][0]["roleInputs"]["pricePerKWh"] = 0.15
    contract["roles"][1]["roleInputs"] |= {"tradeStartTime": start, "tradeEndTime": end}
    contract["createdAt"] = format_instant(now_ms // 1_000 * 1_000)
    contract["telemetrySources"] = [_source(number) for number in range(SOURCES)]
    for stop in order["beckn:fulfillments"][0]["beckn:stops"]:
        stop["beckn:time"]["beckn:range"] = {"start": start, "end": end}
    context = {
        "version": "2.0.0",
        "action": ACTION,
        "domain": "energy-trade",
        "timestamp": format_instant(now_ms // 1_000 * 1_000),
        "ttl": "PT1H",
        "transaction_id": _IDS[0].decode(),
        "message_id": _IDS[1].decode(),
        "bap_id": BAP,
        "bap_uri": _record(BAP)["url"],
        "bpp_id": BPP,
        "bpp_uri": _record(BPP)["url"],
    }
    return {"context": context, "message": {"order": order}}


def _source(number: int) -> dict[str, Any]:
    return {
        "sourceId": f"meter-data-{number}",
        "sourceType": "METER_READING",
        "source": {"meterId": "m-7"},
        "format": "application/json",
        "refreshInterval": "PT15M",
        "fields": ["energyImport", "energyExport", "intervalStart", "readingQuality"],
    }
