"""Readings that are wrong, by every way in: the documented code, and nothing changed.

Ways in are a reading of its own, the answer to a request, a block, and a correction.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.settlement.test_reading_blocks import HEAD_END, metered, signed
from tests.unit.settlement.world import EPOCH, NOON, World

Args = dict[str, Any]


@pytest.fixture
def world() -> World:
    """Return a ledger: meter m-1 has a reading of noon, m-2 a request for it, both one key."""
    world = World().open()
    for user in ("alice", "bob"):
        world.user(user)
    metered(world, ("m-1", "alice"), ("m-2", "bob"))
    world.keys |= {"m-1": HEAD_END, "m-2": HEAD_END}
    world.now = NOON + EPOCH
    world.submit("m-1", NOON, generated=1)
    world.do("oracle.request_energy_data", "bob", meter_id="m-2")
    return world


def reading(world: World, meter: str, start: int, generated: object) -> tuple[str, Args]:
    return "oracle.submit_reading", {"meter_data": world.signed(meter, start, generated)}


def answer(world: World, meter: str, start: int, generated: object) -> tuple[str, Args]:
    data = world.signed(meter, start, generated)
    return "oracle.fulfill_energy_data", {"request_no": 1, "meter_data": data}


def block(_world: World, meter: str, start: int, generated: object) -> tuple[str, Args]:
    number, quarter = int(meter[-1]), (start - NOON) // EPOCH
    return "oracle.submit_readings", dict(signed((number, quarter, int(str(generated)), 0)))


def correction(world: World, meter: str, start: int, generated: object) -> tuple[str, Args]:
    data = world.signed(meter, start, generated)
    return "oracle.correct_reading", {"meter_id": "m-1", "interval": NOON, "meter_data": data}


Way = Callable[[World, str, int, object], tuple[str, Args]]


@pytest.mark.parametrize(
    ("way", "meter", "start", "generated", "code"),
    [
        pytest.param(answer, "m-1", NOON, 1, "METER_MISMATCH", id="answer: another meter"),
        pytest.param(answer, "m-2", NOON - EPOCH, 1, "METER_MISMATCH", id="answer: other interval"),
        pytest.param(correction, "m-2", NOON, 1, "METER_MISMATCH", id="correction: another meter"),
        pytest.param(reading, "m-1", NOON, 2, "READING_CONFLICT", id="a second reading"),
        pytest.param(block, "m-1", NOON, 2, "READING_CONFLICT", id="block: a second reading"),
        pytest.param(reading, "m-2", NOON, 4, "CAPACITY_EXCEEDED", id="above capacity"),
        pytest.param(answer, "m-2", NOON, 4, "CAPACITY_EXCEEDED", id="answer: above capacity"),
        pytest.param(block, "m-2", NOON, 4, "CAPACITY_EXCEEDED", id="block: above capacity"),
        pytest.param(
            correction, "m-1", NOON, 4, "CAPACITY_EXCEEDED", id="correction: above capacity"
        ),
        pytest.param(reading, "m-2", NOON + EPOCH, 1, "INTERVAL_NOT_ENDED", id="too early"),
        pytest.param(block, "m-2", NOON + EPOCH, 1, "INTERVAL_NOT_ENDED", id="block: too early"),
        pytest.param(reading, "m-2", NOON - EPOCH, 1, "METER_MISMATCH", id="no owner then"),
    ],
)
def test_a_wrong_reading_is_refused(
    world: World, way: Way, meter: str, start: int, generated: object, code: str
) -> None:
    name, args = way(world, meter, start, generated)
    world.refused(code, name, "headend", **args)


@pytest.mark.parametrize("way", [reading, answer, block, correction])
@pytest.mark.parametrize("caller", ["alice", "bob", "regulator", "grid", "stranger"])
def test_only_metering_head_ends_bring_readings(world: World, way: Way, caller: str) -> None:
    name, args = way(world, "m-2", NOON, 1)
    world.refused("NOT_ORACLE_OPERATOR", name, caller, **args)


@pytest.mark.parametrize("way", [reading, answer, correction])
def test_a_reading_is_signed_by_its_own_meter(world: World, way: Way) -> None:
    name, args = way(world, "m-1" if way is correction else "m-2", NOON, 1)
    for part, value in (("generated", 2), ("signature", "A" * 86 + "==")):
        changed = {**args, "meter_data": {**args["meter_data"], part: value}}
        world.refused("INVALID_SIGNATURE", name, "headend", **changed)


def test_an_expired_request_is_answered_by_nothing(world: World) -> None:
    world.now += 600_001
    name, args = answer(world, "m-2", NOON, 1)
    world.refused("REQUEST_EXPIRED", name, "headend", **args)


@pytest.mark.parametrize("way", [reading, answer, block])
def test_a_command_repeated_with_another_body_is_a_conflict(world: World, way: Way) -> None:
    name, args = way(world, "m-2", NOON, 1)
    first = world.do(name, "headend", cmd="r-1", **args)
    again = world.do(name, "headend", cmd="r-1", **args)
    assert (again.replayed, again.seq) == (True, first.seq)
    _, other = way(world, "m-2", NOON, 2)
    world.refused("IDEMPOTENCY_CONFLICT", name, "headend", cmd="r-1", **other)


@pytest.mark.parametrize("way", [reading, answer, correction])
@pytest.mark.parametrize(
    ("part", "value", "code"),
    [
        pytest.param("generated", "-1", "INVALID_ENERGY_AMOUNT", id="negative"),
        pytest.param("generated", "1.0000001", "INVALID_ENERGY_AMOUNT", id="seven decimals"),
        pytest.param("consumed", 10**7, "INVALID_ENERGY_AMOUNT", id="above every bound"),
        pytest.param("end", NOON + 2 * EPOCH, "INVALID_INTERVAL", id="two intervals"),
        pytest.param("meter_id", "a|b", "INVALID_INPUT", id="no id"),
        pytest.param("voltage", 230, "INVALID_INPUT", id="a part that no reading has"),
    ],
)
def test_malformed_readings_are_refused_before_roles(
    world: World, way: Way, part: str, value: object, code: str
) -> None:
    name, args = way(world, "m-2", NOON, 1)
    changed = {**args, "meter_data": {**args["meter_data"], part: value}}
    world.refused(code, name, "stranger", **changed)
