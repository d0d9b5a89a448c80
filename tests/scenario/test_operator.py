"""The grid operator towards a seller's platform that is played by hand."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.parties import Side
from tests.fakes.dump import dump
from tests.fakes.network import BPP, GRID, HOSTS, Network
from tests.fakes.orders import Order, contract, init_order, inputs, reference
from tests.fakes.readings import submit_readings
from tests.fakes.stranger import Message, Reply, Stranger

GRID_ORDER = "order-1-grid"


@pytest.fixture
def platform(network: Network) -> Stranger:
    return Stranger(network, BPP)


def child(kwh: Any = 10, contract_id: str = "contract-x") -> Order:
    """Return the order of a cascaded init."""
    order = init_order(kwh, contract_id=contract_id, order_id=GRID_ORDER)
    for part in ("beckn:items", "beckn:offers", "beckn:payments"):
        del order[part]
    order["beckn:provider"] = {"beckn:id": "grid-1"}
    role: Order = {"role": "GRID_OPERATOR", "filledBy": None, "filled": False, "roleInputs": {}}
    contract(order)["roles"].append(role)
    return order


async def ask(
    network: Network, platform: Stranger, action: str, order: Order, **context: Any
) -> Reply:
    """Post a request to the operator and let its callback travel."""
    message = platform.request(action, order, to=GRID, **context)
    reply = await platform.post(message, to=network.grid)
    await network.deliver()
    return reply


async def granted(network: Network, platform: Stranger, kwh: Any = 10, **context: Any) -> Order:
    reply = await ask(network, platform, "init", child(kwh), **context)
    assert reply.word == "ACK", reply.error
    on_init = platform.last("on_init")
    assert "error" not in on_init, on_init["error"]
    order: Order = on_init["message"]["order"]
    return order


async def active(network: Network, platform: Stranger) -> Message:
    order = await granted(network, platform)
    assert (await ask(network, platform, "confirm", order)).word == "ACK"
    on_confirm = platform.last("on_confirm")
    assert "error" not in on_confirm, on_confirm["error"]
    return on_confirm


async def test_init_is_answered_with_charges_totals_and_caps(
    network: Network, platform: Stranger
) -> None:
    order = await granted(network, platform)
    assert inputs(order, "GRID_OPERATOR") == {
        "wheelingCharges": Decimal("0.025"),
        "current_buyer_trades_total": 0,
        "current_seller_trade_total": 0,
        "buyer_trade_cap": 50,
        "seller_trade_cap": 100,
    }
    # 10 x 0.025
    assert order["beckn:quote"]["beckn:price"]["schema:price"] == Decimal("0.25")


async def test_totals_show_what_others_have_and_not_this_contract(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    await ask(network, platform, "init", child(7, "contract-y"), transaction_id="T-y")
    order = platform.last("on_init")["message"]["order"]
    assert inputs(order, "GRID_OPERATOR")["current_buyer_trades_total"] == 10
    await ask(network, platform, "init", child(7, "contract-y"), transaction_id="T-y")
    again = platform.last("on_init")["message"]["order"]
    assert inputs(again, "GRID_OPERATOR")["current_buyer_trades_total"] == 10


async def test_a_new_init_replaces_the_reservation_in_one_step(
    network: Network, platform: Stranger
) -> None:
    await granted(network, platform, 40)
    await granted(network, platform, 40)
    assert network.grid.contracts is not None
    args = {"meter_id": "meter-home-3"}
    caps = await network.grid.contracts.read("registry", "get_trade_caps", args, actor="rec")
    assert caps["result"]["BUY"]["reserved"] == "40"


async def test_an_init_for_an_active_contract_is_refused(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    before = dump(network)
    for transaction in (f"T-{BPP}", "T-other"):
        reply = await ask(network, platform, "init", child(), transaction_id=transaction)
        assert (reply.status, reply.code) == (409, "BIZ_INVALID_STATE_TRANSITION")
    assert dump(network) == before


async def test_an_init_that_was_replaced_under_another_transaction_cannot_be_confirmed(
    network: Network, platform: Stranger
) -> None:
    order = await granted(network, platform, 10)
    await granted(network, platform, 20, transaction_id="T-other")
    before = dump(network)
    reply = await ask(network, platform, "confirm", order)
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_confirm_with_another_quantity_is_refused(
    network: Network, platform: Stranger
) -> None:
    order = copy.deepcopy(await granted(network, platform))
    inputs(order, "BUYER")["contractedQuantity"] = 9
    order.pop("beckn:quote")
    before = dump(network)
    reply = await ask(network, platform, "confirm", order)
    assert (reply.status, reply.code) == (409, "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_a_lapsed_reservation_is_not_pushed_and_status_says_terminated(
    network: Network, platform: Stranger
) -> None:
    await granted(network, platform)
    network.clock.advance(901)
    await network.run(1)
    assert platform.actions() == ["on_init"]
    await ask(network, platform, "status", reference(GRID_ORDER))
    assert contract(platform.last("on_status")["message"]["order"])["status"] == "TERMINATED"


async def test_an_agreement_that_expires_is_pushed_as_failed(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    network.clock.move_to("2026-03-05T08:00:00Z")
    await network.tick()
    order = platform.last("on_status")["message"]["order"]
    assert contract(order)["status"] == "TERMINATED"
    state = order["beckn:fulfillments"][0]["beckn:state"]["beckn:descriptor"]["schema:name"]
    assert state == "FAILED"
    assert await network.balance("bob", "USD") == "20.00"


async def test_a_contract_whose_id_looks_like_a_share_is_told_like_any_other(
    network: Network, platform: Stranger
) -> None:
    name = "contract-x#meter-home-3#"
    await ask(network, platform, "init", child(contract_id=name))
    order = platform.last("on_init")["message"]["order"]
    assert (await ask(network, platform, "confirm", order)).word == "ACK"
    network.clock.move_to("2026-03-02T08:31:00Z")
    await submit_readings(network, count=1)
    await network.tick()
    assert contract(platform.last("on_status")["message"]["order"])["contractId"] == name


async def test_delivery_is_told_once_at_its_beginning_and_once_when_it_is_settled(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    for number, now in enumerate(("08:31", "08:46", "09:01", "09:16")):
        network.clock.move_to(f"2026-03-02T{now}:00Z")
        await submit_readings(network, first=number, count=1)
        await network.tick()
    told = [m["message"]["order"] for m in platform.got if m["context"]["action"] == "on_status"]
    states = [
        order["beckn:fulfillments"][0]["beckn:state"]["beckn:descriptor"]["schema:name"]
        for order in told
    ]
    assert states == ["IN_PROGRESS", "COMPLETED"]
    assert [contract(order)["status"] for order in told] == ["ACTIVE", "COMPLETED"]
    ids = {m["context"]["message_id"] for m in platform.got}
    assert len(ids) == len(platform.got)


async def test_cancel_before_the_window_releases_cash_and_caps(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    assert (await ask(network, platform, "cancel", reference(GRID_ORDER))).word == "ACK"
    order = platform.last("on_cancel")["message"]["order"]
    assert contract(order)["status"] == "TERMINATED"
    assert await network.balance("bob", "USD") == "20.00"


async def test_cancel_in_the_window_gets_an_error_callback(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    network.clock.move_to("2026-03-02T08:15:00Z")
    assert (await ask(network, platform, "cancel", reference(GRID_ORDER))).word == "ACK"
    assert platform.last("on_cancel")["error"]["code"] == "POL_CANCELLATION_NOT_ALLOWED"


async def test_another_platform_cannot_touch_the_contract(
    network: Network, platform: Stranger
) -> None:
    await active(network, platform)
    thief = Stranger(network, "bap.other.example")
    before = dump(network)
    for action in ("status", "cancel", "confirm"):
        order = reference(GRID_ORDER) if action != "confirm" else child()
        message = thief.request(action, order, to=GRID, transaction_id=f"T-{BPP}")
        reply = await thief.post(message, to=network.grid)
        assert reply.word == "NACK"
        assert reply.code in ("AUT_UNAUTHORIZED_ACTION", "BIZ_UPDATE_INCONSISTENT")
    assert dump(network) == before


async def test_a_platform_that_does_not_represent_the_seller_gets_an_error_callback(
    network: Network,
) -> None:
    thief = Stranger(network, "bap.other.example")
    message = thief.request("init", child(), to=GRID)
    assert (await thief.post(message, to=network.grid)).word == "ACK"
    await network.deliver()
    assert thief.last("on_init")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"


def _unknown_meter(order: Order) -> None:
    inputs(order, "BUYER")["targetMeterId"] = "meter-unknown"


def _own_meter(order: Order) -> None:
    inputs(order, "BUYER")["targetMeterId"] = inputs(order, "SELLER")["sourceMeterId"]


def _off_the_grid(order: Order) -> None:
    inputs(order, "BUYER")["tradeStartTime"] = "2026-03-02T08:20:00Z"


def _currency(order: Order) -> None:
    inputs(order, "SELLER")["currency"] = "EUR"


def _no_wheeling_flow(order: Order) -> None:
    contract(order)["revenueFlows"]["flows"].pop()


def _other_formula(order: Order) -> None:
    contract(order)["revenueFlows"]["flows"][0]["formula"] += " × 2"


@pytest.mark.parametrize(
    "change",
    [_unknown_meter, _own_meter, _off_the_grid, _currency, _no_wheeling_flow, _other_formula],
    ids=lambda change: change.__name__.strip("_"),
)
async def test_what_could_not_be_settled_is_refused_at_init(
    network: Network, platform: Stranger, change: Any
) -> None:
    order = child()
    change(order)
    del order["beckn:fulfillments"]
    before = dump(network, "ledger_accounts", "ledger_holds", "ledger_entries")
    reply = await ask(network, platform, "init", order)
    if reply.word == "ACK":
        assert platform.last("on_init")["error"]["code"] == "BIZ_FULFILLMENT_UNAVAILABLE"
    assert dump(network, "ledger_accounts", "ledger_holds", "ledger_entries") == before


async def test_the_operator_answers_to_the_address_in_the_request(
    network: Network, platform: Stranger
) -> None:
    await granted(network, platform)
    url, _ = network.wire.log[-1]
    assert url == f"http://{HOSTS[BPP]}/bap/receiver/on_init"
    trade = await network.trade(Side.GRID_OPERATOR)
    assert trade.peer.subscriber_id == BPP
