"""How an agreement ends without delivery: cancelled, expired, or a party suspended."""

from collections.abc import Sequence
from dataclasses import replace

from adapter.settlement.agreement_rows import (
    AGREEMENT_TRANSITIONS,
    TRANSACTION_TRANSITIONS,
    Agreement,
    AgreementState,
    AgreementStep,
    Transaction,
    TransactionState,
    TransactionStep,
)
from adapter.settlement.contracts.caps import return_room
from adapter.settlement.postings import TransitionError, Why
from adapter.settlement.state import Hold, Reader
from adapter.settlement.work import Work


def next_agreement(state: AgreementState, step: AgreementStep) -> AgreementState:
    """Return the state after `step`.

    Raises:
        TransitionError: INVALID_TRANSITION, no such step; nothing changes.
    """
    try:
        return AGREEMENT_TRANSITIONS[state][step]
    except KeyError:
        raise _no_step("agreement", state, step, AGREEMENT_TRANSITIONS[state]) from None


def next_transaction(state: TransactionState, step: TransactionStep) -> TransactionState:
    """Return the state after `step`.

    Raises:
        TransitionError: INVALID_TRANSITION, no such step; nothing changes.
    """
    try:
        return TRANSACTION_TRANSITIONS[state][step]
    except KeyError:
        raise _no_step("transaction", state, step, TRANSACTION_TRANSITIONS[state]) from None


def _no_step(what: str, state: str, step: str, steps: object) -> TransitionError:
    allowed = ", ".join(steps) if isinstance(steps, dict) and steps else "nothing"
    msg = f"{what} in state {state} accepts {allowed}, not {step}"
    return TransitionError("INVALID_TRANSITION", msg)


def agreement_fields(agreement: Agreement) -> dict[str, object]:
    """Return the fields that name an agreement in an event."""
    return {
        "agreement_no": agreement.agreement_no,
        "contract_id": agreement.terms.contract_id,
    }


def end(work: Work, agreement: Agreement) -> None:
    """Write an agreement that is over; with the last one of a market its energy is free."""
    work.put(agreement)
    if agreement.terms.market and not any(a.is_running for a in shares_of(work, agreement)):
        for hold in work.open_holds(agreement.market_purpose):
            work.void(hold.id, Why.EXCESS)


def shares_of(reader: Reader, agreement: Agreement) -> list[Agreement]:
    """Return all agreements of the same market's contract, in order of agreement_no."""
    return list(reader.find(Agreement, "market", agreement.market_contract))


def release(work: Work, agreement: Agreement, why: Why) -> Agreement:
    """Void all holds of an agreement, give its cap room back, and return it without them."""
    return_room(work, agreement.caps_in_use)
    return replace(void_holds(work, agreement, why), caps_in_use=())


def supersede(work: Work, agreement: Agreement) -> None:
    """End a proposal in whose place another one of the same contract id comes."""
    state = next_agreement(agreement.state, AgreementStep.CANCEL)
    work.put(replace(release(work, agreement, Why.SUPERSEDE), state=state, superseded=True))


def void_holds(work: Work, agreement: Agreement, why: Why) -> Agreement:
    """Void all holds of an agreement and return it without them."""
    for hold in work.open_holds(agreement.purpose):
        work.void(hold.id, why)
    return replace(agreement, cap_holds=()).with_cash_holds({})


def shrink(work: Work, holds: Sequence[Hold], amount: int, why: Why) -> str:
    """Free so much of some holds, the newest first, and return the last one that is left."""
    left = [hold.id for hold in holds]
    for hold in reversed(holds):
        if amount > 0:
            work.void(hold.id, why)
            left.remove(hold.id)
            kept = max(0, hold.amount - amount)
            amount -= hold.amount - kept
            if kept:
                left.append(work.hold(hold.account, kept, hold.purpose, hold.until_ms))
    return left[-1] if left else ""


def cancel(work: Work, agreement: Agreement, why: Why, by: str) -> None:
    """End an agreement before delivery."""
    state = next_agreement(agreement.state, AgreementStep.CANCEL)
    end(work, replace(release(work, agreement, why), state=state))
    work.emit("AgreementCancelled", {**agreement_fields(agreement), "by": by})


def expire(work: Work, agreement: Agreement) -> None:
    """End an agreement whose deadline passed with nothing read, or a lapsed proposal."""
    state = next_agreement(agreement.state, AgreementStep.EXPIRE)
    end(work, replace(release(work, agreement, Why.EXPIRE), state=state))
    work.emit("AgreementExpired", agreement_fields(agreement))


def suspend_agreements(work: Work, user: str) -> None:
    """Cancel the proposals of a user that left ACTIVE; its open deliveries become disputed."""
    for agreement in work.find(Agreement, "live_of", user):
        if agreement.state is AgreementState.PROPOSED:
            cancel(work, agreement, Why.SUSPEND, by=user)
        else:
            _dispute_deliveries(work, agreement, user)


def _dispute_deliveries(work: Work, agreement: Agreement, user: str) -> None:
    for transaction in work.find(Transaction, "agreement", agreement.key):
        if transaction.state is TransactionState.DELIVERED:
            dispute(work, agreement, transaction, party=user)


def dispute(work: Work, agreement: Agreement, transaction: Transaction, party: str) -> Transaction:
    """Stop a delivery from being settled until a regulator has decided."""
    state = next_transaction(transaction.state, TransactionStep.DISPUTE)
    disputed = replace(transaction, state=state, disputed_by=party)
    work.put(disputed)
    work.emit(
        "TransactionDisputed",
        {
            "transaction_no": transaction.transaction_no,
            **agreement_fields(agreement),
            "party": party,
            "claimed_quantity": disputed.disputed_quantity,
        },
    )
    return disputed
