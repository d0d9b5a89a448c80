"""The unit of work on one PostgreSQL connection: the tables of SQLite, with locks.

READ COMMITTED: each statement sees what is committed, and what a unit reads to write is locked
until it ends. See `postgres_locks` for the order, decision 0015 for the reason.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from psycopg import errors

from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.service.records import Asked, InboxRow, LoggedMessage
from adapter.settlement import LedgerStore
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.postgres_connection import Connection
from adapter.store.postgres_ledger import LockedLedger
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.postgres_outbox import LockedOutboxTable
from adapter.store.postgres_rows import Rows
from adapter.store.postgres_writes import (
    ASKED,
    BOUND,
    HISTORIES,
    INBOX,
    NEW_TRADES,
    OFFERS,
    TRADES,
    Row,
    Target,
)
from adapter.store.rows import asked_values, inbox_values, offer_values, trade_values
from adapter.store.sqlite_asked import AskedTable
from adapter.store.sqlite_inbox import InboxTable
from adapter.store.sqlite_journal_fault import JournalFaultTable
from adapter.store.sqlite_offers import OfferTable
from adapter.store.sqlite_roots import RootTable
from adapter.store.sqlite_trades import TradeTable, bound_already, stale

T = TypeVar("T")

_NAMES = "SELECT number, transaction_id FROM wire_transaction WHERE number = ANY(?)"
_FORGET = """
DELETE FROM wire_transaction WHERE number = ANY(?)
AND NOT EXISTS (SELECT 1 FROM inbox WHERE transaction_number = number)
AND NOT EXISTS (SELECT 1 FROM outbox WHERE transaction_number = number)
AND NOT EXISTS (SELECT 1 FROM asked WHERE transaction_number = number AND state = 'OPEN')
AND NOT EXISTS (SELECT 1 FROM trade WHERE transaction_number = number)
AND NOT EXISTS (SELECT 1 FROM trade WHERE leg_number = number)
"""


class PostgresUnit(
    LockedOutboxTable,
    InboxTable,
    TradeTable,
    AskedTable,
    OfferTable,
    RootTable,
    JournalFaultTable,
):
    """One unit of work or query, inside a transaction that its caller begins and ends.

    Root statements need no lock: a row of theirs never changes, and a second one is passed over.
    Nor does the fault of a journal, which is found outside of any unit.
    """

    __slots__ = ("_ledger",)
    _connection: Connection

    def __init__(
        self, connection: Connection, locks: Locks | None, rows: Rows | None = None
    ) -> None:
        """Work inside the open transaction of `connection`; without locks it is a query.

        `rows` is what is known in this transaction, nothing unless it is given.
        """
        super().__init__(connection)
        self._locks = locks
        self._kept = rows or Rows(connection)
        self._seen = set()
        self._ledger: LedgerStore | None = None

    @property
    def ledger(self) -> LedgerStore:
        """Return the ledger inside this transaction; nobody else has it until the end."""
        self._lock(Kind.LEDGER, "")
        if self._ledger is None:
            is_query = self._locks is None
            self._ledger = (SqliteLedger if is_query else LockedLedger)(self._connection)
        return self._ledger

    def savepoint(self, work: Callable[[], T]) -> T:
        """Run `work`; when it raises, its writes are undone and the exception goes on."""
        connection = self._connection
        held = None if self._locks is None else self._locks.held
        rows = self._kept.copy()
        point = connection.savepoint()
        try:
            result = work()
        except BaseException:
            self._kept.restore(rows)
            if connection.fault is None:
                connection.undo(point)
                if self._locks is not None and held is not None:
                    self._locks.restore(held)
            raise
        connection.release(point)
        return result

    def messages(self, transaction_ids: Iterable[str]) -> Sequence[LoggedMessage]:
        """Return the messages of transactions, in order of time."""
        found: list[LoggedMessage] = []
        for transaction_id in dict.fromkeys(transaction_ids):
            found += self.received_messages(transaction_id)
            found += self.sent_messages(transaction_id)
        return sorted(found, key=lambda message: message.at_us)

    def prune(self, before_us: int, limit: int) -> int:
        """Delete inbox rows and sent outbox rows of finished trades older than that.

        One process at a time; another one that comes meanwhile deletes nothing.
        """
        assert self._locks is not None
        if not self._locks.try_(Kind.PRUNING, ""):
            return 0
        self.prune_signatures(before_us)
        gone = [*self.prune_inbox(before_us, limit)]
        gone += self.prune_outbox(before_us, limit - len(gone))
        named = self._connection.execute(_NAMES, (sorted(set(gone)),)).fetchall()
        # The number of a transaction that somebody uses right now stays.
        free = [number for number, name in named if self._locks.try_(Kind.TRANSACTION, name)]
        self._connection.execute(_FORGET, (free,))
        self._kept.forget_all()
        return len(gone)

    # What is read in order to be written

    def inbox_row(self, sender: str, message_id: str, action: str, variant: str) -> InboxRow | None:
        """Return the stored message, if it was received before."""
        key = ("inbox", sender, message_id, action, variant)
        if key in self._kept:
            known: InboxRow | None = self._kept[key]
            return known
        return super().inbox_row(sender, message_id, action, variant)

    def add_inbox_row(self, row: InboxRow) -> None:
        """Keep a message and its reply; the key must be new."""
        key = ("inbox", row.sender, row.message_id, row.action, row.variant)
        assert self._kept.get(key) is None, key
        self._named(row.transaction_id)
        self._kept[key] = row
        self._connection.put(INBOX, key, inbox_values(row))

    def trade(self, side: Side, transaction_id: str) -> Trade | None:
        """Return a trade by side and transaction."""
        return self._once(
            ("trade", side, transaction_id),
            (Kind.TRANSACTION, transaction_id),
            lambda: super(PostgresUnit, self).trade(side, transaction_id),
        )

    def trade_of_leg(self, leg_transaction_id: str) -> Trade | None:
        """Return the BPP-side trade whose leg has this transaction."""
        key = ("leg", leg_transaction_id)
        if key not in self._kept:
            self._lock(Kind.TRANSACTION, leg_transaction_id)
            return super().trade_of_leg(leg_transaction_id)
        parent: tuple[Side, str] | None = self._kept[key]
        trade = None if parent is None else self.trade(*parent)
        leg = None if trade is None else trade.leg
        return trade if leg is not None and leg.transaction_id == leg_transaction_id else None

    def trade_of_contract(self, side: Side, peer: str, contract_id: str) -> Trade | None:
        """Return the newest trade of a side with that contract id and counterparty."""
        key = ("trade", side.value, peer, contract_id)
        found: Trade | None = self._kept.get(key)
        if found is not None:
            now: Trade | None = self._kept.get(("trade", side, found.transaction_id))
            if now is not None and now.version != found.version:
                self._kept.forget(key)  # it was saved since, perhaps with another contract
        return self._once(
            key,
            (Kind.CONTRACT, f"{side.value}|{peer}|{contract_id}"),
            lambda: super(PostgresUnit, self).trade_of_contract(side, peer, contract_id),
        )

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade, return it with its next version; a stale version is an error."""
        key = ("trade", trade.side, trade.transaction_id)
        self._named(trade.transaction_id)
        if trade.leg is not None:
            self._named(trade.leg.transaction_id)
            self._kept[("leg", trade.leg.transaction_id)] = key[1:]
        if trade.contract_id is not None:
            contract = (trade.side.value, trade.peer.subscriber_id, trade.contract_id)
            if self._locks is not None:
                self._locks.take_to_write(Kind.CONTRACT, "|".join(contract))
            self._kept.forget(("trade", *contract))
        if key in self._kept:
            before: Trade | None = self._kept[key]
            if trade.version != (0 if before is None else before.version):
                raise stale(trade)
        saved = super().save_trade(trade)
        self._kept[key] = saved
        return saved

    def _written(self, trade: Trade) -> bool:
        """Write a trade over the version before it; return whether that was there.

        When it was not the answer is True all the same unless statements are sent at once: the
        transaction is lost, and the unit hears the truth when it runs again.
        """
        target = NEW_TRADES if trade.version == 1 else TRADES
        leg = None if trade.leg is None else trade.leg.transaction_id
        row = (trade.version - 1, leg, *trade_values(trade))
        try:
            self._connection.put(target, (trade.side, trade.transaction_id), row)
        except errors.DivisionByZero:
            return False
        return True

    def contract_transaction(self, contract_id: str) -> str | None:
        """Return the transaction that a contract id of our own catalogue is bound to."""
        return self._once(
            ("bound_contract", contract_id),
            (Kind.CONTRACT, contract_id),
            lambda: super(PostgresUnit, self).contract_transaction(contract_id),
        )

    def bind_contract(self, contract_id: str, transaction_id: str) -> None:
        """Bind a contract id of our own to a transaction, for good.

        Raises:
            StoreError: it is bound to another one.
        """
        bound = self.contract_transaction(contract_id)
        if bound is None:
            self._kept[("bound_contract", contract_id)] = transaction_id
            self._connection.put(BOUND, contract_id, (contract_id, transaction_id))
        elif bound != transaction_id:
            raise bound_already(contract_id, bound, transaction_id)

    def contract_history(self, key: str) -> bytes | None:
        """Return the stored summary of a contract's earlier messages."""
        return self._once(
            ("contract_history", key),
            (Kind.HISTORY, key),
            lambda: super(PostgresUnit, self).contract_history(key),
        )

    def save_contract_history(self, key: str, summary: bytes) -> None:
        """Write that summary."""
        row = (key, summary)
        self._write(HISTORIES, ("contract_history", key), row, summary, (Kind.HISTORY, key))

    def asked(self, message_id: str, action: str) -> Asked | None:
        """Return a request of ours."""
        return self._once(
            ("asked", message_id, action),
            (Kind.ASKED, f"{message_id}|{action}"),
            lambda: super(PostgresUnit, self).asked(message_id, action),
        )

    def open_asked(self, transaction_id: str, action: str | None = None) -> Sequence[Asked]:
        """Return our unanswered requests of a transaction, nearest deadline first."""
        self._lock(Kind.TRANSACTION, transaction_id)
        return super().open_asked(transaction_id, action)

    def save_asked(self, asked: Asked) -> None:
        """Write a request of ours."""
        key = ("asked", asked.message_id, asked.action)
        self._named(asked.transaction_id)
        lock = (Kind.ASKED, f"{asked.message_id}|{asked.action}")
        self._write(ASKED, key, asked_values(asked), asked, lock)

    def offer(self, offer_id: str) -> Offer | None:
        """Return an offer, withdrawn ones included."""
        return self._once(
            ("offer", offer_id),
            (Kind.OFFER, offer_id),
            lambda: super(PostgresUnit, self).offer(offer_id),
        )

    def save_offer(self, offer: Offer) -> None:
        """Write an offer."""
        key, lock = ("offer", offer.offer_id), (Kind.OFFER, offer.offer_id)
        self._write(OFFERS, key, offer_values(offer), offer, lock)

    def _once(self, key: Hashable, lock: tuple[Kind, str], look: Callable[[], T]) -> T:
        """Return what is known, or what `look` finds under a lock, which is known from then on."""
        if key not in self._kept:
            if self._locks is None:
                return look()
            self._lock(*lock)
            self._kept[key] = look()
        found: T = self._kept[key]
        return found

    def _write(
        self, target: Target, key: Hashable, values: Row, row: object, lock: tuple[Kind, str]
    ) -> None:
        """Write a row of which the former state does not matter."""
        if self._locks is not None:
            self._locks.take_to_write(*lock)
        self._connection.put(target, key, values)
        self._kept[key] = row
