"""`p2ptrade demo --mode tariff`, run for real: the window crosses a price change."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.scenario.test_demo import COMMAND, demo, environment, running_below

pytestmark = pytest.mark.timeout(180)


def test_the_json_document_adds_up_to_the_price_of_both_halves(tmp_path: Path) -> None:
    ran = demo(tmp_path, "--mode", "tariff", "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["status"] == "COMPLETED"
    assert document["ledger_verified"] is True
    buyer, seller, operator = (
        document["parties"][role] for role in ("BUYER", "SELLER", "GRID_OPERATOR")
    )
    # 5 kWh x 0.30 + 5 kWh x 0.12 = 2.10, VAT 10 % = 0.21, both to the seller;
    # wheeling 10 kWh x 0.025 = 0.25
    assert document["balances"] == {
        buyer: {"GRID": "10", "USD": "17.44"},
        seller: {"GRID": "0", "USD": "2.31"},
        operator: {"GRID": "0", "USD": "0.25"},
    }
    assert document["changes"] == {
        buyer: {"GRID": "10", "USD": "-2.56"},
        seller: {"GRID": "0", "USD": "2.31"},
        operator: {"GRID": "0", "USD": "0.25"},
    }
    flows = [(flow["from"], flow["to"], flow["amount"]) for flow in document["flows"]]
    assert flows == [("BUYER", "SELLER", "2.10"), ("BUYER", "GRID_OPERATOR", "0.25")]
    tariff = document["tariff"]
    assert (tariff["total"], tariff["vat"], tariff["unit_price"]) == ("2.10", "0.21", "0.21")
    legs = [(leg["element"], leg["kwh"], leg["price"], leg["amount"]) for leg in tariff["legs"]]
    assert legs == [(0, "5", "0.30", "1.50"), (1, "5", "0.12", "0.60")]
    assert len(document["messages"]) == 16
    assert {message["signature"] for message in document["messages"]} == {"valid"}
    assert running_below(tmp_path) == []


def test_the_timeline_shows_what_each_half_hour_costs(tmp_path: Path) -> None:
    ran = demo(tmp_path, "--mode", "tariff")
    assert ran.returncode == 0, ran.stderr
    told = ("5 kWh x 0.30 = 1.50 USD", "5 kWh x 0.12 = 0.60 USD", "VAT 0.21 USD", "-2.56")
    for part in told:
        assert part in ran.stdout


def test_an_unknown_mode_is_wrong_usage(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*COMMAND, "--mode", "barter"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "barter" in ran.stderr
