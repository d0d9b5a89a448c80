"""Amounts and positions of tariff and market contracts: the oracles of sections 7.3 and 9."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.instants import parse_instant
from adapter.domain.quantities import Energy
from adapter.domain.tariff import ProfilePiece
from adapter.formula import FormulaError
from adapter.protocol.flows import FlowReport, flow_report
from tests.unit.protocol.messages import (
    DAY,
    FORMULA_3,
    FORMULA_4,
    FORMULA_5,
    FORMULA_6,
    Message,
    contract,
    d,
    envelope,
    f,
    inputs,
    m,
    m_init,
    of_platform,
    role,
    t,
)

AGENT, OPERATOR = "MARKET_CLEARING_AGENT", "GRID_OPERATOR"
LOAD, PV = "load.example", "pv.example"
ALL = Energy.from_kwh(30)


def metered(first: str, second: str) -> list[ProfilePiece]:
    """Return energies before and after 20:00Z."""
    marks = [parse_instant(f"{DAY}{time}:00:00Z") for time in ("16", "20", "22")]
    pieces = zip(marks, marks[1:], (first, second), strict=False)
    return [ProfilePiece(start, end, Fraction(kwh)) for start, end, kwh in pieces]


def amounts(report: FlowReport) -> list[str | None]:
    """Return the amounts of the flows as text."""
    return [None if flow.amount is None else str(flow.amount) for flow in report.flows]


def with_parameters(build: Callable[[], Message], **values: Any) -> Message:
    """Return a contract with inputParameters set."""
    terms = contract(build())
    terms["inputParameters"].update(values)
    return terms


def with_formula(build: Callable[[], Message], text: str) -> Message:
    """Return a contract with another first formula."""
    terms = contract(build())
    terms["revenueFlows"]["flows"][0]["formula"] = text
    return terms


def net(terms: Message) -> dict[str, str]:
    """Return the net positions as text."""
    found: dict[str, str] = flow_report(terms).to_wire()["net"]
    return found


# Tariff


def test_the_tariff_report_has_the_shape_of_the_interface() -> None:
    message = t()
    contract(message)["roles"].append(role(f(), OPERATOR))
    contract(message)["revenueFlows"]["flows"].append(
        {"from": "BUYER", "to": OPERATOR, "formula": FORMULA_4}
    )
    assert flow_report(contract(message), delivered=ALL).to_wire() == {
        "mode": "TARIFF",
        "status": "ACTIVE",
        "flows": [
            {
                "from": "BUYER",
                "to": "SELLER",
                "formula": FORMULA_3,
                "bound": True,
                "amount": "7.00",  # 20 x 0.30 + 10 x 0.10
                "currency": "EUR",
            },
            {
                "from": "BUYER",
                "to": OPERATOR,
                "formula": FORMULA_4,
                "bound": True,
                "amount": "0.60",  # 30 x 0.02
                "currency": "EUR",
            },
        ],
        "net": {"SELLER": "7.00", "BUYER": "-7.60", OPERATOR: "0.60"},
        "net_zero": True,
        "trade_cap": {"max_trade_kwh": "17", "contracted_kwh": "30", "within": False},
        "tariff": {
            "unit_price": "0.233333",
            "total": "7.00",
            "vat": "1.40",
            "legs": [
                {
                    "type": "ENERGY",
                    "element": 0,
                    "start": f"{DAY}16:00:00Z",
                    "end": f"{DAY}20:00:00Z",
                    "kwh": "20",
                    "price": "0.30",
                    "amount": "6.00",
                },
                {
                    "type": "ENERGY",
                    "element": 1,
                    "start": f"{DAY}20:00:00Z",
                    "end": f"{DAY}22:00:00Z",
                    "kwh": "10",
                    "price": "0.10",
                    "amount": "1.00",
                },
            ],
            "assumed_profile": True,
        },
    }


def test_before_delivery_the_flow_is_open_and_the_price_that_of_the_contracted() -> None:
    report = flow_report(contract(t()))
    assert amounts(report) == [None]
    assert [str(reason) for reason in report.flows[0].unbound] == [
        "deliveredQuantity NOT_DELIVERED"
    ]
    assert report.to_wire()["tariff"]["total"] == "7.00"
    assert report.payments == ()


@pytest.mark.parametrize(
    ("host", "parameters", "expected"),
    [
        pytest.param({"delivered": ALL}, {}, "7.00", id="T1 even power"),
        pytest.param(
            {"delivered": ALL, "profile": metered("24", "6")},
            {},
            "7.80",
            id="T3 metered: 24 x 0.30 + 6 x 0.10",
        ),
        pytest.param(
            {"delivered": ALL}, {"vatTreatment": "INCLUSIVE"}, "8.40", id="VAT inside: 7.00 + 1.40"
        ),
        pytest.param({"delivered": ALL}, {"timeZone": "UTC"}, "7.40", id="T2 in UTC"),
        pytest.param({"delivered": Energy(0)}, {}, "0.00", id="nothing"),
        pytest.param(
            {"delivered": Energy.from_kwh("0.1")},
            {},
            "0.023333",
            id="0.1 x 0.2333..., rounded once",
        ),
    ],
)
def test_the_flow_of_a_tariff(
    host: dict[str, Any], parameters: dict[str, str], expected: str
) -> None:
    report = flow_report(with_parameters(t, **parameters), **host)
    assert amounts(report) == [expected]


def test_the_zone_of_the_host_counts_when_the_contract_names_none() -> None:
    terms = contract(t())
    del terms["inputParameters"]
    assert amounts(flow_report(terms, delivered=ALL)) == ["7.40"]
    assert amounts(flow_report(terms, delivered=ALL, time_zone="Europe/Paris")) == ["7.00"]


def test_the_settled_energy_under_another_basis_is_no_matter_of_a_tariff() -> None:
    report = flow_report(contract(t()), delivered=ALL, quantity=Energy.from_kwh(1))
    assert amounts(report) == ["7.00"]


def test_a_profile_is_that_of_what_was_delivered() -> None:
    terms = with_formula(t, FORMULA_3.replace("deliveredQuantity)", "30)"))
    report = flow_report(terms, delivered=Energy.from_kwh(29), profile=metered("24", "5"))
    assert amounts(report) == ["6.766667"]  # 7.00 / 30 x 29


def test_a_tariff_in_an_envelope_is_the_same() -> None:
    message = t()
    seller = inputs(message, "SELLER")
    seller["tariff"] = envelope("OBJECT", seller["tariff"])
    assert amounts(flow_report(contract(message), delivered=ALL)) == ["7.00"]


@pytest.mark.parametrize(
    ("change", "host", "code"),
    [
        pytest.param(
            lambda terms: terms["roles"][1]["roleInputs"].update(
                tradeStartTime="2026-03-07T16:00:00Z", tradeEndTime="2026-03-07T22:00:00Z"
            ),
            {},
            "P2P_TARIFF_GAP",
            id="T4 on Saturday",
        ),
        pytest.param(
            lambda terms: None, {"profile": metered("24", "5")}, "P2P_TARIFF_PROFILE", id="profile"
        ),
        pytest.param(
            lambda terms: terms.update(inputParameters={"timeZone": "Mars/Olympus"}),
            {},
            "P2P_TARIFF_TIMEZONE",
            id="zone",
        ),
        pytest.param(
            lambda terms: terms["roles"][1]["roleInputs"].update(tradeEndTime=f"{DAY}16:00:00Z"),
            {},
            "P2P_FLOW_VALUE",
            id="no window",
        ),
        pytest.param(
            lambda terms: terms["revenueFlows"]["flows"][0].update(
                formula=FORMULA_3.replace("tariff,", "sourceMeterId,")
            ),
            {},
            "P2P_FLOW_VALUE",
            id="a text for the tariff",
        ),
        pytest.param(
            lambda terms: terms["revenueFlows"]["flows"][0].update(
                formula=FORMULA_3.replace("deliveredQuantity)", "-1)")
            ),
            {},
            "P2P_FLOW_VALUE",
            id="negative energy",
        ),
        pytest.param(
            lambda terms: (
                terms.update(inputParameters={"mine": {"elements": []}}),
                terms["revenueFlows"]["flows"][0].update(
                    formula=FORMULA_3.replace(
                        "roles.SELLER.roleInputs.tariff", "inputParameters.mine"
                    )
                ),
            ),
            {},
            "P2P_FLOW_VALUE",
            id="an object that nobody checked",
        ),
    ],
)
def test_energy_without_a_price_is_an_error(
    change: Callable[[Message], object], host: dict[str, Any], code: str
) -> None:
    terms = contract(t())
    change(terms)
    with pytest.raises(FormulaError) as caught:
        flow_report(terms, delivered=ALL, **host)
    assert caught.value.code == code
    assert caught.value.path == "$.revenueFlows.flows[0].formula"


def test_a_price_that_cannot_be_told_yet_is_left_out() -> None:
    terms = contract(t())
    terms["roles"][1]["roleInputs"].update(
        tradeStartTime="2026-03-07T16:00:00Z", tradeEndTime="2026-03-07T22:00:00Z"
    )
    assert flow_report(terms).to_wire()["tariff"] is None


def test_a_bound_and_each_kind_of_price_stand_in_the_trace() -> None:
    # 30 x 0.10 + 0.50 + 6 h x 0.20 = 4.70; at least 0.20 each makes 6.00
    terms = contract(t())
    terms["roles"][0]["roleInputs"]["tariff"] = {
        "currency": "EUR",
        "minPrice": {"exclVat": d("0.2")},
        "elements": [
            {
                "priceComponents": [
                    {"type": "FLAT", "price": d("0.5")},
                    {"type": "ENERGY", "price": d("0.1")},
                    {"type": "TIME", "price": d("0.2"), "stepSize": 60},
                ]
            }
        ],
    }
    block = flow_report(terms, delivered=ALL).to_wire()["tariff"]
    assert (block["total"], block["unit_price"], block["bound"]) == ("6.00", "0.20", "minPrice")
    legs = [(leg["type"], leg["kwh"], leg["amount"]) for leg in block["legs"]]
    assert legs == [("FLAT", "0", "0.50"), ("ENERGY", "30", "3.00"), ("TIME", "0", "1.20")]


# Market


def test_the_market_report_has_the_shape_of_the_interface() -> None:
    def entry(pair: tuple[str, str], party: str, formula: str, amount: str) -> dict[str, object]:
        head: dict[str, object] = {"from": pair[0], "to": pair[1], "party": party}
        return {**head, "formula": formula, "bound": True, "amount": amount, "currency": "EUR"}

    trade, wheeling = ("PROSUMER", AGENT), (AGENT, OPERATOR)
    assert flow_report(contract(m())).to_wire() == {
        "mode": "MARKET",
        "status": "ACTIVE",
        "flows": [
            entry(trade, LOAD, FORMULA_5, "-0.37291"),  # 0.079057 x -4.716981
            entry(trade, PV, FORMULA_5, "0.37291"),
            entry(wheeling, LOAD, FORMULA_6, "0.009434"),  # 0.002 x 4.716981
            entry(wheeling, PV, FORMULA_6, "0.009434"),
        ],
        "net": {AGENT: "0.075471", LOAD: "-0.37291", PV: "0.278571", OPERATOR: "0.018868"},
        "net_zero": True,
        "trade_cap": {"max_trade_kwh": "60", "contracted_kwh": "4.716981", "within": True},
    }


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param(
            {},
            {AGENT: "0.075471", LOAD: "-0.37291", PV: "0.278571", OPERATOR: "0.018868"},
            id="both sides pay the fee",
        ),
        pytest.param(
            {"feeTreatment": "BUYER_ONLY"},
            {AGENT: "0.028301", LOAD: "-0.37291", PV: "0.325741", OPERATOR: "0.018868"},
            id="the buyer pays it",
        ),
        pytest.param(
            {
                "deliveryWindow": {
                    "startTime": f"{DAY}09:00:00Z",
                    "endTime": f"{DAY}09:15:00Z",
                }
            },
            {AGENT: "0.018869", LOAD: "-0.093228", PV: "0.069643", OPERATOR: "0.004716"},
            id="a quarter of an hour: 1.17924525 kWh",
        ),
    ],
)
def test_positions_of_a_market(parameters: dict[str, Any], expected: dict[str, str]) -> None:
    assert net(with_parameters(m, **parameters)) == expected


def test_literal_values_do_not_know_the_hours() -> None:
    window = {"startTime": f"{DAY}09:00:00Z", "endTime": f"{DAY}09:15:00Z"}
    report = flow_report(with_parameters(m, deliveryWindow=window))
    assert amounts(report) == ["-0.37291", "0.37291", "0.009434", "0.009434"]
    assert report.trade_cap is not None
    assert str(report.trade_cap.contracted) == "1.179245"
    terms = with_parameters(m, deliveryWindow=window)
    terms["roles"][3]["roleInputs"]["buyer_trade_cap"] = d("1.179245")
    cap = flow_report(terms).trade_cap
    assert cap is not None
    assert not cap.within  # 1.17924525 kWh


def test_a_flow_that_is_not_standard_counts_as_written() -> None:
    # 2 x 0.079057 x 4.716981 = 0.745821; the load's negative one is paid by the agent
    report = flow_report(with_formula(m, FORMULA_5 + " × 2"))
    assert amounts(report)[:2] == ["-0.745821", "0.745821"]
    assert report.to_wire()["net"][LOAD] == "0.745821"


def test_before_clearing_each_prosumer_has_its_open_flows() -> None:
    report = flow_report(contract(m_init()))
    parties = [flow.prosumer.key for flow in report.flows if flow.prosumer]
    assert parties == [LOAD, PV, LOAD, PV]
    assert amounts(report) == [None] * 4
    assert report.trade_cap is None
    assert {*net(contract(m_init())).values()} == {"0.00"}


def test_a_market_without_prosumers_has_one_open_flow_of_each_kind() -> None:
    message = m_init()
    for name in (LOAD, PV):
        of_platform(message, name).update(filled=False, roleInputs={})
    report = flow_report(contract(message))
    assert [flow.prosumer for flow in report.flows] == [None, None]
    assert "PROSUMER ROLE_UNFILLED" in map(str, report.flows[0].unbound)
    assert report.to_wire()["net"] == {AGENT: "0.00", OPERATOR: "0.00"}


def test_a_key_may_be_the_meter() -> None:
    message = m()
    inputs(message, AGENT)["clearedPower"] = {"ML-1": d("-4.716981"), "MP-1": d("4.716981")}
    assert net(contract(message))["MP-1"] == "0.278571"


def test_two_prosumers_of_one_platform_are_told_apart_by_meter() -> None:
    message = m()
    for name in (LOAD, PV):
        of_platform(message, name)["filledBy"] = "home.example"
    inputs(message, AGENT)["clearedPower"] = {"ML-1": d("-4.716981"), "MP-1": d("4.716981")}
    assert net(contract(message)) == {
        AGENT: "0.075471",
        "ML-1": "-0.37291",
        "MP-1": "0.278571",
        OPERATOR: "0.018868",
    }
    inputs(message, AGENT)["clearedPower"] = {"home.example": 1}
    assert amounts(flow_report(contract(message))) == [None] * 4


def test_a_path_of_a_prosumer_is_that_of_the_current_one() -> None:
    terms = with_formula(m, "roles.PROSUMER.roleInputs.offerCurve.maxExport + 0")
    report = flow_report(terms)
    assert amounts(report)[:2] == ["0.00", "5.00"]
    assert [flow.prosumer.key for flow in report.flows[:2] if flow.prosumer] == [LOAD, PV]


def test_a_named_key_is_that_key() -> None:
    literal = "roles.MARKET_CLEARING_AGENT.roleInputs.clearedPower['pv.example'] × 2"
    terms = with_formula(m, literal)
    assert amounts(flow_report(terms))[:2] == ["9.433962", "9.433962"]
    terms = with_formula(m, literal.replace("pv.example", "x.example"))
    (reason, *_) = flow_report(terms).flows[0].unbound
    assert str(reason) == "MARKET_CLEARING_AGENT.clearedPower[x.example] INPUT_ABSENT"


def test_the_exporter_pays_when_the_fee_is_above_the_price() -> None:
    # (0.069057 - 0.1) x 4.716981 = -0.145958
    message = m()
    inputs(message, AGENT)["marketMakingFee"] = d("0.1")
    assert net(contract(message))[PV] == "-0.145958"


POWERS = st.decimals(min_value=-50, max_value=50, places=6)
PRICES = st.decimals(min_value=0, max_value=10, places=6)


@given(
    powers=st.lists(POWERS, min_size=2, max_size=2),
    price=PRICES,
    fee=PRICES,
    wheeling=PRICES,
    treatment=st.sampled_from(["SYMMETRIC", "BUYER_ONLY"]),
    minutes=st.integers(1, 1_440),
)
def test_positions_sum_to_zero_and_follow_the_table(
    powers: list[Any], price: Any, fee: Any, wheeling: Any, treatment: str, minutes: int
) -> None:
    message = m()
    cleared = dict(zip((LOAD, PV), powers, strict=True))
    inputs(message, AGENT).update(clearedPower=cleared, clearingPrice=price, marketMakingFee=fee)
    inputs(message, OPERATOR)["wheelingCharges"] = wheeling
    end = f"2026-03-0{3 if minutes == 1_440 else 2}T{minutes // 60 % 24:02}:{minutes % 60:02}:00Z"
    contract(message)["inputParameters"].update(
        feeTreatment=treatment, deliveryWindow={"startTime": f"{DAY}00:00:00Z", "endTime": end}
    )
    report = flow_report(contract(message))
    assert sum(money.micro for money in report.net.values()) == 0
    for name, power in cleared.items():
        energy = abs(Fraction(power)) * Fraction(minutes, 60)
        taken = Fraction(0) if treatment == "BUYER_ONLY" else Fraction(fee)
        exact = (
            -(Fraction(price) + Fraction(fee)) * energy
            if power < 0
            else (Fraction(price) - taken) * energy
        )
        assert abs(Fraction(report.net[name].micro, 10**6) - exact) <= Fraction(1, 2 * 10**6)
