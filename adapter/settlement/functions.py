"""The one table of contract functions and reads.

Parsing, documents, the HTTP edge and `apply` all read it. A function that is not here does not
exist.
"""

from collections.abc import Mapping
from types import MappingProxyType

from adapter.settlement.commands import Function, Read
from adapter.settlement.tables import agreements, oracle, pool, registry, token, trading

_CONTRACTS = (registry, token, trading, oracle, agreements, pool)

FUNCTIONS: Mapping[tuple[str, str], Function] = MappingProxyType(
    {
        (function.contract, function.name): function
        for contract in _CONTRACTS
        for function in contract.FUNCTIONS
    }
)
"""Functions that change the ledger, by contract and name."""

READS: Mapping[tuple[str, str], Read] = MappingProxyType(
    {(read.contract, read.name): read for contract in _CONTRACTS for read in contract.READS}
)
"""Functions that only read, by contract and name."""
