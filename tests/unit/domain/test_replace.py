"""The quick replacement of fields does what the standard library's does."""

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.offers import Offer
from adapter.domain.once import once
from adapter.domain.replace import replace
from adapter.domain.trade import Trade, TradeState
from tests.store.samples import offer, trade


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        pytest.param(trade(), {"state": TradeState.SELECTED, "contract_id": "c1"}, id="a trade"),
        pytest.param(trade(), {}, id="nothing"),
        pytest.param(offer("o1"), {"available_micro_kwh": 1}, id="a value with slots"),
    ],
)
def test_it_returns_what_the_standard_one_returns(
    value: Trade | Offer, changes: dict[str, Any]
) -> None:
    before = repr(value)
    changed = replace(value, **changes)
    assert changed == dataclasses.replace(value, **changes)
    assert repr(value) == before


@dataclasses.dataclass(frozen=True)
class Doubled:
    number: int

    @once
    def twice(self) -> int:
        return 2 * self.number


def test_what_was_worked_out_of_the_old_fields_is_worked_out_again() -> None:
    one = Doubled(1)
    assert one.twice == 2
    assert replace(one, number=3).twice == 6


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError):
        replace(trade(), price=Decimal(1))  # type: ignore[call-arg]


def test_a_trade_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        replace(trade(), version=2).version = 3  # type: ignore[misc]
