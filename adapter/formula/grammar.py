"""Grammar, functions and limits of formulas. Source: contract specification, section 6.3.

sum     = product (sign product)*
product = signed (times signed)*
signed  = sign signed | primary
primary = number | name "(" sum ("," sum)* ")" | name ("." name | key)* | "(" sum ")"
"""

import re
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

NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*)
      | (?P<key>\[[^\]]*\])
      | (?P<mark>[-+−×*·/÷(),.])
    )?""",
    re.VERBOSE,
)
"""The blanks before a token and the token, none at the end or before what is none.

A hyphen between two name characters belongs to the name.
"""

SIGNS = frozenset("+-−")
MINUS = frozenset("-−")
TIMES = frozenset("×*·/÷")
DIVIDE = frozenset("/÷")
