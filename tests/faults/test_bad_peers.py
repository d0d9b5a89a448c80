"""Peers that are slow, dead, reset, close by half or answer rubbish, over real connections."""

import asyncio
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from adapter.domain.parties import Side
from adapter.domain.trade import TradeState
from adapter.service.hosts import HOST_LIMIT, OPEN_AFTER, PAUSE_MS
from tests.fakes.network import BAP, BPP, GRID, OTHER
from tests.fakes.proxy import ARRIVES, Fault, Request
from tests.fakes.stranger import Stranger
from tests.faults.loopback import Loopback, open_loopback

RETRIED = (
    *(Fault.RESET, Fault.HALF_CLOSE, Fault.RUBBISH, Fault.ERROR),
    *(Fault.LOST_ANSWER, Fault.TRUNCATED),
)
"""Faults after which a message is sent again."""
HARMLESS = (Fault.DRIP, Fault.LATE, Fault.TWICE, Fault.NONE)
LONG = os.environ.get("P2PTRADE_FAULTS") == "long"
"""Each fault has trades of its own; without it they come in turn."""
MIXES: dict[str, Sequence[Fault]] = {
    "what is sent again": RETRIED,
    "the same, begun elsewhere": (*RETRIED[3:], *RETRIED[:3]),
    "what does no harm": HARMLESS,
}
ALONE: dict[str, Sequence[Fault]] = {fault.value: (fault,) for fault in (*RETRIED, *HARMLESS)}
MANY = 12


def in_turn(faults: Sequence[Fault]) -> Callable[[Request], Fault]:
    """Hit the first attempt of each message with the next fault, and no other attempt."""
    following = itertools.cycle(faults)
    seen: set[bytes] = set()

    def choose(request: Request) -> Fault:
        is_first = request.body not in seen
        seen.add(request.body)
        return next(following) if is_first else Fault.NONE

    return choose


async def check_done_once(loopback: Loopback) -> None:
    """Check the one final state: that of the run in which nothing goes wrong."""
    network = loopback.network
    assert await loopback.states() == ["COMPLETED"] * 3
    # 20.00 - 10 x 0.15 - 10 x 0.025 = 18.25
    assert await network.balance("bob", "USD") == "18.25"
    assert await network.balance("bob", "GRID") == "10"
    assert await network.balance("sun", "USD") == "1.50"
    assert await network.stock() == "20"


async def attempts(loopback: Loopback, name: str, transaction_id: str) -> list[tuple[str, int]]:
    """Return what a node says about its own messages: state and attempts."""
    listed = await loopback.messages(name, transaction_id)
    return [(one["state"], one["attempts"]) for one in listed if one["direction"] == "out"]


@pytest.mark.parametrize(
    "faults", [pytest.param(faults, id=name) for name, faults in (ALONE if LONG else MIXES).items()]
)
async def test_a_trade_comes_through_although_each_message_meets(
    faults: Sequence[Fault], tmp_path: Path
) -> None:
    async with open_loopback(tmp_path) as loopback:
        choose = in_turn(faults)
        for name in (BAP, BPP, GRID):
            loopback.proxies[name].choose = choose
        transaction_id = await loopback.trade()
        await loopback.run(100)
        assert await loopback.states() == ["CONFIRMED"] * 3
        await loopback.deliver_energy()
        await check_done_once(loopback)
        met = {fault for proxy in loopback.proxies.values() for _, fault in proxy.seen}
        assert met >= set(faults)
        said = await attempts(loopback, BAP, transaction_id)
        assert {state for state, _ in said} == {"SENT"}
        if not set(faults) & set(RETRIED):
            assert {count for _, count in said} == {1}
        elif not set(faults) & ARRIVES:  # otherwise a callback may come before the second attempt
            assert {count for _, count in said} == {2}


async def ask(loopback: Loopback, count: int) -> list[str]:
    """Let OTHER ask the seller's platform in transactions of their own; return these."""
    buyer = Stranger(loopback.network)
    transactions = [f"T-{number}" for number in range(count)]
    for one in transactions:
        request = buyer.request("discover", transaction_id=one)
        reply = await buyer.post(request | {"message": {"text_search": "solar"}})
        assert reply.word == "ACK"
    return transactions


async def test_a_peer_that_never_answers_holds_up_nobody_else(tmp_path: Path) -> None:
    async with open_loopback(tmp_path) as loopback:
        other, network = loopback.proxies[OTHER], loopback.network
        other.choose = lambda request: Fault.STALL
        await ask(loopback, MANY)
        drains = [asyncio.create_task(node.outbound.run()) for node in network.nodes]
        while other.held < HOST_LIMIT:
            await asyncio.sleep(0.005)
        transaction_id = await loopback.trade()
        trade = await network.bap.originator.wait_for_trade(transaction_id, 30)
        assert (trade.state, trade.error) == (TradeState.CONFIRMED, None)
        assert other.held == HOST_LIMIT  # they wait still, and took no more than their share
        for node in network.nodes:
            await node.outbound.stop(0)
        await asyncio.gather(*drains)


async def test_a_dead_peer_is_left_alone_for_a_while_and_then_gets_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_loopback(tmp_path) as loopback:
        other = loopback.proxies[OTHER]
        other.is_away = True
        transactions = await ask(loopback, MANY)
        await loopback.run(1)
        tried = other.connections
        assert OPEN_AFTER <= tried <= MANY
        await loopback.trade()
        await loopback.run(PAUSE_MS // 1_000 - 2)  # all are due again after 5 s
        assert other.connections == tried
        assert await loopback.states() == ["CONFIRMED"] * 3  # nobody else has felt it
        assert await loopback.metric(BPP, "p2ptrade_outbox_lag_seconds") > 0  # and it is told
        await loopback.run(2)
        assert other.connections == tried + 1  # one tries for all
        other.is_away = False
        await loopback.run(2 * PAUSE_MS // 1_000)
        arrived = {one.body["context"]["transaction_id"]: one for one in loopback.mailbox.got}
        assert sorted(arrived) == sorted(transactions)
        assert len(loopback.mailbox.got) == MANY
        assert await loopback.metric(BPP, "p2ptrade_outbox_dead_letters") == 0
    told = [one for one in caplog.messages if "in a row" in one]
    assert [one.split(" ", 1)[1] for one in told] == [
        f"failed {OPEN_AFTER} times in a row and is left alone",
        f"answers again, after {tried + 1} failures in a row",
    ]


async def test_what_a_dead_peer_never_took_is_kept_as_a_dead_letter(tmp_path: Path) -> None:
    async with open_loopback(tmp_path) as loopback:
        other = loopback.proxies[OTHER]
        other.is_away = True
        [transaction] = await ask(loopback, 1)
        await loopback.run(5_400, step_s=60)
        [letter] = await loopback.network.bpp.dead_letters.listed(9)
        assert (letter["action"], letter["transaction_id"]) == ("on_discover", transaction)
        assert (letter["attempts"], letter["code"]) == (16, "NET_CALLBACK_FAILED")
        assert await loopback.metric(BPP, "p2ptrade_outbox_dead_letters") == 1
        other.is_away = False
        await loopback.network.bpp.dead_letters.send_again(letter["id"])
        await loopback.run(1)
        [arrived] = loopback.mailbox.got
        assert arrived.body["context"]["transaction_id"] == transaction
        assert await loopback.metric(BPP, "p2ptrade_outbox_dead_letters") == 0


@pytest.mark.parametrize("action", ["init", "confirm"])
async def test_a_request_that_vanished_behind_a_good_answer_binds_nobody(
    action: str, tmp_path: Path
) -> None:
    """As behind a proxy that says 200 by itself: delivered to all appearance, never there."""
    async with open_loopback(tmp_path) as loopback:
        network = loopback.network
        loopback.proxies[BPP].choose = lambda request: (
            Fault.NOT_JSON if request.path.endswith(f"/{action}") else Fault.NONE
        )
        transaction_id = await loopback.trade()
        await loopback.run(3_600, step_s=20)
        told = (await loopback.get(BAP, f"/trades/{transaction_id}")).json()
        assert told["status"] != "ACTIVE"
        assert told["error"]["code"] in ("NET_TIMEOUT", "NET_ACK_TIMEOUT"), told
        assert (await network.trade(Side.BPP)).state != TradeState.CONFIRMED
        assert await network.stock() == "30"
        assert await network.balance("bob", "USD") == "20.00"
        listed = await loopback.messages(BAP, transaction_id)
        assert action in {one["action"] for one in listed if one["state"] == "SENT"}
