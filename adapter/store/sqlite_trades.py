"""Trades and the contracts they are about, in SQLite."""

from collections.abc import Iterable, Sequence

from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Trade
from adapter.service.records import signature_mark
from adapter.store.errors import StoreError
from adapter.store.rows import TRADE_COLUMNS, trade_from, trade_values
from adapter.store.sqlite_table import NUMBER, Table, names, places

_BEYOND = 2**62
"""More than transactions are ever counted."""

_INSERT = f"""
INSERT INTO trade (transaction_number, leg_number, {names(TRADE_COLUMNS)})
VALUES (?, ?, {places(TRADE_COLUMNS)})
ON CONFLICT (transaction_number, side) DO NOTHING
"""
_KEY = "transaction_number = ? AND side = ? AND version = ?"
_UPDATE = f"""
UPDATE trade SET state = ?, due_ms = ?, version = ?, document = ?
WHERE {_KEY} AND leg_number IS ? AND contract_id IS ? AND peer = ?
"""
_UPDATE_ALL = f"""
UPDATE trade SET leg_number = ?, contract_id = ?, peer = ?,
                 state = ?, due_ms = ?, version = ?, document = ?
WHERE {_KEY}
"""
_ONE = f"SELECT document FROM trade WHERE transaction_number = {NUMBER} AND side = ?"
_NUMBERED = """
SELECT number, document FROM wire_transaction
LEFT JOIN trade ON trade.transaction_number = number AND trade.side = ?
WHERE wire_transaction.transaction_id = ?
"""
_OF_LEG = f"SELECT document FROM trade WHERE leg_number = {NUMBER}"
_OF_CONTRACT = """
SELECT document FROM trade WHERE contract_id = ? AND side = ? AND peer = ?
ORDER BY id DESC LIMIT 1
"""
_DUE = "SELECT document FROM trade WHERE due_ms < ? ORDER BY due_ms, id LIMIT ?"
_PAGE = """
SELECT document FROM trade WHERE transaction_number < :before AND transaction_number >= (
    SELECT min(transaction_number) FROM (
        SELECT transaction_number FROM trade WHERE transaction_number < :before
        ORDER BY transaction_number DESC LIMIT :limit) AS page)
ORDER BY transaction_number DESC
"""
_PAGE_OF_SIDE = """
SELECT document FROM trade WHERE side = :side AND transaction_number < :before
ORDER BY transaction_number DESC LIMIT :limit
"""
_STARTED = f"SELECT {NUMBER}"

_BIND = """
INSERT INTO bound_contract (contract_id, transaction_id) VALUES (?, ?) ON CONFLICT DO NOTHING
"""
_BOUND = "SELECT transaction_id FROM bound_contract WHERE contract_id = ?"
_HISTORY = "SELECT summary FROM contract_history WHERE key = ?"
_SAVE_HISTORY = """
INSERT INTO contract_history (key, summary) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET summary = excluded.summary
"""
_MARK = "INSERT INTO mark (key) VALUES (?) ON CONFLICT DO NOTHING"
_UNMARK = "DELETE FROM mark WHERE key >= ? AND key < ?"


class TradeTable(Table):
    """The trade part of a unit of work."""

    __slots__ = ()

    def trade(self, side: Side, transaction_id: str) -> Trade | None:
        """Return a trade by side and transaction."""
        return self._trade(_ONE, (transaction_id, side.value))

    def trade_of_leg(self, leg_transaction_id: str) -> Trade | None:
        """Return the BPP-side trade whose leg has this transaction."""
        return self._trade(_OF_LEG, (leg_transaction_id,))

    def trade_of_contract(self, side: Side, peer: str, contract_id: str) -> Trade | None:
        """Return the newest trade of a side with that contract id and counterparty."""
        return self._trade(_OF_CONTRACT, (contract_id, side.value, peer))

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade, return it with its next version.

        Raises:
            StoreError: the trade was saved by somebody else since it was read.
        """
        saved = replace(trade, version=trade.version + 1)
        if not self._written(saved):
            raise stale(trade)
        return saved

    def due_trades(self, now_ms: int, limit: int) -> Sequence[Trade]:
        """Return trades with `due_ms` before `now_ms`, oldest first."""
        return _trades(self._connection.execute(_DUE, (now_ms, limit)))

    def trades(self, side: Side | None, before: str | None, limit: int) -> Sequence[Trade]:
        """Return trades, newest first, a page after transaction `before`.

        The order is that in which their transactions first appeared. All sides of one transaction
        come on one page, which may then hold more than `limit`. Nothing follows an unknown one.
        """
        number = _BEYOND
        if before is not None:
            number = self._connection.execute(_STARTED, (before,)).fetchone()[0] or 0
        page = {"before": number, "limit": limit}
        if side is None:
            return _trades(self._connection.execute(_PAGE, page))
        return _trades(self._connection.execute(_PAGE_OF_SIDE, {"side": side.value, **page}))

    def contract_transaction(self, contract_id: str) -> str | None:
        """Return the transaction that a contract id of our own catalogue is bound to."""
        found = self._connection.execute(_BOUND, (contract_id,)).fetchone()
        return None if found is None else str(found[0])

    def bind_contract(self, contract_id: str, transaction_id: str) -> None:
        """Bind a contract id of our own to a transaction, for good.

        Raises:
            StoreError: it is bound to another one.
        """
        if self._connection.execute(_BIND, (contract_id, transaction_id)).rowcount == 1:
            return
        bound = self.contract_transaction(contract_id)
        if bound != transaction_id:
            raise bound_already(contract_id, bound, transaction_id)

    def contract_history(self, key: str) -> bytes | None:
        """Return the stored summary of a contract's earlier messages."""
        found = self._connection.execute(_HISTORY, (key,)).fetchone()
        return None if found is None else bytes(found[0])

    def save_contract_history(self, key: str, summary: bytes) -> None:
        """Write that summary."""
        self._connection.execute(_SAVE_HISTORY, (key, summary))

    def mark(self, key: str) -> bool:
        """Set a named mark; return False when it was set before."""
        return self._connection.execute(_MARK, (key,)).rowcount == 1

    def prune_signatures(self, before_us: int) -> None:
        """Forget the marks of signatures that ended before then."""
        bounds = signature_mark(0), signature_mark(before_us // 1_000_000)
        self._connection.execute(_UNMARK, bounds)

    def _written(self, trade: Trade) -> bool:
        """Write a trade over the version before it; return whether that was there."""
        values = trade_values(trade)
        side, _, peer, state, contract_id, due_ms, version, document = values
        number = self._number(trade.transaction_id)
        leg_number = None if trade.leg is None else self._number(trade.leg.transaction_id)
        execute = self._connection.execute
        if version == 1:
            return execute(_INSERT, (number, leg_number, *values)).rowcount == 1
        # Most changes leave what the trade is found by: then its indexes are not rewritten.
        changes = (state, due_ms, version, document)
        key = (number, side, version - 1)
        found_by = (leg_number, contract_id, peer)
        return (
            execute(_UPDATE, (*changes, *key, *found_by)).rowcount == 1
            or execute(_UPDATE_ALL, (*found_by, *changes, *key)).rowcount == 1
        )

    def _numbered_trade(self, side: Side, transaction_id: str) -> Trade | None:
        """Return a trade, and remember the number of its transaction for what is written."""
        found = self._connection.execute(_NUMBERED, (side.value, transaction_id)).fetchone()
        number, document = (None, None) if found is None else found
        self._numbers[transaction_id] = number
        return None if document is None else trade_from(document)

    def _trade(self, sql: str, key: tuple[str, ...]) -> Trade | None:
        found = self._connection.execute(sql, key).fetchone()
        return None if found is None else trade_from(found[0])


def stale(trade: Trade) -> StoreError:
    """Return the error for a trade that was saved by somebody else since it was read."""
    return StoreError(
        f"version {trade.version} of the {trade.side.value} trade "
        f"{trade.transaction_id} is not the stored one: read it again"
    )


def bound_already(contract_id: str, bound: str | None, transaction_id: str) -> StoreError:
    """Return the error for a contract that is bound to another transaction."""
    return StoreError(f"contract {contract_id} is bound to {bound}, not to {transaction_id}")


def _trades(found: Iterable[tuple[str]]) -> Sequence[Trade]:
    return [trade_from(document) for (document,) in found]
