"""Locks of a unit of work, taken so that no two units ever wait for each other.

A lock stands for something a unit reads in order to write: a transaction, a request of ours, a
contract, an offer, the ledger. It is there before any row is, so two units that would both make
the first row of a trade wait too. All have one order. A unit waits only for a lock beyond all it
holds; one that comes earlier in the order is tried, and when a rival has it the unit starts again
from its beginning, with every lock it is known to need taken in order first.
"""

from enum import IntEnum
from hashlib import blake2b

from adapter.store.postgres_connection import Connection

_WAIT = "SELECT pg_advisory_xact_lock(number) FROM unnest(?::bigint[]) AS number"
_TRY = "SELECT pg_try_advisory_xact_lock(?)"


class Kind(IntEnum):
    """What a lock is on, in the order in which a message usually comes by it."""

    ASKED = 1
    TRANSACTION = 2
    HISTORY = 3
    OFFER = 4
    CONTRACT = 5
    LEDGER = 6
    PRUNING = 7


Key = tuple[Kind, int]


class BusyError(Exception):
    """A rival holds a lock that may not be waited for: the unit must start again."""


class Locks:
    """What one attempt of a unit holds."""

    __slots__ = ("_connection", "_last", "_salt", "held", "missed", "wanted")

    def __init__(self, connection: Connection, wanted: set[Key]) -> None:
        """Take locks on `connection`; `wanted` grows with what the unit turns out to need."""
        self._connection = connection
        self._salt = connection.schema
        self.wanted = wanted
        self.held: frozenset[Key] = frozenset()
        self.missed: str | None = None
        """What a rival had."""
        self._last: Key | None = None

    def take_wanted(self) -> None:
        """Wait for all locks that are known to be needed, in order; the first thing to do."""
        if self.wanted:
            numbers = [number for _, number in sorted(self.wanted)]
            self._connection.execute(_WAIT, (numbers,))
            self.restore(frozenset(self.wanted))

    def take(self, kind: Kind, name: str) -> None:
        """Hold a lock until the transaction ends.

        Raises:
            BusyError: a rival has it, and waiting is not allowed.
        """
        key = self.key(kind, name)
        if key in self.held:
            return
        self.wanted.add(key)
        if self._last is None or key > self._last:
            self._connection.execute(_WAIT, ([key[1]],))
        elif not self._is_free(key):
            self.missed = name
            raise BusyError(name)
        self.restore(self.held | {key})

    def try_(self, kind: Kind, name: str) -> bool:
        """Hold a lock if nobody else does; return whether it is held."""
        key = self.key(kind, name)
        if key not in self.held:
            if not self._is_free(key):
                return False
            self.restore(self.held | {key})
        return True

    def _is_free(self, key: Key) -> bool:
        """Take a lock without waiting; return whether that worked."""
        found = self._connection.execute(_TRY, (key[1],)).fetchone()
        assert found is not None
        return bool(found[0])

    def check(self) -> None:
        """Let no unit be committed that went on without a lock.

        Raises:
            BusyError: it did.
        """
        if self.missed is not None:
            raise BusyError(self.missed)

    def restore(self, held: frozenset[Key]) -> None:
        """Note what is held, as when a savepoint has given back what was taken after it."""
        self.held = held
        self._last = max(held, default=None)

    def key(self, kind: Kind, name: str) -> Key:
        """Return the number that stands for something; two with one number only wait more."""
        text = f"{self._salt}|{kind.value}|{name}".encode()
        return kind, int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)
