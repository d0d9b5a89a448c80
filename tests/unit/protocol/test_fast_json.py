"""The fast decoder says what the strict one says, or nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.protocol import strict_json
from adapter.protocol.fast_json import UNSURE, Codec, is_deeper
from adapter.protocol.strict_json import MAX_DIGITS
from tests.differential.decoders import CODEC, LIMITS, agrees, outcome
from tests.security.test_s9_hostile_json import HOSTILE

FOLDER = Path(__file__).parents[3] / "examples"
EXAMPLES = sorted(FOLDER.rglob("*.json"))

BLANK = st.sampled_from(["", "", "", " ", "\n", "\t\r ", "\u00a0", "\x0b"])
NUMBER = st.one_of(
    st.integers(-1_000, 1_000).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"-?[0-9](\.0{0,35}[0-9])?E[+-](29|3[0-2]|6[0-9]|7)", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "0E-31", "0E-69", "0e5", "1E+30", "1E+31", "1E-31", "NaN"]),
)
PIECE = st.one_of(
    st.sampled_from(list("ab{}[]:, /é𝄞\u2028\x7f")),
    st.sampled_from(
        [r"\"", r"\\", r"\/", r"\b", r"\n", r"\t", r"\u0061", r"\u00e9", r"\u001f", r"\u001F"]
    ),
    st.sampled_from([r"\ud834\udd1e", r"\ud834", r"\udd1e", r"\x41", r"\u12", "\n", "\x00"]),
)
STRING = st.one_of(
    st.sampled_from(['"a"', '"b"', '""', '" a"', r'"\u0061"', '"__proto__"']),
    st.lists(PIECE, max_size=4).map(lambda pieces: f'"{"".join(pieces)}"'),
)


@st.composite
def array(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Give the text of an array."""
    items = [draw(BLANK) + item + draw(BLANK) for item in draw(st.lists(inner, max_size=4))]
    return "[" + ",".join(items) + "]"


@st.composite
def object_(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Give the text of an object, some keys twice."""
    members = [
        f"{draw(BLANK)}{key}{draw(BLANK)}:{draw(BLANK)}{item}"
        for key, item in draw(st.lists(st.tuples(STRING, inner), max_size=4))
    ]
    return "{" + ",".join(members) + "}"


@st.composite
def nested(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Give a text deep inside brackets, about as deep as is allowed."""
    levels = draw(st.integers(55, 70))
    kinds = draw(st.lists(st.sampled_from([("[", "]"), ('{"a":', "}")]), min_size=1, max_size=3))
    pairs = [kinds[level % len(kinds)] for level in range(levels)]
    opening = "".join(pair[0] for pair in pairs)
    return opening + draw(inner) + "".join(pair[1] for pair in reversed(pairs))


WORD = st.sampled_from(["true", "false", "null", "True", "nul"])
TEXTS = st.recursive(
    st.one_of(NUMBER, STRING, WORD),
    lambda inner: st.one_of(array(inner), object_(inner), nested(inner)),
    max_leaves=12,
)


@settings(max_examples=600, deadline=None)
@given(TEXTS)
@example('{"a":1,"a":1}')
@example('{"a":1,"a":{"b":1e2}}')
@example('{"a b":1,"ab":2}')
@example('[0E-31,"x"]')
@example("[" + "1" * 40 + "]")
@example("[" + "1" * 41 + "]")
@example('["' + "[" * 65 + '"]')
@example('"' + "{" * 65 + '"')
def test_the_fast_way_is_the_strict_way(text: str) -> None:
    agrees(text.encode())


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.data())
def test_a_changed_byte_changes_nothing_about_that(text: str, data: st.DataObject) -> None:
    raw = bytearray(text.encode())
    place = data.draw(st.integers(0, len(raw)))
    raw[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=2))
    agrees(bytes(raw))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_the_same_to_both(raw: bytes) -> None:
    agrees(raw)
    agrees(b'{"' + raw + b'":"' + raw + b'"}')


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_s9_the_fast_way_is_sure_of_no_hostile_body(raw: bytes) -> None:
    assert CODEC.decode(raw) is UNSURE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_message_of_the_examples_takes_the_fast_way(path: Path) -> None:
    raw = path.read_bytes()
    if outcome(raw) == "SCH_INVALID_JSON":
        assert CODEC.decode(raw) is UNSURE
    else:
        assert agrees(raw)
        assert agrees(strict_json.encode(strict_json._decode(raw)))


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        pytest.param("[1.50,-0.0,0.000001]", True, id="digits as written"),
        pytest.param(' { "a" :\t[ 1 ,2 ]\r\n} ', True, id="white space"),
        pytest.param("[1e2]", False, id="an exponent that would be written otherwise"),
        pytest.param(r'["\u00e9"]', False, id="an escape that would be written otherwise"),
        pytest.param('["' + "0" * 36 + '"]', True, id="a row of digits no longer than a UUID"),
        pytest.param("[" + "[]," * 99 + "[]]", True, id="many brackets, not deep"),
        pytest.param("[" * 64 + "]" * 64, True, id="as deep as allowed"),
        pytest.param("[" * 65 + "]" * 65, False, id="deeper"),
        pytest.param("[0." + "1" * 30 + "]", True, id="30 decimals"),
        pytest.param("[0." + "1" * 31 + "]", False, id="31 decimals"),
    ],
)
def test_what_the_fast_way_is_sure_of(text: str, *, sure: bool) -> None:
    assert agrees(text.encode()) is sure


@pytest.mark.parametrize("before", range(8))
def test_a_long_integer_is_seen_wherever_it_begins(before: int) -> None:
    start = b"[" + b" " * before
    assert CODEC.decode(start + b"1" * (MAX_DIGITS + 1) + b"]") is UNSURE
    assert CODEC.decode(start + b"1" * 36 + b"]") == [int("1" * 36)]


@pytest.mark.parametrize(
    ("value", "depth"), [(1, 0), ([], 1), ({}, 1), ([1, {"a": [2]}, {"b": 3}], 3)], ids=repr
)
def test_depth_counts_arrays_and_objects(value: Any, depth: int) -> None:
    assert not is_deeper(value, depth)
    assert depth == 0 or is_deeper(value, depth - 1)


def test_the_first_bodies_of_a_short_command_do_without_msgspec() -> None:
    codec = Codec(LIMITS, warm_up=2)
    assert [codec.decode(b"[1]") for _ in range(4)] == [UNSURE, UNSURE, [1], [1]]


def test_whoever_encodes_has_paid_already() -> None:
    codec = Codec(LIMITS, warm_up=2)
    assert codec.encode([1]) == b"[1]"
    assert codec.decode(b"[1]") == [1]


def test_one_file_is_validated_without_the_import_of_what_it_does_not_need() -> None:
    file = FOLDER / "p2p_trading" / "06_on_init.json"
    command = [sys.executable, "-X", "importtime", "-m", "adapter", "validate", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "jsonschema_rs" in imported
    assert imported.isdisjoint({"jsonschema", "referencing", "msgspec", "lark", "pydantic"})
