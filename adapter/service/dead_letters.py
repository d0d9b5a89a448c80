"""Messages that could not be delivered: kept, listed, and sent again when somebody asks.

Sending again means the same bytes under a fresh signature, attempts from zero. A callback whose
request is repeated is queued again by itself. Source: protocol specification, sections 9 and 10.
"""

from collections.abc import Callable
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.replace import replace
from adapter.protocol.envelope import Envelope
from adapter.service.ports import Clock, Store, UnitOfWork
from adapter.service.records import OutboxRow, OutboxState


class DeadLetters:
    """The dead letters of one node."""

    def __init__(self, store: Store, clock: Clock, committed: Callable[[str], None]) -> None:
        """Take the store that keeps them and whom to tell about a commit."""
        self._store = store
        self._clock = clock
        self._committed = committed

    async def listed(self, limit: int) -> list[dict[str, Any]]:
        """Return dead letters, oldest first, without their bodies."""
        rows = await self._store.read(lambda uow: list(uow.dead_outbox(limit)))
        return [_shown(row) for row in rows]

    async def send_again(self, row_id: int) -> None:
        """Queue a dead letter again.

        Raises:
            WireError: BIZ_ORDER_NOT_FOUND, there is no such dead letter.
        """

        def unit(uow: UnitOfWork) -> str:
            row = uow.outbox_row(row_id)
            if row is None or row.state is not OutboxState.DEAD:
                raise WireError("BIZ_ORDER_NOT_FOUND", f"no dead letter {row_id}")
            uow.save_outbox(revived(row, self._clock.now_ms()))
            return row.transaction_id

        self._committed(await self._store.write(unit))


def undelivered_callback(uow: UnitOfWork, envelope: Envelope) -> OutboxRow | None:
    """Return the dead callback that answers a request, if that is what became of it."""
    if envelope.action.is_callback:
        return None
    row = uow.find_outbox(envelope.message_id, envelope.action.callback.value)
    return row if row is not None and row.state is OutboxState.DEAD else None


def revived(row: OutboxRow, now_ms: int) -> OutboxRow:
    """Return the row due again, attempts from zero."""
    return replace(row, state=OutboxState.DUE, attempts=0, next_ms=now_ms, code=None)


def _shown(row: OutboxRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "to": row.peer,
        "action": row.action,
        "transaction_id": row.transaction_id,
        "message_id": row.message_id,
        "attempts": row.attempts,
        "http_status": row.http_status,
        "code": row.code,
    }
