"""`p2ptrade demo --mode market`, run for real: five processes, two curves, one price."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.findings import Severity
from adapter.protocol import strict_json
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.conformance.make_examples import EXAMPLES
from tests.scenario.test_demo import COMMAND, demo, running_below

pytestmark = pytest.mark.timeout(180)

BUYER, SELLER = "bap.buyer.example", "bap.seller.example"
MARKET, GRID = "market.example", "grid.operator.example"


def test_the_json_document_adds_up(tmp_path: Path) -> None:
    ran = demo(tmp_path, "--mode", "market", "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert (document["status"], document["ledger_verified"]) == ("COMPLETED", True)
    parties = document["parties"]
    assert list(parties) == ["BUYER", "SELLER", "MARKET_CLEARING_AGENT", "GRID_OPERATOR"]
    # load -15 + 100 (p - 0.10), roof 100 (p - 0.05): they meet at 0.15 with 10 kW for an hour
    clearing = document["clearing"]
    assert (clearing["price"], clearing["volume_kw"]) == ("0.15", "10")
    assert clearing["cleared_power"] == {BUYER: "-10", SELLER: "10"}
    # 10 x (0.15 + 0.03) from the buyer, 10 x (0.15 - 0.03) to the seller, wheeling 20 x 0.025
    assert document["changes"] == {
        parties["BUYER"]: {"GRID": "10", "USD": "-1.80"},
        parties["SELLER"]: {"GRID": "0", "USD": "1.20"},
        parties["MARKET_CLEARING_AGENT"]: {"GRID": "0", "USD": "0.10"},
        parties["GRID_OPERATOR"]: {"GRID": "0", "USD": "0.50"},
    }
    assert document["balances"][parties["MARKET_CLEARING_AGENT"]]["USD"] == "20.10"
    assert clearing["positions"] == {
        "MARKET_CLEARING_AGENT": "0.10",
        BUYER: "-1.80",
        SELLER: "1.20",
        "GRID_OPERATOR": "0.50",
    }
    flows = [(flow["from"], flow["party"], flow["amount"]) for flow in document["flows"]]
    assert flows == [  # as the formulas say, with the sign of the power
        ("PROSUMER", BUYER, "-1.80"),
        ("PROSUMER", SELLER, "1.80"),
        ("MARKET_CLEARING_AGENT", BUYER, "0.25"),
        ("MARKET_CLEARING_AGENT", SELLER, "0.25"),
    ]
    assert running_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    _check_path(document["messages"])


def _check_path(messages: list[dict[str, Any]]) -> None:
    assert [message["seq"] for message in messages] == list(range(1, 27))
    assert {message["signature"] for message in messages} == {"valid"}
    assert {message["ack"] for message in messages} == {"ACK"}
    path = [(message["from"], message["action"], message["to"]) for message in messages]
    for number, app in enumerate((BUYER, SELLER)):
        assert path[7 * number : 7 * number + 7] == [
            (app, "discover", MARKET),
            (MARKET, "on_discover", app),
            (app, "init", MARKET),
            (MARKET, "init", GRID),
            (GRID, "on_init", MARKET),
            (MARKET, "on_init", app),
            (app, "confirm", MARKET),
        ]
    assert path[14:16] == [(MARKET, "confirm", GRID), (GRID, "on_confirm", MARKET)]
    told = {(MARKET, "on_confirm", BUYER), (MARKET, "on_confirm", SELLER)}
    assert set(path[16:18]) == told
    news = [(GRID, "on_status", MARKET)] * 4
    news += [(MARKET, "on_status", app) for app in (BUYER, SELLER) for _ in range(2)]
    assert sorted(path[18:]) == sorted(news)


def test_the_timeline_tells_it_and_what_is_kept_verifies_and_has_the_shapes_of_our_examples(
    tmp_path: Path,
) -> None:
    ran = demo(tmp_path, "--mode", "market", "--keep")
    assert ran.returncode == 0, ran.stderr
    told = ("Five nodes", "26 signed messages", "withdraws 10 kW at 0.15 USD", "gets 0.10 USD")
    for part in (*told, "-1.80", "18.20", "1.20", "20.10", "is COMPLETED"):
        assert part in ran.stdout, part
    (folder,) = tmp_path.iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"network.yaml", "genesis.yaml", "bap2.yaml", "market.yaml", "logs"} <= names
    assert "bpp.yaml" not in names
    database = folder / "var" / "grid_operator.db"
    words = ["ledger", "verify", "--database", f"sqlite:///{database}"]
    audit = subprocess.run([*COMMAND[:-1], *words], capture_output=True, text=True, check=False)
    assert audit.returncode == 0, audit.stderr
    root = re.search(r"journal root +([0-9a-f]{64})", audit.stdout)
    assert root is not None
    assert root[1] in ran.stdout
    said = list(_kept_messages(folder))
    assert len(said) == 26
    _check_messages(said)
    assert _shapes(said) == _shapes(_examples()) - {STATUS}


STATUS = ("status", "T1", frozenset({"@type", "beckn:id"}))
"""The demo asks for no status."""
Shape = tuple[str, str, frozenset[str]]


def _kept_messages(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted((folder / "var").glob("*.db")):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            for (body,) in database.execute("SELECT body FROM inbox"):
                yield strict_json.decode_object(bytes(body))


def _examples() -> list[dict[str, Any]]:
    files = sorted((EXAMPLES / "p2p_trading_market_based").glob("*.json"))
    return [strict_json.decode_object(file.read_bytes()) for file in files]


def _check_messages(messages: list[dict[str, Any]]) -> None:
    schemas = Schemas(load_bundle())
    for message in messages:
        action = message["context"]["action"]
        assert schemas.check(action, message) == ()
        found = check_message(action, message)
        assert [one for one in found if one.severity is not Severity.INFO] == []


def _shapes(messages: list[dict[str, Any]]) -> set[Shape]:
    """Return action, leg and every place of a message; ids and clearing keys left out."""
    return {
        (
            message["context"]["action"],
            "T2" if message["context"]["bpp_id"] == GRID else "T1",
            frozenset(_places(message["message"].get("order", message["message"]))),
        )
        for message in messages
    }


def _places(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _places(
                item, f"{place}[{item.get('role', '')}]" if isinstance(item, dict) else place
            )
    elif isinstance(value, dict) and not place.endswith(".clearedPower"):
        for key, inner in value.items():
            yield from _places(inner, f"{place}.{key}" if place else key)
    else:
        yield place
