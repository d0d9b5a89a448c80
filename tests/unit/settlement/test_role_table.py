"""Every function against every caller that may not call it: refused, and nothing changed.

The cases come from the table of functions; the expected roles and codes are those of the
specification, in `samples.py`.
"""

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import FUNCTIONS, Command, Role, apply, parse_command
from tests.unit.settlement.samples import OPEN, RULES, full_world, sample
from tests.unit.settlement.world import Market, World

NAMES = sorted(".".join(key) for key in FUNCTIONS)
GUARDED = [name for name in NAMES if name not in OPEN]
OTHERS = (*Role, None)
"""Whoever is no party of the sample's object: a holder of each role, and someone without one."""


@pytest.fixture(scope="module")
def world() -> Market:
    """Return a ledger that no test here changes."""
    return full_world()


def holder(role: Role | None) -> str:
    return "stranger" if role is None else f"holder-{role}"


@pytest.mark.parametrize("name", NAMES)
def test_every_function_has_a_rule(name: str) -> None:
    assert (name in RULES) != (name in OPEN), "say in samples.py who may call it"


@pytest.mark.parametrize("name", NAMES)
def test_every_function_has_sample_arguments(world: Market, name: str) -> None:
    if name in ("registry.initialize", "agreements.initialize"):
        return
    contract, function = name.split(".")
    parse_command("c", contract, function, sample(world, name))


@pytest.mark.parametrize("name", GUARDED)
def test_the_table_of_functions_says_what_the_specification_says(name: str) -> None:
    contract, function = name.split(".")
    row, rule = FUNCTIONS[contract, function], RULES[name]
    if rule.by_relation:
        assert row.roles == ()
    else:
        assert (set(row.roles), row.refusal) == (rule.roles, rule.code)


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("role", OTHERS, ids=lambda role: role or "no role")
def test_callers_without_the_role_are_refused(world: Market, name: str, role: Role | None) -> None:
    rule = RULES[name]
    if role in rule.roles:
        return
    error = world.refused(rule.code, name, holder(role), **sample(world, name))
    assert error.http_status == 403


@pytest.mark.parametrize(
    ("name", "role"), [(name, role) for name in GUARDED for role in sorted(RULES[name].roles)]
)
def test_callers_with_the_role_get_past_that_check(world: Market, name: str, role: Role) -> None:
    contract, function = name.split(".")
    command = parse_command("c", contract, function, sample(world, name))
    assert outcome(world, command, holder(role)) != RULES[name].code


def outcome(world: Market, command: Command, caller: str) -> str:
    """Return the code of the refusal, or an empty text."""
    try:
        apply(world.ledger, command, caller, world.now)
    except ContractError as refused:
        return refused.code
    return ""


@pytest.mark.parametrize("name", [name for name in GUARDED if RULES[name].by_relation])
def test_the_users_of_the_object_get_past_that_check(world: Market, name: str) -> None:
    contract, function = name.split(".")
    command = parse_command("c", contract, function, sample(world, name))
    assert {outcome(world, command, user) for user in ("alice", "bob")} != {RULES[name].code}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", OTHERS, ids=lambda role: role or "no role")
def test_nobody_acts_for_a_user_that_did_not_name_him(
    world: Market, name: str, role: Role | None
) -> None:
    if name in ("registry.initialize", "agreements.initialize"):
        return
    args = sample(world, name)
    world.refused("NOT_AUTHORIZED", name, holder(role), "alice", **args)


@pytest.mark.parametrize("representative", ["bap", "bpp"])
@pytest.mark.parametrize("name", [name for name in GUARDED if not RULES[name].by_relation])
def test_a_representative_has_no_role_of_its_user(
    world: Market, name: str, representative: str
) -> None:
    user = {"bap": "alice", "bpp": "bob"}[representative]
    world.refused(RULES[name].code, name, representative, user, **sample(world, name))


LAST = [
    ("registry.remove_rec_regulator", "REGULATOR", {"regulator": "{}"}),
    ("registry.revoke_role", "REGULATOR", {"role": "REGULATOR", "actor": "{}"}),
    ("registry.revoke_role", "ADMIN", {"role": "ADMIN", "actor": "{}"}),
]


@pytest.mark.parametrize(("name", "role", "args"), LAST, ids=lambda part: str(part))
def test_the_last_admin_and_regulator_stay(name: str, role: str, args: dict[str, str]) -> None:
    world = World().open()
    first = {"ADMIN": "admin", "REGULATOR": "regulator"}[role]
    code = f"CANNOT_REMOVE_LAST_{'REC_' if role == 'REGULATOR' else ''}{role}"

    def without(actor: str) -> dict[str, str]:
        return {key: value.format(actor) for key, value in args.items()}

    world.refused(code, name, "admin", **without(first))
    world.do("registry.grant_role", "admin", role=role, actor="second")
    world.do(name, "second" if role == "ADMIN" else "admin", **without(first))
    world.refused(code, name, "second" if role == "ADMIN" else "admin", **without("second"))
