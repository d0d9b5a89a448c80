"""Each revenue flow of a contract, evaluated or with what prevents it.

A formula is read once per text. What it refers to is bound to the contract: an input that is not
there yet makes a flow unbound, which is no error. A flow that speaks of prosumers is evaluated
once for each. Source: contract specification, sections 6 and 7.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

from adapter.domain.currencies import NO_CURRENCY
from adapter.domain.quantities import MICRO, Money, divide_half_even, to_text
from adapter.formula import FormulaError, Value
from adapter.formula.errors import PATH, VALUE
from adapter.formula.tree import Reference
from adapter.protocol.contract_view import ContractView, Mode
from adapter.protocol.flow_binding import HostInputs, ReadFormula, Unbound, Values, read_formula
from adapter.protocol.market_view import PROSUMER, MarketView, Prosumer
from adapter.protocol.price_functions import PriceFunctions
from adapter.protocol.role_inputs import canonical_role

MAX_AMOUNT = 10**12
"""Largest amount of one flow, in currency units. Source: rule P2P_FLOW_VALUE."""
MAX_EVALUATIONS = 4_000
"""Flows times prosumers of one contract: a market of 1 000 needs half of it, and they take about
a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One revenue flow, evaluated when it is bound."""

    payer: str
    """Role as the contract names it, but BUYER for CONSUMER."""
    payee: str
    formula: str
    amount: Money | None
    """The literal value; None while unbound."""
    unbound: tuple[Unbound, ...] = ()
    prosumer: Prosumer | None = None
    """For whom, of a flow that speaks of prosumers."""

    @property
    def bound(self) -> bool:
        """Return whether every reference has a value."""
        return self.amount is not None

    def to_wire(self) -> dict[str, Any]:
        """Return an entry of `flows` of interfaces 2.2."""
        entry: dict[str, Any] = {"from": self.payer, "to": self.payee}
        if self.prosumer is not None:
            entry["party"] = self.prosumer.key
        entry |= {"formula": self.formula, "bound": self.bound}
        if self.amount is not None:
            return {**entry, "amount": str(self.amount), "currency": self.amount.currency}
        return {**entry, "unbound": [str(reference) for reference in self.unbound]}


@dataclass(frozen=True, slots=True)
class FlowCheck:
    """One flow of a contract and how far it could be evaluated."""

    index: int
    flow: Flow
    """Without amount when unbound or wrong."""
    read: ReadFormula | None
    """None when the formula could not be read."""
    error: FormulaError | None


class FlowChecks:
    """The evaluated flows of one contract, and what was priced on the way."""

    def __init__(self, view: ContractView, host: HostInputs | None = None) -> None:
        """Evaluate every flow of a contract that passed its schema."""
        self.view = view
        self.host = host or HostInputs()
        self.market = MarketView(view)
        self.prices = PriceFunctions(view, self.host)
        self._values = Values(view, quantity=self.host.quantity, delivered=self.host.delivered)
        self.checks = tuple(
            check for index, raw in enumerate(view.flows) for check in self._check(index, raw)
        )

    def _check(self, index: int, raw: Mapping[str, Any]) -> Iterator[FlowCheck]:
        payer, payee, text = canonical_role(raw["from"]), canonical_role(raw["to"]), raw["formula"]
        flow = Flow(payer, payee, text, None)
        try:
            read = read_formula(text)
        except FormulaError as error:
            yield FlowCheck(index, flow, None, error)
            return
        if read.unknown:
            msg = f"formula refers to unknown {read.unknown[0]}"
            yield FlowCheck(index, flow, read, FormulaError(PATH, msg))
            return
        prosumers: tuple[Prosumer | None, ...] = (None,)
        if read.per_prosumer or PROSUMER in {payer, payee}:
            prosumers = self.market.prosumers or (None,)
            if len(prosumers) * len(self.view.flows) > MAX_EVALUATIONS:
                msg = f"the contract needs more than {MAX_EVALUATIONS} evaluations"
                yield FlowCheck(index, flow, read, FormulaError(VALUE, msg))
                return
        for prosumer in prosumers:
            yield self._evaluate(index, Flow(payer, payee, text, None, (), prosumer), read)

    def _evaluate(self, index: int, flow: Flow, read: ReadFormula) -> FlowCheck:
        found = self._values.of(read, flow.prosumer)
        unbound = {value: None for value in found.values() if type(value) is Unbound}
        if unbound:
            return FlowCheck(index, replace(flow, unbound=tuple(unbound)), read, None)
        bound = cast(dict[Reference, Value], found)
        try:
            value = read.formula.evaluate(bound.__getitem__, self.prices.table)
            amount = self._money(value)
        except FormulaError as error:
            return FlowCheck(index, flow, read, error)
        payer, payee, text = flow.payer, flow.payee, flow.formula
        return FlowCheck(index, Flow(payer, payee, text, amount, (), flow.prosumer), read, None)

    def _money(self, value: object) -> Money:
        if not isinstance(value, Fraction):
            msg = "the result is not a number"
            raise FormulaError(VALUE, msg)
        if abs(value.numerator) > MAX_AMOUNT * value.denominator:
            msg = f"the result is beyond {MAX_AMOUNT}"
            raise FormulaError(VALUE, msg)
        money = rounded_money(value, self.view)
        if value.numerator < 0 and self.view.mode is not Mode.MARKET:
            msg = f"the result {to_text(money.micro)} is negative"
            raise FormulaError(VALUE, msg)
        return money


def rounded_money(value: Fraction, view: ContractView) -> Money:
    """Return an amount in the contract currency, rounded once."""
    micro = divide_half_even(value.numerator * MICRO, value.denominator)
    return Money(micro, view.currency or NO_CURRENCY)
