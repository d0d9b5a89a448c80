"""The chart of accounts: `owner|asset|bucket`.

`|` is never part of an id, so an account id reads back without doubt. System accounts may be
signed; every other account keeps 0 <= held <= posted. Source: settlement specification, section 4.
"""

from adapter.domain.instants import SECOND_MS
from adapter.settlement.roles import ORACLE_CONTRACT

GRID = "GRID"
CAP = "CAP"
MAIN = "MAIN"
SYSTEM_OWNER = "sys"
ISSUED = "sys|GRID|ISSUED"
RETIRED = "sys|GRID|RETIRED"
GRANTED = "sys|CAP|GRANTED"
IN_USE = "sys|CAP|IN_USE"


def external(currency: str) -> str:
    """Return the account that cash comes from and goes to."""
    return f"sys|{currency}|EXTERNAL"


def main(owner: str, asset: str) -> str:
    """Return the account of an owner in GRID or cash."""
    return f"{owner}|{asset}|{MAIN}"


def wheeling(grid_operator: str, currency: str) -> str:
    """Return the account of wheeling income."""
    return f"{grid_operator}|{currency}|WHEELING"


def fees(platform: str, currency: str) -> str:
    """Return the account of fee income."""
    return f"{platform}|{currency}|FEES"


def oracle_fund(currency: str) -> str:
    """Return the account that pays the fees of requests for readings."""
    return f"{ORACLE_CONTRACT}|{currency}|FUND"


def cap(meter_id: str, side: str, slot_ms: int | None = None) -> str:
    """Return the cap account of a meter's side, or of one delivery slot of it."""
    bucket = side if slot_ms is None else f"{side}@{slot_ms // SECOND_MS}"
    return f"{meter_id}|{CAP}|{bucket}"


def asset_of(account_id: str) -> str:
    """Return the asset that an account counts."""
    return account_id.split("|")[1]


def is_system(account_id: str) -> bool:
    """Return whether an account may be signed."""
    return account_id.startswith("sys|")
