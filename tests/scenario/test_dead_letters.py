"""Callbacks that could not be delivered are kept and can be sent again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from tests.fakes.network import Network, offer, open_network, plan


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    opened = await open_network(tmp_path)
    yield opened
    await opened.close()


async def run_out_of_attempts(network: Network) -> None:
    """Let the seller's platform try its on_discover until it gives up."""
    for _ in range(20):
        await network.bpp.outbound.drain_due()
        network.clock.advance(600)


async def give_up_on_discover(network: Network) -> str:
    await network.bpp.catalogue.publish(offer(production_end_ms=2_000_000_000_000))
    network.wire.lost = lambda url, body: url.endswith("/on_discover")
    transaction_id = await network.bap.originator.start_trade(plan())
    await network.bap.outbound.drain_due()
    await run_out_of_attempts(network)
    return transaction_id


async def test_a_callback_without_a_receiver_becomes_a_dead_letter(network: Network) -> None:
    transaction_id = await give_up_on_discover(network)
    listed = await network.bpp.dead_letters.listed(10)
    assert [(one["action"], one["transaction_id"], one["attempts"]) for one in listed] == [
        ("on_discover", transaction_id, 16)
    ]


async def test_a_dead_letter_is_sent_again_on_command(network: Network) -> None:
    await give_up_on_discover(network)
    network.wire.lost = lambda url, body: False
    (letter,) = await network.bpp.dead_letters.listed(10)
    await network.bpp.dead_letters.send_again(letter["id"])
    await network.bpp.outbound.drain_due()
    assert await network.bpp.dead_letters.listed(10) == []
    assert [url.rsplit("/", 1)[1] for url, _ in network.wire.log] == ["discover", "on_discover"]


async def test_a_dead_callback_is_queued_again_when_its_request_is_repeated(
    network: Network,
) -> None:
    await give_up_on_discover(network)
    network.wire.lost = lambda url, body: False
    url, body = network.wire.log[0]
    row = {"authorization": network.bap.parts.signer.header(body)}
    answer = await network.wire.post(url, body, row)
    assert answer.status == 200
    await network.bpp.outbound.drain_due()
    assert await network.bpp.dead_letters.listed(10) == []
    assert network.wire.log[-1][0].endswith("/on_discover")


async def test_what_is_no_dead_letter_cannot_be_sent_again(network: Network) -> None:
    with pytest.raises(WireError) as refused:
        await network.bpp.dead_letters.send_again(77)
    assert refused.value.code == "BIZ_ORDER_NOT_FOUND"
