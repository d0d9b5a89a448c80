"""Tier 2: the rules of an energy contract: over one message, over earlier ones, inside prices.

Errors refuse a live message, warnings and information are reported.
Source: contract specification, section 12.
"""

from adapter.protocol.rules.history import (
    HISTORY_RULES,
    ContractHistory,
    Said,
    check_history,
    check_said,
    contract_id_of,
    record,
    record_said,
    said_of,
)
from adapter.protocol.rules.message import Message
from adapter.protocol.rules.prices import PRICE_RULES, check_prices
from adapter.protocol.rules.table import ALL_RULES, check_message, check_read

__all__ = [
    "ALL_RULES",
    "HISTORY_RULES",
    "PRICE_RULES",
    "ContractHistory",
    "Message",
    "Said",
    "check_history",
    "check_message",
    "check_prices",
    "check_read",
    "check_said",
    "contract_id_of",
    "record",
    "record_said",
    "said_of",
]
