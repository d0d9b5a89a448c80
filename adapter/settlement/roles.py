"""Roles of the contract layer. Only ADMIN grants and revokes; no role passes itself on.

Source: settlement specification, section 6.
"""

from enum import StrEnum

SYSTEM = "system"
"""The actor of the host's timer; the edge gives it to nobody."""
ORACLE_CONTRACT = "contract:oracle"
POOL_CONTRACT = "contract:pool"


class Role(StrEnum):
    """What an actor may do beyond its own affairs."""

    ADMIN = "ADMIN"
    REGULATOR = "REGULATOR"
    GRID_OPERATOR = "GRID_OPERATOR"
    MINTER = "MINTER"
    BURNER = "BURNER"
    MARKET_MAKER = "MARKET_MAKER"
    ORACLE_OPERATOR = "ORACLE_OPERATOR"
    TREASURER = "TREASURER"
    POOL_OPERATOR = "POOL_OPERATOR"
    AUDITOR = "AUDITOR"

    @property
    def refusal(self) -> str:
        """Return the code for an actor that lacks the role."""
        return _REFUSALS.get(self, "NOT_AUTHORIZED")


_REFUSALS = {
    Role.ADMIN: "NOT_OWNER",
    Role.REGULATOR: "NOT_REC_REGULATOR",
    Role.GRID_OPERATOR: "NOT_GRID_OPERATOR",
    Role.MINTER: "UNAUTHORIZED_MINTER",
    Role.BURNER: "UNAUTHORIZED_BURNER",
    Role.MARKET_MAKER: "NOT_MARKET_MAKER",
    Role.ORACLE_OPERATOR: "NOT_ORACLE_OPERATOR",
    Role.TREASURER: "NOT_TREASURER",
}

HELD_FROM_START = (
    (Role.MINTER, ORACLE_CONTRACT),
    (Role.MINTER, POOL_CONTRACT),
    (Role.BURNER, POOL_CONTRACT),
    (Role.MARKET_MAKER, SYSTEM),
    (Role.ORACLE_OPERATOR, SYSTEM),
)
"""Roles that entry 0 grants besides those it names."""
