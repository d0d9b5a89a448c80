"""What a prosumer's app holds its market to: the terms, the gate, and its own curve.

Source: contract specification, sections 5.1, 7.3 and 10; protocol specification, section 12.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from adapter.domain.errors import WireError
from adapter.domain.instants import parse_instant
from adapter.domain.market import CLEARING_MS
from adapter.protocol.contract import CONTRACT_PATH, inputs_of, role_of
from adapter.protocol.contract_view import ContractView
from adapter.protocol.coordination import read_curve
from adapter.protocol.handlers.shared import inconsistent
from adapter.protocol.market_terms import check_on_curve
from adapter.protocol.market_view import AGENT, OPERATOR, PROSUMER, MarketView, Prosumer
from adapter.protocol.orders import contract_of
from adapter.protocol.role_inputs import canonical_role, unwrap

ANY_POWER_KW = Fraction(1_000_000)
"""More than any curve on the wire can offer."""
OFF_CURVE = "off_curve"
"""Flag of a trade whose market claims a price or power that its curve does not allow."""
_PARAMETERS = ("pricingModel", "deliveryWindow", "gateClosureTime", "feeTreatment")
_ROLES_AT = f"{CONTRACT_PATH}.roles"


def is_market(order: Mapping[str, Any]) -> bool:
    """Return whether an order is about a market's contract."""
    return role_of(contract_of(order), AGENT) is not None


def gate_ms(contract: Mapping[str, Any]) -> int | None:
    """Return when the market closes; None when its contract does not say."""
    given = (contract.get("inputParameters") or {}).get("gateClosureTime")
    return _instant(given)


def window_ms(contract: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return start and end of the delivery; None when the contract does not say."""
    window = (contract.get("inputParameters") or {}).get("deliveryWindow") or {}
    start, end = _instant(window.get("startTime")), _instant(window.get("endTime"))
    return None if start is None or end is None else (start, end)


def commitment_ends_ms(contract: Mapping[str, Any]) -> int | None:
    """Return until when a confirm must live: the market answers once it has cleared."""
    closes = gate_ms(contract)
    if closes is None:
        window = window_ms(contract)
        closes = None if window is None else window[0]
    return None if closes is None else closes + CLEARING_MS


def confirm_ttl_ms(order: Mapping[str, Any], *, now_ms: int, least_ms: int) -> int:
    """Return the life of a confirm: into a market it is a commitment until that has cleared."""
    ends_ms = commitment_ends_ms(contract_of(order)) if is_market(order) else None
    return least_ms if ends_ms is None else max(ends_ms - now_ms, least_ms)


def delivery_ends_ms(contract: Mapping[str, Any]) -> int | None:
    """Return the end of the trade window in any mode; None when the contract does not say."""
    window = window_ms(contract)
    return (
        _instant(inputs_of(contract, "BUYER").get("tradeEndTime")) if window is None else window[1]
    )


def check_market_terms(order: Mapping[str, Any], agreed: Mapping[str, Any], me: str) -> None:
    """Refuse an answer that changes the market's fee, its times, or the prosumer's own offer.

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT, naming the first difference.
    """
    contract, terms = contract_of(order), contract_of(agreed)
    given, fixed = inputs_of(contract, AGENT), inputs_of(terms, AGENT)
    if given.get("marketMakingFee") != fixed.get("marketMakingFee"):
        raise inconsistent("marketMakingFee", fixed.get("marketMakingFee"), _ROLES_AT)
    said = contract.get("inputParameters") or {}
    for name, value in (terms.get("inputParameters") or {}).items():
        if name in _PARAMETERS and _plain(said.get(name)) != _plain(value):
            raise inconsistent(name, value, f"{CONTRACT_PATH}.inputParameters.{name}")
    mine = _own_role(terms, me)
    if mine is not None and not any(_same_role(mine, entry) for entry in _prosumers(contract)):
        raise inconsistent(PROSUMER, mine.get("filledBy"), _ROLES_AT)


def check_cleared(order: Mapping[str, Any], agreed: Mapping[str, Any], me: str) -> None:
    """Refuse a clearing result that the prosumer's own curve does not allow.

    Its power must lie on the curve at the clearing price, as far as both are rounded, once the
    curve is clipped to what the grid operator approved. So nobody is worse off than its curve.

    Raises:
        WireError: BIZ_PRICE_MISMATCH.
    """
    terms = contract_of(agreed)
    mine = _own_role(terms, me)
    if mine is None:
        return
    curve = read_curve(_inputs(mine)["offerCurve"])
    market = MarketView(ContractView(contract_of(order)))
    price = market.view.input(AGENT, "clearingPrice")
    found = next((one for one in market.prosumers if _is_own(mine, one)), None)
    if price is None or found is None or found.cleared_kw is None:
        msg = f"the contract does not say what cleared for meter {_meter(mine)!r}"
        raise WireError("BIZ_PRICE_MISMATCH", msg, path=_ROLES_AT)
    room = _room(MarketView(ContractView(terms)))
    check_on_curve(found.cleared_kw, curve, Fraction(price), room, _ROLES_AT)


def _room(approved: MarketView) -> tuple[Fraction, Fraction]:
    """Return the most that may be withdrawn, below zero, and the most that may be exported."""
    power = approved.view.parameters.get("approvedMaxTradeKW")
    ways = []
    for cap, total in (
        ("buyer_trade_cap", "current_buyer_trades_total"),  # plural and singular as upstream
        ("seller_trade_cap", "current_seller_trade_total"),
    ):
        limits = [ANY_POWER_KW] if power is None else [Fraction(power)]
        capped = approved.view.input(OPERATOR, cap)
        if capped is not None:
            left = Fraction(capped) - Fraction(approved.view.input(OPERATOR, total) or 0)
            limits.append(max(left, Fraction(0)) / approved.hours)
        ways.append(min(limits))
    return -ways[0], ways[1]


def _prosumers(contract: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    roles = contract.get("roles") or ()
    return [e for e in roles if canonical_role(e.get("role")) == PROSUMER and e.get("filled")]


def _own_role(contract: Mapping[str, Any], me: str) -> Mapping[str, Any] | None:
    """Return the role that this platform brought; an init names one prosumer only."""
    filled = _prosumers(contract)
    return next(
        (entry for entry in filled if entry.get("filledBy") == me), next(iter(filled), None)
    )


def _same_role(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.get("filledBy") == other.get("filledBy") and _inputs(one) == _inputs(other)


def _is_own(mine: Mapping[str, Any], prosumer: Prosumer) -> bool:
    same_meter = prosumer.role.inputs.get("sourceMeterId") == _meter(mine)
    return same_meter and prosumer.role.filled_by == mine.get("filledBy")


def _inputs(entry: Mapping[str, Any]) -> dict[str, Any]:
    given = entry.get("roleInputs") or {}
    return {name: value for name, raw in given.items() if (value := unwrap(raw)) is not None}


def _meter(entry: Mapping[str, Any]) -> Any:
    return _inputs(entry).get("sourceMeterId")


def _plain(value: Any) -> Any:
    """Return a parameter with its times as instants, so that both spellings of one are equal."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    instant = _instant(value)
    return value if instant is None else instant


def _instant(value: Any) -> int | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
