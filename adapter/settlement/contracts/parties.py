"""Who is who: roles, representatives, verified users, owners of meters."""

from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.refusals import refusal
from adapter.settlement.roles import Role
from adapter.settlement.rows import (
    Binding,
    Meter,
    RoleGrant,
    User,
    UserState,
    UserType,
    padded,
)
from adapter.settlement.state import Reader, Span


def holds_role(reader: Reader, role: Role, actor: str) -> bool:
    """Return whether an actor holds a role."""
    grant = reader.get(RoleGrant, f"{role}|{actor}")
    return grant is not None and grant.granted


def holders(reader: Reader, role: Role) -> list[str]:
    """Return all actors that hold a role."""
    return [grant.actor for grant in reader.find(RoleGrant, "holders", role)]


def acts_for(reader: Reader, actor: str, user: str) -> bool:
    """Return whether an actor may act for a user: itself, or as registered representative.

    Nobody in particular, the empty actor, is not the representative of those who have none.
    """
    if not actor or actor == user:
        return bool(actor)
    known = reader.get(User, user)
    return known is not None and known.representative == actor


def known_user(reader: Reader, user: str) -> User:
    """Return a user.

    Raises:
        ContractError: USER_NOT_FOUND.
    """
    known = reader.get(User, user)
    if known is None:
        raise refusal("USER_NOT_FOUND", f"{user} is not a user: apply_user comes first")
    return known


def is_verified(reader: Reader, user: str) -> bool:
    """Return whether a user is registered and ACTIVE."""
    known = reader.get(User, user)
    return known is not None and known.state is UserState.ACTIVE


def is_prosumer(reader: Reader, user: str) -> bool:
    """Return whether a user is ACTIVE and a PROSUMER."""
    known = reader.get(User, user)
    return is_verified(reader, user) and known is not None and known.user_type is UserType.PROSUMER


def verify(reader: Reader, *users: str) -> None:
    """Check that users are registered and ACTIVE, in order.

    Raises:
        ContractError: USER_NOT_VERIFIED.
    """
    for user in users:
        if not is_verified(reader, user):
            raise refusal("USER_NOT_VERIFIED", f"{user} is not registered and ACTIVE", user=user)


def check_meter(reader: Reader, meter_id: str) -> None:
    """Check that a meter was ever assigned.

    Raises:
        ContractError: METER_NOT_FOUND.
    """
    if reader.get(Meter, meter_id) is None:
        raise refusal("METER_NOT_FOUND", f"{meter_id} is not a meter of this ledger")


def binding_at(reader: Reader, meter_id: str, instant_ms: int) -> Binding | None:
    """Return who owns a meter at an instant, None when nobody does."""
    span = Span(end=padded(instant_ms + 1), newest_first=True)
    newest = next(iter(reader.find(Binding, "meter", meter_id, span)), None)
    return newest if newest is not None and newest.covers(instant_ms) else None


def live_binding(reader: Reader, meter_id: str) -> Binding | None:
    """Return the binding that has no end yet, be it in force or about to be."""
    newest = next(iter(reader.find(Binding, "meter", meter_id, Span(newest_first=True))), None)
    return newest if newest is not None and not newest.until_ms else None


def meter_owner(reader: Reader, meter_id: str, at_ms: int) -> str | None:
    """Return the owner of a meter at an instant, None when it has none or is unknown."""
    binding = binding_at(reader, meter_id, at_ms)
    return binding.owner if binding else None


def meter_capacity(reader: Reader, meter_id: str, at_ms: int) -> int:
    """Return the power of a meter at an instant in 10^-6 kW, 0 when nobody owns it then."""
    binding = binding_at(reader, meter_id, at_ms)
    return binding.capacity_micro_kw if binding else 0


def live_agreements(reader: Reader, meter_id: str) -> list[Agreement]:
    """Return the agreements that bind a meter now."""
    return list(reader.find(Agreement, "live", meter_id))
