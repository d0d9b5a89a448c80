"""Kinds of arguments: from the wire to exact values, into the journal and back.

On the wire energies are kWh, prices and money decimals, times milliseconds; numbers come as int,
Decimal or text, never as binary fractions. Inside and in the journal amounts count millionths;
the journal writes them as strings. Each kind has three forms of a value:

    wire      what JSON gave                decode   → canonical, or refuses by name
    canonical what a contract works with    check    bounds, also for commands built in code
    journal   what the entry holds          encode, restore
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapter.domain.errors import QuantityError
from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import MAX_MICRO, to_micro, to_text
from adapter.settlement.canonical import EXACT_BELOW
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.units import MONEY_MAX_MICRO

ID_PATTERN = r"[A-Za-z0-9._:@/+-]{1,128}"
DECIMAL_PATTERN = r"-?[0-9]{1,13}(\.[0-9]{1,18})?"
RESERVED_IDS = frozenset({"sys", "system", "network", "genesis"})
"""Ids with a meaning of their own, besides all that start with `contract:`."""
MAX_WINDOW_EPOCHS = 31 * 96
"""Longest delivery window, 31 days: it bounds the work of one settlement."""

_ID = re.compile(ID_PATTERN, re.ASCII)
_DECIMAL = re.compile(DECIMAL_PATTERN, re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,16}", re.ASCII)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of argument."""

    title: str
    """For documents and messages: "energy in kWh"."""
    schema: Mapping[str, Any]
    """JSON schema of the wire form."""
    decode: Callable[[str, object], Any]
    """From (argument name, wire value) to the canonical value."""
    check: Callable[[str, Any], None]
    """Refuse a canonical value that is out of bounds."""
    encode: Callable[[Any], Any] = _same
    restore: Callable[[Any], Any] = _same


def amount_kind(title: str, code: str, least: int, most: int) -> Kind:
    """Return a kind of exact amounts with six decimals, in millionths `least..most`."""
    allowed = f"{to_text(least)} to {to_text(most)} with at most six decimals"

    def decode(name: str, wire: object) -> int:
        text = str(wire) if isinstance(wire, int | Decimal) and not isinstance(wire, bool) else wire
        if not isinstance(text, str) or not (isinstance(wire, Decimal) or _DECIMAL.fullmatch(text)):
            raise refusal(code, f"{name}: {_shown(wire)} is not a number: {title}, {allowed}")
        try:
            return to_micro(text)
        except QuantityError as error:
            raise refusal(code, f"{name}: {error.message}: {title}, {allowed}") from None

    def check(name: str, value: Any) -> None:
        if type(value) is not int or not least <= value <= most:
            shown = to_text(value) if type(value) is int else _shown(value)
            raise refusal(code, f"{name}: {shown} is out of bounds: {title}, {allowed}")

    schema = {"type": ["number", "string"], "pattern": f"^{DECIMAL_PATTERN}$"}
    return Kind(title, schema, decode, check, str, int)


def integer_kind(title: str, least: int, most: int) -> Kind:
    """Return a kind of whole numbers `least..most`."""

    def decode(name: str, wire: object) -> int:
        if isinstance(wire, Decimal) and wire.is_finite() and wire == wire.to_integral_value():
            wire = int(wire)
        if isinstance(wire, str) and _INTEGER.fullmatch(wire):
            wire = int(wire)
        if type(wire) is not int:
            raise invalid(name, f"{_shown(wire)} is not a whole number: {title}")
        return wire

    def check(name: str, value: Any) -> None:
        if type(value) is not int or not least <= value <= most:
            raise invalid(name, f"{_shown(value)} is not {title} from {least} to {most}")

    schema = {"type": ["integer", "string"], "minimum": least, "maximum": most}
    return Kind(title, schema, decode, check)


def text_kind(title: str, most: int, least: int = 1) -> Kind:
    """Return a kind of texts of `least..most` characters without control characters."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise invalid(name, f"{_shown(value)} is not {title} of {least} to {most} characters")
        is_plain = value.isascii() and value.isprintable()  # nearly always, and told at once
        if not is_plain and any(unicodedata.category(sign) in ("Cc", "Cs") for sign in value):
            raise invalid(name, f"{title} may not hold control characters")

    schema = {"type": "string", "minLength": least, "maxLength": most}
    return Kind(title, schema, _as_text, check)


def choice_kind(title: str, choices: Iterable[str]) -> Kind:
    """Return a kind that takes one of `choices`."""
    allowed = tuple(str(choice) for choice in choices)

    def check(name: str, value: Any) -> None:
        if value not in allowed:
            raise invalid(name, f"{_shown(value)} is none of {', '.join(allowed)}")

    return Kind(title, {"type": "string", "enum": list(allowed)}, _as_text, check)


def _id_kind(title: str, *, reserved: bool = True) -> Kind:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise invalid(
                name, f"{_shown(value)} is not {title}: 1 to 128 letters, digits or . _ : @ / + -"
            )
        if not reserved and (value in RESERVED_IDS or value.startswith("contract:")):
            raise invalid(name, f"{value} is reserved, take another id")

    return Kind(title, {"type": "string", "pattern": f"^{ID_PATTERN}$"}, _as_text, check)


def _decode_window(name: str, wire: object) -> dict[str, int]:
    if isinstance(wire, str) and wire.count("/") == 1:
        start, end = wire.split("/")
        wire = {"start": start, "end": end}
    if not isinstance(wire, Mapping) or set(wire) != {"start", "end"}:
        raise invalid(name, f'{_shown(wire)} is not {{"start": ms, "end": ms}}')
    return {part: TIME.decode(f"{name}.{part}", wire[part]) for part in ("start", "end")}


def _check_window(name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or set(value) != {"start", "end"}:
        raise invalid(name, f'{_shown(value)} is not {{"start": ms, "end": ms}}')
    for part in ("start", "end"):
        TIME.check(f"{name}.{part}", value[part])
    if not 0 < value["end"] - value["start"] <= MAX_WINDOW_EPOCHS * EPOCH_MS:
        raise refusal("INVALID_INTERVAL", f"{name}: must end after its start, within 31 days")


def _check_interval(name: str, value: Any) -> None:
    TIME.check(name, value)
    if value % EPOCH_MS:
        msg = f"{name}: {value} is not the start of a 15-minute interval, a multiple of {EPOCH_MS}"
        raise refusal("INVALID_INTERVAL", msg)


def _decode_bool(name: str, wire: object) -> bool:
    if isinstance(wire, bool):
        return wire
    if wire in ("true", "false"):
        return wire == "true"
    raise invalid(name, f"{_shown(wire)} is neither true nor false")


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise invalid(name, f"{_shown(value)} is neither true nor false")


def _as_text(name: str, wire: object) -> str:
    if not isinstance(wire, str):
        raise invalid(name, f"{_shown(wire)} is not a text")
    return wire


def _shown(value: object) -> str:
    """Return a value for a message, cut short."""
    return repr(str(value) if isinstance(value, Decimal) else value)[:60]


ID = _id_kind("an id")
USER = _id_kind("a user id", reserved=False)
METER = _id_kind("a meter id", reserved=False)
ENERGY = amount_kind("energy in kWh", "INVALID_ENERGY_AMOUNT", 1, MAX_MICRO)
ENERGY_OR_ZERO = amount_kind("energy in kWh", "INVALID_ENERGY_AMOUNT", 0, MAX_MICRO)
PRICE = amount_kind("price per kWh", "INVALID_PRICE", 1, MAX_MICRO)
RATE = amount_kind("rate per kWh", "INVALID_PRICE", 0, MAX_MICRO)
MONEY = amount_kind("money", "INVALID_INPUT", 1, MONEY_MAX_MICRO)
MONEY_OR_ZERO = amount_kind("money", "INVALID_INPUT", 0, MONEY_MAX_MICRO)
AMOUNT = amount_kind("amount of the asset", "INVALID_INPUT", 1, MONEY_MAX_MICRO)
AMOUNT_OR_ZERO = amount_kind("amount of the asset", "INVALID_INPUT", 0, MONEY_MAX_MICRO)
POWER = amount_kind("power in kW", "INVALID_INPUT", 1, MAX_MICRO)
TIME = integer_kind("a time in ms since 1970", 0, EXACT_BELOW - 1)
NUMBER = integer_kind("a number", 1, EXACT_BELOW - 1)
BOOLEAN = Kind("true or false", {"type": ["boolean", "string"]}, _decode_bool, _check_bool)
INTERVAL = Kind(
    "the start of a 15-minute interval in ms", TIME.schema, TIME.decode, _check_interval
)
WINDOW = Kind(
    "a time span",
    {
        "type": "object",
        "properties": {"start": TIME.schema, "end": TIME.schema},
        "required": ["start", "end"],
        "additionalProperties": False,
    },
    _decode_window,
    _check_window,
)
ASSET = text_kind("GRID or the ledger's currency code", 8)
CURRENCY = text_kind("a currency code", 3, 3)
CONTRACT_ID = text_kind("a contract id", 256)
REFERENCE = text_kind("a reference", 128)
REASON = text_kind("a reason", 256, 0)
LOCATION = text_kind("a location", 128, 0)
EVIDENCE = text_kind("evidence", 4096, 0)
