"""Orders in the draft shape: reading the parts that matter and building our own.

Orders are values: every function returns a new one. Source: protocol specification, section 4.1.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from adapter.domain.errors import QuantityError, WireError
from adapter.domain.instants import DeliveryInterval
from adapter.domain.quantities import Energy, Money, UnitPrice, cost, to_decimal
from adapter.domain.tariff import TariffError
from adapter.domain.tariff_terms import VatTreatment
from adapter.domain.terms import Price
from adapter.domain.trade import TradeState
from adapter.formula.filled import number_text
from adapter.protocol.contract import CONTRACT_PATH, contract_currency, inputs_of

_SCHEMA_BASE = (
    "https://raw.githubusercontent.com/beckn/protocol-specifications-new/refs/heads/draft/schema"
)
CORE_CONTEXT = f"{_SCHEMA_BASE}/core/v2/context.jsonld"
P2P_CONTEXT = f"{_SCHEMA_BASE}/EnergyContractP2PTrade/v1/context.jsonld"
DELIVERY_CONTEXT = f"{_SCHEMA_BASE}/EnergyTradeDelivery/v0.2/context.jsonld"
OFFER_CONTEXT = f"{_SCHEMA_BASE}/EnergyOffer/v1/context.jsonld"
RESOURCE_CONTEXT = f"{_SCHEMA_BASE}/EnergyResource/v0.2/context.jsonld"
"""Constants that are compared as text and never fetched."""

CONTRACT = "beckn:orderAttributes"
OFFERS = "beckn:offers"
ITEM_COUNT_PATH = "$.message.order['beckn:items'][0].quantity.count"

STATUS_OF: Mapping[TradeState, str] = {
    TradeState.CONFIRMED: "ACTIVE",
    TradeState.DELIVERING: "ACTIVE",
    TradeState.COMPLETED: "COMPLETED",
    TradeState.TERMINATED: "TERMINATED",
}
"""Contract status on the wire; PENDING for all other states. Source: section 13."""


def order_id(order: Mapping[str, Any]) -> str:
    """Return the id of an order."""
    return str(order.get("beckn:id", ""))


def contract_of(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the contract of an order, empty when there is none."""
    return order.get(CONTRACT) or {}


def first_id(order: Mapping[str, Any], part: str) -> str:
    """Return the id of the first entry of `beckn:items` or `beckn:offers`, else an empty text."""
    entries = order.get(part)
    first = entries[0] if isinstance(entries, list | tuple) and entries else None
    return str(first.get("beckn:id", "")) if isinstance(first, Mapping) else ""


def provider_id(order: Mapping[str, Any]) -> str:
    """Return the id of the provider, else an empty text."""
    provider = order.get("beckn:provider")
    return str(provider.get("beckn:id", "")) if isinstance(provider, Mapping) else ""


def item_energy(order: Mapping[str, Any]) -> Energy:
    """Return the sum of the item quantities.

    Raises:
        WireError: SCH_REQUIRED_FIELD_MISSING, an item without quantity;
            SCH_ATTRIBUTE_PACK_INVALID, no exact number of kWh.
    """
    total = Energy(0)
    try:
        for item in order.get("beckn:items") or ():
            total = total + Energy.from_kwh(item["quantity"]["count"])
    except KeyError as error:
        msg = f"an item has no {error.args[0]}"
        raise WireError("SCH_REQUIRED_FIELD_MISSING", msg, path=ITEM_COUNT_PATH) from None
    except QuantityError as error:
        msg = f"item quantity: {error.message}"
        raise WireError(error.code, msg, path=ITEM_COUNT_PATH) from None
    return total


def with_contract(order: Mapping[str, Any], contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return the order with another contract, which stays its last member."""
    return {**{k: v for k, v in order.items() if k != CONTRACT}, CONTRACT: dict(contract)}


def with_status(order: Mapping[str, Any], status: str) -> dict[str, Any]:
    """Return the order with another contract status."""
    return with_contract(order, {**contract_of(order), "status": status})


def without(order: Mapping[str, Any], *parts: str) -> dict[str, Any]:
    """Return the order without some of its members."""
    return {name: value for name, value in order.items() if name not in parts}


def with_quote(order: Mapping[str, Any], *lines: tuple[str, Money]) -> dict[str, Any]:
    """Return the order with a quote made of titled lines, which it equals exactly."""
    total = lines[0][1]
    for _, amount in lines[1:]:
        total = total + amount
    quote = {
        "@type": "beckn:Quotation",
        "beckn:price": _price(total),
        "beckn:breakup": [
            {"@type": "beckn:Breakup", "beckn:title": title, "beckn:price": _price(amount)}
            for title, amount in lines
        ],
    }
    rest = without(order, "beckn:quote")
    contract = rest.pop(CONTRACT)
    return {**rest, "beckn:quote": quote, CONTRACT: contract}


def energy_lines(
    energy: Energy, price: Price, window: DeliveryInterval
) -> tuple[tuple[str, Money], ...]:
    """Return the quote lines of the energy itself; under a tariff for even power, with VAT.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, the tariff has no price for it.
    """
    if isinstance(price, UnitPrice):
        return ((f"Energy {energy} kWh x {price}", cost(energy, price)),)
    try:
        estimate = price.terms.estimate(window, energy)
    except TariffError as error:
        details = {"code": error.code, "message": error.message}
        raise WireError(
            "SCH_ATTRIBUTE_PACK_INVALID", error.message, path=CONTRACT_PATH, cause=details
        ) from None
    money = price.terms.money(estimate)
    inclusive = price.terms.vat is VatTreatment.INCLUSIVE and estimate.vat
    title = f"Energy {energy} kWh, time of use{', VAT included' if inclusive else ''}"
    lines = ((title, Money(money.value, price.currency)),)
    if not money.vat:
        return lines
    rates = {leg.component.vat_percent for leg in estimate.legs}
    rate = f" {number_text(rates.pop())} %" if len(rates) == 1 else ""
    return (*lines, (f"VAT{rate}", Money(money.vat, price.currency)))


def wheeling_line(energy: Energy, wheeling: UnitPrice) -> tuple[str, Money]:
    """Return the quote line of the wheeling charge."""
    return f"Wheeling {energy} kWh x {wheeling}", cost(energy, wheeling)


def wheeling_price(contract: Mapping[str, Any]) -> UnitPrice:
    """Return the wheeling charge of a filled GRID_OPERATOR, in the contract's currency."""
    currency = contract_currency(contract)
    return UnitPrice.from_decimal(inputs_of(contract, "GRID_OPERATOR")["wheelingCharges"], currency)


def fulfillment(
    fulfillment_id: str, *, source: str | None, target: str | None, start: str, end: str
) -> dict[str, Any]:
    """Return the delivery from one meter to another in a trade window (RFC 3339).

    In a market only one of both is known, whose meter it is.
    """
    return {
        "@type": "beckn:Fulfillment",
        "beckn:id": fulfillment_id,
        "beckn:type": "ENERGY_DELIVERY",
        "beckn:stops": [
            _stop(kind, meter, start, end)
            for kind, meter in (("START", source), ("END", target))
            if meter is not None
        ],
    }


def with_delivery(
    order: Mapping[str, Any],
    *,
    status: str,
    state: str | None,
    delivery: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the order as delivery stands.

    Args:
        order: the order as last agreed.
        status: contract status.
        state: fulfillment state, None to leave it out.
        delivery: EnergyTradeDelivery, None to keep what is there.
    """
    changed = with_status(order, status)
    entries = changed.get("beckn:fulfillments") or [
        {"@type": "beckn:Fulfillment", "beckn:id": f"{order_id(order)}-delivery"}
    ]
    first = without(entries[0], "beckn:state")
    if state is not None:
        descriptor = {"@type": "beckn:Descriptor", "schema:name": state}
        first["beckn:state"] = {"@type": "beckn:State", "beckn:descriptor": descriptor}
    if delivery is not None:
        first["beckn:attributes"] = dict(delivery)
    changed["beckn:fulfillments"] = [first, *entries[1:]]
    if changed.get("beckn:payments"):
        paid = "PAID" if status == "COMPLETED" else "NOT-PAID"
        changed["beckn:payments"] = [
            {**payment, "beckn:status": paid} for payment in changed["beckn:payments"]
        ]
    return with_contract(changed, contract_of(changed))


def delivery_of(order: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return fulfillment state and EnergyTradeDelivery of an order, None where absent."""
    entries: Sequence[Mapping[str, Any]] = order.get("beckn:fulfillments") or ({},)
    descriptor = (entries[0].get("beckn:state") or {}).get("beckn:descriptor") or {}
    return descriptor.get("schema:name"), entries[0].get("beckn:attributes")


def order_reference(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the order of a status or cancel: its id alone."""
    return {"@context": CORE_CONTEXT, "@type": "beckn:Order", "beckn:id": order_id(order)}


def _price(amount: Money) -> dict[str, Any]:
    return {
        "@type": "schema:PriceSpecification",
        "schema:price": number(amount.amount),
        "schema:priceCurrency": amount.currency,
    }


def exact(micro: int) -> Decimal | int:
    """Return millionths as the number on the wire."""
    return number(to_decimal(micro))


def number(value: Decimal) -> Decimal | int:
    """Return a whole Decimal as int, so that 10 is written 10."""
    whole = value.to_integral_value()
    return int(whole) if whole == value else value


def _stop(kind: str, meter: str, start: str, end: str) -> dict[str, Any]:
    return {
        "@type": "beckn:Stop",
        "beckn:id": f"stop-{kind.lower()}",
        "beckn:type": kind,
        "beckn:location": {"@type": "beckn:Location", "beckn:address": meter},
        "beckn:time": {"@type": "beckn:Time", "beckn:range": {"start": start, "end": end}},
    }
