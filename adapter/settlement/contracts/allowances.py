"""token: allowances, which delegate and never reserve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.contracts.parties import known_user
from adapter.settlement.contracts.tokens import DATA, check_transfer, move
from adapter.settlement.kinds import AMOUNT, AMOUNT_OR_ZERO, ASSET, ENERGY, ID
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Allowance, allowance_key
from adapter.settlement.state import Reader
from adapter.settlement.units import MONEY_MAX_MICRO
from adapter.settlement.work import Work

ANY_PLATFORM = "network"
"""Spender that stands for the platform of whichever seller the owner trades with."""


@dataclass(frozen=True, slots=True)
class Approve:
    """Allow a spender to use an amount of GRID or cash."""

    spender: Annotated[str, ID]
    value: Annotated[int, AMOUNT_OR_ZERO]
    asset: Annotated[str, ASSET] = accounts.GRID


@dataclass(frozen=True, slots=True)
class IncreaseAllowance:
    """Allow a spender more."""

    spender: Annotated[str, ID]
    delta: Annotated[int, AMOUNT]
    asset: Annotated[str, ASSET] = accounts.GRID


@dataclass(frozen=True, slots=True)
class DecreaseAllowance:
    """Allow a spender less."""

    spender: Annotated[str, ID]
    delta: Annotated[int, AMOUNT]
    asset: Annotated[str, ASSET] = accounts.GRID


def check_asset(work: Work, args: Approve | IncreaseAllowance | DecreaseAllowance) -> None:
    """Check that the ledger has the asset.

    Raises:
        ContractError: INVALID_INPUT.
    """
    if args.asset not in (accounts.GRID, work.genesis.currency):
        raise invalid("asset", f"not GRID or {work.genesis.currency}")


def approve(work: Work, args: Approve) -> Mapping[str, Any]:
    """Set the allowance; from one value to another only through zero."""
    old = allowance_of(work, work.user, args.spender, args.asset)
    if old and args.value:
        msg = f"{args.spender} is allowed {old} already: set it to 0 first, or increase it"
        raise refusal("ALLOWANCE_IN_USE", msg)
    return set_allowance(work, Allowance(work.user, args.spender, args.asset, args.value))


def increase_allowance(work: Work, args: IncreaseAllowance) -> Mapping[str, Any]:
    """Add to the allowance."""
    new = allowance_of(work, work.user, args.spender, args.asset) + args.delta
    if new > MONEY_MAX_MICRO:
        raise refusal("OVERFLOW", "the allowance would pass 10^12")
    return set_allowance(work, Allowance(work.user, args.spender, args.asset, new))


def decrease_allowance(work: Work, args: DecreaseAllowance) -> Mapping[str, Any]:
    """Take from the allowance, not below zero."""
    check_allowance(work, Allowance(work.user, args.spender, args.asset, args.delta))
    new = allowance_of(work, work.user, args.spender, args.asset) - args.delta
    return set_allowance(work, Allowance(work.user, args.spender, args.asset, new))


@dataclass(frozen=True, slots=True)
class TransferFrom:
    """Send GRID of an owner that allowed it."""

    from_: Annotated[str, ID]
    to: Annotated[str, ID]
    value: Annotated[int, ENERGY]
    data: Annotated[str, DATA] = ""


def transfer_from(work: Work, args: TransferFrom) -> Mapping[str, Any]:
    """Move GRID and lower the allowance in one entry."""
    known_user(work, args.from_)
    check_transfer(work, args.from_, args.to)
    used = Allowance(args.from_, work.user, accounts.GRID, args.value)
    check_allowance(work, used)
    move(work, args.from_, args.to, args.value, args.data)
    use_allowance(work, used)
    return {"to": args.to}


def allowance_of(reader: Reader, owner: str, spender: str, asset: str) -> int:
    """Return what a spender may use."""
    allowance = reader.get(Allowance, allowance_key(owner, spender, asset))
    return allowance.amount if allowance else 0


def check_allowance(work: Work, used: Allowance) -> None:
    """Check that the allowance covers an amount.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE, with needed and available.
    """
    allowed = allowance_of(work, used.owner, used.spender, used.asset)
    if allowed < used.amount:
        msg = f"{used.owner} allowed {used.spender} {allowed}, {used.amount} needed, in millionths"
        needed, available = str(used.amount), str(allowed)
        raise refusal("INSUFFICIENT_ALLOWANCE", msg, needed=needed, available=available)


def use_allowance(work: Work, used: Allowance) -> None:
    """Lower an allowance that was checked."""
    left = allowance_of(work, used.owner, used.spender, used.asset) - used.amount
    set_allowance(work, Allowance(used.owner, used.spender, used.asset, left))


def set_allowance(work: Work, allowance: Allowance) -> Mapping[str, Any]:
    """Write an allowance and say so."""
    work.put(allowance)
    fields = {"owner": allowance.owner, "spender": allowance.spender, "asset": allowance.asset}
    work.emit("Approval", {**fields, "value": allowance.amount})
    return fields
