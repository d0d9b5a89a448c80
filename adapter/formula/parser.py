"""Text to tree, with every limit checked before it can cost anything."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError

from adapter.formula import grammar
from adapter.formula.compiler import Evaluator, Function, Resolver, Value, compile_tree
from adapter.formula.errors import SYNTAX, FormulaError
from adapter.formula.normal import normal_form
from adapter.formula.tree import (
    Call,
    Negation,
    Node,
    Number,
    Product,
    Reference,
    Sum,
    references,
)

CACHED_FORMULAS = 256
"""Formulas kept parsed. A network uses a handful; the largest trees allowed fill 30 MB."""

_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_OPERAND = re.compile(
    r"[A-Za-z_][\w-]*(?:\s*\.\s*[A-Za-z_][\w-]*|\s*\[[^\]]*\])*|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?",
    re.ASCII,
)
"""A number, a call's name or a whole path: each is at least one part of the tree."""
_NO_FUNCTIONS: Mapping[str, Function] = MappingProxyType({})


@dataclass(frozen=True)
class Formula:
    """A formula that could be read."""

    text: str
    tree: Node
    references: tuple[Reference, ...]
    """Each once, in the order in which they are written."""

    @cached_property
    def normal(self) -> str:
        """Return the normal form: two formulas with equal ones compute the same."""
        return normal_form(self.tree)

    @cached_property
    def _evaluator(self) -> Evaluator:
        return compile_tree(self.tree)

    def evaluate(
        self, resolve: Resolver, functions: Mapping[str, Function] = _NO_FUNCTIONS
    ) -> Value:
        """Return the exact value; for a formula of money that is a Fraction.

        Args:
            resolve: gives the value of a reference. What it raises goes through.
            functions: the host's functions by name, beside abs, min and max.

        Raises:
            FormulaError: P2P_FLOW_VALUE, e.g. a division by zero.
        """
        return self._evaluator(resolve, functions)


@lru_cache(maxsize=CACHED_FORMULAS)
def parse(text: str) -> Formula:
    """Return the formula that `text` says.

    Raises:
        FormulaError: P2P_FLOW_SYNTAX, with what is wrong and at which character.
    """
    _check_size(text)
    try:
        part: _Part = _lark().parse(text)  # type: ignore[assignment]  # the transformer's result
    except UnexpectedInput as error:
        raise _syntax(_describe(error, text)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, FormulaError):
            raise error.orig_exc from None
        raise
    return Formula(text, part.node, references(part.node))


def _syntax(why: str) -> FormulaError:
    return FormulaError(SYNTAX, why)


def _check_size(text: str) -> None:
    if len(text) > grammar.MAX_CHARACTERS:
        msg = f"{len(text)} characters, at most {grammar.MAX_CHARACTERS} are allowed"
        raise _syntax(msg)
    depth = 0
    for char in text:
        if char == "(":
            depth += 1
            if depth > grammar.MAX_DEPTH:
                raise _syntax(_TOO_DEEP)
        elif char == ")":
            depth -= 1
    if len(_OPERAND.findall(text)) > grammar.MAX_NODES:
        raise _syntax(_TOO_LONG)  # found here in 0.1 ms; reading a thousand terms takes 60 ms


_TOO_LONG = f"more than {grammar.MAX_NODES} parts"
_TOO_DEEP = f"nested deeper than {grammar.MAX_DEPTH}"


def _describe(error: UnexpectedInput, text: str) -> str:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return "it ends too early"
    place: int = getattr(error, "pos_in_stream", None) or 0
    return f"unexpected {text[place : place + 1]!r} at character {place + 1}"


class _Part(NamedTuple):
    """A tree on its way up, with what the limits look at."""

    node: Node
    nodes: int
    depth: int


@v_args(inline=True)
class _Builder(Transformer[Token, _Part]):
    """Builds the tree while the parser reduces."""

    def start(self, part: _Part) -> _Part:
        """Return the whole formula."""
        return part

    def number(self, token: Token) -> _Part:
        """Return a literal."""
        return _Part(Number(_exact(token)), 1, 1)

    def path(self, *tokens: Token) -> _Part:
        """Return a reference."""
        return _Part(Reference(tuple(map(_key, tokens))), 1, 1)

    def call(self, name: Token, *arguments: _Part) -> _Part:
        """Return a function call."""
        fewest, most = grammar.FUNCTIONS.get(name, (0, -1))
        if not fewest <= len(arguments) <= most:
            wanted = fewest if fewest == most else f"{fewest} to {most}"
            msg = f"{name} takes {wanted} arguments" if most > 0 else f"no function {name[:40]!r}"
            raise _syntax(msg)
        return _combine(Call(str(name), tuple(a.node for a in arguments)), arguments, deeper=1)

    def group(self, part: _Part) -> _Part:
        """Return what brackets hold."""
        return _combine(part.node, (part,), deeper=1, nodes=0)

    def signed(self, sign: Token, part: _Part) -> _Part:
        """Return an operand with its sign."""
        node = Negation(part.node) if sign in grammar.MINUS else part.node
        return _combine(node, (part,), deeper=1)

    def expr(self, first: _Part, *rest: Any) -> _Part:
        """Return a sum, or its only term."""
        if not rest:
            return first
        marks = (False, *(sign in grammar.MINUS for sign in rest[::2]))
        parts = (first, *rest[1::2])
        terms = tuple((mark, part.node) for mark, part in zip(marks, parts, strict=True))
        return _combine(Sum(terms), parts)

    def term(self, first: _Part, *rest: Any) -> _Part:
        """Return a product, or its only factor."""
        if not rest:
            return first
        marks = (False, *(sign in grammar.DIVIDE for sign in rest[::2]))
        parts = (first, *rest[1::2])
        factors = tuple((mark, part.node) for mark, part in zip(marks, parts, strict=True))
        return _combine(Product(factors), parts)


def _combine(node: Node, parts: tuple[_Part, ...], *, deeper: int = 0, nodes: int = 1) -> _Part:
    count = nodes + sum(part.nodes for part in parts)
    depth = deeper + max(part.depth for part in parts)
    if count > grammar.MAX_NODES:
        raise _syntax(_TOO_LONG)
    if depth > grammar.MAX_DEPTH + 1:
        raise _syntax(_TOO_DEEP)
    return _Part(node, count, depth)


def _exact(token: str) -> Fraction:
    match = _NUMBER.fullmatch(token)
    assert match is not None, "the grammar lets no other number through"
    whole, decimals, exponent = match[1], match[2] or "", match[3] or "0"
    if len(whole) + len(decimals) > grammar.MAX_DIGITS:
        msg = f"a number has more than {grammar.MAX_DIGITS} digits"
        raise _syntax(msg)
    if len(exponent) > 4 or abs(int(exponent)) > grammar.MAX_EXPONENT:
        msg = f"a number has an exponent beyond {grammar.MAX_EXPONENT}"
        raise _syntax(msg)
    return Fraction(int(whole + decimals)) * Fraction(10) ** (int(exponent) - len(decimals))


def _key(token: Token) -> str:
    if token.type != "KEY":
        return str(token)
    key = token[1:-1].strip()
    if len(key) > 1 and key[0] == key[-1] and key[0] in "'\"":
        key = key[1:-1]
    if not key:
        msg = "[] names no key"
        raise _syntax(msg)
    return key


@lru_cache(maxsize=1)
def _lark() -> Lark:
    return Lark(grammar.GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=False)
