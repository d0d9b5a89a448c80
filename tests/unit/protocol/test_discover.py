"""Discover: words, and filters that agree with a naive evaluator."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.domain.errors import WireError
from adapter.protocol.discover import MAX_FILTER_BYTES, MAX_NESTING, has_words, read_filter, wish_of

ITEM: Mapping[str, Any] = {
    "beckn:id": "item-1",
    "beckn:descriptor": {"schema:name": "Roof energy"},
    "beckn:itemAttributes": {
        "sourceType": "SOLAR",
        "availableQuantity": Decimal("12.5"),
        "productionAsynchronous": True,
        "whole": 1,
        "meterId": None,
        "productionWindow": {"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T18:00:00Z"},
    },
}
OFFER: Mapping[str, Any] = {
    "beckn:id": "offer-1",
    "beckn:descriptor": {"schema:name": "Fixed price"},
    "beckn:provider": "provider-9",
    "beckn:price": {"schema:price": Decimal("0.15"), "schema:priceCurrency": "USD"},
}


def finds(expression: str) -> bool:
    message = {"filters": {"type": "jsonpath", "expression": expression}}
    return wish_of(message)(ITEM, OFFER)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@.itemAttributes.sourceType == 'SOLAR'", True),
        ('@.itemAttributes.sourceType == "SOLAR"', True),
        ("@.beckn:itemAttributes.sourceType == 'SOLAR'", True),
        ("@['beckn:itemAttributes']['sourceType'] == 'SOLAR'", True),
        ("$[?(@.itemAttributes.sourceType == 'SOLAR')]", True),
        ("  $[?( @.itemAttributes.sourceType == 'SOLAR' )]  ", True),
        ("'SOLAR' == @.itemAttributes.sourceType", True),
        ("@.itemAttributes.sourceType != 'WIND'", True),
        ("@.itemAttributes.availableQuantity >= 12.5", True),
        ("@.itemAttributes.availableQuantity > 12.5", False),
        ("@.itemAttributes.availableQuantity < -1", False),
        ("@.itemAttributes.availableQuantity >= '12.5'", False),
        ("@.itemAttributes.productionAsynchronous == true", True),
        ("@.itemAttributes.whole == true", False),
        ("@.itemAttributes.whole != true", True),
        ("@.itemAttributes.meterId == null", True),
        ("@.itemAttributes.nothing == null", False),
        ("@.itemAttributes.nothing != 1", False),
        ("@.itemAttributes.sourceType.deeper == 'x'", False),
        ("@.itemAttributes.productionWindow.start == '2026-03-02T09:00:00+01:00'", True),
        ("@.itemAttributes.productionWindow.start < '2026-03-02T08:00:00.001Z'", True),
        ("@.itemAttributes.productionWindow.start < '2026-03-03'", True),
        ("@.id == 'offer-1'", True),
        ("@.price.price <= 0.15 && @.price.priceCurrency == 'USD'", True),
        ("1 == 2 || 1 == 1 && 1 == 2", False),
        ("(1 == 1 || 1 == 1) && 1 == 2", False),
        ("1 == 1 || 1 == 2 && 1 == 2", True),
    ],
)
def test_a_filter_compares(expression: str, expected: bool) -> None:
    assert finds(expression) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "@",
        "@.a",
        "@.a ==",
        "== 1",
        "@.a = 1",
        "@.a =~ /x/",
        "@.a == 1 &&",
        "@.a == 1 @.b == 2",
        "(@.a == 1",
        "@.a == 1)",
        "()",
        "!(@.a == 1)",
        "@.a in [1]",
        "@..a == 1",
        "@.* == 1",
        "$.a == 1",
        "@.a == 1e3",
        "@.a == 'open",
        "@.a == 'x' ; drop",
        "len(@.a) == 1",
        "@.a == 1 == 1",
        "$[?(@.a == 1)] || 1 == 1",
    ],
)
def test_anything_else_is_no_filter(expression: str) -> None:
    with pytest.raises(WireError) as refusal:
        read_filter(expression)
    assert refusal.value.code == "SCH_INVALID_JSONPATH"


def test_a_filter_of_2_kib_is_read_and_one_byte_more_is_not() -> None:
    whole = "@.a == 1" + " " * (MAX_FILTER_BYTES - 8)
    read_filter(whole)
    with pytest.raises(WireError, match="longer than 2048"):
        read_filter(whole + " ")


def test_a_filter_nests_to_its_limit_and_no_further() -> None:
    read_filter("(" * MAX_NESTING + "1 == 1" + ")" * MAX_NESTING)
    with pytest.raises(WireError, match="nests deeper"):
        read_filter("(" * (MAX_NESTING + 1) + "1 == 1" + ")" * (MAX_NESTING + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("  ", True),
        ("solar", True),
        ("SoLaR ROOF", True),
        ("price roof offer-1", True),
        ("provider-9", True),
        ("solar wind", False),
        ("12.5", False),
    ],
)
def test_every_word_must_occur_in_any_case(text: str, expected: bool) -> None:
    assert has_words(text, ITEM, OFFER) is expected


def test_words_and_filter_must_both_fit() -> None:
    message = {"text_search": "solar", "filters": {"expression": "1 == 2"}}
    assert not wish_of(message)(ITEM, OFFER)


def test_an_intent_may_hold_the_wish() -> None:
    message = {"intent": {"text_search": "wind"}}
    assert not wish_of(message)(ITEM, OFFER)


# Against a naive evaluator

MISSING = object()
Value = Any
Expression = tuple[str, Callable[[], bool]]

OPERANDS: list[tuple[str, Value]] = [
    ("@.itemAttributes.sourceType", "SOLAR"),
    ("@.beckn:itemAttributes.availableQuantity", Decimal("12.5")),
    ("@.itemAttributes.whole", Decimal(1)),
    ("@.itemAttributes.productionAsynchronous", True),
    ("@.itemAttributes.meterId", None),
    ("@.nothing.at.all", MISSING),
    ("'SOLAR'", "SOLAR"),
    ("'wind'", "wind"),
    ("''", ""),
    ("1", Decimal(1)),
    ("12.50", Decimal("12.5")),
    ("-3", Decimal(-3)),
    ("true", True),
    ("false", False),
    ("null", None),
]


def naive(sign: str, left: Value, right: Value) -> bool:
    if left is MISSING or right is MISSING:
        return False
    kind = {str: "s", Decimal: "n", bool: "b", type(None): "0"}
    same: bool = kind[type(left)] == kind[type(right)]
    if sign == "==":
        return same and bool(left == right)
    if sign == "!=":
        return not (same and left == right)
    if not same or kind[type(left)] not in "sn":
        return False
    order: int = (left > right) - (left < right)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[sign]


@st.composite
def comparisons(draw: st.DrawFn) -> Expression:
    (left, a), (right, b) = draw(st.sampled_from(OPERANDS)), draw(st.sampled_from(OPERANDS))
    sign = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    blank = draw(st.sampled_from(["", " "]))
    return f"{left}{blank}{sign}{blank}{right}", lambda: naive(sign, a, b)


def _join(parts: list[Expression], sign: str) -> Expression:
    text = f" {sign} ".join(f"({text})" for text, _ in parts)
    join = all if sign == "&&" else any
    return text, lambda: join(value() for _, value in parts)


expressions = st.recursive(
    comparisons(),
    lambda inner: st.builds(
        _join, st.lists(inner, min_size=1, max_size=3), st.sampled_from(["&&", "||"])
    ),
    max_leaves=12,
)


@given(expressions)
def test_a_filter_means_what_a_naive_evaluator_says(expression: Expression) -> None:
    text, value = expression
    if len(text) > MAX_FILTER_BYTES:
        return
    assert finds(text) is value()


@given(st.lists(comparisons(), min_size=1, max_size=6), st.data())
def test_and_binds_closer_than_or(parts: list[Expression], data: st.DataObject) -> None:
    signs = [data.draw(st.sampled_from(["&&", "||"])) for _ in parts[1:]]
    text = parts[0][0] + "".join(
        f" {sign} {part}" for sign, (part, _) in zip(signs, parts[1:], strict=True)
    )
    groups = [[parts[0][1]()]]
    for sign, (_, value) in zip(signs, parts[1:], strict=True):
        if sign == "&&":
            groups[-1].append(value())
        else:
            groups.append([value()])
    assert finds(text) is any(all(group) for group in groups)


@given(st.text(alphabet="@.$[]()'\"&|=<>!?*-0123456789 abetrufslnb:_\u00d7\u2003", max_size=60))
@example("@.a <= '0001-01-01T00:00:00+23:59'")
@example("@.itemAttributes.productionWindow.start <= '9999-12-31T23:59:59-23:59'")
def test_no_text_is_more_than_refused(text: str) -> None:
    window = {"start": "2026-03-02T08:00:00Z"}
    with suppress(WireError):
        read_filter(text)({"itemAttributes": {"productionWindow": window}})


@pytest.mark.parametrize(
    ("item", "found"),
    [
        pytest.param({"beckn:id": "b", "id": "a"}, "b", id="the spelling that stands first"),
        pytest.param({"id": "a", "beckn:id": "b"}, "a", id="whichever it is"),
        pytest.param({"schema:id": "s"}, "s", id="another prefix"),
        pytest.param({"beckn:schema:id": "t"}, "t", id="both prefixes"),
        pytest.param({"xbeckn:id": "x"}, None, id="no prefix of ours"),
    ],
)
def test_a_path_names_a_member_with_or_without_its_prefix(
    item: dict[str, str], found: str | None
) -> None:
    for value in "abstx":
        assert read_filter(f"@.id == '{value}'")(item) is (value == found)
