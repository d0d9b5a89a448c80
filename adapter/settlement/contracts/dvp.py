"""Delivery versus payment: the energy leg and all cash legs of a trade, in one entry.

The only place where energy is paid. Source: settlement specification, section 9.3.
"""

from collections.abc import Sequence
from typing import NamedTuple

from adapter.settlement import accounts
from adapter.settlement.postings import Why
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
    """Money; the buyer's hold covers it."""


class Rest(NamedTuple):
    """What a trade left of the holds."""

    released: int
    """Cash that is free again, or held anew."""
    cash_hold: str
    """The hold for what is still to come; empty if there is none."""


def settle_dvp(
    work: Work, trade: Trade, grid_holds: Sequence[Hold], cash_hold: str, *, more_to_come: bool
) -> Rest:
    """Move energy from the seller's holds and pay all legs from the buyer's hold.

    With `more_to_come` what is left of both stays held, as new holds; else it is released.
    """
    _move_energy(work, trade, grid_holds, keep=more_to_come)
    if not cash_hold:  # earlier parts used all of it, so this one costs nothing
        assert not trade.legs.buyer_debit
        return Rest(0, "")
    hold = work.known_hold(cash_hold)
    released = _pay(work, trade, hold)
    if not more_to_come or not released:
        return Rest(released, "")
    return Rest(released, work.hold(hold.account, released, hold.purpose, hold.until_ms))


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


def _pay(work: Work, trade: Trade, hold: Hold) -> int:
    """Post the cash legs and return what they leave of the hold."""
    genesis, legs = work.genesis, trade.legs
    seller = accounts.main(trade.seller, genesis.currency)
    fees = accounts.fees(genesis.platform, genesis.currency)
    wheeling = accounts.wheeling(genesis.grid_operator, genesis.currency)
    posted = [
        (seller, legs.value - legs.seller_fee),
        (fees, legs.seller_fee),
        (wheeling, legs.wheeling),
        (fees, legs.buyer_fee),
        (seller, legs.vat),
    ]
    used = [(account, amount) for account, amount in posted if amount]
    return work.post(hold.id, used) if used else work.void(hold.id, Why.EXCESS)
