"""The seller's catalogue: publish, list and withdraw offers. Stock is taken by init alone."""

from collections.abc import Callable
from dataclasses import replace

from adapter.domain.errors import WireError
from adapter.domain.offers import Offer
from adapter.service.ports import Store, UnitOfWork


class Catalogue:
    """The offers of one node."""

    def __init__(self, store: Store, check: Callable[[Offer], Offer]) -> None:
        """Take the store that keeps them, and what looks at an offer before that."""
        self._store = store
        self._check = check

    async def publish(self, offer: Offer) -> Offer:
        """Return the stored offer; publishing the same again changes nothing.

        Raises:
            WireError: BIZ_UPDATE_INCONSISTENT, the id is known with another body; the codes of
                schema and rules, its tariff breaks one.
        """
        checked = self._check(offer)
        return await self._store.write(lambda uow: _publish(uow, checked))

    async def offers(self) -> list[Offer]:
        """Return all offers that are not withdrawn, oldest first."""
        return await self._store.read(lambda uow: list(uow.offers()))

    async def withdraw(self, offer_id: str) -> None:
        """Take an offer off the catalogue; trades that took it up go on.

        Raises:
            WireError: BIZ_OFFER_NOT_FOUND.
        """
        await self._store.write(lambda uow: _withdraw(uow, offer_id))


def _publish(uow: UnitOfWork, offer: Offer) -> Offer:
    known = uow.offer(offer.offer_id)
    if known is None:
        uow.save_offer(offer)
        return offer
    same = replace(
        offer, available_micro_kwh=known.available_micro_kwh, created_ms=known.created_ms
    )
    if same != known:
        msg = f"offer {offer.offer_id} was published with another body; use a new offer_id"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path="$.offer_id")
    return known


def _withdraw(uow: UnitOfWork, offer_id: str) -> None:
    known = uow.offer(offer_id)
    if known is None or known.withdrawn:
        raise WireError("BIZ_OFFER_NOT_FOUND", f"no offer {offer_id[:40]!r} here")
    uow.save_offer(replace(known, withdrawn=True))
