"""Our own example messages, taken from real runs with fixed time and ids.

Run `python -m tests.conformance.make_examples` to write `examples/p2p_trading`,
`examples/p2p_trading_tariff` and `examples/p2p_trading_market_based` anew.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from adapter.protocol import strict_json
from tests.conformance.runs import fixed_run, market_run, tariff_run
from tests.fakes.market_network import GRID, LOAD

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = EXAMPLES / "p2p_trading"

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
    ("T2", "ACTIVE"): "11a_cascaded_on_status_in_progress",
    ("T1", "ACTIVE"): "12_on_status_in_progress",
    ("T2", "COMPLETED"): "12a_cascaded_on_status_completed",
    ("T1", "COMPLETED"): "13_on_status_completed",
}
MARKET_NAMES = NAMES | {
    ("confirm", "T2"): "09b_cascaded_confirm",
    ("on_confirm", "T2"): "09c_cascaded_on_confirm",
}
ROOF_NAMES = {
    name: f"{name[:2]}{letter}_{name.partition('_')[2]}_roof"
    for name, letter in {
        "01_discover": "a",
        "02_on_discover": "a",
        "05_init": "a",
        "06_on_init": "a",
        "07_cascaded_init": "a",
        "08_cascaded_on_init": "a",
        "09_confirm": "a",
        "10_on_confirm": "a",
        "11a_cascaded_on_status_in_progress": "b",
        "12_on_status_in_progress": "c",
        "12a_cascaded_on_status_completed": "b",
        "13_on_status_completed": "a",
    }.items()
}
"""The same message about the other prosumer of a market."""


async def run(folder: Path) -> dict[str, bytes]:
    """Return the messages of the fixed-price trade by file name, formatted for people."""
    return _files(_named(await fixed_run(folder)))


async def run_tariff(folder: Path) -> dict[str, bytes]:
    """Return those of the trade under a tariff."""
    return _files(_named(await tariff_run(folder)))


async def run_market(folder: Path) -> dict[str, bytes]:
    """Return those of the market."""
    named: dict[str, dict[str, Any]] = {}
    for message in await market_run(folder):
        name = MARKET_NAMES[_key(message, message["context"]["bpp_id"] == GRID)]
        named[ROOF_NAMES.get(name, name) if _is_roof(message) else name] = message
    return _files(named)


SETS: Mapping[str, Callable[[Path], Coroutine[Any, Any, dict[str, bytes]]]] = {
    "p2p_trading": run,
    "p2p_trading_tariff": run_tariff,
    "p2p_trading_market_based": run_market,
}
"""Run by folder of `examples`."""


def _named(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    first = messages[0]["context"]["transaction_id"]
    return {
        NAMES[_key(message, message["context"]["transaction_id"] != first)]: message
        for message in messages
    }


def _key(message: Mapping[str, Any], is_cascaded: bool) -> tuple[str, str]:
    action, leg = message["context"]["action"], "T2" if is_cascaded else "T1"
    if action != "on_status":
        return action, leg
    return leg, message["message"]["order"]["beckn:orderAttributes"]["status"]


def _is_roof(message: Mapping[str, Any]) -> bool:
    """Return whether a message of the market is about the roof alone."""
    context = message["context"]
    if context["bpp_id"] != GRID:
        return bool(context["bap_id"] != LOAD)
    roles = message["message"]["order"]["beckn:orderAttributes"]["roles"]
    prosumers = {role["filledBy"] for role in roles if role["role"] == "PROSUMER"}
    return LOAD not in prosumers


def _files(named: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    return {f"{name}.json": pretty(message) for name, message in named.items()}


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
    for name, said in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            files = asyncio.run(said(Path(folder)))
        (EXAMPLES / name).mkdir(parents=True, exist_ok=True)
        for old in (EXAMPLES / name).glob("*.json"):
            old.unlink()
        for file, content in files.items():
            (EXAMPLES / name / file).write_bytes(content)


if __name__ == "__main__":
    main()
