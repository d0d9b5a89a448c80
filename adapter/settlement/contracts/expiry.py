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
from adapter.settlement.kinds import integer_kind
from adapter.settlement.rows import padded
from adapter.settlement.state import LedgerStore, Row, Span
from adapter.settlement.work import Work


class Expirable(NamedTuple):
    """A kind of row that lists itself under `due`, in order of its deadline."""

    kind: type[Row]
    end: Callable[[Work, Any], None]
    """Takes the row as it is now and ends it."""


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
    limit = args.limit or work.settings.expire_batch
    due = list(islice(overdue(work.ledger, work.now_ms), limit))
    if not due:
        raise NoEntry({"expired": 0})
    for _, rank, key in due:
        kind, end = EXPIRABLES[rank]
        row = work.get(kind, key)  # an earlier one may have changed it
        assert row is not None
        end(work, row)
    return {"expired": len(due)}


def overdue(ledger: LedgerStore, now_ms: int) -> Iterator[Overdue]:
    """Give what is past its deadline, in order of deadline, kind and key."""
    return merge(*(_overdue(ledger, rank, now_ms) for rank in range(len(EXPIRABLES))))


def _overdue(ledger: LedgerStore, rank: int, now_ms: int) -> Iterator[Overdue]:
    for row in ledger.find(EXPIRABLES[rank].kind, "due", "", Span(end=padded(now_ms))):
        deadline = next(index.sort for index in row.indexes() if index.name == "due")
        yield Overdue(deadline, rank, row.key)


def _end_agreement(work: Work, agreement: Agreement) -> None:
    if agreement.state is AgreementState.PROPOSED:
        expire(work, agreement)
    else:
        finish(work, agreement)


EXPIRABLES = (Expirable(Agreement, _end_agreement),)
"""What expires, in order of kinds."""
