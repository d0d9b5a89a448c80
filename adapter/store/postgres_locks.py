"""Locks of a unit of work, taken so that no two units ever wait for each other.

A lock stands for something a unit reads in order to write: a transaction, a request of ours, a
contract, an offer, the ledger. It is there before any row is, so two units that would both make
the first row of a trade wait too. All have one order. A unit waits only for a lock beyond all it
holds; one that comes earlier in the order is tried, and when a rival has it the unit starts again
from its beginning, with every lock it is known to need taken in order first.
"""

from collections.abc import Collection, Iterable
from enum import IntEnum
from hashlib import blake2b

from adapter.store.postgres_connection import Answer, Connection
from adapter.store.postgres_writes import LOCKS

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
    TURN = 8
    """Work that one process at a time is enough for; not of a unit of work."""


Key = tuple[Kind, int]


class BusyError(Exception):
    """A rival holds a lock that may not be waited for: the unit must start again."""


class BarredError(Exception):
    """A unit wants a lock that is not to be taken in this transaction."""


class Locks:
    """What one attempt of a unit holds.

    A lock is taken with the statement after it, in one round trip. One that was only tried counts
    as held until the outcome is there, and no outcome of a later statement is used before that.
    """

    __slots__ = (
        *("_barred", "_connection", "_last", "_tried"),
        *("has_claimed", "held", "missed", "wanted"),
    )

    def __init__(
        self, connection: Connection, wanted: set[Key], *, barred: Kind | None = None
    ) -> None:
        """Take locks on `connection`.

        Args:
            connection: in a transaction.
            wanted: grows with what the unit turns out to need.
            barred: what is not to be locked in this transaction.
        """
        self._connection = connection
        self._barred = barred
        self._tried: list[tuple[Answer, str]] = []
        self.wanted = wanted
        self.held: frozenset[Key] = frozenset()
        self.missed: str | None = None
        """What a rival had."""
        self.has_claimed = False
        """Whether rows are locked whose transactions are not: nothing more may be waited for."""
        self._last: Key | None = None
        """The furthest in the order, perhaps still held although a savepoint was undone."""
        connection.on_flush = self._judge

    def take_together(self, names: Iterable[tuple[Kind, str]] = ()) -> None:
        """Wait for some locks and for all that are known to be needed, in order.

        What comes before one that is held already is tried, see `take`; so is the furthest one,
        which was perhaps given back.
        """
        self.wanted |= {self.key(kind, name) for kind, name in names}
        missing = sorted(self.wanted - self.held)
        if self._last is not None:
            for key in missing:
                if key <= self._last:
                    self._try(key, key[0].name)
            missing = [key for key in missing if key > self._last]
        if missing:
            self._connection.execute(_WAIT, ([number for _, number in missing],))
            self._hold(missing)

    def take(self, kind: Kind, name: str) -> bool:
        """Hold a lock until the transaction ends; return whether it is new.

        Raises:
            BusyError: a rival has it, and waiting is not allowed. Perhaps a later statement tells.
        """
        key = self.key(kind, name)
        if key in self.held:
            return False
        self.wanted.add(key)
        if kind is self._barred:
            self.missed = kind.name
            raise BarredError(kind.name)
        if self._last is None or key > self._last:
            self._connection.execute(_WAIT, ([key[1]],))
            self._hold({key})
        else:
            self._try(key, name)
        return True

    def take_to_write(self, kind: Kind, name: str) -> None:
        """Hold a lock on what is written and was not read; nobody waits for it, nor is told.

        When a rival has it the transaction fails when it is sent, and the unit starts again.
        """
        key = self.key(kind, name)
        if key in self.held:
            return
        if self._connection.is_exact:
            self.take(kind, name)
            return
        self.wanted.add(key)
        self._connection.put(LOCKS, key, (key[1],))
        self._hold({key})

    def try_(self, kind: Kind, name: str) -> bool:
        """Hold a lock if nobody else does; return whether it is held."""
        key = self.key(kind, name)
        if key not in self.held:
            if not self._connection.execute(_TRY, (key[1],)).fetchone()[0]:
                return False
            self._hold({key})
        return True

    def check(self) -> None:
        """Let no unit be committed that went on without a lock.

        Raises:
            BusyError: it did.
        """
        if self._tried:
            self._connection.flush()
        if self.missed is not None:
            raise BusyError(self.missed)

    def restore(self, held: frozenset[Key]) -> None:
        """Note what is surely held after a savepoint was undone, which gives back what came later.

        The order still counts from the furthest: when nothing was sent yet nothing is given back.
        """
        self.held = held
        self._tried = [one for one in self._tried if self._connection.is_waiting(one[0])]

    def key(self, kind: Kind, name: str) -> Key:
        """Return the number that stands for something; two with one number only wait more."""
        text = f"{self._connection.schema}|{kind.value}|{name}".encode()
        return kind, int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)

    def _try(self, key: Key, name: str) -> None:
        self._tried.append((self._connection.execute(_TRY, (key[1],)), name))
        self._hold({key})
        if self._connection.is_exact:
            self._judge()

    def _hold(self, keys: Collection[Key]) -> None:
        self.held |= frozenset(keys)
        self._last = max(self.held if self._last is None else {*keys, self._last})

    def _judge(self) -> None:
        """Refuse what was done without a lock; called when the outcomes are there."""
        while self._tried and self._tried[0][0].statement.result is not None:
            answer, name = self._tried.pop(0)
            if not answer.fetchone()[0]:
                self.missed = name
                raise BusyError(name)
