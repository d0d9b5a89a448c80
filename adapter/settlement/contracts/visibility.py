"""Who may see what: own objects, those of represented users, and overseers all.

What a caller may not see is answered as not found. Source: settlement specification, section 17.
"""

from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.contracts.parties import acts_for, binding_at, holds_role
from adapter.settlement.events import EVENTS, Event, Field
from adapter.settlement.roles import SYSTEM, Role
from adapter.settlement.rows import Binding, padded
from adapter.settlement.state import Reader

OVERSEERS = (Role.REGULATOR, Role.AUDITOR)


def sees_all(reader: Reader, actor: str) -> bool:
    """Return whether an actor may read everything."""
    return actor == SYSTEM or any(holds_role(reader, role, actor) for role in OVERSEERS)


def sees_user(reader: Reader, actor: str, user: str) -> bool:
    """Return whether an actor may see the affairs of a user."""
    return acts_for(reader, actor, user) or sees_all(reader, actor)


def sees_meters(reader: Reader, actor: str) -> bool:
    """Return whether an actor may see all meters and agreements over them."""
    return holds_role(reader, Role.GRID_OPERATOR, actor) or sees_all(reader, actor)


def sees_meter(reader: Reader, actor: str, meter_id: str, at_ms: int | None = None) -> bool:
    """Return whether an actor may see a meter: its owner at an instant, or ever."""
    if sees_meters(reader, actor):
        return True
    if at_ms is not None:
        binding = binding_at(reader, meter_id, at_ms)
        return binding is not None and acts_for(reader, actor, binding.owner)
    owners = {binding.owner for binding in reader.find(Binding, "meter", meter_id)}
    return any(acts_for(reader, actor, owner) for owner in owners)


def sees_agreement(reader: Reader, actor: str, agreement: Agreement) -> bool:
    """Return whether an actor may see an agreement."""
    parties = (agreement.terms.provider, agreement.terms.consumer)
    own = actor == agreement.caller or any(acts_for(reader, actor, user) for user in parties)
    return own or sees_meters(reader, actor)


def sees_event(reader: Reader, actor: str, event: Event) -> bool:
    """Return whether an actor may see an event."""
    declared = EVENTS[event.name]
    if declared.public or sees_all(reader, actor):
        return True
    at_ms = event.fields.get("interval")
    for name, value in event.fields.items():
        match declared.fields[name]:
            case Field.USER if value and acts_for(reader, actor, value):
                return True
            case Field.METER if sees_meter(reader, actor, value, at_ms):
                return True
            case Field.AGREEMENT:
                agreement = reader.get(Agreement, padded(value))
                if agreement is not None and sees_agreement(reader, actor, agreement):
                    return True
            case Field.REQUEST if holds_role(reader, Role.ORACLE_OPERATOR, actor):
                return True
            case _:
                pass
    return False
