"""A prosumer's app at a market that is played by hand: commitment, clearing, its own curve."""

import copy
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.domain.trade import Trade
from adapter.protocol.actions import Action
from adapter.service.waiters import is_decided
from tests.fakes.market_orders import (
    END,
    OFFER,
    START,
    approved,
    catalogue,
    cleared,
    market_contract,
    market_offer,
    prosumer_plan,
)
from tests.fakes.network import BAP, BPP, BUYER_METER, HOSTS, Network, open_network
from tests.fakes.orders import Order, contract, reference
from tests.fakes.stranger import Message, Reply, Stranger

BEHIND_GATE = "2026-03-02T08:45:05Z"


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def market(network: Network) -> Stranger:
    """The market, in place of the seller's platform."""
    return Stranger(network, BPP)


async def tell(network: Network, market: Stranger, message: Message) -> Reply:
    reply = await market.post(message, to=network.bap)
    await network.deliver()
    return reply


async def found(network: Network, market: Stranger, *offers: Message, **wish: Any) -> Trade:
    """Start a trade and answer its discover with a catalogue."""
    await network.bap.originator.start_trade(prosumer_plan(**wish))
    await network.deliver()
    answer = market.callback(market.last("discover"))
    answer["message"] = catalogue(*offers)
    assert (await tell(network, market, answer)).word == "ACK"
    return await network.trade(Side.BAP)


async def committed(network: Network, market: Stranger, **answer: Any) -> Order:
    """Bring a trade to its commitment; return the order that it confirms."""
    await found(network, market, market_offer())
    init = market.last("init")
    order = approved(init["message"]["order"], **answer)
    assert (await tell(network, market, market.callback(init, order))).word == "ACK"
    assert (await network.trade(Side.BAP)).state == "CONFIRM_PENDING"
    confirmed: Order = market.last("confirm")["message"]["order"]
    return confirmed


def news(network: Network, market: Stranger, order: Order, **context: Any) -> Message:
    """Return an on_status that nobody asked for."""
    transaction = market.last("confirm")["context"]["transaction_id"]
    request = market.request("status", transaction_id=transaction, bap_id=BAP, bpp_id=BPP)
    uris: Any = {
        "bap_uri": f"http://{HOSTS[BAP]}/bap/receiver",
        "bpp_uri": f"http://{HOSTS[BPP]}/bpp/receiver",
    }
    return market.callback(request, order, **(uris | context))


# From the curve to the commitment


async def test_a_curve_goes_from_discover_to_a_commitment_until_behind_the_gate(
    network: Network, market: Stranger
) -> None:
    order = await committed(network, market)
    assert market.actions() == ["discover", "init", "confirm"]
    init = market.last("init")["message"]["order"]
    assert "beckn:items" not in init
    assert init["beckn:offers"] == [{"beckn:id": OFFER}]
    stops = init["beckn:fulfillments"][0]["beckn:stops"]
    place = [(stop["beckn:type"], stop["beckn:location"]["beckn:address"]) for stop in stops]
    assert place == [("END", BUYER_METER)]  # it withdraws
    mine = contract(init)["roles"][1]
    assert (mine["role"], mine["filledBy"]) == ("PROSUMER", BAP)
    assert mine["roleInputs"]["offerCurve"] == prosumer_plan()["offer_curve"]
    assert contract(order)["roles"][2]["role"] == "GRID_OPERATOR"
    confirm = market.last("confirm")["context"]
    said = (await network.trade(Side.BAP)).request
    assert said is not None
    assert said.deadline_ms == 1_772_441_160_000  # 08:46:00Z: the gate and a minute
    assert confirm["ttl"].startswith("PT")


@pytest.mark.parametrize(
    ("points", "stops"),
    [
        pytest.param([("0.10", 0), ("0.20", 5)], ["START"], id="exports"),
        pytest.param([("0.10", -5), ("0.20", 0)], ["END"], id="withdraws"),
        pytest.param([("0.10", -5), ("0.20", 5)], ["START", "END"], id="both ways"),
    ],
)
async def test_the_delivery_starts_or_ends_at_the_meter(
    network: Network, market: Stranger, points: list[tuple[str, int]], stops: list[str]
) -> None:
    curve = {
        "currency": "USD",
        "minExport": points[0][1],
        "maxExport": points[-1][1],
        "curve": [{"price": Decimal(price), "powerKW": power} for price, power in points],
    }
    await found(network, market, market_offer(), offer_curve=curve)
    order = market.last("init")["message"]["order"]
    assert [s["beckn:type"] for s in order["beckn:fulfillments"][0]["beckn:stops"]] == stops


async def test_of_several_markets_the_one_of_the_window_with_the_least_fee_is_taken(
    network: Network, market: Stranger
) -> None:
    later = {"startTime": END, "endTime": "2026-03-02T11:00:00Z"}
    await found(
        network,
        market,
        market_offer("dear", fee="0.04"),
        market_offer("cheap", fee="0.02"),
        market_offer("later", fee="0.01", deliveryWindow=later),
        market_offer("closed", fee="0.01", gateClosureTime="2026-03-02T08:00:00Z"),
    )
    assert market.last("init")["message"]["order"]["beckn:offers"] == [{"beckn:id": "cheap"}]


async def test_a_market_on_a_later_page_is_found(network: Network, market: Stranger) -> None:
    await network.bap.originator.start_trade(prosumer_plan())
    await network.deliver()
    later = {"startTime": END, "endTime": "2026-03-02T11:00:00Z"}
    long = [market_offer(f"later-{i}", deliveryWindow=later) for i in range(30)]
    for page in ([*long, market_offer("dear", fee="0.04")], [market_offer("cheap", fee="0.02")]):
        answer = market.callback(market.last("discover"))
        answer["message"] = catalogue(*page)
        assert (await tell(network, market, answer)).word == "ACK"
    assert market.last("init")["message"]["order"]["beckn:offers"] == [{"beckn:id": "cheap"}]


async def test_a_long_page_that_stays_alone_is_enough(network: Network, market: Stranger) -> None:
    later = {"startTime": END, "endTime": "2026-03-02T11:00:00Z"}
    long = [market_offer(f"later-{i}", deliveryWindow=later) for i in range(30)]
    await found(network, market, *long, market_offer("dear", fee="0.04"))
    assert "init" not in market.actions()
    await network.run(3)
    assert market.last("init")["message"]["order"]["beckn:offers"] == [{"beckn:id": "dear"}]


async def test_a_named_market_is_taken_whatever_its_fee(network: Network, market: Stranger) -> None:
    offers = market_offer("dear", fee="0.04"), market_offer("cheap", fee="0.02")
    await found(network, market, *offers, offer_id="dear")
    assert market.last("init")["message"]["order"]["beckn:offers"] == [{"beckn:id": "dear"}]


@pytest.mark.parametrize(
    ("offer", "code", "words"),
    [
        pytest.param(None, "BIZ_OFFER_NOT_FOUND", f"from {START} to {END}", id="none"),
        pytest.param(
            {"deliveryWindow": {"startTime": START, "endTime": "2026-03-02T11:00:00Z"}},
            "BIZ_OFFER_NOT_FOUND",
            "no market",
            id="another window",
        ),
        pytest.param(
            {"gateClosureTime": "2026-03-02T08:00:00Z"},
            "BIZ_QUOTE_EXPIRED_OR_CHANGED",
            "closed at 2026-03-02T08:00:00Z",
            id="closed",
        ),
    ],
)
async def test_without_an_open_market_of_the_window_the_trade_says_why(
    network: Network, market: Stranger, offer: dict[str, Any] | None, code: str, words: str
) -> None:
    network.clock.advance(1)
    trade = await found(network, market, *([] if offer is None else [market_offer(**offer)]))
    assert trade.error is not None
    assert trade.error["code"] == code
    assert words in trade.error["message"]
    assert "init" not in market.actions()


@pytest.mark.parametrize(
    "change",
    [
        lambda terms: terms["roles"][0]["roleInputs"].update(marketMakingFee=Decimal("0.04")),
        lambda terms: terms["roles"][1]["roleInputs"].update(sourceMeterId="another"),
        lambda terms: terms["roles"][1]["roleInputs"]["offerCurve"]["curve"][0].update(
            price=Decimal("0.15")
        ),
        lambda terms: terms["inputParameters"].update(gateClosureTime="2026-03-02T08:50:00Z"),
        lambda terms: terms["inputParameters"].update(feeTreatment="SYMMETRIC", pricingModel="X"),
        lambda terms: terms["roles"].pop(1),
    ],
    ids=["fee", "meter", "curve", "gate", "pricing", "left out"],
)
async def test_an_on_init_with_other_terms_is_refused(
    network: Network, market: Stranger, change: Any
) -> None:
    await found(network, market, market_offer())
    init = market.last("init")
    order = approved(init["message"]["order"])
    change(contract(order))
    reply = await tell(network, market, market.callback(init, order))
    assert reply.status >= 400
    assert (await network.trade(Side.BAP)).state == "INIT_PENDING"
    assert "confirm" not in market.actions()


# What cleared


async def test_what_lies_on_the_curve_confirms(network: Network, market: Stranger) -> None:
    order = await committed(network, market)
    network.clock.move_to(BEHIND_GATE)
    reply = await tell(network, market, market.callback(market.last("confirm"), cleared(order)))
    assert reply.word == "ACK", reply.error
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.error, trade.flags) == ("CONFIRMED", None, ())


@pytest.mark.parametrize(
    ("price", "power", "fine"),
    [
        pytest.param("0.15", "-5.000101", True, id="rounded price, steep curve"),
        pytest.param("0.15", "-5.000102", False, id="a unit too much"),
        pytest.param("0.15", "-4.999898", False, id="a unit too little"),
        pytest.param("0.05", "-8", True, id="clipped to the approved 8 kW"),
        pytest.param("0.05", "-7.999998", False, id="less than the approved"),
        pytest.param("0.05", "-8.000002", False, id="more than the approved"),
        pytest.param("0.25", "-1", False, id="dearer than the curve"),
    ],
)
async def test_nobody_is_worse_off_than_its_curve(
    network: Network, market: Stranger, price: str, power: str, fine: bool
) -> None:
    # 100 kW per unit of price: a price rounded by 10^-6 moves 0.0001 kW, and 10^-6 for the power
    order = await committed(network, market)
    contract(order)["inputParameters"].pop("approvedMaxTradeKW")  # P2P_CAP_POWER says it as well
    claim = cleared(order, price, power)
    reply = await tell(network, market, market.callback(market.last("confirm"), claim))
    trade = await network.trade(Side.BAP)
    if fine:
        assert (reply.word, trade.state) == ("ACK", "CONFIRMED"), reply.error
        return
    assert (reply.status, reply.code) == (400, "BIZ_PRICE_MISMATCH")
    assert reply.error["details"]["cause"]["code"] == "P2P_CLEARED_OFF_CURVE"
    assert (trade.state, trade.flags) == ("CONFIRM_UNKNOWN", ("off_curve",))
    assert is_decided(trade)  # POST /trades waits no longer: 409
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_PRICE_MISMATCH"
    assert contract(dict(trade.order or {}))["status"] == "PENDING"


async def test_a_market_without_a_grid_operator_clears_as_well(
    network: Network, market: Stranger
) -> None:
    offered = market_offer()
    offered["beckn:offerAttributes"]["contract"]["revenueFlows"]["flows"].pop()
    await found(network, market, offered)
    init = market.last("init")
    await tell(network, market, market.callback(init, init["message"]["order"]))
    claim = cleared(market.last("confirm")["message"]["order"])
    reply = await tell(network, market, market.callback(market.last("confirm"), claim))
    assert reply.word == "ACK", reply.error
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"


@pytest.mark.parametrize("platform", ["bap.other.example", BAP], ids=["another", "the same"])
@pytest.mark.parametrize(("mine", "word"), [("-5", "ACK"), ("-6", "NACK")])
async def test_of_a_whole_market_the_own_part_is_looked_at(
    network: Network, market: Stranger, mine: str, word: str, platform: str
) -> None:
    order = await committed(network, market)
    claim = cleared(order, "0.15", mine)
    other = copy.deepcopy(contract(claim)["roles"][1])
    other["filledBy"] = platform
    other["roleInputs"] |= {"sourceMeterId": "meter-other", "sourceType": "SOLAR"}
    other["roleInputs"]["offerCurve"] = {
        "currency": "USD",
        "minExport": 0,
        "maxExport": 8,
        "curve": [
            {"price": Decimal("0.10"), "powerKW": 0},
            {"price": Decimal("0.20"), "powerKW": 8},
        ],
    }
    contract(claim)["roles"].insert(1, other)  # before the own one
    power = Decimal(mine)
    keys = ("meter-other", BUYER_METER) if platform == BAP else (platform, BAP)
    agent = contract(claim)["roles"][0]["roleInputs"]
    agent["clearedPower"] = dict(zip(keys, (-power, power), strict=True))
    reply = await tell(network, market, market.callback(market.last("confirm"), claim))
    assert reply.word == word, reply.error


async def test_the_room_under_a_cap_clips_the_curve(network: Network, market: Stranger) -> None:
    order = await committed(network, market, buyer_cap=3)
    claim = cleared(order, "0.15", "-3")
    reply = await tell(network, market, market.callback(market.last("confirm"), claim))
    assert reply.word == "ACK", reply.error


async def test_a_refused_claim_is_not_asked_about_but_may_be_corrected(
    network: Network, market: Stranger
) -> None:
    order = await committed(network, market)
    network.clock.move_to(BEHIND_GATE)
    wrong = cleared(order, "0.15", "-6")
    first = await tell(network, market, market.callback(market.last("confirm"), wrong))
    assert first.word == "NACK"
    again = await tell(network, market, news(network, market, wrong))
    assert (again.status, again.code) == (400, "BIZ_PRICE_MISMATCH")
    await network.run(90)
    assert "status" not in market.actions()
    right = await tell(network, market, news(network, market, cleared(order)))
    assert right.word == "ACK", right.error
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.error, trade.flags) == ("CONFIRMED", None, ("off_curve",))


async def test_a_market_that_cleared_without_the_curve_ends_the_trade(
    network: Network, market: Stranger
) -> None:
    order = copy.deepcopy(await committed(network, market))
    contract(order)["status"] = "TERMINATED"
    network.clock.move_to(BEHIND_GATE)
    reply = await tell(network, market, market.callback(market.last("confirm"), order))
    assert reply.word == "ACK", reply.error
    trade = await network.trade(Side.BAP)
    assert trade.state == "TERMINATED"
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_QUANTITY_UNAVAILABLE"


async def test_a_participant_that_was_dropped_learns_why_and_its_terms_lapse(
    network: Network, market: Stranger
) -> None:
    await committed(network, market)
    network.clock.move_to(BEHIND_GATE)
    error = {"code": "BIZ_PAYMENT_FAILED", "message": "no cash"}
    await tell(network, market, market.callback(market.last("confirm"), error=error))
    trade = await network.trade(Side.BAP)
    assert (trade.state, trade.error) == ("INITIATED", error)
    network.clock.move_to("2026-03-02T09:46:00Z")  # the hour of the on_init is over
    await network.run(2)
    assert (await network.trade(Side.BAP)).state == "TERMINATED"


# A commitment whose fate is unknown


async def unsure(network: Network, market: Stranger) -> Order:
    """Let the acknowledgement of a commitment get lost."""
    await found(network, market, market_offer())
    init = market.last("init")
    order = approved(init["message"]["order"])
    market.silent = True
    await tell(network, market, market.callback(init, order))
    await network.run(200)  # six attempts in 155 s
    market.silent = False
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN"
    return order


async def test_pending_before_the_gate_says_nothing_and_is_asked_again_behind_it(
    network: Network, market: Stranger
) -> None:
    order = await unsure(network, market)
    await network.run(40)
    assert market.last("status")["context"]["action"] == "status"
    await tell(network, market, market.callback(market.last("status"), order))
    assert (await network.trade(Side.BAP)).state == "CONFIRM_UNKNOWN"
    asked = market.actions().count("status")
    await network.run(300)
    assert market.actions().count("status") == asked
    network.clock.move_to("2026-03-02T08:46:01Z")
    await network.run(2)
    assert market.actions().count("status") == asked + 1
    answer = market.callback(market.last("status"), cleared(order))
    assert (await tell(network, market, answer)).word == "ACK"
    assert (await network.trade(Side.BAP)).state == "CONFIRMED"
    assert "confirm" not in market.actions()[3:]


async def test_an_answer_off_the_curve_is_the_last_that_is_asked_for(
    network: Network, market: Stranger
) -> None:
    order = await unsure(network, market)
    network.clock.move_to("2026-03-02T08:47:30Z")
    await network.run(40)
    answer = market.callback(market.last("status"), cleared(order, "0.15", "-6"))
    assert (await tell(network, market, answer)).code == "BIZ_PRICE_MISMATCH"
    asked = market.actions().count("status")
    await network.run(120)
    assert market.actions().count("status") == asked
    assert (await network.trade(Side.BAP)).flags == ("off_curve",)


async def test_pending_long_behind_the_gate_means_that_nothing_was_committed(
    network: Network, market: Stranger
) -> None:
    order = await unsure(network, market)
    network.clock.move_to("2026-03-02T08:47:30Z")
    await network.run(40)
    await tell(network, market, market.callback(market.last("status"), order))
    trade = await network.trade(Side.BAP)
    assert trade.state in ("INITIATED", "TERMINATED")


async def test_a_commitment_is_not_asked_about_after_the_delivery_window(
    network: Network, market: Stranger
) -> None:
    await unsure(network, market)
    network.clock.move_to(END)
    await network.run(31)
    asked = market.actions().count("status")
    await network.run(120)
    assert market.actions().count("status") == asked


async def test_a_commitment_cannot_be_cancelled(network: Network, market: Stranger) -> None:
    order = await committed(network, market)
    transaction = market.last("confirm")["context"]["transaction_id"]
    body = {
        "context": {"bpp_id": BPP, "transaction_id": transaction},
        "message": {"order": reference(order["beckn:id"])},
    }
    with pytest.raises(WireError) as refusal:
        await network.bap.originator.send(Action.CANCEL, body)
    assert refusal.value.code == "BIZ_INVALID_STATE_TRANSITION"


# An application that sends its own messages


async def test_an_application_may_send_init_and_confirm_itself(
    network: Network, market: Stranger
) -> None:
    context = {"bpp_id": BPP, "transaction_id": "T-own"}
    terms = market_contract()
    terms["roles"][1] = {
        "role": "PROSUMER",
        "filledBy": BAP,
        "filled": True,
        "roleInputs": {
            "sourceMeterId": BUYER_METER,
            "sourceType": "CONSUMER",
            "offerCurve": prosumer_plan()["offer_curve"],
        },
    }
    order: Order = {
        "@type": "beckn:Order",
        "beckn:id": "order-1",
        "beckn:offers": [{"beckn:id": OFFER}],
        "beckn:orderAttributes": terms,
    }
    body: dict[str, Any] = {"context": context, "message": {"order": order}}
    await network.bap.originator.send(Action.INIT, body)
    await network.deliver()
    answer = approved(order)
    await tell(network, market, market.callback(market.last("init"), answer))
    body["message"] = {"order": answer}
    sent = await network.bap.originator.send(Action.CONFIRM, body)
    assert sent.ttl_ms == 30_000  # so long its caller waits
    await network.deliver()
    trade = await network.trade(Side.BAP)
    assert trade.request is not None
    assert trade.request.deadline_ms == 1_772_441_160_000  # the gate and a minute
    claim = cleared(answer, "0.15", "-6")
    reply = await tell(network, market, market.callback(market.last("confirm"), claim))
    assert reply.code == "BIZ_PRICE_MISMATCH"
