"""`registry.initialize`: entry 0 fixes settings, roles and keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.quantities import minor_digits
from adapter.settlement.canonical import digest
from adapter.settlement.kinds import ID, Kind, text_kind
from adapter.settlement.refusals import invalid
from adapter.settlement.roles import HELD_FROM_START, Role
from adapter.settlement.rows import Genesis, Opened, Parameters, RoleGrant
from adapter.settlement.settings import KINDS, SETTINGS, encode_settings
from adapter.settlement.work import Work

LIST_MAX = 1_000
"""Actors per role, and keys, that entry 0 may name."""
_KEY_PARTS = {
    "id": text_kind("a key id", 512),
    "public_key": text_kind("a public key in base64", 88),
}


def _decode_ids(name: str, wire: object) -> list[str]:
    if not isinstance(wire, list | tuple) or len(wire) > LIST_MAX:
        raise invalid(name, f"not a list of at most {LIST_MAX} ids")
    return list(dict.fromkeys(ID.decode(f"{name}[{i}]", part) for i, part in enumerate(wire)))


def _check_ids(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple):
        raise invalid(name, "not a list of ids")
    for i, part in enumerate(value):
        ID.check(f"{name}[{i}]", part)


def _check_regulators(name: str, value: Any) -> None:
    _check_ids(name, value)
    if not value:
        raise invalid(name, "name at least one, there must always be a regulator")


def _decode_roles(name: str, wire: object) -> dict[str, list[str]]:
    if not isinstance(wire, Mapping):
        raise invalid(name, "not a table of roles")
    return {str(role): _decode_ids(f"{name}.{role}", actors) for role, actors in wire.items()}


def _check_roles(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise invalid(name, "not a table of roles")
    for role, actors in value.items():
        if role not in Role.__members__:
            raise invalid(name, f"{str(role)[:60]!r} is no role; known: {', '.join(Role)}")
        _check_ids(f"{name}.{role}", actors)


def _decode_keys(name: str, wire: object) -> list[dict[str, str]]:
    if not isinstance(wire, list | tuple) or len(wire) > LIST_MAX:
        raise invalid(name, "not a list of keys")
    return [dict(part) if isinstance(part, Mapping) else {} for part in wire]


def _check_keys(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple):
        raise invalid(name, "not a list of keys")
    for i, key in enumerate(value):
        where = f"{name}[{i}]"
        if not isinstance(key, Mapping) or key.keys() != _KEY_PARTS.keys():
            raise invalid(where, 'not {"id": "subscriber|key|ed25519", "public_key": base64}')
        for part, kind in _KEY_PARTS.items():
            kind.check(f"{where}.{part}", key[part])


IDS = Kind("ids", {"type": "array", "items": ID.schema}, _decode_ids, _check_regulators)
ROLES = Kind("actors per role", {"type": "object"}, _decode_roles, _check_roles)
KEYS = Kind("signing keys of the host", {"type": "array"}, _decode_keys, _check_keys)


@dataclass(frozen=True, slots=True)
class Initialize:
    """Open the ledger with its settings, roles and keys."""

    admin: Annotated[str, ID]
    regulators: Annotated[list[str], IDS]
    roles: Annotated[Mapping[str, list[str]], ROLES]
    settings: Annotated[Mapping[str, Any], SETTINGS]
    keys: Annotated[list[Mapping[str, str]], KEYS]
    ledger: Annotated[str | None, ID] = None
    """Name of the ledger; absent: the subscriber of the first key, or the admin."""


def initialize(work: Work, args: Initialize) -> Mapping[str, Any]:
    """Write the first state."""
    host = args.keys[0]["id"].split("|")[0] if args.keys else args.admin
    ledger = args.ledger or host
    grid_operators = args.roles.get(Role.GRID_OPERATOR) or [ledger]
    currency = args.settings["currency"]
    digits = minor_digits(currency)
    work.put(Genesis(ledger, currency, digits, grid_operators[0], platform=ledger))
    # In the order of the table, so that a replay from the journal writes the same row.
    values = tuple((name, args.settings[name], 0, args.settings[name]) for name in KINDS)
    work.put(Parameters(values))
    work.put(Opened("registry", work.seq))
    granted = [(Role.ADMIN, args.admin), *HELD_FROM_START]
    granted += [(Role.REGULATOR, actor) for actor in args.regulators]
    granted += [(Role(role), actor) for role, actors in args.roles.items() for actor in actors]
    for role, actor in granted:
        work.put(RoleGrant(role, actor, granted=True))
    fingerprint = digest(encode_settings(args.settings))
    work.emit("Initialized", {"ledger": ledger, "settings_digest": fingerprint})
    return {"ledger": ledger}
