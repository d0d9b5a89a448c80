"""registry: users, their type and status, and who may act for them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.contracts.closing import suspend_agreements
from adapter.settlement.contracts.orders import has_open_sell_order, suspend_orders
from adapter.settlement.contracts.parties import holds_role, known_user
from adapter.settlement.contracts.pool_closing import has_open_offer, suspend_offers
from adapter.settlement.kinds import ID, LOCATION, REASON, USER, Kind, choice_kind
from adapter.settlement.refusals import refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import Binding, MeterKind, User, UserState, UserType
from adapter.settlement.work import Work

USER_TYPE = choice_kind("a user type", UserType)
USER_TRANSITIONS: Mapping[UserState, frozenset[UserState]] = MappingProxyType(
    {
        UserState.PENDING: frozenset({UserState.DEACTIVATED}),
        UserState.ACTIVE: frozenset({UserState.SUSPENDED, UserState.DEACTIVATED}),
        UserState.SUSPENDED: frozenset({UserState.ACTIVE, UserState.DEACTIVATED}),
        UserState.DEACTIVATED: frozenset(),
    }
)
"""What update_user_status may do; PENDING becomes ACTIVE through register_user."""


def _check_representative(name: str, value: Any) -> None:
    if value != "":
        ID.check(name, value)


REPRESENTATIVE = Kind(
    "a subscriber id, or empty", {"type": "string"}, ID.decode, _check_representative
)


@dataclass(frozen=True, slots=True)
class ApplyUser:
    """Ask to become a user."""

    user_type: Annotated[str, USER_TYPE]
    location: Annotated[str, LOCATION] = ""


def apply_user(work: Work, args: ApplyUser) -> Mapping[str, Any]:
    """Note the applicant as PENDING."""
    USER.check("user", work.user)
    if work.get(User, work.user) is not None:
        raise refusal("USER_ALREADY_EXISTS", f"{work.user} has applied or is registered already")
    user_type = UserType(args.user_type)
    work.put(User(work.user, user_type, args.location, UserState.PENDING, since_ms=work.now_ms))
    fields = {"user": work.user, "user_type": user_type, "location": args.location}
    work.emit("UserApplied", fields)
    return {"user": work.user, "status": UserState.PENDING}


@dataclass(frozen=True, slots=True)
class RegisterProsumer:
    """Ask to become a user of type PROSUMER; there is only one registry."""

    prosumer: Annotated[str, ID]


def register_prosumer(work: Work, args: RegisterProsumer) -> Mapping[str, Any]:
    """Do what apply_user does."""
    if args.prosumer != work.user:
        raise refusal("NOT_AUTHORIZED", f"only {args.prosumer} may ask for itself")
    return apply_user(work, ApplyUser(UserType.PROSUMER))


@dataclass(frozen=True, slots=True)
class RegisterUser:
    """Make a user ACTIVE and open its accounts."""

    user: Annotated[str, USER]
    user_type: Annotated[str, USER_TYPE]
    location: Annotated[str, LOCATION] = ""


def register_user(work: Work, args: RegisterUser) -> Mapping[str, Any]:
    """Register an applicant, or someone new."""
    known = work.get(User, args.user)
    if known is not None and known.state is not UserState.PENDING:
        raise refusal("USER_ALREADY_EXISTS", f"{args.user} is {known.state} already")
    user_type = UserType(args.user_type)
    base = known or User(args.user, user_type, "", UserState.PENDING, since_ms=work.now_ms)
    work.put(replace(base, user_type=user_type, location=args.location, state=UserState.ACTIVE))
    for asset in (accounts.GRID, work.genesis.currency):
        work.open_account(accounts.main(args.user, asset))
    fields = {"user": args.user, "user_type": user_type, "location": args.location}
    work.emit("UserRegistered", fields)
    return {"user": args.user, "status": UserState.ACTIVE}


@dataclass(frozen=True, slots=True)
class UpdateUserStatus:
    """Suspend, reactivate or deactivate a user."""

    user: Annotated[str, ID]
    new_status: Annotated[str, choice_kind("a user status", UserState)]
    reason: Annotated[str, REASON] = ""


def update_user_status(work: Work, args: UpdateUserStatus) -> Mapping[str, Any]:
    """Take the step; a user that stops being ACTIVE loses its orders, offers and proposals."""
    user = known_user(work, args.user)
    new = UserState(args.new_status)
    if new not in USER_TRANSITIONS[user.state]:
        allowed = ", ".join(sorted(USER_TRANSITIONS[user.state])) or "nothing"
        msg = f"a user that is {user.state} can become {allowed}, not {new}"
        raise refusal("INVALID_TRANSITION", msg)
    work.put(replace(user, state=new))
    work.emit(
        "UserStatusUpdated",
        {"user": user.user, "old_status": user.state, "new_status": new, "reason": args.reason},
    )
    if user.state is UserState.ACTIVE:
        suspend_orders(work, user.user)
        suspend_offers(work, user.user)
        suspend_agreements(work, user.user)
    return {"user": user.user, "status": new}


@dataclass(frozen=True, slots=True)
class UpdateUserType:
    """Change a user between PROSUMER and CONSUMER."""

    user: Annotated[str, ID]
    new_type: Annotated[str, USER_TYPE]


def update_user_type(work: Work, args: UpdateUserType) -> Mapping[str, Any]:
    """Change the type unless the user still sells."""
    user = known_user(work, args.user)
    new = UserType(args.new_type)
    if new is UserType.CONSUMER and _sells(work, user.user):
        msg = f"{user.user} owns a generation meter, offers energy or is provider of an agreement"
        raise refusal("TYPE_IN_USE", msg)
    work.put(replace(user, user_type=new))
    fields = {"user": user.user, "old_type": user.user_type, "new_type": new}
    work.emit("UserTypeUpdated", fields)
    return {"user": user.user, "user_type": new}


def _sells(work: Work, user: str) -> bool:
    generates = any(
        binding.kind is MeterKind.GENERATION for binding in work.find(Binding, "owner", user)
    )
    agreements = work.find(Agreement, "live_of", user)
    provides = any(agreement.terms.provider == user for agreement in agreements)
    sells = has_open_sell_order(work, user) or has_open_offer(work, user)
    return generates or sells or provides


@dataclass(frozen=True, slots=True)
class SetRepresentative:
    """Say which subscriber may act for a user; empty clears it."""

    user: Annotated[str, ID]
    subscriber: Annotated[str, REPRESENTATIVE]


def set_representative(work: Work, args: SetRepresentative) -> Mapping[str, Any]:
    """Note who may act for the user."""
    user = known_user(work, args.user)
    if work.user != args.user and not holds_role(work, Role.REGULATOR, work.actor):
        raise refusal("NOT_AUTHORIZED", f"only {args.user} or a regulator may say this")
    work.put(replace(user, representative=args.subscriber))
    fields = {"user": user.user, "old": user.representative, "new": args.subscriber}
    work.emit("RepresentativeSet", fields)
    return {"user": user.user, "representative": args.subscriber}
