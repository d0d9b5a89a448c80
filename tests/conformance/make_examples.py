"""Our own example messages, taken from a real run with fixed time and ids.

Run `python -m tests.conformance.make_examples` to write `examples/p2p_trading` anew.
"""

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from tests.fakes.network import Network, offer, open_network, plan
from tests.fakes.readings import submit_readings

FOLDER = Path(__file__).parents[2] / "examples" / "p2p_trading"

# Upstream's numbers; the letters are messages that upstream's set leaves out.
NAMES = {
    ("discover", "T1"): "01_discover",
    ("on_discover", "T1"): "02_on_discover",
    ("select", "T1"): "03_select",
    ("on_select", "T1"): "04_on_select",
    ("init", "T1"): "05_init",
    ("on_init", "T1"): "06_on_init",
    ("init", "T2"): "07_cascaded_init",
    ("on_init", "T2"): "08_cascaded_on_init",
    ("confirm", "T1"): "09_confirm",
    ("confirm", "T2"): "09a_cascaded_confirm",
    ("on_confirm", "T2"): "09b_cascaded_on_confirm",
    ("on_confirm", "T1"): "10_on_confirm",
    ("status", "T1"): "11_status",
}
PUSHED = {
    ("T2", "ACTIVE"): "11a_cascaded_on_status_in_progress",
    ("T1", "ACTIVE"): "12_on_status_in_progress",
    ("T2", "COMPLETED"): "12a_cascaded_on_status_completed",
    ("T1", "COMPLETED"): "13_on_status_completed",
}


async def run(folder: Path) -> dict[str, bytes]:
    """Return the messages of one trade by file name, formatted for people."""
    network = await open_network(folder, public=True)
    try:
        return _named(await _messages(network))
    finally:
        await network.close()


async def _messages(network: Network) -> list[dict[str, Any]]:
    """Return every message of a trade with a status request in the middle of its delivery."""
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    network.clock.move_to("2026-03-02T08:46:00Z")
    await submit_readings(network, first=0, count=2)
    await network.tick()
    order_id = (await network.bap.queries.trade(transaction_id)).to_wire()["order"]["beckn:id"]
    body = {
        "context": {"transaction_id": transaction_id},
        "message": {"order": {"@type": "beckn:Order", "beckn:id": order_id}},
    }
    await network.bap.originator.send(Action.STATUS, body)
    await network.deliver()
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network, first=2, count=2)
    await network.tick()
    return [strict_json.decode_object(raw) for _, raw in network.wire.log]


def _named(messages: list[dict[str, Any]]) -> dict[str, bytes]:
    first = messages[0]["context"]["transaction_id"]
    named: dict[str, bytes] = {}
    for message in messages:
        context = message["context"]
        leg = "T1" if context["transaction_id"] == first else "T2"
        if context["action"] == "on_status":
            status = message["message"]["order"]["beckn:orderAttributes"]["status"]
            name = PUSHED[leg, status]
        else:
            name = NAMES[context["action"], leg]
        named[f"{name}.json"] = pretty(message)
    return named


def pretty(message: Mapping[str, Any]) -> bytes:
    """Return JSON for people: two blanks, a final newline, numbers as on the wire."""
    compact = strict_json.encode(message).decode()
    numbers: dict[str, str] = {}

    def keep(text: str) -> float:
        number = float(text)
        numbers[repr(number)] = text
        return number

    value = json.loads(compact, parse_float=keep)
    assert all(text == shown for shown, text in numbers.items()), numbers
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def main() -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as folder:
        files = asyncio.run(run(Path(folder)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
