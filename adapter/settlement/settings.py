"""The settings of a ledger: fixed in entry 0, changed only by `registry.set_parameter`.

Source: settlement specification, section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.currencies import ISO_4217_ACTIVE
from adapter.domain.instants import SECOND_MS
from adapter.domain.quantities import MICRO, minor_digits
from adapter.settlement.kinds import (
    BOOLEAN,
    ENERGY,
    MONEY_OR_ZERO,
    PRICE,
    RATE,
    Kind,
    choice_kind,
    integer_kind,
)
from adapter.settlement.refusals import invalid

CONSENTS = ("DIRECT", "EVIDENCE", "MANDATE")
BASES = ("CONTRACTED", "DELIVERED", "MIN_OF_TWO")
YEAR_S = 366 * 86_400


def _seconds(title: str, most: int = YEAR_S, least: int = 0) -> Kind:
    return integer_kind(f"{title} in seconds", least, most)


def _count(title: str, most: int = 10**9) -> Kind:
    return integer_kind(title, 1, most)


def _decode_consent(name: str, wire: object) -> str:
    parts = wire.split(",") if isinstance(wire, str) else wire
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise invalid(name, f"not a list out of {', '.join(CONSENTS)}")
    return ",".join(sorted({part.strip() for part in parts}))


def _check_consent(name: str, value: Any) -> None:
    if not isinstance(value, str) or not set(value.split(",")) <= set(CONSENTS):
        raise invalid(name, f"{str(value)[:60]!r} is not a list out of {', '.join(CONSENTS)}")


def _decode_currency(name: str, wire: object) -> str:
    if not isinstance(wire, str):
        raise invalid(name, "not a currency code such as INR")
    return wire


def _check_currency(name: str, value: Any) -> None:
    if value not in ISO_4217_ACTIVE:
        raise invalid(name, f"{str(value)[:60]!r} is not a currency code such as INR")


CURRENCY_CODE = Kind(
    "an ISO 4217 code",
    {"type": "string", "pattern": "^[A-Z]{3}$"},
    _decode_currency,
    _check_currency,
)
CONSENT = Kind(
    "ways to bind a consumer",
    {"type": ["array", "string"], "items": {"enum": list(CONSENTS)}},
    _decode_consent,
    _check_consent,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; amounts in millionths."""

    currency: Annotated[str, CURRENCY_CODE] = "INR"
    """The one payment asset."""
    currency_exponent: Annotated[int, integer_kind("decimals of a payout", 0, 6)] = 2
    """Payouts go in whole units of this many decimals."""
    lot_energy: Annotated[int, ENERGY] = 1_000
    """Order quantities are multiples."""
    price_tick: Annotated[int, PRICE] = 10_000
    """Order prices are multiples, and all rates."""
    epoch_s: Annotated[int, integer_kind("seconds of an epoch", 900, 900)] = 900
    """Meters count quarter hours, so nothing else is possible."""
    gate_lead_s: Annotated[int, _seconds("gate lead", 899)] = 0
    """Orders are refused in the last seconds of an epoch."""
    max_meters_per_user: Annotated[int, _count("meters")] = 10
    max_orders_per_user_epoch: Annotated[int, _count("orders")] = 100
    max_orders_per_epoch: Annotated[int, _count("orders")] = 10_000
    gtt_max_s: Annotated[int, _seconds("order life")] = 86_400
    oracle_timeout_s: Annotated[int, _seconds("request life", least=1)] = 600
    max_pending_requests: Annotated[int, _count("requests")] = 1_000
    oracle_fee: Annotated[int, MONEY_OR_ZERO] = 0
    dispute_window_s: Annotated[int, _seconds("dispute window")] = 86_400
    """After delivery is recorded."""
    reservation_ttl_s: Annotated[int, _seconds("proposal life", least=1)] = 900
    delivery_grace_s: Annotated[int, _seconds("grace")] = 86_400
    """Default delivery deadline, counted from the end of the window."""
    consent: Annotated[str, CONSENT] = ",".join(CONSENTS)
    """How the consumer of an agreement may be bound, any listed way suffices."""
    cancel_consent: Annotated[str, choice_kind("consent", ("EITHER", "BOTH"))] = "EITHER"
    """Who may cancel an ACTIVE agreement."""
    wheeling_rate: Annotated[int, RATE] = 0
    buyer_fee: Annotated[int, RATE] = 0
    seller_fee: Annotated[int, RATE] = 0
    cap_scope: Annotated[str, choice_kind("scope", ("ACTIVE_TOTAL", "PER_SLOT"))] = "ACTIVE_TOTAL"
    settlement_basis: Annotated[str, choice_kind("basis", BASES)] = "CONTRACTED"
    auto_mint: Annotated[bool, BOOLEAN] = True
    auto_market_clearing: Annotated[bool, BOOLEAN] = True
    upkeep_batch: Annotated[int, _count("epochs", 10_000)] = 96
    expire_batch: Annotated[int, _count("objects", 100_000)] = 1_000
    leaf_rows: Annotated[int, _count("rows", 65_536)] = 1

    @property
    def dispute_window_ms(self) -> int:
        """Return the dispute window."""
        return self.dispute_window_s * SECOND_MS


KINDS: Mapping[str, Kind] = {
    name: hint.__metadata__[0] for name, hint in Settings.__annotations__.items()
}
"""Kind of each setting, in the order of the table."""
DEFAULTS: Mapping[str, Any] = {name: getattr(Settings(), name) for name in KINDS}
FIXED = frozenset({"currency", "currency_exponent", "epoch_s", "cap_scope"})
"""Settings that give sense to stored balances, so only entry 0 sets them."""


def kind_of(name: str) -> Kind:
    """Return the kind of a setting.

    Raises:
        ContractError: INVALID_INPUT, no such setting.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise invalid(name[:60], f"no such setting; known: {', '.join(KINDS)}")
    return kind


def decode_settings(name: str, wire: object) -> dict[str, Any]:
    """Return all settings, canonical, from those that a genesis document names."""
    if not isinstance(wire, Mapping):
        raise invalid(name, "not a table of settings")
    given = {str(key): kind_of(str(key)).decode(str(key), value) for key, value in wire.items()}
    if "currency" in given and "currency_exponent" not in given:
        given["currency_exponent"] = minor_digits(given["currency"])
    return {**DEFAULTS, **given}


def check_settings(name: str, values: Any) -> None:
    """Check all settings, each by itself and together.

    Raises:
        ContractError: INVALID_INPUT, or the code of the kind.
    """
    if not isinstance(values, Mapping) or values.keys() != KINDS.keys():
        raise invalid(name, f"not exactly the settings {', '.join(KINDS)}")
    for key, kind in KINDS.items():
        kind.check(key, values[key])
    check_together(values)


def check_together(values: Mapping[str, Any]) -> None:
    """Check that nothing on the order book would ever have to be rounded.

    Raises:
        ContractError: INVALID_INPUT.
    """
    if values["lot_energy"] * values["price_tick"] % MICRO:
        raise invalid(
            "lot_energy", "times price_tick is no multiple of 10^-6: book values would round"
        )
    for rate in ("wheeling_rate", "buyer_fee", "seller_fee"):
        if values[rate] % values["price_tick"]:
            raise invalid(rate, f"no multiple of price_tick, {values['price_tick']} millionths")


def encode_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as the journal writes them."""
    return {name: KINDS[name].encode(value) for name, value in values.items()}


def restore_settings(journal: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings from the journal."""
    return {name: kind_of(name).restore(value) for name, value in journal.items()}


SETTINGS = Kind(
    "settings",
    {"type": "object"},
    decode_settings,
    check_settings,
    encode_settings,
    restore_settings,
)
