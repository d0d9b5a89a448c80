"""Histories of contracts between the rules and the store."""

from decimal import Decimal
from typing import cast

from adapter.protocol import strict_json
from adapter.protocol.rules import ContractHistory
from adapter.protocol.rules.history import Terms
from adapter.service.histories import KEPT, Histories
from adapter.service.ports import UnitOfWork

KEY = "bpp|t1|c1"


class Rows:
    """The history part of a unit of work."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.writes = 0

    def contract_history(self, key: str) -> bytes | None:
        return self.stored.get(key)

    def save_contract_history(self, key: str, summary: bytes) -> None:
        self.stored[key] = summary
        self.writes += 1


def history(price: str = "0.150", status: str = "PENDING") -> ContractHistory:
    terms = Terms({"SELLER": {"pricePerKWh": Decimal(price), "sourceType": "SOLAR"}}, frozen=True)
    created = "2026-03-01T09:00:00Z"
    return ContractHistory("c1", status, created, "FIXED_PRICE", {"t1": terms})


def test_what_is_written_is_the_text_of_the_history_and_any_node_reads_it() -> None:
    rows = Rows()
    uow = cast(UnitOfWork, rows)
    Histories().save(uow, KEY, None, history())
    assert rows.stored[KEY] == strict_json.encode(history().to_data())
    assert Histories().load(uow, KEY) == history()


def test_a_history_that_stays_the_same_is_not_written() -> None:
    rows, histories = Rows(), Histories()
    uow = cast(UnitOfWork, rows)
    histories.save(uow, KEY, None, history())
    loaded = histories.load(uow, KEY)
    assert loaded is not None
    histories.save(uow, KEY, loaded, loaded)
    assert rows.writes == 1


def test_what_somebody_else_has_written_since_is_read() -> None:
    rows, mine, theirs = Rows(), Histories(), Histories()
    uow = cast(UnitOfWork, rows)
    mine.save(uow, KEY, None, history())
    theirs.save(uow, KEY, None, history(status="ACTIVE"))
    assert mine.load(uow, KEY) == history(status="ACTIVE")


def test_what_was_not_committed_is_not_read() -> None:
    rows, histories = Rows(), Histories()
    uow = cast(UnitOfWork, rows)
    histories.save(uow, KEY, None, history())
    before = dict(rows.stored)
    histories.save(uow, KEY, None, history("0.2"))
    rows.stored = before
    assert histories.load(uow, KEY) == history()


def test_more_histories_than_are_kept_are_read_as_well() -> None:
    rows, histories = Rows(), Histories()
    uow = cast(UnitOfWork, rows)
    for number in range(KEPT + 1):
        histories.save(uow, f"{KEY}{number}", None, history(f"0.{number + 1}"))
    assert histories.load(uow, f"{KEY}0") == history("0.1")
    assert histories.load(uow, f"{KEY}{KEPT}") == history(f"0.{KEPT + 1}")
