"""What a contract pays whom: amounts, net positions, the trade cap, the price under a tariff.

The amounts are the formulas' literal values. In market mode the positions are those of the
contract specification, section 7.3: the standard formulas run against their own direction there.
Source: contract specification, sections 6 to 9; interfaces 2.2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from adapter.domain.caps import TradeLimit, tradeable
from adapter.domain.errors import WireError
from adapter.domain.findings import json_path
from adapter.domain.instants import DeliveryInterval, format_instant, parse_instant
from adapter.domain.quantities import (
    MICRO,
    Energy,
    Money,
    divide_half_even,
    minor_digits,
    to_text,
)
from adapter.domain.revenue import RevenueFlow, net_positions
from adapter.domain.tariff import ProfilePiece, TariffLeg, TariffPrice
from adapter.formula import FormulaError
from adapter.protocol.contract_view import ContractView, Mode
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE, HostInputs, Unbound
from adapter.protocol.flow_checks import Flow, FlowChecks, rounded_money
from adapter.protocol.market_view import PROSUMER
from adapter.protocol.standard_flows import standard_forms

__all__ = [
    "Flow",
    "FlowReport",
    "Mode",
    "TradeCap",
    "Unbound",
    "flow_report",
    "mode_of",
    "payments",
]


@dataclass(frozen=True, slots=True)
class TradeCap:
    """What the grid operator's snapshot still allows."""

    max_trade: Energy
    contracted: Energy
    """In market mode the most that one prosumer gives or takes, to 10^-6 kWh."""
    within: bool
    """Whether the contract keeps the cap; equal is allowed."""

    def to_wire(self) -> dict[str, Any]:
        """Return `trade_cap` of interfaces 2.2."""
        return {
            "max_trade_kwh": str(self.max_trade),
            "contracted_kwh": str(self.contracted),
            "within": self.within,
        }


@dataclass(frozen=True, slots=True)
class FlowReport:
    """What a contract pays whom."""

    mode: Mode
    status: str
    flows: tuple[Flow, ...]
    """A flow that speaks of prosumers stands here once for each."""
    payments: tuple[RevenueFlow, ...]
    """The bound flows as they are settled; in market mode the corrected ones."""
    net: Mapping[str, Money]
    """Received minus paid by role, a prosumer by its key, over the payments."""
    trade_cap: TradeCap | None
    """None until the grid operator's inputs and the quantity are known."""
    tariff: TariffPrice | None
    """In tariff mode the price of what was delivered, before that of what is contracted."""

    def to_wire(self) -> dict[str, Any]:
        """Return the shape of interfaces 2.2: decimal strings throughout."""
        report: dict[str, Any] = {
            "mode": self.mode.value,
            "status": self.status,
            "flows": [flow.to_wire() for flow in self.flows],
            "net": {role: str(money) for role, money in self.net.items()},
            "net_zero": sum(money.micro for money in self.net.values()) == 0,
            "trade_cap": self.trade_cap.to_wire() if self.trade_cap else None,
        }
        if self.mode is Mode.TARIFF:
            report["tariff"] = None if self.tariff is None else _tariff_to_wire(self)
        return report


def _tariff_to_wire(report: FlowReport) -> dict[str, Any]:
    price = report.tariff
    assert price is not None, "the caller has looked"
    digits = minor_digits(next(iter(report.net.values())).currency)
    wire: dict[str, Any] = {
        "unit_price": _text(price.unit, digits),
        "total": _text(price.total, digits),
        "vat": _text(price.vat, digits),
        "legs": [_leg_to_wire(leg, digits) for leg in price.legs],
        "assumed_profile": price.assumed,
    }
    return wire if price.bound is None else {**wire, "bound": price.bound}


def _leg_to_wire(leg: TariffLeg, digits: int) -> dict[str, Any]:
    return {
        "type": leg.component.kind.value,
        "element": leg.element,
        "start": format_instant(leg.start_ms),
        "end": format_instant(leg.end_ms),
        "kwh": _text(leg.kwh),
        "price": _text(leg.component.price, digits),
        "amount": _text(leg.amount, digits),
    }


def _text(value: Fraction, min_digits: int = 0) -> str:
    return to_text(divide_half_even(value.numerator * MICRO, value.denominator), min_digits)


def mode_of(contract: Mapping[str, Any]) -> Mode | None:
    """Return the mode by the roles present; None when they form none or mix two."""
    return ContractView(contract).mode


def flow_report(
    contract: Mapping[str, Any],
    *,
    quantity: Energy | None = None,
    delivered: Energy | None = None,
    profile: Sequence[ProfilePiece] | None = None,
    time_zone: str = DEFAULT_TIME_ZONE,
) -> FlowReport:
    """Return the flows of a contract that passed its schema.

    Args:
        contract: EnergyContractP2PTrade as on the wire.
        quantity: replaces contractedQuantity: the settled energy under another basis.
        delivered: value of `deliveredQuantity`.
        profile: metered energy of intervals, for a tariff; None: even power over the window.
        time_zone: IANA name, for a tariff contract that names none.

    Raises:
        FormulaError: P2P_FLOW_SYNTAX, P2P_FLOW_PATH, P2P_FLOW_VALUE, P2P_TARIFF_GAP,
            P2P_TARIFF_PROFILE or P2P_TARIFF_TIMEZONE, with the path from the contract.
        WireError: SCH_ATTRIBUTE_PACK_INVALID, the roles form no mode.
        QuantityError: an energy of the trade cap has more than six decimals.
    """
    view = ContractView(contract)
    if view.mode is None:
        msg = f"roles {', '.join(view.role_names)} form no trading mode"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path="$.roles")
    evaluated = FlowChecks(view, HostInputs(quantity, delivered, profile, time_zone))
    for check in evaluated.checks:
        if check.error is not None:
            place = json_path(("revenueFlows", "flows", check.index, "formula"))
            error = check.error
            raise FormulaError(error.code, error.message, path=place, details=error.details)
    paid = tuple(payments(evaluated))
    return FlowReport(
        view.mode,
        view.status,
        tuple(check.flow for check in evaluated.checks),
        paid,
        net_positions(paid, tuple(_parties(evaluated))),
        _trade_cap(evaluated),
        _tariff_price(evaluated),
    )


def payments(evaluated: FlowChecks) -> Iterator[RevenueFlow]:
    """Give the bound flows as they are settled; in market mode the standard ones corrected."""
    view = evaluated.view
    assert view.mode is not None, "only a contract with a mode has flows"
    for check in evaluated.checks:
        flow, prosumer = check.flow, check.flow.prosumer
        if flow.amount is None or check.read is None:
            continue
        pair = (flow.payer, flow.payee)
        standard = check.read.formula.normal in standard_forms(view.mode, pair)
        if view.mode is Mode.MARKET and prosumer is not None and standard:
            payer, payee, amount = evaluated.market.position(pair, prosumer)
            yield RevenueFlow(payer, payee, rounded_money(amount, view))
        else:
            key = PROSUMER if prosumer is None else prosumer.key
            payer, payee = (key if role == PROSUMER else role for role in pair)
            yield RevenueFlow(payer, payee, flow.amount)


def _parties(evaluated: FlowChecks) -> Iterator[str]:
    """Give every role, a prosumer by its key once it is filled."""
    keys = {prosumer.role.index: prosumer.key for prosumer in evaluated.market.prosumers}
    for role in evaluated.view.roles:
        if role.name != PROSUMER:
            yield role.name
        elif role.filled:
            yield keys[role.index]


def _tariff_price(evaluated: FlowChecks) -> TariffPrice | None:
    """Return what the flows priced, else the price of the contracted quantity if it has one."""
    view, prices = evaluated.view, evaluated.prices
    if prices.prices or view.mode is not Mode.TARIFF:
        return prices.prices[0] if prices.prices else None
    names = ("tradeStartTime", "tradeEndTime", "contractedQuantity")
    start, end, kwh = (view.input("BUYER", name) for name in names)
    if start is None or end is None or kwh is None:
        return None
    window = parse_instant(start), parse_instant(end)
    if window[0] >= window[1]:
        return None
    try:
        return prices.price(DeliveryInterval(*window), Fraction(kwh))
    except FormulaError:
        return None  # rules say why, and nothing is due yet


def _trade_cap(evaluated: FlowChecks) -> TradeCap | None:
    view = evaluated.view
    limits = trade_limits(view)
    kwh = _largest_trade(evaluated)
    if limits is None or kwh is None:
        return None
    buyer, seller = limits
    most = tradeable(buyer=buyer, seller=seller)
    shown = Energy(divide_half_even(kwh.numerator * MICRO, kwh.denominator))
    return TradeCap(most, shown, ceil(kwh * MICRO) <= most.micro_kwh)


def _largest_trade(evaluated: FlowChecks) -> Fraction | None:
    """Return what the cap is compared with: the contracted energy, or the largest cleared one."""
    if evaluated.view.mode is Mode.MARKET:
        energies = map(evaluated.market.energy_kwh, evaluated.market.prosumers)
        return max((kwh for kwh in energies if kwh is not None), default=None)
    contracted = evaluated.view.input("BUYER", "contractedQuantity")
    return None if contracted is None else Fraction(Energy.from_kwh(contracted).micro_kwh, MICRO)


def trade_limits(view: ContractView) -> tuple[TradeLimit, TradeLimit] | None:
    """Return the limits of the buyer's and the seller's meter; None until all are given.

    Raises:
        QuantityError: one of them has more than six decimals.
    """
    names = (
        "buyer_trade_cap",
        "current_buyer_trades_total",
        "seller_trade_cap",
        "current_seller_trade_total",
    )
    values = [view.input("GRID_OPERATOR", name) for name in names]
    if None in values:
        return None
    buyer_cap, buyer_total, seller_cap, seller_total = map(Energy.from_kwh, values)
    return TradeLimit(buyer_cap, buyer_total), TradeLimit(seller_cap, seller_total)
