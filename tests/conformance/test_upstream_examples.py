"""The fixed-price example set of upstream: exactly the findings of section 15."""

from pathlib import Path
from typing import Any

import pytest

from adapter.domain.findings import Finding
from adapter.protocol import strict_json
from adapter.protocol.flows import flow_report
from adapter.protocol.rules import ContractHistory, check_history, check_message, record
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.store.documents import load_bundle

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples" / "p2p_trading"
FILES = sorted(EXAMPLES.glob("*.json"))
pytestmark = pytest.mark.skipif(
    len(FILES) != 13, reason=f"the upstream examples are not in {EXAMPLES}; they are not committed"
)
BUNDLE = load_bundle()
A = "$.message.order['beckn:orderAttributes']"
K = "$.message.catalogs[0]['beckn:offers'][0]['beckn:offerAttributes'].contract"
V = "$.message.order['beckn:fulfillments'][0]['beckn:attributes']"

Message = dict[str, Any]
Expected = set[tuple[str, str, str, tuple[str, ...]]]
FLOW_0 = "revenueFlows.flows[0].formula"
FLOW_1 = "revenueFlows.flows[1].formula"
NO_BUYER = ("BUYER ROLE_UNFILLED",)
NO_BUYER_NO_OPERATOR = ("BUYER ROLE_UNFILLED, GRID_OPERATOR ROLE_ABSENT",)
NO_OPERATOR = ("GRID_OPERATOR ROLE_ABSENT",)
STARTED = ("W", "P2P_WINDOW_STARTED", f"{A}.roles[1].roleInputs.tradeStartTime", ())
DROPPED: Expected = {
    (
        "I",
        "P2P_HIST_TERM_DROPPED",
        f"{A}.roles[0].roleInputs",
        (
            "SELLER",
            "maximumQuantity, minimumQuantity, pricingModel, settlementType, validityWindow",
        ),
    ),
    (
        "I",
        "P2P_HIST_TERM_DROPPED",
        f"{A}.roles[1].roleInputs",
        ("BUYER", "preferredCertification, preferredSourceType"),
    ),
}
OTHER_METER: Expected = {
    (
        "W",
        "P2P_HIST_CASCADE_MISMATCH",
        f"{A}.roles[0].roleInputs.sourceMeterId",
        ("100200300", "92982739"),
    )
}

MESSAGE_FINDINGS: dict[str, Expected] = {
    "01": set(),
    "02": {
        ("I", "P2P_EXTENSION_KEY", f"{K}._comment", ()),
        ("I", "P2P_FLOW_UNBOUND", f"{K}.{FLOW_0}", NO_BUYER),
        ("I", "P2P_FLOW_UNBOUND", f"{K}.{FLOW_1}", NO_BUYER_NO_OPERATOR),
        (
            "W",
            "P2P_OFFER_EXCEEDS_RESOURCE",
            f"{K}.roles[0].roleInputs.maximumQuantity",
            ("100", "30.5"),
        ),
    },
    "03": {
        ("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_0}", NO_BUYER),
        ("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_1}", NO_BUYER_NO_OPERATOR),
    },
    "04": {
        ("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_0}", NO_BUYER),
        ("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_1}", NO_BUYER_NO_OPERATOR),
        (
            "W",
            "P2P_QUOTE_UNIT",
            "$.message.order['beckn:quote']['beckn:price']['schema:unitText']",
            (),
        ),
    },
    "05": {
        ("I", "P2P_EXTENSION_KEY", f"{A}._comment", ()),
        ("I", "P2P_EXTENSION_KEY", f"{A}._mode", ()),
        ("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_1}", NO_OPERATOR),
        STARTED,
    },
    "06": {("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_1}", NO_OPERATOR), STARTED},
    "07": {
        (
            "W",
            "P2P_PARTY_MISMATCH",
            "$.context",
            ("p2pTrading-bpp.com, example-transmission-bpp.com",),
        ),
        ("I", "P2P_FLOW_UNBOUND", f"{A}.{FLOW_1}", ("GRID_OPERATOR ROLE_UNFILLED",)),
        STARTED,
    },
    "08": {("W", "P2P_PARTY_MISMATCH", "$.context", ("p2pTrading-bpp.com",)), STARTED},
    "09": {STARTED},
    "10": {("I", "P2P_EXTENSION_KEY", f"{A}._mode", ()), STARTED},
    "11": set(),
    "12": {
        ("W", "P2P_DELIVERED_QUANTITY", f"{V}.deliveredQuantity", ("9.8", "0.8")),
        ("W", "P2P_DELIVERY_FUTURE", f"{V}.lastUpdated", ()),
        ("W", "P2P_READING_FLOW", f"{V}.meterReadings[0].energyFlow", ("10", "0")),
        ("W", "P2P_READING_FLOW", f"{V}.meterReadings[1].energyFlow", ("10.2", "0.3")),
        ("W", "P2P_READING_FLOW", f"{V}.meterReadings[2].energyFlow", ("10.2", "0.5")),
        ("W", "P2P_TELEMETRY_ENERGY", f"{V}.telemetry[0].metrics[0].value", ("5.8", "0.3")),
    },
    "13": {
        ("W", "P2P_READING_FLOW", f"{V}.meterReadings[4].energyFlow", ("10", "8.5")),
        (
            "W",
            "P2P_CYCLE_PAYMENT",
            "$.message.order['beckn:payments'][0]['beckn:status']",
            (),
        ),
    },
}
HISTORY_FINDINGS: dict[str, Expected] = {
    "07": OTHER_METER,
    "08": OTHER_METER,
    "09": DROPPED,
    "10": DROPPED,
    "12": DROPPED,
    "13": DROPPED,
}
TOLD = {
    "P2P_FLOW_UNBOUND": ("refs",),
    "P2P_OFFER_EXCEEDS_RESOURCE": ("maximum", "available"),
    "P2P_PARTY_MISMATCH": ("parties",),
    "P2P_DELIVERED_QUANTITY": ("found", "expected"),
    "P2P_READING_FLOW": ("found", "expected"),
    "P2P_TELEMETRY_ENERGY": ("found", "cumulative"),
    "P2P_HIST_TERM_DROPPED": ("role", "names"),
    "P2P_HIST_CASCADE_MISMATCH": ("was", "now"),
}
"""Params that section 15 states."""


def load(number: str) -> Message:
    """Return an example by its number."""
    (path,) = (file for file in FILES if file.name.startswith(number))
    return strict_json.decode_object(path.read_bytes())


def action_of(message: Message) -> str:
    """Return the action of a message."""
    action: str = message["context"]["action"]
    return action


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Return findings in the form of the table."""
    return sorted(
        (
            finding.severity.name[0],
            finding.code,
            finding.path,
            tuple(str(finding.params[name]) for name in TOLD.get(finding.code, ())),
        )
        for finding in findings
    )


@pytest.mark.parametrize("number", sorted(MESSAGE_FINDINGS))
def test_the_example_passes_its_schema_in_both_engines(number: str) -> None:
    message = load(number)
    assert Schemas(BUNDLE).check(action_of(message), message) == ()
    assert PythonSchemas(BUNDLE).check(action_of(message), message) == ()


@pytest.mark.parametrize("number", sorted(MESSAGE_FINDINGS))
def test_the_example_yields_exactly_its_message_findings(number: str) -> None:
    message = load(number)
    found = told(check_message(action_of(message), message))
    assert found == sorted(MESSAGE_FINDINGS[number])


def test_the_set_yields_exactly_its_history_findings() -> None:
    history: ContractHistory | None = None
    for number in sorted(MESSAGE_FINDINGS):
        message = load(number)
        found = told(check_history(history, action_of(message), message))
        assert found == sorted(HISTORY_FINDINGS.get(number, set())), number
        history = record(history, action_of(message), message)
    assert history is not None
    assert history.status == "COMPLETED"


def test_the_counts_are_those_of_the_table() -> None:
    severities = [entry[0] for found in MESSAGE_FINDINGS.values() for entry in found]
    assert [severities.count(name) for name in "EWI"] == [0, 18, 13]
    severities = [entry[0] for found in HISTORY_FINDINGS.values() for entry in found]
    assert [severities.count(name) for name in "EWI"] == [0, 2, 8]


def test_the_operators_quote_is_its_flow() -> None:
    # F2: 10 x 0.025 = 0.25; min(50-5, 100-20) = 45
    report = flow_report(load("08")["message"]["order"]["beckn:orderAttributes"])
    assert str(report.flows[1].amount) == "0.25"
    assert report.trade_cap is not None
    assert str(report.trade_cap.max_trade) == "45"


def test_the_positions_of_the_settled_trade() -> None:
    # F5: the buyer pays 1.75, which is 1.50 and 0.25
    report = flow_report(load("13")["message"]["order"]["beckn:orderAttributes"]).to_wire()
    assert report["net"] == {"SELLER": "1.50", "BUYER": "-1.75", "GRID_OPERATOR": "0.25"}


@pytest.mark.parametrize(
    ("quantity", "added"),
    [("45", []), ("45.000001", ["P2P_CAP_EXCEEDED"]), ("45.01", ["P2P_CAP_EXCEEDED"])],
)
def test_the_cap_is_exact(quantity: str, added: list[str]) -> None:
    # F3
    message = load("10")
    before = {finding.code for finding in check_message("on_confirm", message)}
    number = strict_json.decode(quantity.encode())
    order = message["message"]["order"]
    order["beckn:items"][0]["quantity"]["count"] = number
    order["beckn:orderAttributes"]["roles"][1]["roleInputs"]["contractedQuantity"] = number
    after = {finding.code for finding in check_message("on_confirm", message)}
    assert sorted(after - before) == added


def test_envelopes_and_the_alias_change_no_finding() -> None:
    # F9 and F10
    message = load("10")
    before = [finding.code for finding in check_message("on_confirm", message)]
    contract = message["message"]["order"]["beckn:orderAttributes"]
    net = flow_report(contract).net
    for role in contract["roles"]:
        for name, value in role["roleInputs"].items():
            kind = "OBJECT" if isinstance(value, dict) else "NUMBER"
            if isinstance(value, str):
                kind = "DATETIME" if name.startswith("trade") else "STRING"
            role["roleInputs"][name] = {"type": kind, "required": True, "value": value}
    contract["roles"][1]["role"] = "CONSUMER"
    for flow in contract["revenueFlows"]["flows"]:
        flow["from"] = "CONSUMER"
        flow["formula"] = flow["formula"].replace("BUYER", "CONSUMER")
    assert Schemas(BUNDLE).check("on_confirm", message) == ()
    assert [finding.code for finding in check_message("on_confirm", message)] == before
    assert flow_report(contract).net == net
