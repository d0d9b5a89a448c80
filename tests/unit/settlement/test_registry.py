import pytest
from nacl.signing import SigningKey

from adapter.settlement import READS
from tests.unit.settlement.world import EPOCH, NOON, Market, World, settled_with


@pytest.fixture
def world() -> World:
    """Return an open ledger with one prosumer."""
    world = World().open()
    world.user("alice")
    return world


def status(world: World, user: str, new_status: str) -> None:
    world.do("registry.update_user_status", "regulator", user=user, new_status=new_status)


# Users


def test_an_applicant_is_pending_until_registered() -> None:
    world = World().open()
    world.do("registry.apply_user", "zoe", user_type="PROSUMER", location="roof")
    assert world.read("registry.get_user_info", user="zoe")["status"] == "PENDING"
    assert world.read("registry.is_user_verified", user="zoe") is False
    world.user("zoe")
    assert world.read("registry.is_user_verified", user="zoe") is True


def test_registering_opens_both_accounts(world: World) -> None:
    accounts = [account.id for account in world.ledger.accounts("alice")]
    assert accounts == ["alice|GRID|MAIN", "alice|USD|MAIN"]


def test_a_known_user_cannot_apply_or_be_registered_again(world: World) -> None:
    world.refused("USER_ALREADY_EXISTS", "registry.apply_user", "alice", user_type="PROSUMER")
    world.refused(
        "USER_ALREADY_EXISTS",
        "registry.register_user",
        "regulator",
        user="alice",
        user_type="CONSUMER",
    )


@pytest.mark.parametrize("user", ["sys", "system", "network", "contract:oracle"])
def test_reserved_ids_are_no_users(world: World, user: str) -> None:
    world.refused(
        "INVALID_INPUT", "registry.register_user", "regulator", user=user, user_type="PROSUMER"
    )
    world.refused("INVALID_INPUT", "registry.apply_user", user, user_type="PROSUMER")


@pytest.mark.parametrize(
    ("before", "step", "allowed"),
    [
        ([], "ACTIVE", False),
        ([], "SUSPENDED", True),
        ([], "DEACTIVATED", True),
        (["SUSPENDED"], "ACTIVE", True),
        (["SUSPENDED"], "SUSPENDED", False),
        (["SUSPENDED"], "DEACTIVATED", True),
        (["DEACTIVATED"], "ACTIVE", False),
        (["DEACTIVATED"], "SUSPENDED", False),
        (["DEACTIVATED"], "DEACTIVATED", False),
        ([], "PENDING", False),
    ],
)
def test_the_table_of_user_states(
    world: World, before: list[str], step: str, allowed: bool
) -> None:
    for state in before:
        status(world, "alice", state)
    if allowed:
        status(world, "alice", step)
        assert world.read("registry.get_user_info", user="alice")["status"] == step
    else:
        world.refused(
            "INVALID_TRANSITION",
            "registry.update_user_status",
            "regulator",
            user="alice",
            new_status=step,
        )


@pytest.mark.parametrize(
    ("step", "allowed"), [("ACTIVE", False), ("SUSPENDED", False), ("DEACTIVATED", True)]
)
def test_an_applicant_can_only_be_turned_down(world: World, step: str, allowed: bool) -> None:
    world.do("registry.apply_user", "zoe", user_type="PROSUMER")
    if allowed:
        status(world, "zoe", step)
        return
    args = {"user": "zoe", "new_status": step}
    world.refused("INVALID_TRANSITION", "registry.update_user_status", "regulator", **args)


def test_a_deactivated_user_is_not_registered_again(world: World) -> None:
    status(world, "alice", "DEACTIVATED")
    args = {"user": "alice", "user_type": "PROSUMER"}
    world.refused("USER_ALREADY_EXISTS", "registry.register_user", "regulator", **args)


def test_suspension_cancels_proposals_and_disputes_open_deliveries() -> None:
    world = Market().set_up(settled_with(dispute_window_s=60))
    first = world.agree("k-1", energy_amount_kwh=4)
    world.deliver(4, 4)
    world.tick()
    later = {"start": world.end, "end": world.end + EPOCH}
    second = world.propose("k-2", energy_amount_kwh=2, window=later)
    args = {"user": "bob", "new_status": "SUSPENDED", "reason": "fraud"}
    receipt = world.do("registry.update_user_status", "regulator", **args)
    assert [event.name for event in receipt.events] == [
        "UserStatusUpdated",
        "TransactionDisputed",
        "AgreementCancelled",
    ]
    assert world.read("agreements.get_agreement", agreement_no=second)["state"] == "CANCELLED"
    assert world.read("agreements.get_agreement", agreement_no=first)["state"] == "DELIVERED"
    assert world.read("registry.get_trade_caps", meter_id="m-sell")["SELL"]["reserved"] == "0"
    world.now += 60_000
    world.refused("TRANSACTION_DISPUTED", "agreements.settle_payment", "system", transaction_no=1)


def test_a_delivery_of_a_suspended_party_is_disputed_when_recorded() -> None:
    world = Market().set_up()
    number = world.agree()
    args = {"user": "bob", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **args)
    world.deliver(10, 10)
    # The GRID is withheld, the allocation is not.
    assert world.posted("bob", "GRID") == 0
    world.do("agreements.deliver_energy", "headend", agreement_no=number)
    assert world.read("agreements.get_transaction", transaction_no=1)["state"] == "DISPUTED"


def test_a_consumer_that_still_sells_keeps_its_type() -> None:
    world = Market().set_up()
    world.propose()
    args = {"user": "bob", "new_type": "CONSUMER"}
    world.refused("TYPE_IN_USE", "registry.update_user_type", "regulator", **args)
    world.do("registry.update_user_type", "regulator", user="alice", new_type="CONSUMER")
    assert world.read("registry.is_prosumer", user="alice") is False


def test_a_generation_meter_keeps_its_owner_a_prosumer(world: World) -> None:
    world.meter("m-1", "alice", kind="GENERATION")
    args = {"user": "alice", "new_type": "CONSUMER"}
    world.refused("TYPE_IN_USE", "registry.update_user_type", "regulator", **args)


def test_a_representative_is_named_by_the_user_or_a_regulator(world: World) -> None:
    args = {"user": "alice", "subscriber": "bap"}
    world.refused("NOT_AUTHORIZED", "registry.set_representative", "bap", **args)
    world.refused(
        "USER_NOT_FOUND", "registry.set_representative", "zoe", user="zoe", subscriber="bap"
    )
    world.do("registry.set_representative", "alice", **args)
    world.do("token.approve", "bap", "alice", spender="x", value=1)
    # The representative may hand over, and an empty name ends it.
    world.do("registry.set_representative", "bap", "alice", user="alice", subscriber="")
    world.refused("NOT_AUTHORIZED", "token.approve", "bap", "alice", spender="x", value=0)


# Meters


def test_a_meter_belongs_to_its_owner_from_the_next_boundary(world: World) -> None:
    world.now = NOON + 1
    world.keys["m-1"] = SigningKey.generate()
    receipt = world.do(
        "registry.assign_meter",
        "regulator",
        meter_id="m-1",
        owner="alice",
        capacity_kw=5,
        public_key=world.public_key("m-1"),
    )
    assert receipt.result["from"] == NOON + EPOCH
    owners = [
        world.read("registry.get_meter_owner", meter_id="m-1", at=at)["owner"]
        for at in (NOON + EPOCH - 1, NOON + EPOCH)
    ]
    assert owners == [None, "alice"]


def test_an_interval_has_one_owner_when_a_meter_changes_hands(world: World) -> None:
    world.user("bob")
    world.meter("m-1", "alice")
    world.refused("METER_NOT_FOUND", "registry.unassign_meter", "regulator", meter_id="m-2")
    world.do("registry.unassign_meter", "regulator", meter_id="m-1")
    world.refused("METER_NOT_FOUND", "registry.unassign_meter", "regulator", meter_id="m-1")
    world.now += EPOCH
    world.meter("m-1", "bob")
    owners = [
        world.read("registry.get_meter_owner", meter_id="m-1", at=at)["owner"]
        for at in (NOON, NOON + EPOCH - 1, NOON + EPOCH)
    ]
    assert owners == ["alice", "alice", "bob"]


def test_refusals_of_assign_meter_in_order(world: World) -> None:
    world.meter("m-1", "alice")
    args = {
        "meter_id": "m-1",
        "owner": "alice",
        "capacity_kw": 5,
        "public_key": world.public_key("m-1"),
    }
    name = "registry.assign_meter"
    world.refused("NOT_REC_REGULATOR", name, "alice", **{**args, "owner": "zoe"})
    world.refused("USER_NOT_FOUND", name, "regulator", **{**args, "owner": "zoe"})
    status(world, "alice", "SUSPENDED")
    world.refused("METER_ALREADY_ASSIGNED", name, "regulator", **args)
    world.refused("USER_NOT_VERIFIED", name, "regulator", **{**args, "meter_id": "m-2"})


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("AAAA", id="too short"),
        pytest.param("A" * 43 + "=", id="small-order point"),
        pytest.param("not base64!", id="no base64"),
    ],
)
def test_a_key_that_proves_nothing_is_refused(world: World, key: str) -> None:
    world.refused(
        "INVALID_INPUT",
        "registry.assign_meter",
        "regulator",
        meter_id="m-1",
        owner="alice",
        capacity_kw=5,
        public_key=key,
    )


def test_live_bindings_are_counted(world: World) -> None:
    world.do("registry.set_max_meters_per_user", "admin", value=2)
    world.now += EPOCH
    world.meter("m-1", "alice")
    world.meter("m-2", "alice")
    args = {"owner": "alice", "capacity_kw": 5, "public_key": world.public_key("m-1")}
    world.refused("TOO_MANY_METERS", "registry.assign_meter", "regulator", meter_id="m-3", **args)
    world.do("registry.unassign_meter", "regulator", meter_id="m-1")
    world.do("registry.assign_meter", "regulator", meter_id="m-3", **args)


def test_a_meter_in_an_agreement_stays() -> None:
    world = Market().set_up()
    number = world.agree()
    world.refused("METER_IN_USE", "registry.unassign_meter", "regulator", meter_id="m-sell")
    world.do("agreements.cancel_agreement", "alice", agreement_no=number)
    world.do("registry.unassign_meter", "regulator", meter_id="m-sell")


# Roles


def test_the_last_admin_and_regulator_stay_and_the_second_last_may_go() -> None:
    world = World().open()
    remove = "registry.remove_rec_regulator"
    world.refused("REC_REGULATOR_NOT_FOUND", remove, "admin", regulator="x")
    world.refused("CANNOT_REMOVE_LAST_REC_REGULATOR", remove, "admin", regulator="regulator")
    world.do("registry.add_rec_regulator", "admin", new_regulator="second")
    world.refused(
        "REC_REGULATOR_ALREADY_EXISTS",
        "registry.add_rec_regulator",
        "admin",
        new_regulator="second",
    )
    world.do(remove, "admin", regulator="regulator")
    world.refused("CANNOT_REMOVE_LAST_REC_REGULATOR", remove, "admin", regulator="second")
    args = {"role": "REGULATOR", "actor": "second"}
    world.refused("CANNOT_REMOVE_LAST_REC_REGULATOR", "registry.revoke_role", "admin", **args)
    args = {"role": "ADMIN", "actor": "admin"}
    world.refused("CANNOT_REMOVE_LAST_ADMIN", "registry.revoke_role", "admin", **args)


def test_roles_are_granted_once_and_revoked_once() -> None:
    world = World().open()
    args = {"role": "AUDITOR", "actor": "eve"}
    world.refused("ROLE_NOT_FOUND", "registry.grant_role", "admin", role="KING", actor="eve")
    world.refused("ROLE_NOT_FOUND", "registry.revoke_role", "admin", **args)
    world.do("registry.grant_role", "admin", **args)
    world.refused("ROLE_ALREADY_GRANTED", "registry.grant_role", "admin", **args)
    assert world.read("registry.has_role", **args) is True
    world.do("registry.revoke_role", "admin", **args)
    assert world.read("registry.has_role", **args) is False


@pytest.mark.parametrize(
    ("noun", "contract", "field", "exists", "missing"),
    [
        ("minter", "token", "minter", "MINTER_ALREADY_EXISTS", "MINTER_NOT_FOUND"),
        ("burner", "token", "burner", "BURNER_ALREADY_EXISTS", "BURNER_NOT_FOUND"),
        (
            "oracle_operator",
            "oracle",
            "operator",
            "OPERATOR_ALREADY_EXISTS",
            "OPERATOR_NOT_FOUND",
        ),
    ],
)
def test_roles_under_their_older_names(
    noun: str, contract: str, field: str, exists: str, missing: str
) -> None:
    world = World().open()
    add, remove = f"{contract}.add_{noun}", f"{contract}.remove_{noun}"
    args = {field: "eve"}
    world.refused("NOT_OWNER", add, "regulator", **args)
    world.refused(missing, remove, "admin", **args)
    (event,) = world.do(add, "admin", **args).events
    assert event.fields == args
    world.refused(exists, add, "admin", **args)
    world.do(remove, "admin", **args)
    world.refused(missing, remove, "admin", **args)


# Parameters


def test_a_parameter_holds_from_the_next_epoch() -> None:
    world = Market().set_up()
    world.do("registry.set_parameter", "admin", name="wheeling_rate", value="0.03")
    world.propose("k-1")
    world.now += EPOCH
    world.propose("k-2", window={"start": world.end, "end": world.end + EPOCH})
    rates = [
        world.read("agreements.get_agreement", agreement_no=n)["wheeling_rate"] for n in (1, 2)
    ]
    assert rates == ["0.025", "0.03"]


def test_setting_a_parameter_twice_in_an_epoch_keeps_the_present_value() -> None:
    world = World().open()
    world.do("registry.set_parameter", "admin", name="max_meters_per_user", value=1)
    event = world.do("registry.set_parameter", "admin", name="max_meters_per_user", value=3).events[
        0
    ]
    assert event.fields == {
        "parameter": "max_meters_per_user",
        "old": "10",
        "new": "3",
        "from_epoch": (NOON + EPOCH) // EPOCH,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("price_tik", "1", id="no such setting"),
        pytest.param("currency", "EUR", id="fixed in entry 0"),
        pytest.param("cap_scope", "PER_SLOT", id="fixed in entry 0 too"),
        pytest.param("wheeling_rate", "0.0005", id="off the tick of 0.001"),
        pytest.param("lot_energy", "0.000001", id="lot x tick below a millionth"),
        pytest.param("auto_mint", "perhaps", id="neither true nor false"),
        pytest.param("consent", "DIRECT,TELEPATHY", id="no way of consent"),
        pytest.param("dispute_window_s", "-1", id="negative time"),
    ],
)
def test_a_bad_parameter_is_refused_before_the_role_is_looked_at(name: str, value: str) -> None:
    world = World().open()
    world.refused("INVALID_INPUT", "registry.set_parameter", "nobody", name=name, value=value)


def test_a_good_parameter_needs_the_admin() -> None:
    world = World().open()
    args = {"name": "auto_mint", "value": False}
    world.refused("NOT_OWNER", "registry.set_parameter", "regulator", **args)
    world.do("registry.set_parameter", "admin", **args)


# Caps


def test_caps_rise_and_fall_but_not_below_their_use() -> None:
    world = Market().set_up()
    world.agree("k-1", energy_amount_kwh=10)
    world.propose("k-2", energy_amount_kwh=5)
    world.refused(
        "NOT_GRID_OPERATOR", "registry.set_trade_cap", "admin", meter_id="m", side="BUY", cap=1
    )
    world.refused(
        "METER_NOT_FOUND", "registry.set_trade_cap", "grid", meter_id="m", side="BUY", cap=1
    )
    args = {"meter_id": "m-buy", "side": "BUY"}
    world.refused("CAP_BELOW_USE", "registry.set_trade_cap", "grid", cap="14.999999", **args)
    world.do("registry.set_trade_cap", "grid", cap=15, **args)
    assert world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"] == {
        "capped": True,
        "cap": "15",
        "total": "10",
        "reserved": "5",
        "room": "0",
    }


def test_a_meter_without_a_cap_shows_a_million_and_is_not_checked() -> None:
    world = Market().set_up()
    caps = world.read("registry.get_trade_caps", meter_id="m-buy")["SELL"]
    assert (caps["capped"], caps["cap"], caps["total"]) == (False, "1000000", "0")


def test_a_slot_is_named_only_with_caps_per_slot() -> None:
    world = Market().set_up()
    args = {"meter_id": "m-buy", "side": "BUY", "cap": 1}
    world.refused("INVALID_INPUT", "registry.set_trade_cap", "grid", slot=world.start, **args)
    per_slot = Market().open(settled_with(cap_scope="PER_SLOT"))
    per_slot.refused("INVALID_INPUT", "registry.set_trade_cap", "grid", **args)


def test_caps_per_slot_share_the_energy_over_the_window() -> None:
    # 10 kWh in four slots: 2.5 each. The third slot allows 2.4.
    world = Market().open(settled_with(cap_scope="PER_SLOT"))
    world.user("alice")
    world.user("bob", representative="bpp")
    world.meter("m-buy", "alice")
    world.meter("m-sell", "bob")
    third = world.start + 2 * EPOCH
    args = {"meter_id": "m-sell", "side": "SELL", "slot": third}
    world.do("registry.set_trade_cap", "grid", cap="2.4", **args)
    name = "agreements.create_agreement"
    error = world.refused("TRADE_CAP_EXCEEDED", name, "bpp", "bob", **world.terms())
    assert (error.details["room"], error.details["side"]) == ("2400000", "SELL")
    world.do("registry.set_trade_cap", "grid", cap="2.5", **args)
    world.propose()
    caps = world.read("registry.get_trade_caps", meter_id="m-sell", slot=third)["SELL"]
    assert (caps["reserved"], caps["room"]) == ("2.5", "0")
    # Of 10.000002 the first two slots take one millionth more: the third has room, the first not.
    first = {"meter_id": "m-sell", "side": "SELL", "slot": world.start}
    world.do("registry.set_trade_cap", "grid", cap="2.5", **first)
    args = world.terms(energy_amount_kwh="10.000002")
    world.refused("TRADE_CAP_EXCEEDED", name, "bpp", "bob", **args)
    world.do("registry.set_trade_cap", "grid", cap="2.500001", **first)
    world.propose(energy_amount_kwh="10.000002")


# Reads that everyone has


def test_every_read_has_one_line_of_help() -> None:
    assert all(read.summary.endswith(".") for read in READS.values())
