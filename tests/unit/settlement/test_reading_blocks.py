"""Blocks of readings: all rows or none, one signature, balances in one sum per owner."""

import base64
import struct
from dataclasses import replace
from typing import Any

import pytest
from nacl.signing import SigningKey

from adapter.settlement import Receipt, reading_bytes, verify
from adapter.settlement.contracts.reading_blocks import block_bytes
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import (
    EPOCH,
    NOON,
    Market,
    World,
    events_of,
    settled_with,
    sqlite_ledger,
)

SUBMIT = "oracle.submit_readings"
HEAD_END = SigningKey(b"head-end".ljust(32, b"\0"))
FIRST = NOON // EPOCH


def metered(world: World, *meters: tuple[str, str], **args: Any) -> None:
    """Assign meters whose readings one head-end signs; they get the next numbers."""
    key = base64.b64encode(bytes(HEAD_END.verify_key)).decode()
    now, world.now = world.now, world.now - EPOCH
    for meter, owner in meters:
        terms = {"owner": owner, "capacity_kw": 15, "public_key": key, **args}
        world.do("registry.assign_meter", "regulator", meter_id=meter, **terms)
    world.now = now


@pytest.fixture
def world() -> World:
    """Return a ledger with meters 1 and 2 of alice and 3 of bob, two intervals later."""
    world = World().open()
    for user in ("alice", "bob"):
        world.user(user)
    metered(world, ("m-1", "alice"), ("m-2", "alice"), ("m-3", "bob"))
    world.now = NOON + 2 * EPOCH
    return world


def signed(*rows: tuple[int, int, int, int], key: SigningKey = HEAD_END) -> dict[str, str]:
    """Return the arguments for rows of (meter number, quarter after noon, kWh out, kWh in)."""
    packed = b"".join(
        struct.pack("<qqqq", number, FIRST + quarter, out * 10**6, taken * 10**6)
        for number, quarter, out, taken in rows
    )
    return arguments(packed, key)


def arguments(packed: bytes, key: SigningKey = HEAD_END, ledger: str = "grid") -> dict[str, str]:
    signature = key.sign(block_bytes(ledger, packed)).signature
    return {
        "block": base64.b64encode(packed).decode(),
        "signature": base64.b64encode(signature).decode(),
    }


GOOD = ((1, 0, 1, 0), (2, 0, 2, 1), (3, 0, 3, 0), (1, 1, 1, 0))


def submit(world: World, *rows: tuple[int, int, int, int]) -> Receipt:
    return world.do(SUBMIT, "headend", **signed(*rows))


def test_the_answer_of_assign_meter_names_the_number(world: World) -> None:
    key = base64.b64encode(bytes(HEAD_END.verify_key)).decode()
    args = {"owner": "bob", "capacity_kw": 1, "public_key": key}
    receipt = world.do("registry.assign_meter", "regulator", meter_id="m-4", **args)
    assert receipt.result["number"] == 4


def test_a_block_is_stored_and_minted_in_one_sum_per_owner(world: World) -> None:
    receipt = submit(world, *GOOD)
    assert receipt.result == {"rows": 4, "stored": 4}
    # alice has 1 + 2 + 1, bob 3.
    assert (world.posted("alice", "GRID"), world.posted("bob", "GRID")) == (4_000_000, 3_000_000)
    minted = {e.fields["to"]: e.fields["amount"] for e in events_of([receipt], "Minted")}
    assert minted == {"alice": 4_000_000, "bob": 3_000_000}
    (stored,) = events_of([receipt], "ReadingsStored")
    assert (stored.fields["rows"], stored.fields["generated"]) == (4, 7_000_000)
    reading = world.read("oracle.get_reading", meter_id="m-2", interval=NOON)
    assert (reading["generated"], reading["consumed"], reading["minted"]) == ("2", "1", "2")


def test_the_entry_names_the_rows_and_the_store_keeps_them(world: World) -> None:
    receipt = submit(world, *GOOD)
    entry = world.ledger.entry(receipt.seq)
    assert entry is not None
    assert signed(*GOOD)["block"].encode() not in entry.body
    block = world.ledger.block(receipt.seq, "readings")
    assert block is not None
    assert block.rows == 4
    assert block.root.encode() in entry.body
    assert block.digest().sha256.encode() in entry.body


def test_a_block_gives_agreements_what_single_readings_give() -> None:
    states = []
    for in_block in (True, False):
        world = Market().open()
        for user in ("alice", "bob"):
            world.user(user, representative={"alice": "bap", "bob": "bpp"}[user])
        metered(world, ("m-buy", "alice"), ("m-sell", "bob"))
        world.deposit("alice", 20)
        world.do("token.approve", "bap", "alice", spender="network", value=20, asset="USD")
        world.agree(energy_amount_kwh=8)
        world.now = world.end
        quarters = range(1, 5)
        if in_block:
            rows = [(n, q, 3 * (n == 2), 2 * (n == 1)) for q in quarters for n in (1, 2)]
            submit(world, *rows)
        else:
            for quarter in quarters:
                for meter, out, taken in (("m-buy", 0, 2), ("m-sell", 3, 0)):
                    world.keys[meter] = HEAD_END
                    world.submit(meter, NOON + quarter * EPOCH, out, taken)
        world.tick()
        owners = [(who, what) for who in ("alice", "bob") for what in ("GRID", "USD")]
        states.append([world.posted(*one) for one in owners])
    # 8 kWh at 0.15 + 0.025: 20 − 1.40; 12 generated, 8 sold.
    assert states[0] == [8_000_000, 18_600_000, 4_000_000, 1_200_000]
    assert states[0] == states[1]


def test_rows_that_are_stored_already_change_nothing(world: World) -> None:
    submit(world, *GOOD[:2])
    receipt = submit(world, *GOOD)
    assert receipt.result == {"rows": 4, "stored": 2}
    assert world.posted("alice", "GRID") == 4_000_000
    before = world.fingerprint()
    assert submit(world, *GOOD).result == {"rows": 4, "stored": 0}
    assert world.fingerprint() == before


def test_a_single_reading_of_the_same_numbers_is_the_same_reading(world: World) -> None:
    submit(world, *GOOD)
    before = world.fingerprint()
    data = {"meter_id": "m-1", "start": NOON, "end": NOON + EPOCH, "generated": 1, "consumed": 0}
    signature = HEAD_END.sign(reading_bytes(data)).signature
    data["signature"] = base64.b64encode(signature).decode()
    world.do("oracle.submit_reading", "headend", meter_data=data)
    assert world.fingerprint() == before


def test_generation_of_a_suspended_owner_is_withheld(world: World) -> None:
    suspend = {"user": "bob", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **suspend)
    (stored,) = events_of([submit(world, *GOOD)], "ReadingsStored")
    assert stored.fields["withheld"] == 3_000_000
    assert world.posted("bob", "GRID") == 0


def test_refusals_of_submit_readings_in_order(world: World) -> None:
    world.now = NOON
    world.meter("m-own", "alice")  # number 4, signs for itself
    metered(world, ("m-load", "alice"), kind="CONSUMPTION")  # number 5
    world.now = NOON + 2 * EPOCH
    world.refused("INVALID_INPUT", SUBMIT, "eve", block="AAAA", signature="A" * 88)
    world.refused("NOT_ORACLE_OPERATOR", SUBMIT, "eve", **signed((9, 0, 1, 0)))
    world.refused("METER_NOT_FOUND", SUBMIT, "headend", **signed((1, -9, 1, 0), (9, 0, 1, 0)))
    world.refused("METER_MISMATCH", SUBMIT, "headend", **signed((1, -9, 1, 0), (2, 0, 1, 0)))
    world.refused("METER_MISMATCH", SUBMIT, "headend", **signed((5, 0, 1, 0)))
    world.refused("INVALID_SIGNATURE", SUBMIT, "headend", **signed((1, 0, 1, 0), (4, 0, 1, 0)))
    submit(world, (1, 0, 1, 0))
    world.refused("READING_CONFLICT", SUBMIT, "headend", **signed((1, 0, 2, 0), (1, 9, 99, 0)))
    world.refused("INTERVAL_NOT_ENDED", SUBMIT, "headend", **signed((1, 1, 99, 0), (1, 2, 0, 0)))
    # 15 kW make 3.75 kWh in a quarter of an hour.
    world.refused("CAPACITY_EXCEEDED", SUBMIT, "headend", **signed((1, 1, 1, 0), (2, 1, 4, 0)))


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="no row"),
        pytest.param(bytes(31), id="no whole row"),
        pytest.param(struct.pack("<qqqq", 0, FIRST, 0, 0), id="meter number 0"),
        pytest.param(struct.pack("<qqqq", 1, -1, 0, 0), id="epoch before 1970"),
        pytest.param(struct.pack("<qqqq", 1, 2**62, 0, 0), id="epoch beyond all times"),
        pytest.param(2 * struct.pack("<qqqq", 1, FIRST, 0, 0), id="a row twice"),
        pytest.param(
            struct.pack("<qqqqqqqq", 2, FIRST, 0, 0, 1, FIRST, 0, 0), id="meters out of order"
        ),
        pytest.param(
            struct.pack("<qqqqqqqq", 1, FIRST + 1, 0, 0, 1, FIRST, 0, 0), id="epochs out of order"
        ),
    ],
)
def test_malformed_blocks_are_refused(world: World, packed: bytes) -> None:
    world.refused("INVALID_INPUT", SUBMIT, "headend", **arguments(packed))


@pytest.mark.parametrize("energy", [-1, 10**12 + 1])
def test_energies_out_of_bounds_are_refused(world: World, energy: int) -> None:
    for row in ((1, FIRST, energy, 0), (1, FIRST, 0, energy)):
        args = arguments(struct.pack("<qqqq", *row))
        world.refused("INVALID_ENERGY_AMOUNT", SUBMIT, "headend", **args)


def test_text_that_is_no_base64_is_refused(world: World) -> None:
    args = {**signed(*GOOD), "block": "not base64!"}
    world.refused("INVALID_INPUT", SUBMIT, "headend", **args)


@pytest.mark.parametrize("change", ["row", "key", "ledger", "signature"])
def test_only_the_head_end_of_these_meters_signs_for_them(world: World, change: str) -> None:
    packed = base64.b64decode(signed(*GOOD)["block"])
    args = {
        "row": {**signed(*GOOD), "block": signed((1, 0, 2, 0), *GOOD[1:])["block"]},
        "key": arguments(packed, SigningKey.generate()),
        "ledger": arguments(packed, ledger="another"),
        "signature": {**signed(*GOOD), "signature": "AAAA"},
    }[change]
    world.refused("INVALID_SIGNATURE", SUBMIT, "headend", **args)


def test_a_repeated_command_is_told_from_another_block(world: World) -> None:
    world.do(SUBMIT, "headend", cmd="b-1", **signed(*GOOD))
    again = world.do(SUBMIT, "headend", cmd="b-1", **signed(*GOOD))
    assert again.replayed
    world.refused("IDEMPOTENCY_CONFLICT", SUBMIT, "headend", cmd="b-1", **signed(*GOOD[:1]))


def test_blocks_are_kept_by_sqlite_with_the_leaves_of_the_setting() -> None:
    world = World(sqlite_ledger()).open(settled_with(leaf_rows=2))
    world.user("alice")
    metered(world, ("m-1", "alice"))
    world.now = NOON + 3 * EPOCH
    receipt = submit(world, (1, 0, 1, 0), (1, 1, 1, 0), (1, 2, 1, 0))
    block = world.ledger.block(receipt.seq, "readings")
    assert block is not None
    assert (block.rows, block.leaf_rows, len(block.leaves())) == (3, 2, 2)


def journal(world: World) -> list[bytes]:
    return [entry.body for entry in world.ledger.entries(-1, 1_000)]


def test_the_journal_is_verified_with_the_rows_and_not_without(world: World) -> None:
    submit(world, *GOOD)
    assert verify(journal(world), MemoryLedger(), world.ledger).ok
    verdict = verify(journal(world), MemoryLedger())
    assert not verdict.ok
    assert verdict.bad_seq == len(journal(world)) - 1


def test_a_row_that_was_changed_is_found(world: World) -> None:
    receipt = submit(world, *GOOD)
    block = world.ledger.block(receipt.seq, "readings")
    assert block is not None
    forged = replace(block, data=block.data[:16] + bytes(8) + block.data[24:])
    assert isinstance(world.ledger, MemoryLedger)
    world.ledger._blocks[receipt.seq, "readings"] = forged
    verdict = verify(journal(world), MemoryLedger(), world.ledger)
    assert (verdict.ok, verdict.bad_seq) == (False, receipt.seq)
