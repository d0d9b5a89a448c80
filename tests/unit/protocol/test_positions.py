"""Lines and columns of what a report speaks of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.errors import WireError
from adapter.domain.findings import json_path
from adapter.protocol.positions import Place, find_fault, find_places, line_of
from adapter.protocol.strict_json import decode

TEXT = b"""{
  "context": {"action": "init", "ttl": "PT30S"},
  "message": {
    "order": {
      "beckn:items": [
        {"count": 8},
        {"count": "nine \\" \\u00e9"}
      ],
      "it's": [true, null, [1.5, -2]]
    }
  }
}
"""


@pytest.mark.parametrize(
    ("path", "line", "column", "length"),
    [
        ("$", 1, 1, 1),
        ("$.context", 2, 14, 1),
        ("$.context.action", 2, 25, 6),
        ("$.context.ttl", 2, 40, 7),
        ("$.message.order['beckn:items'][0].count", 6, 19, 1),
        ("$.message.order['beckn:items'][1].count", 7, 19, 16),
        ("$.message.order['it\\'s'][1]", 9, 22, 4),
        ("$.message.order['it\\'s'][2][1]", 9, 34, 2),
        pytest.param("$.context.bap_id", 2, 14, 1, id="absent: the object without it"),
        pytest.param("$.message.order['beckn:items'][7].x", 5, 22, 1, id="absent: the list"),
        pytest.param("$.context.action.more", 2, 25, 6, id="below a text"),
    ],
)
def test_a_path_is_found(path: str, line: int, column: int, length: int) -> None:
    assert find_places(TEXT, [path]) == {path: Place(line, column, length)}


def test_many_paths_are_found_in_one_pass() -> None:
    paths = ["$.message.order['it\\'s'][0]", "$.context", "$.message.order"]
    assert [find_places(TEXT, paths)[path].line for path in paths] == [9, 2, 4]


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [
        pytest.param(b'{"a": 1,\n "a": 2}', 2, 2, id="doubled key"),
        pytest.param(b'{"a": 1,\n "\\u0061": 2}', 2, 2, id="doubled key, escaped"),
        pytest.param(b'[{"a": 1},\n {"a": 2}, NaN]', 2, 12, id="NaN"),
        pytest.param(b'{"a":\n  1e400}', 2, 3, id="large exponent"),
        pytest.param(b'{"a":\n  "\\ud800"}', 2, 3, id="lone surrogate"),
        pytest.param(b'{"a": 1\n "b": 2}', 2, 2, id="missing comma"),
        pytest.param(b'{"a": 1,\n}', 2, 1, id="final comma"),
        pytest.param(b"", 1, 1, id="empty"),
        pytest.param(b'{"a":\n "\xff"}', 2, 3, id="not UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', 1, 1, id="byte order mark"),
        pytest.param(b"[\n" * 65 + b"]" * 65, 65, 1, id="depth"),
    ],
)
def test_a_fault_is_found(raw: bytes, line: int, column: int) -> None:
    with pytest.raises(WireError) as caught:
        decode(raw)
    found = find_fault(raw, caught.value.message)
    assert (found.line, found.column) == (line, column)


def test_lines_end_at_any_newline() -> None:
    assert [line_of(b"a\r\nb\n", n) for n in (1, 2, 3, 4)] == ["a", "b", "", ""]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def leaves(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str, object]]:
    """Return JSONPath and value of each place that holds no other."""
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in leaves(value, (*path, key))]
    if isinstance(node, list):
        return [leaf for index, value in enumerate(node) for leaf in leaves(value, (*path, index))]
    return [(json_path(path), node)]


@given(VALUES, st.sampled_from([None, 1, 3]))
def test_every_value_is_found_where_it_stands(value: object, indent: int | None) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "replace")
    wanted = leaves(json.loads(raw))
    places = find_places(raw, [path for path, _ in wanted])
    for path, leaf in wanted:
        place = places[path]
        line = line_of(raw, place.line)
        assert json.loads(line[place.column - 1 :][: place.length]) == leaf


def test_a_large_message_is_searched_in_bounded_time() -> None:
    raw = json.dumps({"a": [{"b": [0] * 9}] * 7_000, "c": 1}).encode()
    paths = [f"$.a[{n}].b[{n % 9}]" for n in range(0, 7_000, 70)] + ["$.c"]
    assert len(find_places(raw, paths)) == 101


@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"a":' * 50_000, b'"' * 200_000, b"\\" * 9])
def test_hostile_bytes_have_a_place_too(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(raw)
    assert find_fault(raw, caught.value.message).line == 1
