"""Several processes of one node on one PostgreSQL database."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from adapter.service.ports import Store, UnitOfWork
from adapter.service.records import OutboxState
from adapter.settlement.order_rows import ClearedEpoch, cleared_key
from adapter.store.audit import audit_database
from adapter.store.postgres import PostgresStore
from tests.fakes.command_line import p2ptrade
from tests.fakes.postgres import PostgresServer
from tests.store.child_postgres import BATCH, COMMANDS, LEASE_MS, fill_book, open_ledger
from tests.store.samples import outbox_row, sent
from tests.unit.settlement.world import EPOCH

ROOT = Path(__file__).parents[2]
ROWS = 200
WAIT_S = 50


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.lent() as lent:
        yield lent


@contextmanager
def workers(url: str, task: str, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Give processes that have just begun, all at once."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.store.child_postgres", url, task, str(number)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(count)
        ]
        for process in running:
            assert line_of(process) == "ready"
        for process in running:
            go_on(process)
        try:
            yield running
        finally:
            for process in running:
                process.kill()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().removesuffix("\n")


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    """Return what a process says until it ends, which it must do well."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.split()


async def queue(store: Store, count: int) -> set[int]:
    return set(
        await store.write(lambda uow: [uow.enqueue(outbox_row(f"t{n}")) for n in range(count)])
    )


async def test_two_processes_never_send_one_row_twice(url: str) -> None:
    store = PostgresStore(url)
    queued = await queue(store, ROWS)
    with workers(url, "drain", 2) as running:
        sent = [[int(line) for line in lines_of(process)] for process in running]
    counts = Counter(sent[0] + sent[1])
    assert set(counts) == queued
    assert set(counts.values()) == {1}
    assert all(sent), "one of them did all the work, so nothing was tried"
    assert await store.read(lambda uow: uow.next_outbox_ms()) is None
    await store.close()


async def test_what_a_killed_process_had_claimed_is_sent_by_another(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = PostgresStore(url)
    queued = await queue(store, 3 * BATCH)
    with workers(url, "hang", 1) as [process]:
        claimed = {int(word) for word in line_of(process).split()}
        taken = {int(word) for word in line_of(process).split()}
        assert len(claimed) == len(taken) == BATCH
        process.kill()
        process.wait()
    # What it had not committed is due at once, as soon as the server knows; what it had, when a
    # process starts again.
    free: set[int] = set()
    until = time.monotonic() + WAIT_S
    while free != queued - claimed and time.monotonic() < until:
        free |= {row.id for row in await store.write(lambda uow: uow.claim_outbox(1, 9, ROWS))}
    assert free == queued - claimed
    again = PostgresStore(url)
    assert f"{BATCH} messages it had claimed are due again" in caplog.text
    released = await again.write(lambda uow: uow.claim_outbox(1, LEASE_MS, ROWS))
    assert {row.id for row in released} == claimed
    await again.close()
    await store.close()


async def test_what_a_killed_process_had_claimed_is_due_again_after_its_lease(url: str) -> None:
    """Also when no process starts anew: under the same message id, so that the peer knows it."""
    store = PostgresStore(url)
    await queue(store, BATCH)
    before = await store.read(lambda uow: uow.messages(f"t{n}" for n in range(BATCH)))
    with workers(url, "hang", 1) as [process]:
        claimed = {int(word) for word in line_of(process).split()}
        assert await store.write(lambda uow: uow.claim_outbox(LEASE_MS, LEASE_MS, ROWS)) == []
        process.kill()
        process.wait()
    again = await store.write(lambda uow: uow.claim_outbox(1 + LEASE_MS, LEASE_MS, ROWS))
    assert {row.id for row in again} == claimed
    assert {row.message_id for row in again} == {one.message_id for one in before}
    await store.close()


async def test_a_process_that_starts_leaves_the_claims_of_those_that_live(url: str) -> None:
    store = PostgresStore(url)
    queued = await queue(store, 3)
    assert await store.write(lambda uow: uow.claim_outbox(1, LEASE_MS, 9))
    again = PostgresStore(url)
    assert await again.write(lambda uow: uow.claim_outbox(LEASE_MS, LEASE_MS, 9)) == []
    late = await again.write(lambda uow: uow.claim_outbox(1 + LEASE_MS, LEASE_MS, 9))
    assert {row.id for row in late} == queued
    await again.close()
    await store.close()


async def test_what_is_written_back_after_the_lease_does_not_undo_what_another_did(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    slow, other = PostgresStore(url), PostgresStore(url)
    [row_id] = await queue(slow, 1)
    [late] = await slow.write(lambda uow: uow.claim_outbox(1, LEASE_MS, 9))
    again = replace(late, state=OutboxState.DUE, attempts=1, next_ms=7)
    [row] = await other.write(lambda uow: uow.claim_outbox(1 + LEASE_MS, LEASE_MS, 9))
    assert not await slow.write(lambda uow: uow.save_outbox(again))  # so no trade hears of it
    assert await slow.read(lambda uow: uow.outbox_row(row_id)) == row  # still the other's
    assert await other.write(lambda uow: uow.save_outbox(sent(row)))
    assert not await slow.write(lambda uow: uow.save_outbox(again))
    assert await slow.read(lambda uow: uow.outbox_row(row_id)) == sent(row)
    assert [one for one in caplog.messages if "is dropped" in one] == 2 * [
        f"outbox row {row_id} is not ours any more, DUE is dropped"
    ]
    await slow.close()
    await other.close()


async def test_what_a_unit_has_read_it_may_change_whoever_had_claimed_it(url: str) -> None:
    """As a dead letter that is sent again, and a request that was answered."""
    one, other = PostgresStore(url), PostgresStore(url)
    [row_id] = await queue(one, 1)
    [row] = await one.write(lambda uow: uow.claim_outbox(1, LEASE_MS, 9))
    await one.write(lambda uow: uow.save_outbox(replace(row, state=OutboxState.DEAD)))

    def revive(uow: UnitOfWork) -> None:
        dead = uow.outbox_row(row_id)
        assert dead is not None
        uow.save_outbox(replace(dead, state=OutboxState.DUE, next_ms=5))

    def answered(uow: UnitOfWork) -> None:
        assert uow.is_due(row.message_id, row.action)
        asked = uow.find_outbox(row.message_id, row.action)
        assert asked is not None
        uow.save_outbox(sent(asked))

    await other.write(revive)
    assert await one.read(lambda uow: uow.next_outbox_ms()) == 5
    await other.write(answered)
    assert await one.read(lambda uow: uow.next_outbox_ms()) is None
    await one.close()
    await other.close()


async def test_a_row_is_written_back_on_any_session_of_its_process(url: str) -> None:
    """Also on one that was opened since: the claim is the process's, not the session's."""
    store = PostgresStore(url)
    await queue(store, ROWS)
    rows = await store.write(lambda uow: uow.claim_outbox(1, LEASE_MS, ROWS))
    for row in rows:
        await store.write(lambda uow, row=row: uow.save_outbox(sent(row)))  # type: ignore[misc]
    assert await store.read(lambda uow: uow.next_outbox_ms()) is None
    await store.close()


async def test_processes_that_clear_an_epoch_at_once_clear_it_once(url: str) -> None:
    store = PostgresStore(url)
    await store.write(fill_book)
    with workers(url, "clear", 4) as running:
        for process in running:
            assert line_of(process) == "due"  # all of them have seen it
        for process in running:
            go_on(process)
        said = Counter(word for process in running for word in lines_of(process))
    entries = await store.read(lambda uow: list(uow.ledger.entries(-1, 1_000)))
    upkeep = [entry for entry in entries if b'"perform_upkeep"' in entry.body]
    assert len(upkeep) == 1
    assert said["done"] == 1
    epoch = entries[-1].time_ms // EPOCH - 2
    cleared = await store.read(lambda uow: uow.ledger.get(ClearedEpoch, cleared_key("main", epoch)))
    assert cleared is not None
    assert cleared.trades > 0
    audit = audit_database(url)
    assert audit.verdict.ok, audit.verdict.why
    await store.close()


async def test_four_processes_write_one_chain(url: str) -> None:
    """I23: what is stored is what one after the other would store, in the order of `seq`."""
    store = PostgresStore(url)
    await store.write(open_ledger)
    with workers(url, "trade", 4) as running:
        said = Counter(word for process in running for word in lines_of(process))
    # Room for 50 kWh at the buyer's meter, 2 kWh each.
    assert said == {"agreed": 25, "TRADE_CAP_EXCEEDED": 4 * COMMANDS - 25}
    audit = audit_database(url)
    assert audit.verdict.ok, audit.verdict.why
    first = await store.read(lambda uow: uow.ledger.head())
    assert first is not None
    assert audit.verdict.entries == first.seq + 1
    await store.close()
    told = p2ptrade("ledger", "verify", "--database", url, "--json")
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert (document["ok"], document["head"]) == (True, first.hash)
