"""Tier 2: the rules of an energy contract, over one message and over earlier ones.

Errors refuse a live message, warnings and information are reported.
Source: contract specification, section 12.
"""

from adapter.protocol.rules.history import (
    HISTORY_RULES,
    ContractHistory,
    check_history,
    contract_id_of,
    record,
)
from adapter.protocol.rules.table import ALL_RULES, check_message

__all__ = [
    "ALL_RULES",
    "HISTORY_RULES",
    "ContractHistory",
    "check_history",
    "check_message",
    "contract_id_of",
    "record",
]
