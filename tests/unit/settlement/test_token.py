import pytest

from tests.unit.settlement.world import EPOCH, NOON, World, settled_with

BEFORE = NOON - EPOCH
"""Start of the last ended interval."""


@pytest.fixture
def world() -> World:
    """Return a ledger without automatic minting, a stored reading of 3 out, 2 in."""
    world = World().open(settled_with(auto_mint=False))
    world.user("alice")
    world.user("bob", "CONSUMER")
    world.now = NOON - EPOCH
    world.meter("m-1", "alice", kw=20)
    world.now = NOON
    world.submit("m-1", BEFORE, generated=3, consumed=2)
    return world


def mint(world: World, amount: object, to: str = "alice") -> None:
    args = {"to": to, "amount": amount, "meter_id": "m-1", "interval": BEFORE}
    world.do("token.mint", "minter", **args)


# Mint, burn, retire


def test_minting_follows_the_reading(world: World) -> None:
    mint(world, 1)
    mint(world, 2)
    assert world.available("alice", "GRID") == 3_000_000
    assert world.read("token.total_supply") == "3"
    (lot,) = world.read("token.get_lots", meter_id="m-1")
    assert (lot["minted"], lot["retired"]) == ("3", "0")


def test_refusals_of_mint_in_order(world: World) -> None:
    args = {"to": "alice", "amount": 4, "meter_id": "m-1", "interval": BEFORE}
    name = "token.mint"
    world.refused("UNAUTHORIZED_MINTER", name, "alice", **{**args, "meter_id": "m-9"})
    world.refused("METER_NOT_FOUND", name, "minter", **{**args, "meter_id": "m-9"})
    world.refused("READING_NOT_FOUND", name, "minter", **{**args, "interval": NOON})
    world.refused("METER_MISMATCH", name, "minter", **{**args, "to": "bob"})
    status = {"user": "alice", "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **status)
    world.refused("ALREADY_MINTED", name, "minter", **args)
    world.refused("USER_NOT_VERIFIED", name, "minter", **{**args, "amount": 1})


def test_not_a_millionth_beyond_the_reading(world: World) -> None:
    mint(world, "2.999999")
    args = {"to": "alice", "meter_id": "m-1", "interval": BEFORE}
    world.refused("ALREADY_MINTED", "token.mint", "minter", amount="0.000002", **args)
    world.do("token.mint", "minter", amount="0.000001", **args)


def test_retiring_follows_the_consumption(world: World) -> None:
    mint(world, 3)
    args = {"meter_id": "m-1", "interval": BEFORE}
    world.refused("USER_NOT_FOUND", "token.retire", "zoe", amount=1, **args)
    world.refused("METER_MISMATCH", "token.retire", "bob", amount=1, **args)
    world.refused("READING_EXHAUSTED", "token.retire", "alice", amount="2.000001", **args)
    world.do("token.retire", "alice", amount="1.5", **args)
    world.refused("READING_EXHAUSTED", "token.retire", "alice", amount="0.500001", **args)
    assert world.available("alice", "GRID") == 1_500_000
    assert world.read("token.total_supply") == "1.5"


def test_retiring_needs_the_grid(world: World) -> None:
    args = {"meter_id": "m-1", "interval": BEFORE}
    error = world.refused("INSUFFICIENT_BALANCE", "token.retire", "alice", amount=1, **args)
    assert (error.details["needed"], error.details["available"]) == ("1000000", "0")
    assert error.details["aliases"] == ["ink:InsufficientBalance"]


def test_refusals_of_burn_in_order(world: World) -> None:
    args = {"from_": "alice", "amount": 1, "meter_id": "m-1", "interval": BEFORE}
    name = "token.burn"
    world.refused("UNAUTHORIZED_BURNER", name, "minter", **args)
    world.refused("USER_NOT_FOUND", name, "burner", **{**args, "from_": "zoe"})
    world.refused("METER_NOT_FOUND", name, "burner", **{**args, "meter_id": "m-9"})
    world.refused("READING_NOT_FOUND", name, "burner", **{**args, "interval": NOON})
    world.refused("METER_MISMATCH", name, "burner", **{**args, "from_": "bob"})
    world.refused("READING_EXHAUSTED", name, "burner", **{**args, "amount": 3})
    world.refused("INSUFFICIENT_BALANCE", name, "burner", **args)
    mint(world, 1)
    receipt = world.do(name, "burner", **args)
    assert [event.name for event in receipt.events] == ["Burned", "Transfer"]


# Transfer and allowances


def test_refusals_of_transfer_in_order(world: World) -> None:
    mint(world, 3)
    name = "token.transfer"
    world.refused("USER_NOT_VERIFIED", name, "zoe", to="alice", value=9)
    world.refused("USER_NOT_VERIFIED", name, "alice", to="zoe", value=9)
    world.refused("SELF_TRANSFER", name, "alice", to="alice", value=9)
    world.refused("INSUFFICIENT_BALANCE", name, "alice", to="bob", value="3.000001")
    world.refused("INVALID_ENERGY_AMOUNT", name, "alice", to="bob", value=0)
    world.refused("INVALID_INPUT", name, "alice", to="bob", value=1, data="ä" * 129)
    receipt = world.do(name, "alice", to="bob", value=3, data="ä" * 128)
    assert receipt.events[0].fields["data"] == "ä" * 128
    assert (world.available("alice", "GRID"), world.available("bob", "GRID")) == (0, 3_000_000)


def test_an_allowance_goes_from_one_value_to_another_only_through_zero(world: World) -> None:
    world.do("token.approve", "alice", spender="bob", value=2)
    world.refused("ALLOWANCE_IN_USE", "token.approve", "alice", spender="bob", value=1)
    world.do("token.approve", "alice", spender="bob", value=0)
    world.do("token.approve", "alice", spender="bob", value=1)
    world.do("token.increase_allowance", "alice", spender="bob", delta="0.5")
    world.refused(
        "INSUFFICIENT_ALLOWANCE",
        "token.decrease_allowance",
        "alice",
        spender="bob",
        delta="1.500001",
    )
    world.do("token.decrease_allowance", "alice", spender="bob", delta="0.25")
    assert world.read("token.allowance", owner="alice", spender="bob") == "1.25"


def test_allowances_are_apart_per_asset_and_only_for_known_assets(world: World) -> None:
    world.do("token.approve", "alice", spender="bob", value=2, asset="USD")
    assert world.read("token.allowance", owner="alice", spender="bob") == "0"
    assert world.read("token.allowance", owner="alice", spender="bob", asset="USD") == "2.00"
    world.refused("INVALID_INPUT", "token.approve", "alice", spender="bob", value=2, asset="EUR")


@pytest.mark.parametrize("name", ["token.transfer_from", "token.transfer_from_to"])
def test_refusals_of_transfer_from_in_order(world: World, name: str) -> None:
    mint(world, 1)
    args = {"from_": "alice", "to": "bob", "value": 2}
    world.refused("USER_NOT_FOUND", name, "eve", **{**args, "from_": "zoe"})
    world.refused("USER_NOT_VERIFIED", name, "eve", **{**args, "to": "zoe"})
    world.refused("SELF_TRANSFER", name, "eve", **{**args, "to": "alice"})
    world.refused("INSUFFICIENT_ALLOWANCE", name, "eve", **args)
    world.do("token.approve", "alice", spender="eve", value=2)
    world.refused("INSUFFICIENT_BALANCE", name, "eve", **args)
    receipt = world.do(name, "eve", **{**args, "value": 1})
    assert [event.name for event in receipt.events] == ["Transfer", "Approval"]
    assert world.read("token.allowance", owner="alice", spender="eve") == "1"


# Cash


def test_cash_comes_and_goes_once_per_reference(world: World) -> None:
    args = {"amount": "10.00", "external_reference": "bank-1"}
    world.refused("NOT_TREASURER", "token.deposit", "admin", to="zoe", **args)
    world.refused("USER_NOT_FOUND", "token.deposit", "treasurer", to="zoe", **args)
    world.do("token.deposit", "treasurer", to="alice", **args)
    world.refused("DUPLICATE_REFERENCE", "token.deposit", "treasurer", to="bob", **args)
    world.refused("DUPLICATE_REFERENCE", "token.withdraw", "treasurer", from_="alice", **args)
    out = {"from_": "alice", "external_reference": "bank-2"}
    world.refused("INSUFFICIENT_FUNDS", "token.withdraw", "treasurer", amount="10.01", **out)
    world.do("token.withdraw", "treasurer", amount="10", **out)
    assert world.posted("alice", "USD") == 0


def test_a_deposit_needs_an_active_user_and_a_payout_does_not(world: World) -> None:
    world.deposit("alice", 5)
    args = {"user": "alice", "new_status": "DEACTIVATED"}
    world.do("registry.update_user_status", "regulator", **args)
    more = {"amount": 1, "external_reference": "r-1"}
    world.refused("USER_NOT_VERIFIED", "token.deposit", "treasurer", to="alice", **more)
    world.do("token.withdraw", "treasurer", from_="alice", **more)


def test_payouts_are_in_whole_minor_units(world: World) -> None:
    world.deposit("alice", "5.001")
    args = {"from_": "alice", "external_reference": "r-1"}
    world.refused("INVALID_INPUT", "token.withdraw", "nobody", amount="0.001", **args)
    world.do("token.withdraw", "treasurer", amount="5", **args)
    assert world.posted("alice", "USD") == 1_000


def test_only_the_hosted_registry_can_be_named(world: World) -> None:
    name = "token.set_registry_contract"
    world.refused("NOT_OWNER", name, "minter", registry_contract="evil")
    world.refused("REGISTRY_NOT_SET", name, "admin", registry_contract="evil")
    assert world.do(name, "admin", registry_contract="registry").events


def test_the_token_says_what_it_is(world: World) -> None:
    names = ("token.token_name", "token.token_symbol", "token.token_decimals")
    assert [world.read(name) for name in names] == ["GridToken", "GRID", 6]
