"""The public functions: pure, exact, without clock or network.

`adapter` hands them out under its own name. Whatever can be bytes or text is strict JSON; numbers
in decoded values are int and Decimal, never float.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from adapter.domain.errors import WireError
from adapter.domain.instants import DeliveryInterval, parse_instant
from adapter.domain.quantities import MICRO, Energy, to_micro
from adapter.domain.tariff import ProfilePiece, TariffPrice, price_energy
from adapter.domain.zones import find_zone
from adapter.protocol import strict_json
from adapter.protocol.coordination import read_tariff
from adapter.protocol.flows import FlowReport, flow_report
from adapter.protocol.schemas import Schemas
from adapter.protocol.signature import (
    THREE_FIELDS,
    Signer,
    candidate_strings,
    check_times,
    parse_header,
    verify_bytes,
)
from adapter.protocol.validation import Profile, Report, validate
from adapter.store.documents import load_bundle

if TYPE_CHECKING:
    from adapter.settlement.clearing_orders import ClearedOrders, Order

SKEW_MS = 5_000
"""How far ahead a signer's clock may be. Source: protocol specification, 5.2."""


def validate_message(message: bytes | str, *, profile: str = "strict") -> Report:
    """Return what is wrong with a message: `report.errors` fail it, `report.findings` do not.

    Any bytes give a report; nothing is fetched and nothing raised for them.

    Args:
        message: JSON, at most 262,144 bytes, as it would be sent.
        profile: `strict`: schema problems and rules of severity error are errors; `upstream`:
            schema problems only.

    Raises:
        ValueError: no such profile.

    Source: contract specification, section 12; interfaces, section 2.1.
    """
    return validate(_bytes(message), {"rs": _schemas()}, profile=Profile(profile))


def evaluate_flows(
    contract: Mapping[str, Any] | bytes | str,
    *,
    quantity_kwh: str | int | None = None,
    delivered_kwh: str | int | None = None,
    time_zone: str = "UTC",
) -> FlowReport:
    """Return the revenue flows of a contract, net positions by role, and the trade cap.

    Amounts are exact; each flow is rounded once, half to even, to 10^-6 of the currency.

    Args:
        contract: EnergyContractP2PTrade, as JSON or decoded with int and Decimal, never float.
        quantity_kwh: kWh as a decimal string, in place of contractedQuantity.
        delivered_kwh: kWh as a decimal string, the value of `deliveredQuantity`.
        time_zone: IANA name, for a tariff contract that names none.

    Raises:
        AdapterError: SCH_ codes for a contract that does not fit its schema, with all findings;
            P2P_FLOW_ codes for a formula that cannot be read or has no value.

    Source: contract specification, sections 6 to 8.
    """
    return flow_report(
        _checked("EnergyContractP2PTrade", contract),
        quantity=None if quantity_kwh is None else Energy.from_kwh(quantity_kwh),
        delivered=None if delivered_kwh is None else Energy.from_kwh(delivered_kwh),
        time_zone=time_zone,
    )


def compute_tariff(
    tariff: Mapping[str, Any] | bytes | str,
    start: str,
    end: str,
    kwh: str | int,
    *,
    time_zone: str = "UTC",
    profile: Sequence[tuple[str, str, str | int]] | None = None,
) -> TariffPrice:
    """Return what energy costs under a time-of-use tariff: `unit`, `total`, `vat` and `legs`.

    All results are exact `Fraction`s, in currency per kWh and in currency; nothing is rounded but
    to the steps of the tariff itself.

    Args:
        tariff: EnergyCoordination Tariff, as JSON or decoded with int and Decimal, never float.
        start: begin of the trade window, RFC 3339 with offset.
        end: its end, not included.
        kwh: delivered energy as a decimal string.
        time_zone: IANA name in which times of day and weekdays of the tariff are read.
        profile: (start, end, kWh) of metered intervals that sum to `kwh`; None: even power.

    Raises:
        AdapterError: SCH_ codes for a tariff that does not fit its schema; P2P_TARIFF_GAP,
            P2P_TARIFF_PROFILE, P2P_TARIFF_TIMEZONE.
        ValueError: a time that is not RFC 3339 with offset.

    Source: contract specification, section 9.
    """
    zone = find_zone(time_zone)
    if zone is None:
        raise WireError("P2P_TARIFF_TIMEZONE", f"no time zone {time_zone[:40]!r}")
    pieces = None
    if profile is not None:
        pieces = [
            ProfilePiece(parse_instant(begin), parse_instant(stop), _kwh(energy))
            for begin, stop, energy in profile
        ]
    return price_energy(
        read_tariff(_checked("Tariff", tariff)),
        DeliveryInterval(parse_instant(start), parse_instant(end)),
        _kwh(kwh),
        zone=zone,
        profile=pieces,
    )


def clear_book(
    orders: "Iterable[Order]", *, tick: str | int = "0.000001", rule: str = "uniform"
) -> "ClearedOrders":
    """Return price, volume, fills and trades of one order book.

    The most that can trade does, best prices first and equal ones in the order of entry.

    Args:
        orders: in the order of entry, quantities and prices in millionths.
        tick: step of prices, in currency per kWh, as a decimal string.
        rule: `uniform`: one price, the midpoint of those at which nobody would rather trade
            otherwise; `pay_as_bid_midpoint`: each trade halfway between its ask and its bid;
            `seller_ask`: each trade at its ask.

    Raises:
        AdapterError: SCH_ATTRIBUTE_PACK_INVALID for the first order that cannot be in a book.
        ValueError: no such rule; a tick that is not positive.

    Source: settlement specification, section 9.2.
    """
    from adapter.settlement.clearing import Rule
    from adapter.settlement.clearing_orders import clear_orders  # NumPy takes 0.1 s to load

    return clear_orders(orders, tick_micro=to_micro(tick), rule=Rule(rule))


def sign_message(
    body: bytes, *, subscriber_id: str, key_id: str, seed: bytes, created_s: int, expires_s: int
) -> str:
    """Return the value of the Authorization header for exactly these bytes.

    Args:
        body: as it will be sent.
        subscriber_id: of the signer.
        key_id: of the key in the registry.
        seed: 32 bytes, the private Ed25519 key.
        created_s: Unix seconds.
        expires_s: Unix seconds, at most 3,600 after `created_s`.

    Raises:
        ValueError: a seed of another length.

    Source: protocol specification, section 5.
    """
    signer = Signer(subscriber_id, key_id, seed)
    return signer.header(body, created_s=created_s, expires_s=expires_s)


def verify_message(body: bytes, header: str, public_key: bytes, *, now_s: int) -> None:
    """Return quietly when an Authorization header holds for these bytes now.

    Args:
        body: as received.
        header: value of the Authorization header.
        public_key: 32 bytes, from the registry record of the signer.
        now_s: Unix seconds.

    Raises:
        AdapterError: AUT_SIGNATURE_MISSING, AUT_SIGNATURE_INVALID.

    Source: protocol specification, 5.2, checks 1 to 7 and 10.
    """
    parsed = parse_header(header)
    check_times(parsed, now_ms=now_s * 1_000, skew_ms=SKEW_MS)
    strings = candidate_strings(parsed, body, ()) if parsed.headers == THREE_FIELDS else ()
    if not any(verify_bytes(public_key, text, parsed.signature_bytes) for text in strings):
        raise WireError("AUT_SIGNATURE_INVALID", "the signature does not hold for this message")


@lru_cache(maxsize=1)
def _schemas() -> Schemas:
    return Schemas(load_bundle())


def _checked(type_name: str, value: Mapping[str, Any] | bytes | str) -> Mapping[str, Any]:
    """Return an object that fits its schema."""
    decoded = strict_json.decode_object(_bytes(value)) if isinstance(value, bytes | str) else value
    findings = _schemas().check_attributes(type_name, decoded)
    if findings:
        first = findings[0]
        raise WireError(first.code, first.message, path=first.path, findings=findings)
    return decoded


def _bytes(text: bytes | str) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _kwh(text: str | int) -> Fraction:
    return Fraction(Energy.from_kwh(text).micro_kwh, MICRO)
