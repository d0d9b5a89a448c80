"""Histories of contracts between the rules and the store."""

from typing import cast

import pytest

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.domain.trade import Peer
from adapter.protocol import strict_json
from adapter.protocol.actions import Action
from adapter.protocol.decision import MessageKind, Outgoing
from adapter.protocol.envelope import read_own
from adapter.protocol.rules import ContractHistory, record
from adapter.service.histories import KEPT, Histories, UnitHistories, history_key
from adapter.service.ports import UnitOfWork
from tests.unit.protocol.messages import Message, d, inputs, p, p_on_init

PEER = Peer("bap.example.com", "https://bap.example.com")


class Rows:
    """The history part of a unit of work."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.reads = self.writes = 0

    def contract_history(self, key: str) -> bytes | None:
        self.reads += 1
        return self.stored.get(key)

    def save_contract_history(self, key: str, summary: bytes) -> None:
        self.stored[key] = summary
        self.writes += 1


def begun(rows: Rows, histories: Histories, new: str | None = None) -> UnitHistories:
    return histories.begin(cast(UnitOfWork, rows), new)


def init(transaction_id: str = "t1", price: str = "0.12") -> Message:
    message = p()
    message["context"] |= {"transaction_id": transaction_id, "ttl": "PT30S"}
    inputs(message, "SELLER")["pricePerKWh"] = d(price)
    return message


def on_init(transaction_id: str = "t1") -> Message:
    message = p_on_init()
    message["context"] |= {"transaction_id": transaction_id, "ttl": "PT30S"}
    return message


def check(unit: UnitHistories, message: Message) -> None:
    unit.check(Side.BPP, read_own(message, strict_json.encode(message)))


def remember(unit: UnitHistories, message: Message) -> None:
    context = message["context"]
    action, kind = Action(context["action"]), MessageKind.CALLBACK
    unit.remember(Side.BPP, Outgoing(kind, action, PEER, context, message["message"]))


def key_of(message: Message) -> str:
    contract = message["message"]["order"]["beckn:orderAttributes"]
    return history_key(Side.BPP, message["context"]["transaction_id"], contract["contractId"])


def recorded(*messages: Message) -> ContractHistory:
    history: ContractHistory | None = None
    for message in messages:
        history = record(history, message["context"]["action"], message)
    assert history is not None
    return history


def take(rows: Rows, histories: Histories, *said: Message) -> None:
    """Take an init in a unit of its own, and answer it with the rest."""
    unit = begun(rows, histories)
    check(unit, said[0])
    for message in said[1:]:
        remember(unit, message)
    unit.save()


def test_what_is_written_is_the_text_of_the_history() -> None:
    rows = Rows()
    take(rows, Histories(), init())
    assert rows.stored == {key_of(init()): strict_json.encode(recorded(init()).to_data())}


def test_question_and_answer_are_read_and_written_once() -> None:
    rows = Rows()
    take(rows, Histories(), init(), on_init())
    expected = strict_json.encode(recorded(init(), on_init()).to_data())
    assert rows.stored == {key_of(init()): expected}
    assert (rows.reads, rows.writes) == (1, 1)


def test_a_history_that_stays_the_same_is_not_written() -> None:
    rows, histories = Rows(), Histories()
    take(rows, histories, init())
    take(rows, histories, init())
    assert rows.writes == 1


@pytest.mark.parametrize("same_process", [True, False])
def test_frozen_terms_hold_whoever_has_written_them(same_process: bool) -> None:
    rows, histories = Rows(), Histories()
    take(rows, histories, init(), on_init())
    unit = begun(rows, histories if same_process else Histories())
    with pytest.raises(WireError, match="pricePerKWh changed"):
        check(unit, init(price="0.2"))


def test_what_was_not_committed_is_not_read() -> None:
    rows, histories = Rows(), Histories()
    take(rows, histories, init(), on_init())
    rows.stored.clear()
    check(begun(rows, histories), init(price="0.2"))


def test_of_a_new_transaction_nothing_is_read_but_of_others_there_is() -> None:
    rows, histories = Rows(), Histories()
    take(rows, histories, init("leg"), on_init("leg"))
    rows.reads = 0
    unit = begun(rows, histories, new="t1")
    check(unit, init())
    assert rows.reads == 0
    with pytest.raises(WireError, match="pricePerKWh changed"):
        check(unit, init("leg", price="0.2"))


def test_more_histories_than_are_kept_are_read_as_well() -> None:
    rows, histories = Rows(), Histories()
    for number in range(KEPT + 1):
        take(rows, histories, init(f"t{number}"), on_init(f"t{number}"))
    for number in (0, KEPT):
        with pytest.raises(WireError, match="pricePerKWh changed"):
            check(begun(rows, histories), init(f"t{number}", price="0.2"))
