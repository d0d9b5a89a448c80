"""A tariff is checked before it is offered, by the schema and the rules that every peer applies.

What they say about the contract of the offer is told in places of the offer itself. Beyond the
rules, a tariff has to have a price for every instant in which its energy is produced: what is
bought can then be settled.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from adapter.domain.findings import Finding, Severity, Tier
from adapter.domain.instants import DeliveryInterval
from adapter.domain.offers import Offer
from adapter.domain.quantities import MAX_MICRO, Energy
from adapter.domain.tariff import GAP, PATTERN_MS, TariffError, first_gap
from adapter.domain.tariff_terms import kwh_of
from adapter.domain.terms import TariffPricing
from adapter.protocol import strict_json
from adapter.protocol.catalogue import catalogue_message, pricing, template_contract
from adapter.protocol.coordination import read_tariff
from adapter.protocol.decision import Identity
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.service.inbound import check_findings
from adapter.settlement.tariff_kind import MAX_ELEMENTS

MAX_TARIFF_BYTES = 32_768
"""On the wire: an on_discover must have room for it, and confirms repeat it."""
_CONTRACT = "$.message.catalogs[0]['beckn:offers'][0]['beckn:offerAttributes'].contract"
_PLACES = (
    (f"{_CONTRACT}.roles[0].roleInputs.tariff", "$.tariff"),
    (f"{_CONTRACT}.roles[0].roleInputs", "$"),
    (f"{_CONTRACT}.inputParameters.timeZone", "$.time_zone"),
    (f"{_CONTRACT}.inputParameters.vatTreatment", "$.vat_treatment"),
)
"""Where what stands in a contract came from."""


def offer_check(me: Identity, schemas: Schemas, time_zone: str) -> Callable[[Offer], Offer]:
    """Return a function that gives an offer as it may be published.

    It raises WireError for a tariff that breaks a rule, with path and rule of each finding. A
    tariff with times of day that names no zone is read in `time_zone`, and says so from then on.
    """

    def check(offer: Offer) -> Offer:
        if offer.tariff is None:
            return offer
        _check_size(offer)
        contract = template_contract(offer, me, cascades=False)
        found = schemas.check_attributes("EnergyContractP2PTrade", contract, _CONTRACT)
        check_findings(tuple(map(_told, found)))
        _check_elements(offer.tariff)
        tariff = read_tariff(offer.tariff)
        offer = replace(offer, currency=tariff.currency)
        if tariff.reads_clock and offer.time_zone is None:
            offer = replace(offer, time_zone=time_zone)
        message = catalogue_message([offer], me, cascades=False)
        context = {"bpp_id": me.subscriber_id}
        told = check_message("on_discover", {"context": context, "message": message})
        check_findings(tuple(map(_told, told)))
        price = pricing(offer)
        assert isinstance(price, TariffPricing)
        _check_gap(offer, price)
        return offer

    return check


def _told(finding: Finding) -> Finding:
    for place, mine in _PLACES:
        if finding.path.startswith(place):
            return replace(finding, path=mine + finding.path[len(place) :])
    return finding


def _check_size(offer: Offer) -> None:
    size = len(strict_json.encode(offer.tariff))
    if size > MAX_TARIFF_BYTES:
        why = f"the tariff takes {size} bytes, {MAX_TARIFF_BYTES} are allowed"
        check_findings((_error("SCH_INVALID_FORMAT", why, Tier.SCHEMA),))


def _check_elements(tariff: Mapping[str, Any]) -> None:
    count = len(tariff["elements"])
    if count > MAX_ELEMENTS:
        why = f"the tariff has {count} elements, {MAX_ELEMENTS} can be settled"
        check_findings((_error("SCH_INVALID_FORMAT", why, Tier.SCHEMA),))


def _check_gap(offer: Offer, price: TariffPricing) -> None:
    """Look at the first weeks of production: later ones are like them."""
    end_ms = min(offer.production_end_ms, offer.production_start_ms + PATTERN_MS)
    window = DeliveryInterval(offer.production_start_ms, end_ms)
    most = Energy(min(offer.maximum_micro_kwh or MAX_MICRO, offer.published_micro_kwh))
    try:
        gap = first_gap(price.terms.tariff, window, zone=price.terms.zone, kwh=kwh_of(most))
    except TariffError as error:
        gap = error
    if gap is not None:
        check_findings((_error(gap.code, gap.message, Tier.SEMANTIC),))


def _error(code: str, message: str, tier: Tier) -> Finding:
    wire = "SCH_ATTRIBUTE_PACK_INVALID" if tier is Tier.SEMANTIC else code
    rule = GAP if code == GAP else None
    return Finding(tier, Severity.ERROR, code, "$.tariff", message, rule, wire)
