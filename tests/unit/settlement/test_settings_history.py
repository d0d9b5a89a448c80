"""What was in force at an instant stays so, whatever is changed later."""

from adapter.domain.instants import EPOCH_MS
from adapter.settlement.rows import Parameters
from adapter.settlement.work import effective_settings
from tests.unit.settlement.world import Market


def test_two_changes_leave_the_past_as_it_was() -> None:
    world = Market().set_up()
    before = effective_settings(world.ledger.get(Parameters, ""), world.now)
    world.do("registry.set_parameter", "admin", name="lot_energy", value="0.01")
    world.do("registry.set_parameter", "admin", name="price_tick", value="0.0001")
    first = world.now
    world.now += EPOCH_MS
    world.do("registry.set_parameter", "admin", name="price_tick", value="0.001")
    world.now += EPOCH_MS
    parameters = world.ledger.get(Parameters, "")
    then = effective_settings(parameters, first)
    assert (then.lot_energy, then.price_tick) == (before.lot_energy, before.price_tick)
    middle = effective_settings(parameters, first + EPOCH_MS)
    assert (middle.lot_energy, middle.price_tick) == (10_000, 100)
    now = effective_settings(parameters, world.now)
    assert (now.lot_energy, now.price_tick) == (10_000, 1_000)


def test_a_second_change_within_an_epoch_takes_the_place_of_the_first() -> None:
    world = Market().set_up()
    for seconds in (60, 120):
        world.do("registry.set_parameter", "admin", name="dispute_window_s", value=seconds)
    parameters = world.ledger.get(Parameters, "")
    assert parameters is not None
    assert effective_settings(parameters, world.now).dispute_window_s == 0
    assert effective_settings(parameters, world.now + EPOCH_MS).dispute_window_s == 120
    assert [row[0] for row in parameters.values].count("dispute_window_s") == 2
