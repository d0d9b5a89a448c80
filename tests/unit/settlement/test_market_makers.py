"""What a market may not do: call itself one, sell what nobody brings, keep others' cash."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.protocol.signature import Signer
from adapter.settlement import execute, parse_command
from adapter.settlement.accounts import fees, main
from adapter.settlement.commands import Command
from tests.unit.settlement.bazaar import ACCEPT, CREATE, ENERGY, MARKET, PRICE, Bazaar
from tests.unit.settlement.world import EPOCH, NOON, settled_with

CANCEL = "agreements.cancel_agreement"
DAY_MS = 86_400_000


@pytest.fixture
def world() -> Bazaar:
    """Return a market with a load and a roof."""
    return _market()


def _market(**settings: object) -> Bazaar:
    world = Bazaar().set_up(settled_with(**settings))
    world.take_part("roof", exports=True)
    world.take_part("load", exports=False)
    return world


# Who is a market


def test_nobody_makes_itself_a_market(world: Bazaar) -> None:
    world.user("crook")
    world.deposit("crook", 1_000)
    sells = world.share("load", 10, 9, provider="crook")
    buys = world.share("roof", 10, 1, consumer="crook")
    for share in (sells, buys):
        error = world.refused("NOT_MARKET_MAKER", CREATE, "crook", **share)
        assert error.details["user"] == "crook"
    # nor is it made one by a participant
    world.refused("NOT_MARKET_MAKER", CREATE, "app-roof", "roof", **buys)


def test_who_is_no_market_any_more_clears_nothing(world: Bazaar) -> None:
    number = world.propose("roof", ENERGY, PRICE)
    world.do("trading.remove_market_maker", "admin", market_maker=MARKET)
    error = world.refused("NOT_MARKET_MAKER", ACCEPT, MARKET, agreement_no=number)
    assert error.details["user"] == MARKET


# What binds an exporter


def test_no_signature_sells_somebody_elses_energy(world: Bazaar) -> None:
    world.do("token.approve", "roof", spender="network", value=0, asset="GRID")
    number = world.propose("roof", 4, PRICE)
    signer = Signer(MARKET, "k1", bytes([9] * 32))
    given = parse_command(
        "e-1",
        "agreements",
        "accept_agreement",
        {"agreement_no": number, "evidence": _signed(world, signer)},
    )
    key = base64.b64encode(signer.public_key).decode()
    args = {**given.args, "evidence": {**given.args["evidence"], "public_key": key}}
    command = Command(given.id, given.contract, given.function, args)
    before = world.fingerprint()
    with pytest.raises(ContractError) as caught:
        execute(world.ledger, command, MARKET, world.now)
    assert caught.value.code == "INSUFFICIENT_ALLOWANCE"
    assert "market" in caught.value.details["evidence"]
    assert world.fingerprint() == before


def _signed(world: Bazaar, signer: Signer) -> dict[str, str]:
    """Return a confirm that the market made up, of the terms of the roof's share."""
    roles = [
        {
            "role": "SELLER",
            "roleInputs": {"sourceMeterId": "m-roof", "pricePerKWh": 0.069057, "currency": "USD"},
        },
        {
            "role": "BUYER",
            "roleInputs": {
                "targetMeterId": "",
                "contractedQuantity": 4,
                "tradeStartTime": "2026-01-01T13:00:00Z",
                "tradeEndTime": "2026-01-01T14:00:00Z",
            },
        },
        {"role": "GRID_OPERATOR", "roleInputs": {"wheelingCharges": 0.025}},
    ]
    contract = {"contractId": "c-1#m-roof", "roles": roles, "inputParameters": {}}
    body = {
        "context": {"action": "confirm", "bap_id": MARKET, "bpp_id": MARKET},
        "message": {"order": {"beckn:orderAttributes": contract}},
    }
    text = json.dumps(body)
    now_s = world.now // 1_000
    header = signer.header(text.encode(), created_s=now_s, expires_s=now_s + 300)
    return {"authorization": header, "body": text}


# What is sold was bought


def test_a_market_sells_no_more_than_it_has_bought(world: Bazaar) -> None:
    number = world.propose("load", 10, PRICE)
    error = world.refused("INSUFFICIENT_ENERGY", ACCEPT, MARKET, agreement_no=number)
    assert (error.details["needed"], error.details["available"]) == ("10000000", "0")
    assert error.details["user"] == MARKET
    world.agree("roof", "9.999999", PRICE)
    error = world.refused("INSUFFICIENT_ENERGY", ACCEPT, MARKET, agreement_no=number)
    assert error.details["available"] == "9999999"
    world.take_part("farm", exports=True)
    world.agree("farm", "0.000001", PRICE)
    world.accept(number)
    world.take_part("shop", exports=False)
    number = world.propose("shop", "0.000001", PRICE)
    world.refused("INSUFFICIENT_ENERGY", ACCEPT, MARKET, agreement_no=number)


@pytest.mark.parametrize("change", ["contract", "window"])
def test_what_another_hour_or_market_brings_is_not_sold(world: Bazaar, change: str) -> None:
    later = {"start": world.start + 4 * EPOCH, "end": world.end + 4 * EPOCH}
    changes: dict[str, Any] = {"contract_id": "c-2#m-roof"}
    if change == "window":
        changes = {"window": later}
    world.agree("roof", 10, PRICE, **changes)
    number = world.propose("load", 10, PRICE)
    world.refused("INSUFFICIENT_ENERGY", ACCEPT, MARKET, agreement_no=number)


def test_a_contract_is_that_of_one_market(world: Bazaar) -> None:
    world.user("rival")
    world.do("trading.add_market_maker", "admin", market_maker="rival")
    world.do(CREATE, "app-roof", "roof", **world.share("roof", 1, PRICE))
    world.do("registry.set_representative", "regulator", user="load", subscriber="app-roof")
    share = world.share("load", 1, PRICE, provider="rival")
    assert (
        "contract_id" in world.refused("INVALID_INPUT", CREATE, "app-roof", "load", **share).message
    )


# Cancelling


@pytest.mark.parametrize("first", [0, 1], ids=["the export", "the withdrawal"])
def test_a_market_cancels_all_or_nothing(world: Bazaar, first: int) -> None:
    numbers = world.clear()
    world.do(CANCEL, MARKET, agreement_no=numbers[first])
    assert world.states() == ["CANCELLED", "CANCELLED"]
    assert [world.held(user) for user in ("roof", MARKET, "load")] == [0, 0, 0]
    caps = [world.read("registry.get_trade_caps", meter_id=m) for m in ("m-roof", "m-load")]
    assert [caps[0]["SELL"]["total"], caps[1]["BUY"]["total"]] == ["0", "0"]
    assert world.is_sound()


def test_what_is_only_reserved_is_cancelled_by_itself(world: Bazaar) -> None:
    world.take_part("farm", exports=True)
    reserved = world.propose("farm", 1, PRICE)
    world.clear()
    world.do(CANCEL, MARKET, agreement_no=reserved)
    assert world.states() == ["CANCELLED", "ACTIVE", "ACTIVE"]


def test_no_export_is_cancelled_once_a_window_of_the_market_began(world: Bazaar) -> None:
    later = {"start": world.start + EPOCH, "end": world.end + EPOCH}
    world.take_part("farm", exports=True)
    waiting = world.agree("farm", 4, PRICE, window=later)
    world.clear()
    world.now = world.start
    world.refused("CANCELLATION_NOT_ALLOWED", CANCEL, MARKET, agreement_no=waiting)


def test_no_export_is_cancelled_once_energy_has_passed(world: Bazaar) -> None:
    later = {"start": NOON + 40 * EPOCH, "end": NOON + 44 * EPOCH}
    world.take_part("farm", exports=True)
    waiting = world.agree("farm", 4, PRICE, window=later)
    world.clear()
    world.read_all(roof=ENERGY, load=ENERGY)
    world.tick()
    assert world.states() == ["ACTIVE", "SETTLED", "DELIVERED"]
    world.refused("CANCELLATION_NOT_ALLOWED", CANCEL, MARKET, agreement_no=waiting)


def test_with_both_nothing_is_cancelled_before_all_have_agreed() -> None:
    world = _market(cancel_consent="BOTH")
    export, withdrawal = world.clear()
    for user, number in (("roof", export), ("load", withdrawal)):
        world.refused("CANCELLATION_NOT_ALLOWED", CANCEL, user, agreement_no=number)
    world.do(CANCEL, MARKET, agreement_no=export)
    world.do(CANCEL, "roof", agreement_no=export)
    # else an exporter who agrees leaves the load with nothing but its bill
    assert world.states() == ["ACTIVE", "ACTIVE"]
    world.do(CANCEL, MARKET, agreement_no=withdrawal)
    world.do(CANCEL, "roof", agreement_no=export)
    assert world.states() == ["ACTIVE", "ACTIVE"]
    world.do(CANCEL, "load", agreement_no=withdrawal)
    assert world.states() == ["CANCELLED", "CANCELLED"]
    assert [world.held(user) for user in ("roof", MARKET, "load")] == [0, 0, 0]
    assert world.is_sound()


# How long it may reserve


def test_nothing_is_reserved_for_longer_than_31_days(world: Bazaar) -> None:
    world.start = NOON + 400 * DAY_MS
    until = NOON + 31 * DAY_MS
    share = world.share("roof", 1, PRICE, valid_until=until + 1)
    assert "valid_until" in world.refused("INVALID_INPUT", CREATE, MARKET, **share).message
    world.propose("roof", 1, PRICE, valid_until=until)


# What it earns


@pytest.mark.parametrize("parts", [1, 2])
def test_fees_are_working_capital(parts: int) -> None:
    world = _market(wheeling_rate=Decimal("0.002"))
    numbers = world.clear()
    world.read_all(roof=ENERGY, load=ENERGY)
    if parts == 2:
        middle = world.start + 2 * EPOCH
        for number in numbers:
            world.do("agreements.deliver_energy", "headend", agreement_no=number, until=middle)
    world.tick()
    assert world.on_account(fees(MARKET, "USD")) == 0
    assert world.on_account(main(MARKET, "USD")) == 1_000_000_000 + 94_340 - 18_868
    assert world.held(MARKET) == 0
    assert world.is_sound()


def test_between_two_parts_a_fee_that_the_market_keeps_is_free() -> None:
    world = _market(wheeling_rate=Decimal("0.002"))
    export = world.agree("roof", 4, PRICE)
    assert world.held(MARKET) == 276_228 + 8_000
    world.read_all(roof=4)
    middle = world.start + 2 * EPOCH
    world.do("agreements.deliver_energy", "headend", agreement_no=export, until=middle)
    world.do("agreements.settle_payment", "roof", transaction_no=1)
    assert world.posted("roof", "USD") == 118_114
    assert world.held(MARKET) == 138_114 + 4_000
