"""A message that comes again has its one effect and gets its one answer."""

import asyncio
import copy
from pathlib import Path

import pytest

from adapter.domain.parties import Side
from adapter.protocol import strict_json
from tests.fakes.dump import dump, stored_messages
from tests.fakes.network import BPP, GRID, OTHER, Network, offer, open_network
from tests.fakes.orders import init_order, reference, select_order
from tests.fakes.stranger import Stranger
from tests.scenario.steps import confirmed, initiated


async def test_the_same_bytes_twice_get_the_same_answer_and_have_one_effect(
    network: Network, buyer: Stranger
) -> None:
    message = buyer.request("init", init_order(10))
    first = await buyer.post(message)
    await network.deliver()
    before = dump(network)
    second = await buyer.post(message)
    await network.deliver()
    assert (second.status, second.raw) == (first.status, first.raw)
    assert dump(network) == before
    assert buyer.actions() == ["on_init"]


async def test_50_copies_at_once_get_one_answer_and_have_one_effect(
    network: Network, buyer: Stranger
) -> None:
    message = buyer.request("init", init_order(10))
    replies = await asyncio.gather(*(buyer.post(message) for _ in range(50)))
    await network.deliver()
    assert {(reply.status, reply.raw) for reply in replies} == {(200, replies[0].raw)}
    assert buyer.actions() == ["on_init"]
    assert stored_messages(network, BPP) == 2  # the init and the operator's on_init
    assert await network.stock() == "20"


async def test_a_repeat_is_signed_anew(network: Network, buyer: Stranger) -> None:
    message = buyer.request("select", select_order(10))
    first = await buyer.post(message)
    network.clock.advance(1)
    second = await buyer.post(message)
    assert second.raw == first.raw
    assert second.headers["signature"] != first.headers["signature"]


async def test_a_repeat_after_the_messages_life_gets_the_stored_answer(
    network: Network, buyer: Stranger
) -> None:
    message = buyer.request("select", select_order(10))
    first = await buyer.post(message)
    network.clock.advance(31)
    second = await buyer.post(message)
    assert (second.status, second.raw) == (200, first.raw)


async def test_a_repeat_after_a_restart_gets_the_stored_answer(
    network: Network, buyer: Stranger
) -> None:
    message = buyer.request("init", init_order(10))
    first = await buyer.post(message)
    await network.restart_bpp()
    second = await buyer.post(message)
    await network.deliver()
    assert (second.status, second.raw) == (200, first.raw)
    assert buyer.actions() == ["on_init"]


async def test_the_same_id_with_another_body_is_refused_and_the_first_stays(
    network: Network, buyer: Stranger
) -> None:
    message = buyer.request("init", init_order(10))
    first = await buyer.post(message)
    other = copy.deepcopy(message)
    other["message"]["order"] = init_order(11)
    before = dump(network)
    reply = await buyer.post(other)
    assert (reply.status, reply.code) == (400, "CTX_MESSAGE_ID_DUPLICATE")
    assert dump(network) == before
    assert (await buyer.post(message)).raw == first.raw


async def test_the_same_id_for_another_action_is_another_message(
    network: Network, buyer: Stranger
) -> None:
    for action, order in (("select", select_order(10)), ("init", init_order(10))):
        reply = await buyer.post(buyer.request(action, order, message_id="M-1"))
        assert reply.word == "ACK"


async def test_the_same_id_of_another_sender_is_another_message(
    network: Network, buyer: Stranger
) -> None:
    await buyer.ask("select", select_order(10), message_id="M-1", transaction_id="T-1")
    second = Stranger(network, "bap.buyer.example")
    reply = await second.ask("select", select_order(10), message_id="M-1", transaction_id="T-2")
    assert reply.word == "ACK"
    assert second.actions() == ["on_select"]


async def test_a_business_refusal_is_stored_and_repeated(network: Network, buyer: Stranger) -> None:
    message = buyer.request("select", select_order(31))
    first = await buyer.post(message)
    assert first.code == "BIZ_QUANTITY_UNAVAILABLE"
    await network.bpp.catalogue.publish(offer(offer_id="more"))
    network.clock.advance(60)
    second = await buyer.post(message)
    assert (second.status, second.raw) == (first.status, first.raw)


async def test_a_schema_refusal_is_not_stored(network: Network, buyer: Stranger) -> None:
    order = select_order(10)
    order["beckn:surprise"] = 1
    order["beckn:orderAttributes"]["surprise"] = 1
    reply = await buyer.post(buyer.request("select", order))
    assert reply.code == "SCH_FIELD_NOT_ALLOWED"
    assert stored_messages(network, BPP) == 0


async def test_a_corrected_request_under_a_new_id_is_taken(
    network: Network, buyer: Stranger
) -> None:
    assert (await buyer.ask("select", select_order(31))).word == "NACK"
    assert (await buyer.ask("select", select_order(30))).word == "ACK"


async def test_the_same_bytes_twice_are_refused_where_replay_is_forbidden(
    tmp_path: Path,
) -> None:
    network = await open_network(tmp_path, rules={BPP: {"replay": "reject"}})
    await network.bpp.catalogue.publish(offer())
    buyer = Stranger(network)
    message = buyer.request("select", select_order(10))
    raw = strict_json.encode(message)
    headers = buyer.headers(raw)
    first = await network.bpp.inbound.receive("bpp", "select", headers, raw)
    before = dump(network)
    second = await network.bpp.inbound.receive("bpp", "select", headers, raw)
    assert (first.status, second.status) == (200, 401)
    assert b"AUT_REPLAY_DETECTED" in second.body
    assert dump(network) == before
    respelled = [(name, value.replace(b'",', b'", ')) for name, value in headers]
    third = await network.bpp.inbound.receive("bpp", "select", respelled, raw)
    assert (third.status, dump(network)) == (401, before)
    network.clock.advance(1)  # signed anew it is a retry, not a replay
    assert (await buyer.post(message)).raw == first.body
    await network.close()


async def test_a_confirm_under_a_new_id_does_not_confirm_twice(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    held = dump(network, "ledger_accounts")
    reply = await buyer.ask("confirm", buyer.last("on_init")["message"]["order"])
    assert reply.code == "BIZ_ALREADY_CONFIRMED"
    assert dump(network, "ledger_accounts") == held


@pytest.mark.parametrize("action", ["init", "confirm"])
async def test_a_child_request_whose_ack_was_lost_has_one_effect(
    network: Network, buyer: Stranger, action: str
) -> None:
    if action == "confirm":
        await initiated(buyer)
    network.wire.unanswered = lambda url, _: url.endswith(f"9103/bpp/receiver/{action}")
    order = init_order(10) if action == "init" else buyer.last("on_init")["message"]["order"]
    await buyer.ask(action, order)
    await network.run(25)
    assert "error" not in buyer.last(f"on_{action}")
    assert await network.stock() == "20"


async def test_a_callback_whose_ack_was_lost_has_one_effect(
    network: Network, buyer: Stranger
) -> None:
    network.wire.unanswered = lambda url, _: url.endswith("9102/bap/receiver/on_init")
    await buyer.ask("init", init_order(10))
    await network.run(25)
    assert buyer.actions() == ["on_init"]


async def test_a_status_is_answered_each_time_it_is_asked(
    network: Network, buyer: Stranger
) -> None:
    await initiated(buyer)
    for _ in range(3):
        await buyer.ask("status", reference())
    assert buyer.actions() == ["on_init", *["on_status"] * 3]


async def test_stored_answers_live_as_long_as_their_trade(
    network: Network, buyer: Stranger
) -> None:
    await confirmed(buyer)
    grid = (await network.trade(Side.GRID_OPERATOR)).peer.subscriber_id
    assert grid == BPP
    assert (await network.trade(Side.BPP)).peer.subscriber_id == OTHER
    network.clock.advance(8 * 86_400)
    for node in network.nodes:
        await node.timers._prune()
    # the init and the confirm of the buyer, their two answers of the operator
    assert stored_messages(network, BPP) == 4
    assert stored_messages(network, GRID) == 2
