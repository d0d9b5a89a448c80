"""token: cash in and out, by TREASURER, once per external reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.contracts.parties import known_user, verify
from adapter.settlement.kinds import ID, MONEY, REFERENCE
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Reference
from adapter.settlement.work import Work

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Deposit:
    """Book cash that a user paid in."""

    to: Annotated[str, ID]
    amount: Annotated[int, MONEY]
    external_reference: Annotated[str, REFERENCE]


def deposit(work: Work, args: Deposit) -> Mapping[str, Any]:
    """Move cash from outside to the user."""
    known_user(work, args.to)
    _use_reference(work, args.external_reference)
    verify(work, args.to)
    currency = work.genesis.currency
    work.direct(accounts.external(currency), accounts.main(args.to, currency), args.amount)
    fields = {"to": args.to, "amount": args.amount}
    work.emit("Deposited", {**fields, "external_reference": args.external_reference})
    return {"to": args.to}


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Book cash that was paid out to a user."""

    from_: Annotated[str, ID]
    amount: Annotated[int, MONEY]
    external_reference: Annotated[str, REFERENCE]


def check_whole(work: Work, args: Withdraw) -> None:
    """Check that a payout is in whole minor units.

    Raises:
        ContractError: INVALID_INPUT.
    """
    digits = work.settings.currency_exponent
    if args.amount % 10 ** (DECIMALS - digits):
        raise invalid("amount", f"payouts have at most {digits} decimals")


def withdraw(work: Work, args: Withdraw) -> Mapping[str, Any]:
    """Move cash from the user to outside."""
    known_user(work, args.from_)
    _use_reference(work, args.external_reference)
    currency = work.genesis.currency
    account = accounts.main(args.from_, currency)
    work.require(account, args.amount, "INSUFFICIENT_FUNDS", f"cash of {args.from_}")
    work.direct(account, accounts.external(currency), args.amount)
    fields = {"from": args.from_, "amount": args.amount}
    work.emit("Withdrawn", {**fields, "external_reference": args.external_reference})
    return {"from": args.from_}


def _use_reference(work: Work, reference: str) -> None:
    known = work.get(Reference, reference)
    if known is not None:
        raise refusal("DUPLICATE_REFERENCE", f"{reference} was booked in entry {known.seq}")
    work.put(Reference(reference, work.seq))
