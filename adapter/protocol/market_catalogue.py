"""A market as the network sees it, and a prosumer's order compared with what it offers.

The offer has no item: it is an invitation into a contract that all prosumers of one delivery
window share. Source: contract specification, sections 3.3 and 5.1; protocol specification, R1;
decision 0018.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import format_instant, parse_instant
from adapter.domain.market import FeeTreatment
from adapter.domain.offers import MarketPlace, Offer
from adapter.protocol.cleared import filled_prosumers
from adapter.protocol.contract import (
    CONTRACT_PATH,
    filled_role,
    formulas_of,
    inputs_of,
    inputs_of_entry,
    open_role,
    role_of,
)
from adapter.protocol.contract_view import Mode
from adapter.protocol.decision import Identity
from adapter.protocol.market_view import AGENT, OPERATOR, PROSUMER
from adapter.protocol.orders import (
    CORE_CONTEXT,
    OFFER_CONTEXT,
    P2P_CONTEXT,
    contract_of,
    exact,
    first_id,
    provider_id,
)
from adapter.protocol.standard_flows import STANDARD_FLOWS

PRICING_MODEL = "PAY_AS_CLEAR"
_ROLES = f"{CONTRACT_PATH}.roles"
_PARAMETERS = f"{CONTRACT_PATH}.inputParameters"
_PRICED_BY = frozenset({"pricingModel", "feeTreatment"})
"""Of the parameters those that change what a kWh costs."""


def market_place(offer: Offer) -> MarketPlace:
    """Return what makes an offer one of a market; it is one."""
    assert offer.market is not None
    return offer.market


def market_provider(me: Identity) -> str:
    """Return the provider id of a market's offers: the market itself."""
    return f"provider-{me.subscriber_id}"


def market_parameters(offer: Offer) -> dict[str, Any]:
    """Return inputParameters: how the price is found, of which window, until when."""
    place = market_place(offer)
    parameters: dict[str, Any] = {
        "pricingModel": PRICING_MODEL,
        "deliveryWindow": {
            "startTime": format_instant(offer.production_start_ms),
            "endTime": format_instant(offer.production_end_ms),
        },
        "gateClosureTime": format_instant(place.gate_ms),
    }
    if place.fee_treatment is not FeeTreatment.SYMMETRIC:
        parameters["feeTreatment"] = place.fee_treatment.value
    return parameters


def market_contract(offer: Offer, me: Identity, *, cascades: bool) -> dict[str, Any]:
    """Return the contract that the market invites to: its agent filled, PROSUMER open."""
    standard = STANDARD_FLOWS[Mode.MARKET]
    pairs = [(PROSUMER, AGENT), *([(AGENT, OPERATOR)] if cascades else [])]
    flows = [
        {"from": payer, "to": payee, "formula": standard[payer, payee][0]} for payer, payee in pairs
    ]
    fee = exact(market_place(offer).fee_micro_per_kwh)
    return {
        "@context": P2P_CONTEXT,
        "@type": "EnergyContractP2PTrade",
        "contractId": offer.template_contract_id,
        "status": "PENDING",
        "createdAt": format_instant(offer.created_ms),
        "roles": [
            filled_role(AGENT, me.subscriber_id, {"marketMakingFee": fee}),
            open_role(PROSUMER),
        ],
        "inputParameters": market_parameters(offer),
        "inputSignals": [],
        "telemetrySources": [],
        "revenueFlows": {"flows": flows, "netZero": True},
        "qualityMetrics": {"metrics": []},
    }


def market_offer(offer: Offer, me: Identity, *, cascades: bool) -> dict[str, Any]:
    """Return the offer of a market as a catalogue shows it."""
    start, end = (format_instant(ms) for ms in (offer.production_start_ms, offer.production_end_ms))
    return {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Offer",
        "beckn:id": offer.offer_id,
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": f"Local energy market, {start} to {end}",
        },
        "beckn:provider": market_provider(me),
        "beckn:offerAttributes": {
            "@context": OFFER_CONTEXT,
            "@type": "EnergyOffer",
            "offerId": offer.offer_id,
            "contractId": offer.template_contract_id,
            "providerId": me.subscriber_id,
            "providerUri": me.as_bpp.uri,
            "openRole": PROSUMER,
            "contract": market_contract(offer, me, cascades=cascades),
        },
    }


def check_market_order(
    order: Mapping[str, Any], offers: Sequence[Offer], me: Identity, *, cascades: bool, now_ms: int
) -> Offer:
    """Return the market that the order joins, once everything it says of it holds.

    Raises:
        WireError: BIZ_OFFER_NOT_FOUND, BIZ_ITEM_NOT_FOUND, BIZ_PROVIDER_NOT_FOUND,
            BIZ_QUOTE_EXPIRED_OR_CHANGED, BIZ_PRICE_MISMATCH, BIZ_UPDATE_INCONSISTENT.
    """
    offer = _named_market(order, offers, me)
    _check_open(offer, now_ms)
    contract, promised = contract_of(order), market_contract(offer, me, cascades=cascades)
    if contract.get("contractId") != promised["contractId"]:
        msg = f"the market's contract is {promised['contractId']!r}, for everybody who takes part"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.contractId")
    _check_agent(contract, promised, me)
    if formulas_of(contract) != formulas_of(promised):
        msg = "the revenue flows are not those of the market"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.revenueFlows.flows")
    check_parameters(contract, promised["inputParameters"])
    return offer


def check_parameters(contract: Mapping[str, Any], promised: Mapping[str, Any]) -> None:
    """Refuse a contract that reads the market's prices or times in another way.

    Raises:
        WireError: BIZ_PRICE_MISMATCH, BIZ_UPDATE_INCONSISTENT.
    """
    given = contract.get("inputParameters") or {}
    defaults = {"feeTreatment": FeeTreatment.SYMMETRIC.value, "settlementBasis": "CONTRACTED"}
    names = ("pricingModel", "deliveryWindow", "gateClosureTime", *defaults)
    for name in names:
        value, fixed = given.get(name, defaults.get(name)), promised.get(name, defaults.get(name))
        if _plain(value) != _plain(fixed):
            code = "BIZ_PRICE_MISMATCH" if name in _PRICED_BY else "BIZ_UPDATE_INCONSISTENT"
            msg = f"{name} is {str(value)[:60]}, the market says {str(fixed)[:80]}"
            raise WireError(code, msg, path=f"{_PARAMETERS}.{name}")


def _named_market(order: Mapping[str, Any], offers: Sequence[Offer], me: Identity) -> Offer:
    wanted = first_id(order, "beckn:offers")
    known = (offer for offer in offers if offer.market is not None and not offer.withdrawn)
    offer = next((offer for offer in known if offer.offer_id == wanted), None)
    if offer is None:
        msg = f"no market {wanted[:40]!r} here"
        raise WireError("BIZ_OFFER_NOT_FOUND", msg, path="$.message.order['beckn:offers'][0]")
    if order.get("beckn:items"):
        msg = f"market {offer.offer_id} sells no items, the curve says how much"
        raise WireError("BIZ_ITEM_NOT_FOUND", msg, path="$.message.order['beckn:items']")
    if provider_id(order) != market_provider(me):
        msg = f"the provider is {market_provider(me)!r}, not {provider_id(order)[:40]!r}"
        raise WireError("BIZ_PROVIDER_NOT_FOUND", msg, path="$.message.order['beckn:provider']")
    return offer


def _check_open(offer: Offer, now_ms: int) -> None:
    gate_ms, from_ms = market_place(offer).gate_ms, offer.valid_from_ms
    why = None
    if now_ms > gate_ms:
        why = f"closed {format_instant(gate_ms)}"
    elif from_ms is not None and now_ms < from_ms:
        why = f"opens {format_instant(from_ms)}"
    if why is not None:
        msg = f"market {offer.offer_id} {why}"
        raise WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg, path=f"{_PARAMETERS}.gateClosureTime")


def _check_agent(contract: Mapping[str, Any], promised: Mapping[str, Any], me: Identity) -> None:
    """Nobody names the market's terms but the market (R1)."""
    agent = role_of(contract, AGENT) or {}
    if agent.get("filledBy") != me.subscriber_id:
        msg = f"{AGENT} is {agent.get('filledBy')!r}, the offer's is {me.subscriber_id!r}"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=_ROLES)
    given, fixed = inputs_of(contract, AGENT), inputs_of(promised, AGENT)
    for name in sorted(given.keys() | fixed.keys()):
        if given.get(name) != fixed.get(name):
            msg = f"{AGENT}.{name} is {str(given.get(name))[:40]}, the offer says {fixed.get(name)}"
            raise WireError("BIZ_PRICE_MISMATCH", msg, path=_ROLES)


def own_prosumer(contract: Mapping[str, Any], platform: str, currency: str) -> Mapping[str, Any]:
    """Return the one PROSUMER that a platform brings into a market.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT, it brings none, several, or somebody else's;
            BIZ_PRICE_MISMATCH, the curve is in another currency than the market.
    """
    filled = filled_prosumers(contract)
    if len(filled) != 1 or filled[0].get("filledBy") != platform:
        names = [str(entry.get("filledBy"))[:40] for entry in filled[:4]]
        msg = f"an init brings one {PROSUMER}, filled by {platform}; here it is {names}"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=_ROLES)
    named = inputs_of_entry(filled[0])["offerCurve"]["currency"]
    if named != currency:
        msg = f"the curve is in {named}, the market in {currency}"
        raise WireError("BIZ_PRICE_MISMATCH", msg, path=f"{_ROLES}[?(@.role=='{PROSUMER}')]")
    return filled[0]


def _plain(value: Any) -> Any:
    """Return a parameter with its times as instants, so that both spellings of one are equal."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    try:
        return parse_instant(value) if isinstance(value, str) else value
    except (ValueError, OverflowError):
        return value
