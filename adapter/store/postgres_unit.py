"""The unit of work on one PostgreSQL connection: the tables of SQLite, with locks.

READ COMMITTED: each statement sees what is committed, and what a unit reads to write is locked
until it ends. See `postgres_locks` for the order, decision 0015 for the reason.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.service.records import Asked, LoggedMessage
from adapter.settlement import LedgerStore
from adapter.store.ledger_sqlite import SqliteLedger
from adapter.store.postgres_connection import Connection, once
from adapter.store.postgres_ledger import LockedLedger
from adapter.store.postgres_locks import Kind, Locks
from adapter.store.postgres_outbox import LockedOutboxTable
from adapter.store.rows import trade_values
from adapter.store.sqlite_asked import AskedTable
from adapter.store.sqlite_inbox import InboxTable
from adapter.store.sqlite_offers import OfferTable
from adapter.store.sqlite_roots import RootTable
from adapter.store.sqlite_trades import INSERT, UPDATE_ALL, TradeTable

T = TypeVar("T")

_NAMES = "SELECT number, transaction_id FROM wire_transaction WHERE number = ANY(?)"
_INSERT, _UPDATE = once(INSERT), once(UPDATE_ALL)
_FORGET = """
DELETE FROM wire_transaction WHERE number = ANY(?)
AND NOT EXISTS (SELECT 1 FROM inbox WHERE transaction_number = number)
AND NOT EXISTS (SELECT 1 FROM outbox WHERE transaction_number = number)
AND NOT EXISTS (SELECT 1 FROM asked WHERE transaction_number = number AND state = 'OPEN')
AND NOT EXISTS (SELECT 1 FROM trade WHERE transaction_number = number)
AND NOT EXISTS (SELECT 1 FROM trade WHERE leg_number = number)
"""


class PostgresUnit(LockedOutboxTable, InboxTable, TradeTable, AskedTable, OfferTable, RootTable):
    """One unit of work or query, inside a transaction that its caller begins and ends.

    Root statements need no lock: a row of theirs never changes, and a second one is passed over.
    """

    __slots__ = ("_ledger",)
    _connection: Connection

    def __init__(self, connection: Connection, locks: Locks | None) -> None:
        """Work inside the open transaction of `connection`; without locks it is a query."""
        super().__init__(connection)
        self._locks = locks
        self._found = {}
        self._new_ids = {}
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
        point = connection.savepoint()
        try:
            result = work()
        except BaseException:
            self._forget_found()
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
        self._forget_found()
        return len(gone)

    # What is read in order to be written

    def trade(self, side: Side, transaction_id: str) -> Trade | None:
        """Return a trade by side and transaction."""
        self._lock(Kind.TRANSACTION, transaction_id)
        return super().trade(side, transaction_id)

    def trade_of_leg(self, leg_transaction_id: str) -> Trade | None:
        """Return the BPP-side trade whose leg has this transaction."""
        self._lock(Kind.TRANSACTION, leg_transaction_id)
        return super().trade_of_leg(leg_transaction_id)

    def trade_of_contract(self, side: Side, peer: str, contract_id: str) -> Trade | None:
        """Return the newest trade of a side with that contract id and counterparty."""
        self._lock(Kind.CONTRACT, f"{side.value}|{peer}|{contract_id}")
        return super().trade_of_contract(side, peer, contract_id)

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade, return it with its next version; a stale version is an error."""
        self._lock(Kind.TRANSACTION, trade.transaction_id)
        if trade.contract_id is not None:
            name = f"{trade.side.value}|{trade.peer.subscriber_id}|{trade.contract_id}"
            self._lock(Kind.CONTRACT, name)
        return super().save_trade(trade)

    def _written(self, trade: Trade) -> bool:
        """Write a trade over the version before it; return whether that was there."""
        side, _, peer, state, contract_id, due_ms, version, document = trade_values(trade)
        number = self._number(trade.transaction_id)
        leg_number = None if trade.leg is None else self._number(trade.leg.transaction_id)
        if version == 1:
            return self._connection.is_done(_INSERT, (number, leg_number, *trade_values(trade)))
        found_by = (leg_number, contract_id, peer)
        key = (number, side, version - 1)
        return self._connection.is_done(
            _UPDATE, (*found_by, state, due_ms, version, document, *key)
        )

    def contract_transaction(self, contract_id: str) -> str | None:
        """Return the transaction that a contract id of our own catalogue is bound to."""
        self._lock(Kind.CONTRACT, contract_id)
        return super().contract_transaction(contract_id)

    def bind_contract(self, contract_id: str, transaction_id: str) -> None:
        """Bind a contract id of our own to a transaction, for good."""
        self._lock(Kind.CONTRACT, contract_id)
        super().bind_contract(contract_id, transaction_id)

    def contract_history(self, key: str) -> bytes | None:
        """Return the stored summary of a contract's earlier messages."""
        self._lock(Kind.HISTORY, key)
        return super().contract_history(key)

    def save_contract_history(self, key: str, summary: bytes) -> None:
        """Write that summary."""
        self._lock(Kind.HISTORY, key)
        super().save_contract_history(key, summary)

    def asked(self, message_id: str, action: str) -> Asked | None:
        """Return a request of ours."""
        self._lock(Kind.ASKED, f"{message_id}|{action}")
        return super().asked(message_id, action)

    def open_asked(self, transaction_id: str, action: str | None = None) -> Sequence[Asked]:
        """Return our unanswered requests of a transaction, nearest deadline first."""
        self._lock(Kind.TRANSACTION, transaction_id)
        return super().open_asked(transaction_id, action)

    def save_asked(self, asked: Asked) -> None:
        """Write a request of ours."""
        self._lock(Kind.ASKED, f"{asked.message_id}|{asked.action}")
        super().save_asked(asked)

    def offer(self, offer_id: str) -> Offer | None:
        """Return an offer, withdrawn ones included."""
        self._lock(Kind.OFFER, offer_id)
        return super().offer(offer_id)

    def save_offer(self, offer: Offer) -> None:
        """Write an offer."""
        self._lock(Kind.OFFER, offer.offer_id)
        super().save_offer(offer)
