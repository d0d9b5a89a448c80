"""Cleared power as energy: both sides of a market stay equal."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.instants import EPOCH_MS, DeliveryInterval
from adapter.domain.market import EPOCHS_PER_HOUR, cleared_energies
from adapter.domain.quantities import Energy

HOUR = DeliveryInterval(0, 4 * EPOCH_MS)
QUARTER = DeliveryInterval(0, EPOCH_MS)


def in_micro(energies: dict[str, Energy]) -> dict[str, int]:
    return {key: energy.micro_kwh for key, energy in energies.items()}


def test_an_hour_turns_kilowatts_into_as_many_kilowatt_hours() -> None:
    cleared = cleared_energies({"load": -4_716_981, "pv": 4_716_981}, HOUR)
    assert in_micro(cleared) == {"load": 4_716_981, "pv": 4_716_981}


def test_units_left_over_go_to_the_largest_remainders_and_then_by_key() -> None:
    """3, 2 and 2 quarters of a millionth are left: one unit for b, the other one for a."""
    cleared = cleared_energies({"a": 6, "b": 7, "c": 6, "buyer": -19}, QUARTER)
    assert in_micro(cleared) == {"a": 1, "b": 2, "c": 1, "buyer": 4}
    cleared = cleared_energies({"a": 6, "b": 7, "c": 7, "buyer": -20}, QUARTER)
    assert in_micro(cleared) == {"a": 1, "b": 2, "c": 2, "buyer": 5}


def test_who_clears_nothing_gets_no_energy() -> None:
    assert in_micro(cleared_energies({"a": 0, "b": 0}, HOUR)) == {"a": 0, "b": 0}


POWERS = st.lists(st.integers(0, 10**9), min_size=1, max_size=6)


@given(exports=POWERS, cuts=st.lists(st.integers(0, 100), min_size=1, max_size=6),
       quarters=st.integers(1, 96))  # fmt: skip
def test_what_is_bought_is_what_is_sold_and_nobody_is_a_unit_off(
    exports: list[int], cuts: list[int], quarters: int
) -> None:
    total, weight = sum(exports), sum(cuts) or 1
    withdrawals = [total * cut // weight for cut in cuts]
    withdrawals[0] += total - sum(withdrawals)
    powers = {f"s{i}": power for i, power in enumerate(exports)}
    powers |= {f"b{i}": -power for i, power in enumerate(withdrawals)}
    energies = in_micro(cleared_energies(powers, DeliveryInterval(0, quarters * EPOCH_MS)))
    sold = sum(energy for key, energy in energies.items() if key.startswith("s"))
    assert sold == sum(energies.values()) - sold == total * quarters // EPOCHS_PER_HOUR
    for key, power in powers.items():
        exact = Fraction(abs(power) * quarters, EPOCHS_PER_HOUR)
        assert abs(energies[key] - exact) < 1
