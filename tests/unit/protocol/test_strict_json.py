"""Strict JSON: what is exact, what is refused. The refused bodies of S9 are in tests/security."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.errors import WireError
from adapter.protocol.strict_json import MAX_DEPTH, decode, decode_object, encode

NUMBERS = st.one_of(
    st.integers(-(10**39), 10**39),
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=6
    ),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXTS, inner, max_size=5)),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("0.1", Decimal("0.1"), id="a tenth is a tenth"),
        pytest.param("1.50", Decimal("1.50"), id="digits as written"),
        pytest.param("12", 12, id="integer"),
        pytest.param("-0", 0, id="minus zero"),
        pytest.param("1e30", Decimal("1e30"), id="largest exponent"),
        pytest.param("1E-30", Decimal("1e-30"), id="smallest exponent"),
        pytest.param("9" * 40, int("9" * 40), id="40 digits"),
        pytest.param("-" + "9" * 40, -int("9" * 40), id="40 digits and a sign"),
        pytest.param("0." + "1" * 39, Decimal("0." + "1" * 39), id="39 decimals"),
    ],
)
def test_numbers_are_exact(text: str, expected: object) -> None:
    value = decode(text.encode())
    assert value == expected
    assert type(value) is type(expected)


def test_decimals_are_written_digit_by_digit() -> None:
    assert encode({"price": Decimal("0.10"), "kwh": 12}) == b'{"price":0.10,"kwh":12}'


def test_the_deepest_allowed_nesting_is_read() -> None:
    assert decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


def test_brackets_in_strings_are_no_nesting() -> None:
    text = '["' + "[{" * 100 + '", "\\"' + "[" * 100 + '"]'
    assert len(decode(text.encode())) == 2


def test_escaped_characters_beyond_the_basic_plane_are_read() -> None:
    assert decode(b'"\\ud834\\udd1e"') == "𝄞"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", "array"),
        (b'"a"', "string"),
        (b"1", "number"),
        (b"true", "boolean"),
        (b"null", "null"),
    ],
)
def test_another_json_value_is_no_object(body: bytes, kind: str) -> None:
    with pytest.raises(WireError, match=f"JSON {kind}") as caught:
        decode_object(body)
    assert caught.value.code == "SCH_SCHEMA_VALIDATION_FAILED"
    assert caught.value.path == "$"


def test_the_refusal_says_where() -> None:
    with pytest.raises(WireError, match="line 2 column 6") as caught:
        decode(b'{\n"a": x}')
    assert caught.value.code == "SCH_INVALID_JSON"


@pytest.mark.parametrize("end", [b"", b"\\"], ids=["open string", "open escape"])
def test_many_escaped_quotes_take_no_longer_than_their_length(end: bytes) -> None:
    """A pattern that starts anew at each escaped quote needs hours for this body."""
    body = b"[" * (MAX_DEPTH + 1) + b'"' + b'\\"' * 120_000 + end
    with pytest.raises(WireError) as caught:
        decode(body)
    assert caught.value.code == "SCH_INVALID_JSON"
