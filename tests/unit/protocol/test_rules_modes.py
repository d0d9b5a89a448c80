"""Rules of tariffs and markets: the catalogue's examples on T and M, and their edges."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from adapter.domain.findings import Finding, Severity
from adapter.domain.instants import parse_instant
from adapter.domain.quantities import Energy
from adapter.domain.tariff import ProfilePiece
from adapter.protocol.rules import check_message, check_prices
from adapter.protocol.schemas import Schemas
from adapter.store.documents import load_bundle
from tests.unit.protocol.messages import (
    DAY,
    FORMULA_4,
    FORMULA_5,
    Message,
    contract,
    curve_of,
    d,
    delivery,
    f,
    inputs,
    m,
    m_init,
    of_platform,
    order,
    role,
    t,
    t_delivered,
)

SCHEMAS = Schemas(load_bundle())
Build = Callable[[], Message]
Step = Callable[[Message], object]
AGENT = "MARKET_CLEARING_AGENT"
LOAD, PV = "load.example", "pv.example"


def findings(message: Message) -> tuple[Finding, ...]:
    """Return what both tiers find."""
    action = message["context"]["action"]
    schema = SCHEMAS.check(action, message)
    return (*schema, *check_message(action, message, schema_findings=schema))


def found(build: Build, *steps: Step) -> dict[str, Severity]:
    """Return rule or code to severity of everything found in a changed message."""
    message = build()
    for step in steps:
        step(message)
    return {finding.rule or finding.code: finding.severity for finding in findings(message)}


def put(name: str, **values: object) -> Step:
    """Return a step that sets inputs of a role."""
    return lambda message: inputs(message, name).update(values)


def terms(**values: object) -> Step:
    """Return a step that sets keys of the contract."""
    return lambda message: contract(message).update(values)


def parameters(**values: object) -> Step:
    """Return a step that sets inputParameters."""
    return lambda message: contract(message)["inputParameters"].update(values)


def context(**values: object) -> Step:
    """Return a step that sets keys of the context."""
    return lambda message: message["context"].update(values)


def charged(**values: object) -> Step:
    """Return a step that sets keys of the tariff."""
    return lambda message: inputs(message, "SELLER")["tariff"].update(values)


def limits(place: int, **values: object) -> Step:
    """Return a step that sets restrictions of a tariff element."""
    return lambda message: _element(message, place)["restrictions"].update(values)


def no_limit(place: int, name: str) -> Step:
    """Return a step that takes a restriction away."""
    return lambda message: _element(message, place)["restrictions"].pop(name)


def component(place: int, **values: object) -> Step:
    """Return a step that adds a price to a tariff element."""
    return lambda message: _element(message, place)["priceComponents"].append(values)


def _element(message: Message, place: int) -> Message:
    element: Message = inputs(message, "SELLER")["tariff"]["elements"][place]
    return element


def window(day: str, start: str = "16:00", end: str = "22:00") -> Step:
    """Return a step that moves the trade window."""
    times = {"tradeStartTime": f"{day}T{start}:00Z", "tradeEndTime": f"{day}T{end}:00Z"}
    return put("BUYER", **times)


def mix(*percentages: int) -> Step:
    """Return a step that names the sources of the energy."""
    sources = [{"source": "WIND", "percentage": number} for number in percentages]
    return charged(energyMix={"energySources": sources})


def curve(name: str, **values: object) -> Step:
    """Return a step that sets keys of a platform's offer curve."""
    return lambda message: curve_of(message, name).update(values)


def points(name: str, *pairs: tuple[str, object]) -> Step:
    """Return a step that replaces the points of a curve."""
    return curve(name, curve=[{"price": d(price), "powerKW": power} for price, power in pairs])


def point(name: str, place: int, **values: object) -> Step:
    """Return a step that sets keys of a point."""
    return lambda message: curve_of(message, name)["curve"][place].update(values)


def clear(**values: object) -> Step:
    """Return a step that sets keys of clearedPower, `_` standing for `.`."""
    named = {name.replace("_", "."): value for name, value in values.items()}
    return lambda message: inputs(message, AGENT)["clearedPower"].update(named)


def clear_as(powers: Message) -> Step:
    """Return a step that replaces clearedPower."""
    return put(AGENT, clearedPower=powers)


def forget(name: str) -> Step:
    """Return a step that takes an input of the agent away."""
    return lambda message: inputs(message, AGENT).pop(name)


def without(name: str) -> Step:
    """Return a step that takes a prosumer out of the contract and of what was cleared."""

    def step(message: Message) -> None:
        contract(message)["roles"].remove(of_platform(message, name))
        inputs(message, AGENT).get("clearedPower", {}).pop(name, None)

    return step


def open_role(name: str) -> Step:
    """Return a step that opens a role."""
    opened: Message = {"filled": False, "filledBy": None, "roleInputs": {}}
    return lambda message: role(message, name).update(opened)


def no_flow(place: int) -> Step:
    """Return a step that takes a flow away."""
    return lambda message: contract(message)["revenueFlows"]["flows"].pop(place)


def formula(place: int, text: str) -> Step:
    """Return a step that sets a formula."""
    return lambda message: contract(message)["revenueFlows"]["flows"][place].update(formula=text)


def quote(amount: str) -> Step:
    """Return a step that adds a quote without parts."""
    price = {"schema:price": d(amount), "schema:priceCurrency": "EUR"}
    return lambda message: order(message).update({"beckn:quote": {"beckn:price": price}})


def no_zone(message: Message) -> None:
    """Take the time zone out of the contract."""
    del contract(message)["inputParameters"]


def one_platform(message: Message) -> None:
    """Let one platform fill both PROSUMER roles."""
    for name in (LOAD, PV):
        of_platform(message, name)["filledBy"] = "home.example"


def operator(message: Message) -> None:
    """Add F's GRID_OPERATOR and its flow to T."""
    contract(message)["roles"].append(role(f(), "GRID_OPERATOR"))
    flow = {"from": "BUYER", "to": "GRID_OPERATOR", "formula": FORMULA_4}
    contract(message)["revenueFlows"]["flows"].append(flow)


NO_ENERGY = charged(elements=[])
ENERGY = {"type": "ENERGY", "price": 1}
EVEN = (("16:00", 0), ("20:00", 20), ("22:00", 30))
LATE = (("16:00", 0), ("20:00", 24), ("22:00", 30))
SATURDAY = window("2026-03-07")
PENDING = terms(status="PENDING")
CLEARED = {"ML-1": d("-4.716981"), "MP-1": d("4.716981")}

CATALOGUE: list[tuple[str, Build, tuple[Step, ...], tuple[Step, ...]]] = [
    ("P2P_MODE_MIXED", m, (), (lambda x: contract(x)["roles"].append(role(f(), "BUYER")),)),
    ("P2P_ROLE_DUPLICATE", m, (), (lambda x: contract(x)["roles"].append(role(x, AGENT)),)),
    ("P2P_PRICE_CHOICE", t, (), (put("SELLER", pricePerKWh=d("0.12"), currency="EUR"),)),
    ("P2P_CURRENCY_MISMATCH", m, (), (curve(PV, currency="INR"),)),
    ("P2P_STAGE_UNFILLED", m_init, (), (open_role(AGENT),)),
    ("P2P_FLOW_MISSING", m, (), (no_flow(1),)),
    ("P2P_FLOW_UNBOUND", m, (), (clear_as({}),)),
    ("P2P_FLOW_NONSTANDARD", t, (), (formula(0, "deliveredQuantity × 2"),)),
    (
        "P2P_CAP_POWER",
        m,
        (parameters(approvedMaxTradeKW=5),),
        (parameters(approvedMaxTradeKW=d("4.7")),),
    ),
    ("P2P_TARIFF_ELEMENTS", t, (), (NO_ENERGY,)),
    (
        "P2P_TARIFF_ENERGY",
        t,
        (),
        (lambda x: _element(x, 0)["priceComponents"][0].update(type="FLAT"),),
    ),
    ("P2P_TARIFF_TIME_PAIR", t, (), (no_limit(0, "endTime"),)),
    ("P2P_TARIFF_TIER", t, (limits(2, maxKWh=100),), (limits(2, minKWh=5, maxKWh=5),)),
    (
        "P2P_TARIFF_BOUNDS",
        t,
        (charged(minPrice={"exclVat": d("0.1"), "inclVat": d("0.12")}),),
        (charged(minPrice={"exclVat": d("0.4")}, maxPrice={"exclVat": d("0.3")}),),
    ),
    ("P2P_TARIFF_TIMEZONE", t, (), (no_zone,)),
    ("P2P_TARIFF_GAP", t, (), (SATURDAY,)),
    (
        "P2P_TARIFF_COMPONENT",
        t,
        (component(0, type="FLAT", price=d("0.5")),),
        (component(0, type="PARKING_TIME", price=1),),
    ),
    ("P2P_TARIFF_MIX", t, (mix(60, 40),), (mix(60, 50),)),
    ("P2P_CURVE_RANGE", m, (), (curve(PV, minExport=0, maxExport=0),)),
    (
        "P2P_CURVE_ORDER",
        m,
        (),
        (points(PV, ("0.06", 0), ("0.05", 2), ("0.07", 5)),),
    ),
    ("P2P_CURVE_ENDS", m, (), (curve(PV, maxExport=6),)),
    ("P2P_CURVE_BOUNDS", m, (), (point(PV, 1, powerKW=7),)),
    (
        "P2P_CURVE_SIDE",
        m,
        (),
        (curve(PV, minExport=-1), points(PV, ("0.05", -1), ("0.07", 5))),
    ),
    (
        "P2P_CLEARING_EARLY",
        m_init,
        (put(AGENT, clearingPrice=None),),
        (lambda x: x.update(m()), context(action="confirm"), PENDING),
    ),
    ("P2P_CLEARING_MISSING", m, (), (forget("clearingPrice"),)),
    ("P2P_CLEARED_KEY", m, (clear_as(CLEARED),), (clear(x_example=0),)),
    (
        "P2P_CLEARED_MISSING",
        m,
        (),
        (lambda x: inputs(x, AGENT)["clearedPower"].pop(PV),),
    ),
    ("P2P_CLEARED_RANGE", m, (), (clear(pv_example=d("5.000001")),)),
    ("P2P_CLEARED_BALANCE", m, (), (clear(pv_example=d("4.7")),)),
    ("P2P_CLEARED_PARTIAL", m, (), (without(LOAD), context(bap_id=PV))),
    ("P2P_CLEARED_OFF_CURVE", m, (), (put(AGENT, clearingPrice=d("0.069")),)),
    (
        "P2P_MARKET_HOURS",
        m,
        (),
        (lambda x: contract(x)["inputParameters"].pop("deliveryWindow"),),
    ),
    ("P2P_MCA_DEFICIT", m, (), (put("GRID_OPERATOR", wheelingCharges=d("0.02")),)),
]
IDS = [code for code, *_ in CATALOGUE]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(t, id="T"),
        pytest.param(m, id="M"),
        pytest.param(t_delivered, id="T delivered"),
        pytest.param(lambda: t_delivered(*EVEN), id="T metered"),
    ],
)
def test_a_reference_message_yields_nothing(build: Build) -> None:
    assert found(build) == {}


def test_before_clearing_only_the_flows_are_open() -> None:
    assert found(m_init) == {"P2P_FLOW_UNBOUND": Severity.INFO}
    unbound = [x.params["refs"] for x in findings(m_init())]
    assert unbound == [
        f"{AGENT}.clearingPrice INPUT_ABSENT, {AGENT}.clearedPower INPUT_ABSENT",
        f"{AGENT}.clearedPower INPUT_ABSENT",
    ]


@pytest.mark.parametrize(("code", "build", "ok", "fires"), CATALOGUE, ids=IDS)
def test_the_rule_is_silent_on_its_ok_example(
    code: str, build: Build, ok: tuple[Step, ...], fires: tuple[Step, ...]
) -> None:
    assert code not in found(build, *ok)


@pytest.mark.parametrize(("code", "build", "ok", "fires"), CATALOGUE, ids=IDS)
def test_the_rule_fires_on_its_example(
    code: str, build: Build, ok: tuple[Step, ...], fires: tuple[Step, ...]
) -> None:
    assert code in found(build, *fires)


E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO
INIT = (context(action="init"), PENDING, forget("clearingPrice"), forget("clearedPower"))
CASCADED = (context(bap_id="mca.example", bpp_id="grid.example"),)


CASES: list[tuple[str, str, Severity | None, Build, tuple[Step, ...]]] = [
    # tariff
    ("an unknown zone", "P2P_TARIFF_TIMEZONE", E_, t, (parameters(timeZone="Europe/Atlantis"),)),
    (
        "no zone and no clock",
        "P2P_TARIFF_TIMEZONE",
        None,
        t,
        (no_zone, charged(elements=[{"priceComponents": [ENERGY]}])),
    ),
    (
        "weekdays need a zone too",
        "P2P_TARIFF_TIMEZONE",
        W_,
        t,
        (
            no_zone,
            charged(
                elements=[
                    {"priceComponents": [ENERGY], "restrictions": {"dayOfWeek": ["MONDAY"]}},
                    {"priceComponents": [ENERGY]},
                ]
            ),
        ),
    ),
    ("a gap before anything came", "P2P_TARIFF_GAP", W_, t, (SATURDAY,)),
    (
        "energy in a gap",
        "P2P_TARIFF_GAP",
        E_,
        t_delivered,
        (SATURDAY,),
    ),
    ("a tier that ends at 30 kWh", "P2P_TARIFF_GAP", None, t, (limits(0, maxKWh=30),)),
    ("a tier that ends before", "P2P_TARIFF_GAP", W_, t, (limits(0, maxKWh=d("29.9")),)),
    (
        "a window of years",
        "P2P_FLOW_VALUE",
        E_,
        t,
        (put("BUYER", tradeEndTime="2028-01-01T00:00:00Z"),),
    ),
    ("time by the second", "P2P_TARIFF_COMPONENT", W_, t, (component(0, type="TIME", price=1),)),
    (
        "time by the minute",
        "P2P_TARIFF_COMPONENT",
        None,
        t,
        (component(0, type="TIME", price=1, stepSize=60),),
    ),
    (
        "a bound below itself without VAT",
        "P2P_TARIFF_BOUNDS",
        E_,
        t,
        (charged(maxPrice={"exclVat": d("0.3"), "inclVat": d("0.2")}),),
    ),
    ("no item quantity", "P2P_ITEM_QUANTITY", E_, t, (put("BUYER", contractedQuantity=29),)),
    ("a cap on the contracted", "P2P_CAP_EXCEEDED", E_, t, (operator,)),
    ("wheeling of what was delivered", "P2P_FLOW_NONSTANDARD", None, t, (operator,)),
    (
        "wheeling of what was contracted",
        "P2P_FLOW_NONSTANDARD",
        None,
        t,
        (
            operator,
            formula(
                1,
                FORMULA_4.replace("deliveredQuantity", "roles.BUYER.roleInputs.contractedQuantity"),
            ),
        ),
    ),
    ("no wheeling", "P2P_FLOW_MISSING", E_, t, (operator, no_flow(1))),
    ("delivery still to come", "P2P_FLOW_UNBOUND", None, t, ()),
    (
        "delivery over and not told",
        "P2P_FLOW_UNBOUND",
        E_,
        t_delivered,
        (lambda x: delivery(x).pop("deliveredQuantity"),),
    ),
    (
        "another object for the tariff",
        "P2P_FLOW_VALUE",
        E_,
        t_delivered,
        (formula(0, "computeTariffPrice(1, 2, 3, 4)"),),
    ),
    ("the flow is the delivered energy's", "P2P_CYCLE_AMOUNT", E_, lambda: t_delivered(*LATE), ()),
    (
        "metered 24 + 6 kWh: 7.80 + 1.56",
        "P2P_CYCLE_AMOUNT",
        None,
        lambda: t_delivered(*LATE),
        (
            lambda x: delivery(x)["settlementCycles"][0].update(
                amount=d("9.36"), breakdown={"energyCost": d("7.80"), "vat": d("1.56")}
            ),
        ),
    ),
    (
        "readings of less than was delivered: not checkable",
        "P2P_CYCLE_AMOUNT",
        None,
        lambda: t_delivered(("16:00", 0), ("20:00", 24), ("22:00", 29)),
        (
            lambda x: delivery(x)["settlementCycles"][0].update(
                amount=d("9.36"), breakdown={"energyCost": d("7.80"), "vat": d("1.56")}
            ),
        ),
    ),
    (
        "VAT inside the flow",
        "P2P_CYCLE_AMOUNT",
        None,
        t_delivered,
        (parameters(vatTreatment="INCLUSIVE"),),
    ),
    ("a quote with VAT", "P2P_QUOTE_FLOW", None, t_delivered, (quote("8.40"),)),
    ("a quote without", "P2P_QUOTE_FLOW", None, t_delivered, (quote("7.00"),)),
    (
        "a quote for even power",
        "P2P_QUOTE_FLOW",
        None,
        lambda: t_delivered(*LATE),
        (quote("8.40"),),
    ),
    ("another quote", "P2P_QUOTE_FLOW", W_, t_delivered, (quote("8.41"),)),
    # stages of a market
    (
        "catalogue of a market",
        "P2P_STAGE_UNFILLED",
        None,
        m,
        (*INIT, open_role("PROSUMER"), without(PV), context(action="select")),
    ),
    (
        "select without an agent",
        "P2P_STAGE_UNFILLED",
        E_,
        m,
        (*INIT, open_role(AGENT), context(action="select")),
    ),
    (
        "init without a prosumer",
        "P2P_STAGE_UNFILLED",
        E_,
        m,
        (*INIT, without(PV), open_role("PROSUMER")),
    ),
    ("init with one of two", "P2P_STAGE_UNFILLED", None, m, (*INIT, open_role("PROSUMER"))),
    (
        "cascaded init without a prosumer",
        "P2P_STAGE_UNFILLED",
        None,
        m,
        (*INIT, *CASCADED, without(PV), open_role("PROSUMER"), open_role("GRID_OPERATOR")),
    ),
    (
        "cascaded on_init without the operator",
        "P2P_STAGE_UNFILLED",
        E_,
        m,
        (*INIT, *CASCADED, context(action="on_init"), open_role("GRID_OPERATOR")),
    ),
    (
        "confirm with one of two",
        "P2P_STAGE_UNFILLED",
        E_,
        m,
        (*INIT, context(action="confirm"), open_role("PROSUMER")),
    ),
    # clearing
    (
        "the operator learns the result with its confirm",
        "P2P_CLEARING_EARLY",
        None,
        m,
        (PENDING, *CASCADED, context(action="confirm")),
    ),
    ("and not before", "P2P_CLEARING_EARLY", E_, m, (PENDING, *CASCADED, context(action="init"))),
    (
        "a key for two",
        "P2P_CLEARED_KEY",
        E_,
        m,
        (lambda x: of_platform(x, LOAD)["roleInputs"].update(sourceMeterId=PV),),
    ),
    ("two of one platform by meter", "P2P_CLEARED_KEY", None, m, (one_platform, clear_as(CLEARED))),
    (
        "two of one platform by meter",
        "P2P_CLEARED_MISSING",
        None,
        m,
        (one_platform, clear_as(CLEARED)),
    ),
    (
        "two of one platform by platform",
        "P2P_CLEARED_KEY",
        E_,
        m,
        (one_platform, clear_as({"home.example": 0})),
    ),
    ("rounding of two keys", "P2P_CLEARED_BALANCE", None, m, (clear(pv_example=d("4.716983")),)),
    ("more than that", "P2P_CLEARED_BALANCE", E_, m, (clear(pv_example=d("4.716984")),)),
    (
        "two prosumers are the whole market",
        "P2P_CLEARED_BALANCE",
        E_,
        m,
        (clear(load_example=0),),
    ),
    (
        "one prosumer with both signs shown",
        "P2P_CLEARED_PARTIAL",
        None,
        m,
        (lambda x: contract(x)["roles"].remove(of_platform(x, LOAD)),),
    ),
    (
        "a part says nothing about the agent",
        "P2P_MCA_DEFICIT",
        None,
        m,
        (without(LOAD), put("GRID_OPERATOR", wheelingCharges=1)),
    ),
    (
        "the fee of one side does not pay",
        "P2P_MCA_DEFICIT",
        W_,
        m,
        (parameters(feeTreatment="BUYER_ONLY"), put("GRID_OPERATOR", wheelingCharges=d("0.006"))),
    ),
    (
        "the fee of both does",
        "P2P_MCA_DEFICIT",
        None,
        m,
        (put("GRID_OPERATOR", wheelingCharges=d("0.006")),),
    ),
    (
        "one millionth beside the clearing price",
        "P2P_CLEARED_OFF_CURVE",
        None,
        m,
        (put(AGENT, clearingPrice=d("0.069056")),),
    ),
    (
        "a curve out of order is not read",
        "P2P_CLEARED_OFF_CURVE",
        None,
        m,
        (
            points(PV, ("0.06", 0), ("0.05", 2), ("0.07", 5)),
            put(AGENT, clearingPrice=d("0.069057")),
        ),
    ),
    (
        "a consumer that sells",
        "P2P_CURVE_SIDE",
        W_,
        m,
        (lambda x: of_platform(x, PV)["roleInputs"].update(sourceType="CONSUMER"),),
    ),
    (
        "an hour of power up to the cap",
        "P2P_CAP_EXCEEDED",
        None,
        m,
        (put("GRID_OPERATOR", buyer_trade_cap=d("4.716981")),),
    ),
    (
        "a millionth more",
        "P2P_CAP_EXCEEDED",
        E_,
        m,
        (put("GRID_OPERATOR", seller_trade_cap=d("4.716980")),),
    ),
    (
        "a quarter of an hour of it",
        "P2P_CAP_EXCEEDED",
        None,
        m,
        (
            put("GRID_OPERATOR", buyer_trade_cap=d("1.179246")),
            parameters(
                deliveryWindow={"startTime": f"{DAY}09:00:00Z", "endTime": f"{DAY}09:15:00Z"}
            ),
        ),
    ),
    (
        "and not a millionth less",
        "P2P_CAP_EXCEEDED",
        E_,
        m,
        (
            put("GRID_OPERATOR", buyer_trade_cap=d("1.179245")),
            parameters(
                deliveryWindow={"startTime": f"{DAY}09:00:00Z", "endTime": f"{DAY}09:15:00Z"}
            ),
        ),
    ),
    (
        "half a window",
        "P2P_MARKET_HOURS",
        I_,
        m,
        (parameters(deliveryWindow={"startTime": f"{DAY}09:00:00Z"}),),
    ),
    ("a negative flow is right here", "P2P_FLOW_VALUE", None, m, ()),
    ("a formula of its own", "P2P_FLOW_NONSTANDARD", W_, m, (formula(0, FORMULA_5 + " × 2"),)),
    ("the load's share as quote", "P2P_QUOTE_FLOW", None, m, (quote("0.37291"),)),
    ("another quote in a market", "P2P_QUOTE_FLOW", W_, m, (quote("0.4"),)),
    (
        "the price of the first curve",
        "P2P_CURRENCY_MISMATCH",
        None,
        m,
        (*INIT, open_role("PROSUMER")),
    ),
]


@pytest.mark.parametrize(
    ("code", "severity", "build", "steps"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_rule_decides(
    code: str, severity: Severity | None, build: Build, steps: tuple[Step, ...]
) -> None:
    assert found(build, *steps).get(code) is severity


def test_a_gap_is_named_in_local_time() -> None:
    message = t()
    SATURDAY(message)
    (gap,) = findings(message)
    assert gap.message == "no ENERGY price at Sat 17:00 (2026-03-07T16:00:00Z) for 0 kWh"
    assert gap.path.endswith("roles[0].roleInputs.tariff")


def test_the_zone_of_the_node_is_used_and_named() -> None:
    message = t()
    no_zone(message)
    (finding,) = check_message("on_confirm", message, time_zone="Asia/Kolkata")
    assert finding.message == "tariff times read in Asia/Kolkata, the contract names no zone"
    assert finding.path.endswith("inputParameters.timeZone")


def test_the_cap_of_a_market_names_the_key_that_breaks_it() -> None:
    message = m()
    inputs(message, "GRID_OPERATOR")["buyer_trade_cap"] = 4
    hits = [x for x in findings(message) if x.code == "P2P_CAP_EXCEEDED"]
    assert [(x.params, x.wire_code) for x in hits] == [
        ({"value": "4.716981", "max": "4"}, "BIZ_QUANTITY_UNAVAILABLE")
    ]
    assert [x.path.rpartition(".clearedPower")[2] for x in hits] == [f"['{LOAD}']"]


@pytest.mark.parametrize(
    ("cap", "key"), [("buyer_trade_cap", LOAD), ("seller_trade_cap", PV)], ids=["load", "roof"]
)
def test_a_withdrawal_is_limited_by_what_may_be_bought_an_export_by_what_may_be_sold(
    cap: str, key: str
) -> None:
    message = m()
    inputs(message, "GRID_OPERATOR")[cap] = d("4.716981")
    assert "P2P_CAP_EXCEEDED" not in found(lambda: message)
    inputs(message, "GRID_OPERATOR")[cap] = d("4.71698")
    (hit,) = [x for x in findings(message) if x.code == "P2P_CAP_EXCEEDED"]
    assert hit.path.endswith(f".clearedPower['{key}']")


def test_the_loss_of_the_agent_is_named() -> None:
    # 0.372910 - 0.278571 - 2 x 0.02 x 4.716981 = 0.094339 - 2 x 0.094340 = -0.094341
    message = m()
    inputs(message, "GRID_OPERATOR")["wheelingCharges"] = d("0.02")
    (finding,) = findings(message)
    assert finding.message == "MARKET_CLEARING_AGENT loses -0.094341 EUR"


def crowd(message: Message, count: int, flows: int) -> None:
    """Fill a market with prosumers and flows."""
    one = of_platform(message, PV)
    contract(message)["roles"][1:3] = [
        {
            **one,
            "filledBy": f"p{n}.example",
            "roleInputs": {**one["roleInputs"], "sourceMeterId": f"MP-{n}"},
        }
        for n in range(count)
    ]
    contract(message)["revenueFlows"]["flows"] *= flows // 2
    inputs(message, AGENT)["clearedPower"] = {}


def test_hostile_market_of_many_flows_for_many_prosumers_is_not_computed() -> None:
    message = m()
    crowd(message, 500, 64)
    hits = {x.code for x in check_message("on_confirm", message)}
    assert "P2P_FLOW_VALUE" in hits


def test_a_finding_names_some_of_many_prosumers() -> None:
    message = m()
    crowd(message, 500, 2)
    texts = [x.params["refs"] for x in findings(message) if x.code == "P2P_FLOW_UNBOUND"]
    assert len(texts) == 2
    assert all(text.endswith("and 480 more") for text in texts)


def profile(*energies: str) -> list[ProfilePiece]:
    """Return metered energies before and after 20:00Z."""
    marks = [parse_instant(f"{DAY}{time}:00:00Z") for time in ("16", "20", "22")]
    pieces = zip(marks, marks[1:], energies, strict=False)
    return [ProfilePiece(start, end, Fraction(kwh)) for start, end, kwh in pieces]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param(("24", "6"), None, id="24 + 6 of 30 kWh"),
        pytest.param(("24", "5"), "P2P_TARIFF_PROFILE", id="24 + 5 of 30 kWh"),
        pytest.param(None, "P2P_TARIFF_ASSUMED", id="none"),
    ],
)
def test_the_price_function_looks_at_the_profile(
    given: tuple[str, ...] | None, code: str | None
) -> None:
    pieces = None if given is None else profile(*given)
    terms_of_t = contract(t())
    hits = check_prices(terms_of_t, delivered=Energy.from_kwh(30), profile=pieces)
    assert [x.code for x in hits] == ([] if code is None else [code])


def test_the_price_function_has_nothing_to_say_about_a_fixed_price() -> None:
    assert check_prices(contract(f()), delivered=Energy.from_kwh(8)) == ()
