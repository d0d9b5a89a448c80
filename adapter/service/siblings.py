"""The other processes of this node, which share its store.

A process tells them which transactions it has just changed, so that whoever waits there looks at
once, and takes turns with them at work that one is enough for. Neither is needed for correctness:
who waits looks again now and then anyway, and every unit of work checks what it finds.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

JOURNAL = "the journal"
"""Told in place of a transaction id, which has no blanks: look what is known of the journal."""


@dataclass(frozen=True, slots=True)
class News:
    """What other processes have committed."""

    transaction_ids: Sequence[str] | None
    """What they have changed; None when it may be any, because nobody listened meanwhile."""
    is_help_wanted: bool
    """One has more messages to send than it sends at once."""


Heard = Callable[[News], None]


class Siblings(Protocol):
    """What a process knows of the others."""

    async def run(self, heard: Heard) -> None:
        """Listen until stopped."""
        ...

    def tell(self, transaction_id: str, *, is_help_wanted: bool = False) -> None:
        """Tell the others of a commit, a moment later and together with what else there is."""
        ...

    def turn(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Give whether the named work is this process's to do; nobody else does it meanwhile."""
        ...

    async def stop(self) -> None:
        """Tell what is left to tell, and end."""
        ...


class Alone:
    """There is no other process, as on SQLite."""

    async def run(self, heard: Heard) -> None:
        """Hear nothing."""

    def tell(self, transaction_id: str, *, is_help_wanted: bool = False) -> None:
        """Tell nobody."""

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[bool]:
        """Give True: it is always our turn."""
        del name
        yield True

    async def stop(self) -> None:
        """End nothing."""


ALONE = Alone()
"""Keeps nothing, so one is enough."""
