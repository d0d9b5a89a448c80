"""Recording and paying: the worked tables of settlement.md sections 11.2 and 11.3."""

from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from adapter.settlement import AgreementState, Receipt, agreement_view, state_root
from tests.unit.settlement.world import EPOCH, NOON, Market, World, events_of, settled_with

RECORD = "agreements.deliver_energy"
SETTLE = "agreements.settle_payment"
ACCEPT_DELIVERY = "agreements.accept_delivery"
WINDOW = {"start": NOON + EPOCH, "end": NOON + 2 * EPOCH}
"""One interval, so that a table row is one allocation."""


@pytest.fixture
def world() -> Market:
    """Return the set-up of the demo."""
    return Market().set_up()


def micro(kwh: str) -> int:
    """Return a decimal in millionths."""
    return int(Decimal(kwh) * 1_000_000)


def deviations(receipts: list[Receipt]) -> list[tuple[str, int]]:
    """Return the shortfalls that a settlement recorded."""
    return [
        (event.fields["kind"], event.fields["quantity"])
        for event in events_of(receipts, "DeviationRecorded")
        if event.fields["kind"].endswith("SHORTFALL")
    ]


class Row(NamedTuple):
    """A row of the worked table: what happened, and what everyone got."""

    basis: str
    generated: int
    consumed: int
    energy: str
    buyer: str
    seller: str
    wheeling: str
    released: str
    found: tuple[tuple[str, int], ...] = ()


SELLER_2 = ("SELLER_SHORTFALL", 2_000_000)
BUYER_4 = ("BUYER_SHORTFALL", 4_000_000)
WORKED = (
    Row("CONTRACTED", 10, 12, "10", "1.75", "1.50", "0.25", "0"),
    Row("CONTRACTED", 8, 12, "8", "1.75", "1.50", "0.25", "0", (SELLER_2,)),
    Row("DELIVERED", 8, 12, "8", "1.40", "1.20", "0.20", "0.35", (SELLER_2,)),
    Row("MIN_OF_TWO", 8, 6, "6", "1.05", "0.90", "0.15", "0.70", (SELLER_2, BUYER_4)),
)


@pytest.mark.parametrize("row", WORKED, ids=lambda row: f"{row.basis}, {row.generated}")
def test_worked_rows_of_11_2(world: Market, row: Row) -> None:
    world.agree(basis=row.basis)
    world.deliver(row.generated, row.consumed)
    done = world.tick()
    (settled,) = events_of(done, "PaymentSettled")
    assert settled.fields["energy"] == micro(row.energy)
    assert settled.fields["released"] == micro(row.released)
    assert world.posted("alice", "GRID") == micro(row.energy)
    assert world.posted("bob", "GRID") == micro(str(row.generated)) - micro(row.energy)
    assert world.available("alice", "USD") == micro("20") - micro(row.buyer)
    assert world.available("bob", "USD") == micro(row.seller)
    assert world.posted("grid", "USD") == micro(row.wheeling)
    # Each row sums to zero.
    assert micro(row.buyer) == micro(row.seller) + micro(row.wheeling)
    assert deviations(done) == list(row.found)
    for owner, meter, side in (("alice", "m-buy", "BUY"), ("bob", "m-sell", "SELL")):
        assert world.available(owner, "USD") == world.posted(owner, "USD")
        assert world.available(owner, "GRID") == world.posted(owner, "GRID")
        assert world.read("registry.get_trade_caps", meter_id=meter)[side]["total"] == "0"


def crowd(world: World, *users: str) -> World:
    """Register users with a strong meter and 1 000 USD each."""
    for user in users:
        world.user(user)
        world.meter(f"m-{user}", user, kw=400)
        world.deposit(user, 1_000)
    return world


def trade(
    world: World, seller: str, buyer: str, energy: object, price: object = 6, **more: Any
) -> int:
    """Agree on energy in WINDOW at the MIN_OF_TWO basis."""
    args = {
        "contract_id": f"{seller}-{buyer}",
        "provider": seller,
        "consumer": buyer,
        "source_meter": f"m-{seller}",
        "target_meter": f"m-{buyer}",
        "energy_amount_kwh": energy,
        "price_per_kwh": price,
        "currency": "USD",
        "window": WINDOW,
        "basis": "MIN_OF_TWO",
        **more,
    }
    number = world.do("agreements.create_agreement", seller, **args).result["agreement_no"]
    world.do("agreements.accept_agreement", buyer, agreement_no=number)
    return int(number)


def meter_all(world: World, **metered: object) -> None:
    """Submit one reading per user: `s_` generates, `b_` consumes."""
    world.now = WINDOW["end"]
    for user, energy in metered.items():
        side = "generated" if user.startswith("s") else "consumed"
        world.submit(f"m-{user}", WINDOW["start"], **{side: energy})


def settled_quantities(world: World, *numbers: int) -> list[str]:
    """Return the paid quantity of each agreement."""
    return [
        world.read("agreements.get_agreement", agreement_no=n)["settled_quantity"] for n in numbers
    ]


def allocations(world: World, *numbers: int) -> list[tuple[str, str]]:
    """Return the seller's and buyer's allocation of each agreement."""
    reads = [world.read("agreements.get_agreement", agreement_no=n) for n in numbers]
    return [(read["allocated_seller"], read["allocated_buyer"]) for read in reads]


def test_one_trade_of_10_generated_8_consumed_15() -> None:
    world = crowd(World().open(settled_with(wheeling_rate=0)), "s1", "b1")
    number = trade(world, "s1", "b1", 10)
    meter_all(world, s1=8, b1=15)
    world.tick()
    assert allocations(world, number) == [("8", "10")]
    assert settled_quantities(world, number) == ["8"]
    assert world.available("s1", "USD") == micro("1048")  # 8 × 6.00 = 48.00


def test_two_buyers_share_15_and_one_takes_only_3() -> None:
    world = crowd(World().open(settled_with(wheeling_rate=0)), "s1", "b1", "b2")
    first, second = trade(world, "s1", "b1", 10), trade(world, "s1", "b2", 10)
    meter_all(world, s1=15, b1=3, b2=10)
    done = world.tick()
    assert allocations(world, first, second) == [("7.5", "3"), ("7.5", "10")]
    assert settled_quantities(world, first, second) == ["3", "7.5"]
    # 15 generated, 10.5 sold: 4.5 stay with the seller, free.
    assert world.available("s1", "GRID") == micro("4.5")
    assert deviations(done) == [
        ("SELLER_SHORTFALL", micro("2.5")),
        ("BUYER_SHORTFALL", micro("7")),
        ("SELLER_SHORTFALL", micro("2.5")),
    ]


@pytest.mark.parametrize("order", [("s1", "s2", "b1", "b2"), ("b2", "b1", "s2", "s1")])
def test_three_trades_of_two_sellers_and_two_buyers(order: tuple[str, ...]) -> None:
    world = crowd(World().open(settled_with(wheeling_rate=0)), "s1", "s2", "b1", "b2")
    numbers = (
        trade(world, "s1", "b1", 6),
        trade(world, "s1", "b2", 4),
        trade(world, "s2", "b1", 5),
    )
    metered = {"s1": 8, "s2": 5, "b1": 7, "b2": 9}
    meter_all(world, **{user: metered[user] for user in order})
    world.tick()
    assert allocations(world, *numbers) == [("4.8", "3.818182"), ("3.2", "4"), ("5", "3.181818")]
    assert settled_quantities(world, *numbers) == ["3.818182", "3.2", "3.181818"]


def test_weights_are_what_remains_and_windows_may_overlap() -> None:
    # A has 4 in the first and second interval, B 4 in the second only; 3 kWh each time.
    # First: A gets 3. Second: 1 of A and 4 of B remain, 3 are shared 0.6 and 2.4.
    world = crowd(World().open(settled_with(wheeling_rate=0)), "s1", "b1", "b2")
    start = WINDOW["start"]
    both = {"start": start, "end": start + 2 * EPOCH}
    second = {"start": start + EPOCH, "end": start + 2 * EPOCH}
    a = trade(world, "s1", "b1", 4, window=both)
    b = trade(world, "s1", "b2", 4, window=second)
    world.now = both["end"]
    world.submit("m-s1", start, generated=3)
    world.submit("m-s1", start + EPOCH, generated=3)
    read = [world.read("agreements.get_agreement", agreement_no=n) for n in (a, b)]
    assert [part["allocated_seller"] for part in read] == ["3.6", "2.4"]


def test_intervals_are_allocated_in_time_order(world: Market) -> None:
    number = world.agree()
    world.now = world.end
    world.submit("m-sell", world.start + EPOCH, generated=2)
    # The second interval waits for the first; its GRID is held for the meter meanwhile.
    assert world.read("agreements.get_allocations", agreement_no=number) == []
    assert (world.posted("bob", "GRID"), world.available("bob", "GRID")) == (2_000_000, 0)
    receipt = world.submit("m-sell", world.start, generated=1)
    allocated = [
        event.fields["seller"] for event in receipt.events if event.name == "EnergyAllocated"
    ]
    assert allocated == [1_000_000, 2_000_000]
    assert world.available("bob", "GRID") == 0


def test_surplus_is_free_and_recorded_once(world: Market) -> None:
    world.agree(energy_amount_kwh=4)
    world.now = world.end
    for i in range(4):
        world.submit("m-sell", world.start + i * EPOCH, generated=3)
    # 12 generated, 4 contracted: the first interval gives 3, the second 1, the rest is surplus.
    assert (world.posted("bob", "GRID"), world.available("bob", "GRID")) == (12_000_000, 8_000_000)
    found = world.read("agreements.get_deviations", meter="m-sell")
    assert [(row["kind"], row["quantity"]) for row in found] == [
        ("SURPLUS_INJECTION", "2"),
        ("SURPLUS_INJECTION", "3"),
        ("SURPLUS_INJECTION", "3"),
    ]


def test_surplus_is_not_recorded_again_for_an_agreement_that_comes_late(world: Market) -> None:
    world.agree("k-1", energy_amount_kwh=1)
    world.now = world.start + EPOCH
    world.submit("m-sell", world.start, generated=3)
    world.agree("k-2", energy_amount_kwh=1)
    found = world.read("agreements.get_deviations", meter="m-sell")
    assert [row["quantity"] for row in found] == ["2"]


def test_intervals_read_before_acceptance_do_not_count(world: Market) -> None:
    world.now = world.start + EPOCH
    number = world.propose()
    world.submit("m-sell", world.start, generated=2)
    world.now -= 1_000  # a clock that jumps back changes nothing
    world.accept(number)
    first = {"start": world.start, "seller": "0"}
    assert world.read("agreements.get_allocations", agreement_no=number) == [first]
    world.now = world.end
    world.submit("m-sell", world.start + EPOCH, generated=3)
    assert world.read("agreements.get_allocations", agreement_no=number) == [
        {"start": world.start, "seller": "0"},
        {"start": world.start + EPOCH, "seller": "3"},
    ]
    assert world.available("bob", "GRID") == 2_000_000


def test_energy_that_was_withheld_is_held_when_it_is_minted(world: Market) -> None:
    number = world.agree(energy_amount_kwh=2, window=WINDOW, basis="DELIVERED")
    world.do("registry.update_user_status", "regulator", user="bob", new_status="SUSPENDED")
    world.now = WINDOW["end"]
    world.submit("m-sell", WINDOW["start"], generated=3)
    world.submit("m-buy", WINDOW["start"], consumed=3)
    world.do("registry.update_user_status", "regulator", user="bob", new_status="ACTIVE")
    args = {"to": "bob", "meter_id": "m-sell", "interval": WINDOW["start"]}
    world.do("token.mint", "minter", amount="1.5", **args)
    assert world.available("bob", "GRID") == 0
    world.do("token.mint", "minter", amount="1.5", **args)
    assert world.available("bob", "GRID") == 1_000_000
    world.tick()
    assert settled_quantities(world, number) == ["2"]
    assert world.available("alice", "GRID") == 2_000_000


def test_energy_that_is_never_minted_is_a_deviation_and_never_a_debt(world: Market) -> None:
    number = world.agree(energy_amount_kwh=2, window=WINDOW, basis="DELIVERED")
    world.do("registry.set_parameter", "admin", name="auto_mint", value=False)
    world.now = WINDOW["end"]
    world.submit("m-sell", WINDOW["start"], generated=2)
    world.submit("m-buy", WINDOW["start"], consumed=2)
    done = world.tick()
    assert deviations(done) == [("SELLER_SHORTFALL", 2_000_000)]
    (event,) = events_of(done, "DeviationRecorded")
    assert event.fields["cause"] == "not minted"
    assert settled_quantities(world, number) == ["2"]
    assert world.posted("bob", "GRID") == 0
    # What is minted after the settlement belongs to no agreement any more.
    args = {"to": "bob", "meter_id": "m-sell", "interval": WINDOW["start"]}
    world.do("token.mint", "minter", amount=2, **args)
    assert world.available("bob", "GRID") == 2_000_000


# Parts


def test_three_parts_pay_exactly_the_whole(world: Market) -> None:
    # 1.000001 kWh each at 0.333333: 0.333333, 0.333334, 0.333333, in sum 1.000000.
    window = {"start": world.start, "end": world.start + 3 * EPOCH}
    number = world.agree(
        energy_amount_kwh="3.000003", price_per_kwh="0.333333", window=window, basis="DELIVERED"
    )
    world.now = window["end"]
    paid = []
    for i in range(3):
        until = world.start + (i + 1) * EPOCH
        start = world.start + i * EPOCH
        world.refused("DELIVERY_INCOMPLETE", RECORD, "headend", agreement_no=number, until=until)
        world.submit("m-sell", start, generated="1.000001")
        world.submit("m-buy", start, consumed="1.000001")
        world.do(RECORD, "headend", agreement_no=number, until=until)
        receipt = world.do(SETTLE, "headend", transaction_no=i + 1)
        paid += [
            event.fields["value"] for event in receipt.events if event.name == "PaymentSettled"
        ]
        held = world.posted("alice", "USD") - world.available("alice", "USD")
        state = world.read("agreements.get_agreement", agreement_no=number)["state"]
        assert (held > 0, state) == ((True, "DELIVERED") if i < 2 else (False, "SETTLED"))
    assert paid == [333_333, 333_334, 333_333]
    assert world.available("bob", "USD") == 1_000_000
    assert world.available("alice", "GRID") == 3_000_003


def test_contracted_parts_follow_time_and_catch_up_in_energy(world: Market) -> None:
    # 10 contracted over four quarters. First half: 3 given, 5 paid. Second half: 6 given, 5 paid
    # and 6 of the 7 owed energy moves; in all 9 of 10.
    number = world.agree(basis="CONTRACTED")
    world.now = world.end
    for i, generated in enumerate(("1", "2", "3", "3")):
        world.submit("m-sell", world.start + i * EPOCH, generated=generated)
        world.submit("m-buy", world.start + i * EPOCH, consumed=3)
    middle = world.start + 2 * EPOCH
    world.do(RECORD, "headend", agreement_no=number, until=middle)
    first = world.do(SETTLE, "headend", transaction_no=1).events
    world.do(RECORD, "headend", agreement_no=number)
    second = world.do(SETTLE, "headend", transaction_no=2).events
    moved = [
        (event.fields["energy"], event.fields["value"])
        for event in (*first, *second)
        if event.name == "PaymentSettled"
    ]
    # GRID held at the first settlement is that of all four quarters, so 5 can move at once.
    assert moved == [(5_000_000, 750_000), (4_000_000, 750_000)]
    assert world.available("alice", "GRID") == 9_000_000
    assert world.available("bob", "GRID") == 0


def test_energy_short_in_one_part_is_caught_up_in_the_next(world: Market) -> None:
    # First half: 3 given, 5 paid, 3 move. Second half: 6 given, 5 paid; of the 7 owed 6 move.
    number = world.agree(basis="CONTRACTED")
    world.now = world.end
    middle = world.start + 2 * EPOCH
    moved = []
    for part, generated in enumerate((("1", "2"), ("3", "3"))):
        for i, energy in enumerate(generated):
            start = world.start + (2 * part + i) * EPOCH
            world.submit("m-sell", start, generated=energy)
            world.submit("m-buy", start, consumed=3)
        world.do(RECORD, "headend", agreement_no=number, until=(middle, world.end)[part])
        receipt = world.do(SETTLE, "headend", transaction_no=part + 1)
        moved += [e.fields["energy"] for e in receipt.events if e.name == "PaymentSettled"]
    assert moved == [3_000_000, 6_000_000]


def test_a_delivered_slot_gives_no_cap_room_back() -> None:
    world = Market().open(settled_with(cap_scope="PER_SLOT"))
    world.user("alice")
    world.user("bob", representative="bpp")
    world.meter("m-buy", "alice")
    world.meter("m-sell", "bob")
    world.deposit("alice", 20)
    args = {"meter_id": "m-sell", "side": "SELL", "slot": world.start}
    world.do("registry.set_trade_cap", "grid", cap=3, **args)
    number = world.propose(energy_amount_kwh=2, window=WINDOW)
    world.do("agreements.accept_agreement", "alice", agreement_no=number)
    world.now = WINDOW["end"]
    world.submit("m-sell", WINDOW["start"], generated=2)
    world.submit("m-buy", WINDOW["start"], consumed=2)
    world.tick()
    assert settled_quantities(world, number) == ["2"]
    caps = world.read("registry.get_trade_caps", meter_id="m-sell", slot=world.start)["SELL"]
    assert (caps["total"], caps["room"]) == ("2", "1")


def test_min_of_two_looks_at_the_whole_not_at_each_part(world: Market) -> None:
    # First half: 4 given, 2 taken. Second half: 2 given, 4 taken. In all min(6, 6) = 6.
    number = world.agree(basis="MIN_OF_TWO")
    world.now = world.end
    for i, (generated, consumed) in enumerate(((2, 1), (2, 1), (1, 2), (1, 2))):
        world.submit("m-sell", world.start + i * EPOCH, generated=generated)
        world.submit("m-buy", world.start + i * EPOCH, consumed=consumed)
    world.do(RECORD, "headend", agreement_no=number, until=world.start + 2 * EPOCH)
    assert world.read("agreements.get_transaction", transaction_no=1)["settle_quantity"] == "2"
    world.do(RECORD, "headend", agreement_no=number)
    assert world.read("agreements.get_transaction", transaction_no=2)["settle_quantity"] == "4"


def test_fees_go_to_the_platform() -> None:
    # Book A, trade (5, 6, 3) as an agreement: 3 at 6.00, wheeling 0.50, both fees 0.05.
    settings = {"wheeling_rate": "0.5", "buyer_fee": "0.05", "seller_fee": "0.05"}
    world = Market().set_up(settled_with(**settings), funds=30)
    world.agree(energy_amount_kwh=3, price_per_kwh=6)
    assert world.available("alice", "USD") == micro("10.35")
    world.deliver(3, 3)
    world.tick()
    assert world.available("alice", "USD") == micro("10.35")  # 30 − 19.65
    assert world.available("bob", "USD") == micro("17.85")
    accounts = {account.id: account.posted for account in world.ledger.accounts("grid")}
    assert accounts == {"grid|USD|FEES": micro("0.30"), "grid|USD|WHEELING": micro("1.50")}


def test_a_fee_never_leaves_the_seller_owing() -> None:
    # At 0.6 with a fee of 0.5, one millionth of a kWh is worth 1 and owes 0; two are worth 1 and
    # owe 1. So the second part has a value of 0 and a fee of 1: the fee waits, here for ever.
    rates = {"price_tick": "0.000001", "lot_energy": 1, "wheeling_rate": 0, "seller_fee": "0.5"}
    world = Market().set_up(settled_with(**rates))
    window = {"start": world.start, "end": world.start + 2 * EPOCH}
    terms = {"energy_amount_kwh": "0.000002", "price_per_kwh": "0.6", "window": window}
    number = world.agree(basis="DELIVERED", **terms)
    world.now = window["end"]
    for i in range(2):
        start = world.start + i * EPOCH
        world.submit("m-sell", start, generated="0.000001")
        world.submit("m-buy", start, consumed="0.000001")
        world.do(RECORD, "headend", agreement_no=number, until=start + EPOCH)
        world.do(SETTLE, "headend", transaction_no=i + 1)
    assert (world.available("bob", "USD"), world.posted("grid", "USD")) == (1, 0)
    assert world.read("agreements.get_agreement", agreement_no=number)["state"] == "SETTLED"


# Recording, claims, acceptance


def test_refusals_of_deliver_energy_in_order(world: Market) -> None:
    number = world.propose()
    args = {"agreement_no": number}
    world.refused("INVALID_INPUT", RECORD, "bpp", "bob", **args)
    world.refused("AGREEMENT_NOT_FOUND", RECORD, "headend", agreement_no=99)
    claim = {**args, "energy_delivered_kwh": 11}
    world.refused("NOT_AUTHORIZED", RECORD, "alice", **claim)
    world.refused("AGREEMENT_NOT_ACTIVE", RECORD, "headend", **args)
    world.refused("AGREEMENT_NOT_ACTIVE", RECORD, "bpp", "bob", **claim)
    world.accept(number)
    world.refused("DELIVERY_INCOMPLETE", RECORD, "headend", **args)
    world.refused("INVALID_INTERVAL", RECORD, "headend", until=world.start, **args)
    world.refused("INVALID_INTERVAL", RECORD, "headend", until=world.end + EPOCH, **args)
    world.refused("INSUFFICIENT_ENERGY", RECORD, "bpp", "bob", **claim)
    claim["energy_delivered_kwh"] = 10
    world.now = world.end + 86_400_000
    world.refused("DELIVERY_INCOMPLETE", RECORD, "headend", **args)
    world.do(RECORD, "bpp", "bob", **claim)
    world.now += 1
    world.refused("DELIVERY_DEADLINE_PASSED", RECORD, "bpp", "bob", **claim)
    world.refused("AGREEMENT_NOT_ACTIVE", RECORD, "headend", **args)


def test_a_claim_moves_nothing_and_the_record_replaces_it(world: Market) -> None:
    number = world.agree()
    before = state_root(world.ledger)
    claim = {"agreement_no": number, "energy_delivered_kwh": 10, "meter_reading": "trust me"}
    first = world.do(RECORD, "bpp", "bob", **claim).result["transaction_no"]
    again = world.do(RECORD, "bpp", "bob", **{**claim, "energy_delivered_kwh": 9})
    assert again.result["transaction_no"] == first
    assert state_root(world.ledger) == before
    world.refused("DELIVERY_INCOMPLETE", SETTLE, "bpp", "bob", transaction_no=first)
    world.deliver(8, 8)
    assert world.do(RECORD, "headend", agreement_no=number).result["transaction_no"] == first
    shown = world.read("agreements.get_transaction", transaction_no=first)
    assert (shown["claimed"], shown["allocated_seller"], shown["state"]) == ("9", "8", "DELIVERED")


def test_both_acceptances_end_the_dispute_window() -> None:
    world = Market().set_up(settled_with(dispute_window_s=3_600))
    number = world.agree()
    world.deliver(10, 10)
    world.tick()
    args = {"transaction_no": 1}
    world.refused("TRANSACTION_NOT_FOUND", ACCEPT_DELIVERY, "carol", transaction_no=2)
    world.refused("NOT_AUTHORIZED", ACCEPT_DELIVERY, "carol", **args)
    error = world.refused("DISPUTE_WINDOW_OPEN", SETTLE, "bpp", "bob", **args)
    assert error.details["retry_at"] == world.now + 3_600_000
    world.do(ACCEPT_DELIVERY, "bpp", "bob", **args)
    world.do(ACCEPT_DELIVERY, "bpp", "bob", **args)
    world.refused("DISPUTE_WINDOW_OPEN", SETTLE, "bpp", "bob", **args)
    world.do(ACCEPT_DELIVERY, "bap", "alice", **args)
    world.do(SETTLE, "bpp", "bob", **args)
    world.refused("TRANSACTION_ALREADY_SETTLED", ACCEPT_DELIVERY, "bpp", "bob", **args)
    world.refused("TRANSACTION_ALREADY_SETTLED", SETTLE, "bpp", "bob", **args)
    assert world.read("agreements.get_agreement", agreement_no=number)["state"] == "SETTLED"


def test_the_dispute_window_ends_at_its_instant() -> None:
    world = Market().set_up(settled_with(dispute_window_s=60))
    world.agree()
    world.deliver(10, 10)
    world.tick()
    world.now += 59_999
    assert world.tick() == []
    world.refused("DISPUTE_WINDOW_OPEN", SETTLE, "system", transaction_no=1)
    world.now += 1
    assert [receipt.command_id for receipt in world.tick()] == ["timer:settle:1"]


def test_refusals_of_settle_in_order(world: Market) -> None:
    world.agree()
    world.deliver(10, 10)
    world.do(RECORD, "headend", agreement_no=1)
    world.refused("TRANSACTION_NOT_FOUND", SETTLE, "carol", transaction_no=2)
    world.refused("NOT_AUTHORIZED", SETTLE, "carol", transaction_no=1)
    expected = {"value": "1.5", "wheeling": "0.26"}
    world.refused("FLOW_MISMATCH", SETTLE, "bpp", "bob", transaction_no=1, **expected)
    world.do(SETTLE, "bpp", "bob", transaction_no=1, value="1.5", wheeling="0.25")


def test_the_view_shows_deviations_and_the_end(world: Market) -> None:
    number = world.agree(basis="MIN_OF_TWO")
    world.deliver(8, 6)
    world.tick()
    view = agreement_view(world.ledger, "x", number, world.now)
    assert view is not None
    assert view.state is AgreementState.SETTLED
    assert [(row.kind, row.quantity) for row in view.deviations] == [
        ("SELLER_SHORTFALL", 2_000_000),
        ("BUYER_SHORTFALL", 4_000_000),
    ]
    assert (view.delivered_seller, view.delivered_buyer, view.paid) == (
        8_000_000,
        6_000_000,
        1_050_000,
    )
