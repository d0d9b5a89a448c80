from decimal import Decimal
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import FUNCTIONS, READS, genesis_command, parse_command, read
from adapter.settlement.commands import journal_args, restored_args
from adapter.settlement.settings import DEFAULTS, Settings
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, GENESIS, NOON, World, settled_with


def parsed(function: str, **args: object) -> dict[str, Any]:
    """Return the canonical arguments."""
    contract, name = function.split(".")
    return dict(parse_command("c-1", contract, name, args).args)


def refusal(function: str, **args: object) -> ContractError:
    """Return why the arguments are refused."""
    with pytest.raises(ContractError) as caught:
        parsed(function, **args)
    return caught.value


@pytest.mark.parametrize("value", [5, Decimal("5.0"), Decimal("5E0"), "5", "5.000000"], ids=repr)
def test_an_amount_may_be_a_number_or_a_decimal_string(value: object) -> None:
    assert parsed("token.transfer", to="bob", value=value)["value"] == 5_000_000


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("5.0000001", "six decimals", id="seven decimals"),
        pytest.param(Decimal("0.0000001"), "six decimals", id="seven decimals as a number"),
        pytest.param(0, "out of bounds", id="zero"),
        pytest.param(-1, "out of bounds", id="negative"),
        pytest.param("1000000.000001", "out of bounds", id="beyond 10^6 kWh"),
        pytest.param("5e0", "not a number", id="exponent in a text"),
        pytest.param("+5", "not a number", id="plus sign"),
        pytest.param(" 5", "not a number", id="white space"),
        pytest.param("\u0665", "not a number", id="another script's digit"),
        pytest.param(True, "not a number", id="true"),
        pytest.param(None, "not a number", id="null"),
        pytest.param([5], "not a number", id="list"),
        pytest.param(Decimal("NaN"), "out of range", id="NaN"),
        pytest.param(Decimal("1E30"), "out of range", id="huge"),
    ],
)
def test_a_bad_amount_is_refused_and_told_what_is_right(value: object, said: str) -> None:
    error = refusal("token.transfer", to="bob", value=value)
    assert error.code == "INVALID_ENERGY_AMOUNT"
    assert said in error.message
    assert "at most six decimals" in error.message
    assert error.details["aliases"] == ["ink:InvalidEnergyAmount", "soroban:4"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        pytest.param(
            {"to": "a", "value": 1, "note": "x"}, "INVALID_INPUT", "note", id="unknown name"
        ),
        pytest.param({"value": 1}, "INVALID_INPUT", "to: missing", id="missing"),
        pytest.param({"to": "a|b", "value": 0}, "INVALID_INPUT", "to", id="signature order"),
        pytest.param({"to": "a" * 129, "value": 1}, "INVALID_INPUT", "to", id="long id"),
        pytest.param({"to": "", "value": 1}, "INVALID_INPUT", "to", id="empty id"),
        pytest.param({"to": 7, "value": 1}, "INVALID_INPUT", "not a text", id="id as a number"),
        pytest.param({"to": "a\n", "value": 1}, "INVALID_INPUT", "to", id="line feed"),
    ],
)
def test_bad_arguments_are_named(args: dict[str, object], code: str, said: str) -> None:
    error = refusal("token.transfer", **args)
    assert error.code == code
    assert said in error.message


@pytest.mark.parametrize("text", ["a\x00", "a\u202e\ud800", "line\nfeed"])
def test_texts_hold_no_control_characters(text: str) -> None:
    assert (
        refusal("registry.apply_user", user_type="PROSUMER", location=text).code == "INVALID_INPUT"
    )


@pytest.mark.parametrize("value", [NOON, str(NOON), Decimal(NOON)], ids=["int", "text", "Decimal"])
def test_a_time_may_be_a_number_or_digits(value: object) -> None:
    args = parsed("token.mint", to="a", amount=1, meter_id="m", interval=value)
    assert args["interval"] == NOON


@pytest.mark.parametrize(
    "value", [NOON + 1, -EPOCH, 2**53 * EPOCH], ids=["off grid", "negative", "huge"]
)
def test_an_interval_is_on_the_grid(value: int) -> None:
    error = refusal("token.mint", to="a", amount=1, meter_id="m", interval=value)
    assert error.code in ("INVALID_INTERVAL", "INVALID_INPUT")


def test_a_window_may_be_an_object_or_two_times_with_a_slash() -> None:
    world = World().open()
    for window in ({"start": 0, "end": EPOCH}, f"0/{EPOCH}"):
        assert world.read("agreements.get_deviations", meter="m", window=window) == []


@pytest.mark.parametrize(
    ("contract", "function"),
    [("trading", "execute_trade"), ("token", "steal"), ("token", "balance_of"), ("", "")],
)
def test_what_is_not_in_the_table_is_unknown(contract: str, function: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_command("c-1", contract, function, {})
    assert (caught.value.code, caught.value.http_status) == ("UNKNOWN_FUNCTION", 404)


def test_a_command_is_no_read() -> None:
    with pytest.raises(ContractError) as caught:
        read(MemoryLedger(), "token", "mint", {}, "alice", 0)
    assert caught.value.code == "UNKNOWN_FUNCTION"
    assert "POST" in caught.value.message


@pytest.mark.parametrize("command_id", ["", "x" * 257, "a\nb"])
def test_a_command_id_is_a_short_text(command_id: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_command(command_id, "token", "transfer", {"to": "a", "value": 1})
    assert caught.value.code == "INVALID_INPUT"


def test_defaults_are_written_down() -> None:
    args = parsed("token.approve", spender="x", value="1.5")
    assert args == {"spender": "x", "value": 1_500_000, "asset": "GRID"}


def test_the_journal_form_comes_back() -> None:
    args = parsed("token.approve", spender="x", value="1.5")
    table = FUNCTIONS["token", "approve"].arguments
    assert journal_args(table, args)["value"] == "1500000"
    assert restored_args(table, journal_args(table, args)) == args


@pytest.mark.parametrize("name", sorted(".".join(key) for key in FUNCTIONS))
def test_every_function_says_what_it_does_and_who_may(name: str) -> None:
    contract, function = name.split(".")
    row = FUNCTIONS[contract, function]
    assert row.summary.endswith(".")
    assert row.callers
    for argument in row.arguments:
        assert argument.kind.title
        assert argument.kind.schema["type"]


def test_reads_and_functions_share_no_name() -> None:
    assert not FUNCTIONS.keys() & READS.keys()


# Genesis


def test_genesis_takes_decimals_and_fills_in_the_defaults() -> None:
    args = genesis_command(GENESIS).args
    assert args["settings"]["price_tick"] == 1_000
    assert args["settings"]["wheeling_rate"] == 25_000
    assert args["settings"]["dispute_window_s"] == 0
    changed = {"currency", "price_tick", "wheeling_rate", "dispute_window_s"}
    same = {key for key, value in args["settings"].items() if value == DEFAULTS[key]}
    assert same == DEFAULTS.keys() - changed


def test_the_defaults_are_those_of_the_specification() -> None:
    settings = Settings()
    assert (settings.currency, settings.lot_energy, settings.price_tick) == ("INR", 1_000, 10_000)
    assert (settings.dispute_window_s, settings.reservation_ttl_s) == (86_400, 900)
    assert settings.consent == "DIRECT,EVIDENCE,MANDATE"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"settings": {"price_tik": 1}}, "price_tik", id="unknown setting"),
        pytest.param({"settings": {"price_tick": "0.0015"}}, "lot_energy", id="half a millionth"),
        pytest.param({"settings": {"wheeling_rate": "0.001"}}, "wheeling_rate", id="off the tick"),
        pytest.param({"settings": {"lot_energy": "0.000001"}}, "lot_energy", id="would round"),
        pytest.param({"settings": {"currency": "RUPEE"}}, "currency", id="no currency"),
        pytest.param({"settings": {"epoch_s": 300}}, "epoch_s", id="epochs are 900 s"),
        pytest.param({"settings": []}, "settings", id="no table"),
        pytest.param({"roles": {"KING": ["x"]}}, "KING", id="unknown role"),
        pytest.param({"roles": {"AUDITOR": "x"}}, "AUDITOR", id="no list"),
        pytest.param({"regulators": []}, "regulators", id="no regulator"),
        pytest.param({"regulators": ["a b"]}, "regulators[0]", id="no id"),
        pytest.param({"admin": None}, "admin", id="no admin"),
        pytest.param({"king": "x"}, "king", id="unknown part"),
    ],
)
def test_a_bad_genesis_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    document = {"admin": "a", "regulators": ["r"], **change}
    with pytest.raises(ContractError) as caught:
        genesis_command(document)
    assert said in caught.value.message


def test_the_key_of_the_host_names_the_ledger() -> None:
    key = {"id": "grid.example|k1|ed25519", "public_key": "A" * 43 + "="}
    command = genesis_command(GENESIS, [key])
    assert command.args["keys"] == [key]
    with pytest.raises(ContractError):
        genesis_command(GENESIS, [{"id": "x"}])


def test_the_currency_decides_the_decimals_of_payouts() -> None:
    settings = genesis_command(settled_with(currency="JPY")).args["settings"]
    assert settings["currency_exponent"] == 0
