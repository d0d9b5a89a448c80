"""A message with several faults is refused by the earliest stage, whoever looked first."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from adapter.domain.participants import Participant
from tests.fakes.dump import dump
from tests.fakes.network import GRID, Network, open_network
from tests.fakes.orders import contract, init_order
from tests.fakes.stranger import Message, Stranger


def broken(message: Message) -> Message:
    """Return the message with a contract that its schema refuses."""
    changed = copy.deepcopy(message)
    contract(changed["message"]["order"])["roles"] = "none"
    return changed


async def test_state_is_judged_before_content(network: Network, buyer: Stranger) -> None:
    late = buyer.request("init", init_order(10), timestamp="2026-03-02T07:00:00Z")
    unknown = buyer.request("confirm", init_order(10))
    assert (await buyer.post(late)).code == "CTX_TTL_EXPIRED"
    assert (await buyer.post(broken(late))).code == "CTX_TTL_EXPIRED"
    assert (await buyer.post(unknown)).code == "CTX_TRANSACTION_ID_UNKNOWN"
    assert (await buyer.post(broken(unknown))).code == "CTX_TRANSACTION_ID_UNKNOWN"


async def test_another_body_under_a_known_id_is_a_duplicate_even_if_it_is_broken(
    network: Network, buyer: Stranger
) -> None:
    message = buyer.request("init", init_order(10))
    assert (await buyer.post(message)).word == "ACK"
    assert (await buyer.post(broken(message))).code == "CTX_MESSAGE_ID_DUPLICATE"


async def test_a_repeat_is_answered_as_before_though_it_would_be_refused_now(
    network: Network, buyer: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = buyer.request("init", init_order(10))
    first = await buyer.post(message)
    assert first.word == "ACK"

    registry = network.bpp.parts.registry
    listed = registry.records

    async def moved(subscriber_id: str) -> list[Participant]:
        found = await listed(subscriber_id)
        return [replace(one, url="http://127.0.0.1:1/bap/receiver") for one in found]

    before = dump(network)
    monkeypatch.setattr(registry, "records", moved)
    again = await buyer.post(message)
    other = await buyer.post(buyer.request("init", init_order(10), transaction_id="T-2"))
    assert (again.status, again.raw) == (first.status, first.raw)
    assert other.code == "CTX_INVALID_FIELD"  # its callback URL is not listed
    assert dump(network) == before


async def test_without_its_grid_operator_a_platform_takes_no_request_and_stores_nothing(
    network: Network, buyer: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = network.bpp.parts.registry
    listed = registry.records

    async def but_the_operator(subscriber_id: str) -> list[Participant]:
        found = await listed(subscriber_id)
        return [replace(one, revoked=subscriber_id == GRID) for one in found]

    monkeypatch.setattr(registry, "records", but_the_operator)
    before = dump(network)
    reply = await buyer.post(buyer.request("init", init_order(10)))
    assert (reply.status, reply.code) == (503, "NET_DOWNSTREAM_UNAVAILABLE")
    assert (await buyer.post(broken(buyer.request("init", init_order(10))))).status == 400
    assert dump(network) == before


@pytest.mark.parametrize("roles", ["none", ["x"], [{"role": "GRID_OPERATOR"}, "x"], [[]], 7])
async def test_roles_that_are_none_are_the_schemas_business(tmp_path: Path, roles: object) -> None:
    """A node of two roles looks for its side in the contract before the schema does."""
    network = await open_network(tmp_path, one_node=True)
    buyer = Stranger(network)
    message = buyer.request("init", init_order(10))
    contract(message["message"]["order"])["roles"] = roles
    reply = await buyer.post(message)
    assert reply.status == 400, reply.raw
    await network.close()
