"""Who may call a function: the roles that the table checks, and words for the other relations."""

from adapter.settlement.roles import Role

ADMIN = (Role.ADMIN,)
REGULATOR = (Role.REGULATOR,)
TREASURER = (Role.TREASURER,)
ORACLE = (Role.ORACLE_OPERATOR,)
CLEARING = (Role.MARKET_MAKER, Role.ORACLE_OPERATOR)
UPKEEP = (Role.ORACLE_OPERATOR, Role.MARKET_MAKER)
SELF = "the user itself or its representative"
PARTY = "provider or consumer, or its representative"
