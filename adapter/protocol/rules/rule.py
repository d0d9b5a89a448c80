"""What a rule is, and how its hits become findings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from adapter.domain.findings import Finding, Path, Severity, Tier, json_path
from adapter.protocol.contract_view import Mode

ALL_MODES = frozenset(Mode)
FIXED = frozenset({Mode.FIXED_PRICE})
TARIFF = frozenset({Mode.TARIFF})
FIXED_AND_TARIFF = FIXED | TARIFF
MARKET = frozenset({Mode.MARKET})


class Hit(NamedTuple):
    """A place where a rule does not hold."""

    path: Path
    params: Mapping[str, Any]
    severity: Severity | None = None
    """None: that of the rule."""


Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """One line of the rule catalogue."""

    code: str
    severity: Severity
    template: str
    """Text of the finding, filled from the params."""
    check: Callable[[Subject], Iterable[Hit]]
    """Gives every place where the rule does not hold."""
    modes: frozenset[Mode] = field(default=ALL_MODES)
    may_rise: bool = False
    """Whether a hit may be an error though the rule is none."""

    @property
    def may_refuse(self) -> bool:
        """Return whether a hit can be an error."""
        return self.severity is Severity.ERROR or self.may_rise

    def severity_of(self, hit: Hit) -> Severity:
        """Return how grave a hit is."""
        return hit.severity or self.severity

    def finding(self, hit: Hit) -> Finding:
        """Return a hit as a finding."""
        severity = self.severity_of(hit)
        assert severity is not Severity.ERROR or self.may_refuse, self.code
        return Finding(
            Tier.SEMANTIC,
            severity,
            self.code,
            json_path(hit.path),
            self.template.format_map(hit.params),
            rule=self.code,
            wire_code=wire_code(self.code) if severity is Severity.ERROR else None,
            params=hit.params,
        )


ATTRIBUTES_INVALID = "SCH_ATTRIBUTE_PACK_INVALID"
UPDATE_INCONSISTENT = "BIZ_UPDATE_INCONSISTENT"
_WIRE_CODES: Mapping[str, str] = MappingProxyType(
    {
        "P2P_CAP_EXCEEDED": "BIZ_QUANTITY_UNAVAILABLE",
        "P2P_CAP_POWER": "BIZ_QUANTITY_UNAVAILABLE",
        "P2P_ITEM_QUANTITY": "BIZ_QUANTITY_UNAVAILABLE",
        "P2P_QUANTITY_LIMITS": "BIZ_QUANTITY_UNAVAILABLE",
        "P2P_QUOTE_TOTAL": "BIZ_PRICE_MISMATCH",
        "P2P_OFFER_EXPIRED": "BIZ_QUOTE_EXPIRED_OR_CHANGED",
        "P2P_WINDOW_ENDED": "BIZ_QUOTE_EXPIRED_OR_CHANGED",
        "P2P_HIST_STATUS": "BIZ_INVALID_STATE_TRANSITION",
    }
)


def wire_code(code: str) -> str:
    """Return the level-1 code that an error goes out with. Source: section 1."""
    fallback = UPDATE_INCONSISTENT if code.startswith("P2P_HIST_") else ATTRIBUTES_INVALID
    return _WIRE_CODES.get(code, fallback)
