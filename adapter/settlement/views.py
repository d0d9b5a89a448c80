"""What the host needs to know of the ledger: an agreement to speak about, and a summary."""

from dataclasses import dataclass
from typing import Any

from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import to_text
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import (
    Agreement,
    AgreementState,
    Allocation,
    CapSnapshot,
    Deviation,
    Transaction,
    TransactionState,
    contract_value,
)
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.contracts.payments import effective_state
from adapter.settlement.contracts.proposals import agreement_of
from adapter.settlement.rows import Genesis, padded
from adapter.settlement.state import LedgerStore


@dataclass(frozen=True, slots=True)
class AllocationView:
    """What one 15-minute interval gave, in millionths of a kWh."""

    start_ms: int
    end_ms: int
    seller: int
    """0 while open."""
    buyer: int
    """0 while open."""
    is_complete: bool
    """Both sides are allocated."""


@dataclass(frozen=True, slots=True)
class AgreementView:
    """An agreement as the host renders it; amounts in millionths."""

    agreement_no: int
    contract_id: str
    caller: str
    """Subscriber that proposed it."""
    state: AgreementState
    """Effective: a passed deadline shows before its command ran."""
    terms: Terms
    """Parties, meters, energy, price, rates, window, deadline, basis."""
    currency: str
    until_ms: int
    """End of the proposal."""
    seller_cap: CapSnapshot
    """As of the proposal, without this agreement."""
    buyer_cap: CapSnapshot
    allocations: tuple[AllocationView, ...]
    """In time order; an interval with nothing allocated yet is absent."""
    delivered_seller: int
    """Sum of what the source meter gave."""
    delivered_buyer: int
    """Sum of what the target meter took."""
    transactions: tuple[Transaction, ...]
    """In order of number: settle_quantity, value, wheeling, settled_ms, cycle_id."""
    deviations: tuple[Deviation, ...]
    recorded_to_ms: int
    """Intervals before it are part of a delivery."""

    @property
    def is_recorded(self) -> bool:
        """Return whether the whole window is part of a delivery."""
        return self.recorded_to_ms >= self.terms.end_ms

    @property
    def is_delivered_in_parts(self) -> bool:
        """Return whether one record did not take in the whole window."""
        recorded = [p for p in self.transactions if p.state is not TransactionState.PENDING]
        return bool(recorded) and (len(recorded) > 1 or not self.is_recorded)

    @property
    def paid(self) -> int:
        """Return what the buyer has paid so far, all legs that it pays."""
        return sum(self.terms.debits(part.legs)[self.terms.consumer] for part in self.transactions)

    @property
    def share_meter(self) -> str:
        """Return the one meter of a market's agreement; empty without a market."""
        terms = self.terms
        return terms.meter(terms.metered[0]) if terms.market else ""


def agreement_view(
    ledger: LedgerStore, caller: str, ref: str | int, now_ms: int
) -> AgreementView | None:
    """Return an agreement by its number, or by the caller's contract id; None when unknown."""
    if isinstance(ref, int):
        agreement = ledger.get(Agreement, padded(ref))
    else:
        agreement = agreement_of(ledger, caller, ref)
    return None if agreement is None else _view(ledger, agreement, now_ms)


def market_views(
    ledger: LedgerStore, caller: str, contract_id: str, now_ms: int
) -> list[AgreementView]:
    """Return all shares of a market's contract, in order of number."""
    shares = ledger.find(Agreement, "market", contract_value(caller, contract_id))
    return [_view(ledger, agreement, now_ms) for agreement in list(shares)]


def _view(ledger: LedgerStore, agreement: Agreement, now_ms: int) -> AgreementView:
    terms, key = agreement.terms, agreement.key
    delivered = agreement.activated_seq > 0  # nothing is, under what was never accepted
    return AgreementView(
        agreement_no=agreement.agreement_no,
        contract_id=terms.contract_id,
        caller=agreement.caller,
        state=effective_state(agreement, now_ms),
        terms=terms,
        currency=_genesis(ledger).currency,
        until_ms=agreement.until_ms,
        seller_cap=agreement.seller_cap,
        buyer_cap=agreement.buyer_cap,
        allocations=tuple(map(_allocation, ledger.find(Allocation, "agreement", key)))
        if delivered
        else (),
        delivered_seller=agreement.seller.allocated,
        delivered_buyer=agreement.buyer.allocated,
        transactions=tuple(ledger.find(Transaction, "agreement", key)) if delivered else (),
        deviations=tuple(ledger.find(Deviation, "agreement", key)) if delivered else (),
        recorded_to_ms=agreement.recorded_to_ms,
    )


def _allocation(part: Allocation) -> AllocationView:
    is_complete = part.seller is not None and part.buyer is not None
    end_ms = part.start_ms + EPOCH_MS
    return AllocationView(part.start_ms, end_ms, part.seller or 0, part.buyer or 0, is_complete)


def ledger_summary(ledger: LedgerStore, now_ms: int) -> dict[str, Any]:
    """Return name, head, time, epoch and totals of a ledger, JSON values."""
    head = ledger.head()
    clock = {"time": now_ms, "epoch": now_ms // EPOCH_MS}
    if head is None:
        return {"seq": -1, **clock}
    genesis = _genesis(ledger)
    system = {account.id: account.posted for account in ledger.accounts(accounts.SYSTEM_OWNER)}
    issued, retired = -system.get(accounts.ISSUED, 0), system.get(accounts.RETIRED, 0)
    cash = -system.get(accounts.external(genesis.currency), 0)
    return {
        "ledger": genesis.ledger,
        "currency": genesis.currency,
        "seq": head.seq,
        "head": head.hash,
        **clock,
        "totals": {
            "grid_minted": to_text(issued),
            "grid_retired": to_text(retired),
            "grid_supply": to_text(issued - retired),
            "cash": to_text(cash, genesis.digits),
            "cap_in_use": to_text(system.get(accounts.IN_USE, 0)),
        },
    }


def _genesis(ledger: LedgerStore) -> Genesis:
    genesis = ledger.get(Genesis, "")
    assert genesis is not None
    return genesis
