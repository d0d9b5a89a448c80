from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import ledger_summary, sees_event
from tests.unit.settlement.world import Market

OWN = ("alice", "bap")
OTHERS = ("bob", "bpp", "stranger", "headend", "")
OVERSEERS = ("regulator", "auditor", "system")


@pytest.fixture(scope="module")
def world() -> Market:
    """Return a settled demo."""
    world = Market().set_up()
    world.agree()
    world.deliver(8, 6)
    world.tick()
    return world


def answer(world: Market, name: str, caller: str, **args: Any) -> str:
    """Return the code of a refused read, or an empty text."""
    try:
        world.read(name, caller, **args)
    except ContractError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("name", "args", "hidden", "also"),
    [
        ("token.balance_of", {"user": "alice"}, "USER_NOT_FOUND", ()),
        ("registry.get_user_info", {"user": "alice"}, "USER_NOT_FOUND", ()),
        ("registry.get_user_meters", {"user": "alice"}, "USER_NOT_FOUND", ()),
        ("registry.get_meter_owner", {"meter_id": "m-buy"}, "METER_NOT_FOUND", ("grid",)),
        ("registry.get_trade_caps", {"meter_id": "m-buy"}, "METER_NOT_FOUND", ("grid",)),
        ("token.get_lots", {"meter_id": "m-buy"}, "METER_NOT_FOUND", ("grid",)),
        (
            "token.allowance",
            {"owner": "alice", "spender": "network", "asset": "USD"},
            "USER_NOT_FOUND",
            ("network",),
        ),
    ],
)
def test_own_objects_are_seen_and_those_of_others_are_not_found(
    world: Market, name: str, args: dict[str, Any], hidden: str, also: tuple[str, ...]
) -> None:
    for caller in (*OWN, *OVERSEERS, *also):
        assert answer(world, name, caller, **args) == "", caller
    for caller in OTHERS:
        assert answer(world, name, caller, **args) == hidden, caller


@pytest.mark.parametrize(
    ("name", "args", "hidden"),
    [
        ("agreements.get_agreement", {"agreement_no": 1}, "AGREEMENT_NOT_FOUND"),
        ("agreements.get_transaction", {"transaction_no": 1}, "TRANSACTION_NOT_FOUND"),
        ("agreements.get_allocations", {"agreement_no": 1}, "AGREEMENT_NOT_FOUND"),
    ],
)
def test_an_agreement_is_seen_by_both_parties(
    world: Market, name: str, args: dict[str, Any], hidden: str
) -> None:
    for caller in ("alice", "bap", "bob", "bpp", "grid", *OVERSEERS):
        assert answer(world, name, caller, **args) == "", caller
    for caller in ("stranger", "headend", "treasurer"):
        assert answer(world, name, caller, **args) == hidden, caller


def test_lists_leave_out_what_is_not_ones_own(world: Market) -> None:
    assert len(world.read("agreements.get_transaction_history", "bap", prosumer="alice")) == 1
    assert world.read("agreements.get_transaction_history", "bpp", prosumer="alice") == []
    assert len(world.read("agreements.get_deviations", "bob", meter="m-sell")) == 1
    assert world.read("agreements.get_deviations", "alice", meter="m-sell") == []


def test_a_reading_belongs_to_the_owner_of_its_interval(world: Market) -> None:
    args = {"meter_id": "m-buy", "interval": world.start}
    for caller in (*OWN, "grid", *OVERSEERS):
        assert answer(world, "oracle.get_reading", caller, **args) == ""
    for caller in ("bob", "stranger"):
        assert answer(world, "oracle.get_reading", caller, **args) == "READING_NOT_FOUND"


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("registry.is_user_verified", {"user": "alice"}, True),
        ("registry.is_prosumer", {"user": "nobody"}, False),
        ("registry.has_role", {"role": "TREASURER", "actor": "treasurer"}, True),
        ("registry.has_role", {"role": "KING", "actor": "treasurer"}, False),
        ("token.total_supply", {}, "8"),
    ],
)
def test_public_answers(world: Market, name: str, args: dict[str, Any], expected: object) -> None:
    assert world.read(name, "stranger", **args) == expected


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("token.balance_of", {"user": "alice", "asset": "EUR"}, "INVALID_INPUT"),
        ("token.balance_of", {}, "INVALID_INPUT"),
        ("oracle.get_reading", {"meter_id": "m-buy", "interval": 0}, "READING_NOT_FOUND"),
        ("agreements.get_agreement", {"agreement_no": 9}, "AGREEMENT_NOT_FOUND"),
        ("agreements.get_transaction", {"transaction_no": 9}, "TRANSACTION_NOT_FOUND"),
        ("registry.get_user_info", {"user": "zoe"}, "USER_NOT_FOUND"),
        ("registry.get_trade_caps", {"meter_id": "m-9"}, "METER_NOT_FOUND"),
    ],
)
def test_what_is_not_there(world: Market, name: str, args: dict[str, Any], code: str) -> None:
    assert answer(world, name, "auditor", **args) == code


def test_before_entry_0_there_is_nothing_to_read() -> None:
    world = Market()
    assert answer(world, "token.total_supply", "auditor") == "NOT_INITIALIZED"
    assert ledger_summary(world.ledger, 0) == {"seq": -1, "time": 0, "epoch": 0}


def test_a_platform_reads_its_income_though_it_is_no_user(world: Market) -> None:
    assert world.read("token.balance_of", "grid", user="grid", asset="USD")["posted"] == "0.25"


def test_the_summary_adds_up(world: Market) -> None:
    summary = ledger_summary(world.ledger, world.now)
    assert (summary["ledger"], summary["currency"]) == ("grid", "USD")
    assert summary["totals"] == {
        "grid_minted": "8",
        "grid_retired": "0",
        "grid_supply": "8",
        "cash": "20.00",
        "cap_in_use": "0",
    }


def test_events_are_seen_like_their_objects() -> None:
    world = Market().set_up()
    world.agree()
    world.now = world.end
    receipt = world.submit("m-sell", world.start, generated=2)
    events = {event.name: event for event in receipt.events}
    for caller in ("bob", "bpp", "auditor"):
        assert sees_event(world.ledger, caller, events["EnergyDataFulfilled"]), caller
    for caller in ("alice", "bap", "stranger"):
        assert not sees_event(world.ledger, caller, events["EnergyDataFulfilled"]), caller
    for caller in ("alice", "bap", "bob", "grid"):
        assert sees_event(world.ledger, caller, events["EnergyAllocated"]), caller
    assert not sees_event(world.ledger, "stranger", events["EnergyAllocated"])
    granted = world.do("registry.grant_role", "admin", role="AUDITOR", actor="eve").events[0]
    assert sees_event(world.ledger, "stranger", granted)
