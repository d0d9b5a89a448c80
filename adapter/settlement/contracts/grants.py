"""Roles: granted and revoked by ADMIN alone, under the names of the older designs as well."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from adapter.settlement.commands import Handler
from adapter.settlement.contracts.parties import holders, holds_role
from adapter.settlement.kinds import ID, text_kind
from adapter.settlement.refusals import refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import RoleGrant
from adapter.settlement.work import Work

LAST_STAYS = {
    Role.ADMIN: "CANNOT_REMOVE_LAST_ADMIN",
    Role.REGULATOR: "CANNOT_REMOVE_LAST_REC_REGULATOR",
}
"""Roles that must always be held by someone."""


class Words(NamedTuple):
    """How one function speaks about a role."""

    role: Role
    field: str
    """Argument and event field."""
    added: str
    """Event."""
    removed: str
    exists: str
    """Code."""
    missing: str


REGULATORS = Words(
    Role.REGULATOR,
    "regulator",
    "RecRegulatorAdded",
    "RecRegulatorRemoved",
    "REC_REGULATOR_ALREADY_EXISTS",
    "REC_REGULATOR_NOT_FOUND",
)
MINTERS = Words(
    Role.MINTER,
    "minter",
    "MinterAdded",
    "MinterRemoved",
    "MINTER_ALREADY_EXISTS",
    "MINTER_NOT_FOUND",
)
BURNERS = Words(
    Role.BURNER,
    "burner",
    "BurnerAdded",
    "BurnerRemoved",
    "BURNER_ALREADY_EXISTS",
    "BURNER_NOT_FOUND",
)
ORACLE_OPERATORS = Words(
    Role.ORACLE_OPERATOR,
    "operator",
    "OracleOperatorAdded",
    "OracleOperatorRemoved",
    "OPERATOR_ALREADY_EXISTS",
    "OPERATOR_NOT_FOUND",
)
MARKET_MAKERS = Words(
    Role.MARKET_MAKER,
    "market_maker",
    "MarketMakerAdded",
    "MarketMakerRemoved",
    "MARKET_MAKER_ALREADY_EXISTS",
    "MARKET_MAKER_NOT_FOUND",
)


@dataclass(frozen=True, slots=True)
class GrantRole:
    """Give an actor a role."""

    role: Annotated[str, text_kind("a role", 64)]
    actor: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class RevokeRole:
    """Take a role from an actor; the last ADMIN and the last REGULATOR stay."""

    role: Annotated[str, text_kind("a role", 64)]
    actor: Annotated[str, ID]


def grant_role(work: Work, args: GrantRole) -> Mapping[str, Any]:
    """Give the role."""
    role = _role(args.role)
    _add(work, role, args.actor, "ROLE_ALREADY_GRANTED")
    work.emit("RoleGranted", {"role": role, "actor": args.actor})
    return {"role": role, "actor": args.actor}


def revoke_role(work: Work, args: RevokeRole) -> Mapping[str, Any]:
    """Take the role."""
    role = _role(args.role)
    _remove(work, role, args.actor, "ROLE_NOT_FOUND")
    work.emit("RoleRevoked", {"role": role, "actor": args.actor})
    return {"role": role, "actor": args.actor}


@dataclass(frozen=True, slots=True)
class AddRecRegulator:
    """Add a regulator."""

    new_regulator: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class RemoveRecRegulator:
    """Remove a regulator; the last one stays."""

    regulator: Annotated[str, ID]


def add_rec_regulator(work: Work, args: AddRecRegulator) -> Mapping[str, Any]:
    """Add the regulator."""
    return add(work, REGULATORS, args.new_regulator)


def remove_rec_regulator(work: Work, args: RemoveRecRegulator) -> Mapping[str, Any]:
    """Remove the regulator."""
    return remove(work, REGULATORS, args.regulator)


@dataclass(frozen=True, slots=True)
class AddMinter:
    """Allow an actor to mint against readings."""

    minter: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class RemoveMinter:
    """Stop an actor from minting."""

    minter: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class AddBurner:
    """Allow an actor to burn against consumption."""

    burner: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class RemoveBurner:
    """Stop an actor from burning."""

    burner: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class AddOracleOperator:
    """Allow a metering head-end to submit readings."""

    operator: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class RemoveOracleOperator:
    """Stop a metering head-end."""

    operator: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class AddMarketMaker:
    """Allow an actor to clear markets."""

    market_maker: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class RemoveMarketMaker:
    """Stop an actor from clearing markets."""

    market_maker: Annotated[str, ID]


def adding(words: Words) -> Handler[Any]:
    """Return the handler that gives a role, for a form with the field of `words`."""

    def handler(work: Work, args: Any, /) -> Mapping[str, Any]:
        return add(work, words, getattr(args, words.field))

    return handler


def removing(words: Words) -> Handler[Any]:
    """Return the handler that takes a role, for a form with the field of `words`."""

    def handler(work: Work, args: Any, /) -> Mapping[str, Any]:
        return remove(work, words, getattr(args, words.field))

    return handler


def add(work: Work, words: Words, actor: str) -> Mapping[str, Any]:
    """Give a role and say so in its own words."""
    _add(work, words.role, actor, words.exists)
    work.emit(words.added, {words.field: actor})
    return {words.field: actor}


def remove(work: Work, words: Words, actor: str) -> Mapping[str, Any]:
    """Take a role and say so in its own words."""
    _remove(work, words.role, actor, words.missing)
    work.emit(words.removed, {words.field: actor})
    return {words.field: actor}


def _role(name: str) -> Role:
    if name not in Role.__members__:
        raise refusal("ROLE_NOT_FOUND", f"{name} is no role; known: {', '.join(Role)}")
    return Role(name)


def _add(work: Work, role: Role, actor: str, exists: str) -> None:
    if holds_role(work, role, actor):
        raise refusal(exists, f"{actor} is {role} already")
    work.put(RoleGrant(role, actor, granted=True))


def _remove(work: Work, role: Role, actor: str, missing: str) -> None:
    if not holds_role(work, role, actor):
        raise refusal(missing, f"{actor} is not {role}")
    if role in LAST_STAYS and len(holders(work, role)) == 1:
        raise refusal(LAST_STAYS[role], f"{actor} is the last {role}")
    work.put(RoleGrant(role, actor, granted=False))
