"""The log of a transaction's messages, and how old ones are forgotten."""

from dataclasses import replace

import pytest

from adapter.domain.trade import TradeState
from adapter.service.ports import Store, UnitOfWork
from adapter.service.records import AskedState, OutboxState, signature_mark
from adapter.store.sqlite_table import Table
from tests.store.samples import BAP, asked, inbox_row, leg, outbox_row, trade


async def test_messages_of_transactions_are_listed_by_time(store: Store) -> None:
    def fill(unit: UnitOfWork) -> None:
        unit.add_inbox_row(inbox_row("in1", received_us=2_000))
        unit.add_inbox_row(inbox_row("in2", received_us=6_000, transaction_id="t2"))
        unit.add_inbox_row(inbox_row("in3", received_us=1, transaction_id="t3"))
        unit.enqueue(outbox_row("t1", message_id="out1", created_ms=4))
        sent = unit.enqueue(outbox_row("t2", message_id="out2", created_ms=1))
        unit.save_outbox(
            outbox_row("t2", id=sent, message_id="out2", state=OutboxState.SENT, sent_us=8_000)
        )

    await store.write(fill)
    found = await store.read(lambda unit: unit.messages(["t1", "t2", "t1"]))
    assert [(message.message_id, message.at_us) for message in found] == [
        ("in1", 2_000),
        ("out1", 4_000),
        ("in2", 6_000),
        ("out2", 8_000),
    ]


async def test_a_message_in_is_logged(store: Store) -> None:
    await store.write(lambda unit: unit.add_inbox_row(inbox_row()))
    [message] = await store.read(lambda unit: unit.messages(["t1"]))
    assert (message.direction, message.sender, message.receiver) == ("in", BAP, "")
    assert (message.state, message.signature, message.attempts) == ("ACK", "valid", 1)
    assert (message.next_ms, message.took_us, message.body) == (None, None, inbox_row().body)


@pytest.mark.parametrize(
    ("code", "status", "state"),
    [
        pytest.param("BIZ_ORDER_NOT_FOUND", 400, "NACK", id="refused"),
        pytest.param("BIZ_ALREADY_CANCELLED", 202, "ACK", id="acknowledged with a code"),
        pytest.param("XYZ_OWN", 400, "NACK", id="a code of another list"),
    ],
)
async def test_a_refused_message_is_logged(
    store: Store, code: str, status: int, state: str
) -> None:
    await store.write(lambda unit: unit.add_inbox_row(inbox_row(code=code, http_status=status)))
    [message] = await store.read(lambda unit: unit.messages(["t1"]))
    assert (message.state, message.code, message.http_status) == (state, code, status)


async def test_a_message_out_is_logged(store: Store) -> None:
    def fill(unit: UnitOfWork) -> None:
        row_id = unit.enqueue(outbox_row())
        unit.save_outbox(
            outbox_row(id=row_id, attempts=2, next_ms=9, ack_signature="missing", took_us=7)
        )

    await store.write(fill)
    [message] = await store.read(lambda unit: unit.messages(["t1"]))
    assert (message.direction, message.sender, message.receiver) == ("out", "", BAP)
    assert (message.state, message.signature, message.attempts) == ("DUE", "missing", 2)
    assert (message.next_ms, message.took_us) == (9, 7)


async def test_a_message_that_was_sent_is_due_no_more(store: Store) -> None:
    await store.write(lambda unit: queue_as(unit, OutboxState.SENT, next_ms=9))
    [message] = await store.read(lambda unit: unit.messages(["t1"]))
    assert (message.state, message.next_ms) == ("SENT", None)


async def prune(store: Store, before_us: int = 10_000, limit: int = 99) -> int:
    return await store.write(lambda unit: unit.prune(before_us, limit))


def queue_as(unit: UnitOfWork, state: OutboxState, **changes: object) -> int:
    row_id = unit.enqueue(outbox_row(**changes))  # type: ignore[arg-type]
    row = unit.outbox_row(row_id)
    assert row is not None
    if state is not OutboxState.DUE:
        unit.save_outbox(replace(row, state=state))
    return row_id


async def test_old_messages_without_a_trade_are_deleted(store: Store) -> None:
    def fill(unit: UnitOfWork) -> int:
        unit.add_inbox_row(inbox_row("old", received_us=9_999))
        unit.add_inbox_row(inbox_row("young", received_us=10_000))
        return queue_as(unit, OutboxState.SENT, created_ms=9)

    sent = await store.write(fill)
    assert await prune(store) == 2
    assert await store.read(lambda unit: unit.inbox_row(BAP, "old", "init", "")) is None
    assert await store.read(lambda unit: unit.inbox_row(BAP, "young", "init", ""))
    assert await store.read(lambda unit: unit.outbox_row(sent)) is None
    assert await prune(store) == 0


@pytest.mark.parametrize(
    ("state", "goes"),
    [
        (state, state in (OutboxState.SENT, OutboxState.REFUSED))
        for state in OutboxState
        if state != "CLAIMED"
    ],
)
async def test_messages_out_are_deleted_only_once_delivered(
    store: Store, state: OutboxState, *, goes: bool
) -> None:
    row_id = await store.write(lambda unit: queue_as(unit, state))
    assert await prune(store) == goes
    assert (await store.read(lambda unit: unit.outbox_row(row_id)) is None) == goes


@pytest.mark.parametrize(
    ("state", "goes"), [(state, state in ("COMPLETED", "TERMINATED")) for state in TradeState]
)
@pytest.mark.parametrize("transaction_id", ["t1", "t-leg"])
async def test_messages_of_an_open_trade_and_its_leg_are_kept(
    store: Store, state: TradeState, transaction_id: str, *, goes: bool
) -> None:
    def fill(unit: UnitOfWork) -> None:
        unit.save_trade(trade(state=state, leg=leg()))
        unit.add_inbox_row(inbox_row(transaction_id=transaction_id))
        queue_as(unit, OutboxState.SENT, transaction_id=transaction_id)

    await store.write(fill)
    assert await prune(store) == (2 if goes else 0)


async def test_no_more_than_the_limit_is_deleted_oldest_first(store: Store) -> None:
    def fill(unit: UnitOfWork) -> None:
        for number in range(3):
            unit.add_inbox_row(inbox_row(f"m{number}", received_us=3 - number))
        queue_as(unit, OutboxState.SENT)

    await store.write(fill)
    assert await prune(store, limit=2) == 2
    assert await store.read(lambda unit: unit.inbox_row(BAP, "m0", "init", ""))
    assert await prune(store, limit=2) == 2
    assert await store.read(lambda unit: unit.messages(["t1"])) == []


async def test_the_oldest_messages_out_are_deleted_first(store: Store) -> None:
    def fill(unit: UnitOfWork) -> list[int]:
        return [queue_as(unit, OutboxState.SENT, created_ms=created) for created in (9, 10, 8)]

    _, young, oldest = await store.write(fill)
    assert await prune(store, limit=1) == 1
    assert await store.read(lambda unit: unit.outbox_row(oldest)) is None
    assert await prune(store) == 1
    assert await store.read(lambda unit: unit.outbox_row(young))


async def test_what_belongs_to_a_deleted_message_goes_with_it(store: Store) -> None:
    def fill(unit: UnitOfWork) -> None:
        for message_id, state in (("m1", AskedState.ANSWERED), ("m2", AskedState.OPEN)):
            queue_as(unit, OutboxState.SENT, message_id=message_id, action="init")
            unit.add_attempt(message_id, "init", "Signature")
            unit.save_asked(asked(message_id, state=state))
        unit.add_attempt("m3", "init", "Signature")

    await store.write(fill)
    assert await prune(store) == 2
    assert await store.read(lambda unit: unit.attempts("m1", "init")) == []
    assert await store.read(lambda unit: unit.asked("m1", "init")) is None
    assert await store.read(lambda unit: unit.asked("m2", "init"))
    assert await store.read(lambda unit: unit.attempts("m3", "init"))


async def test_what_is_left_of_a_transaction_is_still_found(store: Store) -> None:
    def fill(unit: UnitOfWork) -> None:
        unit.save_trade(trade(state=TradeState.COMPLETED, leg=leg("t-leg")))
        unit.save_asked(asked(transaction_id="t2"))
        for number, transaction_id in enumerate(("t1", "t2", "t3", "t4", "t-leg")):
            unit.add_inbox_row(inbox_row(f"m{number}", transaction_id=transaction_id))
        unit.add_inbox_row(inbox_row("young", transaction_id="t3", received_us=10_000))
        unit.enqueue(outbox_row("t4"))

    await store.write(fill)
    assert await prune(store) == 5
    assert await store.read(lambda unit: unit.trade(trade().side, "t1"))
    assert await store.read(lambda unit: unit.trade_of_leg("t-leg"))
    assert await store.read(lambda unit: unit.open_asked("t2"))
    assert len(await store.read(lambda unit: unit.messages(["t3"]))) == 1
    assert len(await store.read(lambda unit: unit.messages(["t4"]))) == 1


async def test_nothing_is_left_of_a_search(store: Store) -> None:
    """A discover comes with a transaction of its own and leaves no trade."""

    def rows(unit: UnitOfWork) -> int:
        assert isinstance(unit, Table)
        sql = "SELECT count(*) FROM wire_transaction"
        return int(unit._connection.execute(sql).fetchone()[0])

    await store.write(lambda unit: unit.add_inbox_row(inbox_row(action="discover")))
    assert await store.read(rows) == 1
    await prune(store)
    assert await store.read(rows) == 0


async def test_an_id_is_not_given_again_after_its_row_was_deleted(store: Store) -> None:
    first = await store.write(lambda unit: queue_as(unit, OutboxState.SENT))
    await prune(store)
    assert await store.write(lambda unit: unit.enqueue(outbox_row())) > first


async def marked(store: Store, key: str) -> bool:
    return await store.write(lambda unit: unit.mark(key))


async def test_marks_of_signatures_are_forgotten_when_they_have_ended(store: Store) -> None:
    ended, alive = (signature_mark(s, "peer", "sig") for s in (1_000, 5_000))
    assert [await marked(store, key) for key in (ended, alive, "progress|1")] == [True] * 3
    await prune(store, before_us=5_000 * 1_000_000)
    found = [await marked(store, key) for key in (ended, alive, "progress|1")]
    assert found == [True, False, False]
