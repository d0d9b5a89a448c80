"""The fixed-price example set of upstream through the command line: both columns of section 15."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conformance.test_upstream_examples import (
    EXAMPLES,
    FILES,
    HISTORY_FINDINGS,
    MESSAGE_FINDINGS,
    Expected,
)

pytestmark = pytest.mark.skipif(
    len(FILES) != 13, reason=f"the upstream examples are not in {EXAMPLES}; they are not committed"
)
SEVERITIES = {"error": "E", "warning": "W", "info": "I"}


def validated(*options: str) -> list[dict[str, Any]]:
    """Return one document per file."""
    command = [sys.executable, "-m", "adapter", "validate", "--json", *options, str(EXAMPLES)]
    done = subprocess.run(command, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return severity, code and path of each finding."""
    return sorted(
        (SEVERITIES[one["severity"]], one["code"], one["path"]) for one in document["findings"]
    )


def expected(*tables: dict[str, Expected]) -> dict[str, list[tuple[str, str, str]]]:
    """Return the same of section 15 by number of the file."""
    return {
        number: sorted(entry[:3] for table in tables for entry in table.get(number, set()))
        for number in MESSAGE_FINDINGS
    }


@pytest.mark.parametrize("engine", ["rs", "both"])
def test_each_file_alone_has_the_message_findings(engine: str) -> None:
    documents = validated("--profile", "upstream", "--engine", engine)
    assert {one["file"].rpartition("/")[2][:2]: told(one) for one in documents} == expected(
        MESSAGE_FINDINGS
    )


def test_fed_in_order_the_history_findings_come_too() -> None:
    documents = validated("--profile", "upstream", "--history")
    assert {one["file"].rpartition("/")[2][:2]: told(one) for one in documents} == expected(
        MESSAGE_FINDINGS, HISTORY_FINDINGS
    )


@pytest.mark.parametrize("profile", ["strict", "upstream"])
def test_no_file_fails(profile: str) -> None:
    documents = validated("--profile", profile, "--history")
    assert [one["valid"] for one in documents] == [True] * 13
    assert {one["dialect"] for one in documents} == {"draft"}
    modes = [one["mode"] for one in documents]
    assert modes == [None, *["FIXED_PRICE"] * 9, None, "FIXED_PRICE", "FIXED_PRICE"]


def test_explain_gives_the_positions_of_the_settled_trade() -> None:
    # F5: the buyer pays 1.75, which is 1.50 and 0.25
    command = [sys.executable, "-m", "adapter", "explain", "--json", str(FILES[12])]
    document = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert document["net"] == {"SELLER": "1.50", "BUYER": "-1.75", "GRID_OPERATOR": "0.25"}
    assert document["trade_cap"] == {
        "max_trade_kwh": "45",
        "contracted_kwh": "10",
        "within": True,
    }
