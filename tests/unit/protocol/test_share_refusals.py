"""Which shares a refusal is about, and what each of their apps learns."""

from typing import Any

import pytest

from adapter.protocol.share_refusals import own_refusal, refused_meters


def refusal(**reasons: Any) -> dict[str, Any]:
    cause = {"code": "INSUFFICIENT_FUNDS", "message": "has 1, needs 2", "details": reasons}
    details = {"path": "$.x", "cause": cause, **reasons}
    return {"code": "BIZ_PAYMENT_FAILED", "message": "has 1, needs 2", "details": details}


@pytest.mark.parametrize(
    ("reasons", "meters"),
    [
        ({"participant": "a"}, {"a"}),
        ({"participant": "a", "participants": ["a", "b"]}, {"a", "b"}),
        ({"participant": "a", "participants": ["b", 7, None]}, {"a", "b"}),
        ({"participant": ["a"], "participants": "b"}, set()),
        ({"participant": {"a": 1}}, set()),
        ({}, set()),
    ],
)
def test_all_meters_that_are_named_were_refused(reasons: dict[str, Any], meters: set[str]) -> None:
    assert refused_meters(refusal(**reasons)) == meters


@pytest.mark.parametrize("details", [None, "text", {"cause": "text"}, {"cause": {"details": []}}])
def test_without_readable_reasons_nobody_is_named(details: Any) -> None:
    assert refused_meters({"code": "X", "details": details}) == set()


def test_the_first_learns_its_own_reason() -> None:
    given = refusal(participant="a", participants=["a", "b"], asset="EUR")
    assert own_refusal(given, "a") == refusal(participant="a", asset="EUR")


def test_the_others_learn_neither_amounts_nor_whom_else_it_is_about() -> None:
    found = own_refusal(refusal(participant="a", participants=["a", "b"], user="ann"), "b")
    assert found == {
        "code": "BIZ_PAYMENT_FAILED",
        "message": "the grid operator refused the share of meter b",
        "details": {"participant": "b"},
    }
