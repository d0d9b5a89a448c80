"""agreements: the price in a signed confirm beside the price of the agreement.

Source: settlement specification, section 11.1; decision 0014.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from adapter.domain.errors import ContractError, QuantityError
from adapter.domain.quantities import to_micro
from adapter.settlement.agreed_tariff import agreed
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.tariff_kind import read_tariff, write_tariff

Pairs = tuple[tuple[str, object, object], ...]
"""Name, as signed, as agreed."""


def price_pairs(
    terms: Terms, seller: Mapping[str, Any], parameters: object, currency: str
) -> Pairs:
    """Return what has to be equal for the signed price to be the agreed one.

    Args:
        terms: of the agreement.
        seller: SELLER inputs of the signed contract, direct values.
        parameters: its inputParameters, an object or anything else.
        currency: of the ledger.
    """
    read = parameters if isinstance(parameters, Mapping) else {}
    if terms.tariff:
        return _tariff_pairs(terms, seller, read, currency)
    return (
        ("currency", seller.get("currency"), currency),
        ("pricePerKWh", _micro(seller.get("pricePerKWh")), terms.price),
        ("settlementBasis", read.get("settlementBasis") or "CONTRACTED", terms.basis),
    )


def _tariff_pairs(
    terms: Terms, seller: Mapping[str, Any], parameters: Mapping[str, Any], currency: str
) -> Pairs:
    """Return the tariff and what it is read by; a zone matters only where local times do."""
    known = agreed(terms.tariff)
    try:
        signed: object = write_tariff(read_tariff("tariff", seller.get("tariff")))
    except ContractError:
        signed = None
    unnamed = None if known.terms.tariff.reads_clock else known.time_zone
    return (
        ("currency", seller.get("currency", currency), currency),
        ("tariff", signed, known.document),
        ("timeZone", parameters.get("timeZone", unnamed), known.time_zone),
        ("vatTreatment", parameters.get("vatTreatment", "EXCLUSIVE"), known.terms.vat.value),
    )


def _micro(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        return to_micro(value)
    except QuantityError:
        return None
