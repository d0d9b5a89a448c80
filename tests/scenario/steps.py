"""Steps of a trade between a hand-made buyer's app, the seller's platform and its operator."""

from typing import Any

from tests.fakes.network import GRID, Network
from tests.fakes.orders import GRID_INPUTS, Order, answered, init_order
from tests.fakes.stranger import Message, Stranger


async def initiated(buyer: Stranger, kwh: Any = 10, **context: Any) -> Order:
    """Run an init that is granted; return the order of its on_init."""
    reply = await buyer.ask("init", init_order(kwh), **context)
    assert reply.word == "ACK", reply.error
    on_init = buyer.last("on_init")
    assert "error" not in on_init, on_init["error"]
    order: Order = on_init["message"]["order"]
    return order


async def confirmed(buyer: Stranger, kwh: Any = 10, **context: Any) -> Order:
    """Run init and confirm; return the order of the on_confirm."""
    terms = await initiated(buyer, kwh, **context)
    reply = await buyer.ask("confirm", terms, **context)
    assert reply.word == "ACK", reply.error
    on_confirm = buyer.last("on_confirm")
    assert "error" not in on_confirm, on_confirm["error"]
    order: Order = on_confirm["message"]["order"]
    return order


async def granted(network: Network, grid: Stranger, **context: Any) -> Message:
    """Let a hand-made operator grant the last init; return its on_init."""
    child = grid.last("init")
    order = answered(child["message"]["order"], "PENDING", filledBy=GRID, **GRID_INPUTS)
    message = grid.callback(child, order, **({"ttl": "PT15M"} | context))
    reply = await grid.post(message)
    assert reply.word == "ACK", reply.error
    await network.deliver()
    return message
