"""Root statements: what they cover, when they are due, their bytes and signatures."""

import base64
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from adapter.settlement import due_anchor, execute, state_root
from adapter.settlement.canonical import CanonicalError, canonical_bytes
from adapter.settlement.countersigners import represents_somebody
from adapter.settlement.merkle import merkle_root
from adapter.settlement.roots import NO_STATEMENT, Statement, parse_statement, statement_of
from adapter.settlement.signed_roots import check_root, holds, signed_root_of
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.anchored import (
    BUYER_APP,
    HOST_KEY,
    anchor,
    signed,
    statements,
)
from tests.unit.settlement.world import EPOCH, NOON, Market, World, sqlite_ledger

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "roots.json").read_text()
)
FIRST = NOON // EPOCH


def test_the_vector_has_its_hash_and_signature() -> None:
    statement = statement_of(VECTOR["statement"])
    assert statement.hash == VECTOR["hash"]
    assert statement.hash == hashlib.sha256(statement.body()).hexdigest()
    key = SigningKey(bytes.fromhex(VECTOR["seed"]))
    assert base64.b64encode(bytes(key.verify_key)).decode() == VECTOR["public_key"]
    message = b"p2ptrade.root.v1\n" + canonical_bytes(VECTOR["statement"])
    assert statement.signed_bytes() == message
    assert base64.b64encode(key.sign(message).signature).decode() == VECTOR["signature"]
    assert holds(VECTOR["public_key"], message, VECTOR["signature"])


def test_a_statement_covers_all_entries_before_the_one_that_makes_it() -> None:
    world = Market().set_up()
    before, balances = world.ledger.head(), state_root(world.ledger)
    world.now += EPOCH
    statement = anchor(world)
    assert before is not None
    hashes = [bytes.fromhex(entry.hash) for entry in world.ledger.entries(-1, before.seq + 1)]
    assert statement == Statement(
        ledger="grid",
        first_epoch=FIRST,
        last_epoch=FIRST,
        first_seq=0,
        last_seq=before.seq,
        head=before.hash,
        root=merkle_root(hashes).hex(),
        state_root=balances,
        prev_statement=NO_STATEMENT,
        time=NOON + EPOCH,
    )


def test_statements_go_on_without_gap_or_overlap() -> None:
    world = Market().set_up()
    world.now += EPOCH
    first = anchor(world)
    world.deposit("alice", 1)
    world.now += 3 * EPOCH
    second = anchor(world)
    assert (second.first_epoch, second.last_epoch) == (FIRST + 1, FIRST + 3)
    # the entry of the first statement and the deposit
    assert (second.first_seq, second.last_seq) == (first.last_seq + 1, first.last_seq + 2)
    assert second.prev_statement == first.hash
    assert statements(world) == [first, second]


def test_the_event_tells_everybody_the_root() -> None:
    world = World().open()
    world.now += EPOCH
    receipt = world.do("trading.close_epoch", "system", first=FIRST, last=FIRST)
    made = statements(world)[-1]
    assert receipt.result["statement"] == made.hash
    [event] = receipt.events
    fields = {"first_epoch": FIRST, "last_epoch": FIRST, "root": made.root, "head": made.head}
    assert (event.name, dict(event.fields)) == ("EpochAnchored", fields)


@pytest.mark.parametrize(
    ("first", "last", "details"),
    [
        pytest.param(-1, 0, {"expected": FIRST}, id="before the first entry"),
        pytest.param(1, 1, {"expected": FIRST}, id="a gap"),
        pytest.param(0, 2, {"retry_at": NOON + 3 * EPOCH}, id="not ended"),
    ],
)
def test_another_epoch_than_the_next_is_out_of_order(
    first: int, last: int, details: dict[str, int]
) -> None:
    world = World().open()
    world.now += 2 * EPOCH
    span = {"first": FIRST + first, "last": FIRST + last}
    refused = world.refused("EPOCH_OUT_OF_ORDER", "trading.close_epoch", "system", **span)
    assert details.items() <= refused.details.items()


def test_an_anchored_epoch_is_not_anchored_again() -> None:
    world = World().open()
    world.now += EPOCH
    anchor(world)
    span = {"first": FIRST, "last": FIRST}
    world.refused("EPOCH_OUT_OF_ORDER", "trading.close_epoch", "system", **span)


def test_an_epoch_ends_at_its_last_millisecond() -> None:
    world = World().open()
    world.now = NOON + EPOCH - 1
    span = {"first": FIRST, "last": FIRST}
    world.refused("EPOCH_OUT_OF_ORDER", "trading.close_epoch", "system", **span)
    world.now += 1
    world.do("trading.close_epoch", "system", **span)


def test_only_market_makers_and_the_oracle_anchor() -> None:
    world = World().open()
    world.now += EPOCH
    span = {"first": FIRST, "last": FIRST}
    for actor in ("admin", "regulator", "grid", "treasurer", "alice"):
        world.refused("NOT_MARKET_MAKER", "trading.close_epoch", actor, **span)
    world.do("trading.close_epoch", "headend", **span)


def test_a_last_epoch_before_the_first_is_bad_input() -> None:
    world = World().open()
    world.now += 2 * EPOCH
    span = {"first": FIRST + 1, "last": FIRST}
    world.refused("INVALID_INPUT", "trading.close_epoch", "system", **span)


def test_memory_and_sqlite_make_the_same_statements() -> None:
    worlds = [Market(ledger=ledger).set_up() for ledger in (MemoryLedger(), sqlite_ledger())]
    for world in worlds:
        world.now += EPOCH
    made = [anchor(world) for world in worlds]
    assert made[0] == made[1]


# When it is due


def do_due(world: World) -> bool:
    """Do what the host's timer does; return whether something was due."""
    command = due_anchor(world.ledger, world.now)
    if command is not None:
        execute(world.ledger, command, "system", world.now)
    return command is not None


def test_an_epoch_with_entries_is_due_when_it_has_ended() -> None:
    world = World().open()
    assert not do_due(world)
    world.now += EPOCH
    assert do_due(world)
    assert not do_due(world)


def test_nothing_is_due_while_nothing_happens_but_anchoring() -> None:
    world = World().open()
    for _ in range(5):
        world.now += EPOCH
        do_due(world)
    assert len(statements(world)) == 1


def test_a_run_of_empty_epochs_joins_the_next_one_with_entries() -> None:
    world = World().open()
    world.now += EPOCH
    do_due(world)
    world.now += 9 * EPOCH
    world.user("alice")
    world.now += EPOCH
    assert do_due(world)
    spans = [(one.first_epoch, one.last_epoch) for one in statements(world)]
    assert spans == [(FIRST, FIRST), (FIRST + 1, FIRST + 10)]


def test_an_outage_makes_one_statement_of_all_it_missed() -> None:
    world = World().open()
    world.now += 40 * EPOCH
    assert do_due(world)
    assert [(one.first_epoch, one.last_epoch) for one in statements(world)] == [(FIRST, FIRST + 39)]


def test_a_clock_that_jumps_back_anchors_nothing() -> None:
    world = World().open()
    world.now += EPOCH
    do_due(world)
    world.user("alice")
    world.now -= 3 * EPOCH
    assert not do_due(world)


def test_nothing_is_due_on_an_empty_ledger() -> None:
    assert due_anchor(MemoryLedger(), NOON) is None


# Statements and signatures as documents


def test_a_statement_reads_back() -> None:
    world = World().open()
    world.now += EPOCH
    statement = anchor(world)
    assert parse_statement(statement.body()) == statement
    document = json.loads(json.dumps(signed(statement).to_wire()))
    assert signed_root_of(document) == signed(statement)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "p2ptrade.root.v2"},
        {"more": 1},
        {"last_epoch": "1963584"},
        {"first_seq": True},
        {"root": 7},
    ],
)
def test_another_document_is_no_statement(changes: dict[str, Any]) -> None:
    with pytest.raises(CanonicalError):
        statement_of(VECTOR["statement"] | changes)


def test_no_field_of_a_statement_may_be_missing() -> None:
    for name in VECTOR["statement"]:
        document = {key: value for key, value in VECTOR["statement"].items() if key != name}
        with pytest.raises(CanonicalError):
            statement_of(document)


def test_no_field_of_a_signed_statement_can_be_changed() -> None:
    root = signed(statement_of(VECTOR["statement"]))
    assert check_root(root, HOST_KEY) is None
    for name, value in asdict(root.statement).items():
        other: Any = value + 1 if isinstance(value, int) else f"{value[:-1]}x"
        changed = replace(root, statement=replace(root.statement, **{name: other}))
        assert check_root(changed, HOST_KEY) is not None, name


@pytest.mark.parametrize("part", ["key_id", "public_key", "signature"])
def test_no_part_of_a_countersignature_can_be_changed(part: str) -> None:
    root = signed(statement_of(VECTOR["statement"]))
    [other] = root.countersignatures
    changed = replace(other, **{part: f"x{getattr(other, part)[1:]}"})
    why = check_root(replace(root, countersignatures=(changed,)), HOST_KEY)
    assert why is not None
    assert "countersignature" in why


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("", id="empty"),
        pytest.param("AAAA", id="too short"),
        pytest.param("é" * 44, id="not ASCII"),
        pytest.param("A" * 43 + "B", id="unused bits set"),
        pytest.param(" " + "A" * 43, id="white space"),
    ],
)
def test_a_key_that_is_none_holds_nothing(bad: str) -> None:
    assert not holds(bad, b"x", base64.b64encode(bytes(64)).decode())


def test_a_statement_is_not_taken_for_a_countersignature() -> None:
    root = signed(statement_of(VECTOR["statement"]))
    [other] = root.countersignatures
    stolen = replace(other, public_key=HOST_KEY, signature=root.signature)
    assert check_root(replace(root, countersignatures=(stolen,)), HOST_KEY) is not None


def test_platforms_of_users_are_parties_and_others_are_not() -> None:
    world = Market().set_up()
    parties = {
        name: represents_somebody(world.ledger, name)
        for name in ("bap", "bpp", "alice", "bap.other", "grid", "treasurer", BUYER_APP.key_id)
    }
    assert [name for name, is_party in parties.items() if is_party] == ["bap", "bpp", "alice"]
