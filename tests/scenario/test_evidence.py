"""The buyer's signed confirm as evidence: the host finds the key, the ledger judges."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from adapter.domain.errors import ContractError, WireError
from adapter.domain.participants import Participant
from adapter.domain.parties import Side
from adapter.protocol.signature import Signer
from adapter.service.evidence import with_signers_key
from adapter.settlement import Command, parse_command
from tests.fakes.network import BAP, BPP, HOSTS, Network, offer, open_network, plan, signers_of


@dataclass
class Unreachable:
    """A registry that cannot be asked."""

    asked: list[str] = field(default_factory=list)

    async def key(self, subscriber_id: str, key_id: str) -> Participant:
        self.asked.append(f"{subscriber_id}|{key_id}")
        code = "NET_DOWNSTREAM_UNAVAILABLE"
        raise WireError(code, "no registry")

    async def refreshed_key(self, subscriber_id: str, key_id: str) -> Participant | None:
        return await self.key(subscriber_id, key_id)

    async def records(self, subscriber_id: str) -> Sequence[Participant]:
        return [await self.key(subscriber_id, "")]


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    """Three nodes whose buyer allowed nothing: its confirm was refused, the proposal stands."""
    opened = await open_network(tmp_path, allowance="0")
    await opened.bpp.catalogue.publish(offer())
    await opened.bap.originator.start_trade(plan())
    await opened.deliver()
    error = (await opened.trade(Side.BAP)).error
    assert error is not None
    assert error["code"] == "BIZ_PAYMENT_FAILED"
    yield opened
    await opened.close()


def confirm_of(network: Network) -> bytes:
    """Return the confirm that the buyer's app sent to the seller's platform."""
    bodies = [
        body for url, body in network.wire.log if HOSTS[BPP] in url and url.endswith("/confirm")
    ]
    return bodies[-1]


def signed(network: Network, body: bytes, signer: Signer) -> dict[str, str]:
    now_s = network.clock.now_ms() // 1_000
    header = signer.header(body, created_s=now_s, expires_s=now_s + 300)
    return {"authorization": header, "body": body.decode()}


def command(evidence: Mapping[str, str], name: str = "accept-1") -> Command:
    args = {"agreement_no": 1, "evidence": dict(evidence)}
    return parse_command(name, "agreements", "accept_agreement", args)


async def accept(network: Network, made: Command) -> dict[str, Any]:
    assert network.grid.contracts is not None
    return await network.grid.contracts.call(made, actor=BPP, on_behalf_of="sun")


async def test_the_confirm_that_the_buyers_node_sent_binds_it(network: Network) -> None:
    evidence = signed(network, confirm_of(network), signers_of(HOSTS)[BAP])
    answer = await accept(network, command(evidence))
    assert [event["name"] for event in answer["events"]] == ["AgreementActivated"]
    # 10 x 0.15 + 10 x 0.025
    assert answer["events"][0]["held"] == "1.75"


async def test_a_signature_of_another_participant_does_not_bind(network: Network) -> None:
    for name in (BPP, "bap.other.example"):
        evidence = signed(network, confirm_of(network), signers_of(HOSTS)[name])
        with pytest.raises(ContractError) as caught:
            await accept(network, command(evidence))
        assert caught.value.code == "INSUFFICIENT_ALLOWANCE"
        assert "does not represent bob" in caught.value.details["evidence"]


async def test_a_forged_signature_and_an_unknown_key_do_not_bind(network: Network) -> None:
    forged = Signer(BAP, "k1", bytes([99] * 32))
    unknown = Signer(BAP, "k9", bytes([99] * 32))
    for signer, why in ((forged, "does not hold"), (unknown, "no usable key k9")):
        evidence = signed(network, confirm_of(network), signer)
        with pytest.raises(ContractError) as caught:
            await accept(network, command(evidence))
        assert why in caught.value.details["evidence"]


async def test_a_repeat_needs_no_registry_and_stays_the_same_command(network: Network) -> None:
    made = command(signed(network, confirm_of(network), signers_of(HOSTS)[BAP]))
    first = await accept(network, made)
    down = Unreachable()
    parts = replace(network.grid.parts, registry=down)
    complete = await with_signers_key(parts, made, BPP)
    key = base64.b64encode(signers_of(HOSTS)[BAP].public_key).decode()
    assert complete.args["evidence"]["public_key"] == key
    assert down.asked == []
    again = await accept(network, made)
    assert (again["replayed"], again["entry_hash"]) == (True, first["entry_hash"])


async def test_without_a_registry_a_new_command_can_be_tried_again(network: Network) -> None:
    made = command(signed(network, confirm_of(network), signers_of(HOSTS)[BAP]))
    parts = replace(network.grid.parts, registry=Unreachable())
    with pytest.raises(WireError) as caught:
        await with_signers_key(parts, made, BPP)
    assert caught.value.code == "NET_DOWNSTREAM_UNAVAILABLE"


async def test_a_key_in_the_callers_own_evidence_is_refused(network: Network) -> None:
    evidence = signed(network, confirm_of(network), signers_of(HOSTS)[BAP])
    with pytest.raises(ContractError) as caught:
        command({**evidence, "public_key": "AAAA"})
    assert caught.value.code == "INVALID_INPUT"


async def test_another_message_of_the_buyer_is_no_consent(network: Network) -> None:
    body = [b for url, b in network.wire.log if HOSTS[BPP] in url and url.endswith("/init")][-1]
    evidence = signed(network, body, signers_of(HOSTS)[BAP])
    with pytest.raises(ContractError) as caught:
        await accept(network, command(evidence))
    assert "context.action" in caught.value.details["evidence"]
