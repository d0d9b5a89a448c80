"""What one unit of work has read or written, kept so that no row is read or written twice.

A unit runs alone in its transaction, so a row changes only by its own hand. Trades and requests of
our own are written at once; offers and histories wait until the unit is done, because one message
changes each of them twice.
"""

from collections.abc import Sequence

from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.service.records import Asked
from adapter.store.sql import SqlConnection
from adapter.store.sqlite_asked import AskedTable
from adapter.store.sqlite_offers import OfferTable
from adapter.store.sqlite_trades import TradeTable

State = tuple[dict[str, Offer], dict[str, bytes]]
"""Offers and histories that are not written yet."""


class KeptRows(TradeTable, OfferTable, AskedTable):
    """Trades, requests of our own, offers and histories of a unit of work."""

    __slots__ = (
        *("_asked", "_histories", "_offers", "_trades"),
        *("_unsaved_histories", "_unsaved_offers"),
    )

    def __init__(self, connection: SqlConnection) -> None:
        """Work inside the open transaction of `connection`."""
        super().__init__(connection)
        self._trades: dict[tuple[Side, str], Trade | None] = {}
        self._asked: dict[tuple[str, str], Asked | None] = {}
        self._offers: dict[str, Offer | None] = {}
        self._histories: dict[str, bytes | None] = {}
        self._unsaved_offers: dict[str, Offer] = {}
        self._unsaved_histories: dict[str, bytes] = {}

    def flush(self) -> None:
        """Write what waits; to be called before the end of the transaction."""
        offers, self._unsaved_offers = self._unsaved_offers, {}
        for offer in offers.values():
            super().save_offer(offer)
        histories, self._unsaved_histories = self._unsaved_histories, {}
        for key, summary in histories.items():
            super().save_contract_history(key, summary)

    def unsaved(self) -> State:
        """Return what waits to be written, for `forget`."""
        return dict(self._unsaved_offers), dict(self._unsaved_histories)

    def forget(self, unsaved: State) -> None:
        """Go back to what waited at a savepoint, and read all else anew."""
        self._numbers.clear()
        self._trades.clear()
        self._asked.clear()
        self._unsaved_offers, self._unsaved_histories = unsaved
        self._offers = dict(self._unsaved_offers)
        self._histories = dict(self._unsaved_histories)

    def trade(self, side: Side, transaction_id: str) -> Trade | None:
        """Return a trade by side and transaction."""
        key = (side, transaction_id)
        if key not in self._trades:
            self._trades[key] = self._numbered_trade(side, transaction_id)
        return self._trades[key]

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade, return it with its next version.

        Raises:
            StoreError: the trade was saved by somebody else since it was read.
        """
        saved = super().save_trade(trade)
        self._trades[saved.side, saved.transaction_id] = saved
        return saved

    def asked(self, message_id: str, action: str) -> Asked | None:
        """Return a request of ours."""
        key = (message_id, action)
        if key not in self._asked:
            self._asked[key] = super().asked(message_id, action)
        return self._asked[key]

    def save_asked(self, asked: Asked) -> None:
        """Write a request of ours."""
        super().save_asked(asked)
        self._asked[asked.message_id, asked.action] = asked

    def offer(self, offer_id: str) -> Offer | None:
        """Return an offer, withdrawn ones included."""
        if offer_id not in self._offers:
            self._offers[offer_id] = super().offer(offer_id)
        return self._offers[offer_id]

    def offers(self) -> Sequence[Offer]:
        """Return all offers that are not withdrawn, oldest first."""
        self.flush()
        return super().offers()

    def save_offer(self, offer: Offer) -> None:
        """Write an offer, at the latest when the unit is done."""
        self._offers[offer.offer_id] = self._unsaved_offers[offer.offer_id] = offer

    def contract_history(self, key: str) -> bytes | None:
        """Return the stored summary of a contract's earlier messages."""
        if key not in self._histories:
            self._histories[key] = super().contract_history(key)
        return self._histories[key]

    def save_contract_history(self, key: str, summary: bytes) -> None:
        """Write that summary, at the latest when the unit is done."""
        self._histories[key] = self._unsaved_histories[key] = summary
