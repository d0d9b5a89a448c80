"""Whatever our nodes send keeps the schema and the rules, and fits what it answers."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.findings import Finding, Severity
from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.service.ports import UnitOfWork
from adapter.store.documents import load_bundle
from tests.fakes.network import BAP, BPP, GRID, HOSTS, Network, offer, open_network, plan
from tests.fakes.orders import init_order, reference
from tests.fakes.readings import submit_readings
from tests.fakes.stranger import Message, Stranger, nack
from tests.scenario.steps import confirmed, initiated

SCHEMAS = Schemas(load_bundle())


def findings(network: Network) -> list[tuple[str, Finding]]:
    """Return what schema and rules find in all that was sent; beside an error no rule is asked."""
    found: list[tuple[str, Finding]] = []
    for _, raw in network.wire.log:
        body = strict_json.decode_object(raw)
        action = body["context"]["action"]
        hits = list(SCHEMAS.check(action, {k: v for k, v in body.items() if k != "error"}))
        if "error" in body and "message" not in body:
            hits = []
        if "error" not in body:
            hits += check_message(action, body)
        found += [(action, hit) for hit in hits if hit.severity is not Severity.INFO]
    return found


def bodies(network: Network) -> list[Message]:
    return [strict_json.decode_object(raw) for _, raw in network.wire.log]


async def whole_trade(network: Network) -> None:
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    network.clock.move_to("2026-03-02T08:31:00Z")
    await submit_readings(network, count=1)
    await network.tick()
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network, first=1, count=3)
    await network.tick()


async def test_no_message_of_a_whole_trade_has_a_finding(network: Network) -> None:
    await whole_trade(network)
    assert {body["context"]["action"] for body in bodies(network)} >= {"on_discover", "on_status"}
    assert findings(network) == []


async def test_no_message_of_a_short_delivery_has_a_finding(network: Network) -> None:
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    network.clock.move_to("2026-03-02T09:20:00Z")
    await submit_readings(network, generated="1.234567")
    await network.tick()
    assert findings(network) == []


async def test_no_message_of_a_cancelled_trade_has_a_finding(network: Network) -> None:
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert trade.order is not None
    order = reference(trade.order["beckn:id"])
    for action in (Action.STATUS, Action.CANCEL, Action.STATUS):
        context = {"transaction_id": transaction_id}
        await network.bap.originator.send(action, {"context": context, "message": {"order": order}})
        await network.deliver()
    assert findings(network) == []


async def test_no_message_of_an_undelivered_trade_has_a_finding(network: Network) -> None:
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    network.clock.move_to("2026-03-05T09:20:00Z")
    await network.tick()
    pushed = bodies(network)[-1]
    assert pushed["context"]["action"] == "on_status"
    assert pushed["message"]["order"]["beckn:orderAttributes"]["status"] == "TERMINATED"
    assert findings(network) == []


@pytest.mark.parametrize("changes", [{"buyer_cap": "5"}, {"cash": "1"}], ids=["cap", "cash"])
async def test_no_message_of_a_refused_trade_has_a_finding(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    network = await open_network(tmp_path, **changes)
    await network.bpp.catalogue.publish(offer())
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    assert any("error" in body for body in bodies(network))
    assert findings(network) == []
    await network.close()


async def test_no_message_of_an_unanswered_confirm_has_a_finding(network: Network) -> None:
    network.wire.lost = lambda url, _: url.endswith("9102/bap/receiver/on_confirm")
    await network.bap.originator.start_trade(plan())
    await network.deliver()
    await network.run(70)
    assert findings(network) == []


async def test_a_callback_copies_the_context_of_its_request(network: Network) -> None:
    await whole_trade(network)
    requests = {
        (body["context"]["message_id"], f"on_{body['context']['action']}"): body["context"]
        for body in bodies(network)
        if not body["context"]["action"].startswith("on_")
    }
    answers = 0
    for body in bodies(network):
        context = body["context"]
        asked = requests.get((context["message_id"], context["action"]))
        if asked is not None:
            answers += 1
            changed = {name for name in asked if asked[name] != context[name]}
            assert changed <= {"action", "timestamp", "ttl"}
    assert answers == len(requests)


async def test_every_request_and_every_push_has_an_id_of_its_own(network: Network) -> None:
    await whole_trade(network)
    kinds = [
        (body["context"]["message_id"], body["context"]["action"], url)
        for (url, _), body in zip(network.wire.log, bodies(network), strict=True)
    ]
    assert len(set(kinds)) == len(kinds)


async def test_what_was_agreed_stays_as_it_is_to_the_end(network: Network) -> None:
    await whole_trade(network)
    contracts = [
        body["message"]["order"]["beckn:orderAttributes"]
        for body in bodies(network)
        if "order" in body.get("message", {})
        and "beckn:orderAttributes" in body["message"]["order"]
    ]
    assert len({one["createdAt"] for one in contracts}) == 1
    assert len({one["contractId"] for one in contracts}) == 1
    terms = [
        entry
        for one in contracts
        for entry in one["roles"]
        if entry["role"] == "GRID_OPERATOR" and entry["filled"]
    ]
    assert len(terms) > 4
    assert all(entry == terms[0] for entry in terms)


@pytest.mark.parametrize(
    ("action", "life"),
    [
        ("discover", "PT30S"),
        ("select", "PT30S"),
        ("init", "PT30S"),
        ("confirm", "PT30S"),
        ("on_confirm", "PT60M"),
        ("on_status", "PT60M"),
    ],
)
async def test_each_message_lives_as_long_as_its_kind(
    network: Network, action: str, life: str
) -> None:
    await whole_trade(network)
    from_buyer_or_to_it = [
        body["context"]["ttl"]
        for body in bodies(network)
        if body["context"]["action"] == action and body["context"]["bap_id"] == BAP
    ]
    assert set(from_buyer_or_to_it) == {life}


# Errors


def depth(error: Message) -> int:
    """Return how many causes hang below an error."""
    cause = error.get("details", {}).get("cause")
    return 0 if cause is None else 1 + depth(cause)


async def test_an_error_callback_carries_its_error_at_top_level(
    network: Network, buyer: Stranger
) -> None:
    Stranger(network, GRID, refusal=lambda action, body: (400, nack("POL_SANCTIONED_PARTY")))
    await buyer.ask("init", init_order(10))
    on_init = buyer.last("on_init")
    assert set(on_init) == {"context", "error"}  # there is no order yet
    assert on_init["context"]["action"] == "on_init"
    assert set(on_init["error"]) == {"code", "message", "details"}


async def test_an_error_callback_brings_the_last_known_order(
    network: Network, buyer: Stranger
) -> None:
    terms = await initiated(buyer)
    Stranger(network, GRID, refusal=lambda action, body: (400, nack("POL_SANCTIONED_PARTY")))
    await buyer.ask("confirm", terms)
    on_confirm = buyer.last("on_confirm")
    assert on_confirm["message"]["order"] == terms


async def test_causes_of_a_peer_are_cut_below_the_third(network: Network, buyer: Stranger) -> None:
    error: Message = {"code": "X0", "message": "m"}
    for number in range(1, 9):
        error = {"code": f"X{number}", "message": "m", "details": {"cause": error}}
    refusal = {"message": {"status": "NACK", "error": error}}
    Stranger(network, GRID, refusal=lambda action, body: (400, refusal))
    await buyer.ask("init", init_order(10))
    assert depth(buyer.last("on_init")["error"]) == 3


async def test_a_refusal_lists_every_finding_in_document_order(
    network: Network, buyer: Stranger
) -> None:
    order = init_order(10)
    del order["beckn:items"][0]["beckn:id"]
    order["beckn:orderAttributes"]["roles"][0]["filled"] = "yes"
    order["beckn:orderAttributes"]["createdAt"] = "yesterday"
    reply = await buyer.ask("init", order)
    assert reply.status == 400
    listed = reply.error["details"]["errors"]
    assert len(listed) >= 2
    assert reply.error["code"] == listed[0]["code"]
    assert reply.error["details"]["path"] == listed[0]["path"]


async def test_a_refusal_names_no_file_and_no_trace(network: Network, buyer: Stranger) -> None:
    order = init_order(10)
    del order["beckn:orderAttributes"]["roles"]
    reply = await buyer.ask("init", order)
    for word in (b"Traceback", b".py", b"adapter"):
        assert word not in reply.raw


# Discover


async def discover(network: Network, buyer: Stranger, message: Message) -> list[str]:
    """Return the ids of the offers that a discover finds."""
    body = buyer.request("discover") | {"message": message}
    reply = await buyer.post(body)
    assert reply.word == "ACK", reply.error
    await network.deliver()
    pages = [m["message"]["catalogs"] for m in buyer.got if m["context"]["action"] == "on_discover"]
    return [
        found["beckn:id"]
        for catalogue in itertools.chain.from_iterable(pages)
        for found in catalogue["beckn:offers"]
    ]


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"text_search": "solar"}, ["offer-roof-7"]),
        ({"text_search": "SOLAR roof"}, ["offer-roof-7"]),
        ({"text_search": "wind"}, []),
        ({"intent": {}}, ["offer-roof-7"]),
        ({"text_search": "offer-roof-7"}, ["offer-roof-7"]),
    ],
)
async def test_discover_by_words(
    network: Network, buyer: Stranger, message: Message, found: list[str]
) -> None:
    assert await discover(network, buyer, message) == found


def by(expression: str) -> Message:
    return {"filters": {"type": "jsonpath", "expression": expression}}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("$[?(@.itemAttributes.availableQuantity >= 30)]", 1),
        ("@.itemAttributes.availableQuantity > 30", 0),
        ("@.beckn:itemAttributes.sourceType == 'SOLAR'", 1),
        ("@.itemAttributes.productionWindow.start <= '2026-03-02T09:00:00+01:00'", 1),
        ("@.price.price < 0.16 && @.price.priceCurrency == 'USD'", 1),
        ("@.offerAttributes.providerId == 'bpp.else.example'", 0),
        ("@.nothing == 1 || (@.id == 'offer-roof-7')", 1),
        ("@.itemAttributes.availableQuantity == true", 0),
        ("@.itemAttributes.productionWindow.start <= '0001-01-01T00:00:00+23:59'", 0),
    ],
)
async def test_discover_by_filter(
    network: Network, buyer: Stranger, expression: str, found: int
) -> None:
    assert len(await discover(network, buyer, by(expression))) == found


@pytest.mark.parametrize(
    "expression", ["", "@.a = 1", "$..x", "@.a ==", "(@.a == 1", "@.a == " * 400]
)
async def test_a_filter_that_cannot_be_read_is_refused(
    network: Network, buyer: Stranger, expression: str
) -> None:
    reply = await buyer.post(buyer.request("discover") | {"message": by(expression)})
    assert reply.status == 400
    assert reply.code in ("SCH_INVALID_JSONPATH", "SCH_SCHEMA_VALIDATION_FAILED")


async def test_discover_needs_no_bpp_in_its_context(network: Network, buyer: Stranger) -> None:
    body = buyer.request("discover") | {"message": {"text_search": "solar"}}
    del body["context"]["bpp_id"], body["context"]["bpp_uri"]
    assert (await buyer.post(body)).word == "ACK"
    await network.deliver()
    context = buyer.last("on_discover")["context"]
    assert context["bpp_id"] == BPP
    assert context["bpp_uri"] == f"http://{HOSTS[BPP]}/bpp/receiver"


async def test_an_offer_that_is_sold_out_or_over_is_not_listed(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer, 30)
    assert await discover(network, buyer, {"text_search": "solar"}) == []


async def test_a_large_catalogue_comes_in_pages_that_a_node_accepts(
    network: Network, buyer: Stranger
) -> None:
    for number in range(250):
        await network.bpp.catalogue.publish(offer(offer_id=f"offer-{number:03}"))
    found = await discover(network, buyer, {"text_search": "solar"})
    assert len(set(found)) == len(found) == 251
    sizes = [len(raw) for _, raw in network.wire.log]
    assert max(sizes) <= 256 * 1024
    assert len({m["context"]["message_id"] for m in buyer.got}) == 1


async def test_a_planned_trade_finds_its_offer_in_a_large_catalogue(network: Network) -> None:
    for number in range(120):
        await network.bpp.catalogue.publish(offer(offer_id=f"offer-{number:03}"))
    cheap: Any = {"offer_id": "offer-zz", "price_micro_per_kwh": 100_000}
    await network.bpp.catalogue.publish(offer(**cheap))
    transaction_id = await network.bap.originator.start_trade(plan(offer_id="offer-zz"))
    await network.deliver()
    trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
    assert trade.state == "CONFIRMED", trade.error
    assert trade.contract_id == "contract-offer-zz"


@pytest.mark.parametrize("form", ["plain", "bound", "bound_header"])
async def test_an_answer_keeps_the_header_of_its_request_whatever_the_rule_is_now(
    tmp_path: Path, form: str
) -> None:
    """The select is answered at once, the init when the grid operator has answered."""
    network = await open_network(tmp_path, rules={BPP: {"callback_signature": form}})
    await network.bpp.catalogue.publish(offer())
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.deliver()

    def headers(uow: UnitOfWork) -> dict[str, tuple[str | None, str | None]]:
        found = {}
        for sent in uow.messages([transaction_id]):
            row = uow.find_outbox(sent.message_id, sent.action)
            request = Action(sent.action).request
            if row is not None and request is not None:
                asked = uow.inbox_row(BAP, sent.message_id, request.value, "")
                given = None if asked is None else asked.authorization
                found[sent.action] = row.request_authorization, given
        return found

    kept = await network.bpp.parts.store.read(headers)
    assert {"on_select", "on_init", "on_confirm"} <= kept.keys()
    assert all(given is not None for _, given in kept.values())
    assert all(bound == given for bound, given in kept.values())
    await network.close()
