"""The orders of a market: a prosumer's own, and those about all of them to the grid operator.

Orders are values: every function returns a new one. Source: contract specification, sections 7.3
and 10; protocol specification, section 12; decision 0018.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from adapter.domain.curves import ClippedCurve, Side
from adapter.domain.instants import parse_instant
from adapter.domain.market import FeeTreatment
from adapter.domain.quantities import MICRO, Energy, Money, divide_half_even, to_micro, to_text
from adapter.protocol import strict_json
from adapter.protocol.cleared import cleared_keys, filled_prosumers, meter_of
from adapter.protocol.contract import (
    filled_role,
    inputs_of,
    inputs_of_entry,
    role_of,
    with_role,
)
from adapter.protocol.contract_view import ContractView
from adapter.protocol.coordination import read_curve
from adapter.protocol.flows import flow_report
from adapter.protocol.market_view import AGENT, OPERATOR, MarketView
from adapter.protocol.orders import contract_of, exact, fulfillment, with_contract, with_quote

APPROVED = "approvedMaxTradeKW"
ANY_POWER_KW = Fraction(MICRO)
"""More than any curve on the wire offers."""
BODY_BYTES = 262_144
"""Nobody takes a longer body. Source: protocol specification, section 2."""
FRAME_BYTES = 8_192
"""Of a confirm about a whole market what is not about single participants, with room to spare."""
STATE_BYTES = 192
"""What an answer adds to each fulfilment."""

Entry = Mapping[str, Any]
"""A role of a contract."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one prosumer cleared."""

    entry: Entry
    """Its PROSUMER role."""
    operator_inputs: Mapping[str, Any]
    """GRID_OPERATOR inputs as answered for its meter, empty without an operator."""
    power_micro_kw: int
    """10^-6 kW, + export."""

    @property
    def meter_id(self) -> str:
        """Return its meter."""
        return meter_of(self.entry)


def prosumer_of(order: Mapping[str, Any]) -> Entry:
    """Return the PROSUMER role of a participant's order."""
    return filled_prosumers(contract_of(order))[0]


def gate_of(contract: Mapping[str, Any]) -> int:
    """Return when a market of ours closes."""
    return parse_instant(contract["inputParameters"]["gateClosureTime"])


def is_tradable(price_micro: int | None, contract: Mapping[str, Any]) -> bool:
    """Return whether a clearing price is one at which nobody who exports would have to pay.

    Nobody settles at another one: a price is above 0, and not below the fee of an export.

    Args:
        price_micro: 10^-6 currency per kWh, None when nothing cleared.
        contract: the market's.
    """
    if price_micro is None or price_micro <= 0:
        return False
    if contract["inputParameters"].get("feeTreatment") == FeeTreatment.BUYER_ONLY.value:
        return True
    return price_micro >= to_micro(inputs_of(contract, AGENT)["marketMakingFee"])


def with_roles(contract: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the market's contract with its agent, before clearing, and other roles."""
    agent = role_of(contract, AGENT)
    assert agent is not None
    fee = {"marketMakingFee": inputs_of(contract, AGENT)["marketMakingFee"]}
    parameters = {k: v for k, v in contract["inputParameters"].items() if k != APPROVED}
    roles = [filled_role(AGENT, agent["filledBy"], fee), *map(dict, entries)]
    return {**contract, "roles": roles, "inputParameters": parameters}


def with_approval(
    order: Mapping[str, Any], operator: Entry | None, approved_kw: Any
) -> dict[str, Any]:
    """Return a participant's order with what the grid operator answered for its meter."""
    contract = contract_of(order)
    if operator is not None:
        contract = with_role(contract, operator)
    if approved_kw is not None:
        parameters = {**contract["inputParameters"], APPROVED: approved_kw}
        contract = {**contract, "inputParameters": parameters}
    return with_contract(order, contract)


def with_clearing(
    contract: Mapping[str, Any], price_micro: int, powers: Mapping[str, int]
) -> dict[str, Any]:
    """Return a contract with what cleared, 10^-6 kW by key of clearedPower."""
    agent = role_of(contract, AGENT)
    assert agent is not None
    inputs = {
        "marketMakingFee": inputs_of(contract, AGENT)["marketMakingFee"],
        "clearingPrice": exact(price_micro),
        "clearedPower": {key: exact(power) for key, power in powers.items()},
    }
    return with_role(contract, filled_role(AGENT, agent["filledBy"], inputs))


def cleared_contract(
    contract: Mapping[str, Any], shares: Sequence[Share], price_micro: int, operator: Entry | None
) -> dict[str, Any]:
    """Return the contract with everybody who trades and what cleared: the full view.

    Args:
        contract: the market's, with whatever roles.
        shares: those that are not 0.
        price_micro: 10^-6 currency per kWh.
        operator: GRID_OPERATOR, None without.
    """
    entries = [share.entry for share in shares]
    whole = with_roles(contract, entries if operator is None else [*entries, operator])
    keys = cleared_keys(whole)
    powers = {keys[share.meter_id]: share.power_micro_kw for share in shares}
    return with_clearing(whole, price_micro, powers)


def common_operator(
    operator_id: str, answered: Mapping[str, Any], shares: Sequence[Share]
) -> dict[str, Any]:
    """Return GRID_OPERATOR of a contract about several meters.

    Its inputs are made for one pair of meters. Here the caps are the widest room that any of them
    has; what each may trade the operator judges by its own ledger.
    """
    inputs: dict[str, Any] = {"wheelingCharges": answered["wheelingCharges"]}
    for _, cap, total in CAPS:
        widest = max(_left(share.operator_inputs, cap, total) for share in shares)
        inputs[total] = 0
        inputs[cap] = exact(int(widest * MICRO)) if widest > 0 else answered[cap]
    return filled_role(OPERATOR, operator_id, inputs)


CAPS = (
    (Side.BUYER, "buyer_trade_cap", "current_buyer_trades_total"),
    (Side.SELLER, "seller_trade_cap", "current_seller_trade_total"),
)
"""Which inputs limit a withdrawal and which an export; plural and singular as upstream."""


def _left(inputs: Mapping[str, Any], cap: str, total: str) -> Fraction:
    return max(Fraction(inputs[cap]) - Fraction(inputs[total]), Fraction(0))


def approved_range(contract: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    """Return the least and most power that a participant may clear, in kW, of whole 10^-6.

    Its withdrawal is limited by what its meter may still buy, its export by what it may still
    sell, both by the approved power. Rounded down, so that no rounding of power passes a limit.

    Args:
        contract: of one participant, as answered by the grid operator.
    """
    view = ContractView(contract)
    hours = MarketView(view).hours
    approved = view.parameters.get(APPROVED)
    most = ANY_POWER_KW if approved is None else Fraction(approved)
    inputs = inputs_of(contract, OPERATOR)
    limits = {
        side: min(most, _left(inputs, cap, total) / hours) if inputs else most
        for side, cap, total in CAPS
    }
    buy, sell = (Fraction(int(limits[side] * MICRO), MICRO) for side in (Side.BUYER, Side.SELLER))
    return -buy, sell


def offered_curve(contract: Mapping[str, Any]) -> ClippedCurve | None:
    """Return a participant's curve as far as it is approved; None where nothing of it is."""
    inputs = inputs_of_entry(filled_prosumers(contract)[0])
    return read_curve(inputs["offerCurve"]).clipped(*approved_range(contract))


def share_fulfillment(entry: Entry, contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return the delivery of one participant: from its meter, to it, or both for storage."""
    inputs = inputs_of_entry(entry)
    side, meter = read_curve(inputs["offerCurve"]).side, meter_of(entry)
    window = contract["inputParameters"]["deliveryWindow"]
    return fulfillment(
        f"{meter}-delivery",
        source=None if side is Side.BUYER else meter,
        target=None if side is Side.SELLER else meter,
        start=window["startTime"],
        end=window["endTime"],
    )


def place_bytes(most_participants: int) -> int:
    """Return how many bytes of a confirm each participant of a market may take."""
    return (BODY_BYTES - FRAME_BYTES) // most_participants - STATE_BYTES


def bytes_of(entry: Entry, contract: Mapping[str, Any]) -> int:
    """Return how many bytes of the confirm are about a participant: role, fulfilment, power."""
    names = len(str(entry["filledBy"])) + len(meter_of(entry))
    parts = entry, share_fulfillment(entry, contract)
    return names + sum(len(strict_json.encode(part)) for part in parts)


def with_share_quote(order: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the order of a withdrawal with what it costs: energy, and the market's fee.

    Args:
        order: with what cleared, in the participant's view.
        key: of its power in clearedPower.
    """
    contract = contract_of(order)
    owed = -flow_report(contract).net[key]
    view = MarketView(ContractView(contract))
    kwh = view.energy_kwh(view.prosumers[0])
    assert kwh is not None
    price = Fraction(inputs_of(contract, AGENT)["clearingPrice"])
    energy = Money(_micro(kwh * price), owed.currency)
    title = f"Energy {Energy(_micro(kwh))} kWh x {to_text(_micro(price))}"
    return with_quote(order, (title, energy), ("Market making fee", owed + -energy))


def _micro(value: Fraction) -> int:
    scaled = value * MICRO
    return divide_half_even(scaled.numerator, scaled.denominator)
