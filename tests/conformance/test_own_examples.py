"""Our examples are what our nodes really say, and have nothing to object to."""

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
from tests.conformance.make_examples import EXAMPLES, SETS

BUNDLE = load_bundle()
FAST, SLOW = Schemas(BUNDLE), PythonSchemas(BUNDLE)
FILES = [path for name in SETS for path in sorted((EXAMPLES / name).glob("*.json"))]
FIXED, TARIFF, MARKET = SETS


def load(path: Path) -> tuple[str, dict[str, Any]]:
    """Return action and message of a file."""
    message = strict_json.decode_object(path.read_bytes())
    return message["context"]["action"], message


def order_of(folder: str, name: str) -> dict[str, Any]:
    """Return the order of a message."""
    _, message = load(EXAMPLES / folder / f"{name}.json")
    found: dict[str, Any] = message["message"]["order"]
    return found


def terms_of(folder: str, name: str) -> dict[str, Any]:
    """Return the contract of an order message."""
    found: dict[str, Any] = order_of(folder, name)["beckn:orderAttributes"]
    return found


def cycle_of(name: str) -> tuple[str, dict[str, str]]:
    """Return amount and breakdown of what was settled in the market."""
    (fulfillment,) = order_of(MARKET, name)["beckn:fulfillments"]
    (cycle,) = fulfillment["beckn:attributes"]["settlementCycles"]
    return str(cycle["amount"]), {part: str(money) for part, money in cycle["breakdown"].items()}


@pytest.mark.parametrize("folder", SETS)
async def test_a_run_with_fixed_time_and_ids_says_the_examples_byte_by_byte(
    folder: str, tmp_path: Path
) -> None:
    said = await SETS[folder](tmp_path)
    kept = {path.name: path.read_bytes() for path in FILES if path.parent.name == folder}
    assert said.keys() == kept.keys()
    for name, content in said.items():
        assert content == kept[name], f"{name}: python -m tests.conformance.make_examples"


def test_the_sets_are_whole() -> None:
    assert [sum(path.parent.name == name for path in FILES) for name in SETS] == [17, 17, 27]


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
    # T1: 20 x 0.30 + 10 x 0.10; VAT 20 %; 30 x 0.02 wheeling; at most min(50 - 0, 100 - 0)
    terms = terms_of(TARIFF, "10_on_confirm")
    report = flow_report(terms, delivered=Energy.from_kwh(30)).to_wire()
    assert report["net"] == {"SELLER": "7.00", "BUYER": "-7.60", "GRID_OPERATOR": "0.60"}
    assert (report["tariff"]["total"], report["tariff"]["vat"]) == ("7.00", "1.40")
    assert report["trade_cap"]["max_trade_kwh"] == "50"


def test_the_market_has_the_worked_numbers() -> None:
    # C1 and M: what the load pays is the agent's, the roof's and the operator's
    report = flow_report(terms_of(MARKET, "09c_cascaded_on_confirm")).to_wire()
    assert report["net"] == {
        "MARKET_CLEARING_AGENT": "0.075471",
        "bap.load.example": "-0.37291",
        "bap.roof.example": "0.278571",
        "GRID_OPERATOR": "0.018868",
    }
    part = flow_report(terms_of(MARKET, "10a_on_confirm_roof")).to_wire()
    assert part["net"]["bap.roof.example"] == "0.278571"


def test_each_prosumer_of_the_market_settles_its_own_part() -> None:
    # 4.716981 x 0.069057 = 0.325741 (0.3257405...), fee 4.716981 x 0.01 = 0.04716981
    assert cycle_of("13_on_status_completed") == (
        "0.372911",
        {"energyCost": "0.325741", "marketMakingFee": "0.04717"},
    )
    assert cycle_of("13a_on_status_completed_roof") == (
        "0.278571",
        {"energyCost": "0.325741", "marketMakingFee": "-0.04717"},
    )


def test_a_prosumer_of_the_market_sees_nobody_else() -> None:
    for name, mine in (("10_on_confirm", "load"), ("10a_on_confirm_roof", "roof")):
        roles = {role["role"]: role for role in terms_of(MARKET, name)["roles"]}
        assert len(roles) == len(terms_of(MARKET, name)["roles"]) == 3
        agent = roles["MARKET_CLEARING_AGENT"]["roleInputs"]
        assert list(agent["clearedPower"]) == [f"bap.{mine}.example"]
