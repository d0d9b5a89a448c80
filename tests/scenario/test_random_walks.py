"""Buyers that do anything in any order while messages get lost: what must hold all the same."""

import logging
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.domain.parties import Side
from adapter.domain.quantities import to_micro
from adapter.domain.trade import Trade
from tests.fakes.network import Network, offer, open_network
from tests.fakes.orders import Order, contract, init_order, inputs, reference, select_order
from tests.fakes.stranger import Stranger

STOCK = 30
START, END = "2026-03-02T16:00:00Z", "2026-03-02T17:00:00Z"
LEG = ("9103/bpp/receiver/", "9102/bap/receiver/")
"""Ends of the wire between the seller's platform and its operator."""


class Walk:
    """One run of random steps."""

    def __init__(self, network: Network, seed: int) -> None:
        self.network, self.random = network, random.Random(seed)
        self.buyer = Stranger(network)
        self.steps: list[Callable[[], object]] = [
            *[self.select, self.init, self.init, self.confirm, self.confirm],
            *[self.cancel, self.status, self.wait, self.wait, self.lose, self.mend, self.repeat],
        ]

    async def go(self, steps: int) -> None:
        for _ in range(steps):
            step = self.random.choice(self.steps)()
            if hasattr(step, "__await__"):
                await step
            await self.check_always()
        self.mend()
        await self.network.run(40)
        for _ in range(8):  # what was given up and put off is sent, what was granted lapses
            self.network.clock.advance(300)
            await self.network.run(3)
        await self.check_always()
        await self.check_at_rest()

    # Steps

    def transaction(self) -> str:
        return self.random.choice(["T-1", "T-2", "T-3"])

    def last_order(self, action: str, transaction: str) -> Order | None:
        for message in reversed(self.buyer.got):
            context = message["context"]
            same = (context["action"], context["transaction_id"]) == (action, transaction)
            if same and "order" in message.get("message", {}):
                order: Order = message["message"]["order"]
                return order
        return None

    async def ask(self, action: str, order: Order, transaction: str) -> None:
        message = self.buyer.request(action, order, transaction_id=transaction)
        reply = await self.buyer.post(message)
        assert reply.status < 500, reply.raw
        if self.random.random() < 0.7:
            await self.network.run(1)

    async def select(self) -> None:
        kwh, transaction = self.random.choice([1, 8, 31]), self.transaction()
        await self.ask("select", select_order(kwh, order_id=f"order-{transaction}"), transaction)

    async def init(self) -> None:
        kwh, transaction = self.random.choice([8, 8, 12]), self.transaction()
        order = init_order(kwh, order_id=f"order-{transaction}")
        chosen = self.last_order("on_select", transaction)
        if chosen is not None:
            contract(order)["contractId"] = contract(chosen)["contractId"]
        inputs(order, "BUYER").update(tradeStartTime=START, tradeEndTime=END)
        del order["beckn:fulfillments"]
        await self.ask("init", order, transaction)

    async def confirm(self) -> None:
        transaction = self.transaction()
        order = self.last_order("on_init", transaction)
        if order is not None:
            await self.ask("confirm", order, transaction)

    async def cancel(self) -> None:
        transaction = self.transaction()
        await self.ask("cancel", reference(f"order-{transaction}"), transaction)

    async def status(self) -> None:
        transaction = self.transaction()
        await self.ask("status", reference(f"order-{transaction}"), transaction)

    async def repeat(self) -> None:
        order = self.last_order("on_init", "T-1")
        if order is not None:
            message = self.buyer.request("confirm", order, transaction_id="T-1")
            first, second = await self.buyer.post(message), await self.buyer.post(message)
            assert (first.status, first.raw) == (second.status, second.raw)

    async def wait(self) -> None:
        await self.network.run(self.random.choice([1, 3, 12]))

    def lose(self) -> None:
        end = self.random.choice(LEG)
        if self.random.random() < 0.5:
            self.network.wire.lost = lambda url, _: end in url
        else:
            self.network.wire.unanswered = lambda url, _: end in url

    def mend(self) -> None:
        self.network.wire.lost = self.network.wire.unanswered = lambda url, _: False

    # What must hold

    async def trades(self, side: Side) -> list[Trade]:
        node = self.network.bpp if side is Side.BPP else self.network.grid
        return list(await node.parts.store.read(lambda uow: uow.trades(side, None, 99)))

    async def check_always(self) -> None:
        left = (await self.network.bpp.catalogue.offers())[0].available_micro_kwh
        trades = await self.trades(Side.BPP)
        taken = sum(trade.stock.energy_micro_kwh for trade in trades if trade.stock)
        assert left + taken == to_micro(STOCK)
        for trade in trades:
            if trade.state in ("INITIATED", "CONFIRM_PENDING", "CONFIRMED"):
                assert trade.stock is not None or trade.terms_until_ms is not None
        confirmed = {
            trade.contract_id
            for trade in trades
            if trade.state == "CONFIRMED" and trade.leg and trade.leg.request.action != "cancel"
        }
        assert confirmed <= await self.active_contracts()

    async def active_contracts(self) -> set[str | None]:
        operator = await self.trades(Side.GRID_OPERATOR)
        return {trade.contract_id for trade in operator if trade.state == "CONFIRMED"}

    async def check_at_rest(self) -> None:
        trades = await self.trades(Side.BPP)
        assert [trade.request for trade in trades if trade.request is not None] == []
        confirmed = {trade.contract_id for trade in trades if trade.state == "CONFIRMED"}
        assert await self.active_contracts() == confirmed
        assert self.network.grid.contracts is not None
        args = {"meter_id": "meter-home-3"}
        caps = await self.network.grid.contracts.read(
            "registry", "get_trade_caps", args, actor="rec"
        )
        sold = sum(
            trade.stock.energy_micro_kwh
            for trade in trades
            if trade.state == "CONFIRMED" and trade.stock
        )
        assert caps["result"]["BUY"]["reserved"] == "0"
        assert to_micro(caps["result"]["BUY"]["total"]) == sold


@pytest.mark.parametrize("seed", range(6))
async def test_stock_caps_and_contracts_agree_whatever_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    network = await open_network(tmp_path, buyer_cap="25")
    await network.bpp.catalogue.publish(offer())
    await Walk(network, seed).go(60)
    bugs = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bugs == []
    await network.close()
