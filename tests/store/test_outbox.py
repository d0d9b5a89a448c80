"""Messages to send: first in, first out for each (peer, transaction)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapter.domain.parties import Side
from adapter.protocol.decision import MessageKind
from adapter.service.ports import Store, UnitOfWork
from adapter.service.records import OutboxRow, OutboxState, Share
from adapter.store.errors import StoreError
from tests.store.samples import BAP, OPERATOR, outbox_row, sent

LEASE_MS = 100
FINAL = [OutboxState.SENT, OutboxState.REFUSED, OutboxState.DEAD]


async def enqueue(store: Store, *rows: OutboxRow) -> list[int]:
    return await store.write(lambda unit: [unit.enqueue(row) for row in rows])


async def claim(store: Store, now_ms: int = 1, limit: int = 99) -> Sequence[OutboxRow]:
    return await store.write(lambda unit: unit.claim_outbox(now_ms, LEASE_MS, limit))


async def claimed_ids(store: Store, now_ms: int = 1, limit: int = 99) -> list[int]:
    return [row.id for row in await claim(store, now_ms, limit)]


async def save(store: Store, row_id: int, **changes: object) -> None:
    def change(unit: UnitOfWork) -> None:
        row = unit.outbox_row(row_id)
        assert row is not None
        unit.save_outbox(replace(row, **changes))  # type: ignore[arg-type]

    await store.write(change)


async def next_ms(store: Store) -> int | None:
    return await store.read(lambda unit: unit.next_outbox_ms())


async def test_a_queued_row_comes_back_whole(store: Store) -> None:
    row = outbox_row(
        kind=MessageKind.COMPENSATION,
        side=Side.GRID_OPERATOR,
        expires_ms=9,
        request_authorization="Signature",
    )
    first, second = await enqueue(store, row, row)
    assert second > first
    assert await store.read(lambda unit: unit.outbox_row(first)) == replace(row, id=first)
    assert await store.read(lambda unit: unit.outbox_row(second + 1)) is None


async def test_what_an_attempt_brought_is_written_back(store: Store) -> None:
    [row_id] = await enqueue(store, outbox_row())
    [row] = await claim(store)
    assert row.state is OutboxState.CLAIMED
    sent = replace(
        row,
        url="https://moved.example/on_init",
        state=OutboxState.SENT,
        attempts=3,
        next_ms=7,
        expires_ms=8,
        http_status=200,
        code="BIZ_ORDER_NOT_FOUND",
        ack_signature="valid",
        sent_us=5_000,
        took_us=12,
    )
    await store.write(lambda unit: unit.save_outbox(sent))
    assert await store.read(lambda unit: unit.outbox_row(row_id)) == sent


async def test_an_unknown_row_cannot_be_saved(store: Store) -> None:
    with pytest.raises(StoreError, match="no outbox row 9"):
        await store.write(lambda unit: unit.save_outbox(outbox_row(id=9)))


async def test_the_newest_row_of_a_message_is_found(store: Store) -> None:
    await enqueue(
        store, outbox_row(message_id="m1"), outbox_row(message_id="m1", action="on_status")
    )
    [newest] = await enqueue(store, outbox_row("t2", message_id="m1"))
    found = await store.read(lambda unit: unit.find_outbox("m1", "on_init"))
    assert found is not None
    assert found.id == newest
    assert await store.read(lambda unit: unit.find_outbox("m2", "on_init")) is None


async def test_whether_a_message_is_due_is_told_by_its_newest_row(store: Store) -> None:
    async def is_due(message_id: str) -> bool:
        return await store.read(lambda unit: unit.is_due(message_id, "on_init"))

    [older] = await enqueue(store, outbox_row(message_id="m1"))
    [newer] = await enqueue(store, outbox_row("t2", message_id="m1"))
    assert await is_due("m1")
    assert not await is_due("m2")
    for row_id, expected in ((older, True), (newer, False)):
        row = await store.read(lambda unit, row_id=row_id: unit.outbox_row(row_id))  # type: ignore[misc]
        assert row is not None
        await store.write(lambda unit, row=row: unit.save_outbox(sent(row)))  # type: ignore[misc]
        assert await is_due("m1") is expected


async def test_due_rows_are_claimed_longest_due_first_up_to_the_limit(store: Store) -> None:
    first, second, third, _ = await enqueue(
        store,
        outbox_row("t1", next_ms=30),
        outbox_row("t2", next_ms=10),
        outbox_row("t3", next_ms=30),
        outbox_row("t4", next_ms=31),
    )
    assert await claimed_ids(store, now_ms=9) == []
    assert await claimed_ids(store, now_ms=30, limit=2) == [second, first]
    assert await claimed_ids(store, now_ms=30) == [third]
    assert await claimed_ids(store, now_ms=30) == []


async def test_one_of_a_line_is_in_flight(store: Store) -> None:
    first, second, third = await enqueue(store, *(outbox_row() for _ in range(3)))
    other_peer, other_transaction = await enqueue(
        store, outbox_row(peer=OPERATOR), outbox_row("t2")
    )
    assert await claimed_ids(store) == [first, other_peer, other_transaction]
    assert await claimed_ids(store) == []
    await save(store, first, state=OutboxState.SENT)
    assert await claimed_ids(store) == [second]
    await save(store, second, state=OutboxState.SENT)
    assert await claimed_ids(store) == [third]


@pytest.mark.parametrize("state", FINAL)
async def test_the_next_of_a_line_goes_once_the_first_is_done(
    store: Store, state: OutboxState
) -> None:
    first, second = await enqueue(store, outbox_row(), outbox_row())
    assert await claimed_ids(store) == [first]
    await save(store, first, state=state)
    assert await claimed_ids(store) == [second]


async def test_a_row_waits_behind_one_that_is_tried_again_later(store: Store) -> None:
    first, second = await enqueue(store, outbox_row(), outbox_row())
    assert await claimed_ids(store) == [first]
    await save(store, first, state=OutboxState.DUE, next_ms=50)
    assert await claimed_ids(store, now_ms=49) == []
    assert await next_ms(store) == 50
    assert await claimed_ids(store, now_ms=50) == [first]
    await save(store, first, state=OutboxState.SENT)
    assert await claimed_ids(store, now_ms=50) == [second]


async def test_a_row_queued_behind_a_claimed_one_waits(store: Store) -> None:
    [first] = await enqueue(store, outbox_row())
    assert await claimed_ids(store) == [first]
    [second] = await enqueue(store, outbox_row())
    assert await claimed_ids(store) == []
    await save(store, first, state=OutboxState.SENT)
    assert await claimed_ids(store) == [second]


async def test_a_line_that_ran_empty_starts_again(store: Store) -> None:
    [first] = await enqueue(store, outbox_row())
    await claim(store)
    await save(store, first, state=OutboxState.SENT)
    [second] = await enqueue(store, outbox_row())
    assert await claimed_ids(store) == [second]


async def test_a_lease_that_ended_is_claimed_again(store: Store) -> None:
    [first] = await enqueue(store, outbox_row())
    assert await claimed_ids(store, now_ms=1) == [first]
    assert await claimed_ids(store, now_ms=LEASE_MS) == []
    assert await claimed_ids(store, now_ms=1 + LEASE_MS) == [first]


async def test_a_row_saved_in_flight_keeps_its_lease(store: Store) -> None:
    [first] = await enqueue(store, outbox_row())
    await claim(store, now_ms=1)
    await save(store, first, attempts=1, next_ms=50)
    assert await next_ms(store) == 1 + LEASE_MS
    assert await claimed_ids(store, now_ms=LEASE_MS) == []


async def test_the_next_time_is_the_earliest_of_all_lines(store: Store) -> None:
    assert await next_ms(store) is None
    await enqueue(store, outbox_row("t1", next_ms=20), outbox_row("t1", next_ms=5))
    assert await next_ms(store) == 20
    await enqueue(store, outbox_row("t2", next_ms=10))
    assert await next_ms(store) == 10
    await claim(store, now_ms=10)
    assert await next_ms(store) == 20
    await claim(store, now_ms=20)
    assert await next_ms(store) == 10 + LEASE_MS


@pytest.mark.parametrize("state", FINAL)
async def test_nothing_is_next_when_all_is_done(store: Store, state: OutboxState) -> None:
    [first] = await enqueue(store, outbox_row())
    await claim(store)
    await save(store, first, state=state)
    assert await next_ms(store) is None
    assert await claimed_ids(store, now_ms=10**9) == []


async def test_dead_letters_are_listed_oldest_first(store: Store) -> None:
    first, second, third = await enqueue(store, *(outbox_row(f"t{n}") for n in range(3)))
    await claim(store)
    for row_id in (third, first):
        await save(store, row_id, state=OutboxState.DEAD)
    await save(store, second, state=OutboxState.SENT)
    dead = await store.read(lambda unit: unit.dead_outbox(9))
    assert [row.id for row in dead] == [first, third]
    assert len(await store.read(lambda unit: unit.dead_outbox(1))) == 1


async def test_a_dead_letter_sent_again_goes_before_later_rows(store: Store) -> None:
    first, second = await enqueue(store, outbox_row(), outbox_row(next_ms=5))
    await claim(store)
    await save(store, first, state=OutboxState.DEAD)
    await save(store, first, state=OutboxState.DUE, next_ms=9, attempts=0)
    assert await claimed_ids(store, now_ms=8) == []
    assert await claimed_ids(store, now_ms=9) == [first]
    await save(store, first, state=OutboxState.SENT)
    assert await claimed_ids(store, now_ms=9) == [second]


async def test_a_dead_letter_sent_again_alone_is_due(store: Store) -> None:
    [first] = await enqueue(store, outbox_row())
    await claim(store)
    await save(store, first, state=OutboxState.DEAD)
    await save(store, first, state=OutboxState.DUE, next_ms=9)
    assert await claimed_ids(store, now_ms=9) == [first]


@pytest.mark.parametrize("ends", [OutboxState.SENT, OutboxState.DUE])
async def test_a_dead_letter_sent_again_waits_for_the_row_in_flight(
    store: Store, ends: OutboxState
) -> None:
    first, second = await enqueue(store, outbox_row(), outbox_row())
    await claim(store)
    await save(store, first, state=OutboxState.DEAD)
    assert await claimed_ids(store) == [second]
    await save(store, first, state=OutboxState.DUE)
    assert await claimed_ids(store) == []
    await save(store, second, state=ends)
    assert await claimed_ids(store) == [first]


async def test_a_waiting_row_that_is_given_up_leaves_the_line(store: Store) -> None:
    first, second, third = await enqueue(store, *(outbox_row() for _ in range(3)))
    await claim(store)
    await save(store, second, state=OutboxState.DEAD)
    assert await claimed_ids(store) == []
    await save(store, first, state=OutboxState.SENT)
    assert await claimed_ids(store) == [third]


async def test_a_claim_takes_no_more_than_the_share_of_a_peer(store: Store) -> None:
    """The peer with the oldest message comes first; who has its share under way is left out."""
    rows = [outbox_row(f"t{number}", next_ms=1) for number in range(5)]
    others = [outbox_row(f"t{number}", peer=OPERATOR, next_ms=2) for number in range(5)]
    ids = await enqueue(store, *rows, *others)

    async def take(limit: int, share: Share) -> list[int]:
        claimed = await store.write(lambda unit: unit.claim_outbox(9, LEASE_MS, limit, share))
        return [row.id for row in claimed]

    assert await take(99, Share(2, {BAP: 0})) == ids[5:7]
    assert await take(99, Share(1, {OPERATOR: 0})) == ids[:1]
    assert await take(3, Share(8, {BAP: 2})) == [*ids[1:3], ids[7]]
    assert await take(99, Share(0)) == []
    assert await take(99, Share(0, {"nobody.example": 9})) == []
    assert await take(99, Share(9)) == [*ids[3:5], *ids[8:]]


async def test_a_claim_passes_over_all_that_waits_for_a_peer_that_is_left_out(store: Store) -> None:
    ids = await enqueue(store, *(outbox_row(f"t{number}") for number in range(50)))
    [last] = await enqueue(store, outbox_row("other", peer=OPERATOR, next_ms=5))
    assert await next_ms(store) == 1
    claimed = await store.write(lambda unit: unit.claim_outbox(9, LEASE_MS, 64, Share(8, {BAP: 0})))
    assert [row.id for row in claimed] == [last]
    assert await claimed_ids(store, now_ms=9) == ids
