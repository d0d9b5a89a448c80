"""A callback proves that its request arrived, whatever became of the acknowledgement."""

from pathlib import Path

from adapter.service.records import OutboxState
from tests.fakes.network import offer, open_network, plan


async def test_a_request_whose_callback_came_is_not_sent_again(tmp_path: Path) -> None:
    network = await open_network(tmp_path)
    network.wire.unanswered = lambda url, body: url.endswith(":9102/bpp/receiver/confirm")
    try:
        await network.bpp.catalogue.publish(offer())
        transaction_id = await network.bap.originator.start_trade(plan())
        await network.deliver()
        trade = await network.bap.originator.wait_for_trade(transaction_id, 0)
        assert trade.state == "CONFIRMED"
        logged = await network.bap.queries.messages(transaction_id)
        confirm = next(one for one in logged if one["action"] == "confirm")
        assert confirm["state"] == OutboxState.SENT
        network.clock.advance(60)
        await network.tick()
        arrived = [url for url, _ in network.wire.log if url.endswith(":9102/bpp/receiver/confirm")]
        assert len(arrived) == 1
    finally:
        await network.close()
