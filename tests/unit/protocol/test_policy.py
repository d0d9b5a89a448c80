"""The policy tier: each demand, met and not met; what a policy may be."""

from typing import Any

import pytest

from adapter.domain.findings import Tier
from adapter.protocol.policy import CODE, POLICIES, RULES, check_policy, read_policy
from tests.unit.protocol.messages import DAY, Message, contract, d, f, inputs

# F is an on_confirm of 06:00Z: 8 kWh of SOLAR at 0.12 EUR, window 10:00Z to 12:00Z.


def message(**changes: str) -> Message:
    made = f()
    made["context"] |= {"action": "confirm", "timestamp": f"{DAY}06:00:00Z"} | changes
    times = {"tradeStartTime": f"{DAY}10:00:00Z", "tradeEndTime": f"{DAY}12:00:00Z"}
    inputs(made, "BUYER").update(times)
    validity = {"start": f"{DAY}05:00:00Z", "end": f"{DAY}09:00:00Z"}
    inputs(made, "SELLER").update(sourceType="SOLAR", validityWindow=validity)
    grid = next(role for role in contract(made)["roles"] if role["role"] == "GRID_OPERATOR")
    grid["filledBy"] = "grid.operator.example"
    return made


def breaches(policy: object, made: Message) -> list[tuple[str | None, str, str]]:
    found = check_policy(read_policy(policy), made["context"]["action"], made)
    assert all(one.tier is Tier.POLICY and one.code == one.wire_code == CODE for one in found)
    return [(one.rule, one.params["found"], one.path.rpartition(".")[2]) for one in found]


MET: list[dict[str, Any]] = [
    {"lead_time": "PT4H"},
    {"horizon": "PT4H"},
    {"validity_gap": "PT1H"},
    {"slot": "PT2H"},
    {"slot": "PT2H", "time_zone": "Europe/Bucharest"},
    {"hours": "10:00-12:00"},
    {"hours": "00:00-24:00", "time_zone": "Asia/Kolkata"},
    {"minimum_kwh": 8, "maximum_kwh": "8", "step_kwh": "0.5"},
    {"currencies": ["INR", "EUR"]},
    {"source_types": ["SOLAR"]},
    {"grid_operators": ["grid.operator.example"]},
]


@pytest.mark.parametrize("policy", MET, ids=str)
def test_a_demand_that_is_met_finds_nothing(policy: dict[str, Any]) -> None:
    assert breaches(policy, message()) == []


BROKEN: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    ({"lead_time": "PT4H1S"}, [("LEAD_TIME", f"{DAY}10:00:00Z", "tradeStartTime")]),
    ({"horizon": "PT3H"}, [("HORIZON", f"{DAY}10:00:00Z", "tradeStartTime")]),
    ({"validity_gap": "PT1H1S"}, [("VALIDITY_GAP", f"{DAY}09:00:00Z", "end")]),
    ({"slot": "PT1H"}, [("SLOT", f"{DAY}12:00:00Z", "tradeEndTime")]),
    (
        {"slot": "PT2H", "time_zone": "Asia/Kolkata"},  # 15:30 local
        [("SLOT", f"{DAY}10:00:00Z", "tradeStartTime")],
    ),
    ({"hours": "10:01-12:00"}, [("HOURS", f"{DAY}10:00:00Z", "tradeStartTime")]),
    ({"hours": "06:00-11:59"}, [("HOURS", f"{DAY}10:00:00Z", "tradeStartTime")]),
    ({"minimum_kwh": "8.1"}, [("QUANTITY", "8", "contractedQuantity")]),
    (
        {"maximum_kwh": 7, "step_kwh": 3},
        [("QUANTITY", "8", "contractedQuantity"), ("QUANTITY", "8", "contractedQuantity")],
    ),
    ({"currencies": ["INR"]}, [("CURRENCY", "EUR", "currency")]),
    ({"source_types": ["WIND"]}, [("SOURCE_TYPE", "SOLAR", "sourceType")]),
    (
        {"grid_operators": ["other.example"]},
        [("GRID_OPERATOR", "grid.operator.example", "filledBy")],
    ),
]


@pytest.mark.parametrize(("policy", "expected"), BROKEN, ids=[str(policy) for policy, _ in BROKEN])
def test_a_demand_that_is_not_met_is_named(
    policy: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    assert breaches(policy, message()) == expected


def test_every_rule_has_been_broken_above() -> None:
    assert {rule for _, found in BROKEN for rule, _, _ in found} == {rule.id for rule in RULES}


def test_the_pilot_of_utilities_trades_whole_hours_four_hours_ahead_in_inr() -> None:
    made = message(timestamp=f"{DAY}06:00:01Z")
    rules = [rule for rule, _, _ in breaches("interdiscom", made)]
    assert rules == ["LEAD_TIME", "VALIDITY_GAP", "SLOT", "SLOT", "CURRENCY"]
    # 04:30Z is 10:00 in Kolkata
    made = message(timestamp=f"{DAY}00:30:00Z")
    inputs(made, "BUYER").update(tradeStartTime=f"{DAY}04:30:00Z", tradeEndTime=f"{DAY}05:30:00Z")
    validity = {"start": "2026-03-01T05:00:00Z", "end": f"{DAY}00:30:00Z"}
    inputs(made, "SELLER").update(currency="INR", validityWindow=validity)
    assert breaches("interdiscom", made) == []


@pytest.mark.parametrize("action", ["on_status", "status", "on_cancel", "discover"])
def test_what_is_agreed_is_not_judged_again(action: str) -> None:
    assert breaches({"lead_time": "P1Y", "currencies": ["INR"]}, message(action=action)) == []


def test_no_policy_finds_nothing() -> None:
    assert read_policy("none") is None
    assert breaches("none", message()) == []
    assert set(POLICIES) == {"interdiscom"}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("intradiscom", "interdiscom"),
        (7, "a map"),
        ({"leadtime": "PT1H"}, "lead_time"),
        ({5: "PT1H"}, "lead_time"),
        ({"lead_time": "4 hours"}, "PT4H"),
        ({"lead_time": 4}, "PT4H"),
        ({"hours": "18:00-06:00"}, "06:00-18:00"),
        ({"hours": "6-18"}, "06:00-18:00"),
        ({"time_zone": "Mars/Olympus"}, "IANA"),
        ({"minimum_kwh": 0}, "above zero"),
        ({"minimum_kwh": "NaN"}, "above zero"),
        ({"minimum_kwh": True}, "above zero"),
        ({"minimum_kwh": "eight"}, "above zero"),
        ({"currencies": "INR"}, "a list"),
        ({"currencies": []}, "a list"),
        ({"currencies": [d("1")]}, "a list"),
        ({"name": ""}, "1 to 60"),
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_read_is_refused(value: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_policy(value)
