"""Reads of a past state: the journal replayed up to an entry, on a ledger in memory.

A state costs one execution per entry the first time, about 0.1 to 0.3 ms each, in a thread of its
own; a few states are kept, and a later one goes on from the nearest of them. So a read is refused
that lies more than REPLAY_MAX entries after the nearest. Source: settlement specification, section
17; decision 0012.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, Self

from adapter.domain.errors import ContractError
from adapter.service.ports import Store, UnitOfWork
from adapter.settlement import BLOCK_NAMES, Block, Entry, LedgerStore, replay

REPLAY_MAX = 20_000
"""Entries executed for one read: a few seconds of one core."""
KEPT = 4
"""States kept; each holds a table of all rows, whose values are shared."""
PAGE = 500
"""Entries read at once."""


class ScratchLedger(LedgerStore, Protocol):
    """A ledger in memory."""

    def copy(self) -> Self:
        """Return one with the same content; either may be changed alone."""
        ...


class PastStates:
    """Past states of the ledger hosted here."""

    def __init__(self, store: Store, empty: Callable[[], ScratchLedger]) -> None:
        """Take where the journal is and what makes an empty ledger."""
        self._store = store
        self._empty = empty
        self._kept: OrderedDict[int, ScratchLedger] = OrderedDict()
        """By the number of the last entry, the least recently used first."""
        self._turn = asyncio.Lock()

    async def at(self, seq: int) -> LedgerStore:
        """Return the state after an entry; it must not be written to.

        Raises:
            ContractError: INVALID_INPUT, too far from any state at hand.
        """
        async with self._turn:
            nearest = max((kept for kept in self._kept if kept <= seq), default=-1)
            if seq - nearest > REPLAY_MAX:
                msg = (
                    f"at_seq: {seq - nearest} entries would have to be replayed, at most "
                    f"{REPLAY_MAX} are; `p2ptrade ledger verify` and the journal have no such bound"
                )
                raise ContractError("INVALID_INPUT", msg)
            if nearest == seq:
                self._kept.move_to_end(seq)
                return self._kept[seq]
            ledger = self._kept[nearest].copy() if nearest >= 0 else self._empty()
            while nearest < seq:
                page = await self._store.read(_page(nearest, min(PAGE, seq - nearest)))
                await asyncio.to_thread(_replay, ledger, page)
                nearest = page[-1][0].seq
            self._kept[seq] = ledger
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return ledger


_Stored = tuple[Entry, dict[str, Block]]


def _page(after: int, limit: int) -> Callable[[UnitOfWork], Sequence[_Stored]]:
    def query(uow: UnitOfWork) -> Sequence[_Stored]:
        entries = uow.ledger.entries(after, limit)
        return [(entry, _blocks(uow.ledger, entry)) for entry in entries]

    return query


def _blocks(ledger: LedgerStore, entry: Entry) -> dict[str, Block]:
    if b'"blocks":' not in entry.body:
        return {}
    kept = ((name, ledger.block(entry.seq, name)) for name in BLOCK_NAMES)
    return {name: block for name, block in kept if block is not None}


def _replay(ledger: LedgerStore, page: Sequence[_Stored]) -> None:
    for entry, blocks in page:
        replay(entry.body, ledger, partial(_kept_block, blocks))


def _kept_block(blocks: Mapping[str, Block], _seq: int, name: str) -> Block | None:
    return blocks.get(name)
