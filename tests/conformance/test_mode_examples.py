"""The examples of tariff and market: made by their builders, with nothing to object to."""

from pathlib import Path
from typing import Any

import pytest

from adapter.domain.findings import Severity
from adapter.domain.quantities import Energy
from adapter.protocol import strict_json
from adapter.protocol.flows import flow_report
from adapter.protocol.rules import ContractHistory, check_history, check_message, record
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.store.documents import load_bundle
from tests.conformance.make_mode_examples import EXAMPLES, SETS, files

BUNDLE = load_bundle()
FAST, SLOW = Schemas(BUNDLE), PythonSchemas(BUNDLE)
FILES = [path for name in SETS for path in sorted((EXAMPLES / name).glob("*.json"))]
TARIFF, MARKET = SETS


def load(path: Path) -> tuple[str, dict[str, Any]]:
    """Return action and message of a file."""
    message = strict_json.decode_object(path.read_bytes())
    return message["context"]["action"], message


def terms_of(folder: str, name: str) -> dict[str, Any]:
    """Return the contract of an order message."""
    _, message = load(EXAMPLES / folder / f"{name}.json")
    found: dict[str, Any] = message["message"]["order"]["beckn:orderAttributes"]
    return found


@pytest.mark.parametrize("folder", SETS)
def test_the_files_are_what_the_builder_says(folder: str) -> None:
    kept = {path.name: path.read_bytes() for path in FILES if path.parent.name == folder}
    said = files(folder)
    assert said.keys() == kept.keys()
    for name, content in said.items():
        assert content == kept[name], f"{name}: python -m tests.conformance.make_mode_examples"


def test_the_sets_are_whole() -> None:
    assert [sum(path.parent.name == name for path in FILES) for name in SETS] == [17, 20]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_has_neither_error_nor_warning(path: Path) -> None:
    action, message = load(path)
    assert FAST.check(action, message) == SLOW.check(action, message) == ()
    found = check_message(action, message)
    assert [one for one in found if one.severity is not Severity.INFO] == []


@pytest.mark.parametrize("folder", SETS)
def test_the_set_in_order_contradicts_itself_nowhere(folder: str) -> None:
    history: ContractHistory | None = None
    for path in (one for one in FILES if one.parent.name == folder):
        action, message = load(path)
        found = check_history(history, action, message)
        assert [one for one in found if one.severity is not Severity.INFO] == [], path.name
        history = record(history, action, message)
    assert history is not None
    assert history.status == "COMPLETED"


def test_the_tariff_trade_has_the_worked_numbers() -> None:
    # T1: 20 x 0.30 + 10 x 0.10; VAT 20 %; 30 x 0.02 wheeling; at most min(50 - 5, 100 - 20)
    terms = terms_of(TARIFF, "10_on_confirm")
    report = flow_report(terms, delivered=Energy.from_kwh(30)).to_wire()
    assert report["net"] == {"SELLER": "7.00", "BUYER": "-7.60", "GRID_OPERATOR": "0.60"}
    assert (report["tariff"]["total"], report["tariff"]["vat"]) == ("7.00", "1.40")
    assert report["trade_cap"]["max_trade_kwh"] == "45"


def test_the_market_has_the_worked_numbers() -> None:
    # C1 and M: what the load pays is the agent's, the roof's and the operator's
    report = flow_report(terms_of(MARKET, "10_on_confirm")).to_wire()
    assert report["net"] == {
        "MARKET_CLEARING_AGENT": "0.075471",
        "bap.load.example": "-0.37291",
        "bap.roof.example": "0.278571",
        "GRID_OPERATOR": "0.018868",
    }
    part = flow_report(terms_of(MARKET, "10a_on_confirm_roof")).to_wire()
    assert part["net"]["bap.roof.example"] == "0.278571"
