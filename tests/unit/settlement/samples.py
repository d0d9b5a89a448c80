"""Arguments for every contract function, and who may call it according to the specification."""

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapter.settlement import FUNCTIONS, Function, Role
from adapter.settlement.kinds import Kind
from tests.unit.settlement.world import EPOCH, GENESIS, NOON, Market

KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
"""A public key of RFC 8032."""
ADMIN, REGULATOR, TREASURER = {Role.ADMIN}, {Role.REGULATOR}, {Role.TREASURER}
OPERATOR, CLEARING = {Role.ORACLE_OPERATOR}, {Role.MARKET_MAKER, Role.ORACLE_OPERATOR}
NOBODY: set[Role] = set()


@dataclass(frozen=True)
class Rule:
    """Who may call a function."""

    roles: set[Role]
    code: str
    """Refusal of everyone else."""
    by_relation: bool = False
    """The object's own users may call as well."""


def _rules(names: str, roles: set[Role], code: str, **more: bool) -> dict[str, Rule]:
    return {name: Rule(roles, code, **more) for name in names.split()}


RULES: Mapping[str, Rule] = {
    # Section 7
    **_rules(
        "registry.register_user registry.update_user_status registry.update_user_type"
        " registry.assign_meter registry.unassign_meter",
        REGULATOR,
        "NOT_REC_REGULATOR",
    ),
    **_rules(
        "registry.add_rec_regulator registry.remove_rec_regulator registry.grant_role"
        " registry.revoke_role registry.set_parameter registry.set_max_meters_per_user",
        ADMIN,
        "NOT_OWNER",
    ),
    **_rules("registry.set_representative", REGULATOR, "NOT_AUTHORIZED", by_relation=True),
    **_rules("registry.set_trade_cap", {Role.GRID_OPERATOR}, "NOT_GRID_OPERATOR"),
    **_rules("registry.expire_due", CLEARING, "NOT_MARKET_MAKER"),
    # Section 8
    **_rules("token.mint", {Role.MINTER}, "UNAUTHORIZED_MINTER"),
    **_rules("token.burn", {Role.BURNER}, "UNAUTHORIZED_BURNER"),
    **_rules(
        "token.add_minter token.remove_minter token.add_burner token.remove_burner"
        " token.set_registry_contract",
        ADMIN,
        "NOT_OWNER",
    ),
    **_rules("token.deposit token.withdraw", TREASURER, "NOT_TREASURER"),
    # Section 9
    **_rules("trading.cancel_order", REGULATOR, "NOT_ORDER_OWNER", by_relation=True),
    **_rules("trading.match_orders trading.close_epoch", CLEARING, "NOT_MARKET_MAKER"),
    **_rules(
        "trading.add_market_maker trading.remove_market_maker trading.set_contracts",
        ADMIN,
        "NOT_OWNER",
    ),
    # Section 10
    **_rules("oracle.request_energy_data", OPERATOR, "NOT_AUTHORIZED", by_relation=True),
    **_rules(
        "oracle.fulfill_energy_data oracle.submit_reading oracle.submit_readings"
        " oracle.fail_request oracle.correct_reading",
        OPERATOR,
        "NOT_ORACLE_OPERATOR",
    ),
    **_rules("oracle.confirm_correction", REGULATOR, "NOT_REC_REGULATOR"),
    **_rules("oracle.perform_upkeep", CLEARING, "NOT_ORACLE_OPERATOR"),
    **_rules(
        "oracle.set_auto_market_clearing oracle.add_oracle_operator oracle.remove_oracle_operator",
        ADMIN,
        "NOT_OWNER",
    ),
    # Section 11
    **_rules(
        "agreements.create_agreement agreements.accept_agreement agreements.accept_delivery"
        " agreements.dispute_transaction agreements.cancel_agreement agreements.register_prosumer",
        NOBODY,
        "NOT_AUTHORIZED",
        by_relation=True,
    ),
    **_rules(
        "agreements.deliver_energy agreements.settle_payment",
        OPERATOR,
        "NOT_AUTHORIZED",
        by_relation=True,
    ),
    **_rules("agreements.resolve_dispute", REGULATOR, "NOT_REC_REGULATOR"),
    # Section 12
    **_rules("pool.add_energy pool.consume_energy", NOBODY, "NOT_AUTHORIZED", by_relation=True),
    **_rules("pool.add_funds", TREASURER, "NOT_TREASURER"),
    **_rules("pool.cancel_trade", NOBODY, "NOT_ORDER_OWNER", by_relation=True),
    **_rules("pool.set_energy_price", ADMIN, "NOT_OWNER"),
}
"""By function; a function in neither this table nor `OPEN` fails the tests."""
OPEN: Mapping[str, str] = {
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
    "trading.create_sell_order": "everyone for itself",
    "trading.create_buy_order": "everyone for itself",
    "oracle.fund_oracle": "everyone for itself",
    "pool.register_prosumer": "everyone for itself",
    "pool.trade_energy": "everyone for itself",
    "pool.buy_energy": "everyone for itself",
}
"""Functions that need no role and no relation."""

_READING = {"to": "bob", "amount": 1, "meter_id": "m-idle", "interval": NOON}
_POOL = {"prosumer": "bob", "amount": 1}
ARGS: Mapping[str, Mapping[str, Any]] = {
    "registry.register_user": {"user": "zoe", "user_type": "PROSUMER"},
    "registry.update_user_status": {"user": "alice", "new_status": "SUSPENDED"},
    "registry.update_user_type": {"user": "alice", "new_type": "CONSUMER"},
    "registry.assign_meter": {
        "meter_id": "m-new",
        "owner": "alice",
        "capacity_kw": 5,
        "public_key": KEY,
    },
    "registry.unassign_meter": {"meter_id": "m-idle"},
    "registry.remove_rec_regulator": {"regulator": "regulator"},
    "registry.grant_role": {"role": "ADMIN", "actor": "zoe"},
    "registry.revoke_role": {"role": "AUDITOR", "actor": "auditor"},
    "registry.set_representative": {"user": "alice", "subscriber": "zoe"},
    "registry.set_trade_cap": {"meter_id": "m-buy", "side": "BUY", "cap": 60},
    "registry.set_parameter": {"name": "auto_mint", "value": False},
    "token.mint": _READING,
    "token.burn": {"from": "bob", "amount": 1, "meter_id": "m-idle", "interval": NOON},
    "token.remove_minter": {"minter": "minter"},
    "token.remove_burner": {"burner": "burner"},
    "token.set_registry_contract": {"registry_contract": "registry"},
    "token.deposit": {"to": "alice", "amount": 1, "external_reference": "r-1"},
    "token.withdraw": {"from": "alice", "amount": 1, "external_reference": "r-1"},
    "token.transfer": {"to": "bob", "value": 1},
    "token.transfer_from": {"from": "bob", "to": "alice", "value": 1},
    "token.transfer_from_to": {"from": "bob", "to": "alice", "value": 1},
    "token.retire": {"amount": 1, "meter_id": "m-idle", "interval": NOON},
    "trading.create_sell_order": {"energy_amount": 1, "price_per_unit": 9, "meter_id": "m-idle"},
    "trading.create_buy_order": {"energy_amount": 1, "max_price": 1, "meter_id": "m-buy"},
    "trading.cancel_order": {"order_no": 1},
    "trading.set_contracts": {"registry": "registry", "token": "token"},
    "trading.close_epoch": {"first": NOON // EPOCH, "last": NOON // EPOCH},
    "trading.match_orders": {"epoch": NOON // EPOCH},
    "oracle.request_energy_data": {"meter_id": "m-idle"},
    "oracle.remove_oracle_operator": {"operator": "headend"},
    "agreements.register_prosumer": {"prosumer": "alice"},
    "agreements.accept_agreement": {"agreement_no": 2},
    "agreements.cancel_agreement": {"agreement_no": 2},
    "agreements.deliver_energy": {"agreement_no": 1, "energy_delivered_kwh": 1},
    "agreements.accept_delivery": {"transaction_no": 1},
    "agreements.settle_payment": {"transaction_no": 1},
    "agreements.dispute_transaction": {"transaction_no": 1, "claimed_quantity": 1},
    "pool.add_energy": {**_POOL, "meter_id": "m-idle", "interval": NOON},
    "pool.consume_energy": {**_POOL, "meter_id": "m-idle", "interval": NOON},
    "pool.trade_energy": {"amount": 1, "price": 9},
    "pool.cancel_trade": {"offer_no": 1},
}
"""Arguments with which the right caller gets past the check of the caller on `full_world()`."""


def _block(world: Market) -> dict[str, Any]:
    rows = struct.pack("<qqqq", 1, NOON // EPOCH, 1, 0)
    return {"block": base64.b64encode(rows).decode(), "signature": "A" * 86 + "=="}


def _agreement(world: Market) -> dict[str, Any]:
    window = {"start": world.now + EPOCH, "end": world.now + 2 * EPOCH}
    return world.terms("k-9", energy_amount_kwh=1, window=window)


def _reading(world: Market) -> dict[str, Any]:
    return {"meter_data": world.signed("m-idle", NOON + EPOCH, generated=1)}


MADE: Mapping[str, Callable[[Market], dict[str, Any]]] = {
    "agreements.create_agreement": _agreement,
    "oracle.submit_reading": _reading,
    "oracle.submit_readings": _block,
}
"""Arguments that depend on the world."""


def sample(world: Market, name: str) -> dict[str, Any]:
    """Return arguments that pass all checks before that of the caller.

    What has no arguments of its own here gets them by their kinds: enough for functions whose
    role is in the table of functions, because roles are looked at before objects.

    Raises:
        LookupError: a function without roles, or a kind that no plain value fits.
    """
    if name in MADE:
        return MADE[name](world)
    if name in ARGS:
        return dict(ARGS[name])
    contract, function = name.split(".")
    row = FUNCTIONS[contract, function]
    if not row.roles and name not in OPEN:
        why = f"{name} needs sample arguments in {__name__}: its caller is checked by relation"
        raise LookupError(why)
    return _plain(world, row)


def _plain(world: Market, row: Function) -> dict[str, Any]:
    needed = [argument for argument in row.arguments if argument.required]
    return {argument.name: plain_value(world, argument.kind) for argument in needed}


def plain_value(world: Market, kind: Kind) -> Any:
    """Return a value of a kind on the wire."""
    schema = kind.schema
    types = schema.get("type", ())
    types = {types} if isinstance(types, str) else set(types)
    if kind.title == "a signed reading":
        return _reading(world)["meter_data"]
    if "enum" in schema:
        return schema["enum"][0]
    if kind.title.startswith("the start of a 15-minute"):
        return NOON
    if "boolean" in types:
        return True
    if types & {"integer", "number"}:
        return max(1, schema.get("minimum", 1))
    if types == {"string"}:
        return KEY if schema.get("minLength") == len(KEY) else "zoe"
    why = f"no plain value of kind {kind.title!r}: give {__name__} sample arguments"
    raise LookupError(why)


def full_world() -> Market:
    """Return a ledger where each role has a holder of its own and all kinds of objects exist."""
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
    world.submit("m-idle", NOON, generated=3, consumed=3)
    world.submit("m-sell", NOON + EPOCH, generated=1)
    world.submit("m-buy", NOON + EPOCH, consumed=1)
    world.do("agreements.deliver_energy", "headend", agreement_no=1)
    later = {"start": world.now + EPOCH, "end": world.now + 2 * EPOCH}
    world.propose("k-2", energy_amount_kwh=1, window=later)
    world.do("pool.trade_energy", "bpp", "bob", amount=1, price=9)
    if ("trading", "create_sell_order") in FUNCTIONS:
        args = {"energy_amount": 1, "price_per_unit": 9, "meter_id": "m-idle"}
        world.do("trading.create_sell_order", "bpp", "bob", **args)
    return world
