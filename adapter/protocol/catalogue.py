"""Offers as the network sees them, and orders compared with them.

The catalogue names the SELLER's terms; nobody else may. Source: protocol specification, section
4.1 and R1, R4, R16, R18.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import format_instant
from adapter.domain.offers import Offer
from adapter.domain.once import once
from adapter.domain.quantities import Energy, UnitPrice
from adapter.domain.terms import Price
from adapter.protocol import strict_json
from adapter.protocol.contract import (
    CONTRACT_PATH,
    REQUIRED_INPUTS,
    filled_role,
    formulas_of,
    inputs_of,
    open_role,
    price_parameters,
    role_of,
    tariff_pricing,
)
from adapter.protocol.contract_view import Mode
from adapter.protocol.decision import Identity
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE
from adapter.protocol.market_catalogue import market_offer
from adapter.protocol.orders import (
    CORE_CONTEXT,
    ITEM_COUNT_PATH,
    OFFER_CONTEXT,
    P2P_CONTEXT,
    RESOURCE_CONTEXT,
    contract_of,
    exact,
    first_id,
    item_energy,
    number,
    provider_id,
)
from adapter.protocol.standard_flows import STANDARD_FLOWS

OFFERED_BASIS: Mapping[Mode, str] = MappingProxyType(
    {Mode.FIXED_PRICE: "CONTRACTED", Mode.TARIFF: "DELIVERED"}
)
"""What our offers are paid by; another basis is the seller's to offer, not the buyer's to take."""
PLACE_BYTES = 2_048
"""Of a tariff that one place on a page has room for, beside the offer itself."""
_PRICE_INPUTS = frozenset({"pricePerKWh", "currency", "tariff"})
_KEPT_OFFERS = 1_024


class OfferTerms:
    """What the network sees of an offer whatever its stock; nobody changes what is in here."""

    def __init__(self, offer: Offer, me: Identity, *, cascades: bool) -> None:
        """Take the offer, its node, and whether a grid operator takes part."""
        self.offer = offer
        self.me = me
        self.cascades = cascades

    @once
    def shown(self) -> Mapping[str, Any]:
        """Return `catalogue_offer`."""
        return catalogue_offer(self.offer, self.me, cascades=self.cascades)

    @once
    def inputs(self) -> Mapping[str, Any]:
        """Return `seller_inputs`; the offer is no market."""
        return seller_inputs(self.offer)

    @once
    def formulas(self) -> Mapping[tuple[str, str], str]:
        """Return the formulas of the contract it invites to; the offer is no market."""
        flows = _flows(self.offer, cascades=self.cascades)
        return formulas_of({"revenueFlows": {"flows": flows}})


@dataclass(frozen=True, slots=True)
class WrittenOffer:
    """An offer on a page of the catalogue."""

    offer: Offer
    item: Mapping[str, Any]
    """`catalogue_item`."""
    terms: OfferTerms


_TERMS: dict[tuple[str, bool], OfferTerms] = {}
"""By offer id and whether a grid operator takes part. It took 120 µs to write an offer, and a
discover compares itself with all of them. An offer that has changed since is written again."""
_WRITTEN: dict[tuple[str, bool], WrittenOffer] = {}
"""The same with the item, which names the stock, and that each init changes."""
_SHOWN = attrgetter(
    *(one.name for one in fields(Offer) if one.name not in ("available_micro_kwh", "withdrawn"))
)


def terms_of(offer: Offer, me: Identity, *, cascades: bool) -> OfferTerms:
    """Return what the network sees of an offer, written once as long as it stays the same."""
    key = (offer.offer_id, cascades)
    kept = _TERMS.get(key)
    if kept is not None and kept.me == me and _SHOWN(kept.offer) == _SHOWN(offer):
        return kept
    if len(_TERMS) >= _KEPT_OFFERS:
        _TERMS.clear()
    fresh = _TERMS[key] = OfferTerms(offer, me, cascades=cascades)
    return fresh


def written(offer: Offer, me: Identity, *, cascades: bool) -> WrittenOffer:
    """Return an offer as a page shows it, written once as long as it stays the same."""
    key = (offer.offer_id, cascades)
    kept = _WRITTEN.get(key)
    if kept is not None and (kept.offer is offer or kept.offer == offer) and kept.terms.me == me:
        return kept
    if len(_WRITTEN) >= _KEPT_OFFERS:
        _WRITTEN.clear()
    terms = terms_of(offer, me, cascades=cascades)
    fresh = _WRITTEN[key] = WrittenOffer(offer, catalogue_item(offer), terms)
    return fresh


def seller_inputs(offer: Offer) -> dict[str, Any]:
    """Return the SELLER inputs that the offer promises."""
    inputs: dict[str, Any] = {
        "sourceMeterId": offer.source_meter_id,
        "sourceType": offer.source_type,
        **_price_inputs(offer),
    }
    if offer.minimum_micro_kwh is not None:
        inputs["minimumQuantity"] = exact(offer.minimum_micro_kwh)
    if offer.maximum_micro_kwh is not None:
        inputs["maximumQuantity"] = exact(offer.maximum_micro_kwh)
    if offer.valid_until_ms is not None:
        start = offer.created_ms if offer.valid_from_ms is None else offer.valid_from_ms
        inputs["validityWindow"] = {
            "start": format_instant(start),
            "end": format_instant(offer.valid_until_ms),
        }
    return inputs


def _price_inputs(offer: Offer) -> dict[str, Any]:
    if offer.tariff is not None:
        return {"tariff": offer.tariff}
    return {"pricePerKWh": exact(offer.price_micro_per_kwh), "currency": offer.currency}


def offered_mode(offer: Offer) -> Mode:
    """Return how the contract of an offer finds its price."""
    return Mode.FIXED_PRICE if offer.tariff is None else Mode.TARIFF


def pricing(offer: Offer) -> Price:
    """Return the price of an offer.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, its time zone is not known any more.
    """
    if offer.tariff is None:
        return UnitPrice(offer.price_micro_per_kwh, offer.currency)
    contract = {"inputParameters": _parameters(offer)}
    return tariff_pricing(offer.tariff, contract, time_zone=DEFAULT_TIME_ZONE)


def _parameters(offer: Offer) -> dict[str, Any]:
    """Return inputParameters: how the tariff is read, so that all parties read it alike."""
    given = {"timeZone": offer.time_zone, "vatTreatment": offer.vat_treatment}
    return {name: value for name, value in given.items() if value is not None}


def template_contract(offer: Offer, me: Identity, *, cascades: bool) -> dict[str, Any]:
    """Return the contract that the offer invites to: SELLER filled, BUYER open."""
    return {
        "@context": P2P_CONTEXT,
        "@type": "EnergyContractP2PTrade",
        "contractId": offer.template_contract_id,
        "status": "PENDING",
        "createdAt": format_instant(offer.created_ms),
        "roles": [
            filled_role("SELLER", me.subscriber_id, seller_inputs(offer)),
            open_role("BUYER"),
        ],
        "inputParameters": _parameters(offer),
        "inputSignals": [],
        "telemetrySources": [],
        "revenueFlows": {"flows": _flows(offer, cascades=cascades), "netZero": True},
        "qualityMetrics": {"metrics": []},
    }


def catalogue_message(offers: Sequence[Offer], me: Identity, *, cascades: bool) -> dict[str, Any]:
    """Return the message of an on_discover; without offers its list of catalogues is empty."""
    if not offers:
        return {"catalogs": []}
    pages = [written(offer, me, cascades=cascades) for offer in offers]
    items = [page.item for page in pages if page.offer.market is None]
    catalogue = {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Catalog",
        "beckn:id": f"catalog-{me.subscriber_id}",
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": f"Energy offers of {me.subscriber_id}",
        },
        **({"beckn:items": items} if items else {}),
        "beckn:offers": [page.terms.shown for page in pages],
    }
    return {"catalogs": [catalogue]}


def catalogue_item(offer: Offer) -> dict[str, Any]:
    """Return the energy resource behind an offer; nothing is behind a market."""
    if offer.market is not None:
        return {}
    energy = Energy(offer.available_micro_kwh)
    return {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Item",
        "beckn:id": offer.item_id,
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": f"{offer.source_type.capitalize()} energy, {energy} kWh",
        },
        "beckn:provider": {"@type": "beckn:Provider", "beckn:id": offer_provider(offer)},
        "beckn:itemAttributes": {
            "@context": RESOURCE_CONTEXT,
            "@type": "EnergyResource",
            "sourceType": offer.source_type,
            "deliveryMode": "GRID_INJECTION",
            "meterId": offer.source_meter_id,
            "availableQuantity": number(energy.kwh),
            "productionWindow": {
                "start": format_instant(offer.production_start_ms),
                "end": format_instant(offer.production_end_ms),
            },
        },
    }


def catalogue_offer(offer: Offer, me: Identity, *, cascades: bool) -> dict[str, Any]:
    """Return an offer with the contract it leads to."""
    if offer.market is not None:
        return market_offer(offer, me, cascades=cascades)
    price = {
        "@type": "schema:PriceSpecification",
        "schema:price": exact(offer.price_micro_per_kwh),
        "schema:priceCurrency": offer.currency,
        "schema:unitText": "kWh",
    }
    at_price = "at a fixed price" if offer.tariff is None else "at prices by time of use"
    return {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Offer",
        "beckn:id": offer.offer_id,
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": f"{offer.source_type.capitalize()} energy {at_price}",
        },
        "beckn:provider": offer_provider(offer),
        "beckn:items": [offer.item_id],
        **({"beckn:price": price} if offer.tariff is None else {}),
        "beckn:offerAttributes": {
            "@context": OFFER_CONTEXT,
            "@type": "EnergyOffer",
            "offerId": offer.offer_id,
            "contractId": offer.template_contract_id,
            "providerId": me.subscriber_id,
            "providerUri": me.as_bpp.uri,
            "openRole": "BUYER",
            "contract": template_contract(offer, me, cascades=cascades),
        },
    }


def offer_provider(offer: Offer) -> str:
    """Return the provider id of an offer: who stands behind its source meter."""
    return f"provider-{offer.source_meter_id}"


def check_order_against_offer(
    order: Mapping[str, Any], offers: Sequence[Offer], me: Identity, *, cascades: bool, now_ms: int
) -> Offer:
    """Return the offer that the order takes up, once everything it says of it holds.

    Raises:
        WireError: BIZ_OFFER_NOT_FOUND, BIZ_ITEM_NOT_FOUND, BIZ_PROVIDER_NOT_FOUND,
            BIZ_QUOTE_EXPIRED_OR_CHANGED, BIZ_PRICE_MISMATCH, BIZ_UPDATE_INCONSISTENT.
    """
    offer = _named_offer(order, offers)
    check_stands(offer, now_ms)
    contract = contract_of(order)
    seller = role_of(contract, "SELLER") or {}
    if seller.get("filledBy") != me.subscriber_id:
        msg = f"SELLER is filled by {seller.get('filledBy')!r}, the offer's is {me.subscriber_id!r}"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.roles")
    promised = terms_of(offer, me, cascades=cascades)
    _check_seller_inputs(inputs_of(contract, "SELLER"), promised.inputs)
    if formulas_of(contract) != promised.formulas:
        msg = "the revenue flows are not those of the offer"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.revenueFlows.flows")
    _check_parameters(contract, offer)
    return offer


def check_stands(offer: Offer, now_ms: int) -> None:
    """Refuse an offer that has ended (R18).

    Raises:
        WireError: BIZ_QUOTE_EXPIRED_OR_CHANGED.
    """
    if offer.valid_until_ms is not None and now_ms > offer.valid_until_ms:
        msg = f"offer {offer.offer_id} ended {format_instant(offer.valid_until_ms)}"
        raise WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg, path=f"{CONTRACT_PATH}.roles")


def check_stock(order: Mapping[str, Any], offer: Offer, *, own_micro_kwh: int) -> Energy:
    """Return the quantity that the order asks for, once the offer sells so much.

    Args:
        order: the order.
        offer: the offer it takes up.
        own_micro_kwh: what this trade holds of the offer already.

    Raises:
        WireError: BIZ_QUANTITY_UNAVAILABLE.
    """
    wanted = item_energy(order)
    available = Energy(offer.available_micro_kwh + own_micro_kwh)
    least, most = offer.minimum_micro_kwh, offer.maximum_micro_kwh
    if wanted > available:
        msg = f"{wanted} kWh wanted, offer {offer.offer_id} has {available} kWh left"
    elif least is not None and wanted.micro_kwh < least:
        msg = f"{wanted} kWh wanted, offer {offer.offer_id} sells {Energy(least)} kWh at least"
    elif most is not None and wanted.micro_kwh > most:
        msg = f"{wanted} kWh wanted, offer {offer.offer_id} sells {Energy(most)} kWh at most"
    else:
        return wanted
    details = {"available_kwh": str(available)}
    raise WireError("BIZ_QUANTITY_UNAVAILABLE", msg, path=ITEM_COUNT_PATH, details=details)


def _named_offer(order: Mapping[str, Any], offers: Sequence[Offer]) -> Offer:
    wanted = first_id(order, "beckn:offers")
    known = (offer for offer in offers if offer.market is None and not offer.withdrawn)
    offer = next((offer for offer in known if offer.offer_id == wanted), None)
    if offer is None:
        msg = f"no offer {wanted[:40]!r} here"
        raise WireError("BIZ_OFFER_NOT_FOUND", msg, path="$.message.order['beckn:offers'][0]")
    items = [entry.get("beckn:id") for entry in order.get("beckn:items") or ()]
    if items != [offer.item_id]:
        msg = f"offer {offer.offer_id} sells item {offer.item_id!r} alone, not {items!r}"[:300]
        raise WireError("BIZ_ITEM_NOT_FOUND", msg, path="$.message.order['beckn:items']")
    if provider_id(order) != offer_provider(offer):
        msg = f"the provider is {offer_provider(offer)!r}, not {provider_id(order)[:40]!r}"
        raise WireError("BIZ_PROVIDER_NOT_FOUND", msg, path="$.message.order['beckn:provider']")
    return offer


def _check_seller_inputs(given: Mapping[str, Any], promised: Mapping[str, Any]) -> None:
    """Optional inputs may be left out, none may differ."""
    for name in sorted(given.keys() | set(REQUIRED_INPUTS["SELLER"])):
        if given.get(name) == promised.get(name):
            continue
        code = "BIZ_PRICE_MISMATCH" if name in _PRICE_INPUTS else "BIZ_UPDATE_INCONSISTENT"
        msg = (
            f"SELLER.{name} is {str(given.get(name))[:40]}, "
            f"the offer says {str(promised.get(name))[:40]}"
        )
        raise WireError(code, msg, path=f"{CONTRACT_PATH}.roles")


def _check_parameters(contract: Mapping[str, Any], offer: Offer) -> None:
    """How the energy is counted and the tariff read is the seller's to say."""
    basis = OFFERED_BASIS[offered_mode(offer)]
    given = (contract.get("inputParameters") or {}).get("settlementBasis", basis)
    if given != basis:
        msg = f"the settlement basis is {basis}, not {str(given)[:40]!r}"
        path = f"{CONTRACT_PATH}.inputParameters.settlementBasis"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=path)
    if offer.tariff is None:
        return
    promised = price_parameters({"inputParameters": _parameters(offer)})
    for name, value in price_parameters(contract).items():
        if value != promised[name]:
            msg = f"{name} is {str(value)[:40]}, the offer says {promised[name]}"
            path = f"{CONTRACT_PATH}.inputParameters.{name}"
            raise WireError("BIZ_PRICE_MISMATCH", msg, path=path)


def _flows(offer: Offer, *, cascades: bool) -> list[dict[str, Any]]:
    standard = STANDARD_FLOWS[offered_mode(offer)]
    pairs = [("BUYER", "SELLER"), *([("BUYER", "GRID_OPERATOR")] if cascades else [])]
    return [
        {"from": payer, "to": payee, "formula": standard[payer, payee][0]} for payer, payee in pairs
    ]


def catalogue_pages(offers: Sequence[Offer], most: int) -> list[list[Offer]]:
    """Return offers on pages of at most `most`; a long tariff takes the place of several."""
    pages: list[list[Offer]] = []
    room = 0
    for offer in offers:
        size = 0 if offer.tariff is None else len(strict_json.encode(offer.tariff))
        places = 1 + size // PLACE_BYTES
        if places > room:
            pages.append([])
            room = max(most, places)
        pages[-1].append(offer)
        room -= places
    return pages
