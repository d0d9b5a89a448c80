"""A network's policy refuses a trade at the receiver and keeps our own from leaving."""

from pathlib import Path

import pytest

from adapter.domain.errors import WireError
from adapter.protocol.actions import Action
from tests.fakes.network import BAP, BPP, offer, open_network
from tests.fakes.orders import init_order
from tests.fakes.stranger import Stranger

INR_ONLY = {"policy": {"currencies": ["INR"]}}


async def test_the_receiver_refuses_what_the_policy_does_not_allow(tmp_path: Path) -> None:
    network = await open_network(tmp_path, rules={BPP: INR_ONLY})
    try:
        await network.bpp.catalogue.publish(offer())
        stranger = Stranger(network)
        reply = await stranger.post(stranger.request("init", init_order()))
        assert (reply.status, reply.code) == (400, "POL_ELIGIBILITY_NOT_MET")
        assert reply.error["details"]["cause"]["code"] == "CURRENCY"
        assert reply.error["message"] == "policy CURRENCY: USD is not INR"
    finally:
        await network.close()


async def test_the_sender_does_not_send_it_either(tmp_path: Path) -> None:
    network = await open_network(tmp_path, rules={BAP: INR_ONLY})
    try:
        stranger = Stranger(network)
        body = stranger.request("init", init_order(by=BAP))
        body["context"] |= {
            "bap_id": BAP,
            "bap_uri": f"{network.bap.parts.me.base_url}/bap/receiver",
        }
        with pytest.raises(WireError) as refused:
            await network.bap.originator.send(Action.INIT, body)
        assert refused.value.code == "POL_ELIGIBILITY_NOT_MET"
    finally:
        await network.close()
