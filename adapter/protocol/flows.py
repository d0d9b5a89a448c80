"""A contract's revenue flows as amounts, net positions and the trade cap.

A formula is read once per text. What it refers to is bound to the contract here: an input that is
not there yet makes a flow unbound, which is no error. Source: contract specification, sections 6
to 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from adapter.domain.caps import TradeLimit, tradeable
from adapter.domain.currencies import NO_CURRENCY
from adapter.domain.errors import WireError
from adapter.domain.findings import json_path
from adapter.domain.quantities import MICRO, Energy, Money, divide_half_even, to_text
from adapter.domain.revenue import RevenueFlow, net_positions
from adapter.formula import FormulaError, Value
from adapter.formula.errors import PATH, VALUE
from adapter.formula.tree import Reference
from adapter.protocol.contract_view import ContractView, Mode
from adapter.protocol.flow_binding import ReadFormula, Unbound, Values, read_formula
from adapter.protocol.role_inputs import canonical_role

MAX_AMOUNT = 10**12
"""Largest amount of one flow, in currency units. Source: rule P2P_FLOW_VALUE."""

__all__ = ["Flow", "FlowReport", "Mode", "TradeCap", "Unbound", "flow_report", "mode_of"]


@dataclass(frozen=True, slots=True)
class Flow:
    """One revenue flow, evaluated when it is bound."""

    payer: str
    payee: str
    formula: str
    amount: Money | None
    """None while unbound."""
    unbound: tuple[Unbound, ...] = ()

    @property
    def bound(self) -> bool:
        """Return whether every reference has a value."""
        return self.amount is not None

    def to_wire(self) -> dict[str, Any]:
        """Return an entry of `flows` of interfaces 2.2."""
        entry: dict[str, Any] = {
            "from": self.payer,
            "to": self.payee,
            "formula": self.formula,
            "bound": self.bound,
        }
        if self.amount is not None:
            return {**entry, "amount": str(self.amount), "currency": self.amount.currency}
        return {**entry, "unbound": [str(reference) for reference in self.unbound]}


@dataclass(frozen=True, slots=True)
class TradeCap:
    """What the grid operator's snapshot still allows."""

    max_trade: Energy
    contracted: Energy

    @property
    def within(self) -> bool:
        """Return whether the contract keeps the cap; equal is allowed."""
        return self.contracted <= self.max_trade

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
    net: Mapping[str, Money]
    """Received minus paid by role, over the bound flows."""
    trade_cap: TradeCap | None
    """None until the grid operator's inputs and the quantity are known."""

    def to_wire(self) -> dict[str, Any]:
        """Return the shape of interfaces 2.2: decimal strings throughout."""
        return {
            "mode": self.mode.value,
            "status": self.status,
            "flows": [flow.to_wire() for flow in self.flows],
            "net": {role: str(money) for role, money in self.net.items()},
            "net_zero": sum(money.micro for money in self.net.values()) == 0,
            "trade_cap": self.trade_cap.to_wire() if self.trade_cap else None,
        }


def mode_of(contract: Mapping[str, Any]) -> Mode | None:
    """Return the mode by the roles present; None when they form none or mix two."""
    return ContractView(contract).mode


def flow_report(
    contract: Mapping[str, Any], *, quantity: Energy | None = None, delivered: Energy | None = None
) -> FlowReport:
    """Return the flows of a contract that passed its schema.

    Args:
        contract: EnergyContractP2PTrade as on the wire.
        quantity: replaces contractedQuantity: the settled energy under another basis.
        delivered: value of `deliveredQuantity`.

    Raises:
        FormulaError: P2P_FLOW_SYNTAX, P2P_FLOW_PATH or P2P_FLOW_VALUE, with the path from the
            contract.
        WireError: SCH_ATTRIBUTE_PACK_INVALID, the roles form no mode.
        QuantityError: an energy of the trade cap has more than six decimals.
    """
    view = ContractView(contract)
    if view.mode is None:
        msg = f"roles {', '.join(view.role_names)} form no trading mode"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path="$.roles")
    flows = []
    for check in check_flows(view, quantity=quantity, delivered=delivered):
        if check.error is not None:
            place = json_path(("revenueFlows", "flows", check.index, "formula"))
            raise FormulaError(check.error.code, check.error.message, path=place)
        flows.append(check.flow)
    payments = [RevenueFlow(f.payer, f.payee, f.amount) for f in flows if f.amount is not None]
    return FlowReport(
        view.mode,
        view.status,
        tuple(flows),
        net_positions(payments, view.role_names),
        _trade_cap(view),
    )


@dataclass(frozen=True, slots=True)
class FlowCheck:
    """One flow of a contract and how far it could be evaluated."""

    index: int
    flow: Flow
    """Without amount when unbound or wrong."""
    read: ReadFormula | None
    """None when the formula could not be read."""
    error: FormulaError | None


def check_flows(
    view: ContractView, *, quantity: Energy | None = None, delivered: Energy | None = None
) -> tuple[FlowCheck, ...]:
    """Return every flow of a contract, evaluated or with what prevents it."""
    values = Values(view, quantity=quantity, delivered=delivered)
    return tuple(_check_flow(index, flow, values) for index, flow in enumerate(view.flows))


def _check_flow(index: int, raw: Mapping[str, Any], values: Values) -> FlowCheck:
    payer, payee, text = canonical_role(raw["from"]), canonical_role(raw["to"]), raw["formula"]
    flow = Flow(payer, payee, text, None)
    try:
        read = read_formula(text)
    except FormulaError as error:
        return FlowCheck(index, flow, None, error)
    if read.unknown:
        msg = f"formula refers to unknown {read.unknown[0]}"
        return FlowCheck(index, flow, read, FormulaError(PATH, msg))
    found = values.of(read)
    unbound = {value: None for value in found.values() if isinstance(value, Unbound)}
    if unbound:
        return FlowCheck(index, Flow(payer, payee, text, None, tuple(unbound)), read, None)
    bound = cast(dict[Reference, Value], found)
    try:
        amount = _money(read.formula.evaluate(bound.__getitem__), values.view)
    except FormulaError as error:
        return FlowCheck(index, flow, read, error)
    return FlowCheck(index, Flow(payer, payee, text, amount), read, None)


def _money(value: object, view: ContractView) -> Money:
    if not isinstance(value, Fraction):
        msg = "the result is not a number"
        raise FormulaError(VALUE, msg)
    if abs(value) > MAX_AMOUNT:
        msg = f"the result is beyond {MAX_AMOUNT}"
        raise FormulaError(VALUE, msg)
    micro = divide_half_even(value.numerator * MICRO, value.denominator)
    if value < 0 and view.mode is not Mode.MARKET:
        msg = f"the result {to_text(micro)} is negative"
        raise FormulaError(VALUE, msg)
    return Money(micro, view.currency or NO_CURRENCY)


def _trade_cap(view: ContractView) -> TradeCap | None:
    limits = trade_limits(view)
    contracted = view.input("BUYER", "contractedQuantity")
    if limits is None or contracted is None:
        return None
    buyer, seller = limits
    return TradeCap(tradeable(buyer=buyer, seller=seller), Energy.from_kwh(contracted))


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
