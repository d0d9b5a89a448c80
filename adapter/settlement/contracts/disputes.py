"""agreements: disputes about a recorded delivery, and how a regulator ends them.

Source: settlement specification, section 11.1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.agreed_tariff import cash_needed
from adapter.settlement.agreement_rows import (
    Agreement,
    AgreementStep,
    Allocation,
    Transaction,
    TransactionState,
    TransactionStep,
)
from adapter.settlement.contracts import closing
from adapter.settlement.contracts.delivery import known_transaction, unassigned
from adapter.settlement.contracts.market_energy import check_turn, energy_for
from adapter.settlement.contracts.payments import check_open, finish_settled, settle
from adapter.settlement.contracts.proposals import check_party, known_agreement
from adapter.settlement.kinds import ENERGY_OR_ZERO, NUMBER, REASON, choice_kind
from adapter.settlement.postings import Why
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import padded
from adapter.settlement.state import Hold, Span
from adapter.settlement.work import Work


class Outcome(StrEnum):
    """How a dispute ends."""

    UPHOLD = "UPHOLD"
    """The recorded quantity is paid."""
    AMEND = "AMEND"
    """Another quantity is paid."""
    VOID = "VOID"
    """Nothing is paid and all that was held for the delivery is free again."""


@dataclass(frozen=True, slots=True)
class DisputeTransaction:
    """Stop a recorded delivery from being settled until a regulator has decided."""

    transaction_no: Annotated[int, NUMBER]
    claimed_quantity: Annotated[int, ENERGY_OR_ZERO]
    """What the party says is to be paid."""
    reason: Annotated[str, REASON] = ""


def dispute_transaction(work: Work, args: DisputeTransaction) -> Mapping[str, Any]:
    """Dispute within the window."""
    transaction = known_transaction(work, args.transaction_no)
    agreement = known_agreement(work, transaction.agreement_no)
    check_party(agreement, work.user)
    check_open(transaction)
    if work.now_ms > transaction.dispute_until_ms:
        msg = f"the dispute window ended at {transaction.dispute_until_ms}"
        raise refusal("DISPUTE_WINDOW_CLOSED", msg)
    claim = replace(
        transaction,
        disputed_by=work.user,
        disputed_quantity=args.claimed_quantity,
        dispute_reason=args.reason,
    )
    closing.dispute(work, agreement, claim, work.user)
    return {"transaction_no": transaction.transaction_no}


@dataclass(frozen=True, slots=True)
class ResolveDispute:
    """Decide a dispute: UPHOLD the record, AMEND its quantity, or VOID the delivery."""

    transaction_no: Annotated[int, NUMBER]
    outcome: Annotated[str, choice_kind("an outcome", Outcome)]
    quantity: Annotated[int | None, ENERGY_OR_ZERO] = None
    """Only with AMEND: what is paid instead."""


def check_quantity(_work: Work, args: ResolveDispute) -> None:
    """Check that a quantity is named exactly when one is decided."""
    if (args.outcome == Outcome.AMEND) != (args.quantity is not None):
        raise invalid("quantity", "name it with AMEND, and only then")


def resolve_dispute(work: Work, args: ResolveDispute) -> Mapping[str, Any]:
    """Settle at once, whatever the dispute window, or release everything."""
    transaction = known_transaction(work, args.transaction_no)
    agreement = known_agreement(work, transaction.agreement_no)
    if transaction.state is not TransactionState.DISPUTED:
        msg = f"transaction {transaction.transaction_no} is {transaction.state}, not DISPUTED"
        raise refusal("INVALID_TRANSITION", msg)
    outcome = Outcome(args.outcome)
    if outcome is not Outcome.VOID:
        check_turn(work, agreement)
    quantity = _QUANTITIES[outcome](work, agreement, transaction, args.quantity)
    work.emit(
        "DisputeResolved",
        {
            "transaction_no": transaction.transaction_no,
            **closing.agreement_fields(agreement),
            "outcome": outcome,
            "quantity": quantity,
        },
    )
    if outcome is Outcome.VOID:
        _void(work, agreement, transaction)
    else:
        is_amended = quantity != transaction.settle_quantity
        decided = replace(transaction, settle_quantity=quantity, is_amended=is_amended)
        settle(work, agreement, decided)
    return {"transaction_no": transaction.transaction_no, "outcome": outcome}


_Quantity = Callable[[Work, Agreement, Transaction, int | None], int]


def _recorded(_work: Work, _agreement: Agreement, part: Transaction, _quantity: int | None) -> int:
    return part.settle_quantity


def _nothing(_work: Work, _agreement: Agreement, _part: Transaction, _quantity: int | None) -> int:
    return 0


def _amended(work: Work, agreement: Agreement, part: Transaction, quantity: int | None) -> int:
    """Return the quantity that is decided, which the agreement and its GRID cover.

    Raises:
        ContractError: INSUFFICIENT_ENERGY.
    """
    assert quantity is not None
    contracted = unassigned(work, agreement, part.key)
    held = energy_for(work, agreement).most
    for most, what in ((contracted, "contracted"), (held, "held for the agreement")):
        if quantity > most:
            msg = f"{quantity} wanted, {most} {what}, in millionths of a kWh"
            raise refusal("INSUFFICIENT_ENERGY", msg, needed=str(quantity), available=str(most))
    return quantity


_QUANTITIES: Mapping[Outcome, _Quantity] = MappingProxyType(
    {Outcome.UPHOLD: _recorded, Outcome.AMEND: _amended, Outcome.VOID: _nothing}
)
"""What each outcome pays."""


def _holds(work: Work, agreement: Agreement, account: str) -> list[Hold]:
    return [hold for hold in work.open_holds(agreement.purpose) if hold.account == account]


def _void(work: Work, agreement: Agreement, transaction: Transaction) -> None:
    """Release what is held for a delivery; with the last open one the agreement ends."""
    state = closing.next_transaction(transaction.state, TransactionStep.VOID)
    work.put(replace(transaction, state=state))
    before = agreement.settled
    after = replace(before, open_parts=before.open_parts - 1)
    rest = replace(agreement, settled=after)
    if after.open_parts or rest.recorded_to_ms < rest.terms.end_ms:
        work.put(_without_part(work, rest, transaction))
    elif before.quantity:
        finish_settled(work, closing.void_holds(work, rest, Why.DISPUTE))
    else:
        state_after = closing.next_agreement(rest.state, AgreementStep.VOID_ALL)
        closing.end(work, replace(closing.release(work, rest, Why.DISPUTE), state=state_after))
        work.emit("AgreementCancelled", {**closing.agreement_fields(rest), "by": work.actor})


def _without_part(work: Work, agreement: Agreement, part: Transaction) -> Agreement:
    """Free the GRID and the cash of one part while others are still to come."""
    rows = work.find(
        Allocation, "agreement", agreement.key, Span(padded(part.start_ms), padded(part.end_ms))
    )
    held = sum(row.seller_held for row in rows)
    seller = accounts.main(agreement.terms.provider, accounts.GRID)
    closing.shrink(work, _holds(work, agreement, seller), held, Why.DISPUTE)
    found = work.find(Transaction, "agreement", agreement.key)
    voided = sum(t.settle_quantity for t in found if t.state is TransactionState.VOIDED)
    terms = agreement.terms
    paid, left = terms.debits(agreement.settled.paid), {}
    for payer, needed in cash_needed(terms, terms.energy - voided).items():
        cash = _holds(work, agreement, accounts.main(payer, work.genesis.currency))
        excess = sum(hold.amount for hold in cash) - (needed - paid[payer])
        left[payer] = closing.shrink(work, cash, excess, Why.DISPUTE)
    return agreement.with_cash_holds(left)
