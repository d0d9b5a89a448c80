"""The digest of all balances of a ledger."""

import hashlib

from adapter.settlement.canonical import canonical_bytes
from adapter.settlement.state import LedgerStore


def state_root(ledger: LedgerStore) -> str:
    """Return the digest of all balances: SHA-256 of the canonical [account, posted, held] list."""
    rows = [[a.id, str(a.posted), str(a.held)] for a in ledger.accounts()]
    return hashlib.sha256(canonical_bytes(rows)).hexdigest()
