"""The price of a contract as the contract layer takes it, and whether the flows say the same.

Source: settlement specification, section 11.2.
"""

from collections.abc import Mapping
from typing import Any

from adapter.domain.errors import ContractError
from adapter.domain.intents import ProposeAgreement
from adapter.domain.quantities import Money, UnitPrice, cost
from adapter.domain.terms import Price
from adapter.formula import FormulaError, parse
from adapter.protocol.contract import formulas_of
from adapter.protocol.contract_view import Mode
from adapter.protocol.flows import Flow, flow_report
from adapter.protocol.standard_flows import STANDARD_FLOWS, Pair, standard_forms

_ENERGY: Pair = ("BUYER", "SELLER")
_WHEELING: Pair = ("BUYER", "GRID_OPERATOR")


def price_args(price: Price) -> dict[str, object]:
    """Return the arguments of create_agreement that say the price."""
    if isinstance(price, UnitPrice):
        return {"price_per_kwh": price.per_kwh}
    return {
        "tariff": price.document,
        "time_zone": price.time_zone,
        "vat_treatment": price.terms.vat.value,
    }


def check_flows(intent: ProposeAgreement, contract: Mapping[str, Any], wheeling_rate: int) -> None:
    """Refuse a contract whose formulas say other amounts than will be settled.

    Of a tariff the amounts depend on the delivery, so there the formulas themselves have to be
    those that are settled: the tariff's price, and wheeling on what was delivered.

    Args:
        intent: the proposal.
        contract: with the GRID_OPERATOR filled.
        wheeling_rate: of the agreement, in millionths per kWh.

    Raises:
        ContractError: FLOW_MISMATCH, so that no trade gets stuck at settlement.
    """
    price, energy = intent.price, intent.energy
    wheeling = cost(energy, UnitPrice(wheeling_rate, price.currency))
    if isinstance(price, UnitPrice):
        flows = flow_report(contract).flows
        expected = {_ENERGY: cost(energy, price), _WHEELING: wheeling}
    else:
        try:
            flows = flow_report(contract, delivered=energy, time_zone=price.time_zone).flows
        except FormulaError as error:
            raise ContractError("FLOW_MISMATCH", error.message) from None
        estimate = price.terms.money(price.terms.estimate(intent.window, energy))
        expected = {_ENERGY: Money(estimate.value, price.currency), _WHEELING: wheeling}
        _check_formulas(flows)
    if {(flow.payer, flow.payee): flow.amount for flow in flows} != expected:
        shown = {f"{a} to {b}": str(amount) for (a, b), amount in expected.items()}
        msg = f"the revenue flows must be {shown}"
        raise ContractError("FLOW_MISMATCH", msg)


def check_market_flows(contract: Mapping[str, Any]) -> None:
    """Refuse a market's contract whose formulas are not those by which its shares are settled.

    Raises:
        ContractError: FLOW_MISMATCH.
    """
    flows = formulas_of(contract)
    for pair, formulas in STANDARD_FLOWS[Mode.MARKET].items():
        try:
            normal = parse(flows.pop(pair, "")).normal
        except FormulaError as error:
            raise ContractError("FLOW_MISMATCH", error.message) from None
        if normal not in standard_forms(Mode.MARKET, pair):
            msg = f"the formula of {pair[0]} to {pair[1]} must be {formulas[0]}"
            raise ContractError("FLOW_MISMATCH", msg)
    if flows:
        others = ", ".join(f"{payer} to {payee}" for payer, payee in flows)
        raise ContractError("FLOW_MISMATCH", f"a market settles no flow {others}")


def _check_formulas(flows: tuple[Flow, ...]) -> None:
    for flow in flows:
        settled = STANDARD_FLOWS[Mode.TARIFF].get((flow.payer, flow.payee), ("",))[0]
        if settled and parse(flow.formula).normal != parse(settled).normal:
            msg = f"the formula of {flow.payer} to {flow.payee} must be {settled}"
            raise ContractError("FLOW_MISMATCH", msg)
