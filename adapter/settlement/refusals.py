"""How a contract function refuses."""

from typing import Any

from adapter.domain.errors import ContractError
from adapter.domain.settlement_codes import SETTLEMENT_CODES


def refusal(code: str, message: str, **details: Any) -> ContractError:
    """Return the error to raise for `code`; the names of older designs join the details."""
    aliases = SETTLEMENT_CODES[code].aliases
    if aliases:
        details["aliases"] = list(aliases)
    return ContractError(code, message, details=details)


def invalid(where: str, why: str) -> ContractError:
    """Return the refusal INVALID_INPUT of the argument or part named `where`."""
    return refusal("INVALID_INPUT", f"{where}: {why}")
