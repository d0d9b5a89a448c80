"""agreements: the energy that passes through a market, which keeps none of it.

What exports bring is held for the market's contract. Once none of its exports runs any more, the
withdrawals get it as they settle, in proportion to what each of them still takes.
Source: settlement specification, section 11.2; decision 0019.
"""

from typing import NamedTuple

from adapter.settlement import accounts
from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.contracts.allocation_rule import share
from adapter.settlement.contracts.closing import shares_of
from adapter.settlement.refusals import refusal
from adapter.settlement.state import Hold, Reader
from adapter.settlement.work import Work


class Energy(NamedTuple):
    """GRID that an agreement can settle with."""

    holds: list[Hold]
    most: int


def energy_for(work: Work, agreement: Agreement) -> Energy:
    """Return the GRID that is held for an agreement, or its part of what its market bought."""
    withdraws = agreement.terms.is_withdrawal
    purpose = agreement.market_purpose if withdraws else agreement.purpose
    found = work.open_holds(purpose)
    holds = [hold for hold in found if accounts.asset_of(hold.account) == accounts.GRID]
    held = sum(hold.amount for hold in holds)
    if not withdraws:
        return Energy(holds, held)
    taking = [a for a in shares_of(work, agreement) if a.terms.is_withdrawal and a.is_running]
    parts = share(held, [a.terms.energy - a.settled.energy for a in taking])
    numbers = [a.agreement_no for a in taking]
    return Energy(holds, parts[numbers.index(agreement.agreement_no)])


def keep_for_withdrawals(work: Work, agreement: Agreement, energy: int) -> None:
    """Hold what an export brought for the withdrawals of its market's contract."""
    if energy and agreement.terms.market == agreement.terms.consumer:
        account = accounts.main(agreement.terms.consumer, accounts.GRID)
        work.hold(account, energy, agreement.market_purpose)


def check_turn(reader: Reader, agreement: Agreement) -> None:
    """Check that an agreement need not wait for the exports of its market.

    Raises:
        ContractError: DELIVERY_INCOMPLETE, with the number of an export that goes first.
    """
    first = export_before(reader, agreement)
    if first is not None:
        msg = f"agreement {first} brings the market energy and settles first"
        raise refusal("DELIVERY_INCOMPLETE", msg, agreement_no=first)


def export_before(reader: Reader, agreement: Agreement) -> int | None:
    """Return the number of an export that settles before a withdrawal; None: its turn has come."""
    if not agreement.terms.is_withdrawal:
        return None
    running = (a for a in shares_of(reader, agreement) if a.is_running)
    return next((a.agreement_no for a in running if not a.terms.is_withdrawal), None)
