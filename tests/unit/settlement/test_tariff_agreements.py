"""Agreements under a tariff: what is held, what a delivery costs, and what a later part owes."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain import zones
from adapter.domain.errors import ContractError
from adapter.domain.instants import parse_instant
from adapter.settlement import agreement_view, execute, parse_command, verify
from adapter.settlement.canonical import parse_canonical
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, Market, settled_with, sqlite_ledger

CREATE = "agreements.create_agreement"
DELIVER = "agreements.deliver_energy"
SETTLE = "agreements.settle_payment"
EVENING = parse_instant("2026-03-02T16:00:00Z")
"""A Monday, 17:00 in Paris."""


def energy(price: str, vat: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "ENERGY", "price": Decimal(price), "vat": vat, **more}


def element(*prices: dict[str, Any], times: str = "", **limits: Any) -> dict[str, Any]:
    """Return an element; times such as `17:00-21:00`."""
    start, _, end = times.partition("-")
    clock = {"startTime": start, "endTime": end} if times else {}
    return {"priceComponents": list(prices), "restrictions": {**clock, **limits}}


def tariff(*elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"currency": "USD", "elements": list(elements), **more}


WORKDAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
T = tariff(
    element(energy("0.30", 20), times="17:00-21:00", dayOfWeek=WORKDAYS),
    element(energy("0.10", 20), times="21:00-07:00"),
    element(energy("0.18", 20), times="07:00-17:00"),
)
"""Tariff T of the contract specification, section 12."""
TIERS = tariff(element(energy("0.20"), maxKWh=30), element(energy("0.12"), minKWh=30))
HALVES = tariff(element(energy("0.30", 10), times="16:00-16:30"), element(energy("0.12", 10)))
"""Dear in the first half hour, cheap in the second."""


@pytest.fixture
def world() -> Market:
    """Return the set-up of the demo; the window begins on a Monday at 16:00Z."""
    opened = Market(now=EVENING - EPOCH, start=EVENING)
    opened.set_up(funds=20)
    return opened


def under(world: Market, document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the terms of the demo's agreement under a tariff."""
    args = world.terms(**{"tariff": document, **changes})
    del args["price_per_kwh"]
    return args


def agree(world: Market, document: dict[str, Any], **changes: Any) -> int:
    receipt = world.do(CREATE, "bpp", "bob", **under(world, document, **changes))
    number = int(receipt.result["agreement_no"])
    world.accept(number)
    return number


def quarters(world: Market, *kwh: str, first: int = 0) -> None:
    """Submit what both meters counted in quarter hours of the window."""
    for index, amount in enumerate(kwh, first):
        start = world.start + index * EPOCH
        world.now = max(world.now, start + EPOCH)
        world.submit("m-sell", start, generated=amount)
        world.submit("m-buy", start, consumed=amount)


def held(world: Market) -> int:
    return world.posted("alice", "USD") - world.available("alice", "USD")


def paid(world: Market) -> tuple[int, int, int]:
    """Return what buyer, seller and grid operator have more than before, in millionths."""
    before = 20_000_000
    return (
        world.posted("alice", "USD") - before,
        world.posted("bob", "USD"),
        world.posted("grid", "USD"),
    )


# What is held


@pytest.mark.parametrize(
    ("document", "kwh", "hours", "expected"),
    [
        pytest.param(T, 30, 6, 11_550_000, id="T: 30 x 0.30 x 1.2 + 30 x 0.025"),
        pytest.param(TIERS, 50, 6, 9_650_000, id="T6: 30 x 0.20 + 20 x 0.12 + 50 x 0.025"),
        pytest.param(
            tariff(element(energy("0.20", stepSize=500))),
            "10.2",
            6,
            2_355_000,
            id="T7: 10.5 x 0.20 + 10.2 x 0.025",
        ),
        pytest.param(
            tariff(
                element(
                    energy("0.20"),
                    {"type": "FLAT", "price": Decimal("0.50"), "vat": 10},
                    {"type": "TIME", "price": Decimal("0.40"), "stepSize": 3600},
                )
            ),
            5,
            1.5,
            2_475_000,
            id="T9: 1.00 + 0.55 + 2 h x 0.40 + 5 x 0.025",
        ),
        pytest.param(
            {**TIERS, "minPrice": {"exclVat": Decimal("0.18")}}, 50, 6, 10_250_000, id="T10: 9.00"
        ),
        pytest.param(
            {**TIERS, "maxPrice": {"exclVat": Decimal("0.15")}}, 50, 6, 8_750_000, id="T10: 7.50"
        ),
        pytest.param(
            tariff(element(energy("0.10"), maxKWh=4, times="16:00-17:00"), element(energy("0.30"))),
            10,
            1,
            2_450_000,
            id="tier before tier: 4 x 0.10 + 6 x 0.30 + 0.25, for it is never later",
        ),
        pytest.param(HALVES, 10, 1, 3_550_000, id="dear half: 10 x 0.30 x 1.1 + 0.25"),
        pytest.param(
            tariff(element(energy("0.000001", 100))), "1.5", 1, 37_504, id="1.5 and 1.5 are 2 and 2"
        ),
    ],
)
def test_held_is_what_the_dearest_delivery_costs(
    world: Market, document: dict[str, Any], kwh: object, hours: Any, expected: int
) -> None:
    window = {"start": world.start, "end": world.start + int(hours * 3_600_000)}
    zone = "Europe/Paris" if document is T else "UTC"
    agree(world, document, energy_amount_kwh=kwh, window=window, time_zone=zone)
    assert held(world) == expected


def test_vat_is_held_under_both_treatments(world: Market) -> None:
    agree(world, HALVES, vat_treatment="INCLUSIVE")
    assert held(world) == 3_550_000


# What a delivery costs


def test_an_uneven_delivery_costs_what_its_quarter_hours_cost(world: Market) -> None:
    # 3.5 + 3.5 kWh at 0.30 = 2.10, 2 + 0.5 at 0.12 = 0.30: 2.40; VAT 0.24; wheeling 9.5 x 0.025.
    number = agree(world, HALVES)
    quarters(world, "3.5", "3.5", "2", "0.5")
    world.tick()
    assert paid(world) == (-2_877_500, 2_640_000, 237_500)
    assert held(world) == 0
    view = agreement_view(world.ledger, "bpp", number, world.now)
    assert view is not None
    (part,) = view.transactions
    assert (part.value, part.vat, part.wheeling) == (2_400_000, 240_000, 237_500)
    assert view.paid == 2_877_500
    shown = world.read("agreements.get_transaction", transaction_no=part.transaction_no)
    assert (shown["value"], shown["vat"]) == ("2.40", "0.24")


def test_vat_within_the_prices_is_one_leg(world: Market) -> None:
    agree(world, HALVES, vat_treatment="INCLUSIVE")
    quarters(world, "3.5", "3.5", "2", "0.5")
    receipts = world.tick()
    assert paid(world) == (-2_877_500, 2_640_000, 237_500)
    (settled,) = [e for r in receipts for e in r.events if e.name == "PaymentSettled"]
    assert (settled.fields["value"], settled.fields["vat"]) == (2_640_000, 0)
    assert settled.fields["released"] == 672_500


def test_the_table_of_the_specification_to_its_end(world: Market) -> None:
    # T1: 20 kWh at 0.30 and 10 at 0.10: 7.00, VAT 1.40, wheeling 0.75.
    window = {"start": world.start, "end": world.start + 24 * EPOCH}
    agree(world, T, energy_amount_kwh=30, window=window, time_zone="Europe/Paris")
    quarters(world, *["1.25"] * 24)
    world.tick()
    assert paid(world) == (-9_150_000, 8_400_000, 750_000)


def test_a_unit_price_is_never_rounded(world: Market) -> None:
    # T12: 10 kWh over 3 h, a third at 0.20: 1.333333; 10 x 0.133333 would be 1.333330.
    document = tariff(element(energy("0.20"), times="16:00-17:00"), element(energy("0.10")))
    window = {"start": world.start, "end": world.start + 12 * EPOCH}
    agree(world, document, window=window)
    quarters(world, "0.833333", "0.833333", "0.833333", "0.833334", *["0.833333"] * 7, "0.833336")
    world.tick()
    # 3.333333 x 0.20 = 0.6666666, 6.666667 x 0.10 = 0.6666667, together 1.3333333.
    assert paid(world)[1] == 1_333_333


def test_nothing_delivered_costs_nothing(world: Market) -> None:
    agree(world, HALVES)
    quarters(world, "0", "0", "0", "0")
    world.tick()
    assert paid(world) == (0, 0, 0)
    assert held(world) == 0


def test_a_cancelled_agreement_frees_what_was_held(world: Market) -> None:
    number = agree(world, HALVES)
    world.do("agreements.cancel_agreement", "bap", "alice", agreement_no=number)
    assert world.available("alice", "USD") == 20_000_000


# Parts


def record(world: Market, number: int, until: int) -> int:
    args = {"agreement_no": number, "until": world.start + until * EPOCH}
    return int(world.do(DELIVER, "headend", **args).result["transaction_no"])


def test_parts_add_up_to_the_whole_flow_amount(world: Market) -> None:
    # Thirds of a cent: 0.333333 kWh at 0.50, three times, is 0.4999995, which rounds to 0.5000;
    # one by one they would be 0.166666 + 0.166666 + 0.166666.
    number = agree(world, tariff(element(energy("0.5", stepSize=1))))
    due = []
    for index in range(4):
        quarters(world, "0.333333" if index < 3 else "0", first=index)
        part = record(world, number, index + 1)
        before = world.posted("bob", "USD")
        world.do(SETTLE, "bap", "alice", transaction_no=part)
        due.append(world.posted("bob", "USD") - before)
    # 0.1666665 to even 0.166666, 0.333333 -, 0.4999995 to even 0.500000, then to 1.000 kWh: 0.50
    assert due == [166_666, 166_667, 166_667, 0]
    assert sum(due) == 500_000


def test_a_step_is_rounded_up_to_once_at_the_end(world: Market) -> None:
    # Steps of 1 kWh: 4 x 0.3 kWh are 1.2 kWh, charged as 2: 0.40, and not 4 times 1 kWh.
    number = agree(world, tariff(element(energy("0.20", stepSize=1000))))
    for index in range(4):
        quarters(world, "0.3", first=index)
        world.do(SETTLE, "bap", "alice", transaction_no=record(world, number, index + 1))
        assert world.posted("bob", "USD") == [60_000, 120_000, 180_000, 400_000][index]
    assert held(world) == 0


def test_vat_waits_where_bounds_may_lower_it(world: Market) -> None:
    # First 2 kWh at 1.00 with VAT 20 %, then 2 kWh at 9.00 without; at most 3.00 per kWh.
    # All: 20.00, at most 12.00; VAT 0.40 of 20.00 becomes 0.24 of 12.00.
    document = tariff(
        element(energy("1", 20), times="16:00-16:30"),
        element(energy("9")),
        maxPrice={"exclVat": 3},
    )
    number = agree(world, document, energy_amount_kwh=4)
    quarters(world, "1", "1")
    world.do(SETTLE, "bap", "alice", transaction_no=record(world, number, 2))
    assert world.posted("bob", "USD") == 2_000_000
    quarters(world, "1", "1", first=2)
    world.do(SETTLE, "bap", "alice", transaction_no=record(world, number, 4))
    assert world.posted("bob", "USD") == 12_240_000


def test_a_part_that_was_disputed_never_takes_money_back() -> None:
    world = Market(now=EVENING - EPOCH, start=EVENING)
    world.set_up(settled_with(dispute_window_s=3_600))
    document = tariff(element(energy("1"), maxKWh=2), element(energy("0.10")))
    number = agree(world, document, energy_amount_kwh=4)
    assert held(world) == 2_200_000 + 100_000
    quarters(world, "1", "1")
    first = record(world, number, 2)
    args = {"transaction_no": first, "claimed_quantity": "1", "reason": "half"}
    world.do("agreements.dispute_transaction", "bap", "alice", **args)
    quarters(world, "1", "1", first=2)
    second = record(world, number, 4)
    world.now += 3_600_000
    world.do(SETTLE, "bap", "alice", transaction_no=second)
    assert world.posted("bob", "USD") == 2_000_000  # alone: 2 kWh in the first tier
    args = {"transaction_no": first, "outcome": "AMEND", "quantity": "1"}
    world.do("agreements.resolve_dispute", "regulator", **args)
    assert world.posted("bob", "USD") == 2_100_000  # together: 2 x 1.00 + 1 x 0.10
    assert held(world) == 0


def test_a_voided_part_costs_nothing_and_the_rest_its_own_time() -> None:
    world = Market(now=EVENING - EPOCH, start=EVENING)
    world.set_up(settled_with(dispute_window_s=3_600))
    number = agree(world, HALVES)
    quarters(world, "2", "2")
    first = record(world, number, 2)
    args = {"transaction_no": first, "claimed_quantity": "0", "reason": "nothing came"}
    world.do("agreements.dispute_transaction", "bap", "alice", **args)
    args = {"transaction_no": first, "outcome": "VOID"}
    world.do("agreements.resolve_dispute", "regulator", **args)
    quarters(world, "2", "2", first=2)
    second = record(world, number, 4)
    world.now += 3_600_000
    world.do(SETTLE, "bap", "alice", transaction_no=second)
    assert world.posted("bob", "USD") == 528_000  # 4 x 0.12 x 1.1
    assert held(world) == 0


# What is refused


@pytest.mark.parametrize(
    ("document", "changes", "code", "told"),
    [
        pytest.param(T, {"price_per_kwh": 1}, "INVALID_INPUT", "not beside it", id="both"),
        pytest.param(None, {}, "INVALID_INPUT", "price_per_kwh: missing", id="neither"),
        pytest.param(
            None, {"price_per_kwh": 1, "time_zone": "UTC"}, "INVALID_INPUT", "time_zone", id="zone"
        ),
        pytest.param(
            T, {"time_zone": "Europe/Nowhere"}, "INVALID_INPUT", "time_zone", id="no zone"
        ),
        pytest.param(T, {"basis": "CONTRACTED"}, "INVALID_INPUT", "basis", id="basis"),
        pytest.param(
            {**T, "currency": "EUR"}, {}, "INVALID_INPUT", "tariff.currency", id="currency"
        ),
        pytest.param({**T, "elements": []}, {}, "INVALID_INPUT", "tariff.elements", id="empty"),
        pytest.param({**T, "price": 1}, {}, "INVALID_INPUT", "tariff.price", id="unknown part"),
        pytest.param(
            tariff(element(energy("0.1234567"))),
            {},
            "INVALID_INPUT",
            "priceComponents[0].price",
            id="fine",
        ),
        pytest.param(
            tariff(element(energy("0.1"), times="16:00-16:30")),
            {},
            "INVALID_INPUT",
            "no ENERGY price",
            id="gap",
        ),
        pytest.param(
            tariff(element(energy("0.1"), maxKWh=9)),
            {},
            "INVALID_INPUT",
            "for 9 kWh",
            id="gap above a tier",
        ),
        pytest.param(
            tariff(element(energy("0.1"), minKWh=5, maxKWh=5)),
            {},
            "INVALID_INPUT",
            "minKWh",
            id="tier",
        ),
        pytest.param(
            tariff(element(energy("0.1"), startTime="16:00")),
            {},
            "INVALID_INPUT",
            "come together",
            id="time",
        ),
        pytest.param(
            tariff(element(energy("0.1"), reservation="NOT_RESERVED")),
            {},
            "INVALID_INPUT",
            "reservation",
            id="walk-in",
        ),
        pytest.param(
            tariff(element(energy("1000000"), {"type": "FLAT", "price": 1_000_000})),
            {"energy_amount_kwh": 1_000_000},
            "INVALID_PRICE",
            "too much",
            id="too much",
        ),
        pytest.param(
            tariff(
                *[
                    element(energy("0.1"), times=f"{h:02}:{m:02}-{h:02}:{m + 1:02}")
                    for h in range(2)
                    for m in range(49)
                ],
                element(energy("0.2")),
            ),
            {"window": {"start": EVENING, "end": EVENING + 31 * 96 * EPOCH}},
            "INVALID_INPUT",
            "more than",
            id="work",
        ),
    ],
)
def test_a_tariff_that_could_not_be_settled_is_refused(
    world: Market, document: dict[str, Any] | None, changes: dict[str, Any], code: str, told: str
) -> None:
    args = world.terms(**changes)
    if "price_per_kwh" not in changes:
        del args["price_per_kwh"]
    if document is not None:
        args["tariff"] = document
    assert told in world.refused(code, CREATE, "bpp", "bob", **args).message


def test_a_window_beyond_all_calendars_is_refused(world: Market) -> None:
    far = 9_000_000_000_000_000 // EPOCH * EPOCH
    args = under(world, HALVES, window={"start": far, "end": far + EPOCH})
    world.refused("INVALID_INTERVAL", CREATE, "bpp", "bob", **args)


def test_a_sellers_fee_may_not_exceed_the_lowest_price() -> None:
    world = Market(now=EVENING - EPOCH, start=EVENING)
    world.set_up(settled_with(seller_fee="0.125"))
    world.refused("INVALID_PRICE", CREATE, "bpp", "bob", **under(world, HALVES))


# Journal


def test_the_journal_holds_the_tariff_in_millionths(world: Market) -> None:
    agree(world, HALVES, time_zone="Europe/Berlin")
    (entry,) = [
        found
        for stored in world.ledger.entries(-1, 1_000)
        if (found := parse_canonical(stored.body))["function"] == "create_agreement"
    ]
    prices = [{"price": "300000", "step": 1, "type": "ENERGY", "vat": "10000000"}]
    assert entry["args"]["tariff"]["elements"][0] == {"prices": prices, "start": 960, "end": 990}
    assert "price_per_kwh" not in entry["args"]
    assert entry["args"]["zone_offsets"] == [[EVENING, 3_600_000]]
    (event,) = [e for e in entry["events"] if e["name"] == "AgreementCreated"]
    assert "price" not in event


def test_entries_of_a_fixed_price_have_no_new_field(world: Market) -> None:
    number = world.agree()
    quarters(world, "2.5", "2.5", "2.5", "2.5")
    world.tick()
    assert world.posted("bob", "USD") == 1_500_000
    entries = [parse_canonical(stored.body) for stored in world.ledger.entries(-1, 1_000)]
    (created,) = [entry for entry in entries if entry["function"] == "create_agreement"]
    assert created["args"].keys() == world.terms().keys()
    events = {event["name"]: event for entry in entries for event in entry["events"]}
    assert events["AgreementCreated"]["price"] == "150000"
    assert "vat" not in events["PaymentSettled"]
    shown = world.read("agreements.get_agreement", agreement_no=number)
    assert shown["price_per_kwh"] == "0.15"
    assert "tariff" not in shown


def test_an_agreement_shows_its_tariff(world: Market) -> None:
    shown = world.read("agreements.get_agreement", agreement_no=agree(world, HALVES))
    assert (shown["time_zone"], shown["vat_treatment"]) == ("UTC", "EXCLUSIVE")
    assert shown["tariff"]["elements"][1]["prices"][0]["price"] == "120000"
    assert "price_per_kwh" not in shown


def test_a_tariff_on_the_wire_and_its_canonical_form_are_one_command() -> None:
    one = tariff(element(energy("0.30"), minKWh=0, dayOfWeek=["SUNDAY", "MONDAY"]))
    other = tariff(element(energy("0.3"), dayOfWeek=["MONDAY", "SUNDAY"]), type="REGULAR", _x=1)
    args = Market().terms()
    del args["price_per_kwh"]
    first, second = (
        parse_command("c", "agreements", "create_agreement", {**args, "tariff": document})
        for document in (one, other)
    )
    assert first == second


def test_later_zone_data_changes_no_price(world: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(world, HALVES, time_zone="UTC")
    monkeypatch.setattr("adapter.settlement.agreed_tariff.find_zone", lambda _: None)
    monkeypatch.setattr(zones, "find_zone", lambda _: None)
    quarters(world, "3.5", "3.5", "2", "0.5")
    world.tick()
    assert paid(world) == (-2_877_500, 2_640_000, 237_500)
    entries = [entry.body for entry in world.ledger.entries(-1, 1_000)]
    assert verify(entries, MemoryLedger(), stored=world.ledger).ok


def test_the_offsets_are_the_hosts_to_say(world: Market) -> None:
    args = under(world, HALVES, zone_offsets=[[EVENING, 0]])
    assert "zone_offsets" in world.refused("INVALID_INPUT", CREATE, "bpp", "bob", **args).message
    command = parse_command("c", "agreements", "create_agreement", under(world, HALVES))
    for offsets in ([], [[EVENING + EPOCH, 0]], [[EVENING, 10**9]], [[EVENING, 0], [EVENING, 1]]):
        made = replace(command, args={**command.args, "zone_offsets": offsets})
        with pytest.raises(ContractError) as caught:
            execute(world.ledger, made, "bpp", world.now, on_behalf_of="bob")
        assert caught.value.code == "INVALID_INPUT"


def test_a_canonical_tariff_is_checked_like_one_from_the_wire(world: Market) -> None:
    command = parse_command("c", "agreements", "create_agreement", under(world, HALVES))
    good = command.args["tariff"]
    cases: tuple[Any, ...] = (
        {**good, "elements": []},
        {**good, "currency": 7},
        {**good, "note": "x"},
        {**good, "elements": [{"prices": []}]},
        {
            **good,
            "elements": [{"prices": [{"type": "ENERGY", "price": "01", "vat": "0", "step": 1}]}],
        },
        {**good, "elements": [{**good["elements"][0], "days": [8]}]},
        {**good, "min_price": "2", "max_price": "1"},
        [],
    )
    for wrong in cases:
        made = replace(command, args={**command.args, "tariff": wrong})
        with pytest.raises(ContractError) as caught:
            execute(world.ledger, made, "bpp", world.now, on_behalf_of="bob")
        assert caught.value.code == "INVALID_INPUT", wrong


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_ledger_verifies_from_genesis(kind: str) -> None:
    world = Market(now=EVENING - EPOCH, start=EVENING)
    if kind == "sqlite":
        world.ledger = sqlite_ledger()
    world.set_up()
    agree(world, HALVES, time_zone="Europe/Berlin")
    quarters(world, "3.5", "3.5", "2", "0.5")
    world.tick()
    assert world.posted("bob", "USD") == 1_254_000  # all in the cheap time: 9.5 x 0.12 x 1.1
    entries = [entry.body for entry in world.ledger.entries(-1, 1_000)]
    verdict = verify(entries, MemoryLedger(), stored=world.ledger)
    assert verdict.ok, verdict
