"""token: GRID, 1 GRID = 1 kWh, minted against generation, retired against consumption."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.contracts.minting import (
    check_capacity,
    check_ended,
    known_reading,
    mint,
    retire,
)
from adapter.settlement.contracts.parties import binding_at, check_meter, known_user, verify
from adapter.settlement.kinds import ENERGY, ID, INTERVAL, Kind, text_kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.work import Work

DATA_BYTES_MAX = 256


def _check_data(name: str, value: Any) -> None:
    text_kind("data", DATA_BYTES_MAX, 0).check(name, value)
    if len(value.encode()) > DATA_BYTES_MAX:
        raise invalid(name, f"longer than {DATA_BYTES_MAX} bytes")


DATA = Kind(
    f"at most {DATA_BYTES_MAX} bytes of text",
    {"type": "string", "maxLength": DATA_BYTES_MAX},
    text_kind("data", DATA_BYTES_MAX, 0).decode,
    _check_data,
)


@dataclass(frozen=True, slots=True)
class Mint:
    """Mint GRID for generation that a stored reading proves."""

    to: Annotated[str, ID]
    amount: Annotated[int, ENERGY]
    meter_id: Annotated[str, ID]
    interval: Annotated[int, INTERVAL]


def mint_tokens(work: Work, args: Mint) -> Mapping[str, Any]:
    """Mint what the reading has left."""
    check_meter(work, args.meter_id)
    reading = known_reading(work, args.meter_id, args.interval)
    _check_owner(reading.owner, args.to, args.meter_id)
    if reading.minted + args.amount > reading.generated:
        left = reading.generated - reading.minted
        msg = f"{left} of the generation are not minted yet, {args.amount} wanted, in millionths"
        raise refusal("ALREADY_MINTED", msg, available=str(left))
    verify(work, args.to)
    check_ended(work, args.interval)
    binding = binding_at(work, args.meter_id, args.interval)
    assert binding is not None
    check_capacity(args.meter_id, args.amount, binding.capacity_micro_kw)
    mint(work, reading, args.amount)
    return {"meter_id": args.meter_id, "interval": args.interval}


@dataclass(frozen=True, slots=True)
class Burn:
    """Burn a user's GRID against its consumption."""

    from_: Annotated[str, ID]
    amount: Annotated[int, ENERGY]
    meter_id: Annotated[str, ID]
    interval: Annotated[int, INTERVAL]


def burn(work: Work, args: Burn) -> Mapping[str, Any]:
    """Retire the GRID of the owner of the interval."""
    known_user(work, args.from_)
    return _retire(work, args.from_, args)


@dataclass(frozen=True, slots=True)
class Retire:
    """Retire own GRID against own consumption."""

    amount: Annotated[int, ENERGY]
    meter_id: Annotated[str, ID]
    interval: Annotated[int, INTERVAL]


def retire_own(work: Work, args: Retire) -> Mapping[str, Any]:
    """Retire the caller's GRID."""
    known_user(work, work.user)
    return _retire(work, work.user, args)


def _retire(work: Work, holder: str, args: Burn | Retire) -> Mapping[str, Any]:
    check_meter(work, args.meter_id)
    reading = known_reading(work, args.meter_id, args.interval)
    _check_owner(reading.owner, holder, args.meter_id)
    retire(work, reading, args.amount, "INSUFFICIENT_BALANCE")
    return {"meter_id": args.meter_id, "interval": args.interval}


def _check_owner(owner: str, named: str, meter_id: str) -> None:
    if owner != named:
        raise refusal("METER_MISMATCH", f"{named} did not own {meter_id} in that interval")


@dataclass(frozen=True, slots=True)
class Transfer:
    """Send GRID to another user."""

    to: Annotated[str, ID]
    value: Annotated[int, ENERGY]
    data: Annotated[str, DATA] = ""


def transfer(work: Work, args: Transfer) -> Mapping[str, Any]:
    """Move GRID between two ACTIVE users."""
    move(work, work.user, args.to, args.value, args.data)
    return {"to": args.to}


def check_transfer(work: Work, source: str, target: str) -> None:
    """Check the parties of a transfer.

    Raises:
        ContractError: USER_NOT_VERIFIED, SELF_TRANSFER.
    """
    verify(work, source, target)
    if source == target:
        raise refusal("SELF_TRANSFER", f"{source} is sender and receiver")


def move(work: Work, source: str, target: str, value: int, data: str) -> None:
    """Check the parties and the balance, then move GRID."""
    check_transfer(work, source, target)
    account = accounts.main(source, accounts.GRID)
    work.require(account, value, "INSUFFICIENT_BALANCE", f"GRID of {source}")
    work.direct(account, accounts.main(target, accounts.GRID), value)
    fields = {"from": source, "to": target, "amount": value}
    work.emit("Transfer", {**fields, "data": data or None})


@dataclass(frozen=True, slots=True)
class SetRegistryContract:
    """Confirm the registry that verifies users; no other can be named."""

    registry_contract: Annotated[str, text_kind("a contract", 64)]


def set_registry_contract(work: Work, args: SetRegistryContract) -> Mapping[str, Any]:
    """Refuse to rewire the ledger: verification cannot be switched off."""
    if args.registry_contract != "registry":
        raise refusal("REGISTRY_NOT_SET", "only the hosted contract `registry` can be named")
    work.emit("RegistryContractSet", {"registry_contract": args.registry_contract})
    return {"registry_contract": args.registry_contract}
