"""Rules 78 to 83: an offer in a catalogue, its contract and its resource."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapter.domain.findings import Path, Severity
from adapter.protocol.role_inputs import canonical_role
from adapter.protocol.rules.exact import plain
from adapter.protocol.rules.message import CATALOGS, OfferCase
from adapter.protocol.rules.rule import FIXED, Hit, Rule


def contract_id(case: OfferCase) -> Iterator[Hit]:
    """Offer and contract have one contractId."""
    mine = case.attributes["contractId"]
    theirs = case.contract.view.contract["contractId"]
    if mine != theirs:
        yield Hit(case.attribute_path("contractId"), {"a": mine, "b": theirs})


def open_role(case: OfferCase) -> Iterator[Hit]:
    """The open role is in the contract and not filled."""
    name = canonical_role(case.attributes["openRole"])
    role = case.contract.view.role(name)
    if role is None or role.filled:
        yield Hit(case.attribute_path("openRole"), {"role": name})


def identity(case: OfferCase) -> Iterator[Hit]:
    """Offer and provider are those of the envelope."""
    if case.attributes["offerId"] != case.offer["beckn:id"]:
        yield Hit(case.attribute_path("offerId"), {"field": "offerId"})
    bpp = case.contract.message.bpp
    if bpp is not None and case.attributes["providerId"] != bpp:
        yield Hit(case.attribute_path("providerId"), {"field": "providerId"})


def price(case: OfferCase) -> Iterator[Hit]:
    """The catalogue shows the contract's price."""
    shown = case.offer.get("beckn:price", {})
    view = case.contract.view
    agreed = view.input("SELLER", "pricePerKWh")
    amount, currency = shown.get("schema:price"), shown.get("schema:priceCurrency")
    params = {
        "a": f"{plain(amount)} {currency}",
        "b": f"{plain(agreed)} {view.currency}",
    }
    if amount is not None and agreed is not None and amount != agreed:
        yield Hit((*case.path, "beckn:price", "schema:price"), params)
    elif currency is not None and view.currency is not None and currency != view.currency:
        yield Hit((*case.path, "beckn:price", "schema:priceCurrency"), params)


_RESOURCE_FIELDS = (
    ("meterId", "sourceMeterId"),
    ("inverterId", "inverterId"),
    ("sourceType", "sourceType"),
)


def resource_mismatch(case: OfferCase) -> Iterator[Hit]:
    """Meter, inverter and source type of an offered item are the seller's."""
    for resource, path in _resources(case):
        for field, name in _RESOURCE_FIELDS:
            mine = case.contract.view.input("SELLER", name)
            if mine is not None and field in resource and resource[field] != mine:
                yield Hit((*path, field), {"field": field, "name": name})


def exceeds_resource(case: OfferCase) -> Iterator[Hit]:
    """The offer allows no more than an offered item has."""
    most = case.contract.view.input("SELLER", "maximumQuantity")
    for resource, _ in _resources(case):
        available = resource.get("availableQuantity")
        if most is not None and available is not None and most > available:
            path = case.contract.view.input_path("SELLER", "maximumQuantity")
            yield Hit(path, {"maximum": plain(most), "available": plain(available)})


def _resources(case: OfferCase) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Give the resources that the offer names; without names, the only one of the catalogue."""
    items = case.catalog.get("beckn:items", [])
    names = case.offer.get("beckn:items")
    for index, item in enumerate(items):
        path: Path = (*CATALOGS, case.path[len(CATALOGS)], "beckn:items", index)
        if item["beckn:id"] in names if names is not None else len(items) == 1:
            attributes = case.contract.message.resource(item, path)
            if attributes is not None:
                yield attributes, (*path, "beckn:itemAttributes")


OFFER_RULES = (
    Rule(
        "P2P_OFFER_CONTRACT",
        Severity.ERROR,
        "offer refers to {a}, contract is {b}",
        contract_id,
    ),
    Rule(
        "P2P_OFFER_OPEN_ROLE",
        Severity.ERROR,
        "open role {role} is not open in the contract",
        open_role,
    ),
    Rule(
        "P2P_OFFER_IDENTITY",
        Severity.WARNING,
        "{field} differs from the envelope",
        identity,
    ),
    Rule(
        "P2P_OFFER_PRICE",
        Severity.WARNING,
        "catalog says {a}, contract says {b}",
        price,
        FIXED,
    ),
    Rule(
        "P2P_RESOURCE_MISMATCH",
        Severity.WARNING,
        "item {field} differs from SELLER {name}",
        resource_mismatch,
    ),
    Rule(
        "P2P_OFFER_EXCEEDS_RESOURCE",
        Severity.WARNING,
        "offer allows {maximum} kWh, resource has {available}",
        exceeds_resource,
    ),
)
