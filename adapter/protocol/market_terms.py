"""What a market's contract fixes before anything has cleared, and what a curve asks for at most.

Source: contract specification, sections 4.2, 7.3 and 10.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from adapter.domain.curves import RESOLUTION, OfferCurve
from adapter.domain.errors import QuantityError, WireError
from adapter.domain.instants import EPOCH_MS, DeliveryInterval, parse_instant
from adapter.domain.market import EPOCHS_PER_HOUR, FeeTreatment, MarketTerms
from adapter.domain.quantities import MICRO, Energy, UnitPrice, to_micro
from adapter.protocol.cleared import cleared_keys
from adapter.protocol.contract import CONTRACT_PATH, inputs_of, role_of
from adapter.protocol.contract_view import ContractView
from adapter.protocol.market_view import AGENT
from adapter.protocol.rules.exact import shown

CLEARED_PATH = f"{CONTRACT_PATH}.roles[?(@.role=='{AGENT}')].roleInputs.clearedPower"


def is_market(contract: Mapping[str, Any]) -> bool:
    """Return whether a contract, which may be empty, is one of a market."""
    return role_of(contract, AGENT) is not None


def read_market_terms(contract: Mapping[str, Any]) -> MarketTerms:
    """Return the terms of a market's contract that names at least one curve.

    Without gateClosureTime the market closes a quarter of an hour before delivery, as ours do.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, something lacks or is no exact number or time.
    """
    parameters = contract.get("inputParameters") or {}
    try:
        span = parameters["deliveryWindow"]
        if not isinstance(span, Mapping):
            raise _invalid("deliveryWindow is no object")
        window = DeliveryInterval(_instant(span["startTime"]), _instant(span["endTime"]))
        gate = parameters.get("gateClosureTime")
        fee = inputs_of(contract, AGENT)["marketMakingFee"]
        return MarketTerms(
            window,
            window.start_ms - EPOCH_MS if gate is None else _instant(gate),
            UnitPrice.from_decimal(fee, str(ContractView(contract).currency)),
            FeeTreatment(parameters.get("feeTreatment") or FeeTreatment.SYMMETRIC),
        )
    except KeyError as error:
        msg = f"the contract has no {error.args[0]}, a market needs it"
        raise _invalid(msg) from None
    except (QuantityError, ValueError) as error:
        raise _invalid(str(error)) from None


def clearing_price(contract: Mapping[str, Any], terms: MarketTerms) -> UnitPrice:
    """Return the clearing price of a contract.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, there is none, or not of at most six decimals.
    """
    try:
        price = inputs_of(contract, AGENT)["clearingPrice"]
        return UnitPrice.from_decimal(price, terms.fee.currency)
    except KeyError:
        raise _invalid("the contract has no clearingPrice") from None
    except QuantityError as error:
        raise _invalid(error.message) from None


def cleared_powers(contract: Mapping[str, Any]) -> dict[str, int]:
    """Return what each meter of a contract cleared, in 10^-6 kW, + export.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, a power lacks, is 0, or of more than six decimals;
            BIZ_UPDATE_INCONSISTENT, they do not sum to exactly 0.
    """
    given = inputs_of(contract, AGENT).get("clearedPower") or {}
    powers = {}
    for meter, key in cleared_keys(contract).items():
        try:
            powers[meter] = to_micro(given[key])
        except KeyError:
            msg = f"no clearedPower for {key}"
            raise _invalid(msg, CLEARED_PATH) from None
        except QuantityError as error:
            msg = f"{key}: {error.message}"
            raise _invalid(msg, CLEARED_PATH) from None
        if not powers[meter]:
            msg = f"{key} cleared 0, whoever does not trade is left out"
            raise _invalid(msg, CLEARED_PATH)
    if sum(powers.values()):
        msg = f"cleared power sums to {sum(powers.values())} millionths of a kW, not to 0"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=CLEARED_PATH)
    return powers


def check_on_curve(
    power_kw: Fraction,
    curve: OfferCurve,
    price: Fraction,
    approved: tuple[Fraction, Fraction],
    path: str,
) -> None:
    """Refuse a cleared power that a prosumer's curve does not allow at the clearing price.

    The curve counts as far as it was approved. Price and power are rounded, so each may be off by
    one unit.

    Args:
        power_kw: what cleared, + export.
        curve: what was offered.
        price: clearingPrice.
        approved: the least and the most power.
        path: of the power.

    Raises:
        WireError: BIZ_PRICE_MISMATCH, its cause P2P_CLEARED_OFF_CURVE.
    """
    least, most = approved
    below, above = curve.below(price - RESOLUTION), curve.above(price + RESOLUTION)
    low, high = (min(max(kw, least), most) for kw in (below, above))
    if not low - RESOLUTION <= power_kw <= high + RESOLUTION:
        span = f"{shown(low - RESOLUTION)} to {shown(high + RESOLUTION)}"
        msg = f"{shown(power_kw)} kW at {shown(price)} is off the curve, which allows {span} kW"
        cause = {"code": "P2P_CLEARED_OFF_CURVE", "message": msg}
        raise WireError("BIZ_PRICE_MISMATCH", msg, path=path, cause=cause)


class Most(NamedTuple):
    """What a curve can give or take at most."""

    is_export: bool
    energy: Energy
    """Over the window; what is cleared may be rounded up to a unit."""
    price: UnitPrice
    """The highest price that it names."""


def most_of(curve: OfferCurve, terms: MarketTerms) -> Most:
    """Return the most of a curve; of one that goes both ways, in its wider direction."""
    is_export = curve.max_export_kw >= -curve.min_export_kw
    power = Fraction(curve.max_export_kw if is_export else -curve.min_export_kw)
    quarters = (terms.window.end_ms - terms.window.start_ms) // EPOCH_MS
    price = max(point.price for point in curve.points)
    return Most(
        is_export,
        Energy(ceil(power * MICRO * quarters / EPOCHS_PER_HOUR)),
        UnitPrice.from_decimal(price, curve.currency),
    )


def _instant(value: object) -> int:
    """Return a time; the schema leaves inputParameters open."""
    if not isinstance(value, str):
        msg = f"{str(value)[:40]!r} is no date-time"
        raise ValueError(msg)
    return parse_instant(value)


def _invalid(message: str, path: str = CONTRACT_PATH) -> WireError:
    return WireError("SCH_ATTRIBUTE_PACK_INVALID", message, path=path)
