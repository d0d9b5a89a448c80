"""Every function against every caller that may not call it: refused, and nothing changed."""

from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import FUNCTIONS, Role, apply, parse_command
from tests.unit.settlement.world import EPOCH, GENESIS, NOON, Market

NEW_USER = {"user": "zoe", "user_type": "PROSUMER"}
KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
"""A public key of RFC 8032."""
ARGS: dict[str, dict[str, Any]] = {
    "registry.register_user": NEW_USER,
    "registry.update_user_status": {"user": "alice", "new_status": "SUSPENDED"},
    "registry.update_user_type": {"user": "alice", "new_type": "CONSUMER"},
    "registry.assign_meter": {
        "meter_id": "m-new",
        "owner": "alice",
        "capacity_kw": 5,
        "public_key": KEY,
    },
    "registry.unassign_meter": {"meter_id": "m-idle"},
    "registry.add_rec_regulator": {"new_regulator": "zoe"},
    "registry.remove_rec_regulator": {"regulator": "regulator"},
    "registry.grant_role": {"role": "ADMIN", "actor": "zoe"},
    "registry.revoke_role": {"role": "AUDITOR", "actor": "auditor"},
    "registry.set_representative": {"user": "alice", "subscriber": "zoe"},
    "registry.set_trade_cap": {"meter_id": "m-buy", "side": "BUY", "cap": 60},
    "registry.set_parameter": {"name": "auto_mint", "value": False},
    "registry.set_max_meters_per_user": {"value": 3},
    "registry.expire_due": {},
    "token.mint": {"to": "bob", "amount": 1, "meter_id": "m-idle", "interval": NOON},
    "token.burn": {"from": "bob", "amount": 1, "meter_id": "m-idle", "interval": NOON},
    "token.add_minter": {"minter": "zoe"},
    "token.remove_minter": {"minter": "minter"},
    "token.add_burner": {"burner": "zoe"},
    "token.remove_burner": {"burner": "burner"},
    "token.set_registry_contract": {"registry_contract": "registry"},
    "token.deposit": {"to": "alice", "amount": 1, "external_reference": "r-1"},
    "token.withdraw": {"from": "alice", "amount": 1, "external_reference": "r-1"},
    "oracle.add_oracle_operator": {"operator": "zoe"},
    "oracle.remove_oracle_operator": {"operator": "headend"},
    "agreements.register_prosumer": {"prosumer": "alice"},
    "agreements.accept_agreement": {"agreement_no": 2},
    "agreements.cancel_agreement": {"agreement_no": 2},
    "agreements.deliver_energy": {"agreement_no": 1, "energy_delivered_kwh": 1},
    "agreements.accept_delivery": {"transaction_no": 1},
    "agreements.settle_payment": {"transaction_no": 1},
}
OPEN = {
    "registry.initialize": "only entry 0, whoever calls",
    "agreements.initialize": "only once, whoever calls",
    "registry.apply_user": "everyone for itself",
    "token.retire": "everyone for itself",
    "token.transfer": "everyone for itself",
    "token.approve": "everyone for itself",
    "token.increase_allowance": "everyone for itself",
    "token.decrease_allowance": "everyone for itself",
    "token.transfer_from": "bounded by the allowance",
    "token.transfer_from_to": "bounded by the allowance",
}
"""Functions that need no role and no relation."""
BY_RELATION = {
    "registry.set_representative": {Role.REGULATOR},
    "agreements.register_prosumer": set[Role](),
    "agreements.create_agreement": set[Role](),
    "agreements.accept_agreement": set[Role](),
    "agreements.cancel_agreement": set[Role](),
    "agreements.deliver_energy": {Role.ORACLE_OPERATOR},
    "agreements.accept_delivery": set[Role](),
    "agreements.settle_payment": {Role.ORACLE_OPERATOR},
}
"""Functions for the parties of an object, and the roles that may besides."""
NAMES = sorted(".".join(key) for key in FUNCTIONS)


@pytest.fixture(scope="module")
def world() -> Market:
    """Return a ledger on which every sample call would succeed for the right caller."""
    world = Market().set_up(
        {**GENESIS, "roles": {role: [f"holder-{role}"] for role in Role} | GENESIS["roles"]}
    )
    for role in Role:
        if not world.read("registry.has_role", role=role, actor=f"holder-{role}"):
            world.do("registry.grant_role", "admin", role=role, actor=f"holder-{role}")
    world.do("registry.add_rec_regulator", "admin", new_regulator="regulator-2")
    world.meter("m-idle", "bob")
    world.agree("k-1", energy_amount_kwh=1, window={"start": NOON + EPOCH, "end": NOON + 2 * EPOCH})
    world.now = NOON + 2 * EPOCH
    world.submit("m-idle", NOON, generated=1, consumed=1)
    world.submit("m-sell", NOON + EPOCH, generated=1)
    world.submit("m-buy", NOON + EPOCH, consumed=1)
    world.do("agreements.deliver_energy", "headend", agreement_no=1)
    later = {"start": world.now + EPOCH, "end": world.now + 2 * EPOCH}
    world.propose("k-2", energy_amount_kwh=1, window=later)
    return world


def test_the_samples_cover_the_table() -> None:
    rest = {"oracle.submit_reading", "agreements.create_agreement"}
    assert ARGS.keys() | OPEN.keys() | rest == set(NAMES)


def sample(world: Market, name: str) -> dict[str, Any]:
    """Return arguments that pass all checks but that of the caller."""
    if name == "oracle.submit_reading":
        return {"meter_data": world.signed("m-idle", NOON + EPOCH, generated=1)}
    if name == "agreements.create_agreement":
        window = {"start": world.now + EPOCH, "end": world.now + 2 * EPOCH}
        return world.terms("k-9", energy_amount_kwh=1, window=window)
    return ARGS[name]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OPEN])
@pytest.mark.parametrize("role", [*Role, None], ids=lambda role: role or "no role")
def test_callers_without_the_role_are_refused(world: Market, name: str, role: Role | None) -> None:
    contract, function = name.split(".")
    row = FUNCTIONS[contract, function]
    allowed = set(row.roles) or BY_RELATION[name]
    if role in allowed:
        return
    caller = "stranger" if role is None else f"holder-{role}"
    code = row.refusal if row.roles else "NOT_AUTHORIZED"
    error = world.refused(code, name, caller, **sample(world, name))
    assert error.http_status == 403


SAMPLES_USED_UP = {
    "agreements.register_prosumer": "USER_ALREADY_EXISTS",
    "token.mint": "ALREADY_MINTED",  # the reading was minted at once
    "agreements.deliver_energy": "AGREEMENT_NOT_ACTIVE",  # recorded in whole
}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OPEN])
def test_the_samples_succeed_for_the_right_caller(world: Market, name: str) -> None:
    contract, function = name.split(".")
    row = FUNCTIONS[contract, function]
    by_relation = {
        "registry.set_representative": ("alice", None),
        "agreements.accept_agreement": ("bap", "alice"),
        "agreements.register_prosumer": ("bap", "alice"),
    }
    caller, behalf = by_relation.get(name, ("bpp", "bob"))
    if row.roles:
        caller, behalf = f"holder-{row.roles[0]}", None
    command = parse_command("c", contract, function, sample(world, name))
    if name in SAMPLES_USED_UP:
        with pytest.raises(ContractError) as caught:
            apply(world.ledger, command, caller, world.now, on_behalf_of=behalf)
        assert caught.value.code == SAMPLES_USED_UP[name]
    else:
        apply(world.ledger, command, caller, world.now, on_behalf_of=behalf)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_acts_for_a_user_that_did_not_name_him(world: Market, name: str) -> None:
    if name in ("registry.initialize", "agreements.initialize"):
        return
    samples: dict[str, dict[str, Any]] = {
        "registry.apply_user": {"user_type": "PROSUMER"},
        "token.retire": {"amount": 1, "meter_id": "m-idle", "interval": NOON},
        "token.transfer": {"to": "bob", "value": 1},
        "token.approve": {"spender": "zoe", "value": 1},
        "token.increase_allowance": {"spender": "zoe", "delta": 1},
        "token.decrease_allowance": {"spender": "zoe", "delta": 1},
        "token.transfer_from": {"from": "bob", "to": "alice", "value": 1},
        "token.transfer_from_to": {"from": "bob", "to": "alice", "value": 1},
    }
    args = samples.get(name) or sample(world, name)
    world.refused("NOT_AUTHORIZED", name, "stranger", "alice", **args)
