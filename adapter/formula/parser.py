"""Text to tree by recursive descent, with every limit checked before it can cost anything.

Each level of the grammar is one method of `_Reader`; brackets, calls and signs go one level down,
so that the depth of the recursion is bounded by `grammar.MAX_DEPTH`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Never

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

_NO_FUNCTIONS: Mapping[str, Function] = MappingProxyType({})
_END = ""


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
    if len(text) > grammar.MAX_CHARACTERS:
        msg = f"{len(text)} characters, at most {grammar.MAX_CHARACTERS} are allowed"
        raise _syntax(msg)
    tree = _Reader(text).formula()
    return Formula(text, tree, references(tree))


def _syntax(why: str) -> FormulaError:
    return FormulaError(SYNTAX, why)


class _Reader:
    """Reads one text from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        """Stand before the first token."""
        self._text = text
        self._place = 0
        """Where the token begins; its end is where the next one is looked for."""
        self._end = 0
        self._kind = _END
        """A group of `grammar.TOKEN`, `_END`, or a mark itself, such as `(`."""
        self._token = ""
        self._nodes = 0
        self._depth = 0
        self._step()

    def formula(self) -> Node:
        """Return the tree of the whole text."""
        tree = self._sum()
        if self._kind != _END:
            self._refuse()
        return tree

    def _sum(self) -> Node:
        terms = self._chain(self._product, grammar.SIGNS, grammar.MINUS)
        return terms[0][1] if len(terms) == 1 else Sum(terms)

    def _product(self) -> Node:
        factors = self._chain(self._signed, grammar.TIMES, grammar.DIVIDE)
        return factors[0][1] if len(factors) == 1 else Product(factors)

    def _chain(
        self, operand: Callable[[], Node], marks: frozenset[str], inverse: frozenset[str]
    ) -> tuple[tuple[bool, Node], ...]:
        """Return operands between `marks`, each with whether an `inverse` mark precedes it."""
        parts = [(False, operand())]
        while self._kind in marks:
            is_inverse = self._take() in inverse
            parts.append((is_inverse, operand()))
        if len(parts) > 1:
            self._count()
        return tuple(parts)

    def _signed(self) -> Node:
        if self._kind not in grammar.SIGNS:
            return self._primary()
        is_minus = self._take() in grammar.MINUS
        self._count()
        node = self._inside(self._signed)
        return Negation(node) if is_minus else node

    def _primary(self) -> Node:
        kind = self._kind
        match kind:
            case "number":
                self._count()
                return Number(_exact(self._take()))
            case "name":
                name = self._take()
                self._count()
                return self._call(name) if self._kind == "(" else self._path(name)
            case "(":
                self._take()
                node = self._inside(self._sum)
                self._take(")")
                return node
            case _:
                self._refuse()

    def _call(self, name: str) -> Node:
        self._take("(")
        arguments = [self._inside(self._sum)]
        while self._kind == ",":
            self._take()
            arguments.append(self._inside(self._sum))
        self._take(")")
        fewest, most = grammar.FUNCTIONS.get(name, (0, -1))
        if not fewest <= len(arguments) <= most:
            wanted = fewest if fewest == most else f"{fewest} to {most}"
            msg = f"{name} takes {wanted} arguments" if most > 0 else f"no function {name[:40]!r}"
            raise _syntax(msg)
        return Call(name, tuple(arguments))

    def _path(self, name: str) -> Node:
        parts = [name]
        while self._kind in (".", "key"):
            if self._kind == "key":
                parts.append(_key(self._take()))
            else:
                self._take()
                parts.append(self._take("name"))
        return Reference(tuple(parts))

    def _inside(self, read: Callable[[], Node]) -> Node:
        """Return what stands one level further down."""
        self._depth += 1
        if self._depth > grammar.MAX_DEPTH:
            msg = f"nested deeper than {grammar.MAX_DEPTH}"
            raise _syntax(msg)
        node = read()
        self._depth -= 1
        return node

    def _count(self) -> None:
        """Count one node of the tree."""
        self._nodes += 1
        if self._nodes > grammar.MAX_NODES:
            msg = f"more than {grammar.MAX_NODES} parts"
            raise _syntax(msg)

    def _take(self, kind: str | None = None) -> str:
        """Return the token and go on to the next; refuse one of another kind."""
        if kind not in (None, self._kind):
            self._refuse()
        token = self._token
        self._step()
        return token

    def _step(self) -> None:
        found = grammar.TOKEN.match(self._text, self._end)
        assert found is not None, "blanks alone match, none at all too"
        kind = found.lastgroup
        self._token = "" if kind is None else found[kind]
        self._end = found.end()
        self._place = self._end - len(self._token)
        self._kind = self._token if kind == "mark" else kind or _END
        if kind is None and self._end < len(self._text):
            self._refuse()

    def _refuse(self) -> Never:
        if self._place >= len(self._text):
            msg = "it ends too early"
        else:
            msg = f"unexpected {self._text[self._place]!r} at character {self._place + 1}"
        raise _syntax(msg)


def _exact(token: str) -> Fraction:
    match = grammar.NUMBER.fullmatch(token)
    assert match is not None, "the grammar lets no other number through"
    whole, decimals, exponent = match[1], match[2] or "", match[3] or "0"
    if len(whole) + len(decimals) > grammar.MAX_DIGITS:
        msg = f"a number has more than {grammar.MAX_DIGITS} digits"
        raise _syntax(msg)
    if len(exponent) > 4 or abs(int(exponent)) > grammar.MAX_EXPONENT:
        msg = f"a number has an exponent beyond {grammar.MAX_EXPONENT}"
        raise _syntax(msg)
    return Fraction(int(whole + decimals)) * Fraction(10) ** (int(exponent) - len(decimals))


def _key(token: str) -> str:
    key = token[1:-1].strip()
    if len(key) > 1 and key[0] == key[-1] and key[0] in "'\"":
        key = key[1:-1]
    if not key:
        msg = "[] names no key"
        raise _syntax(msg)
    return key
