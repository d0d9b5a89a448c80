"""The formula language of energy contracts as a library: text in, exact numbers out.

`parse` gives a `Formula`; its `evaluate` asks a resolver for the value of each reference. What a
reference means in a contract is decided by the caller (`protocol.flows`). Nothing is ever handed
to Python's own evaluator. Source: contract specification, section 6.
"""

from adapter.formula.compiler import Function, Instant, Resolver, Value
from adapter.formula.errors import FormulaError
from adapter.formula.parser import Formula, parse

__all__ = ["Formula", "FormulaError", "Function", "Instant", "Resolver", "Value", "parse"]
