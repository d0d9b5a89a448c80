"""Each line of the regression list, settlement.md section 16, has a test that names it."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
_NAMED = re.compile(r"def test_b(\d\d)_")
LINES = 24


@pytest.fixture(scope="module")
def named() -> set[int]:
    files = TESTS.rglob("test_*.py")
    return {int(number) for file in files for number in _NAMED.findall(file.read_text())}


@pytest.mark.parametrize("number", range(1, LINES + 1), ids=lambda number: f"b{number:02d}")
def test_the_line_has_a_test(named: set[int], number: int) -> None:
    assert number in named


def test_no_test_names_a_line_that_is_not_there(named: set[int]) -> None:
    assert named <= set(range(1, LINES + 1))
