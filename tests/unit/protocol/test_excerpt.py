"""A large message is explained from a part of it, in bounded time and memory."""

from collections.abc import Callable
from typing import Any

import pytest

from adapter.protocol.excerpt import MAX_EXPLAINED, excerpt, has_more_than
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.protocol.validation import SchemaEngine
from adapter.store.documents import load_bundle
from tests.unit.protocol.messages import Message, contract, dlv, f, inputs, o

BUNDLE = load_bundle()
ENGINES: list[Any] = [Schemas(BUNDLE), PythonSchemas(BUNDLE)]
KNOWN = frozenset({"role", "filled"})


def flood(name: str) -> tuple[str, Message]:
    """Return action and a message of about 256 KiB with very many faults."""
    many = {f"k{n}": 1 for n in range(24_000)}
    message = f()
    floods: dict[str, Callable[[], object]] = {
        "keys": lambda: contract(message).update(many),
        "inputs": lambda: inputs(message, "SELLER").update(many),
        "roles that are numbers": lambda: contract(message).update(roles=[0] * 125_000),
        "roles that are empty": lambda: contract(message).update(roles=[{}] * 80_000),
        "sources that are empty": lambda: contract(message).update(telemetrySources=[{}] * 80_000),
    }
    floods[name]()
    return "on_confirm", message


FLOODS = [
    "keys",
    "inputs",
    "roles that are numbers",
    "roles that are empty",
    "sources that are empty",
]


@pytest.mark.parametrize("engine", ENGINES, ids=["rs", "py"])
@pytest.mark.parametrize("name", FLOODS)
def test_s18_a_flood_of_faults_is_explained_in_bounded_time(
    name: str, engine: SchemaEngine
) -> None:
    action, message = flood(name)
    found = engine.check(action, message)
    assert 1 <= len(found) <= 100


@pytest.mark.parametrize("name", FLOODS)
def test_both_engines_explain_a_flood_alike(name: str) -> None:
    action, message = flood(name)
    assert ENGINES[0].check(action, message) == ENGINES[1].check(action, message)


@pytest.mark.parametrize("engine", ENGINES, ids=["rs", "py"])
def test_a_large_valid_message_has_nothing_to_explain(engine: SchemaEngine) -> None:
    message = dlv()
    readings = message["message"]["order"]["beckn:fulfillments"][0]["beckn:attributes"]
    readings["meterReadings"] = readings["meterReadings"] * 500
    assert has_more_than(MAX_EXPLAINED, message)
    assert engine.check("on_status", message) == ()


@pytest.mark.parametrize("engine", ENGINES, ids=["rs", "py"])
def test_a_fault_behind_the_excerpt_is_reported_at_the_root(engine: SchemaEngine) -> None:
    message = o()
    offers = message["message"]["catalogs"][0]["beckn:offers"]
    offers[:] = [offers[0]] * 400 + [{**offers[0], "beckn:offerAttributes": {"offerId": 1}}]
    (finding,) = engine.check("on_discover", message)
    assert (finding.code, finding.path) == ("SCH_SCHEMA_VALIDATION_FAILED", "$")
    assert "only the first" in finding.message


def test_an_excerpt_keeps_known_keys_and_the_first_of_the_others() -> None:
    value = {**{f"k{n}": n for n in range(5)}, "role": 1, "roles": list(range(9))}
    kept = excerpt(value, frozenset({"role", "roles"}), width=2)
    assert kept == {"k0": 0, "k1": 1, "role": 1, "roles": [0, 1]}


def test_a_small_value_is_its_own_excerpt() -> None:
    value = {"a": [1, {"b": 2}]}
    assert excerpt(value, KNOWN, width=10) == value


@pytest.mark.parametrize(
    ("value", "more"),
    [
        pytest.param([0] * 4, False, id="five values"),
        pytest.param([0] * 5, True, id="six values"),
        pytest.param({"a": {"b": [1, 2]}}, False, id="nested five"),
        pytest.param(1, False, id="one"),
    ],
)
def test_values_are_counted(value: object, more: bool) -> None:
    assert has_more_than(5, value) is more
