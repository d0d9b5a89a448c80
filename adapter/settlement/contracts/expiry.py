"""registry.expire_due: what a passed deadline ends, as a command of its own.

A refusal cannot change state, so nothing expires on the side. Source: settlement specification,
section 13.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.settlement.agreement_rows import Agreement, AgreementState
from adapter.settlement.commands import NoEntry
from adapter.settlement.contracts.closing import expire
from adapter.settlement.contracts.delivery import finish
from adapter.settlement.kinds import integer_kind
from adapter.settlement.rows import padded
from adapter.settlement.state import Span
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True)
class ExpireDue:
    """Expire what is past its deadline, oldest first."""

    limit: Annotated[int | None, integer_kind("objects", 1, 100_000)] = None


def expire_due(work: Work, args: ExpireDue) -> Mapping[str, Any]:
    """Expire proposals, and agreements whose delivery deadline passed."""
    limit = args.limit or work.settings.expire_batch
    overdue = work.find(Agreement, "due", "", Span(end=padded(work.now_ms)), limit=limit)
    if not overdue:
        raise NoEntry({"expired": 0})
    for listed in overdue:
        agreement = work.get(Agreement, listed.key)  # an earlier one may have changed it
        assert agreement is not None
        if agreement.state is AgreementState.PROPOSED:
            expire(work, agreement)
        else:
            finish(work, agreement)
    return {"expired": len(overdue)}
