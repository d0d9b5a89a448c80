"""Rules 20 and 84 to 88: items, quote and stops of an order against its contract."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapter.domain.findings import Path, Severity
from adapter.domain.revenue import net_positions
from adapter.protocol.contract_view import ORDER, Mode
from adapter.protocol.flow_binding import HostInputs
from adapter.protocol.flow_checks import FlowChecks, rounded_money
from adapter.protocol.flows import payments
from adapter.protocol.metered import energy_or_none, instant
from adapter.protocol.price_functions import INCLUSIVE
from adapter.protocol.rules.exact import micro, plain, total, units
from adapter.protocol.rules.inputs import CURRENCY_MISMATCH, other_currency
from adapter.protocol.rules.message import OrderCase
from adapter.protocol.rules.rule import FIXED_AND_TARIFF, Hit, Rule

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
    """The quote is the sum of all flows, or of those to the roles that the BPP fills.

    VAT that comes on top may be in it. A tariff's quote may still be that of the contracted
    quantity, a market's what the prosumers of the BAP pay or get.
    """
    quote = case.order.get("beckn:quote")
    evaluated = case.contract.evaluated
    if quote is None or not _is_bound(evaluated):
        return
    price = quote["beckn:price"]["schema:price"]
    sums = _sums(case, evaluated)
    wanted = micro(price)
    if wanted not in sums and wanted not in _estimates(case) and wanted not in _shares(case):
        params = {"total": plain(price), "all": units(sums[0]), "mine": units(sums[-1])}
        yield Hit(_QUOTED, params)


def _is_bound(evaluated: FlowChecks) -> bool:
    checks = evaluated.checks
    return bool(checks) and all(check.flow.amount is not None for check in checks)


def _sums(case: OrderCase, evaluated: FlowChecks) -> list[int]:
    """Return all flows, with VAT, and the BPP's own part with and without, in millionths."""
    view, bpp = evaluated.view, case.contract.message.bpp
    own = {role.name for role in view.roles if role.filled and role.filled_by == bpp}
    flows = [check.flow for check in evaluated.checks]
    amounts = [(flow.payee, flow.amount.micro) for flow in flows if flow.amount is not None]
    everything = sum(amount for _, amount in amounts)
    mine = sum(amount for payee, amount in amounts if payee in own) if own else everything
    vat = _vat(evaluated)
    return [everything, everything + vat, mine + vat, mine]


def _vat(evaluated: FlowChecks) -> int:
    """Return the VAT beside the flows, in millionths."""
    view, prices = evaluated.view, evaluated.prices.prices
    if not prices or view.parameters.get("vatTreatment") == INCLUSIVE:
        return 0
    return rounded_money(prices[0].vat, view).micro


def _estimates(case: OrderCase) -> list[int]:
    """Return the sums under a tariff for the contracted quantity, at even power."""
    contracted = case.contract.view.input("BUYER", "contractedQuantity")
    energy = None if contracted is None else energy_or_none(contracted)
    if case.contract.view.mode is not Mode.TARIFF or energy is None:
        return []
    host = HostInputs(delivered=energy, time_zone=case.contract.message.time_zone)
    evaluated = FlowChecks(case.contract.view, host)
    return _sums(case, evaluated) if _is_bound(evaluated) else []


def _shares(case: OrderCase) -> list[int]:
    """Return what each prosumer of the BAP pays or gets, in millionths."""
    market, bap = case.contract.market, case.contract.message.bap
    keys = [prosumer.key for prosumer in market.prosumers if prosumer.name == bap]
    if not keys:
        return []
    net = net_positions(payments(case.contract.evaluated), keys)
    return [abs(net[key].micro) for key in keys]


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
