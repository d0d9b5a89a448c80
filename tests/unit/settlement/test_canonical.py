from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from adapter.settlement.canonical import CanonicalError, canonical_bytes, parse_canonical

KEYS = st.text(st.characters(min_codepoint=1, max_codepoint=126), min_size=1, max_size=6)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_the_bytes_are_those_of_rfc_8785(document: dict[str, Any]) -> None:
    assert canonical_bytes(document) == rfc8785.dumps(document)
    assert parse_canonical(canonical_bytes(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"a": None}, id="null"),
        pytest.param({"a": 0.5}, id="fraction"),
        pytest.param({"a": 2**53}, id="2^53"),
        pytest.param({"ä": 1}, id="key beyond ASCII"),
        pytest.param({"a": "\ud800"}, id="half a surrogate pair"),
        pytest.param({"a": [{"b": {1}}]}, id="a set, deep inside"),
    ],
)
def test_what_the_subset_lacks_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(CanonicalError):
        canonical_bytes(document)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a": 1}', id="white space"),
        pytest.param('{"b":1,"a":2}', id="keys out of order"),
        pytest.param('{"a":1,"a":1}', id="a key twice"),
        pytest.param('{"a":1.0}', id="fraction"),
        pytest.param('{"a":NaN}', id="NaN"),
        pytest.param('{"a":"\\u0041"}', id="needless escape"),
        pytest.param("[1]", id="no object"),
        pytest.param("{", id="no JSON"),
        pytest.param('{"a":null}', id="null"),
    ],
)
def test_another_spelling_is_not_read(text: str) -> None:
    with pytest.raises(CanonicalError):
        parse_canonical(text.encode())
