"""Formulas with numbers in place of references read as a person would write them."""

from fractions import Fraction

import pytest

from adapter.formula import parse
from adapter.formula.filled import filled_in, number_text
from adapter.formula.tree import Reference

NUMBERS = {"a": "8", "b": "0.12", "n": "-4.7"}


def show(reference: Reference) -> str:
    return NUMBERS.get(str(reference), f"[{reference}]")


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("a × b", "8 × 0.12"),
        ("a*b/2", "8 × 0.12 ÷ 2"),
        ("a + b × 2", "8 + 0.12 × 2"),
        ("(a + b) × 2", "(8 + 0.12) × 2"),
        ("a - (b + 1)", "8 − (0.12 + 1)"),
        ("a - (b - 1)", "8 − (0.12 − 1)"),
        ("a / (b × 2)", "8 ÷ (0.12 × 2)"),
        ("-(a + b)", "−(8 + 0.12)"),
        ("n × 2", "(-4.7) × 2"),
        ("n + 2", "-4.7 + 2"),
        ("abs(n) × max(a, b)", "abs(-4.7) × max(8, 0.12)"),
        ("a × roles.X.y", "8 × [roles.X.y]"),
        ("1e3 × 0.50", "1000 × 0.5"),
    ],
)
def test_a_formula_keeps_its_meaning(formula: str, expected: str) -> None:
    assert filled_in(parse(formula).tree, show) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Fraction(0), "0", id="nothing"),
        pytest.param(Fraction(-47, 10), "-4.7", id="negative"),
        pytest.param(Fraction(1, 200), "0.005", id="zeros behind the point"),
        pytest.param(Fraction(1, 10**12), "0.000000000001", id="twelve decimals"),
        pytest.param(Fraction(7, 30), "≈0.233333", id="no decimal"),
    ],
)
def test_a_number_is_exact_or_says_that_it_is_not(value: Fraction, expected: str) -> None:
    assert number_text(value) == expected
