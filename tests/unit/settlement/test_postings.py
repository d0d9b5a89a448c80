import pytest

from adapter.domain.errors import ContractError
from adapter.settlement.postings import (
    HOLD_TRANSITIONS,
    HoldEvent,
    HoldState,
    TransitionError,
    Why,
    next_hold,
)
from adapter.settlement.units import INT64_MAX
from adapter.settlement.work import Work
from adapter.store.ledger_memory import MemoryLedger

A, B, CASH_IN = "a|USD|MAIN", "b|USD|MAIN", "sys|USD|EXTERNAL"


@pytest.fixture
def work() -> Work:
    """Return a command at work on an empty ledger, `a` holding 100."""
    work = Work(MemoryLedger(), seq=7, actor="x", user="x", now_ms=0)
    work.direct(CASH_IN, A, 100)
    return work


def test_every_hold_state_has_a_row() -> None:
    assert set(HOLD_TRANSITIONS) == set(HoldState)


@pytest.mark.parametrize("state", [HoldState.POSTED, HoldState.VOIDED, HoldState.EXPIRED])
@pytest.mark.parametrize("event", list(HoldEvent))
def test_a_resolved_hold_accepts_nothing(state: HoldState, event: HoldEvent) -> None:
    with pytest.raises(TransitionError, match="accepts nothing") as caught:
        next_hold(state, event)
    assert caught.value.code == "INVALID_TRANSITION"


def test_a_direct_posting_moves_and_balances(work: Work) -> None:
    work.direct(A, B, 30)
    posted = {key: account.posted for key, account in work.accounts.items()}
    assert posted == {CASH_IN: -100, A: 70, B: 30}


def test_a_hold_is_named_by_entry_and_index(work: Work) -> None:
    assert work.hold(A, 60, "order:1") == "7.1"
    assert work.available(A) == 40
    assert [hold.amount for hold in work.open_holds("order:1")] == [60]


def test_posting_a_hold_releases_the_rest(work: Work) -> None:
    hold = work.hold(A, 60, "order:1")
    assert work.post(hold, [(B, 20), ("grid|USD|WHEELING", 5)]) == 35
    assert (work.available(A), work.available(B)) == (75, 20)
    assert work.known_hold(hold).posted == 25
    assert work.open_holds("order:1") == []


def test_voiding_a_hold_gives_all_back(work: Work) -> None:
    assert work.void(work.hold(A, 60, "order:1"), Why.CANCEL) == 60
    assert work.available(A) == 100


def test_an_expired_hold_says_so(work: Work) -> None:
    hold = work.hold(A, 60, "order:1", 5)
    work.void(hold, Why.EXPIRE)
    assert work.known_hold(hold).state is HoldState.EXPIRED


def test_a_hold_resolves_once(work: Work) -> None:
    hold = work.hold(A, 60, "order:1")
    work.void(hold, Why.CANCEL)
    with pytest.raises(TransitionError):
        work.post(hold, [(B, 1)])


def test_more_than_the_hold_cannot_be_posted(work: Work) -> None:
    hold = work.hold(A, 60, "order:1")
    with pytest.raises(AssertionError):
        work.post(hold, [(B, 61)])


@pytest.mark.parametrize("amount", [0, -1])
def test_nothing_and_less_is_never_moved(work: Work, amount: int) -> None:
    with pytest.raises(AssertionError):
        work.direct(A, B, amount)
    with pytest.raises(AssertionError):
        work.hold(A, amount, "order:1")


def test_an_account_never_moves_what_it_holds(work: Work) -> None:
    work.hold(A, 60, "order:1")
    with pytest.raises(AssertionError):
        work.direct(A, B, 41)
    with pytest.raises(ContractError) as caught:
        work.require(A, 41, "INSUFFICIENT_FUNDS", "cash")
    assert caught.value.details["available"] == "40"


def test_a_balance_beyond_64_bits_is_refused(work: Work) -> None:
    with pytest.raises(ContractError) as caught:
        work.direct(CASH_IN, A, INT64_MAX - 99)
    assert caught.value.code == "OVERFLOW"
