"""What the host's timer has to call now.

A pure read; the ids are made from what is due, so a repeated poll gives the same commands and a
repeated command replays.
"""

from itertools import islice

from adapter.settlement.agreement_rows import Agreement, Transaction
from adapter.settlement.commands import Command
from adapter.settlement.contracts.expiry import overdue
from adapter.settlement.contracts.market_energy import export_before
from adapter.settlement.contracts.proposals import known_agreement
from adapter.settlement.contracts.upkeep import epochs_to_clear
from adapter.settlement.rows import padded
from adapter.settlement.state import LedgerStore, Span


def due_commands(ledger: LedgerStore, now_ms: int, limit: int) -> list[Command]:
    """Return at most `limit` commands for the actor `system`, in the order to be executed.

    registry.expire_due when something is past its deadline, which also records agreements whose
    delivery deadline passed; oracle.perform_upkeep when an epoch is to be cleared;
    agreements.deliver_energy when all intervals are allocated on both meters;
    agreements.settle_payment once the dispute window is over, of a market the exports first.
    Source: ruling R3. The statement over all of it comes last, see `anchor_due`.
    """
    commands = _expire(ledger, now_ms)
    commands += _clear(ledger, now_ms)
    commands += _record(ledger, now_ms, limit)
    commands += _settle(ledger, now_ms, limit)
    return commands[:limit]


def _expire(ledger: LedgerStore, now_ms: int) -> list[Command]:
    head = ledger.head()
    if head is None or next(overdue(ledger, now_ms), None) is None:
        return []
    return [Command(f"timer:expire:{head.seq}", "registry", "expire_due", {})]


def _clear(ledger: LedgerStore, now_ms: int) -> list[Command]:
    head = ledger.head()
    if head is None or not epochs_to_clear(ledger, now_ms, 1):
        return []
    return [Command(f"timer:upkeep:{head.seq}", "oracle", "perform_upkeep", {})]


def _record(ledger: LedgerStore, now_ms: int, limit: int) -> list[Command]:
    ready = islice(ledger.find(Agreement, "ready", ""), limit)
    return [
        Command(
            f"timer:record:{agreement.agreement_no}:{agreement.recorded_to_ms}",
            "agreements",
            "deliver_energy",
            {"agreement_no": agreement.agreement_no},
        )
        for agreement in ready
        if agreement.due_ms is None or agreement.due_ms >= now_ms
    ]


def _settle(ledger: LedgerStore, now_ms: int, limit: int) -> list[Command]:
    due = ledger.find(Transaction, "due", "", Span(end=padded(now_ms + 1)))
    waiting: dict[str, bool] = {}
    over = (transaction for transaction in due if not _waits(ledger, transaction, waiting))
    return [
        Command(
            f"timer:settle:{transaction.transaction_no}",
            "agreements",
            "settle_payment",
            {"transaction_no": transaction.transaction_no},
        )
        for transaction in islice(over, limit)
    ]


def _waits(ledger: LedgerStore, transaction: Transaction, known: dict[str, bool]) -> bool:
    """Return whether a market's exports settle first, so that no withdrawal is asked in vain.

    Args:
        ledger: the stored state.
        transaction: a delivery whose dispute window is over.
        known: answers by market's contract; what is found out is added.
    """
    agreement = known_agreement(ledger, transaction.agreement_no)
    if not agreement.terms.is_withdrawal:
        return False
    contract = agreement.market_contract
    if contract not in known:
        known[contract] = export_before(ledger, agreement) is not None
    return known[contract]
