"""The one tree of errors.

    AdapterError            code, message, path, http_status, transient, details, cause, findings
    ├── WireError           a published wire code (`codes.CODES`): refusals on the Beckn paths
    ├── QuantityError       a number that is no exact energy, price or money
    └── ContractError       a refusal of the contract layer (`settlement_codes.SETTLEMENT_CODES`)

Raised where the fact is known, rendered in one place per face. What should not happen is a bug:
assert it. The message says what was wrong, where, and what would be right, in that order.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.codes import CODES
from adapter.domain.findings import Finding
from adapter.domain.settlement_codes import SETTLEMENT_CODES


class AdapterError(Exception):
    """A refusal with a published code."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        path: str | None = None,
        details: Mapping[str, Any] | None = None,
        cause: Mapping[str, Any] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        """Make a refusal.

        Args:
            code: a published code.
            message: what was wrong, where, what would be right.
            path: JSONPath from `$` of the first offending place.
            details: further facts that the other side may act on.
            cause: the error object this one came from, `{"code", "message", "details"?}`.
            findings: all findings of the tier that refused.
        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        self.details = dict(details or {})
        self.cause = cause
        self.findings = findings

    @property
    def http_status(self) -> int:
        """Return the HTTP status of an answer that carries this error."""
        known = CODES.get(self.code) or SETTLEMENT_CODES.get(self.code)
        return known.http_status if known else 400

    @property
    def transient(self) -> bool:
        """Return whether the same request may succeed later."""
        known = CODES.get(self.code) or SETTLEMENT_CODES.get(self.code)
        return known is not None and known.transient

    def __repr__(self) -> str:
        """Return code and message, for logs and test output."""
        return f"{type(self).__name__}({self.code}: {self.message})"


class WireError(AdapterError):
    """A refusal by a wire code."""


class ContractError(AdapterError):
    """A refusal by a function of the contract layer."""


class QuantityError(AdapterError):
    """A number that is not exactly an energy, a price or an amount of money."""

    def __init__(self, message: str, *, path: str | None = None) -> None:
        """Make the refusal SCH_ATTRIBUTE_PACK_INVALID."""
        super().__init__("SCH_ATTRIBUTE_PACK_INVALID", message, path=path)
