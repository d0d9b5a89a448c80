"""A trade under a tariff between three nodes, from the offer to the settled delivery."""

import base64
import copy
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import ContractError, WireError
from adapter.domain.instants import EPOCH_MS, parse_instant
from adapter.domain.offers import Offer
from adapter.domain.parties import Side
from adapter.domain.trade import Trade, TradeState
from adapter.protocol.actions import Action
from adapter.protocol.explanation import contracts_in, explain
from adapter.protocol.handlers.shared import check_same_offer
from adapter.settlement import reading_bytes, verify
from adapter.store.ledger_memory import MemoryLedger
from tests.fakes.command_line import p2ptrade
from tests.fakes.network import (
    BAP,
    BPP,
    BUYER_METER,
    GRID,
    HOSTS,
    SELLER_METER,
    START,
    Network,
    offer,
    open_network,
    plan,
    signers_of,
)
from tests.fakes.orders import contract, init_order, inputs, reference
from tests.fakes.stranger import Message, Stranger
from tests.scenario.test_evidence import accept, command, confirm_of, signed
from tests.scenario.test_our_messages import bodies, findings

VAT = 10
TARIFF: dict[str, Any] = {
    "currency": "USD",
    "tariffId": "morning",
    "elements": [
        {
            "priceComponents": [{"type": "ENERGY", "price": Decimal("0.30"), "vat": VAT}],
            "restrictions": {"startTime": "07:00", "endTime": "09:45"},
        },
        {"priceComponents": [{"type": "ENERGY", "price": Decimal("0.12"), "vat": VAT}]},
    ],
}
"""Read in Berlin it is dear until 08:45Z, half of the trade window of the fakes."""
FLOW = (
    "computeTariffPrice(roles.SELLER.roleInputs.tariff, roles.BUYER.roleInputs.tradeStartTime, "
    "roles.BUYER.roleInputs.tradeEndTime, deliveredQuantity) × deliveredQuantity"
)
WHEELING = "deliveredQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges"


def tariff_offer(**changes: Any) -> Offer:
    base = {
        "price_micro_per_kwh": 0,
        "currency": "",
        "tariff": TARIFF,
        "time_zone": "Europe/Berlin",
    }
    return offer(**(base | changes))


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


async def buy(network: Network, published: Offer | None = None, **changes: Any) -> Trade:
    """Publish the offer and run discover to confirm."""
    await network.bpp.catalogue.publish(published or tariff_offer())
    transaction_id = await network.bap.originator.start_trade(plan(**changes))
    await network.deliver()
    return await network.bap.originator.wait_for_trade(transaction_id, 0)


async def deliver(network: Network, *kwh: str, first: int = 0) -> None:
    """Submit what both meters counted in each quarter hour, once it is over."""
    for index, amount in enumerate(kwh, first):
        start = parse_instant(START) + index * EPOCH_MS
        network.clock.advance_ms(max(0, start + EPOCH_MS + 60_000 - network.clock.now_ms()))
        for meter, made, used in ((SELLER_METER, amount, "0"), (BUYER_METER, "0", amount)):
            data: dict[str, Any] = {
                "meter_id": meter,
                "start": start,
                "end": start + EPOCH_MS,
                "generated": made,
                "consumed": used,
            }
            signature = network.meter_keys[meter].sign_bytes(reading_bytes(data))
            data["signature"] = base64.b64encode(signature).decode()
            await network.call("headend", "oracle", "submit_reading", meter_data=data)
    await network.tick()


async def balances(network: Network) -> tuple[str, str, str]:
    """Return the cash of buyer, seller and grid operator."""
    buyer, seller, operator = [await network.balance(who, "USD") for who in ("bob", "sun", GRID)]
    return buyer, seller, operator


async def available(network: Network) -> str:
    """Return the buyer's cash that is not held."""
    assert network.grid.contracts is not None
    args = {"user": "bob", "asset": "USD"}
    answer = await network.grid.contracts.read("token", "balance_of", args, actor="rec")
    return str(answer["result"]["available"])


def told(network: Network, action: str) -> Message:
    """Return the newest message of an action."""
    return next(b for b in reversed(bodies(network)) if b["context"]["action"] == action)


def explained(body: Message) -> dict[str, Any]:
    """Return what anyone reads out of a message, who knows nothing but the message."""
    (found,) = contracts_in(body)
    return explain(found.contract, delivered=found.delivered, metered=found.metered)


async def verdict(network: Network) -> bool:
    """Return whether the operator's ledger verifies from genesis."""
    assert network.grid.contracts is not None
    entries = await network.grid.contracts.journal(-1)
    return verify(entries, MemoryLedger()).ok


# From the offer to settled balances


async def test_an_uneven_delivery_is_settled_as_every_receiver_computes_it(
    network: Network,
) -> None:
    trade = await buy(network)
    assert trade.state is TradeState.CONFIRMED, trade.error
    await deliver(network, "3.5", "3.5", "2", "0.5")
    # 7 x 0.30 + 2.5 x 0.12 = 2.40; VAT 10 % = 0.24; wheeling 9.5 x 0.025 = 0.2375
    assert await balances(network) == ("17.1225", "2.64", "0.2375")
    assert await network.balance("bob", "GRID") == "9.5"
    pushed = told(network, "on_status")
    order = pushed["message"]["order"]
    assert order["beckn:orderAttributes"]["status"] == "COMPLETED"
    delivery = order["beckn:fulfillments"][0]["beckn:attributes"]
    assert delivery["deliveredQuantity"] == Decimal("9.5")
    (cycle,) = delivery["settlementCycles"]
    assert (cycle["status"], cycle["amount"]) == ("SETTLED", Decimal("2.8775"))
    assert cycle["breakdown"] == {
        "energyCost": Decimal("2.4"),
        "wheelingCharges": Decimal("0.2375"),
        "vat": Decimal("0.24"),
    }
    document = explained(pushed)
    assert [flow["amount"] for flow in document["flows"]] == ["2.40", "0.2375"]
    assert (document["tariff"]["total"], document["tariff"]["vat"]) == ("2.40", "0.24")
    assert document["tariff"]["assumed_profile"] is False
    sides = (Side.BAP, Side.BPP, Side.GRID_OPERATOR)
    for node, side in zip(network.nodes, sides, strict=True):
        found = (await node.queries.trade((await network.trade(side)).transaction_id)).to_wire()
        assert (found["status"], found["flows"][0]["amount"]) == ("COMPLETED", "2.40")
        assert found["tariff"]["vat"] == "0.24"
    assert findings(network) == []
    assert await verdict(network)


async def test_the_terms_name_the_zone_and_the_quote_is_for_even_power(network: Network) -> None:
    await buy(network, tariff_offer(time_zone=None), quantity_kwh="10")
    offered = told(network, "on_discover")["message"]["catalogs"][0]["beckn:offers"][0]
    assert "beckn:price" not in offered
    template = offered["beckn:offerAttributes"]["contract"]
    assert template["inputParameters"] == {"timeZone": "UTC"}  # of the seller's node
    assert template["roles"][0]["roleInputs"]["tariff"] == TARIFF
    assert [flow["formula"] for flow in template["revenueFlows"]["flows"]] == [FLOW, WHEELING]
    # 08:15Z to 09:15Z in UTC is dear throughout: 10 x 0.30 = 3.00, VAT 0.30, wheeling 0.25
    quote: Message = {}
    for action, total, count in (("on_select", "3.3", 2), ("on_init", "3.55", 3)):
        quote = next(
            body["message"]["order"]["beckn:quote"]
            for body in reversed(bodies(network))
            if body["context"]["action"] == action and body["context"]["bpp_id"] == BPP
        )
        assert quote["beckn:price"]["schema:price"] == Decimal(total)
        assert len(quote["beckn:breakup"]) == count
    titles = [line["beckn:title"] for line in quote["beckn:breakup"]]
    assert titles == ["Energy 10 kWh, time of use", "VAT 10 %", "Wheeling 10 kWh x 0.025"]
    assert findings(network) == []


async def test_all_nodes_read_the_tariff_in_the_zone_of_the_contract(tmp_path: Path) -> None:
    network = await open_network(tmp_path, rules={GRID: {"time_zone": "Asia/Tokyo"}})
    trade = await buy(network)
    assert trade.state is TradeState.CONFIRMED, trade.error
    await deliver(network, "2.5", "2.5", "2.5", "2.5")
    # 5 x 0.30 + 5 x 0.12 = 2.10; VAT 0.21
    assert await balances(network) == ("17.44", "2.31", "0.25")
    await network.close()


async def test_vat_within_the_prices_is_part_of_the_flow(network: Network) -> None:
    await buy(network, tariff_offer(vat_treatment="INCLUSIVE"))
    await deliver(network, "3.5", "3.5", "2", "0.5")
    assert await balances(network) == ("17.1225", "2.64", "0.2375")
    pushed = told(network, "on_status")
    delivery = pushed["message"]["order"]["beckn:fulfillments"][0]["beckn:attributes"]
    assert delivery["settlementCycles"][0]["breakdown"] == {
        "energyCost": Decimal("2.64"),
        "wheelingCharges": Decimal("0.2375"),
    }
    assert [flow["amount"] for flow in explained(pushed)["flows"]] == ["2.64", "0.2375"]
    assert findings(network) == []


async def test_cash_is_held_for_the_dearest_delivery_and_a_cancel_frees_it(
    network: Network,
) -> None:
    trade = await buy(network)
    assert await available(network) == "16.45"  # 20.00 - 10 x 0.30 x 1.1 - 0.25
    assert trade.order is not None
    order = reference(trade.order["beckn:id"])
    ids = {"transaction_id": trade.transaction_id, "bpp_id": BPP}
    body = {"context": ids, "message": {"order": order}}
    await network.bap.originator.send(Action.CANCEL, body)
    await network.deliver()
    assert (await network.trade(Side.BAP)).state is TradeState.TERMINATED
    assert await available(network) == "20.00"
    assert await balances(network) == ("20.00", "0.00", "0.00")
    assert findings(network) == []
    assert await verdict(network)


async def test_a_delivery_in_parts_adds_up_to_the_price_of_the_whole(network: Network) -> None:
    await buy(network)
    due = []
    for first, kwh in ((0, ("3.5", "3.5")), (2, ("2", "0.5"))):
        await deliver(network, *kwh, first=first)
        until = parse_instant(START) + (first + 2) * EPOCH_MS
        args = {"agreement_no": 1, "until": until}
        if first == 0:  # what is left is recorded by itself
            await network.call("headend", "agreements", "deliver_energy", **args)
        await network.tick()
        pushed = told(network, "on_status")["message"]["order"]
        cycles = pushed["beckn:fulfillments"][0]["beckn:attributes"]["settlementCycles"]
        due.append([cycle.get("amount") for cycle in cycles])
    # 7 x 0.30 = 2.10 + VAT 0.21 + 7 x 0.025; then 2.5 x 0.12 = 0.30 + 0.03 + 2.5 x 0.025
    assert due == [[Decimal("2.485"), None], [Decimal("2.485"), Decimal("0.3925")]]
    assert await balances(network) == ("17.1225", "2.64", "0.2375")
    # One payment stands for all cycles, and it is not made while one of them is open.
    assert {hit.code for _, hit in findings(network)} == {"P2P_CYCLE_PAYMENT"}
    assert await verdict(network)


async def test_explain_prints_what_was_settled(network: Network, tmp_path: Path) -> None:
    await buy(network)
    await deliver(network, "3.5", "3.5", "2", "0.5")
    file = tmp_path / "on_status.json"
    file.write_bytes(network.wire.log[-1][1])
    ran = p2ptrade("explain", str(file), "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["net"] == {"SELLER": "2.40", "BUYER": "-2.6375", "GRID_OPERATOR": "0.2375"}
    assert (document["tariff"]["total"], document["tariff"]["vat"]) == ("2.40", "0.24")
    assert p2ptrade("validate", str(file)).returncode == 0


async def test_the_confirm_that_the_buyer_signed_binds_it_under_a_tariff(tmp_path: Path) -> None:
    network = await open_network(tmp_path, allowance="0")
    trade = await buy(network)
    assert trade.error is not None
    assert trade.error["code"] == "BIZ_PAYMENT_FAILED"
    evidence = signed(network, confirm_of(network), signers_of(HOSTS)[BAP])
    other = json.loads(evidence["body"])
    parameters = other["message"]["order"]["beckn:orderAttributes"]["inputParameters"]
    for name, value in (("timeZone", "UTC"), ("vatTreatment", "INCLUSIVE")):
        kept = dict(parameters)
        parameters[name] = value
        forged = signed(network, json.dumps(other).encode(), signers_of(HOSTS)[BAP])
        with pytest.raises(ContractError) as caught:
            await accept(network, command(forged))
        assert name in caught.value.details["evidence"]
        parameters.clear()
        parameters.update(kept)
    answer = await accept(network, command(evidence))
    assert answer["events"][0]["held"] == "3.55"  # 10 x 0.30 x 1.1 + 0.25
    await network.close()


async def test_nothing_delivered_costs_nothing(network: Network) -> None:
    await buy(network)
    await deliver(network, "0", "0", "0", "0")
    assert await balances(network) == ("20.00", "0.00", "0.00")
    assert findings(network) == []


# Choice


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        # 5 x 0.30 + 5 x 0.12 = 2.10 for 10 kWh, with VAT 2.31
        pytest.param("0.231", True, id="0.231 per kWh with VAT"),
        pytest.param("0.230999", False, id="a millionth less"),
    ],
)
async def test_a_limit_is_compared_with_the_estimate(
    network: Network, limit: str, found: bool
) -> None:
    trade = await buy(network, max_price_per_kwh=limit)
    if found:
        assert trade.state is TradeState.CONFIRMED, trade.error
    else:
        assert trade.error is not None
        assert trade.error["code"] == "BIZ_OFFER_NOT_FOUND"


@pytest.mark.parametrize(("price", "chosen"), [("0.232", "offer-roof-7"), ("0.230", "offer-fixed")])
async def test_the_cheapest_offer_is_chosen_by_estimate(
    network: Network, price: str, chosen: str
) -> None:
    micro = int(Decimal(price) * 1_000_000)
    await network.bpp.catalogue.publish(offer(offer_id="offer-fixed", price_micro_per_kwh=micro))
    trade = await buy(network)
    assert trade.order is not None
    assert trade.order["beckn:offers"][0]["beckn:id"] == chosen


# What is refused


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        ({"elements": []}, "$.tariff.elements", "P2P_TARIFF_ELEMENTS"),
        ({"currency": "ZZZ"}, "$.tariff.currency", "P2P_CURRENCY"),
        (
            {"elements": [{"priceComponents": [{"type": "FLAT", "price": 1}]}]},
            "$.tariff.elements[0].priceComponents",
            "P2P_TARIFF_ENERGY",
        ),
        (
            {
                "elements": [
                    {
                        "priceComponents": [{"type": "ENERGY", "price": 1}],
                        "restrictions": {"minKWh": 5, "maxKWh": 5},
                    }
                ]
            },
            "$.tariff.elements[0].restrictions",
            "P2P_TARIFF_TIER",
        ),
        ({"elements": TARIFF["elements"][:1]}, "$.tariff", "P2P_TARIFF_GAP"),
    ],
)
async def test_a_broken_tariff_is_not_offered(
    network: Network, change: dict[str, Any], path: str, rule: str
) -> None:
    with pytest.raises(WireError) as caught:
        await network.bpp.catalogue.publish(tariff_offer(tariff=TARIFF | change))
    first = caught.value.findings[0]
    assert (first.path, first.rule) == (path, rule)
    assert await network.bpp.catalogue.offers() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"elements": [TARIFF["elements"][1]] * 101}, "101 elements"),
        ({"tariffId": "x" * 40_000}, "bytes"),
    ],
)
async def test_a_tariff_that_is_too_long_is_not_offered(
    network: Network, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(WireError) as caught:
        await network.bpp.catalogue.publish(tariff_offer(tariff=TARIFF | change))
    assert told in caught.value.message
    assert caught.value.findings[0].path == "$.tariff"


async def test_long_tariffs_take_the_place_of_several_offers_on_a_page(network: Network) -> None:
    long = TARIFF | {"elements": [TARIFF["elements"][1]] * 100}  # about 7 kB each
    for number in range(45):
        name = f"offer-{number:02}"
        await network.bpp.catalogue.publish(tariff_offer(offer_id=name, tariff=long))
    await network.bap.originator.start_trade(plan(offer_id="offer-44"))
    await network.deliver(200)
    pages = [b for b in bodies(network) if b["context"]["action"] == "on_discover"]
    assert [len(page["message"]["catalogs"][0]["beckn:offers"]) for page in pages] == [1]
    await network.bap.originator.start_trade(plan())
    await network.deliver(200)
    pages = [b for b in bodies(network) if b["context"]["action"] == "on_discover"][1:]
    counts = [len(page["message"]["catalogs"][0]["beckn:offers"]) for page in pages]
    assert sum(counts) == 45
    assert max(counts) <= 10
    assert max(len(raw) for _, raw in network.wire.log) <= 256 * 1_024


async def test_a_zone_that_nobody_knows_is_not_offered(network: Network) -> None:
    with pytest.raises(WireError) as caught:
        await network.bpp.catalogue.publish(tariff_offer(time_zone="Europe/Nowhere"))
    assert caught.value.findings[0].path == "$.time_zone"


def order_under(tariff: dict[str, Any] = TARIFF, **parameters: Any) -> Message:
    """Return the order of a hand-made init under a tariff."""
    order = init_order()
    seller = inputs(order, "SELLER")
    del seller["pricePerKWh"], seller["currency"]
    seller["tariff"] = tariff
    contract(order)["inputParameters"] = {"timeZone": "Europe/Berlin", **parameters}
    for flow, formula in zip(
        contract(order)["revenueFlows"]["flows"], (FLOW, WHEELING), strict=True
    ):
        flow["formula"] = formula
    return order


CHEAPER = copy.deepcopy(TARIFF)
CHEAPER["elements"][0]["priceComponents"][0]["price"] = Decimal("0.29")


@pytest.mark.parametrize(
    ("order", "code"),
    [
        pytest.param(order_under(CHEAPER), "BIZ_PRICE_MISMATCH", id="another price"),
        pytest.param(order_under(timeZone="UTC"), "BIZ_PRICE_MISMATCH", id="another zone"),
        pytest.param(order_under(vatTreatment="INCLUSIVE"), "BIZ_PRICE_MISMATCH", id="VAT"),
        pytest.param(
            order_under(settlementBasis="CONTRACTED"), "BIZ_UPDATE_INCONSISTENT", id="basis"
        ),
        pytest.param(init_order(), "BIZ_PRICE_MISMATCH", id="a fixed price"),
    ],
)
async def test_another_tariff_than_the_offered_one_is_refused(
    network: Network, order: Message, code: str
) -> None:
    await network.bpp.catalogue.publish(tariff_offer())
    reply = await Stranger(network).ask("init", copy.deepcopy(order))
    assert (reply.status, reply.code) == (400 if "PRICE" in code else 409, code), reply.raw


async def test_the_same_tariff_is_taken_whoever_spells_it(network: Network) -> None:
    await network.bpp.catalogue.publish(tariff_offer())
    buyer = Stranger(network)
    assert (await buyer.ask("init", order_under(vatTreatment="EXCLUSIVE"))).word == "ACK"
    assert "error" not in buyer.last("on_init")


async def test_the_operator_takes_no_other_formula_than_it_settles(network: Network) -> None:
    """Wheeling on the contracted quantity is a standard formula, but not what a shortfall costs."""
    platform = Stranger(network, BPP)
    order = order_under()
    del order["beckn:items"], order["beckn:offers"], order["beckn:payments"]
    contract(order)["roles"][1]["filledBy"] = "bap.x.example"
    contract(order)["roles"].append(
        {"role": "GRID_OPERATOR", "filledBy": None, "filled": False, "roleInputs": {}}
    )
    flow = contract(order)["revenueFlows"]["flows"][1]
    flow["formula"] = (
        "roles.BUYER.roleInputs.contractedQuantity × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
    )
    body = platform.request("init", order, to=GRID)
    assert (await platform.post(body, to=network.grid)).word == "ACK"
    await network.deliver()
    error = platform.last("on_init")["error"]
    assert error["details"]["cause"]["code"] == "FLOW_MISMATCH"
    flow["formula"] = WHEELING
    body = platform.request("init", order, to=GRID)
    assert (await platform.post(body, to=network.grid)).word == "ACK"
    await network.deliver()
    assert "error" not in platform.last("on_init"), platform.last("on_init")["error"]


@pytest.mark.parametrize("parameters", [{"timeZone": "UTC"}, {"vatTreatment": "INCLUSIVE"}])
def test_an_answer_that_reads_the_tariff_otherwise_is_not_taken(parameters: Message) -> None:
    with pytest.raises(WireError) as caught:
        check_same_offer(order_under(**parameters), order_under(), ("SELLER",))
    assert caught.value.code == "BIZ_UPDATE_INCONSISTENT"
    check_same_offer(order_under(), order_under(), ("SELLER",))
