"""What a contract says, in numbers: roles, mode, revenue flows, net positions, trade cap.

Source: interfaces, section 2.2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from adapter.domain.findings import json_path
from adapter.domain.instants import DeliveryInterval, format_instant
from adapter.domain.quantities import Energy
from adapter.domain.tariff import ProfilePiece
from adapter.formula import Instant
from adapter.formula.filled import filled_in, number_text
from adapter.formula.tree import Reference
from adapter.protocol.contract_view import ContractView, RoleView, is_contract_type
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE, Unbound, Values, read_formula
from adapter.protocol.flows import Flow, FlowReport, flow_report
from adapter.protocol.metered import (
    energy_or_none,
    instant,
    is_final,
    metered_pieces,
    metered_profile,
)
from adapter.protocol.rules.exact import plain

WINDOW = ("tradeStartTime", "tradeEndTime")


@dataclass(frozen=True, slots=True)
class FoundContract:
    """A contract in a message and what was delivered of it."""

    contract: Mapping[str, Any]
    path: str
    """JSONPath of the contract."""
    delivery: Mapping[str, Any] | None = None
    """The order's EnergyTradeDelivery, once it is over."""
    delivery_path: str = ""

    @property
    def delivered(self) -> Energy | None:
        """Return the delivered energy; the delivery has passed its schema."""
        if self.delivery is None:
            return None
        return energy_or_none(self.delivery["deliveredQuantity"])

    @property
    def metered(self) -> tuple[ProfilePiece, ...]:
        """Return the metered energy of intervals; the delivery has passed its schema."""
        return metered_pieces((self.delivery or {}).get("meterReadings", ()))


def contracts_in(body: Mapping[str, Any]) -> Iterator[FoundContract]:
    """Give the contract of an order, those of a catalogue's offers, or the body if it is one."""
    if isinstance(body.get("roles"), list) and "contractId" in body:
        yield FoundContract(body, "$")
        return
    message = body.get("message")
    if not isinstance(message, Mapping):
        return
    order = message.get("order")
    if isinstance(order, Mapping) and _is_contract(order.get("beckn:orderAttributes")):
        path = json_path(("message", "order", "beckn:orderAttributes"))
        yield FoundContract(order["beckn:orderAttributes"], path, *_delivery(order))
    for number, catalog in _listed(message, "catalogs"):
        for index, offer in _listed(catalog, "beckn:offers"):
            attributes = offer.get("beckn:offerAttributes")
            if isinstance(attributes, Mapping) and _is_contract(attributes.get("contract")):
                steps = ("message", "catalogs", number, "beckn:offers", index)
                path = json_path((*steps, "beckn:offerAttributes", "contract"))
                yield FoundContract(attributes["contract"], path)


def explain(
    contract: Mapping[str, Any],
    *,
    delivered: Energy | None = None,
    metered: Sequence[ProfilePiece] = (),
    time_zone: str = DEFAULT_TIME_ZONE,
) -> dict[str, Any]:
    """Return the document of interfaces 2.2, with `roles` and, per flow, `numbers`.

    Args:
        contract: EnergyContractP2PTrade that passed its schema.
        delivered: energy that was delivered; under settlementBasis DELIVERED it is what the
            flows are computed with, at most the contracted quantity.
        metered: energy of intervals by the meter; a tariff prices it where it is that of the
            delivery, and even power over the trade window where it is not.
        time_zone: IANA name, for a tariff contract that names none.

    Raises:
        AdapterError: a formula that cannot be evaluated, or roles that form no mode.
    """
    view = ContractView(contract)
    quantity = _settled(view, delivered)
    report = flow_report(
        contract,
        quantity=quantity,
        delivered=delivered,
        profile=_profile(view, delivered, metered),
        time_zone=time_zone,
    )
    values = Values(view, quantity=quantity, delivered=delivered)
    document = report.to_wire()
    document["flows"] = [
        {**entry, "numbers": _numbers(flow, values)}
        for entry, flow in zip(document["flows"], report.flows, strict=True)
    ]
    return {"roles": [_role(role) for role in view.roles], **document}


def report_of(found: FoundContract, *, time_zone: str = DEFAULT_TIME_ZONE) -> FlowReport:
    """Return the flows of a contract, with its delivery once that is over.

    Raises:
        AdapterError: as `explain`.
    """
    view = ContractView(found.contract)
    profile = _profile(view, found.delivered, found.metered)
    return flow_report(
        found.contract, delivered=found.delivered, profile=profile, time_zone=time_zone
    )


def _settled(view: ContractView, delivered: Energy | None) -> Energy | None:
    """Return what replaces the contracted quantity. Source: contract specification, 7.4."""
    contracted = view.input("BUYER", "contractedQuantity")
    if delivered is None or contracted is None:
        return None
    if view.parameters.get("settlementBasis") != "DELIVERED":
        return None
    return min(delivered, Energy.from_kwh(contracted))


def _profile(
    view: ContractView, delivered: Energy | None, metered: Sequence[ProfilePiece]
) -> tuple[ProfilePiece, ...] | None:
    start, end = (instant(view.input("BUYER", name)) for name in WINDOW)
    if delivered is None or start is None or end is None or end <= start:
        return None
    return metered_profile(metered, DeliveryInterval(start, end), delivered)


def _numbers(flow: Flow, values: Values) -> str:
    read = read_formula(flow.formula)
    found = values.of(read, flow.prosumer)
    return filled_in(read.formula.tree, lambda reference: _shown(reference, found.get(reference)))


def _shown(reference: Reference, value: object) -> str:
    match value:
        case Fraction():
            return number_text(value)
        case Instant(ms):
            return format_instant(ms)
        case str() | bool():
            return str(value)
        case Unbound():
            return f"[{value.name}]"
        case _:
            return str(reference).rpartition(".")[2]


def _role(role: RoleView) -> dict[str, Any]:
    return {
        "role": role.name,
        "filled": role.filled,
        "filled_by": role.filled_by,
        "inputs": {name: _texts(value) for name, value in role.inputs.items()},
    }


def _texts(value: Any) -> Any:
    """Return a value with its numbers as decimal strings."""
    if isinstance(value, Mapping):
        return {name: _texts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_texts(item) for item in value]
    is_number = isinstance(value, Decimal | int) and not isinstance(value, bool)
    return plain(value) if is_number else value


def _delivery(order: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """Return the delivery that is over, and its JSONPath."""
    for index, fulfillment in _listed(order, "beckn:fulfillments"):
        delivery = fulfillment.get("beckn:attributes")
        if isinstance(delivery, Mapping) and is_final(delivery):
            steps = ("message", "order", "beckn:fulfillments", index, "beckn:attributes")
            return delivery, json_path(steps)
    return None, ""


def _is_contract(value: object) -> bool:
    return isinstance(value, Mapping) and is_contract_type(value.get("@type"))


def _listed(holder: Mapping[str, Any], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    items = holder.get(name)
    if isinstance(items, list):
        yield from (pair for pair in enumerate(items) if isinstance(pair[1], Mapping))
