"""`p2ptrade explain`: numbers put in, for people and as one document."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapter.protocol import strict_json
from tests.unit.protocol.messages import (
    Message,
    contract,
    d,
    f,
    inputs,
    m,
    o,
    order,
    p,
    t,
    t_delivered,
)

FLOW = {"from", "to", "formula", "bound", "numbers"}


def run(*arguments: object, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Return what the command did."""
    done = subprocess.run(
        [sys.executable, "-m", "adapter", "explain", *map(str, arguments)],
        capture_output=True,
        check=False,
        input=stdin,
    )
    assert b"Traceback" not in done.stderr
    return done


def document(message: Message, *options: object) -> dict[str, Any]:
    """Return the JSON document about a message."""
    done = run("--json", *options, "-", stdin=strict_json.encode(message))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_fixed_price_contract() -> None:
    # F: 8 x 0.12 = 0.96 and 8 x 0.02 = 0.16; maximum trade min(20 - 3, 30 - 6) = 17
    found = document(f())
    assert (found["mode"], found["status"]) == ("FIXED_PRICE", "ACTIVE")
    assert [flow["numbers"] for flow in found["flows"]] == ["8 × 0.12", "8 × 0.02"]
    assert [(flow["amount"], flow["currency"]) for flow in found["flows"]] == [
        ("0.96", "EUR"),
        ("0.16", "EUR"),
    ]
    assert found["net"] == {"SELLER": "0.96", "BUYER": "-1.12", "GRID_OPERATOR": "0.16"}
    assert found["net_zero"] is True
    assert found["trade_cap"] == {"max_trade_kwh": "17", "contracted_kwh": "8", "within": True}


def test_an_unbound_flow_names_what_is_missing() -> None:
    (flow,) = document(o())["flows"]
    assert flow["bound"] is False
    assert "amount" not in flow
    assert flow["numbers"] == "[BUYER] × 0.12"


def test_delivered_energy_counts_by_the_settlement_basis() -> None:
    # contract specification 7.4: 7.6 x 0.12 = 0.912, 7.6 x 0.02 = 0.152; 8.5 counts as 8
    message = f()
    assert document(message, "--delivered-kwh", "7.6")["net"]["BUYER"] == "-1.12"
    contract(message)["inputParameters"] = {"settlementBasis": "DELIVERED"}
    assert document(message, "--delivered-kwh", "7.6")["net"]["BUYER"] == "-1.064"
    assert document(message, "--delivered-kwh", "8.5")["net"]["BUYER"] == "-1.12"


def test_a_tariff_contract_in_two_zones() -> None:
    # T1 and T2: 7.00 in Paris, 7.40 in UTC
    message = t()
    found = document(message, "--delivered-kwh", "30")
    assert found["tariff"]["total"] == "7.00"
    assert found["tariff"]["vat"] == "1.40"
    assert [(leg["element"], leg["kwh"], leg["amount"]) for leg in found["tariff"]["legs"]] == [
        (0, "20", "6.00"),
        (1, "10", "1.00"),
    ]
    assert found["flows"][0]["amount"] == "7.00"
    del contract(message)["inputParameters"]["timeZone"]
    assert document(message, "--delivered-kwh", "30")["tariff"]["total"] == "7.40"
    paris = document(message, "--delivered-kwh", "30", "--tz", "Europe/Paris")
    assert paris["tariff"]["total"] == "7.00"


def test_a_market_contract_has_a_flow_per_prosumer() -> None:
    # contract specification 7.3: (0.069057 + 0.01) x 4.716981 = 0.372910...
    found = document(m())
    assert [flow.get("party") for flow in found["flows"]] == ["load.example", "pv.example"] * 2
    assert found["flows"][0]["numbers"] == "(0.069057 + 0.01) × (-4.716981)"
    assert found["net"] == {
        "MARKET_CLEARING_AGENT": "0.075471",
        "load.example": "-0.37291",
        "pv.example": "0.278571",
        "GRID_OPERATOR": "0.018868",
    }


def test_people_see_tables(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(strict_json.encode(f()))
    text = run(file).stdout.decode()
    for part in ("mode FIXED_PRICE", "8 × 0.12", "0.96", "-1.12", "maximum trade of 17 kWh"):
        assert part in text
    assert "\x1b" not in text


def test_a_contract_alone_will_do() -> None:
    assert document(contract(f()))["net"]["BUYER"] == "-1.12"


def test_a_catalogue_needs_a_choice() -> None:
    message = o()
    catalog = message["message"]["catalogs"][0]
    other = strict_json.decode(strict_json.encode(catalog["beckn:offers"][0]))
    other["beckn:offerAttributes"]["contract"]["contractId"] = "ctr-2"
    other["beckn:offerAttributes"]["contract"]["roles"][0]["roleInputs"]["pricePerKWh"] = d("0.2")
    catalog["beckn:offers"].append(other)
    assert document(message, "--contract", "ctr-2")["flows"][0]["numbers"] == "[BUYER] × 0.2"
    assert b"--contract" in run("-", stdin=strict_json.encode(message)).stderr


def broken(**values: object) -> bytes:
    """Return F with seller inputs set."""
    message = f()
    inputs(message, "SELLER").update(values)
    return strict_json.encode(message)


def with_formula(text: str) -> bytes:
    """Return F with another first formula."""
    message = f()
    contract(message)["revenueFlows"]["flows"][0]["formula"] = text
    return strict_json.encode(message)


def without_buyer() -> bytes:
    """Return P without its buyer: no mode."""
    message = p()
    contract(message)["roles"].pop()
    return strict_json.encode(message)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"{", b"SCH_INVALID_JSON", id="not JSON"),
        pytest.param(b"[]", b"SCH_SCHEMA_VALIDATION_FAILED", id="a list"),
        pytest.param(b"{}", b"SCH_REQUIRED_FIELD_MISSING", id="no contract"),
        pytest.param(b" " * 262_145, b"SCH_INVALID_FORMAT", id="too large"),
        pytest.param(broken(pricePerKWh="0.12"), b"P2P_INPUT_TYPE", id="does not fit"),
        pytest.param(with_formula("1 / (1 - 1)"), b"P2P_FLOW_VALUE", id="division by zero"),
        pytest.param(with_formula("1 +"), b"P2P_FLOW_SYNTAX", id="syntax"),
        pytest.param(with_formula("a.b"), b"P2P_FLOW_PATH", id="path"),
        pytest.param(without_buyer(), b"SCH_ATTRIBUTE_PACK_INVALID", id="no mode"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_a_code(body: bytes, code: bytes) -> None:
    done = run("-", stdin=body)
    assert done.returncode == 1
    assert code in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.json"],
        ["."],
        ["--delivered-kwh", "much", "-"],
        ["--delivered-kwh", "-1", "-"],
        ["--delivered-kwh", "1e400", "-"],
        ["--tz", "Mars/Base", "-"],
        ["--tz", "../../etc/passwd", "-"],
    ],
    ids=str,
)
def test_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments, stdin=strict_json.encode(f())).returncode == 2


def test_a_tariff_is_priced_by_the_readings_of_the_delivery() -> None:
    # T in Paris: 30 kWh, 0.30 until 20:00Z, 0.10 after; even power 20 and 10 kWh = 7.00
    even = document(t_delivered())
    assert (even["tariff"]["total"], even["tariff"]["assumed_profile"]) == ("7.00", True)
    # 6 kWh before 20:00Z and 24 after: 6 x 0.30 + 24 x 0.10 = 4.20
    late = t_delivered(("16:00", 0), ("20:00", 6), ("22:00", 30))
    found = document(late)
    assert found["tariff"]["total"] == "4.20"
    assert found["tariff"]["assumed_profile"] is False
    assert [(leg["kwh"], leg["amount"]) for leg in found["tariff"]["legs"]] == [
        ("6", "1.80"),
        ("24", "2.40"),
    ]
    assert found["flows"][0]["amount"] == "4.20"
    # what the command line says was delivered does not come with readings
    assert document(late, "--delivered-kwh", "30")["tariff"]["total"] == "7.00"


def test_a_broken_delivery_is_named() -> None:
    message = t_delivered(("16:00", 0), ("20:00", 6), ("22:00", 30))
    delivery = order(message)["beckn:fulfillments"][0]["beckn:attributes"]
    delivery["meterReadings"][1]["targetReading"] = "six"
    done = run("-", stdin=strict_json.encode(message))
    assert done.returncode == 1
    place = "['beckn:fulfillments'][0]['beckn:attributes'].meterReadings[1].targetReading"
    assert f"$.message.order{place}".encode() in done.stderr
