"""`ledger verify`, steps 3, 6 and 7: blocks, signed statements, what was cut off."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapter.settlement import Block, Entry, SignedRoot, UnreadableRoot, Verdict, verify
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.anchored import (
    BUYER_APP,
    KeyedMarket,
    settled_market,
    signed,
    statements,
)
from tests.unit.settlement.trading import BOOK_A, RATES, Trading
from tests.unit.settlement.world import Market, World


@pytest.fixture(scope="module")
def world() -> KeyedMarket:
    return settled_market()


@pytest.fixture(scope="module")
def roots(world: KeyedMarket) -> list[SignedRoot]:
    return [signed(statement) for statement in statements(world)]


def entries(world: World) -> list[Entry]:
    return list(world.ledger.entries(-1, 10_000))


def checked(log: Sequence[bytes | Entry], roots: Sequence[Any] = (), **options: Any) -> Verdict:
    return verify(log, MemoryLedger(), None, roots, **options)


def changed(entry: Entry, body: bytes) -> Entry:
    return replace(entry, body=body)


def test_a_ledger_with_its_statements_verifies(world: KeyedMarket, roots: list[SignedRoot]) -> None:
    verdict = verify(entries(world), MemoryLedger(), world.ledger, roots, all_signed=True)
    assert (verdict.ok, verdict.roots) == (True, 2), verdict.why


@pytest.mark.parametrize("mask", [0x01, 0x04])
def test_every_flipped_byte_of_a_row_is_named_as_that_entry(
    world: KeyedMarket, roots: list[SignedRoot], mask: int
) -> None:
    log = entries(world)
    for seq in range(len(log)):
        body = log[seq].body
        step = 1 if seq == len(log) // 2 else 97
        for position in range(seq % step, len(body), step):
            flipped = body[:position] + bytes([body[position] ^ mask]) + body[position + 1 :]
            found = checked([*log[:seq], changed(log[seq], flipped), *log[seq + 1 :]], roots)
            assert (found.ok, found.bad_seq) == (False, seq), (position, found.why)
            assert found.why[0] in "12345", found.why


@pytest.mark.parametrize(
    "fields",
    [{"time_ms": 1}, {"seq": 99}, {"hash": "0" * 64}],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_row_says_beside_its_bytes_is_compared(
    world: KeyedMarket, fields: dict[str, Any]
) -> None:
    log = entries(world)
    found = checked([*log[:3], replace(log[3], **fields), *log[4:]])
    assert (found.bad_seq, found.why[:7]) == (3, "2 chain")


@pytest.mark.parametrize(
    ("change", "bad_seq", "step"),
    [
        pytest.param(lambda log: log[1:], 0, "1 seq", id="the first entry gone"),
        pytest.param(lambda log: log[:4] + log[5:], 4, "1 seq", id="an entry dropped"),
        pytest.param(lambda log: [*log[:4], log[5], log[4], *log[6:]], 4, "1 seq", id="swapped"),
        pytest.param(lambda log: [*log[:4], log[3], *log[4:]], 4, "1 seq", id="doubled"),
        pytest.param(lambda log: log[:-1], -1, "7 trunc", id="the last entry cut off"),
        pytest.param(lambda log: log[:-9], -9, "7 trunc", id="many cut off"),
        pytest.param(lambda log: log[:1], 1, "7 trunc", id="all but the first cut off"),
        pytest.param(lambda log: [], 0, "6 roots", id="nothing left, so no key either"),
    ],
)
def test_dropped_moved_and_cut_off_entries_are_named(
    world: KeyedMarket,
    roots: list[SignedRoot],
    change: Callable[[list[Entry]], list[Entry]],
    bad_seq: int,
    step: str,
) -> None:
    log = entries(world)
    found = checked([entry.body for entry in change(log)], roots)
    if step != "6 roots":
        assert found.bad_seq == (bad_seq if bad_seq >= 0 else len(log) + bad_seq)
    assert not found.ok
    assert found.why.startswith(step)


def test_every_place_to_cut_a_journal_is_found_by_its_statement(
    world: KeyedMarket, roots: list[SignedRoot]
) -> None:
    log = [entry.body for entry in entries(world)]
    for length in range(1, len(log)):
        found = checked(log[:length], roots[-1:])
        assert (found.ok, found.bad_seq) == (False, length), found.why


def test_a_cut_behind_the_last_statement_is_not_known_to_anybody(
    world: KeyedMarket, roots: list[SignedRoot]
) -> None:
    first = roots[0].statement
    log = [entry.body for entry in entries(world)]
    assert checked(log[: first.last_seq + 2], roots[:1]).ok


def test_another_journal_with_the_same_keys_is_not_the_one_that_was_signed(
    roots: list[SignedRoot],
) -> None:
    other = settled_market()
    forged = KeyedMarket().set_up(funds=21)
    forged.agree()
    forged.now = other.now
    for _ in range(12):
        forged.deposit("alice", 1)
    log = [entry.body for entry in entries(forged)]
    found = checked(log, roots[:1])
    assert not found.ok
    assert found.why.startswith("6 roots")
    assert found.bad_seq == roots[0].statement.first_seq


def test_signatures_are_checked_with_the_key_of_entry_0(
    world: KeyedMarket, roots: list[SignedRoot]
) -> None:
    log = entries(world)
    for bad in (
        replace(roots[0], signature=roots[1].signature),
        replace(roots[0], signature=""),
        replace(roots[0], countersignatures=(signed(roots[1].statement).countersignatures)),
    ):
        found = checked(log, [bad])
        assert (found.bad_seq, found.why[:7]) == (roots[0].statement.last_seq + 1, "6 roots")


def test_a_ledger_without_keys_has_no_signed_statements() -> None:
    world = Market().set_up()
    world.now += 900_000
    world.do("trading.close_epoch", "system", first=1_963_632, last=1_963_632)
    found = checked(entries(world), [signed(statements(world)[0])])
    assert "names no key" in found.why


def test_a_lost_signature_is_found_where_all_are_kept(
    world: KeyedMarket, roots: list[SignedRoot]
) -> None:
    log = entries(world)
    found = checked(log, roots[1:], all_signed=True)
    assert (found.bad_seq, found.ok) == (roots[0].statement.last_seq + 1, False)
    assert checked(log, roots[1:]).ok
    assert checked(log, roots[:1], all_signed=True).ok  # the newest may be about to be signed


def test_a_kept_statement_that_cannot_be_read_is_named(
    world: KeyedMarket, roots: list[SignedRoot]
) -> None:
    bad = UnreadableRoot(roots[0].statement.last_epoch, "not readable")
    found = checked(entries(world), [bad, roots[1]])
    assert (found.bad_seq, found.ok) == (roots[0].statement.last_seq + 1, False)
    assert "not readable" in found.why


def test_countersigners_may_be_several(world: KeyedMarket) -> None:
    root = signed(statements(world)[0], by=(BUYER_APP, BUYER_APP))
    assert checked(entries(world), [root]).ok


# Blocks


def cleared_ledger() -> MemoryLedger:
    """Return a ledger with a block of orders and one of trades."""
    world = Trading().set_up(RATES)
    world.enter(BOOK_A)
    world.clear()
    assert isinstance(world.ledger, MemoryLedger)
    return world.ledger


def with_blocks(ledger: MemoryLedger, changes: dict[str, Block | None]) -> Verdict:
    """Verify a ledger whose kept blocks are others; None: gone."""
    other = ledger.copy()
    for (seq, name), block in list(other._blocks.items()):
        new = changes.get(name, block)
        if new is None:
            del other._blocks[seq, name]
        else:
            other._blocks[seq, name] = new
    return verify(other.entries(-1, 10_000), MemoryLedger(), other)


def test_every_flipped_byte_of_a_block_is_named_as_its_entry() -> None:
    ledger = cleared_ledger()
    blocks = {name: block for (_, name), block in ledger._blocks.items()}
    [seq] = {seq for seq, _ in ledger._blocks}
    assert blocks.keys() == {"orders", "trades"}
    assert with_blocks(ledger, {}).ok
    for name, block in blocks.items():
        for position in range(0, len(block.data), 5):
            data = bytearray(block.data)
            data[position] ^= 1
            found = with_blocks(ledger, {name: replace(block, data=bytes(data))})
            assert (found.bad_seq, found.why[:8]) == (seq, "3 blocks"), (name, position)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda block: None, id="gone"),
        pytest.param(lambda block: replace(block, data=block.data[:-24]), id="a row short"),
        pytest.param(lambda block: replace(block, data=block.data[:-1]), id="a byte short"),
        pytest.param(lambda block: replace(block, data=block.data * 2), id="twice"),
        pytest.param(lambda block: replace(block, leaf_rows=2), id="other leaves"),
        pytest.param(
            lambda block: replace(block, data=block.data[24:] + block.data[:24]), id="rows moved"
        ),
    ],
)
def test_a_block_that_is_not_the_one_named_is_found(
    change: Callable[[Block], Block | None],
) -> None:
    ledger = cleared_ledger()
    for (seq, name), block in ledger._blocks.items():
        found = with_blocks(ledger, {name: change(block)})
        assert (found.bad_seq, found.why[:8]) == (seq, "3 blocks"), found.why


def test_without_kept_blocks_the_replay_gives_them() -> None:
    ledger = cleared_ledger()
    log = [entry.body for entry in ledger.entries(-1, 10_000)]
    assert checked(log).ok
