import pytest

from adapter.settlement import agreement_view, due_commands, execute
from tests.unit.settlement.world import EPOCH, Market, events_of, settled_with

EXPIRE = "registry.expire_due"
TTL = 900_000
GRACE = 86_400_000


@pytest.fixture
def world() -> Market:
    """Return the set-up of the demo."""
    return Market().set_up()


def state(world: Market, number: int = 1) -> str:
    """Return the effective state of an agreement."""
    return str(world.read("agreements.get_agreement", agreement_no=number)["state"])


def test_nothing_due_is_a_success_without_an_entry(world: Market) -> None:
    before = world.fingerprint()
    receipt = world.do(EXPIRE, "system")
    assert receipt.result == {"expired": 0}
    assert not receipt.replayed
    assert world.fingerprint() == before
    assert receipt.seq == world.ledger.head().seq  # type: ignore[union-attr]  # it is open


def test_expire_due_is_for_the_timer_and_operators(world: Market) -> None:
    world.refused("NOT_MARKET_MAKER", EXPIRE, "alice")
    world.do(EXPIRE, "headend")


def test_a_proposal_lapses_one_millisecond_after_its_end(world: Market) -> None:
    world.propose()
    world.now += TTL
    assert state(world) == "PROPOSED"
    assert due_commands(world.ledger, world.now, 10) == []
    assert world.do(EXPIRE, "system").result == {"expired": 0}
    world.now += 1
    assert state(world) == "EXPIRED"
    # The stored state follows by its own command; until then the caps stay reserved.
    assert world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"]["reserved"] == "10"
    (receipt,) = world.tick()
    assert [event.name for event in receipt.events] == ["AgreementExpired"]
    assert world.read("registry.get_trade_caps", meter_id="m-buy")["BUY"]["reserved"] == "0"
    assert world.tick() == []


def test_a_lapsed_contract_id_is_not_proposed_again(world: Market) -> None:
    world.propose()
    world.now += TTL + 1
    for _ in range(2):
        name = "agreements.create_agreement"
        world.refused("AGREEMENT_ALREADY_EXISTS", name, "bpp", "bob", **world.terms())
        world.tick()


def test_an_agreement_nobody_read_expires_under_every_basis(world: Market) -> None:
    numbers = [
        world.agree(f"k-{basis}", energy_amount_kwh=2, basis=basis)
        for basis in ("CONTRACTED", "DELIVERED", "MIN_OF_TWO")
    ]
    world.now = world.end + GRACE
    assert [state(world, number) for number in numbers] == ["ACTIVE"] * 3
    world.now += 1
    assert [state(world, number) for number in numbers] == ["EXPIRED"] * 3
    (receipt,) = world.tick()
    assert len(events_of([receipt], "AgreementExpired")) == 3
    assert world.available("alice", "USD") == 20_000_000
    assert world.read("registry.get_trade_caps", meter_id="m-sell")["SELL"]["total"] == "0"


def test_what_was_read_by_the_deadline_is_delivered_and_the_rest_is_0(world: Market) -> None:
    # Three of four quarters of the seller, two of the buyer.
    world.agree(basis="MIN_OF_TWO")
    world.now = world.end
    for i in (0, 1, 3):
        world.submit("m-sell", world.start + i * EPOCH, generated=2)
    for i in (0, 1):
        world.submit("m-buy", world.start + i * EPOCH, consumed=2)
    # The fourth quarter waits for the third, its GRID is held for the meter.
    assert world.available("bob", "GRID") == 0
    world.now = world.end + GRACE + 1
    assert state(world) == "DELIVERED"
    done = world.tick()
    (recorded,) = events_of(done, "EnergyDelivered")
    assert recorded.fields["allocated_seller"] == 6_000_000
    assert recorded.fields["allocated_buyer"] == 4_000_000
    kinds = [event.fields["kind"] for event in events_of(done, "DeviationRecorded")]
    assert kinds.count("MISSING_READING") == 2
    assert state(world) == "SETTLED"
    assert (world.available("alice", "GRID"), world.available("bob", "GRID")) == (
        4_000_000,
        2_000_000,
    )


def test_the_deadline_counts_when_the_reading_comes_not_when_the_timer_runs(world: Market) -> None:
    number = world.agree(basis="DELIVERED")
    world.now = world.end + GRACE
    world.submit("m-sell", world.start, generated=2)
    world.now += 1
    world.submit("m-sell", world.start + EPOCH, generated=2)
    world.tick()
    assert world.read("agreements.get_agreement", agreement_no=number)["allocated_seller"] == "2"
    assert world.available("bob", "GRID") == 2_000_000  # what came too late is free


def test_an_expired_agreement_unblocks_the_next_one(world: Market) -> None:
    # A covers quarters 1 and 2 and is given up; B covers 2, which was read and waited.
    first = {"start": world.start, "end": world.start + 2 * EPOCH}
    second = {"start": world.start + EPOCH, "end": world.start + 2 * EPOCH}
    a = world.propose("k-a", energy_amount_kwh=2, window=first, delivery_deadline=world.end)
    world.do("agreements.accept_agreement", "bap", "alice", agreement_no=a)
    b = world.agree("k-b", energy_amount_kwh=2, window=second, basis="DELIVERED")
    world.now = world.end
    world.submit("m-sell", second["start"], generated=3)
    world.submit("m-buy", second["start"], consumed=3)
    assert world.read("agreements.get_allocations", agreement_no=b) == []
    world.now = world.end + 1
    world.tick()
    # At A's deadline quarter 2 is shared by the remaining 2 and 2: 1.5 each.
    shown = [world.read("agreements.get_agreement", agreement_no=n) for n in (a, b)]
    assert [part["allocated_seller"] for part in shown] == ["1.5", "1.5"]
    assert [part["state"] for part in shown] == ["SETTLED", "SETTLED"]


def test_the_limit_takes_the_oldest_first(world: Market) -> None:
    for i in range(3):
        world.propose(f"k-{i}", energy_amount_kwh=1)
        world.now += 1
    world.now += TTL
    receipt = world.do(EXPIRE, "system", limit=2)
    assert receipt.result == {"expired": 2}
    assert [event.fields["contract_id"] for event in receipt.events] == ["k-0", "k-1"]


def test_recording_after_the_deadline_needs_something_read(world: Market) -> None:
    number = world.agree()
    world.now = world.end + GRACE + 1
    name = "agreements.deliver_energy"
    world.refused("AGREEMENT_NOT_ACTIVE", name, "headend", agreement_no=number)
    world.tick()
    world.refused("AGREEMENT_NOT_ACTIVE", name, "headend", agreement_no=number)


def test_an_agreement_read_in_whole_but_not_recorded_by_its_deadline_is_recorded_once(
    world: Market,
) -> None:
    world.agree()
    world.deliver(10, 10)
    world.now = world.end + GRACE + 1
    commands = [command.function for command in due_commands(world.ledger, world.now, 10)]
    assert commands == ["expire_due"]
    assert [receipt.result for receipt in world.tick()] == [{"expired": 1}, {"transaction_no": 1}]
    assert state(world) == "SETTLED"


# The timer


def test_polling_changes_nothing_and_repeats_replay(world: Market) -> None:
    world.agree()
    world.deliver(10, 10)
    before = world.fingerprint()
    polls = [due_commands(world.ledger, world.now, 10) for _ in range(3)]
    assert polls[0] == polls[1] == polls[2]
    assert world.fingerprint() == before
    (command,) = polls[0]
    world.tick()
    head = world.ledger.head()
    again = execute(world.ledger, command, "system", world.now)
    assert again.replayed
    assert world.ledger.head() == head


def test_delivery_is_recorded_when_the_last_interval_is_allocated_on_both_meters() -> None:
    world = Market().set_up(settled_with(dispute_window_s=60))
    world.agree()
    world.now = world.end
    for i in range(4):
        world.submit("m-sell", world.start + i * EPOCH, generated=2)
    assert due_commands(world.ledger, world.now, 10) == []
    for i in range(4):
        world.submit("m-buy", world.start + i * EPOCH, consumed=2)
    (command,) = due_commands(world.ledger, world.now, 10)
    assert (command.function, command.args) == ("deliver_energy", {"agreement_no": 1})
    assert due_commands(world.ledger, world.now, 0) == []
    world.tick()
    view = agreement_view(world.ledger, "bpp", "k-1", world.now)
    assert view is not None
    assert view.state == "DELIVERED"
