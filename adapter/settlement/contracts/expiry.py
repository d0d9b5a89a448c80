"""registry.expire_due: what a passed deadline ends, as a command of its own.

A refusal cannot change state, so nothing expires on the side. Source: settlement specification,
section 13.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Annotated, Any, NamedTuple

from adapter.settlement.agreement_rows import Agreement, AgreementState
from adapter.settlement.commands import NoEntry
from adapter.settlement.contracts.closing import expire
from adapter.settlement.contracts.delivery import finish
from adapter.settlement.contracts.order_book import may_expire
from adapter.settlement.contracts.orders import expire_order
from adapter.settlement.contracts.pool_closing import expire_offer
from adapter.settlement.contracts.requests import expire_request
from adapter.settlement.kinds import integer_kind
from adapter.settlement.oracle_rows import Request
from adapter.settlement.order_rows import Order
from adapter.settlement.pool_rows import PoolOffer
from adapter.settlement.rows import padded
from adapter.settlement.state import LedgerStore, Row, Span
from adapter.settlement.work import Work


def _at_once(_ledger: LedgerStore, _row: Any) -> bool:
    return True


class Expirable(NamedTuple):
    """A kind of row that lists itself under `due`, in order of its deadline."""

    kind: type[Row]
    end: Callable[[Work, Any], None]
    """Takes the row as it is now and ends it."""
    is_ready: Callable[[LedgerStore, Any], bool] = _at_once
    """Whether a row past its deadline can be ended yet."""


class Overdue(NamedTuple):
    """A row past its deadline, in the order in which such rows expire."""

    deadline: str
    """Padded ms."""
    rank: int
    """Place of its kind in the table."""
    key: str


@dataclass(frozen=True, slots=True)
class ExpireDue:
    """Expire what is past its deadline, oldest first."""

    limit: Annotated[int | None, integer_kind("objects", 1, 100_000)] = None


def expire_due(work: Work, args: ExpireDue) -> Mapping[str, Any]:
    """End the oldest of what is past its deadline."""
    expired = expire_overdue(work, args.limit or work.settings.expire_batch)
    if not expired:
        raise NoEntry({"expired": 0})
    return {"expired": expired}


def expire_overdue(work: Work, limit: int) -> int:
    """End at most `limit` of what is past its deadline, and return how many."""
    due = list(islice(overdue(work.ledger, work.now_ms), limit))
    for _, rank, key in due:
        row = work.get(EXPIRABLES[rank].kind, key)  # an earlier one may have changed it
        assert row is not None
        EXPIRABLES[rank].end(work, row)
    return len(due)


def overdue(ledger: LedgerStore, now_ms: int) -> Iterator[Overdue]:
    """Give what is past its deadline, in order of deadline, kind and key."""
    return merge(*(_overdue(ledger, rank, now_ms) for rank in range(len(EXPIRABLES))))


def _overdue(ledger: LedgerStore, rank: int, now_ms: int) -> Iterator[Overdue]:
    kind, _, is_ready = EXPIRABLES[rank]
    for row in ledger.find(kind, "due", "", Span(end=padded(now_ms))):
        if is_ready(ledger, row):
            deadline = next(index.sort for index in row.indexes() if index.name == "due")
            yield Overdue(deadline, rank, row.key)


def _end_agreement(work: Work, agreement: Agreement) -> None:
    if agreement.state is AgreementState.PROPOSED:
        expire(work, agreement)
    else:
        finish(work, agreement)


EXPIRABLES = (
    Expirable(Order, expire_order, may_expire),
    Expirable(Agreement, _end_agreement),
    Expirable(Request, expire_request),
    Expirable(PoolOffer, expire_offer),
)
"""What expires, in order of kinds."""
