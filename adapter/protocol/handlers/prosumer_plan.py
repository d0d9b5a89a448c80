"""From a prosumer's offer curve to the orders that carry it into a market.

A plan is the body of `POST /trades`: `bpp_id, source_meter_id, source_type, offer_curve, start,
end` and, if given, `offer_id` and `max_market_making_fee` (a decimal string); the curve as on the
wire. It is stored with the trade, so a node that restarts goes on with it. Nobody selects: the
offer names the market, init brings the curve.
Source: interfaces, section 3; contract specification, sections 4.1 and 5.1.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from adapter.domain.curves import Side
from adapter.domain.errors import WireError
from adapter.domain.instants import format_instant, parse_instant
from adapter.protocol.contract import filled_role, inputs_of, role_of, with_role
from adapter.protocol.coordination import read_curve
from adapter.protocol.handlers.prosumer_terms import gate_ms, window_ms
from adapter.protocol.market_view import AGENT, PROSUMER
from adapter.protocol.orders import CORE_CONTEXT, fulfillment, with_contract

MOST_MARKETS = 20
"""Of one delivery window that are kept while further pages may come."""

Plan = Mapping[str, Any]


def is_prosumer_plan(plan: Plan) -> bool:
    """Return whether the plan brings a curve into a market instead of buying from a seller."""
    return "offer_curve" in plan


def discover_message(plan: Plan) -> dict[str, Any]:
    """Return the discover that finds the market of the plan's window."""
    window = "@.offerAttributes.contract.inputParameters.deliveryWindow"
    conditions = [
        f"@.offerAttributes.openRole == '{PROSUMER}'",
        f"{window}.startTime == '{plan['start']}'",
        f"{window}.endTime == '{plan['end']}'",
    ]
    if plan.get("offer_id"):
        conditions.append(f"@.offerAttributes.offerId == '{plan['offer_id']}'")
    expression = f"$[?({' && '.join(conditions)})]"
    return {"filters": {"type": "jsonpath", "expression": expression}}


def init_order(
    plan: Plan, message: Mapping[str, Any], new_order_id: str, me: str, *, now_ms: int
) -> dict[str, Any]:
    """Return the order that brings the plan's curve into the market it fits.

    Args:
        plan: the prosumer's wish.
        message: of the on_discover.
        new_order_id: for the order.
        me: subscriber id of the prosumer's app.
        now_ms: markets whose gate is behind it are closed.

    Raises:
        WireError: BIZ_OFFER_NOT_FOUND, no market has that window, or only at a higher fee;
            BIZ_QUOTE_EXPIRED_OR_CHANGED, the one that has it is closed.
    """
    offer = _chosen(plan, message, now_ms)
    inputs = {
        "sourceMeterId": plan["source_meter_id"],
        "sourceType": plan["source_type"],
        "offerCurve": dict(plan["offer_curve"]),
    }
    provider = offer.get("beckn:provider")
    order = {
        "@context": CORE_CONTEXT,
        "@type": "beckn:Order",
        "beckn:id": new_order_id,
        "beckn:offers": [{"beckn:id": offer["beckn:id"]}],
        "beckn:provider": provider if isinstance(provider, Mapping) else {"beckn:id": provider},
        "beckn:fulfillments": [_delivery(plan, new_order_id)],
        "beckn:payments": [
            {
                "@type": "beckn:Payment",
                "beckn:id": f"{new_order_id}-payment",
                "beckn:type": "ON-FULFILLMENT",
                "beckn:status": "NOT-PAID",
                "beckn:collected_by": "BPP",
            }
        ],
        "beckn:billing": {"@type": "beckn:Billing", "beckn:name": me},
    }
    return with_contract(order, with_role(_contract(offer), filled_role(PROSUMER, me, inputs)))


def _delivery(plan: Plan, new_order_id: str) -> dict[str, Any]:
    """Return the fulfilment: it starts at a meter that may export, and ends at one that may not."""
    side, meter = read_curve(plan["offer_curve"]).side, str(plan["source_meter_id"])
    return fulfillment(
        f"{new_order_id}-delivery",
        source=None if side is Side.BUYER else meter,
        target=None if side is Side.SELLER else meter,
        start=plan["start"],
        end=plan["end"],
    )


def _chosen(plan: Plan, message: Mapping[str, Any], now_ms: int) -> Mapping[str, Any]:
    """Return the market with the smallest fee among those that fit and are open."""
    fitting = [offer for offer in offers_in(message) if _fits(plan, offer)]
    if not fitting:
        named = f"offer {plan['offer_id']}" if plan.get("offer_id") else "no market"
        verb = "does not trade" if plan.get("offer_id") else "trades"
        msg = f"{named} of {plan['bpp_id']} {verb} from {plan['start']} to {plan['end']}"
        raise WireError("BIZ_OFFER_NOT_FOUND", msg)
    fitting = [offer for offer in fitting if _is_fair(plan, offer)]
    if not fitting:
        limit = plan["max_market_making_fee"]
        msg = f"{plan['bpp_id']} trades then, but at a market making fee above {limit} per kWh"
        raise WireError("BIZ_OFFER_NOT_FOUND", msg)
    still_open = [offer for offer in fitting if (gate_ms(_contract(offer)) or now_ms) >= now_ms]
    if not still_open:
        gate = gate_ms(_contract(fitting[0]))
        assert gate is not None, "without a gate it is open"
        msg = f"market {fitting[0]['beckn:id']} closed at {format_instant(gate)}"
        raise WireError("BIZ_QUOTE_EXPIRED_OR_CHANGED", msg)
    return min(still_open, key=lambda offer: (_fee(offer), offer["beckn:id"]))


def fitting_only(plan: Plan, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message of an on_discover with the markets of the plan's window alone.

    Of a multitude of them those with the smallest fee.
    """
    fitting = [offer for offer in offers_in(message) if _fits(plan, offer)]
    fitting.sort(key=lambda offer: (_fee(offer), offer["beckn:id"]))
    return {"catalogs": [{"beckn:offers": fitting[:MOST_MARKETS]}]}


def offers_in(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give all offers of an on_discover; a market's have no items."""
    for catalogue in message.get("catalogs") or ():
        yield from catalogue.get("beckn:offers") or ()


def _fits(plan: Plan, offer: Mapping[str, Any]) -> bool:
    if plan.get("offer_id") and offer.get("beckn:id") != plan["offer_id"]:
        return False
    contract = _contract(offer)
    open_to_us = role_of(contract, PROSUMER)
    if "marketMakingFee" not in inputs_of(contract, AGENT) or open_to_us is None:
        return False
    wanted = parse_instant(plan["start"]), parse_instant(plan["end"])
    return not open_to_us.get("filled") and window_ms(contract) == wanted


def _is_fair(plan: Plan, offer: Mapping[str, Any]) -> bool:
    """Return whether the market takes no more than the prosumer would pay it."""
    limit = plan.get("max_market_making_fee")
    return limit is None or _fee(offer) <= Decimal(limit)


def _fee(offer: Mapping[str, Any]) -> Decimal:
    return Decimal(inputs_of(_contract(offer), AGENT)["marketMakingFee"])


def _contract(offer: Mapping[str, Any]) -> Mapping[str, Any]:
    return (offer.get("beckn:offerAttributes") or {}).get("contract") or {}
