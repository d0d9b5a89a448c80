"""agreements: recording what was delivered, claims of providers, acceptance by both parties."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS
from adapter.settlement.agreement_rows import (
    Agreement,
    AgreementStep,
    Allocation,
    Transaction,
    TransactionState,
    TransactionStep,
)
from adapter.settlement.contracts import closing
from adapter.settlement.contracts.allocation import allocate, fix_overdue
from adapter.settlement.contracts.allocation_rule import settle_quantity
from adapter.settlement.contracts.parties import holds_role, is_verified
from adapter.settlement.contracts.proposals import check_party, known_agreement
from adapter.settlement.kinds import ENERGY, EVIDENCE, NUMBER, TIME
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import padded
from adapter.settlement.state import Reader, Span
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True)
class DeliverEnergy:
    """Record what the meters gave (ORACLE_OPERATOR), or claim it (provider)."""

    agreement_no: Annotated[int, NUMBER]
    energy_delivered_kwh: Annotated[int | None, ENERGY] = None
    """Only for a claim; a record takes the quantities from the allocation."""
    meter_reading: Annotated[str, EVIDENCE] = ""
    until: Annotated[int | None, TIME] = None
    """End of the part to record; absent: the end of the window."""


def check_claim(work: Work, args: DeliverEnergy) -> None:
    """Check that a claim states its energy."""
    if args.energy_delivered_kwh is None and not _records(work):
        raise invalid("energy_delivered_kwh", "missing: what the provider claims")


def deliver_energy(work: Work, args: DeliverEnergy) -> Mapping[str, Any]:
    """Record or claim, depending on who calls."""
    agreement = known_agreement(work, args.agreement_no)
    if _records(work):
        transaction = _record_called(work, agreement, args)
    else:
        transaction = _claim(work, agreement, args)
    return {"transaction_no": transaction.transaction_no}


def _records(work: Work) -> bool:
    return work.user == work.actor and holds_role(work, Role.ORACLE_OPERATOR, work.actor)


def _record_called(work: Work, agreement: Agreement, args: DeliverEnergy) -> Transaction:
    _check_running(agreement)
    terms = agreement.terms
    until_ms = terms.end_ms if args.until is None else args.until
    if until_ms % EPOCH_MS or not agreement.recorded_to_ms < until_ms <= terms.end_ms:
        msg = f"until: not the end of a 15-minute interval after {agreement.recorded_to_ms}"
        raise refusal("INVALID_INTERVAL", msg)
    if work.now_ms > terms.deadline_ms:
        transaction = finish(work, agreement)
        if transaction is None:
            msg = f"agreement {agreement.agreement_no} expired: nothing was read in time"
            raise refusal("AGREEMENT_NOT_ACTIVE", msg)
        return transaction
    if min(agreement.seller.done_to_ms, agreement.buyer.done_to_ms) < until_ms:
        msg = f"not all intervals before {until_ms} are allocated on both meters"
        raise refusal("DELIVERY_INCOMPLETE", msg)
    return record(work, agreement, until_ms)


def _check_running(agreement: Agreement) -> None:
    if not agreement.is_running or agreement.recorded_to_ms >= agreement.terms.end_ms:
        msg = f"agreement {agreement.agreement_no} is {agreement.state}, nothing is to deliver"
        raise refusal("AGREEMENT_NOT_ACTIVE", msg)


def _claim(work: Work, agreement: Agreement, args: DeliverEnergy) -> Transaction:
    """Note the provider's statement; it moves nothing and the record replaces it."""
    assert args.energy_delivered_kwh is not None
    if work.user != agreement.terms.provider:
        msg = f"{work.user} is not the provider of agreement {agreement.agreement_no}"
        raise refusal("NOT_AUTHORIZED", msg)
    _check_running(agreement)
    if work.now_ms > agreement.terms.deadline_ms:
        msg = f"the delivery deadline was {agreement.terms.deadline_ms}"
        raise refusal("DELIVERY_DEADLINE_PASSED", msg)
    if args.energy_delivered_kwh > agreement.terms.energy:
        needed, available = str(args.energy_delivered_kwh), str(agreement.terms.energy)
        msg = f"{needed} claimed, {available} contracted, in millionths of a kWh"
        raise refusal("INSUFFICIENT_ENERGY", msg, needed=needed, available=available)
    claim = replace(
        _pending(work, agreement) or _new_transaction(work, agreement),
        claimed=args.energy_delivered_kwh,
        evidence=args.meter_reading,
    )
    work.put(claim)
    fields = {"transaction_no": claim.transaction_no, "claimed": claim.claimed}
    work.emit("DeliveryClaimed", {**fields, **closing.agreement_fields(agreement)})
    return claim


def finish(work: Work, agreement: Agreement) -> Transaction | None:
    """Close an agreement past its deadline: unread intervals are 0, the last part is recorded.

    With nothing read in time on either meter it expires, and None is returned.
    """
    metered = agreement.terms.metered
    for side in metered:
        agreement = fix_overdue(work, agreement, side)
    for side in metered:
        allocate(work, agreement.terms.meter(side), side)
    anything_read = agreement.seller.intervals_read or agreement.buyer.intervals_read
    if not anything_read and agreement.recorded_to_ms == agreement.terms.start_ms:
        closing.expire(work, agreement)
        return None
    return record(work, agreement, agreement.terms.end_ms)


def record(work: Work, agreement: Agreement, until_ms: int) -> Transaction:
    """Turn the allocated intervals up to `until_ms` into a delivered transaction."""
    terms, settled = agreement.terms, agreement.settled
    parts = work.find(Allocation, "agreement", agreement.key, Span(end=padded(until_ms)))
    new = [part for part in parts if part.start_ms >= agreement.recorded_to_ms]
    total = settle_quantity(
        terms.basis,
        contracted=_contracted_until(agreement, until_ms),
        seller=sum(part.seller or 0 for part in parts),
        buyer=sum(part.buyer or 0 for part in parts),
    )
    base = _pending(work, agreement) or _new_transaction(work, agreement)
    transaction = replace(
        base,
        state=closing.next_transaction(base.state, TransactionStep.RECORD),
        start_ms=agreement.recorded_to_ms,
        end_ms=until_ms,
        allocated_seller=sum(part.seller or 0 for part in new),
        allocated_buyer=sum(part.buyer or 0 for part in new),
        settle_quantity=min(total - settled.recorded, unassigned(work, agreement)),
        recorded_ms=work.now_ms,
        dispute_until_ms=work.now_ms + work.settings.dispute_window_ms,
    )
    work.put(transaction)
    agreement = replace(
        agreement,
        state=closing.next_agreement(agreement.state, AgreementStep.RECORD),
        recorded_to_ms=until_ms,
        settled=replace(settled, recorded=total, open_parts=settled.open_parts + 1),
    )
    work.put(agreement)
    _emit_delivered(work, agreement, transaction)
    return _disputed_without_party(work, agreement, transaction)


def unassigned(work: Work, agreement: Agreement, but: str = "") -> int:
    """Return the contracted quantity that no recorded delivery, but the one with that key, has.

    What a dispute voided stays assigned: its cash is released, so nothing else can be paid of it.
    """
    parts = work.find(Transaction, "agreement", agreement.key)
    return agreement.terms.energy - sum(p.settle_quantity for p in parts if p.key != but)


def measure_again(work: Work, agreement: Agreement) -> None:
    """Give recorded deliveries that are not settled the quantities of their allocations now."""
    terms = agreement.terms
    found = work.find(Transaction, "agreement", agreement.key)
    recorded = [part for part in found if part.state is not TransactionState.PENDING]
    seller = buyer = before = total = 0
    for part in recorded:
        span = Span(padded(part.start_ms), padded(part.end_ms))
        rows = work.find(Allocation, "agreement", agreement.key, span)
        sold, bought = sum(row.seller or 0 for row in rows), sum(row.buyer or 0 for row in rows)
        seller, buyer, before = seller + sold, buyer + bought, total
        contracted = _contracted_until(agreement, part.end_ms)
        total = settle_quantity(terms.basis, contracted=contracted, seller=seller, buyer=buyer)
        if part.state not in (TransactionState.DELIVERED, TransactionState.DISPUTED):
            continue
        quantity = min(max(0, total - before), unassigned(work, agreement, part.key))
        anew = replace(part, allocated_seller=sold, allocated_buyer=bought)
        if quantity != part.settle_quantity:  # nobody has seen this one, so both may object
            until_ms = work.after(work.settings.dispute_window_s)
            anew = replace(anew, accepted_by=(), dispute_until_ms=until_ms)
        anew = replace(anew, settle_quantity=quantity)
        work.put(anew)
        _emit_delivered(work, agreement, anew)
    work.put(replace(agreement, settled=replace(agreement.settled, recorded=total)))


def _contracted_until(agreement: Agreement, until_ms: int) -> int:
    """Return the contracted quantity of the window up to an instant, in proportion to time."""
    terms = agreement.terms
    elapsed, whole = until_ms - terms.start_ms, terms.end_ms - terms.start_ms
    return terms.energy * elapsed // whole


def _emit_delivered(work: Work, agreement: Agreement, transaction: Transaction) -> None:
    work.emit(
        "EnergyDelivered",
        {
            "transaction_no": transaction.transaction_no,
            **closing.agreement_fields(agreement),
            "window": {"start": transaction.start_ms, "end": transaction.end_ms},
            "allocated_seller": transaction.allocated_seller,
            "allocated_buyer": transaction.allocated_buyer,
            "settle_quantity": transaction.settle_quantity,
        },
    )


def _disputed_without_party(
    work: Work, agreement: Agreement, transaction: Transaction
) -> Transaction:
    """Dispute a delivery one of whose parties is not ACTIVE, as its suspension would have."""
    for party in (agreement.terms.provider, agreement.terms.consumer):
        if not is_verified(work, party):
            return closing.dispute(work, agreement, transaction, party)
    return transaction


def _pending(work: Work, agreement: Agreement) -> Transaction | None:
    """Return the provider's claim that is not recorded yet."""
    found = work.find(Transaction, "agreement", agreement.key)
    return next((t for t in found if t.state is TransactionState.PENDING), None)


def cycle_name(number: int) -> str:
    """Return how the wire calls the delivery of an agreement with that number, from 1."""
    return f"cycle-{number}"


def _new_transaction(work: Work, agreement: Agreement) -> Transaction:
    number = work.next_number("transaction")
    cycle = len(work.find(Transaction, "agreement", agreement.key)) + 1
    return Transaction(
        number,
        agreement.agreement_no,
        agreement.terms.provider,
        agreement.terms.consumer,
        TransactionState.PENDING,
        start_ms=agreement.recorded_to_ms,
        end_ms=agreement.terms.end_ms,
        cycle_id=cycle_name(cycle),
    )


@dataclass(frozen=True, slots=True)
class AcceptDelivery:
    """Agree with a recorded delivery; when both parties do, the dispute window is over."""

    transaction_no: Annotated[int, NUMBER]


def accept_delivery(work: Work, args: AcceptDelivery) -> Mapping[str, Any]:
    """Note the party's consent."""
    transaction = known_transaction(work, args.transaction_no)
    agreement = known_agreement(work, transaction.agreement_no)
    check_party(agreement, work.user)
    if transaction.state is not TransactionState.DELIVERED:
        msg = f"transaction {transaction.transaction_no} is {transaction.state}, not DELIVERED"
        raise refusal("TRANSACTION_ALREADY_SETTLED", msg)
    accepted = tuple(sorted({*transaction.accepted_by, work.user}))
    over = min(work.now_ms, transaction.dispute_until_ms)
    until_ms = over if len(accepted) > 1 else transaction.dispute_until_ms
    work.put(replace(transaction, accepted_by=accepted, dispute_until_ms=until_ms))
    fields = {"transaction_no": transaction.transaction_no, "party": work.user}
    work.emit("DeliveryAccepted", {**fields, **closing.agreement_fields(agreement)})
    return {"transaction_no": transaction.transaction_no}


def known_transaction(reader: Reader, transaction_no: int) -> Transaction:
    """Return a delivery transaction.

    Raises:
        ContractError: TRANSACTION_NOT_FOUND.
    """
    transaction = reader.get(Transaction, padded(transaction_no))
    if transaction is None:
        raise refusal("TRANSACTION_NOT_FOUND", f"no transaction {transaction_no}")
    return transaction
