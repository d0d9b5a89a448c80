"""pool: energy and cash that come in and go out.

A user's own energy is backed by a meter reading. A pool operator may vouch for energy that no
meter of the ledger read; that energy is kept in lots of its own and reported apart. Source:
settlement specification, section 12.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.contracts.cash import Deposit, deposit
from adapter.settlement.contracts.minting import check_capacity, known_reading, mint, retire
from adapter.settlement.contracts.parties import binding_at, holds_role, known_user, verify
from adapter.settlement.kinds import ENERGY, EVIDENCE, ID, INTERVAL, MONEY, REFERENCE
from adapter.settlement.pool_rows import OperatorLot
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import Reading
from adapter.settlement.work import Work

READING, OPERATOR = "READING", "OPERATOR"
"""What backs energy, as events say it."""


@dataclass(frozen=True, slots=True)
class AddEnergy:
    """Mint GRID, backed by a reading or by a pool operator's evidence."""

    prosumer: Annotated[str, ID]
    amount: Annotated[int, ENERGY]
    meter_id: Annotated[str | None, ID] = None
    interval: Annotated[int | None, INTERVAL] = None
    evidence: Annotated[str, EVIDENCE] = ""


@dataclass(frozen=True, slots=True)
class ConsumeEnergy:
    """Retire GRID, backed by a reading or by a pool operator's evidence."""

    prosumer: Annotated[str, ID]
    amount: Annotated[int, ENERGY]
    meter_id: Annotated[str | None, ID] = None
    interval: Annotated[int | None, INTERVAL] = None
    evidence: Annotated[str, EVIDENCE] = ""


def check_backing(_work: Work, args: AddEnergy | ConsumeEnergy) -> None:
    """Check that exactly one thing backs the energy: meter and interval, or evidence.

    Both together would back the same energy twice once the meter is read.

    Raises:
        ContractError: INVALID_INPUT.
    """
    if args.evidence:
        if args.meter_id is not None or args.interval is not None:
            raise invalid("evidence", "stands for energy without a reading: name no meter")
        return
    for name, value in (("meter_id", args.meter_id), ("interval", args.interval)):
        if value is None:
            raise invalid(name, "missing: energy is backed by a reading or by evidence")


def add_energy(work: Work, args: AddEnergy) -> Mapping[str, Any]:
    """Mint to the prosumer."""
    source = _check_caller(work, args)
    known_user(work, args.prosumer)
    fields = {"prosumer": args.prosumer, "amount": args.amount, "source": source}
    if source == OPERATOR:
        verify(work, args.prosumer)
        work.emit("EnergyAdded", fields)
        _mint_for_operator(work, args)
        return {"source": source}
    reading = _own_reading(work, args)
    if reading.minted + args.amount > reading.generated:
        left = reading.generated - reading.minted
        msg = f"{left} of the generation are not minted yet, {args.amount} wanted, in millionths"
        raise refusal("ALREADY_MINTED", msg, available=str(left))
    verify(work, args.prosumer)
    binding = binding_at(work, reading.meter_id, reading.start_ms)
    assert binding is not None
    check_capacity(reading.meter_id, args.amount, binding.capacity_micro_kw)
    work.emit("EnergyAdded", fields)
    mint(work, reading, args.amount)
    return {"source": source}


def consume_energy(work: Work, args: ConsumeEnergy) -> Mapping[str, Any]:
    """Retire GRID of the prosumer."""
    source = _check_caller(work, args)
    known_user(work, args.prosumer)
    fields = {"prosumer": args.prosumer, "amount": args.amount, "source": source}
    if source == OPERATOR:
        work.emit("EnergyConsumed", fields)
        _retire_for_operator(work, args)
        return {"source": source}
    reading = _own_reading(work, args)
    work.emit("EnergyConsumed", fields)
    retire(work, reading, args.amount, "INSUFFICIENT_ENERGY")
    return {"source": source}


def _check_caller(work: Work, args: AddEnergy | ConsumeEnergy) -> str:
    """Return what backs the energy.

    Raises:
        ContractError: NOT_AUTHORIZED.
    """
    if not args.evidence:
        if work.user != args.prosumer:
            raise refusal("NOT_AUTHORIZED", f"only {args.prosumer} may use its own readings")
        return READING
    if not holds_role(work, Role.POOL_OPERATOR, work.actor):
        raise refusal("NOT_AUTHORIZED", f"{work.actor} is not POOL_OPERATOR")
    return OPERATOR


def _own_reading(work: Work, args: AddEnergy | ConsumeEnergy) -> Reading:
    assert args.meter_id is not None
    assert args.interval is not None
    reading = known_reading(work, args.meter_id, args.interval)
    if reading.owner != args.prosumer:
        msg = f"{args.prosumer} did not own {args.meter_id} in that interval"
        raise refusal("METER_MISMATCH", msg)
    return reading


def _mint_for_operator(work: Work, args: AddEnergy) -> None:
    work.direct(accounts.ISSUED, accounts.main(args.prosumer, accounts.GRID), args.amount)
    _put_lot(work, args.prosumer, generated=args.amount)
    work.emit("Minted", {"to": args.prosumer, "amount": args.amount})
    work.emit("Transfer", {"to": args.prosumer, "amount": args.amount})


def _retire_for_operator(work: Work, args: ConsumeEnergy) -> None:
    account = accounts.main(args.prosumer, accounts.GRID)
    work.require(account, args.amount, "INSUFFICIENT_ENERGY", f"GRID of {args.prosumer}")
    work.direct(account, accounts.RETIRED, args.amount)
    _put_lot(work, args.prosumer, consumed=args.amount)
    work.emit("Burned", {"from": args.prosumer, "amount": args.amount})
    work.emit("Transfer", {"from": args.prosumer, "amount": args.amount})


def _put_lot(work: Work, user: str, *, generated: int = 0, consumed: int = 0) -> None:
    number = work.next_number("operator_lot")
    work.put(OperatorLot(number, user, work.actor, generated, consumed, work.seq))


@dataclass(frozen=True, slots=True)
class AddFunds:
    """Book cash that a user paid in."""

    prosumer: Annotated[str, ID]
    amount: Annotated[int, MONEY]
    external_reference: Annotated[str, REFERENCE]


def add_funds(work: Work, args: AddFunds) -> Mapping[str, Any]:
    """Do what token.deposit does, and say so in the words of the pool."""
    work.emit("FundsAdded", {"prosumer": args.prosumer, "amount": args.amount})
    deposit(work, Deposit(args.prosumer, args.amount, args.external_reference))
    return {"prosumer": args.prosumer}
