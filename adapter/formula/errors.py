"""The one error of this package."""

from adapter.domain.errors import AdapterError

SYNTAX = "P2P_FLOW_SYNTAX"
PATH = "P2P_FLOW_PATH"
VALUE = "P2P_FLOW_VALUE"


class FormulaError(AdapterError):
    """A formula that cannot be read (SYNTAX), means nothing (PATH) or has no value (VALUE)."""
