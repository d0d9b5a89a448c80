"""Two engines over one schema: whatever is done to a message, they find the same."""

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.protocol.rules import check_message
from adapter.protocol.schemas import Schemas
from adapter.protocol.schemas_py import PythonSchemas
from adapter.store.documents import load_bundle
from tests.unit.protocol.messages import (
    Message,
    casc,
    contract,
    dlv,
    f,
    m,
    m_init,
    o,
    p,
    q,
    t,
    t_delivered,
)

BUNDLE = load_bundle()
FAST = Schemas(BUNDLE)
SLOW = PythonSchemas(BUNDLE)
BUILDERS: dict[str, Callable[[], Message]] = {
    "F": f,
    "P": p,
    "O": o,
    "D": dlv,
    "Q": q,
    "casc": casc,
    "T": t,
    "T delivered": lambda: t_delivered(("16:00", 0), ("22:00", 30)),
    "M": m,
    "M init": m_init,
}

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
    st.sampled_from(
        [
            "",
            "x",
            "NUMBER",
            "STRING",
            "DATE_TIME",
            "SELLER",
            "CONSUMER",
            "PROSUMER",
            "ACTIVE",
            "EUR",
            "2026-03-02T09:00:00Z",
            "2026-02-30T09:00:00Z",
            "2026-03-02t09:00:00.5+23:59",
            "2026-12-31T23:59:60Z",
            "2026-12-31T22:59:60Z",
            "9999-12-31T23:59:59-23:59",
            "https://x.example",
            "x:y z",
            Decimal("8.0"),
            Decimal("0E-30"),
        ]
    ),
    st.text(max_size=4),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["type", "required", "value", "_x", "@type", "role", "filled", "é"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["_note", "extra", "tariff", "offerCurve", "@type", "wheelingCharges"])


def places(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the place of every value below a message's root."""
    found: list[tuple[str | int, ...]] = []
    items: list[tuple[str | int, object]] = []
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    for key, value in items:
        found += [(*path, key), *places(value, (*path, key))]
    return found


@st.composite
def altered(draw: st.DrawFn) -> tuple[str, Message]:
    """Give a message with up to four values replaced, removed or added."""
    message = BUILDERS[draw(st.sampled_from(sorted(BUILDERS)))]()
    action = message["context"]["action"]
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(places(message)))
        parent: Any = message
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[path[-1]] = draw(VALUES)
            case "remove":
                del parent[path[-1]]
            case _:
                if isinstance(parent, dict):
                    parent[draw(KEYS)] = draw(VALUES)
        if not places(message):
            break
    return action, message


@given(altered())
def test_the_engines_find_the_same_in_an_altered_message(pair: tuple[str, Message]) -> None:
    action, message = pair
    assert FAST.check(action, message) == SLOW.check(action, message)


@given(altered())
def test_the_rules_read_whatever_passed_the_schema(pair: tuple[str, Message]) -> None:
    action, message = pair
    before = copy.deepcopy(message)
    check_message(action, message, schema_findings=FAST.check(action, message))
    assert message == before


BROKEN: dict[str, Callable[[Message], object]] = {
    "no seller inputs": lambda c: c["roles"][0].pop("roleInputs"),
    "negative price": lambda c: c["roles"][0]["roleInputs"].update(pricePerKWh=Decimal("-0.1")),
    "free energy": lambda c: c["roles"][0]["roleInputs"].update(pricePerKWh=0),
    "no quantity": lambda c: c["roles"][1]["roleInputs"].pop("contractedQuantity"),
    "text for a number": lambda c: c["roles"][1]["roleInputs"].update(contractedQuantity="8"),
    "unknown key": lambda c: c.update(price=1),
    "unknown input": lambda c: c["roles"][1]["roleInputs"].update(pricePerKWh=1),
    "unknown role": lambda c: c["roles"][0].update(role="OWNER"),
    "nobody fills it": lambda c: c["roles"][1].update(filledBy=None),
    "no status": lambda c: c.pop("status"),
    "no contract id": lambda c: c.update(contractId=""),
    "no roles": lambda c: c.update(roles=[]),
    "other envelope": lambda c: c["roles"][0]["roleInputs"].update(
        pricePerKWh={"type": "ROUTE", "required": True, "value": 1}
    ),
    "flow without formula": lambda c: c["revenueFlows"]["flows"][0].pop("formula"),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
@given(harmless=st.dictionaries(st.sampled_from(["_a", "_b"]), VALUES, max_size=2))
def test_a_broken_contract_is_accepted_by_neither(name: str, harmless: dict[str, Any]) -> None:
    message = f()
    contract(message).update(harmless)
    BROKEN[name](contract(message))
    assert FAST.check("on_confirm", message)
    assert SLOW.check("on_confirm", message)
