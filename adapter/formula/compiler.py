"""Tree to closure over exact rational numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from adapter.formula.errors import VALUE, FormulaError
from adapter.formula.grammar import MAX_BITS
from adapter.formula.tree import Call, Negation, Node, Number, Product, Reference, Sum


@dataclass(frozen=True, slots=True)
class Instant:
    """A date-time; one minus another is seconds."""

    ms: int


Value = Fraction | Instant | Mapping[str, Any] | str | bool
"""What a reference may stand for; only numbers go into arithmetic."""

Resolver = Callable[[Reference], Value]
Function = Callable[[tuple[Value, ...]], Value]
Evaluator = Callable[[Resolver, Mapping[str, Function]], Value]


def compile_tree(node: Node) -> Evaluator:
    """Return a function that computes `node`."""
    match node:
        case Number(value):
            return lambda _resolve, _functions: value
        case Reference():
            return lambda resolve, _functions: resolve(node)
        case Negation(operand):
            inner = compile_tree(operand)
            return lambda resolve, functions: -_number(inner(resolve, functions))
        case Sum(terms):
            return _sum([(minus, compile_tree(term)) for minus, term in terms])
        case Product(factors):
            return _product([(inverse, compile_tree(factor)) for inverse, factor in factors])
        case Call(name, arguments):
            return _call(name, [compile_tree(argument) for argument in arguments])


def _value_error(why: str) -> FormulaError:
    return FormulaError(VALUE, why)


def _number(value: Value) -> Fraction:
    if type(value) is Fraction:
        return value
    msg = "a date-time, a text or an object stands where a number is needed"
    raise _value_error(msg)


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        msg = f"a number on the way needs more than {MAX_BITS} bits"
        raise _value_error(msg)
    return value


def _sum(terms: list[tuple[bool, Evaluator]]) -> Evaluator:
    first = terms[0][1]
    rest = terms[1:]

    def evaluate(resolve: Resolver, functions: Mapping[str, Function]) -> Value:
        total = first(resolve, functions)
        for minus, term in rest:
            value = term(resolve, functions)
            if minus and isinstance(total, Instant) and isinstance(value, Instant):
                total = Fraction(total.ms - value.ms, 1_000)
            elif minus:
                total = _bounded(_number(total) - _number(value))
            else:
                total = _bounded(_number(total) + _number(value))
        return total

    return evaluate


def _product(factors: list[tuple[bool, Evaluator]]) -> Evaluator:
    first = factors[0][1]
    rest = factors[1:]

    def evaluate(resolve: Resolver, functions: Mapping[str, Function]) -> Value:
        total = _number(first(resolve, functions))
        for inverse, factor in rest:
            value = _number(factor(resolve, functions))
            if inverse and not value:
                msg = "division by zero"
                raise _value_error(msg)
            total = _bounded(total / value if inverse else total * value)
        return total

    return evaluate


def _absolute(values: list[Fraction]) -> Fraction:
    return abs(values[0])


_NUMERIC: Mapping[str, Callable[[list[Fraction]], Fraction]] = {
    "abs": _absolute,
    "min": min,
    "max": max,
}


def _call(name: str, arguments: list[Evaluator]) -> Evaluator:
    numeric = _NUMERIC.get(name)
    if numeric is not None:
        return lambda resolve, functions: numeric(
            [_number(argument(resolve, functions)) for argument in arguments]
        )

    def evaluate(resolve: Resolver, functions: Mapping[str, Function]) -> Value:
        values = tuple(argument(resolve, functions) for argument in arguments)
        if name not in functions:
            msg = f"{name} is not available here"
            raise _value_error(msg)
        return functions[name](values)

    return evaluate
