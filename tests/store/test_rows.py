"""Values survive the way to columns and back, whatever they hold."""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.domain.offers import Offer
from adapter.domain.trade import Trade
from adapter.service.records import Asked, InboxRow, OutboxRow
from adapter.store import rows
from tests.store.samples import trade

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-(10**40) + 1, 10**40 - 1)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: abs(number.adjusted()) < 1_000
)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | DECIMALS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a type hint of a stored dataclass."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXTS,
        int: INTEGERS,
        bool: st.booleans(),
        bytes: st.binary(max_size=20),
        type(None): st.none(),
    }
    origin = typing.get_origin(hint)
    if hint in simple:
        return simple[hint]
    if is_dataclass(hint):
        return instances(typing.cast("type[Any]", hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if origin is Mapping and typing.get_args(hint)[1] is Any:
        return OBJECTS
    if origin is Mapping:
        return st.dictionaries(TEXTS, values_of(typing.get_args(hint)[1]), max_size=3)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(option) for option in typing.get_args(hint)])
    if origin is tuple and typing.get_args(hint)[-1] is ...:
        return st.lists(values_of(typing.get_args(hint)[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(option) for option in typing.get_args(hint)))
    raise TypeError(hint)


def instances(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for all values of a dataclass."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: values_of(hints[field.name]) for field in fields(cls)})


def kinds(value: object) -> object:
    """Return the value with each number as its type and digits, so that 1 is not 1.0."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [kinds(item) for item in value]
    assert not isinstance(value, float)
    return str(value) if isinstance(value, Decimal) else value


def read(sample: Trade) -> Trade:
    """Return a trade as a process reads it that has not written it."""
    document = rows.trade_document(sample)
    rows._WRITTEN.clear()
    return rows.trade_from(document)


@given(instances(Trade))
def test_a_trade_survives(sample: Trade) -> None:
    found = read(sample)
    assert found == sample
    assert type(found.state) is type(sample.state)
    assert type(found.flags) is tuple


@given(OBJECTS)
def test_numbers_of_an_order_stay_digit_by_digit(order: dict[str, Any]) -> None:
    found = read(trade(order=order))
    assert _kinds_but_whole(found.order) == _kinds_but_whole(order)


def _kinds_but_whole(value: object) -> object:
    """Return `kinds`, where a whole Decimal counts as the integer that JSON makes of it."""
    if isinstance(value, dict):
        return {key: _kinds_but_whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_kinds_but_whole(item) for item in value]
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return int(value)
    return kinds(value)


@given(instances(Asked))
def test_a_request_survives(sample: Asked) -> None:
    values = rows.asked_values(sample)
    assert len(values) == len(rows.ASKED_COLUMNS)
    assert rows.asked_from(values) == sample


@given(instances(InboxRow))
def test_a_message_in_survives(sample: InboxRow) -> None:
    assert rows.inbox_from(rows.inbox_values(sample)) == sample


@given(instances(Offer))
def test_an_offer_survives(sample: Offer) -> None:
    *_, document = rows.offer_values(sample)
    found = rows.offer_from(document)
    assert found == sample
    assert isinstance(found.withdrawn, bool)


@given(instances(OutboxRow))
def test_a_message_out_survives(sample: OutboxRow) -> None:
    stored = dict(zip(rows.OUTBOX_STORED, rows.outbox_values(sample), strict=True))
    columns = {**stored, "id": sample.id, "body": sample.body}
    assert rows.outbox_from([columns[name] for name in rows.OUTBOX_COLUMNS]) == sample
    changed = dict(zip(rows.OUTBOX_CHANGED, rows.outbox_changes(sample), strict=True))
    assert changed.items() <= stored.items()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("0.10", Decimal("0.10"), id="the last zero stays"),
        pytest.param("1E+2", Decimal("1E+2"), id="an exponent stays"),
        pytest.param("-0.0", Decimal("-0.0"), id="the sign of zero stays"),
        pytest.param(str(10**40), 10**40, id="an integer is as long as it is"),
        pytest.param(
            "0.1000000000000000055511151231257827",
            Decimal("0.1000000000000000055511151231257827"),
            id="no double in between",
        ),
    ],
)
def test_numbers_are_read_as_written(written: str, read: Decimal | int) -> None:
    found = rows.object_from(f'{{"number":{written}}}')["number"]
    assert (type(found), str(found)) == (type(read), str(read))


def test_an_older_trade_gets_the_defaults_of_newer_fields() -> None:
    peer = '{"subscriber_id":"a","uri":"u"}'
    document = f'{{"side":"bpp","transaction_id":"t1","peer":{peer},"dialect":"draft"}}'
    assert rows.trade_from(document).flags == ()


def test_a_field_that_is_gone_is_passed_over() -> None:
    document = rows.trade_document(trade()).replace('{"side"', '{"gone":[1],"side"')
    assert rows.trade_from(document) == trade()


def test_a_deeply_nested_order_can_be_read_back() -> None:
    """A body of the greatest depth lies deeper inside a trade than it lay on the wire."""
    order: dict[str, Any] = {}
    for _ in range(70):
        order = {"inner": order}
    assert read(trade(order=order)).order == order


def test_a_trade_that_was_written_here_is_not_decoded() -> None:
    sample = trade("written-here", order={"beckn:id": "o1"})
    assert rows.trade_from(rows.trade_document(sample)) is sample


def test_another_version_of_a_trade_is_another_document() -> None:
    first, second = trade("versions", version=1), trade("versions", version=2)
    documents = [rows.trade_document(one) for one in (first, second)]
    assert [rows.trade_from(one) for one in documents] == [first, second]


def test_more_trades_than_are_kept_and_longer_ones_are_read_as_well() -> None:
    long = trade("long", order={"beckn:id": "o" * rows.KEPT_CHARACTERS})
    documents = [rows.trade_document(long)]
    trades = [long, *(trade(f"kept-{number}") for number in range(rows.KEPT_TRADES + 1))]
    documents += map(rows.trade_document, trades[1:])
    assert [rows.trade_from(document) for document in documents] == trades
    assert len(rows._WRITTEN) <= rows.KEPT_TRADES
