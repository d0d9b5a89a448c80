"""Replay, precedence of refusals, representation, receipts."""

from collections.abc import Callable
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import (
    Command,
    Event,
    apply,
    execute,
    parse_command,
    receipt_to_wire,
)
from adapter.settlement.events import EVENTS, Field, from_journal, to_journal
from adapter.settlement.postings import Direct
from tests.unit.settlement.world import EPOCH, NOON, Market, World, sqlite_ledger


@pytest.fixture(params=[World, lambda: World(sqlite_ledger())], ids=["memory", "sqlite"])
def world(request: pytest.FixtureRequest) -> World:
    """Return an open ledger with one user that has 5 USD."""
    make: Callable[[], World] = request.param
    world = make().open()
    world.user("alice")
    world.deposit("alice", 5)
    return world


ARGS: dict[str, Any] = {"to": "alice", "amount": 1, "external_reference": "r-1"}


# Replay


def test_the_same_command_again_gets_the_stored_answer(world: World) -> None:
    first = world.do("token.deposit", "treasurer", cmd="x", **ARGS)
    before = world.fingerprint()
    world.now += 1
    again = world.do("token.deposit", "treasurer", cmd="x", **ARGS)
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.seq, again.entry_hash, again.result, again.events) == (
        first.seq,
        first.entry_hash,
        first.result,
        first.events,
    )
    assert world.fingerprint() == before


def test_the_same_id_for_another_command_is_a_conflict(world: World) -> None:
    world.do("token.deposit", "treasurer", cmd="x", **ARGS)
    changes: list[dict[str, Any]] = [{"amount": 2}, {"external_reference": "r-2"}]
    for change in changes:
        both = {**ARGS, **change, "cmd": "x"}
        world.refused("IDEMPOTENCY_CONFLICT", "token.deposit", "treasurer", **both)
    args: dict[str, Any] = {
        "from_": "alice",
        "amount": "1",
        "external_reference": "r-3",
        "cmd": "x",
    }
    world.refused("IDEMPOTENCY_CONFLICT", "token.withdraw", "treasurer", **args)


def test_the_same_id_of_another_actor_is_another_command(world: World) -> None:
    world.do("token.approve", "alice", cmd="x", spender="z", value=1)
    assert not world.do("token.approve", "zoe", cmd="x", spender="z", value=1).replayed


def test_acting_for_another_user_is_another_command(world: World) -> None:
    world.user("bob", representative="bap")
    args = {"user": "alice", "subscriber": "bap"}
    world.do("registry.set_representative", "alice", **args)
    world.do("token.approve", "bap", "alice", cmd="x", spender="z", value=1)
    again: dict[str, Any] = {"cmd": "x", "spender": "z", "value": 1}
    world.refused("IDEMPOTENCY_CONFLICT", "token.approve", "bap", "bob", **again)


def test_a_replay_survives_a_later_role_change(world: World) -> None:
    world.do("token.deposit", "treasurer", cmd="x", **ARGS)
    world.do("registry.revoke_role", "admin", role="TREASURER", actor="treasurer")
    assert world.do("token.deposit", "treasurer", cmd="x", **ARGS).replayed
    args = {**ARGS, "external_reference": "r-2"}
    world.refused("NOT_TREASURER", "token.deposit", "treasurer", **args)


def test_a_refused_command_is_judged_afresh(world: World) -> None:
    args = {"to": "bob", "amount": 1, "external_reference": "r-9", "cmd": "y"}
    world.refused("USER_NOT_FOUND", "token.deposit", "treasurer", **args)
    world.user("bob")
    assert not world.do("token.deposit", "treasurer", **args).replayed


# Precedence


def test_replay_comes_before_the_arguments(world: World) -> None:
    world.do("token.deposit", "treasurer", cmd="x", **ARGS)
    bad = Command("x", "token", "deposit", {"to": "alice"})
    with pytest.raises(ContractError) as caught:
        execute(world.ledger, bad, "treasurer", world.now)
    assert caught.value.code == "IDEMPOTENCY_CONFLICT"


def test_the_function_comes_before_everything() -> None:
    with pytest.raises(ContractError) as caught:
        execute(World().ledger, Command("", "x", "y", {}), "|", 0)
    assert caught.value.code == "UNKNOWN_FUNCTION"


def test_arguments_come_before_opening() -> None:
    world = World()
    command = Command("c", "token", "deposit", {"to": "alice"})
    with pytest.raises(ContractError) as caught:
        execute(world.ledger, command, "treasurer", 0)
    assert caught.value.code == "INVALID_INPUT"
    world.refused("NOT_INITIALIZED", "token.deposit", "nobody", **ARGS)


def test_opening_comes_before_the_role(world: World) -> None:
    genesis = world.ledger.entries(-1, 1)[0]
    assert genesis.seq == 0
    args = {"admin": "x", "regulators": ["r"], "roles": {}, "settings": {}, "keys": []}
    world.refused("ALREADY_INITIALIZED", "registry.initialize", "nobody", **args)


def test_commands_built_in_code_are_checked_too(world: World) -> None:
    for args in (
        {"to": "alice", "value": 10**12 + 1},
        {"to": "alice", "value": "5"},
        {"to": "alice", "value": True},
        {"to": "alice", "value": 1, "more": 1},
    ):
        with pytest.raises(ContractError):
            execute(world.ledger, Command("c", "token", "transfer", args), "alice", 0)


@pytest.mark.parametrize("actor", ["", "a|b", "a b", "x" * 129])
def test_an_actor_is_an_id(world: World, actor: str) -> None:
    world.refused("INVALID_INPUT", "token.approve", actor, spender="x", value=1)


# Representation


def test_nobody_acts_for_a_user_without_being_named(world: World) -> None:
    for behalf in ("alice", "nobody"):
        args = {"spender": "x", "value": 1}
        world.refused("NOT_AUTHORIZED", "token.approve", "bap", behalf, **args)


def test_a_role_is_not_inherited_through_representation(world: World) -> None:
    world.user("treasurer", representative="bap")
    world.refused("NOT_TREASURER", "token.deposit", "bap", "treasurer", **ARGS)


# apply and receipts


def test_apply_is_pure(world: World) -> None:
    before = world.fingerprint()
    args = {**ARGS, "external_reference": "r-7"}
    command = parse_command("c", "token", "deposit", args)
    results = [apply(world.ledger, command, "treasurer", world.now) for _ in range(2)]
    assert results[0].postings == results[1].postings
    assert results[0].postings == (Direct("sys|USD|EXTERNAL", "alice|USD|MAIN", 1_000_000),)
    assert [event.name for event in results[0].events] == ["Deposited"]
    assert world.fingerprint() == before


def test_a_receipt_on_the_wire_has_decimal_strings(world: World) -> None:
    receipt = world.do("token.deposit", "treasurer", cmd="x", **ARGS)
    assert receipt_to_wire(receipt) == {
        "command_id": "x",
        "seq": receipt.seq,
        "entry_hash": receipt.entry_hash,
        "replayed": False,
        "result": {"to": "alice"},
        "events": [
            {
                "id": f"{receipt.seq}.0",
                "name": "Deposited",
                "to": "alice",
                "amount": "1.00",
                "external_reference": "r-1",
            }
        ],
    }


def test_amounts_deep_in_events_are_decimal_strings_too() -> None:
    world = Market().set_up()
    receipt = world.do("agreements.create_agreement", "bpp", "bob", **world.terms())
    (created,) = receipt_to_wire(receipt)["events"]
    assert created["caps"] == {
        "seller": {"cap": "100", "total": "0"},
        "buyer": {"cap": "50", "total": "0"},
    }
    assert (created["energy"], created["price"], created["wheeling_rate"]) == (
        "10",
        "0.15",
        "0.025",
    )
    assert created["window"] == {"start": NOON + EPOCH, "end": NOON + 5 * EPOCH}
    world.accept(1)
    world.deliver(8, 8)
    done = world.tick()
    settled = receipt_to_wire(done[-1])["events"][-1]
    assert settled["deviations"] == [
        {"kind": "SELLER_SHORTFALL", "quantity": "2"},
        {"kind": "BUYER_SHORTFALL", "quantity": "2"},
    ]


def test_an_allowance_is_shown_in_the_decimals_of_its_asset(world: World) -> None:
    for asset, shown in (("GRID", "1"), ("USD", "1.00")):
        receipt = world.do("token.approve", "alice", spender="x", value=1, asset=asset)
        assert receipt_to_wire(receipt)["events"][0]["value"] == shown


def test_events_come_back_from_the_journal() -> None:
    samples = {
        Field.WINDOW: {"start": 1, "end": 2},
        Field.CAPS: {"seller": {"cap": 1, "total": 2}},
        Field.DEVIATIONS: [{"kind": "x", "quantity": 3}],
    }
    for declared in EVENTS.values():
        fields = {name: samples.get(kind, 7) for name, kind in declared.fields.items()}
        event = Event(declared.name, fields)
        assert from_journal(to_journal(event)) == event
