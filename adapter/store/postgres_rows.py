"""Rows of messages and trades that the units of one transaction have found or written.

Whoever has a row here holds its lock, so it changes by the units of this transaction alone. What
units say beforehand that they will read is locked in order and read for all of them at once; what
they write is kept here for those that come after, and sent with the commit.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.domain.parties import Side
from adapter.service.records import About
from adapter.store.postgres_arrays import INT, TEXT, Columns
from adapter.store.postgres_connection import Answer, Connection
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.rows import (
    ASKED_COLUMNS,
    INBOX_COLUMNS,
    asked_from,
    inbox_from,
    offer_from,
    trade_from,
)

IDS = 8
"""New ids of the outbox that are drawn at once, at least."""
_IDS = "SELECT nextval('outbox_id_seq') FROM generate_series(1, ($1::bigint[])[1])"
_COUNT = Columns({"count": INT})
_NUMBER = "(SELECT number FROM wire_transaction WHERE transaction_id = new.id)"

Key = tuple[Hashable, ...]
"""What a row is found by, behind the name of its table."""


@dataclass(frozen=True, slots=True)
class _Look:
    """How rows of a table are found by their keys."""

    sql: str
    columns: Columns
    keys: Callable[[About], Iterable[tuple[str, ...]]]
    found: Callable[[Sequence[Any]], tuple[Key, Any]]
    """Returns the key and the row of what the statement gave."""
    places: Callable[[tuple[str, ...]], Iterable[Key]]
    """Returns for what keys it is known that nothing is there unless something was found."""


def _same(*keys: str) -> str:
    return " AND ".join(f"kept.{key} = new.{key}" for key in keys)


def _look(
    table: str,
    key: tuple[str, ...],
    columns: Sequence[str],
    keys: Callable[[About], Iterable[tuple[str, ...]]],
    row: Callable[[Sequence[Any]], Any],
    rest: str = "",
) -> _Look:
    """Return a look for rows of which a key has one; under its name and the key they are known."""
    found = ", ".join(f'kept."{name}"' for name in columns)
    size = len(key)
    return _Look(
        *_find(found, table, f"{_same(*key)} {rest}", *key),
        keys,
        lambda values: ((table, *values[:size]), row(values[size:])),
        lambda key: ((table, *key),),
    )


def _find(found: str, table: str, where: str, *keys: str) -> tuple[str, Columns]:
    """Return a statement that gives keys and columns of the rows that have these keys.

    OFFSET 0: each key is looked up by itself, as it is when it is asked for alone.
    """
    columns = Columns(dict.fromkeys(keys, TEXT))
    named = ", ".join(f"new.{name}" for name in columns.names)
    sql = f"""
SELECT {named}, found.* FROM {columns.rows} CROSS JOIN LATERAL (
    SELECT {found} FROM {table} AS kept WHERE {where} OFFSET 0) AS found
"""
    return sql, columns


_LOOKS = (
    _look(
        "inbox",
        ("sender", "message_id", "action", "variant"),
        INBOX_COLUMNS,
        lambda about: () if about.message is None else (about.message,),
        inbox_from,
    ),
    _look("asked", ("message_id", "action"), ASKED_COLUMNS, lambda about: about.asked, asked_from),
    _Look(
        *_find("kept.side, kept.document", "trade", f"transaction_number = {_NUMBER}", "id"),
        lambda about: [(one,) for one in about.transactions],
        lambda values: (("trade", Side(values[1]), values[0]), trade_from(values[2])),
        lambda key: [("trade", side, *key) for side in Side],
    ),
    _Look(
        *_find("kept.side, kept.transaction_id", "trade", f"leg_number = {_NUMBER}", "id"),
        lambda about: [(one,) for one in about.legs],
        lambda values: (("leg", values[0]), (Side(values[1]), values[2])),
        lambda key: (("leg", *key),),
    ),
    _look(
        "contract_history",
        ("key",),
        ("summary",),
        lambda about: [(one,) for one in about.histories],
        lambda values: bytes(values[0]),
    ),
    _look(
        "offer",
        ("offer_id",),
        ("document",),
        lambda about: [(one,) for one in about.offers],
        lambda values: offer_from(values[0]),
    ),
    _look(
        "bound_contract",
        ("contract_id",),
        ("transaction_id",),
        lambda about: [(one,) for one in about.contracts],
        lambda values: values[0],
    ),
    _look(
        "trade",
        ("side", "peer", "contract_id"),
        ("document",),
        lambda about: about.traded,
        lambda values: trade_from(values[0]),
        rest="ORDER BY kept.id DESC LIMIT 1",
    ),
)


class Rows:
    """What one transaction knows."""

    __slots__ = ("_answer", "_connection", "_drawn", "_flush", "_seen")

    def __init__(self, connection: Connection) -> None:
        """Know nothing yet."""
        self._connection = connection
        self._seen: dict[Hashable, Any] = {}
        """By table and key; None of a row that is not there."""
        self._drawn: list[int] = []
        self._answer: Answer | None = None
        self._flush = 0
        """After which the ids were drawn."""

    def __contains__(self, key: Hashable) -> bool:
        """Return whether it is known what is there."""
        return key in self._seen

    def __getitem__(self, key: Hashable) -> Any:
        """Return what is there, None when nothing is."""
        return self._seen[key]

    def __setitem__(self, key: Hashable, row: Any) -> None:
        """Know what is there from now on."""
        self._seen[key] = row

    def get(self, key: Hashable) -> Any:
        """Return what is known to be there, None also when nothing is known."""
        return self._seen.get(key)

    def forget(self, key: Hashable) -> None:
        """Know nothing any more of one row."""
        self._seen.pop(key, None)

    def forget_all(self) -> None:
        """Know nothing any more."""
        self._seen.clear()

    def copy(self) -> dict[Hashable, Any]:
        """Return what is known now, for `restore`."""
        return self._seen.copy()

    def restore(self, seen: dict[Hashable, Any]) -> None:
        """Know what was known at a savepoint that was undone; its locks are held still."""
        self._seen = seen

    def draw(self, count: int = IDS) -> None:
        """Let new ids of the outbox come with the next outcomes."""
        self._answer = self._connection.find(_IDS, _COUNT.arrays([(count,)]))
        self._flush = self._connection.flushes + 1

    def new_id(self) -> int:
        """Return a new id of the outbox.

        A line is in order of ids. So none is taken that was drawn before something was read that
        a rival may have written: his ids came later then.
        """
        if self._connection.flushes > self._flush or not (self._drawn or self._answer):
            self.draw()
        if self._answer is not None:
            self._drawn = [number for (number,) in reversed(self._answer.fetchall())]
            self._answer = None
        return self._drawn.pop() if self._drawn else self.new_id()

    def read(self, locks: Locks, abouts: Sequence[About]) -> None:
        """Lock what units are about, in order, then read it: once for all, in one round trip.

        The trades that have one of the named legs are locked and read too, in another one.
        """
        self._read(locks, abouts)
        parents = {self.get(("leg", leg)) for about in abouts for leg in about.legs} - {None}
        missing = [parent for parent in parents if ("trade", *parent) not in self._seen]
        if missing:
            self._read(locks, [About(transactions=tuple(name for _, name in missing))])

    def _read(self, locks: Locks, abouts: Sequence[About]) -> None:
        locks.take_together(_locked(abouts))
        asked = []
        for look in _LOOKS:
            keys = dict.fromkeys(
                key for about in abouts for key in look.keys(about) if _is_storable(key)
            )
            if keys:
                answer = self._connection.find(look.sql, look.columns.arrays([*keys]))
                asked.append((look, keys, answer))
        if not asked:
            return
        self.draw(max(IDS, 2 * len(abouts)))
        for look, keys, answer in asked:
            self._seen |= {place: None for key in keys for place in look.places(key)}
            self._seen |= dict(map(look.found, answer))


def _is_storable(key: Iterable[str]) -> bool:
    """Return whether a row can have that key.

    PostgreSQL holds no NUL, and a peer may send one. It is not looked for, so that the unit that
    meets it is refused alone, and those that are read for together with it are not.
    """
    return not any("\0" in text for text in key)


def _locked(abouts: Sequence[About]) -> Iterator[tuple[Kind, str]]:
    for about in abouts:
        for message_id, action in about.asked:
            yield Kind.ASKED, f"{message_id}|{action}"
        for name in (*about.transactions, *about.legs):
            yield Kind.TRANSACTION, name
        for key in about.histories:
            yield Kind.HISTORY, key
        for offer_id in about.offers:
            yield Kind.OFFER, offer_id
        for contract_id in about.contracts:
            yield Kind.CONTRACT, contract_id
        for traded in about.traded:
            yield Kind.CONTRACT, "|".join(traded)
