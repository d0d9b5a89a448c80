"""Grammar, functions and limits of formulas. Source: contract specification, section 6.3."""

from types import MappingProxyType

MAX_CHARACTERS = 2_000
MAX_DEPTH = 64
"""Brackets, calls and signs inside one another."""
MAX_NODES = 512
MAX_FLOWS = 64
"""Formulas of one contract."""
MAX_DIGITS = 40
"""Digits of a number; the strict JSON decoder has the same bound."""
MAX_EXPONENT = 30
MAX_BITS = 1_024
"""Bits of a numerator or denominator on the way: a long product stays cheap, and no amount of
money is near it."""

FUNCTIONS = MappingProxyType(
    {"abs": (1, 1), "min": (1, 16), "max": (1, 16), "computeTariffPrice": (4, 4)}
)
"""Fewest and most arguments of each function."""

GRAMMAR = r"""
start: expr
expr: term (SIGN term)*
term: unary (TIMES unary)*
?unary: SIGN unary -> signed
      | primary
?primary: NUMBER -> number
        | NAME "(" expr ("," expr)* ")" -> call
        | NAME ("." NAME | KEY)* -> path
        | "(" expr ")" -> group

SIGN: "+" | "-" | "−"
TIMES: "×" | "*" | "·" | "/" | "÷"
NUMBER: /[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/
NAME: /[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*/
KEY: /\[[^\]]*\]/
%ignore /[ \t\r\n]+/
"""
"""A hyphen between two name characters belongs to the name."""

MINUS = frozenset("-−")
DIVIDE = frozenset("/÷")
