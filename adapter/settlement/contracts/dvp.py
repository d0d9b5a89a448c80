"""Delivery versus payment: the energy leg and all cash legs of a trade, in one entry.

The only place where energy is paid. Source: settlement specification, section 9.3.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from adapter.settlement import accounts
from adapter.settlement.postings import Why, total
from adapter.settlement.state import Hold
from adapter.settlement.units import Legs
from adapter.settlement.work import Work


class Trade(NamedTuple):
    """One trade to settle."""

    seller: str
    buyer: str
    energy: int
    """GRID to move; the seller's holds cover it."""
    legs: Legs
    """Money; the holds of who pays cover it."""
    market: str = ""
    """One of both as the counterparty of a market: it earns the fees and pays the wheeling.

    Both are its working capital: what it would pay itself stays in its cash."""


class Rest(NamedTuple):
    """What a trade left of the holds."""

    released: int
    """Cash that is free again, or held anew."""
    cash_holds: Mapping[str, str]
    """By payer the hold for what is still to come; empty if there is none."""


def settle_dvp(
    work: Work,
    trade: Trade,
    grid_holds: Sequence[Hold],
    cash_holds: Mapping[str, str],
    *,
    more_to_come: bool,
) -> Rest:
    """Move energy from the seller's holds and pay all legs from the holds of their payers.

    With `more_to_come` what is left of all stays held, as new holds; else it is released.
    """
    passes_on = trade.market == trade.seller  # what others take is held with it
    _move_energy(work, trade, grid_holds, keep=more_to_come or passes_on)
    released, left = 0, dict(cash_holds)
    for payer, hold_id in cash_holds.items():
        due = [(target, amount) for by, target, amount in _payments(work, trade) if by == payer]
        if not hold_id:  # earlier parts used all of it, so this one costs nothing
            assert not due
            continue
        hold = work.known_hold(hold_id)
        legs = [(target, amount) for target, amount in due if target != hold.account]
        rest = work.post(hold_id, legs) if legs else work.void(hold_id, Why.EXCESS)
        keep = rest - total(due) + total(legs) if more_to_come else 0
        left[payer] = work.hold(hold.account, keep, hold.purpose, hold.until_ms) if keep else ""
        released += rest
    return Rest(released, left)


def _move_energy(work: Work, trade: Trade, holds: Sequence[Hold], *, keep: bool) -> None:
    target = accounts.main(trade.buyer, accounts.GRID)
    left = trade.energy
    for hold in holds:
        part = min(left, hold.amount)
        left -= part
        if part:
            rest = work.post(hold.id, [(target, part)])
            if rest and keep:
                work.hold(hold.account, rest, hold.purpose, hold.until_ms)
        elif not keep:
            work.void(hold.id, Why.EXCESS)
    assert left == 0
    if trade.energy:
        fields = {"from": trade.seller, "to": trade.buyer, "amount": trade.energy}
        work.emit("Transfer", fields)


def _payments(work: Work, trade: Trade) -> list[tuple[str, str, int]]:
    """Return payer, account and amount of the cash legs, in the order of their postings."""
    genesis, legs = work.genesis, trade.legs
    seller = accounts.main(trade.seller, genesis.currency)
    fees = accounts.fees(genesis.platform, genesis.currency)
    if trade.market:
        fees = accounts.main(trade.market, genesis.currency)
    wheeling = accounts.wheeling(genesis.grid_operator, genesis.currency)
    paid = [
        (trade.buyer, seller, legs.value - legs.seller_fee),
        (trade.buyer, fees, legs.seller_fee),
        (trade.market or trade.buyer, wheeling, legs.wheeling),
        (trade.buyer, fees, legs.buyer_fee),
        (trade.buyer, seller, legs.vat),
    ]
    return [one for one in paid if one[2]]
