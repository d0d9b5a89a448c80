"""Edges of rules that the catalogue's own examples leave open."""

from collections.abc import Callable

import pytest

from adapter.protocol.rules import check_message
from tests.unit.protocol.messages import (
    DAY,
    FORMULA_1,
    Message,
    casc,
    contract,
    d,
    delivery,
    dlv,
    envelope,
    f,
    inputs,
    o,
    offer,
    order,
    p,
    q,
    role,
)

Build = Callable[[], Message]
Step = Callable[[Message], object]


def fired(build: Build, *steps: Step) -> dict[str, str]:
    """Return code to path of what the rules find in a changed message."""
    message = build()
    for step in steps:
        step(message)
    return {x.code: x.path for x in check_message(message["context"]["action"], message)}


def put(name: str, **values: object) -> Step:
    """Return a step that sets inputs of a role."""
    return lambda message: inputs(message, name).update(values)


def terms(**values: object) -> Step:
    """Return a step that sets keys of the contract."""
    return lambda message: contract(message).update(values)


def at(action: str, time: str = "08:00:00") -> Step:
    """Return a step that sets action and time of the message."""
    return lambda message: message["context"].update(action=action, timestamp=f"{DAY}{time}Z")


def unfilled(name: str) -> Step:
    """Return a step that opens a role."""
    return lambda message: role(message, name).update(filled=False, filledBy=None, roleInputs={})


def cycle(**values: object) -> Step:
    """Return a step that sets keys of the settlement cycle."""
    return lambda message: delivery(message)["settlementCycles"][0].update(values)


def deliver(**values: object) -> Step:
    """Return a step that sets keys of the delivery."""
    return lambda message: delivery(message).update(values)


def metric(**values: object) -> Step:
    """Return a step that sets keys of the only metric."""
    return lambda message: delivery(message)["telemetry"][0]["metrics"][0].update(values)


def formula(text: str) -> Step:
    """Return a step that sets the first formula."""
    return lambda message: contract(message)["revenueFlows"]["flows"][0].update(formula=text)


def add_flow(payer: str, payee: str, text: str) -> Step:
    """Return a step that adds a flow."""
    entry = {"from": payer, "to": payee, "formula": text}
    return lambda message: contract(message)["revenueFlows"]["flows"].append(entry)


def second_item(message: Message) -> None:
    message["message"]["catalogs"][0]["beckn:items"].append(
        {"beckn:id": "i-2", "beckn:itemAttributes": {"meterId": "MS-9"}}
    )


def without_item_names(message: Message) -> None:
    del offer(message)["beckn:items"]


def other_meter(message: Message) -> None:
    message["message"]["catalogs"][0]["beckn:items"][0]["beckn:itemAttributes"]["meterId"] = "MS-9"


def price_currency(code: str) -> Step:
    """Return a step that sets the currency of the catalogue price."""
    return lambda message: offer(message)["beckn:price"].update({"schema:priceCurrency": code})


CERTIFIED = {"status": "gold"}
WANTS = {"status": "gold", "required": True}
METRIC = {"metricId": "m", "formula": "1 +", "penalty": {"formula": "max("}}

CASES: list[tuple[str, str, bool, Build, tuple[Step, ...]]] = [
    (
        "a million is in range",
        "P2P_NUMBER_PRECISION",
        False,
        f,
        (put("SELLER", maximumQuantity=10**6),),
    ),
    (
        "more than a million is not",
        "P2P_NUMBER_PRECISION",
        True,
        f,
        (put("SELLER", maximumQuantity=d("1000000.1")),),
    ),
    (
        "trailing zeros are no decimals",
        "P2P_NUMBER_PRECISION",
        False,
        f,
        (put("BUYER", contractedQuantity=d("8.00000000")),),
    ),
    (
        "a number inside an envelope counts",
        "P2P_NUMBER_PRECISION",
        True,
        f,
        (put("BUYER", contractedQuantity=envelope("NUMBER", d("8.0000001"))),),
    ),
    ("low limit", "P2P_QUANTITY_LIMITS", True, f, (put("SELLER", minimumQuantity=d("8.1")),)),
    ("at the low limit", "P2P_QUANTITY_LIMITS", False, f, (put("SELLER", minimumQuantity=8),)),
    (
        "limits without room, no quantity yet",
        "P2P_QUANTITY_LIMITS",
        True,
        o,
        (put("SELLER", minimumQuantity=41),),
    ),
    (
        "certification missing",
        "P2P_PREFERENCE_UNMET",
        True,
        f,
        (put("BUYER", preferredCertification=WANTS),),
    ),
    (
        "certification given",
        "P2P_PREFERENCE_UNMET",
        False,
        f,
        (put("BUYER", preferredCertification=WANTS), put("SELLER", certification=CERTIFIED)),
    ),
    (
        "certification not required",
        "P2P_PREFERENCE_UNMET",
        False,
        f,
        (put("BUYER", preferredCertification=WANTS | {"required": False}),),
    ),
    ("at the start itself", "P2P_WINDOW_STARTED", False, f, (at("on_confirm", "09:00:00"),)),
    ("after the end", "P2P_WINDOW_STARTED", False, f, (at("on_confirm", "10:30:00"),)),
    ("a status may come late", "P2P_WINDOW_ENDED", False, f, (at("on_status", "11:00:00"),)),
    (
        "a select on a lapsed offer",
        "P2P_OFFER_EXPIRED",
        True,
        p,
        (at("select"), put("SELLER", validityWindow={"end": f"{DAY}07:00:00Z"})),
    ),
    (
        "before the offer opens",
        "P2P_OFFER_EXPIRED",
        True,
        p,
        (put("SELLER", validityWindow={"start": f"{DAY}08:00:01Z"}),),
    ),
    (
        "a status after the offer",
        "P2P_OFFER_EXPIRED",
        False,
        f,
        (at("on_status"), put("SELLER", validityWindow={"end": f"{DAY}07:00:00Z"})),
    ),
    (
        "window beyond the contract's validity",
        "P2P_WINDOW_OUTSIDE",
        True,
        f,
        (terms(inputParameters={"validityWindow": {"endTime": f"{DAY}09:59:59Z"}}),),
    ),
    ("select with one side", "P2P_STAGE_UNFILLED", False, p, (at("select"), unfilled("BUYER"))),
    (
        "select with no side",
        "P2P_STAGE_UNFILLED",
        True,
        p,
        (at("select"), unfilled("BUYER"), unfilled("SELLER")),
    ),
    ("cascaded init with the operator open", "P2P_STAGE_UNFILLED", False, casc, ()),
    ("cascaded on_init with it open", "P2P_STAGE_UNFILLED", True, casc, (at("on_init"),)),
    ("confirm with it open", "P2P_STAGE_UNFILLED", True, casc, (at("confirm"),)),
    (
        "a TERMINATED contract has no stage",
        "P2P_STAGE_UNFILLED",
        False,
        p,
        (at("on_cancel"), terms(status="TERMINATED"), unfilled("BUYER")),
    ),
    ("pending on_status", "P2P_STATUS_ACTION", False, p, (at("on_status"),)),
    ("pending on_update", "P2P_STATUS_ACTION", True, p, (at("on_update"),)),
    (
        "one stranger while a role is open",
        "P2P_PARTY_MISMATCH",
        False,
        casc,
        (lambda m: m["context"].update(bap_id="x.example", bpp_id="buy.example"),),
    ),
    (
        "formula of a metric",
        "P2P_FLOW_SYNTAX",
        True,
        f,
        (terms(qualityMetrics={"metrics": [METRIC]}),),
    ),
    ("a flow to itself", "P2P_FLOW_ROLES", True, p, (add_flow("BUYER", "BUYER", "1"),)),
    (
        "a flow to a role to come",
        "P2P_FLOW_ROLES",
        False,
        p,
        (add_flow("BUYER", "AGGREGATOR", "1"),),
    ),
    (
        "a flow of another pair",
        "P2P_FLOW_NONSTANDARD",
        True,
        f,
        (add_flow("SELLER", "BUYER", "1"),),
    ),
    (
        "delivered quantity before delivery",
        "P2P_FLOW_UNBOUND",
        False,
        f,
        (formula("deliveredQuantity × roles.SELLER.roleInputs.pricePerKWh"),),
    ),
    (
        "delivered quantity of a completed contract without delivery",
        "P2P_FLOW_UNBOUND",
        True,
        f,
        (
            formula("deliveredQuantity × roles.SELLER.roleInputs.pricePerKWh"),
            terms(status="COMPLETED"),
        ),
    ),
    (
        "delivered quantity of a completed delivery",
        "P2P_CYCLE_AMOUNT",
        False,
        dlv,
        (formula("deliveredQuantity × roles.SELLER.roleInputs.pricePerKWh"),),
    ),
    ("negative amount", "P2P_FLOW_VALUE", True, f, (formula("0 - 1"),)),
    ("no flows at all", "P2P_FLOW_MISSING", True, f, (lambda m: contract(m).pop("revenueFlows"),)),
    (
        "netZero absent",
        "P2P_FLOW_NET_ZERO",
        True,
        f,
        (lambda m: contract(m)["revenueFlows"].pop("netZero"),),
    ),
    ("catalogue currency", "P2P_OFFER_PRICE", True, o, (price_currency("USD"),)),
    (
        "the only item is the offered one",
        "P2P_RESOURCE_MISMATCH",
        True,
        o,
        (without_item_names, other_meter),
    ),
    (
        "of two items neither is",
        "P2P_RESOURCE_MISMATCH",
        False,
        o,
        (without_item_names, other_meter, second_item),
    ),
    ("an item of another offer", "P2P_RESOURCE_MISMATCH", False, o, (second_item,)),
    (
        "CONSUMER is open too",
        "P2P_OFFER_OPEN_ROLE",
        False,
        o,
        (lambda m: offer(m)["beckn:offerAttributes"].update(openRole="CONSUMER"),),
    ),
    (
        "offer id of the envelope",
        "P2P_OFFER_IDENTITY",
        True,
        o,
        (lambda m: offer(m).update({"beckn:id": "off-2"}),),
    ),
    (
        "the quote of the operator alone",
        "P2P_QUOTE_FLOW",
        False,
        q,
        (
            lambda m: m["context"].update(bpp_id="grid.example"),
            lambda m: order(m)["beckn:quote"].update(
                {"beckn:price": {"schema:price": d("0.16"), "schema:priceCurrency": "EUR"}}
            ),
        ),
    ),
    (
        "a stop at another time",
        "P2P_STOP_MISMATCH",
        True,
        dlv,
        (
            lambda m: order(m)["beckn:fulfillments"][0]["beckn:stops"][1]["beckn:time"].update(
                {"beckn:range": {"end": f"{DAY}10:00:01Z"}}
            ),
        ),
    ),
    (
        "the same instant in another zone",
        "P2P_STOP_MISMATCH",
        False,
        dlv,
        (
            lambda m: order(m)["beckn:fulfillments"][0]["beckn:stops"][1]["beckn:time"].update(
                {"beckn:range": {"end": f"{DAY}11:00:00+01:00"}}
            ),
        ),
    ),
    (
        "an end before it is over",
        "P2P_DELIVERY_TIME",
        True,
        dlv,
        (deliver(deliveryStatus="IN_PROGRESS"),),
    ),
    (
        "an end at the start",
        "P2P_DELIVERY_TIME",
        True,
        dlv,
        (deliver(deliveryEndTime=f"{DAY}09:00:00Z"),),
    ),
    ("an interval instead of a total", "P2P_TELEMETRY_ENERGY", False, dlv, (metric(value=5),)),
    ("another metric", "P2P_TELEMETRY_ENERGY", False, dlv, (metric(name="POWER", value=6),)),
    ("another unit", "P2P_TELEMETRY_ENERGY", False, dlv, (metric(unitCode="KW", value=6),)),
    (
        "VAT comes on top",
        "P2P_CYCLE_AMOUNT",
        False,
        dlv,
        (
            cycle(
                amount=d("1.22"),
                breakdown={"energyCost": d("0.96"), "wheelingCharges": d("0.16"), "vat": d("0.1")},
            ),
        ),
    ),
    (
        "VAT is inside",
        "P2P_CYCLE_AMOUNT",
        True,
        dlv,
        (
            terms(inputParameters={"vatTreatment": "INCLUSIVE"}),
            cycle(amount=d("1.22"), breakdown={"energyCost": d("1.12"), "vat": d("0.1")}),
        ),
    ),
    (
        "parts that do not add up",
        "P2P_CYCLE_AMOUNT",
        True,
        dlv,
        (cycle(breakdown={"energyCost": d("0.96")}),),
    ),
    (
        "a settled cycle without amount",
        "P2P_CYCLE_AMOUNT",
        True,
        dlv,
        (lambda m: delivery(m)["settlementCycles"][0].pop("amount"),),
    ),
    (
        "an extension key is no part",
        "P2P_CYCLE_AMOUNT",
        False,
        dlv,
        (
            cycle(
                breakdown={"energyCost": d("0.96"), "wheelingCharges": d("0.16"), "_note": d("1")}
            ),
        ),
    ),
    (
        "two cycles of one name",
        "P2P_CYCLE_REF",
        True,
        dlv,
        (lambda m: deliver(settlementCycles=delivery(m)["settlementCycles"] * 2)(m),),
    ),
    (
        "an open cycle and an open payment",
        "P2P_CYCLE_PAYMENT",
        False,
        dlv,
        (
            cycle(status="PENDING"),
            lambda m: order(m)["beckn:payments"][0].update({"beckn:status": "NOT-PAID"}),
        ),
    ),
    (
        "the hint in upstream's words",
        "P2P_MODE_HINT",
        True,
        f,
        (terms(_mode="FIXED_PRICE_TARIFF"),),
    ),
    (
        "swapped factors are standard",
        "P2P_FLOW_NONSTANDARD",
        False,
        f,
        (formula(" * ".join(reversed(FORMULA_1.split(" × ")))),),
    ),
]


@pytest.mark.parametrize(
    ("code", "expected", "build", "steps"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_rule_decides(code: str, expected: bool, build: Build, steps: tuple[Step, ...]) -> None:
    assert (code in fired(build, *steps)) is expected


def test_two_sellers_are_a_duplicate_and_still_a_mode() -> None:
    found = fired(f, lambda m: contract(m)["roles"].append(role(m, "SELLER")))
    assert found["P2P_ROLE_DUPLICATE"].endswith(".roles[3].role")
    assert "P2P_MODE_NONE" not in found


def test_several_unknown_names_are_each_reported() -> None:
    message = f()
    formula("a + b + roles.BUYER.roleInputs.contractedQuantity")(message)
    findings = check_message("on_confirm", message)
    assert [x.params["ref"] for x in findings if x.code == "P2P_FLOW_PATH"] == ["a", "b"]


def test_a_message_without_a_readable_time_is_not_judged_by_time() -> None:
    assert not {"P2P_WINDOW_ENDED", "P2P_CREATED_LATER"} & set(
        fired(f, lambda m: m["context"].update(timestamp="soon"))
    )
