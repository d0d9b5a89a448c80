"""The formula language: what it reads, what it computes, what it refuses."""

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.formula import FormulaError, Instant, Value, parse
from adapter.formula.tree import Reference

STRINGS = [
    "roles.BUYER.roleInputs.contractedQuantity × roles.SELLER.roleInputs.pricePerKWh",
    "roles.BUYER.roleInputs.contractedQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges",
    "computeTariffPrice(roles.SELLER.roleInputs.tariff, roles.BUYER.roleInputs.tradeStartTime,"
    " roles.BUYER.roleInputs.tradeEndTime, deliveredQuantity) × deliveredQuantity",
    "deliveredQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges",
    "(roles.MARKET_CLEARING_AGENT.roleInputs.clearingPrice"
    " + roles.MARKET_CLEARING_AGENT.roleInputs.marketMakingFee)"
    " × roles.MARKET_CLEARING_AGENT.roleInputs.clearedPower[PROSUMER.era]",
    "abs(roles.MARKET_CLEARING_AGENT.roleInputs.clearedPower[PROSUMER.era])"
    " × roles.GRID_OPERATOR.roleInputs.wheelingCharges",
    "roles.SELLER.roleInputs.pricePerKWh.value"
    " × telemetrySources.cdr-ev-charger-ccs2-001.energyKWh",
    "telemetrySources.cdr-ev-charger-ccs2-001.energyKWh"
    " / ((telemetrySources.cdr-ev-charger-ccs2-001.endTime"
    " - telemetrySources.cdr-ev-charger-ccs2-001.startTime) / 3600)",
    "max(0, (waitTime - target) * penaltyRate)",
]
SYNTAX = "P2P_FLOW_SYNTAX"


def nothing(reference: Reference) -> Value:
    """Refuse every reference."""
    raise KeyError(reference)


def value(text: str, **names: Value) -> Value:
    """Return the value of a formula over plain names."""
    return parse(text).evaluate(lambda reference: names[".".join(reference.parts)])


@pytest.mark.parametrize("text", STRINGS, ids=range(1, len(STRINGS) + 1))
def test_every_string_in_use_can_be_read(text: str) -> None:
    assert parse(text).references


def test_references_are_listed_once_in_the_order_written() -> None:
    formula = parse("b + a × b[ 'k 1' ]")
    assert [r.parts for r in formula.references] == [("b",), ("a",), ("b", "k 1")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 - -1", 3),
        ("10-3", 7),
        ("2 − 1", 1),
        ("8 / 2 / 2", 2),
        ("8 ÷ (2 · 2)", 2),
        ("2 + 3 × 4", 14),
        ("-2 × -3", 6),
        ("- - 1", 1),
        ("+1", 1),
        ("1.5e2", 150),
        ("1E-6", Fraction(1, 1_000_000)),
        ("0.1 + 0.2", Fraction(3, 10)),
        ("1 / 3", Fraction(1, 3)),
        ("abs(-2)", 2),
        ("min(3, 1, 2)", 1),
        ("max(3)", 3),
        ("\t 1\n+ 1 ", 2),
    ],
)
def test_arithmetic_is_exact(text: str, expected: int | Fraction) -> None:
    assert parse(text).evaluate(nothing) == expected


def test_a_hyphen_between_name_characters_belongs_to_the_name() -> None:
    assert parse("a-b").references == (Reference(("a-b",)),)
    assert value("a - b", a=Fraction(3), b=Fraction(1)) == 2
    assert value("a -b", a=Fraction(3), b=Fraction(1)) == 2


def test_date_times_subtract_to_seconds() -> None:
    assert value("b - a", a=Instant(1_000), b=Instant(3_500)) == Fraction(5, 2)


@pytest.mark.parametrize("text", ["a + a", "a × 2", "2 - a", "abs(a)", "-a", "a + 1", "a - 1"])
@pytest.mark.parametrize("given_value", [Instant(1), "text", True, {}], ids=repr)
def test_arithmetic_takes_numbers_only(text: str, given_value: Value) -> None:
    with pytest.raises(FormulaError) as caught:
        value(text, a=given_value)
    assert caught.value.code == "P2P_FLOW_VALUE"


def test_functions_of_the_host_get_values_of_any_kind() -> None:
    formula = parse("computeTariffPrice(t, a, b, 10) × 10")
    seen: list[tuple[Value, ...]] = []

    def price(arguments: tuple[Value, ...]) -> Value:
        seen.append(arguments)
        return Fraction(1, 4)

    names: Mapping[str, Value] = {"t": {"currency": "EUR"}, "a": Instant(0), "b": Instant(1)}
    result = formula.evaluate(lambda r: names[r.parts[0]], {"computeTariffPrice": price})
    assert result == Fraction(5, 2)
    assert seen == [({"currency": "EUR"}, Instant(0), Instant(1), Fraction(10))]


@pytest.mark.parametrize(
    "text",
    [
        "1 +",
        "foo(1)",
        "a..b",
        "abs()",
        "abs(1, 2)",
        "min()",
        "max(" + ",".join("1" * 17) + ")",
        "computeTariffPrice(1, 2, 3)",
        "1;2",
        "",
        " ",
        "2 3",
        "2a",
        "1.",
        ".5",
        "a.1",
        "a[]",
        "a[ ]",
        "[a]",
        "a[b",
        "9**9**9",
        "lambda: 1",
        "a if b else c",
        "'text'",
        "а + 1",  # noqa: RUF001  # a Cyrillic letter is the point
        "ａ",  # noqa: RUF001  # so is a full-width one
        "٣",
        "1e31",
        "1e-31",
        "1e99999999999999999999",
        "1" * 41,
        "0." + "1" * 40,
        "(" * 65 + "1" + ")" * 65,
        "-" * 65 + "1",
        "abs(" * 65 + "1" + ")" * 65,
        "1" + "+1" * 512,
        "(" * 20_000,
        "(" * 20_000 + ")" * 20_000,
        "9" * 1_000_000,
        "a" * 2_001,
        "-" * 2_000,
        "(" * 2_000,
        "abs(" * 500,
        "\x00",
        "a.b\u2028",
    ],
    ids=lambda text: ascii(text[:16]),
)
def test_anything_else_is_refused_at_once(text: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert caught.value.code == SYNTAX
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 +", "it ends too early"),
        ("abs(1", "it ends too early"),
        ("a $ b", "unexpected '$' at character 3"),
        (" 2 3", "unexpected '3' at character 4"),
        ("a[b", "unexpected '[' at character 2"),
        ("a.1", "unexpected '1' at character 3"),
        ("foo(1)", "no function 'foo'"),
        ("abs(1, 2)", "abs takes 1 arguments"),
        ("min()", "unexpected ')' at character 5"),
        ("a['']", "[] names no key"),
        ("1e31", "a number has an exponent beyond 30"),
        ("-" * 65 + "1", "nested deeper than 64"),
    ],
)
def test_the_refusal_says_what_is_wrong_and_where(text: str, why: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert caught.value.message == why


@pytest.mark.parametrize(
    "text",
    ["(" * 64 + "1" + ")" * 64, "-" * 64 + "1", "a" * 2_000, "1" + "+1" * 255, "9e30"],
    ids=["brackets", "signs", "characters", "nodes", "exponent"],
)
def test_what_lies_at_a_limit_is_read(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize("name", ["__class__", "__import__.os", "a.__globals__[x]"])
def test_names_of_python_are_names_like_any_other(name: str) -> None:
    with pytest.raises(KeyError):
        parse(name).evaluate(nothing)


def test_a_growing_number_is_stopped() -> None:
    formula = parse("9e30" + "*9e30" * 200)
    with pytest.raises(FormulaError, match="bits"):
        formula.evaluate(nothing)


def test_division_by_zero_has_no_value() -> None:
    with pytest.raises(FormulaError) as caught:
        parse("1 / (1 - 1)").evaluate(nothing)
    assert caught.value.code == "P2P_FLOW_VALUE"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            "roles[BUYER].roleInputs[contractedQuantity].value"
            " * roles.SELLER.roleInputs.pricePerKWh.value",
            STRINGS[0],
            id="F12",
        ),
        ("a × b × c", "c * (b * a)"),
        ("a + b - c", "-c + (b + a)"),
        ("a - (b - c)", "a + c - b"),
        ("-a × b", "a × -b"),
        ("a / (b / c)", "a × c / b"),
        ("1.50 × a", "a × 1.5"),
        (
            "roles.CONSUMER.roleInputs.contractedQuantity",
            "roles.BUYER.roleInputs.contractedQuantity",
        ),
        ("a['b']", "a.b"),
    ],
)
def test_spelling_does_not_change_the_normal_form(one: str, other: str) -> None:
    assert parse(one).normal == parse(other).normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a × 2", "a"),
        ("a - b", "b - a"),
        ("a / b", "b / a"),
        ("min(a, b)", "max(a, b)"),
        ("a + b × c", "(a + b) × c"),
        ("a.value", "a"),
        ("-a", "a"),
        ("a['b.c']", "a.b.c"),
    ],
)
def test_other_formulas_have_other_normal_forms(one: str, other: str) -> None:
    assert parse(one).normal != parse(other).normal


@st.composite
def formulas(draw: st.DrawFn, depth: int = 4) -> tuple[str, Fraction | None]:
    """Give a formula with its value, None where it divides by zero."""
    if depth == 0 or draw(st.booleans()):
        number = draw(st.decimals(min_value=0, max_value=1_000, places=3))
        return str(number), Fraction(number)
    left, left_value = draw(formulas(depth - 1))
    right, right_value = draw(formulas(depth - 1))
    operator = draw(st.sampled_from("+-×/"))
    text = f"({left}) {operator} ({right})"
    if left_value is None or right_value is None or (operator == "/" and right_value == 0):
        return text, None
    results = {
        "+": left_value + right_value,
        "-": left_value - right_value,
        "×": left_value * right_value,
    }
    return text, results.get(operator) if operator != "/" else left_value / right_value


@given(formulas())
def test_values_equal_a_reference_that_computes_alongside(
    pair: tuple[str, Fraction | None],
) -> None:
    text, expected = pair
    if expected is None:
        with pytest.raises(FormulaError):
            parse(text).evaluate(nothing)
    else:
        assert parse(text).evaluate(nothing) == expected


@given(st.text(max_size=60) | st.text(alphabet="ab.[]()+-×*/ 019e'", max_size=40))
def test_any_text_is_read_or_refused_with_a_code(text: str) -> None:
    code = None
    try:
        parse(text)
    except FormulaError as error:
        code = error.code
    assert code in {None, SYNTAX}


def test_s11_a_thousand_terms_are_refused_unread() -> None:
    for number in range(100):
        with pytest.raises(FormulaError, match="more than 512 parts"):
            parse("1+" * 900 + str(number))


@pytest.mark.parametrize("part", ["1", "a.b[c d].e", "a . b", "max(1)", "1e+5"])
def test_as_many_parts_as_allowed_are_read(part: str) -> None:
    nodes = 2 if part == "max(1)" else 1
    count = (512 - 1) // nodes
    text = "+".join([part] * min(count, 1_999 // (len(part) + 1)))
    assert parse(text).text == text
