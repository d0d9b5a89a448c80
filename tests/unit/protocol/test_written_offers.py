"""Offers that are written down once, as long as they stay the same."""

from dataclasses import replace

import pytest

from adapter.protocol.catalogue import catalogue_item, catalogue_offer, seller_inputs, written
from adapter.protocol.contract import formulas_of
from adapter.protocol.decision import Identity
from tests.store.samples import offer

ME = Identity("bpp.example.com", "https://bpp.example.com")


def test_an_offer_is_written_once_and_says_what_the_catalogue_says() -> None:
    sample = offer("written-once")
    first = written(sample, ME, cascades=True)
    assert first.item == catalogue_item(sample)
    assert first.terms.shown == catalogue_offer(sample, ME, cascades=True)
    assert first.terms.inputs == seller_inputs(sample)
    assert written(sample, ME, cascades=True) is first
    assert written(replace(sample), ME, cascades=True) is first


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"available_micro_kwh": 1}, id="stock taken"),
        pytest.param({"price_micro_per_kwh": 160_000}, id="published again at another price"),
        pytest.param({"valid_until_ms": 5_000}, id="another end"),
    ],
)
def test_an_offer_that_has_changed_is_written_again(changed: dict[str, int]) -> None:
    sample = offer("written-again")
    written(sample, ME, cascades=True)
    other = replace(sample, **changed)  # type: ignore[arg-type]
    again = written(other, ME, cascades=True)
    assert again.offer == other
    assert again.item == catalogue_item(other)
    assert again.terms.shown == catalogue_offer(other, ME, cascades=True)
    assert again.terms.inputs == seller_inputs(other)


def test_what_is_said_of_an_offer_stays_while_its_stock_is_taken() -> None:
    sample = offer("stock-taken")
    first = written(sample, ME, cascades=True)
    again = written(replace(sample, available_micro_kwh=1), ME, cascades=True)
    assert again.terms is first.terms
    assert again.item != first.item


@pytest.mark.parametrize("cascades", [False, True])
def test_the_formulas_are_those_of_the_contract_that_is_shown(cascades: bool) -> None:
    terms = written(offer("formulas"), ME, cascades=cascades).terms
    assert terms.formulas == formulas_of(terms.shown["beckn:offerAttributes"]["contract"])


def test_what_is_written_differs_by_node_and_by_whether_an_operator_takes_part() -> None:
    sample, other = offer("written-for"), Identity("b.example.com", "https://b.example.com")
    alone, cascading = (written(sample, ME, cascades=cascades) for cascades in (False, True))
    assert set(alone.terms.formulas) < set(cascading.terms.formulas)
    theirs = written(sample, other, cascades=True)
    assert theirs.terms.shown["beckn:offerAttributes"]["providerId"] == "b.example.com"
    assert written(sample, ME, cascades=True).terms.shown == cascading.terms.shown
