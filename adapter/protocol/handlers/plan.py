"""From a buyer's wish to the orders that fulfil it: what `POST /trades` lets the node do alone.

A plan is the body of that call: `bpp_id, target_meter_id, quantity_kwh, start, end` and, if
given, `offer_id, source_type, max_price_per_kwh`; numbers as decimal strings. It is stored with
the trade, so a node that restarts goes on with it. Source: interfaces, section 3.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from adapter.domain.errors import AdapterError, WireError
from adapter.domain.instants import DeliveryInterval, parse_instant
from adapter.domain.quantities import Energy
from adapter.protocol.contract import (
    filled_role,
    inputs_of,
    open_role,
    tariff_pricing,
    with_role,
)
from adapter.protocol.envelope import Envelope
from adapter.protocol.handlers import prosumer_plan
from adapter.protocol.orders import (
    CORE_CONTEXT,
    contract_of,
    fulfillment,
    number,
    order_id,
    with_contract,
    without,
)

LONG_PAGE = 20
"""Offers on a page that may be followed by another; our own nodes put 40 on one."""
LARGE_PAGE = 65_536
"""Bytes, a quarter of a body's limit: few offers with long tariffs fill a page too."""

Plan = Mapping[str, Any]


def discover_message(plan: Plan) -> dict[str, Any]:
    """Return the discover that finds offers, or the market, for the plan."""
    if prosumer_plan.is_prosumer_plan(plan):
        return prosumer_plan.discover_message(plan)
    conditions = []  # the one that most offers fail comes first
    if plan.get("offer_id") and "'" not in plan["offer_id"]:
        conditions.append(f"@.offerAttributes.offerId == '{plan['offer_id']}'")
    conditions += [
        f"@.itemAttributes.availableQuantity >= {plan['quantity_kwh']}",
        f"@.itemAttributes.productionWindow.start <= '{plan['start']}'",
        f"@.itemAttributes.productionWindow.end >= '{plan['end']}'",
    ]
    if plan.get("source_type"):
        conditions.append(f"@.itemAttributes.sourceType == '{plan['source_type']}'")
    expression = f"$[?({' && '.join(conditions)})]"
    return {"filters": {"type": "jsonpath", "expression": expression}}


def select_order(
    plan: Plan, message: Mapping[str, Any], new_order_id: str, *, time_zone: str
) -> dict[str, Any]:
    """Return the order that selects the cheapest offer of an on_discover that fits the plan.

    Args:
        plan: the buyer's wish.
        message: of the on_discover.
        new_order_id: for the order.
        time_zone: IANA name, for a tariff that names none.

    Raises:
        WireError: BIZ_OFFER_NOT_FOUND, none fits.
    """
    pair = _best_pair(plan, message, time_zone)
    if pair is None:
        msg = f"no offer of {plan['bpp_id']} fits {plan['quantity_kwh']} kWh in that window"
        raise WireError("BIZ_OFFER_NOT_FOUND", msg)
    item, offer = pair
    quantity = number(Energy.from_kwh(plan["quantity_kwh"]).kwh)
    provider = offer.get("beckn:provider")
    order = {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Order",
        "beckn:id": new_order_id,
        "beckn:items": [
            {"beckn:id": item["beckn:id"], "quantity": {"count": quantity, "unit": "kWh"}}
        ],
        "beckn:offers": [{"beckn:id": offer["beckn:id"]}],
        "beckn:provider": provider if isinstance(provider, Mapping) else {"beckn:id": provider},
    }
    return with_contract(order, _with_window(plan, _contract(offer)))


def best_of(plan: Plan, message: Mapping[str, Any], *, time_zone: str) -> dict[str, Any]:
    """Return the message of an on_discover with the offer alone that is to be taken up.

    Of markets those of the plan's window are kept: which of them is open is asked at the end.
    """
    if prosumer_plan.is_prosumer_plan(plan):
        return prosumer_plan.fitting_only(plan, message)
    pair = _best_pair(plan, message, time_zone)
    if pair is None:
        return {"catalogs": []}
    item, offer = pair
    return {"catalogs": [{"beckn:items": [item], "beckn:offers": [offer]}]}


def is_last_page(plan: Plan, envelope: Envelope) -> bool:
    """Return whether nothing better can come after this page of an on_discover.

    No page says how many there are. One that is neither long nor large is taken for the last, and
    the one offer that was asked for needs no other.
    """
    in_market = prosumer_plan.is_prosumer_plan(plan)
    offers = (
        list(prosumer_plan.offers_in(envelope.message))
        if in_market
        else [offer for _, offer in _pairs(envelope.message)]
    )
    if plan.get("offer_id") in {offer["beckn:id"] for offer in offers}:
        return True
    return len(offers) < LONG_PAGE and len(envelope.raw) < LARGE_PAGE


def _best_pair(
    plan: Plan, message: Mapping[str, Any], time_zone: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return item and offer of the cheapest offer that fits, the first by its id of several."""
    fitting = []
    for item, offer in _pairs(message):
        price = _price(plan, offer, time_zone) if _fits(plan, item, offer) else None
        if price is not None and price <= _limit(plan, price):
            fitting.append((price, offer["beckn:id"], item, offer))
    if not fitting:
        return None
    _, _, item, offer = min(fitting, key=lambda found: found[:2])
    return item, offer


def _with_window(plan: Plan, contract: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tariff contract with what a quote depends on, in the role that is still open."""
    if "tariff" not in inputs_of(contract, "SELLER"):
        return contract
    wished = {
        "contractedQuantity": number(Energy.from_kwh(plan["quantity_kwh"]).kwh),
        "tradeStartTime": plan["start"],
        "tradeEndTime": plan["end"],
    }
    return with_role(contract, {**open_role("BUYER"), "roleInputs": wished})


def init_order(plan: Plan, answered: Mapping[str, Any], me: str) -> dict[str, Any]:
    """Return the order of the init: the answered one with the BUYER filled."""
    contract = contract_of(answered)
    inputs = {
        "targetMeterId": plan["target_meter_id"],
        "contractedQuantity": number(Energy.from_kwh(plan["quantity_kwh"]).kwh),
        "tradeStartTime": plan["start"],
        "tradeEndTime": plan["end"],
    }
    name = order_id(answered)
    order = without(answered, "beckn:quote")
    order["beckn:fulfillments"] = [
        fulfillment(
            f"{name}-delivery",
            source=inputs_of(contract, "SELLER")["sourceMeterId"],
            target=plan["target_meter_id"],
            start=plan["start"],
            end=plan["end"],
        )
    ]
    order["beckn:payments"] = [
        {
            "@type": "beckn:Payment",
            "beckn:id": f"{name}-payment",
            "beckn:type": "ON-FULFILLMENT",
            "beckn:status": "NOT-PAID",
            "beckn:collected_by": "BPP",
        }
    ]
    order["beckn:billing"] = {"@type": "beckn:Billing", "beckn:name": me}
    return with_contract(order, with_role(contract, filled_role("BUYER", me, inputs)))


def _pairs(message: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for catalogue in message.get("catalogs") or ():
        items = {item["beckn:id"]: item for item in catalogue.get("beckn:items") or ()}
        for offer in catalogue.get("beckn:offers") or ():
            for item_id in offer.get("beckn:items") or ():
                if item_id in items:
                    yield items[item_id], offer


def _fits(plan: Plan, item: Mapping[str, Any], offer: Mapping[str, Any]) -> bool:
    if plan.get("offer_id") and offer["beckn:id"] != plan["offer_id"]:
        return False
    seller = inputs_of(_contract(offer), "SELLER")
    attributes = item.get("beckn:itemAttributes") or {}
    wanted = Decimal(str(plan["quantity_kwh"]))
    source = plan.get("source_type")
    return (
        seller.get("minimumQuantity", 0) <= wanted <= seller.get("maximumQuantity", wanted)
        and wanted <= attributes.get("availableQuantity", wanted)
        and (source is None or seller.get("sourceType") == source)
        and _covers(attributes.get("productionWindow"), plan)
    )


def _covers(window: Mapping[str, Any] | None, plan: Plan) -> bool:
    if not window or not isinstance(window.get("start"), str):
        return True
    starts_in_time = parse_instant(window["start"]) <= parse_instant(plan["start"])
    return starts_in_time and parse_instant(plan["end"]) <= parse_instant(window["end"])


def _contract(offer: Mapping[str, Any]) -> Mapping[str, Any]:
    return (offer.get("beckn:offerAttributes") or {}).get("contract") or {}


def _limit(plan: Plan, price: Fraction) -> Fraction:
    """Return the most that a kWh may cost; without a limit what it costs."""
    limit = plan.get("max_price_per_kwh")
    return price if limit is None else Fraction(str(limit))


def _price(plan: Plan, offer: Mapping[str, Any], time_zone: str) -> Fraction | None:
    """Return what a kWh costs the buyer; None when that cannot be told.

    Under a tariff it is an estimate for even power over the window, VAT included.
    """
    contract = _contract(offer)
    seller = inputs_of(contract, "SELLER")
    if "pricePerKWh" in seller:
        return Fraction(seller["pricePerKWh"])
    if "tariff" not in seller:
        return None
    window = DeliveryInterval(parse_instant(plan["start"]), parse_instant(plan["end"]))
    try:
        terms = tariff_pricing(seller["tariff"], contract, time_zone=time_zone).terms
        return terms.estimate(window, Energy.from_kwh(plan["quantity_kwh"])).unit_with_vat
    except AdapterError:  # a gap, a zone that nobody knows: no price, so no offer
        return None
