from typing import Any

import pytest

from adapter.settlement import AgreementState, agreement_view
from adapter.settlement.agreement_rows import (
    AGREEMENT_TRANSITIONS,
    TRANSACTION_TRANSITIONS,
    AgreementStep,
    TransactionState,
    TransactionStep,
)
from adapter.settlement.contracts.closing import next_agreement, next_transaction
from adapter.settlement.postings import TransitionError
from tests.unit.settlement.world import EPOCH, Market, World, settled_with

CREATE = "agreements.create_agreement"
ACCEPT = "agreements.accept_agreement"
CANCEL = "agreements.cancel_agreement"
HOUR = 3_600_000


@pytest.fixture
def world() -> Market:
    """Return the set-up of the demo."""
    return Market().set_up()


def suspend(world: World, user: str) -> None:
    args = {"user": user, "new_status": "SUSPENDED"}
    world.do("registry.update_user_status", "regulator", **args)


def reserved(world: World, meter: str, side: str) -> tuple[str, str]:
    """Return total and reserved of a meter's side."""
    caps = world.read("registry.get_trade_caps", meter_id=meter)[side]
    return caps["total"], caps["reserved"]


# State tables


def test_every_state_has_a_row() -> None:
    assert set(AGREEMENT_TRANSITIONS) == set(AgreementState)
    assert set(TRANSACTION_TRANSITIONS) == set(TransactionState)


@pytest.mark.parametrize("state", list(AgreementState))
@pytest.mark.parametrize("step", list(AgreementStep))
def test_steps_of_an_agreement(state: AgreementState, step: AgreementStep) -> None:
    allowed = {
        ("PROPOSED", "ACCEPT"): "ACTIVE",
        ("PROPOSED", "CANCEL"): "CANCELLED",
        ("PROPOSED", "EXPIRE"): "EXPIRED",
        ("ACTIVE", "RECORD"): "DELIVERED",
        ("ACTIVE", "CANCEL"): "CANCELLED",
        ("ACTIVE", "EXPIRE"): "EXPIRED",
        ("DELIVERED", "RECORD"): "DELIVERED",
        ("DELIVERED", "SETTLE_LAST"): "SETTLED",
        ("DELIVERED", "VOID_ALL"): "CANCELLED",
    }.get((str(state), str(step)))
    if allowed is not None:
        assert next_agreement(state, step) == allowed
        return
    with pytest.raises(TransitionError) as caught:
        next_agreement(state, step)
    assert caught.value.code == "INVALID_TRANSITION"


@pytest.mark.parametrize("state", list(TransactionState))
@pytest.mark.parametrize("step", list(TransactionStep))
def test_steps_of_a_transaction(state: TransactionState, step: TransactionStep) -> None:
    allowed = {
        ("PENDING", "RECORD"): "DELIVERED",
        ("DELIVERED", "DISPUTE"): "DISPUTED",
        ("DELIVERED", "SETTLE"): "SETTLED",
        ("DISPUTED", "SETTLE"): "SETTLED",
        ("DISPUTED", "VOID"): "VOIDED",
    }.get((str(state), str(step)))
    if allowed is not None:
        assert next_transaction(state, step) == allowed
        return
    with pytest.raises(TransitionError):
        next_transaction(state, step)


# Opening


def test_everything_is_refused_before_initialize() -> None:
    world = Market()
    world.refused("NOT_INITIALIZED", CREATE, "bpp", "bob", **world.terms())


def test_initialize_is_for_the_admin_once_and_for_the_currency_of_the_ledger() -> None:
    world = Market().open()
    name, args = "agreements.initialize", {"admin": "admin", "token_contract": "USD"}
    world.refused("ALREADY_INITIALIZED", name, "nobody", **args)


def test_another_token_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Market()
    monkeypatch.setattr(World, "do", lambda *args, **more: None)
    World.open(world)
    monkeypatch.undo()
    name = "agreements.initialize"
    world.refused("NOT_OWNER", name, "bob", admin="admin", token_contract="EUR")
    world.refused("TOKEN_NOT_SET", name, "admin", admin="admin", token_contract="EUR")
    world.refused("NOT_INITIALIZED", CREATE, "bpp", "bob", **world.terms())


def test_registering_as_prosumer_is_applying_to_the_one_registry(world: Market) -> None:
    name = "agreements.register_prosumer"
    world.refused("NOT_AUTHORIZED", name, "zoe", prosumer="yan")
    receipt = world.do(name, "zoe", prosumer="zoe")
    assert [event.name for event in receipt.events] == ["UserApplied"]
    assert world.read("registry.get_user_info", user="zoe")["status"] == "PENDING"
    world.refused("USER_ALREADY_EXISTS", name, "zoe", prosumer="zoe")


# Proposing


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"energy_amount_kwh": 0}, "INVALID_ENERGY_AMOUNT", id="no energy"),
        pytest.param({"price_per_kwh": 0}, "INVALID_PRICE", id="no price"),
        pytest.param({"price_per_kwh": "999999.99"}, "INVALID_PRICE", id="price + wheeling > 10^6"),
        pytest.param({"currency": "EUR"}, "INVALID_INPUT", id="another currency"),
        pytest.param({"window": {"start": 1, "end": EPOCH}}, "INVALID_INTERVAL", id="off the grid"),
        pytest.param({"window": {"start": EPOCH, "end": EPOCH}}, "INVALID_INTERVAL", id="empty"),
        pytest.param(
            {"window": {"start": 0, "end": 32 * 24 * HOUR}}, "INVALID_INTERVAL", id="32 days"
        ),
        pytest.param({"basis": "GUESS"}, "INVALID_INPUT", id="no basis"),
    ],
)
def test_bad_terms_are_refused(world: Market, change: dict[str, Any], code: str) -> None:
    world.refused(code, CREATE, "bpp", "bob", **world.terms(**change))


def test_refusals_of_create_in_order(world: Market) -> None:
    world.user("carol")
    world.user("dora", "CONSUMER")
    world.meter("m-dora", "dora")
    world.meter("m-bob-2", "bob")
    unknown = world.terms(source_meter="m-9")
    world.refused("NOT_AUTHORIZED", CREATE, "carol", **unknown)
    world.refused("NOT_AUTHORIZED", CREATE, "bpp", "alice", **unknown)
    world.refused("NOT_AUTHORIZED", CREATE, "bpp", **unknown)
    world.refused("METER_NOT_FOUND", CREATE, "bpp", "bob", **unknown)
    world.refused("METER_MISMATCH", CREATE, "bpp", "bob", **world.terms(source_meter="m-buy"))
    world.agree("k-0", energy_amount_kwh=1)
    swapped = world.terms("k-0", target_meter="m-dora")
    world.refused("METER_MISMATCH", CREATE, "bpp", "bob", **swapped)
    suspend(world, "alice")
    late = {"delivery_deadline": world.now - 1}
    world.refused("AGREEMENT_ALREADY_EXISTS", CREATE, "bpp", "bob", **world.terms("k-0", **late))
    world.refused("USER_NOT_VERIFIED", CREATE, "bpp", "bob", **world.terms(**late))
    consumer_sells = world.terms(
        provider="dora",
        source_meter="m-dora",
        consumer="bob",
        target_meter="m-sell",
        **late,
    )
    world.refused("NOT_PROSUMER", CREATE, "dora", **consumer_sells)
    own = world.terms(consumer="bob", target_meter="m-bob-2", **late)
    world.refused("SELF_TRADE", CREATE, "bpp", "bob", **own)
    to_dora = {"consumer": "dora", "target_meter": "m-dora", "energy_amount_kwh": 1_000}
    args = world.terms(**to_dora, **late)
    world.refused("DELIVERY_DEADLINE_PASSED", CREATE, "bpp", "bob", **args)
    world.refused("TRADE_CAP_EXCEEDED", CREATE, "bpp", "bob", **world.terms(**to_dora))


def test_the_deadline_itself_is_in_time(world: Market) -> None:
    world.propose(delivery_deadline=world.now)


def test_a_meter_given_up_within_the_window_is_no_meter_of_the_seller(world: Market) -> None:
    world.now = world.start
    world.do("registry.unassign_meter", "regulator", meter_id="m-sell")
    world.now = world.start - 1
    world.refused("METER_MISMATCH", CREATE, "bpp", "bob", **world.terms())


@pytest.mark.parametrize(
    ("source_kind", "target_kind"), [("CONSUMPTION", "BOTH"), ("BOTH", "GENERATION")]
)
def test_the_source_must_generate_and_the_target_consume(
    world: Market, source_kind: str, target_kind: str
) -> None:
    world.meter("m-s", "bob", kind=source_kind)
    world.meter("m-t", "alice", kind=target_kind)
    args = world.terms(source_meter="m-s", target_meter="m-t")
    world.refused("METER_MISMATCH", CREATE, "bpp", "bob", **args)


def test_rates_are_those_of_the_proposal(world: Market) -> None:
    number = world.propose()
    world.do("registry.set_parameter", "admin", name="wheeling_rate", value="0.5")
    world.now += EPOCH
    view = agreement_view(world.ledger, "bpp", number, world.now)
    assert view is not None
    assert view.terms.wheeling_rate == 25_000


# Trade caps


def test_the_worked_cap_example() -> None:
    # Caps 50 and 100, totals 5 and 20: room min(45, 80) = 45.
    world = Market().set_up()
    world.user("carol", representative="bpp")
    world.meter("m-carol", "carol")
    world.agree("k-5", energy_amount_kwh=5)
    others = {"consumer": "carol", "target_meter": "m-carol"}
    number = world.propose("k-15", energy_amount_kwh=15, **others)
    world.deposit("carol", 20)
    world.do(ACCEPT, "bpp", "carol", agreement_no=number)
    error = world.refused(
        "TRADE_CAP_EXCEEDED", CREATE, "bpp", "bob", **world.terms(energy_amount_kwh="45.01")
    )
    assert error.details == {
        "meter": "m-buy",
        "side": "BUY",
        "cap": "50000000",
        "total": "5000000",
        "reserved": "0",
        "room": "45000000",
    }
    world.propose("k-45", energy_amount_kwh=45)
    view = agreement_view(world.ledger, "bpp", "k-45", world.now)
    assert view is not None
    assert (view.buyer_cap.total, view.seller_cap.total) == (5_000_000, 20_000_000)
    # The same key with 10 supersedes; after its acceptance the totals are 15 and 30, room 35.
    world.agree("k-45", energy_amount_kwh=10)
    assert reserved(world, "m-buy", "BUY") == ("15", "0")
    assert reserved(world, "m-sell", "SELL") == ("30", "0")
    assert world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"]["room"] == "35"


def test_one_millionth_above_the_room_is_too_much(world: Market) -> None:
    world.refused(
        "TRADE_CAP_EXCEEDED", CREATE, "bpp", "bob", **world.terms(energy_amount_kwh="50.000001")
    )
    world.propose(energy_amount_kwh=50)


def test_a_superseding_proposal_frees_the_old_reservation_first(world: Market) -> None:
    first = world.propose(energy_amount_kwh=40)
    second = world.propose(energy_amount_kwh=50)
    assert second == first + 1
    # Nobody accepts terms it has not seen: the first number stands for nothing any more.
    world.refused("AGREEMENT_NOT_ACTIVE", ACCEPT, "bap", "alice", agreement_no=first)
    assert world.read("agreements.get_agreement", agreement_no=first)["state"] == "CANCELLED"
    assert reserved(world, "m-buy", "BUY") == ("0", "50")
    # Refused, the old reservation stays.
    world.refused("TRADE_CAP_EXCEEDED", CREATE, "bpp", "bob", **world.terms(energy_amount_kwh=51))
    assert reserved(world, "m-buy", "BUY") == ("0", "50")


def test_the_key_is_the_subscriber_and_the_contract_id(world: Market) -> None:
    first = world.propose()
    second = world.do(CREATE, "bob", **world.terms()).result["agreement_no"]
    assert first != second


def test_caps_go_from_reserved_to_used_and_back(world: Market) -> None:
    number = world.propose()
    assert reserved(world, "m-sell", "SELL") == ("0", "10")
    world.accept(number)
    assert reserved(world, "m-sell", "SELL") == ("10", "0")
    world.do(CANCEL, "bap", "alice", agreement_no=number)
    assert reserved(world, "m-sell", "SELL") == ("0", "0")
    assert world.available("alice", "USD") == 20_000_000


def test_a_meter_without_a_cap_shows_a_million_in_the_snapshot(world: Market) -> None:
    world.meter("m-free", "bob")
    world.propose(source_meter="m-free", energy_amount_kwh=20)
    view = agreement_view(world.ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert (view.seller_cap.cap, view.seller_cap.total) == (10**12, 0)
    assert (view.buyer_cap.cap, view.buyer_cap.total) == (50_000_000, 0)


def test_a_proposal_can_be_superseded_until_its_last_instant(world: Market) -> None:
    world.propose()
    world.now += 900_000
    world.propose(energy_amount_kwh=11)
    world.now += 900_001
    world.refused("AGREEMENT_ALREADY_EXISTS", CREATE, "bpp", "bob", **world.terms())


# Accepting


def test_refusals_of_accept_in_order(world: Market) -> None:
    number = world.propose()
    world.refused("AGREEMENT_NOT_FOUND", ACCEPT, "carol", agreement_no=number + 1)
    world.refused("NOT_AUTHORIZED", ACCEPT, "carol", agreement_no=number)
    later = world.now + 900_001
    world.now, now = later, world.now
    suspend(world, "alice")
    # The suspension has cancelled the proposal: the state comes before the parties.
    world.refused("AGREEMENT_NOT_ACTIVE", ACCEPT, "bap", "alice", agreement_no=number)
    world.now = now


def test_acceptance_is_possible_until_the_last_instant(world: Market) -> None:
    number = world.propose()
    world.now += 900_001
    world.refused("PROPOSAL_EXPIRED", ACCEPT, "bap", "alice", agreement_no=number)
    world.now -= 1
    world.do(ACCEPT, "bap", "alice", agreement_no=number)


def test_the_consumer_pays_or_nothing_happens() -> None:
    world = Market().set_up(funds="1.749999")
    number = world.propose()
    world.refused("INSUFFICIENT_ALLOWANCE", ACCEPT, "bpp", "bob", agreement_no=number)
    error = world.refused("INSUFFICIENT_FUNDS", ACCEPT, "bap", "alice", agreement_no=number)
    assert (error.details["needed"], error.details["available"]) == ("1750000", "1749999")
    world.deposit("alice", "0.000001")
    world.do(ACCEPT, "bap", "alice", agreement_no=number)


def test_accepting_twice_is_refused(world: Market) -> None:
    number = world.agree()
    world.refused("AGREEMENT_NOT_ACTIVE", ACCEPT, "bap", "alice", agreement_no=number)


def test_a_provider_alone_creates_no_debt(world: Market) -> None:
    # Without a representative, `network` does not stand for the provider itself.
    number = world.do(CREATE, "bob", **world.terms()).result["agreement_no"]
    world.refused("INSUFFICIENT_ALLOWANCE", ACCEPT, "bob", agreement_no=number)
    world.do("token.approve", "alice", spender="bob", value="1.75", asset="USD")
    world.do(ACCEPT, "bob", agreement_no=number)
    assert world.read("token.allowance", owner="alice", spender="bob", asset="USD") == "0.00"


def test_a_mandate_for_the_calling_platform_is_used_before_the_general_one(world: Market) -> None:
    world.do("token.approve", "alice", spender="bpp", value=2, asset="USD")
    receipt = world.accept(world.propose())
    assert [event.fields["spender"] for event in receipt.events if event.name == "Approval"] == [
        "bpp"
    ]
    assert world.read("token.allowance", owner="alice", spender="network", asset="USD") == "20.00"


def test_ways_of_consent_that_the_setting_leaves_out_are_closed() -> None:
    world = Market().set_up(settled_with(consent=["DIRECT"]))
    number = world.propose()
    world.refused("INSUFFICIENT_ALLOWANCE", ACCEPT, "bpp", "bob", agreement_no=number)
    world.do(ACCEPT, "alice", agreement_no=number)
    other = Market().set_up(settled_with(consent=["EVIDENCE"]))
    number = other.propose()
    other.refused("INSUFFICIENT_ALLOWANCE", ACCEPT, "alice", agreement_no=number)


def test_a_consumer_that_proposed_is_bound_when_the_provider_accepts(world: Market) -> None:
    number = world.do(CREATE, "bap", "alice", **world.terms()).result["agreement_no"]
    world.refused("NOT_AUTHORIZED", ACCEPT, "bap", "alice", agreement_no=number)
    world.do(ACCEPT, "bpp", "bob", agreement_no=number)
    # The mandate was not needed.
    assert world.read("token.allowance", owner="alice", spender="network", asset="USD") == "20.00"


# Cancelling


def test_refusals_of_cancel_in_order(world: Market) -> None:
    number = world.agree()
    world.refused("AGREEMENT_NOT_FOUND", CANCEL, "carol", agreement_no=number + 1)
    world.refused("NOT_AUTHORIZED", CANCEL, "carol", agreement_no=number)
    world.now = world.start
    world.refused("CANCELLATION_NOT_ALLOWED", CANCEL, "bap", "alice", agreement_no=number)
    world.now -= 1
    receipt = world.do(CANCEL, "bap", "alice", agreement_no=number)
    assert [event.name for event in receipt.events] == ["AgreementCancelled"]
    world.refused("AGREEMENT_NOT_ACTIVE", CANCEL, "bap", "alice", agreement_no=number)


def test_a_proposal_can_be_cancelled_at_any_time(world: Market) -> None:
    world.now = world.start + 1
    number = world.propose()
    world.do(CANCEL, "bpp", "bob", agreement_no=number)
    assert reserved(world, "m-sell", "SELL") == ("0", "0")


def test_with_consent_of_both_one_call_only_asks() -> None:
    world = Market().set_up(settled_with(cancel_consent="BOTH"))
    number = world.agree()
    for _ in range(2):
        receipt = world.do(CANCEL, "bap", "alice", agreement_no=number)
        assert [event.name for event in receipt.events] == ["CancelRequested"]
    assert world.available("alice", "USD") == 18_250_000
    receipt = world.do(CANCEL, "bpp", "bob", agreement_no=number)
    assert [event.name for event in receipt.events] == ["AgreementCancelled"]
    assert world.available("alice", "USD") == 20_000_000
    # A proposal binds nobody, so one call is enough.
    number = world.propose("k-2")
    world.do(CANCEL, "bpp", "bob", agreement_no=number)


# Views


def test_an_unknown_agreement_has_no_view(world: Market) -> None:
    world.propose()
    assert agreement_view(world.ledger, "bap", "k-1", world.now) is None
    assert agreement_view(world.ledger, "bap", 99, world.now) is None
    assert agreement_view(world.ledger, "anyone", 1, world.now) is not None


# An early deadline


def test_only_the_consumer_itself_accepts_an_early_deadline(world: Market) -> None:
    # With a deadline inside the window the seller would be paid for what can no longer come.
    early = world.end + 86_400_000 - 1
    number = world.propose(delivery_deadline=early)
    error = world.refused("INSUFFICIENT_ALLOWANCE", ACCEPT, "bpp", "bob", agreement_no=number)
    assert error.details["earliest"] == early + 1
    world.do(ACCEPT, "bap", "alice", agreement_no=number)
    world.agree("k-2", delivery_deadline=early + 1)
