"""Amounts, net positions and caps of a contract: the oracles of section 14."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.caps import TradeLimit, tradeable
from adapter.domain.currencies import ISO_4217_ACTIVE
from adapter.domain.errors import QuantityError, WireError
from adapter.domain.quantities import Energy, Money, UnitPrice, cost
from adapter.domain.revenue import RevenueFlow, net_positions
from adapter.formula import FormulaError
from adapter.protocol.flows import Mode, flow_report, mode_of
from tests.unit.protocol.messages import (
    FORMULA_1,
    Message,
    contract,
    d,
    envelope,
    f,
    inputs,
    o,
    p,
    role,
)


def amounts(terms: Message, **host: Any) -> list[str | None]:
    """Return the amounts of the flows as text."""
    report = flow_report(terms, **host)
    return [None if flow.amount is None else str(flow.amount) for flow in report.flows]


def with_formula(text: str) -> Message:
    """Return F's contract with another first formula."""
    terms = contract(f())
    terms["revenueFlows"]["flows"][0]["formula"] = text
    return terms


def test_the_report_has_the_shape_of_the_interface() -> None:
    assert flow_report(contract(f())).to_wire() == {
        "mode": "FIXED_PRICE",
        "status": "ACTIVE",
        "flows": [
            {
                "from": "BUYER",
                "to": "SELLER",
                "formula": FORMULA_1,
                "bound": True,
                "amount": "0.96",  # 8 x 0.12
                "currency": "EUR",
            },
            {
                "from": "BUYER",
                "to": "GRID_OPERATOR",
                "formula": contract(f())["revenueFlows"]["flows"][1]["formula"],
                "bound": True,
                "amount": "0.16",  # 8 x 0.02
                "currency": "EUR",
            },
        ],
        "net": {"SELLER": "0.96", "BUYER": "-1.12", "GRID_OPERATOR": "0.16"},
        "net_zero": True,
        "trade_cap": {"max_trade_kwh": "17", "contracted_kwh": "8", "within": True},
    }


def test_an_open_role_leaves_its_flow_unbound() -> None:
    report = flow_report(contract(o()))
    assert not report.flows[0].bound
    assert [str(reference) for reference in report.flows[0].unbound] == ["BUYER ROLE_UNFILLED"]
    assert "amount" not in report.flows[0].to_wire()
    assert report.trade_cap is None


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        pytest.param(None, ["0.96", "0.16"], id="contracted"),
        pytest.param("7.6", ["0.912", "0.152"], id="delivered 7.6"),
        pytest.param("7.5", ["0.90", "0.15"], id="minimum 7.5"),
    ],
)
def test_the_host_replaces_the_contracted_quantity(
    quantity: str | None, expected: list[str]
) -> None:
    energy = None if quantity is None else Energy.from_kwh(quantity)
    report = flow_report(contract(f()), quantity=energy)
    assert [str(flow.amount) for flow in report.flows] == expected


@pytest.mark.parametrize(
    ("kwh", "price", "expected_micro"),
    [
        pytest.param("0.000001", "0.5", 0, id="half a unit goes to the even 0"),
        pytest.param("0.000003", "0.5", 2, id="one and a half go to 2"),
        pytest.param("0.000005", "0.5", 2, id="two and a half go to 2"),
        pytest.param("33.333333", "0.123457", 4_115_233, id="4.115233291..."),
    ],
)
def test_a_flow_is_rounded_once_half_even(kwh: str, price: str, expected_micro: int) -> None:
    message = f()
    inputs(message, "BUYER")["contractedQuantity"] = d(kwh)
    inputs(message, "SELLER")["pricePerKWh"] = d(price)
    amount = flow_report(contract(message)).flows[0].amount
    assert amount == Money(expected_micro, "EUR")


def test_envelopes_and_consumer_change_nothing() -> None:
    message = f()
    for entry in contract(message)["roles"]:
        for name, value in entry["roleInputs"].items():
            kind = "STRING" if isinstance(value, str) else "NUMBER"
            entry["roleInputs"][name] = envelope(kind, value)
    role(message, "BUYER")["role"] = "CONSUMER"
    for flow in contract(message)["revenueFlows"]["flows"]:
        flow["from"] = "CONSUMER"
        flow["formula"] = flow["formula"].replace("BUYER", "CONSUMER")
    assert flow_report(contract(message)).net == flow_report(contract(f())).net
    assert mode_of(contract(message)) is Mode.FIXED_PRICE


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("deliveredQuantity × roles.SELLER.roleInputs.pricePerKWh", None),
        ("inputParameters.fee × 2", "5.00"),
        ("inputParameters.deep.fee + 0", "0.25"),
        ("inputParameters.none", None),
        ("inputSignals.sig-1 × 2", "6.00"),
        ("inputSignals.sig-2", None),
        ("telemetrySources.m-1.kWh", None),
        (
            "(roles.BUYER.roleInputs.tradeEndTime - roles.BUYER.roleInputs.tradeStartTime) / 3600",
            "1.00",
        ),
        ("roles[BUYER].roleInputs['contractedQuantity'].value", "8.00"),
    ],
)
def test_references_are_bound_to_the_contract(formula: str, expected: str | None) -> None:
    terms = with_formula(formula)
    terms["inputParameters"] = {"fee": d("2.5"), "deep": {"fee": d("0.25")}}
    terms["inputSignals"] = [{"signalId": "sig-1", "value": 3}]
    assert amounts(terms)[0] == expected


def test_delivered_quantity_is_supplied_by_the_host() -> None:
    terms = with_formula("deliveredQuantity × roles.SELLER.roleInputs.pricePerKWh")
    assert amounts(terms, delivered=Energy.from_kwh("7.5"))[0] == "0.90"


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ("1 +", "P2P_FLOW_SYNTAX"),
        ("waitTime", "P2P_FLOW_PATH"),
        ("roles.BUYER.filledBy", "P2P_FLOW_PATH"),
        ("roles.NOBODY.roleInputs.x", "P2P_FLOW_PATH"),
        ("__class__", "P2P_FLOW_PATH"),
        ("1 / 0", "P2P_FLOW_VALUE"),
        ("0 - 1", "P2P_FLOW_VALUE"),
        ("1000000000001", "P2P_FLOW_VALUE"),
        ("roles.SELLER.roleInputs.sourceMeterId", "P2P_FLOW_VALUE"),
        ("roles.SELLER.roleInputs.sourceMeterId × 2", "P2P_FLOW_VALUE"),
        ("roles.BUYER.roleInputs.tradeStartTime", "P2P_FLOW_VALUE"),
        ("computeTariffPrice(1, 2, 3, 4)", "P2P_FLOW_VALUE"),
    ],
)
def test_a_flow_that_cannot_be_computed_is_an_error(formula: str, code: str) -> None:
    with pytest.raises(FormulaError) as caught:
        flow_report(with_formula(formula))
    assert caught.value.code == code
    assert caught.value.path == "$.revenueFlows.flows[0].formula"


def test_roles_that_form_no_mode_have_no_flows() -> None:
    terms = contract(p())
    terms["roles"].pop()
    assert mode_of(terms) is None
    with pytest.raises(WireError, match="form no trading mode"):
        flow_report(terms)


def test_the_snapshot_of_the_cap_moves_with_the_ledger() -> None:
    # F4: 5 of 50 and 20 of 100; 10 kWh later 15 and 30.
    def most(buyer_total: str, seller_total: str) -> str:
        buyer = TradeLimit(Energy.from_kwh(50), Energy.from_kwh(buyer_total))
        seller = TradeLimit(Energy.from_kwh(100), Energy.from_kwh(seller_total))
        return str(tradeable(buyer=buyer, seller=seller))

    assert most("5", "20") == "45"
    assert most("15", "30") == "35"
    assert most("50.5", "20") == "0"


def test_two_currencies_are_never_added() -> None:
    flows = [RevenueFlow("A", "B", Money(1, "EUR")), RevenueFlow("A", "B", Money(1, "USD"))]
    with pytest.raises(QuantityError):
        net_positions(flows)


def test_parties_without_payments_are_listed_with_nothing() -> None:
    assert net_positions([], ("A",)) == {"A": Money(0, "XXX")}


def test_currency_codes_are_the_active_ones() -> None:
    assert {"EUR", "INR", "USD", "GBP", "XCG", "ZWG"} <= ISO_4217_ACTIVE
    assert ISO_4217_ACTIVE.isdisjoint({"ZZZ", "XTS", "XXX", "DEM", "BGN", "HRK"})


NUMBERS = st.decimals(min_value=Decimal("0.000001"), max_value=10_000, places=6)


@given(quantity=NUMBERS, price=NUMBERS, wheeling=NUMBERS)
def test_positions_sum_to_zero_and_amounts_equal_the_direct_computation(
    quantity: Decimal, price: Decimal, wheeling: Decimal
) -> None:
    message = f()
    inputs(message, "BUYER")["contractedQuantity"] = quantity
    inputs(message, "SELLER")["pricePerKWh"] = price
    inputs(message, "GRID_OPERATOR")["wheelingCharges"] = wheeling
    report = flow_report(contract(message))
    energy = Energy.from_kwh(quantity)
    assert [flow.amount for flow in report.flows] == [
        cost(energy, UnitPrice.from_decimal(price, "EUR")),
        cost(energy, UnitPrice.from_decimal(wheeling, "EUR")),
    ]
    assert sum(money.micro for money in report.net.values()) == 0
