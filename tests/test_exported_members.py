"""The public surface: exactly these names, documented, typed, and loaded only when used."""

import ast
import inspect
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

import adapter
from adapter import (
    AdapterError,
    Order,
    clear_book,
    compute_tariff,
    evaluate_flows,
    sign_message,
    validate_message,
    verify_message,
)
from adapter.protocol import strict_json
from adapter.settlement import clearing_orders
from tests.unit.protocol.messages import contract, f, inputs, t

CLASSES = [
    "AdapterError",
    "ClearedOrders",
    "Finding",
    "FlowReport",
    "Order",
    "Report",
    "TariffPrice",
]
FUNCTIONS = {
    "clear_book": ["orders", "tick", "rule"],
    "compute_tariff": ["tariff", "start", "end", "kwh", "time_zone", "profile"],
    "evaluate_flows": ["contract", "quantity_kwh", "delivered_kwh", "time_zone"],
    "sign_message": ["body", "subscriber_id", "key_id", "seed", "created_s", "expires_s"],
    "validate_message": ["message", "profile"],
    "verify_message": ["body", "header", "public_key", "now_s"],
}
STUB = Path(adapter.__file__).with_suffix(".pyi")
SEED = bytes(range(32))
PUBLIC_KEY = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
BODY = b'{"a":1}'
SIGNED_AT = 1_772_438_400


def test_the_names_are_these() -> None:
    assert sorted(adapter.__all__) == sorted([*CLASSES, *FUNCTIONS])
    assert dir(adapter) == sorted(adapter.__all__)
    for name in adapter.__all__:
        assert getattr(adapter, name).__name__ == name


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'validate'"):
        adapter.validate  # type: ignore[attr-defined]  # noqa: B018  # the access is the test


def test_the_stub_has_the_same_names() -> None:
    tree = ast.parse(STUB.read_text())
    imported = [
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(imported) == sorted(adapter.__all__)


@pytest.mark.parametrize(("name", "parameters"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_a_function_is_documented_and_typed(name: str, parameters: list[str]) -> None:
    function = getattr(adapter, name)
    signature = inspect.signature(function)
    text = inspect.getdoc(function) or ""
    assert list(signature.parameters) == parameters
    assert all(
        one.annotation is not inspect.Parameter.empty for one in signature.parameters.values()
    )
    assert signature.return_annotation is not inspect.Signature.empty
    for part in ("Args:", "Raises:", "Source:", *(f"{one}:" for one in parameters)):
        assert part in text


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, adapter; "
        "print([m for m in sys.modules"
        " if m.startswith('adapter.') or m in ('lark', 'nacl', 'numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_message_is_validated() -> None:
    message = f()
    assert validate_message(strict_json.encode(message)).valid
    inputs(message, "BUYER")["targetMeterId"] = "MS-1"
    raw = strict_json.encode(message)
    assert [one.code for one in validate_message(raw).errors] == ["P2P_SAME_METER"]
    assert validate_message(raw.decode(), profile="upstream").valid
    assert validate_message("\ud800").errors[0].code == "SCH_INVALID_JSON"
    with pytest.raises(ValueError, match="lenient"):
        validate_message(raw, profile="lenient")


def test_flows_are_evaluated() -> None:
    # F: 8 x 0.12 = 0.96, 8 x 0.02 = 0.16; with 5 kWh 0.60 and 0.10
    terms = contract(f())
    report = evaluate_flows(terms)
    assert [str(flow.amount) for flow in report.flows] == ["0.96", "0.16"]
    assert report.to_wire()["net"] == {
        "SELLER": "0.96",
        "BUYER": "-1.12",
        "GRID_OPERATOR": "0.16",
    }
    less = evaluate_flows(strict_json.encode(terms), quantity_kwh="5")
    assert [str(flow.amount) for flow in less.flows] == ["0.60", "0.10"]


def test_a_contract_that_does_not_fit_is_refused_with_all_findings() -> None:
    terms = contract(f())
    terms["status"] = "NEW"
    del terms["contractId"]
    with pytest.raises(AdapterError) as caught:
        evaluate_flows(terms)
    assert len(caught.value.findings) == 2


def test_a_tariff_is_computed() -> None:
    # T1: 20 x 0.30 + 10 x 0.10 = 7.00, VAT 20 %; in UTC 5 x 0.18 + 20 x 0.30 + 5 x 0.10 = 7.40
    tariff = inputs(t(), "SELLER")["tariff"]
    window = ("2026-03-02T16:00:00Z", "2026-03-02T22:00:00Z", "30")
    price = compute_tariff(tariff, *window, time_zone="Europe/Paris")
    assert (price.total, price.vat) == (Fraction(7), Fraction(7, 5))
    assert compute_tariff(strict_json.encode(tariff), *window).total == Fraction(74, 10)
    # T3: 24 kWh to 20:00Z, 6 kWh after: 7.80
    profile = [(window[0], "2026-03-02T20:00:00Z", 24), ("2026-03-02T20:00:00Z", window[1], 6)]
    metered = compute_tariff(tariff, *window, time_zone="Europe/Paris", profile=profile)
    assert metered.total == Fraction(78, 10)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"time_zone": "Mars/Base"}, "P2P_TARIFF_TIMEZONE", id="zone"),
        pytest.param({"kwh": "1e9"}, "SCH_ATTRIBUTE_PACK_INVALID", id="energy"),
        pytest.param({"tariff": {"currency": "EUR", "elements": []}}, "SCH_", id="no elements"),
        pytest.param({"tariff": b"{"}, "SCH_INVALID_JSON", id="not JSON"),
    ],
)
def test_a_tariff_that_cannot_be_computed_has_a_code(change: dict[str, object], code: str) -> None:
    known = {
        "tariff": inputs(t(), "SELLER")["tariff"],
        "start": "2026-03-02T16:00:00Z",
        "end": "2026-03-02T22:00:00Z",
        "kwh": "30",
    }
    with pytest.raises(AdapterError) as caught:
        compute_tariff(**{**known, **change})
    assert caught.value.code.startswith(code)


def test_a_book_is_cleared() -> None:
    # 3 kWh at 0.10 to 0.13: 0.115, or 0.11 in whole hundredths
    orders = [
        Order("a", "sell", 3_000_000, 100_000),
        Order("b", "buy", 3_000_000, 130_000),
    ]
    found = clear_book(orders)
    assert (found.price_micro, found.volume_micro_kwh) == (115_000, 3_000_000)
    assert found.fills_micro_kwh == [3_000_000, 3_000_000]
    (trade,) = found.trades
    assert (trade.sell_id, trade.buy_id) == ("a", "b")
    assert (trade.quantity_micro_kwh, trade.price_micro) == (3_000_000, 115_000)
    assert clear_book(iter(orders), tick="0.01").price_micro == 110_000
    assert clear_book(orders, rule="seller_ask").trades[0].price_micro == 100_000
    assert clear_book([]).trades == []


@pytest.mark.parametrize(
    ("order", "why"),
    [
        pytest.param(Order("a", "buy", 1, 1), "repeats that of order 1", id="same id"),
        pytest.param(Order("b", "bid", 1, 1), "neither buy nor sell", id="side"),
        pytest.param(Order("b", "buy", 0, 1), "quantity", id="no quantity"),
        pytest.param(Order("b", "buy", 10**12 + 1, 1), "quantity", id="too much"),
        pytest.param(Order("b", "buy", 2**70, 1), "quantity", id="far too much"),
        pytest.param(Order("b", "buy", True, 1), "quantity", id="a truth value"),
        pytest.param(Order("b", "buy", 1, -1), "price", id="negative price"),
        pytest.param(Order("b", "buy", 1, 10**12 + 2), "price", id="price beyond"),
        pytest.param(Order("b", "buy", 1, 3), "multiple of the tick", id="off the tick"),
    ],
)
def test_a_book_with_such_an_order_is_refused(order: Order, why: str) -> None:
    with pytest.raises(AdapterError, match=why) as caught:
        clear_book([Order("a", "sell", 1, 2), order], tick="0.000002")
    assert (caught.value.code, caught.value.path) == ("SCH_ATTRIBUTE_PACK_INVALID", "$[1]")
    assert caught.value.message.startswith("order 2: ")


def test_a_book_of_too_much_energy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearing_orders, "LOTS_SUM_END", 5)
    with pytest.raises(AdapterError, match=r"sum to 0\.000005 kWh or more"):
        clear_book([Order("a", "sell", 3, 2), Order("b", "buy", 2, 2)])


def test_an_unknown_rule_and_a_tick_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="last_look"):
        clear_book([], rule="last_look")
    with pytest.raises(ValueError, match="tick"):
        clear_book([], tick=0)


def header() -> str:
    """Return the header of BODY."""
    return sign_message(
        BODY,
        subscriber_id="bap.example",
        key_id="k1",
        seed=SEED,
        created_s=SIGNED_AT,
        expires_s=SIGNED_AT + 300,
    )


def test_a_message_is_signed_and_verified() -> None:
    verify_message(BODY, header(), PUBLIC_KEY, now_s=SIGNED_AT)


@pytest.mark.parametrize(
    ("body", "now_s", "key"),
    [
        pytest.param(b'{"a":2}', SIGNED_AT, PUBLIC_KEY, id="other body"),
        pytest.param(BODY, SIGNED_AT + 301, PUBLIC_KEY, id="expired"),
        pytest.param(BODY, SIGNED_AT - 6, PUBLIC_KEY, id="from the future"),
        pytest.param(BODY, SIGNED_AT, bytes(32), id="weak key"),
        pytest.param(BODY, SIGNED_AT, SEED, id="other key"),
    ],
)
def test_what_does_not_hold_is_refused(body: bytes, now_s: int, key: bytes) -> None:
    with pytest.raises(AdapterError) as caught:
        verify_message(body, header(), key, now_s=now_s)
    assert caught.value.code == "AUT_SIGNATURE_INVALID"


def test_no_header_is_another_code() -> None:
    with pytest.raises(AdapterError) as caught:
        verify_message(BODY, "", PUBLIC_KEY, now_s=SIGNED_AT)
    assert caught.value.code == "AUT_SIGNATURE_MISSING"
