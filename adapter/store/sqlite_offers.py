"""Offers of a seller's platform, in SQLite."""

from collections.abc import Sequence

from adapter.domain.offers import Offer
from adapter.store.rows import OFFER_COLUMNS, offer_from, offer_values
from adapter.store.sqlite_table import Table, names, places

_CHANGES = ", ".join(f"{column} = excluded.{column}" for column in OFFER_COLUMNS)
_SAVE = f"""
INSERT INTO offer ({names(OFFER_COLUMNS)}) VALUES ({places(OFFER_COLUMNS)})
ON CONFLICT (offer_id) DO UPDATE SET {_CHANGES}
"""
_ONE = "SELECT document FROM offer WHERE offer_id = ?"
_LISTED = "SELECT document FROM offer WHERE withdrawn = 0 ORDER BY created_ms, id"


class OfferTable(Table):
    """The catalogue part of a unit of work."""

    __slots__ = ()

    def offer(self, offer_id: str) -> Offer | None:
        """Return an offer, withdrawn ones included."""
        found = self._connection.execute(_ONE, (offer_id,)).fetchone()
        return None if found is None else offer_from(found[0])

    def offers(self) -> Sequence[Offer]:
        """Return all offers that are not withdrawn, oldest first."""
        return [offer_from(document) for (document,) in self._connection.execute(_LISTED)]

    def save_offer(self, offer: Offer) -> None:
        """Write an offer."""
        self._connection.execute(_SAVE, offer_values(offer))
