"""Reads of registry and token."""

from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.quantities import to_text
from adapter.settlement import accounts
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.commands import ReadView
from adapter.settlement.contracts import parties
from adapter.settlement.contracts.allowances import allowance_of
from adapter.settlement.contracts.caps import NO_CAP, CapUse, cap_use
from adapter.settlement.contracts.visibility import sees_meter, sees_user
from adapter.settlement.kinds import ASSET, ID, INTERVAL, TIME, text_kind
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import Binding, Genesis, Meter, Reading, User
from adapter.settlement.state import Account, LedgerStore

TOKEN_NAME = "GridToken"
TOKEN_SYMBOL = "GRID"
TOKEN_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class IsUserVerified:
    """Whether a user is registered and ACTIVE."""

    user: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class IsProsumer:
    """Whether a user is ACTIVE and a PROSUMER."""

    user: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class GetMeterOwner:
    """Who owns a meter at an instant, now unless said otherwise."""

    meter_id: Annotated[str, ID]
    at: Annotated[int | None, TIME] = None


@dataclass(frozen=True, slots=True)
class GetUserMeters:
    """The meters a user owns now."""

    user: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class GetUserInfo:
    """What the registry knows about a user."""

    user: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class GetTradeCaps:
    """Cap, total, reserved and room of a meter, per side."""

    meter_id: Annotated[str, ID]
    slot: Annotated[int | None, INTERVAL] = None


@dataclass(frozen=True, slots=True)
class HasRole:
    """Whether an actor holds a role."""

    role: Annotated[str, text_kind("a role", 64)]
    actor: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class BalanceOf:
    """Posted, held and available of an owner in one asset."""

    user: Annotated[str, ID]
    asset: Annotated[str, ASSET] = accounts.GRID


@dataclass(frozen=True, slots=True)
class GetAllowance:
    """What a spender may use of an owner's asset."""

    owner: Annotated[str, ID]
    spender: Annotated[str, ID]
    asset: Annotated[str, ASSET] = accounts.GRID


@dataclass(frozen=True, slots=True)
class TotalSupply:
    """GRID in circulation: minted less retired."""


@dataclass(frozen=True, slots=True)
class TokenName:
    """Name of the energy token."""


@dataclass(frozen=True, slots=True)
class TokenSymbol:
    """Symbol of the energy token."""


@dataclass(frozen=True, slots=True)
class TokenDecimals:
    """Decimals of the energy token; token tools see 18."""


@dataclass(frozen=True, slots=True)
class GetLots:
    """What was minted and retired per interval of a meter."""

    meter_id: Annotated[str, ID]


def is_user_verified(view: ReadView, args: IsUserVerified) -> Any:
    """Answer for anyone."""
    return parties.is_verified(view.ledger, args.user)


def is_prosumer(view: ReadView, args: IsProsumer) -> Any:
    """Answer for anyone."""
    return parties.is_prosumer(view.ledger, args.user)


def get_meter_owner(view: ReadView, args: GetMeterOwner) -> Any:
    """Answer to the owner and to overseers."""
    at_ms = view.now_ms if args.at is None else args.at
    _check_meter(view, args.meter_id)
    return {
        "meter_id": args.meter_id,
        "owner": parties.meter_owner(view.ledger, args.meter_id, at_ms),
    }


def get_user_meters(view: ReadView, args: GetUserMeters) -> Any:
    """Answer to the user and to overseers."""
    _visible_user(view, args.user)
    return [
        {
            "meter_id": binding.meter_id,
            "kind": str(binding.kind),
            "capacity_kw": to_text(binding.capacity_micro_kw),
            "area": binding.area,
            "from": binding.from_ms,
        }
        for binding in view.ledger.find(Binding, "owner", args.user)
    ]


def get_user_info(view: ReadView, args: GetUserInfo) -> Any:
    """Answer to the user and to overseers."""
    user = _visible_user(view, args.user)
    return {
        "user": user.user,
        "user_type": str(user.user_type),
        "location": user.location,
        "status": str(user.state),
        "representative": user.representative,
    }


def get_trade_caps(view: ReadView, args: GetTradeCaps) -> Any:
    """Answer to the owner, the grid operator and overseers."""
    _check_meter(view, args.meter_id)
    sides: dict[str, Any] = {}
    for side in TradeSide:
        account = accounts.cap(args.meter_id, side, args.slot)
        known = cap_use(view.ledger, account)
        use = known or CapUse(NO_CAP.cap, NO_CAP.total, 0)
        sides[str(side)] = {
            "capped": known is not None,
            "cap": to_text(use.cap),
            "total": to_text(use.total),
            "reserved": to_text(use.reserved),
            "room": to_text(use.room),
        }
    return sides


def has_role(view: ReadView, args: HasRole) -> Any:
    """Answer for anyone."""
    known = args.role in Role.__members__
    return known and parties.holds_role(view.ledger, Role(args.role), args.actor)


def balance_of(view: ReadView, args: BalanceOf) -> Any:
    """Answer to the owner and to overseers; any owner of accounts will do, also a platform."""
    genesis = _genesis(view.ledger)
    if args.asset not in (accounts.GRID, genesis.currency):
        raise invalid("asset", f"not GRID or {genesis.currency}")
    if not sees_user(view.ledger, view.actor, args.user):
        raise refusal("USER_NOT_FOUND", f"no account of {args.user} that you may see")
    total = balance(view.ledger, args.user, args.asset)
    digits = 0 if args.asset == accounts.GRID else genesis.digits
    return {
        "posted": to_text(total.posted, digits),
        "held": to_text(total.held, digits),
        "available": to_text(total.available, digits),
    }


def balance(ledger: LedgerStore, owner: str, asset: str) -> Account:
    """Return the sum of an owner's accounts in one asset."""
    found = [a for a in ledger.accounts(owner) if accounts.asset_of(a.id) == asset]
    return Account(f"{owner}|{asset}", sum(a.posted for a in found), sum(a.held for a in found))


def get_allowance(view: ReadView, args: GetAllowance) -> Any:
    """Answer to owner, spender and overseers."""
    seen = view.actor == args.spender or sees_user(view.ledger, view.actor, args.owner)
    if not seen:
        raise refusal("USER_NOT_FOUND", f"no allowance of {args.owner} that you may see")
    digits = 0 if args.asset == accounts.GRID else _genesis(view.ledger).digits
    return to_text(allowance_of(view.ledger, args.owner, args.spender, args.asset), digits)


def total_supply(view: ReadView, _args: TotalSupply) -> Any:
    """Answer for anyone."""
    issued, retired = (view.ledger.account(a) for a in (accounts.ISSUED, accounts.RETIRED))
    return to_text(-(issued.posted if issued else 0) - (retired.posted if retired else 0))


def token_name(_view: ReadView, _args: TokenName) -> Any:
    """Answer for anyone."""
    return TOKEN_NAME


def token_symbol(_view: ReadView, _args: TokenSymbol) -> Any:
    """Answer for anyone."""
    return TOKEN_SYMBOL


def token_decimals(_view: ReadView, _args: TokenDecimals) -> Any:
    """Answer for anyone."""
    return TOKEN_DECIMALS


def get_lots(view: ReadView, args: GetLots) -> Any:
    """Answer to the owner and to overseers, oldest first."""
    _check_meter(view, args.meter_id)
    return [
        {
            "interval": reading.start_ms,
            "owner": reading.owner,
            "minted": to_text(reading.minted),
            "retired": to_text(reading.retired),
            "reading": reading.digest,
        }
        for reading in view.ledger.find(Reading, "meter", args.meter_id)
        if sees_user(view.ledger, view.actor, reading.owner)
        or sees_meter(view.ledger, view.actor, args.meter_id, reading.start_ms)
    ]


def _visible_user(view: ReadView, user: str) -> User:
    known = parties.known_user(view.ledger, user)
    if not sees_user(view.ledger, view.actor, user):
        raise refusal("USER_NOT_FOUND", f"{user} is not a user that you may see")
    return known


def _check_meter(view: ReadView, meter_id: str) -> None:
    unknown = view.ledger.get(Meter, meter_id) is None
    if unknown or not sees_meter(view.ledger, view.actor, meter_id):
        raise refusal("METER_NOT_FOUND", f"{meter_id} is not a meter that you may see")


def _genesis(ledger: LedgerStore) -> Genesis:
    genesis = ledger.get(Genesis, "")
    assert genesis is not None
    return genesis
