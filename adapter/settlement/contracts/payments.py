"""agreements: settlement of a recorded delivery, energy and cash together or not at all.

Source: settlement specification, section 11.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

from adapter.settlement import units
from adapter.settlement.agreement_rows import (
    Agreement,
    AgreementState,
    AgreementStep,
    DeviationKind,
    Settled,
    Transaction,
    TransactionState,
    TransactionStep,
)
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.contracts import closing, tariff_parts
from adapter.settlement.contracts.allocation import note
from adapter.settlement.contracts.caps import return_room
from adapter.settlement.contracts.delivery import known_transaction
from adapter.settlement.contracts.dvp import Trade, settle_dvp
from adapter.settlement.contracts.market_energy import (
    check_turn,
    energy_for,
    keep_for_withdrawals,
)
from adapter.settlement.contracts.parties import holds_role
from adapter.settlement.contracts.proposals import check_party, known_agreement
from adapter.settlement.kinds import MONEY_OR_ZERO, NUMBER
from adapter.settlement.refusals import refusal
from adapter.settlement.roles import Role
from adapter.settlement.state import Reader
from adapter.settlement.units import Legs
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True)
class SettlePayment:
    """Settle a recorded delivery: GRID to the buyer, cash to seller, grid operator and fees."""

    transaction_no: Annotated[int, NUMBER]
    value: Annotated[int | None, MONEY_OR_ZERO] = None
    """What the contract's revenue flows give for the value leg, to be compared."""
    wheeling: Annotated[int | None, MONEY_OR_ZERO] = None
    """The same for the wheeling leg."""


def settle_payment(work: Work, args: SettlePayment) -> Mapping[str, Any]:
    """Settle once the dispute window is over; a market's withdrawals after all of its exports."""
    transaction = known_transaction(work, args.transaction_no)
    agreement = known_agreement(work, transaction.agreement_no)
    if work.user != work.actor or not holds_role(work, Role.ORACLE_OPERATOR, work.actor):
        check_party(agreement, work.user)
    check_open(transaction)
    if work.now_ms < transaction.dispute_until_ms:
        until_ms = transaction.dispute_until_ms
        msg = f"the dispute window ends at {until_ms}"
        raise refusal("DISPUTE_WINDOW_OPEN", msg, retry_at=until_ms)
    check_turn(work, agreement)
    legs = legs_due(work, agreement, transaction)
    for name, expected, due in (
        ("value", args.value, legs.value),
        ("wheeling", args.wheeling, legs.wheeling),
    ):
        if expected is not None and expected != due:
            msg = f"{name}: the revenue flows give {expected}, the ledger {due}, in millionths"
            raise refusal("FLOW_MISMATCH", msg)
    settle(work, agreement, transaction)
    return {"transaction_no": transaction.transaction_no}


def check_open(transaction: Transaction) -> None:
    """Check that a transaction waits for settlement.

    Raises:
        ContractError: TRANSACTION_ALREADY_SETTLED, DELIVERY_INCOMPLETE, TRANSACTION_DISPUTED.
    """
    codes = {
        TransactionState.SETTLED: "TRANSACTION_ALREADY_SETTLED",
        TransactionState.VOIDED: "TRANSACTION_ALREADY_SETTLED",
        TransactionState.PENDING: "DELIVERY_INCOMPLETE",
        TransactionState.DISPUTED: "TRANSACTION_DISPUTED",
    }
    code = codes.get(transaction.state)
    if code is not None:
        msg = f"transaction {transaction.transaction_no} is {transaction.state}, not DELIVERED"
        raise refusal(code, msg)


def legs_due(reader: Reader, agreement: Agreement, transaction: Transaction) -> Legs:
    """Return the money of a part: the legs of all that is paid then, less what was paid."""
    settled = agreement.settled
    quantity = settled.quantity + transaction.settle_quantity
    due = units.legs(quantity, agreement.terms.rates).minus(settled.paid)
    if agreement.terms.tariff:
        final = is_last_part(agreement)
        due = tariff_parts.with_tariff(reader, due, agreement, transaction, final=final)
    # Rounding can put a seller fee one unit before its value; it then waits for the next part.
    return due._replace(seller_fee=min(due.seller_fee, due.value))


def is_last_part(agreement: Agreement) -> bool:
    """Return whether the part that is settled now is the last one."""
    whole = agreement.recorded_to_ms == agreement.terms.end_ms
    return whole and agreement.settled.open_parts == 1


def settle(work: Work, agreement: Agreement, transaction: Transaction) -> None:
    """Post everything that settlement means, in one entry."""
    terms, before = agreement.terms, agreement.settled
    is_last = is_last_part(agreement)
    held = energy_for(work, agreement)
    quantity = before.quantity + transaction.settle_quantity
    energy = min(held.most, quantity - before.energy)
    legs = legs_due(work, agreement, transaction)
    trade = Trade(terms.provider, terms.consumer, energy, legs, terms.market)
    rest = settle_dvp(work, trade, held.holds, agreement.cash_holds, more_to_come=not is_last)
    keep_for_withdrawals(work, agreement, energy)
    paid = before.paid.plus(legs)
    after = Settled(
        recorded=before.recorded,
        quantity=quantity,
        energy=before.energy + energy,
        open_parts=before.open_parts - 1,
        **paid._asdict(),
    )
    settled = replace(agreement, settled=after).with_cash_holds(rest.cash_holds)
    _write_transaction(work, transaction, energy, legs)
    deviations = finish_settled(work, settled) if is_last else []
    if not is_last:
        work.put(settled)
    _emit_settled(work, settled, transaction, trade, rest.released if is_last else 0, deviations)


def _write_transaction(work: Work, transaction: Transaction, energy: int, legs: Legs) -> None:
    work.put(
        replace(
            transaction,
            state=closing.next_transaction(transaction.state, TransactionStep.SETTLE),
            settled_ms=work.now_ms,
            energy=energy,
            value=legs.value,
            wheeling=legs.wheeling,
            buyer_fee=legs.buyer_fee,
            seller_fee=legs.seller_fee,
            vat=legs.vat,
        )
    )


def finish_settled(work: Work, agreement: Agreement) -> list["Shortfall"]:
    """End an agreement whose last part is settled: cap room back, deviations recorded."""
    if work.settings.cap_scope == "ACTIVE_TOTAL":
        return_room(work, agreement.caps_in_use)
    state = closing.next_agreement(agreement.state, AgreementStep.SETTLE_LAST)
    closing.end(work, replace(agreement, state=state, caps_in_use=()))
    found = shortfalls(agreement)
    for side, kind, quantity, cause in found:
        note(work, agreement, side, kind, quantity, cause)
    return found


class Shortfall(NamedTuple):
    """A deviation that shows at settlement."""

    side: TradeSide
    kind: DeviationKind
    quantity: int
    cause: str


def shortfalls(agreement: Agreement) -> list[Shortfall]:
    """Return what the meters gave less than contracted, and paid energy that was never minted."""
    contracted, settled = agreement.terms.energy, agreement.settled
    seller = contracted - agreement.seller.allocated
    buyer = contracted - agreement.buyer.allocated
    not_minted = min(settled.quantity, agreement.seller.allocated) - settled.energy
    kinds = DeviationKind
    found = (
        Shortfall(TradeSide.SELL, kinds.SELLER_SHORTFALL, seller, "generation"),
        Shortfall(TradeSide.SELL, kinds.SELLER_SHORTFALL, not_minted, "not minted"),
        Shortfall(TradeSide.BUY, kinds.BUYER_SHORTFALL, buyer, "consumption"),
    )
    metered = agreement.terms.metered
    return [one for one in found if one.quantity > 0 and one.side in metered]


def _emit_settled(
    work: Work,
    agreement: Agreement,
    transaction: Transaction,
    trade: Trade,
    released: int,
    deviations: list[Shortfall],
) -> None:
    work.emit(
        "PaymentSettled",
        {
            "transaction_no": transaction.transaction_no,
            **closing.agreement_fields(agreement),
            "energy": trade.energy,
            "value": trade.legs.value,
            "wheeling": trade.legs.wheeling,
            "fees": trade.legs.buyer_fee + trade.legs.seller_fee,
            "released": released,
            "deviations": [{"kind": str(d.kind), "quantity": d.quantity} for d in deviations],
            "vat": trade.legs.vat if agreement.terms.tariff else None,
        },
    )


def effective_state(agreement: Agreement, now_ms: int) -> AgreementState:
    """Return the state that readers see: a lapsed deadline shows before its command ran."""
    due_ms = agreement.due_ms
    if due_ms is None or now_ms <= due_ms:
        return agreement.state
    read = agreement.seller.intervals_read or agreement.buyer.intervals_read
    recorded = agreement.recorded_to_ms > agreement.terms.start_ms
    if agreement.state is AgreementState.PROPOSED or not (read or recorded):
        return AgreementState.EXPIRED
    return AgreementState.DELIVERED
