"""Rules 20 and 84 to 88: items, quote and stops of an order against its contract."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapter.domain.findings import Path, Severity
from adapter.protocol.rules.exact import micro, plain, total, units
from adapter.protocol.rules.inputs import CURRENCY_MISMATCH, other_currency
from adapter.protocol.rules.message import ORDER, OrderCase, instant
from adapter.protocol.rules.rule import FIXED, FIXED_AND_TARIFF, Hit, Rule

_QUOTE: Path = (*ORDER, "beckn:quote")
_QUOTED: Path = (*_QUOTE, "beckn:price", "schema:price")


def item_quantity(case: OrderCase) -> Iterator[Hit]:
    """The items add up to the contracted quantity."""
    items = case.order.get("beckn:items", ())
    counts = [item["quantity"]["count"] for item in items if "quantity" in item]
    contracted = case.contract.view.input("BUYER", "contractedQuantity")
    if counts and contracted is not None and total(counts) != contracted:
        path: Path = (*ORDER, "beckn:items")
        if len(items) == 1:
            path = (*path, 0, "quantity", "count")
        yield Hit(path, {"a": plain(total(counts)), "b": plain(contracted)})


def quote_total(case: OrderCase) -> Iterator[Hit]:
    """The quote is the sum of its parts."""
    quote = case.order.get("beckn:quote")
    if quote is None or not quote.get("beckn:breakup"):
        return
    price = quote["beckn:price"]["schema:price"]
    parts = total(part["beckn:price"]["schema:price"] for part in quote["beckn:breakup"])
    if price != parts:
        yield Hit(_QUOTED, {"total": plain(price), "sum": plain(parts)})


def quote_flow(case: OrderCase) -> Iterator[Hit]:
    """The quote is the sum of all flows, or of those to the roles that the BPP fills."""
    quote = case.order.get("beckn:quote")
    flows = [check.flow for check in case.contract.flows]
    amounts = [(flow.payee, flow.amount.micro) for flow in flows if flow.amount is not None]
    if quote is None or not flows or len(amounts) < len(flows):
        return
    bpp = case.contract.message.bpp
    own = {role.name for role in case.contract.view.roles if role.filled and role.filled_by == bpp}
    everything = sum(amount for _, amount in amounts)
    mine = sum(amount for payee, amount in amounts if payee in own)
    price = quote["beckn:price"]["schema:price"]
    if micro(price) != everything and (micro(price) != mine or not own):
        params = {"total": plain(price), "all": units(everything), "mine": units(mine)}
        yield Hit(_QUOTED, params)


def quote_unit(case: OrderCase) -> Iterator[Hit]:
    """A total is not a price per unit."""
    unit = case.order.get("beckn:quote", {}).get("beckn:price", {}).get("schema:unitText")
    if unit is not None:
        yield Hit((*_QUOTE, "beckn:price", "schema:unitText"), {"unit": unit})


def quote_currency(case: OrderCase) -> Iterator[Hit]:
    """The quote and its parts are in the contract currency."""
    quote = case.order.get("beckn:quote")
    currency = case.contract.view.currency
    if quote is None or currency is None:
        return
    prices: list[tuple[Path, Mapping[str, Any]]] = [
        ((*_QUOTE, "beckn:price"), quote["beckn:price"])
    ]
    for index, part in enumerate(quote.get("beckn:breakup", ())):
        prices.append(((*_QUOTE, "beckn:breakup", index, "beckn:price"), part["beckn:price"]))
    for path, price in prices:
        if price["schema:priceCurrency"] != currency:
            place = (*path, "schema:priceCurrency")
            yield other_currency(place, "quote", price["schema:priceCurrency"], case.contract)


_STOPS = {"START": ("SELLER", "sourceMeterId"), "END": ("BUYER", "targetMeterId")}


def stops(case: OrderCase) -> Iterator[Hit]:
    """Stops name the meters and the window of the contract."""
    for number, fulfillment in enumerate(case.order.get("beckn:fulfillments", ())):
        for index, stop in enumerate(fulfillment.get("beckn:stops", ())):
            path: Path = (*ORDER, "beckn:fulfillments", number, "beckn:stops", index)
            kind = stop.get("beckn:type")
            if kind in _STOPS:
                yield from _stop_address(case, stop, path)
            yield from _stop_range(case, stop, path)


def _stop_address(case: OrderCase, stop: Mapping[str, Any], path: Path) -> Iterator[Hit]:
    kind = stop["beckn:type"]
    address = stop.get("beckn:location", {}).get("beckn:address")
    meter = case.contract.view.input(*_STOPS[kind])
    if isinstance(address, str) and meter is not None and address != meter:
        place = (*path, "beckn:location", "beckn:address")
        yield Hit(place, {"type": kind, "a": address, "b": meter})


def _stop_range(case: OrderCase, stop: Mapping[str, Any], path: Path) -> Iterator[Hit]:
    times = stop.get("beckn:time", {}).get("beckn:range", {})
    names = ("tradeStartTime", "tradeEndTime")
    for key, agreed, name in zip(("start", "end"), case.contract.window, names, strict=True):
        if key in times and agreed is not None and instant(times[key]) != agreed:
            params = {
                "type": stop.get("beckn:type", ""),
                "a": times[key],
                "b": case.contract.view.input("BUYER", name),
            }
            yield Hit((*path, "beckn:time", "beckn:range", key), params)


ORDER_RULES = (
    Rule(
        "P2P_CURRENCY_MISMATCH",
        Severity.ERROR,
        CURRENCY_MISMATCH,
        quote_currency,
    ),
    Rule(
        "P2P_ITEM_QUANTITY",
        Severity.ERROR,
        "order quantity {a} differs from contracted {b} kWh",
        item_quantity,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_QUOTE_TOTAL",
        Severity.ERROR,
        "quote {total} differs from its parts {sum}",
        quote_total,
    ),
    Rule(
        "P2P_QUOTE_FLOW",
        Severity.WARNING,
        "quote {total} matches neither all flows {all} nor the sender's {mine}",
        quote_flow,
        FIXED,
    ),
    Rule(
        "P2P_QUOTE_UNIT",
        Severity.WARNING,
        "quote total must not be per {unit}",
        quote_unit,
    ),
    Rule(
        "P2P_STOP_MISMATCH",
        Severity.WARNING,
        "stop {type} says {a}, contract says {b}",
        stops,
        FIXED_AND_TARIFF,
    ),
)
