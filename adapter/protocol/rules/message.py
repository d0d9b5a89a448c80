"""A message as the rules see it: times, parties, contracts, offers, deliveries.

The rules run only on objects that passed their schema; what did not is left out here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from adapter.domain.curves import CurveFault, OfferCurve, faults
from adapter.domain.findings import Finding, Path, json_path
from adapter.domain.instants import DeliveryInterval
from adapter.domain.once import once
from adapter.domain.quantities import Energy
from adapter.domain.tariff import ProfilePiece, TariffError, first_gap
from adapter.domain.zones import find_zone
from adapter.protocol.actions import WITHOUT_CONTRACT
from adapter.protocol.contract_view import (
    CONTRACT,
    ORDER,
    ContractView,
    Mode,
    RoleView,
    is_contract_type,
    last_segment,
)
from adapter.protocol.coordination import read_curve
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE, HostInputs
from adapter.protocol.flow_checks import FlowCheck, FlowChecks
from adapter.protocol.market_view import PROSUMER, MarketView
from adapter.protocol.metered import (
    energy_or_none,
    instant,
    is_final,
    metered_pieces,
    metered_profile,
)
from adapter.protocol.price_functions import zone_name

CATALOGS: Path = ("message", "catalogs")
ATTRIBUTE_KEYS = frozenset(
    {CONTRACT, "beckn:itemAttributes", "beckn:offerAttributes", "beckn:attributes"}
)
"""Where attribute objects stand. Source: contract specification, section 2."""


@dataclass(frozen=True, slots=True)
class DeliveryPart:
    """An EnergyTradeDelivery with its fulfilment."""

    delivery: Mapping[str, Any]
    path: Path
    fulfillment: Mapping[str, Any]


class Message:
    """A message with what several rules need of it."""

    def __init__(
        self,
        action: str,
        body: Mapping[str, Any],
        schema_findings: Sequence[Finding] = (),
        time_zone: str = DEFAULT_TIME_ZONE,
        view: ContractView | None = None,
    ) -> None:
        """Take a decoded message, what tier 1 found in it, and the zone of this node.

        `view` is the contract of its order, if somebody has read that already.
        """
        self.action = action
        self.time_zone = time_zone
        self.body = body
        self.odd_keys: list[tuple[Path, str | None]] | None = None
        self._unclean = tuple([finding.path for finding in schema_findings])
        self._read = view
        context = body.get("context")
        self.context: Mapping[str, Any] = context if isinstance(context, dict) else {}
        self.now_text = str(self.context.get("timestamp"))
        self.now = instant(self.context.get("timestamp"))
        self.bap = _text(self.context.get("bap_id"))
        self.bpp = _text(self.context.get("bpp_id"))

    @once
    def order(self) -> Mapping[str, Any] | None:
        """Return the order; None when it has none or its envelope is broken."""
        message = self.body.get("message")
        order = message.get("order") if isinstance(message, dict) else None
        return order if isinstance(order, dict) and self._envelope_is_clean else None

    @once
    def contract(self) -> ContractView | None:
        """Return the contract of an order that carries one."""
        if self.action in WITHOUT_CONTRACT:
            return None
        if self._read is not None:
            return self._read if self.is_clean(self._read.path) else None
        message = self.body.get("message")
        order = message.get("order") if isinstance(message, dict) else None
        attributes = order.get(CONTRACT) if isinstance(order, dict) else None
        return self._view(attributes, (*ORDER, CONTRACT))

    @once
    def deliveries(self) -> tuple[DeliveryPart, ...]:
        """Return the deliveries of the order's fulfilments."""
        fulfillments = (self.order or {}).get("beckn:fulfillments", ())
        parts = []
        for index, fulfillment in enumerate(fulfillments):
            path: Path = (*ORDER, "beckn:fulfillments", index, "beckn:attributes")
            delivery = fulfillment.get("beckn:attributes")
            if self._is_object(delivery, "EnergyTradeDelivery", path):
                parts.append(DeliveryPart(delivery, path, fulfillment))
        return tuple(parts)

    def offers(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], Path]]:
        """Give catalogue, offer and path of each offer with EnergyOffer attributes."""
        message = self.body.get("message")
        catalogs = message.get("catalogs") if isinstance(message, dict) else None
        if not isinstance(catalogs, list) or not self._envelope_is_clean:
            return
        for number, catalog in enumerate(catalogs):
            for index, offer in enumerate(catalog.get("beckn:offers", ())):
                path: Path = (*CATALOGS, number, "beckn:offers", index)
                attributes = offer.get("beckn:offerAttributes")
                if self._is_object(attributes, "EnergyOffer", (*path, "beckn:offerAttributes")):
                    yield catalog, offer, path

    def contract_in(self, offer: Mapping[str, Any], path: Path) -> ContractView | None:
        """Return the contract of an offer."""
        attributes = offer["beckn:offerAttributes"]
        return self._view(attributes.get("contract"), (*path, "beckn:offerAttributes", "contract"))

    def resource(self, item: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
        """Return the EnergyResource attributes of an item."""
        attributes = item.get("beckn:itemAttributes")
        place = (*path, "beckn:itemAttributes")
        return attributes if self._is_object(attributes, "EnergyResource", place) else None

    def _view(self, attributes: object, path: Path) -> ContractView | None:
        if not isinstance(attributes, dict) or not is_contract_type(attributes.get("@type")):
            return None
        return ContractView(attributes, path) if self.is_clean(path) else None

    def _is_object(self, attributes: object, type_name: str, path: Path) -> bool:
        if not isinstance(attributes, dict):
            return False
        given = attributes.get("@type")
        if isinstance(given, str) and last_segment(given) != type_name:
            return False
        return self.is_clean(path)

    def is_clean(self, path: Path) -> bool:
        """Return whether tier 1 found nothing at or below a place."""
        if not self._unclean:
            return True
        place = json_path(path)
        return not any(_is_below(found, place) for found in self._unclean)

    @once
    def _envelope_is_clean(self) -> bool:
        """Return whether tier 1 found nothing outside of context and attribute objects."""
        if not self._unclean:
            return True
        keys = [f"['{key}']" for key in ATTRIBUTE_KEYS]
        return not any(
            found.startswith("$.message") and not any(f"{key}." in f"{found}." for key in keys)
            for found in self._unclean
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_below(found: str, place: str) -> bool:
    return found.startswith(place) and found[len(place) : len(place) + 1] in {"", ".", "["}


class Offered(NamedTuple):
    """An offer curve of a PROSUMER."""

    role: RoleView
    curve: OfferCurve
    faults: tuple[CurveFault, ...]


class ContractCase:
    """A contract in its message: what the contract rules look at."""

    def __init__(self, message: Message, view: ContractView) -> None:
        """Take a contract that has a mode."""
        self.message = message
        self.view = view

    def path(self, *keys: str | int) -> Path:
        """Return a place inside the contract."""
        return (*self.view.path, *keys)

    def role_path(self, role: RoleView, *keys: str | int) -> Path:
        """Return a place inside a role."""
        return (*self.view.path, "roles", role.index, *keys)

    @once
    def cascaded(self) -> bool:
        """Return whether a seller's platform sends this to its grid operator, or the answer."""
        return is_cascaded(self.view, self.message.bpp)

    @once
    def window(self) -> tuple[int | None, int | None]:
        """Return start and end of the trade window."""
        buyer = self.view.inputs("BUYER")
        return instant(buyer.get("tradeStartTime")), instant(buyer.get("tradeEndTime"))

    @once
    def interval(self) -> DeliveryInterval | None:
        """Return the trade window; None when it is not known or ends before it starts."""
        start, end = self.window
        if start is None or end is None or end <= start:
            return None
        return DeliveryInterval(start, end)

    @once
    def evaluated(self) -> FlowChecks:
        """Return the flows, evaluated with the contracted quantity and what was delivered."""
        host = HostInputs(None, self.delivered, self.profile, self.message.time_zone)
        return FlowChecks(self.view, host)

    @property
    def flows(self) -> tuple[FlowCheck, ...]:
        """Return the flows one by one; one that speaks of prosumers is there for each."""
        return self.evaluated.checks

    @property
    def market(self) -> MarketView:
        """Return the prosumers and what clearing said about them."""
        return self.evaluated.market

    @once
    def delivered(self) -> Energy | None:
        """Return what was delivered, once the delivery is over."""
        return None if self._finished is None else energy_or_none(self._finished[1])

    @once
    def _finished(self) -> tuple[Mapping[str, Any], Any] | None:
        """Return the delivery that is over and its quantity."""
        for part in self.message.deliveries:
            if is_final(part.delivery):
                return part.delivery, part.delivery["deliveredQuantity"]
        return None

    @once
    def metered(self) -> tuple[ProfilePiece, ...]:
        """Return the energy between the readings of the delivery that is over, as they say it."""
        readings = () if self._finished is None else self._finished[0].get("meterReadings", ())
        return metered_pieces(readings)

    @once
    def curves(self) -> tuple[Offered, ...]:
        """Return each offer curve with its role and what is wrong with it."""
        found = []
        for role in self.view.roles:
            if role.name == PROSUMER and "offerCurve" in role.inputs:
                curve = read_curve(role.inputs["offerCurve"])
                found.append(Offered(role, curve, tuple(faults(curve))))
        return tuple(found)

    def curve_of(self, role: RoleView) -> Offered | None:
        """Return the offer curve of a role."""
        return self._curve_by_role.get(role.index)

    @once
    def _curve_by_role(self) -> dict[int, Offered]:
        return {offered.role.index: offered for offered in self.curves}

    @once
    def gap(self) -> TariffError | None:
        """Return what keeps the tariff from pricing the whole window, whatever is delivered."""
        if self.view.mode is not Mode.TARIFF:
            return None
        zone = find_zone(zone_name(self.view, self.evaluated.host))
        tariff = self.view.tariff
        assert tariff is not None, "it makes the mode"
        if self.interval is None or zone is None:
            return None
        contracted = self.view.input("BUYER", "contractedQuantity")
        kwh = None if contracted is None else Fraction(contracted)
        try:
            return first_gap(tariff, self.interval, zone=zone, kwh=kwh)
        except TariffError as error:
            return error

    @once
    def profile(self) -> tuple[ProfilePiece, ...] | None:
        """Return the metered energy if it is that of the delivery: when it came is then known."""
        if self.interval is None or self.delivered is None:
            return None
        return metered_profile(self.metered, self.interval, self.delivered)


def is_cascaded(view: ContractView, bpp: object) -> bool:
    """Return whether a message with this contract is of a cascade.

    The contract has a GRID_OPERATOR role and the BPP fills no other one. Source: section 2.
    """
    if view.role("GRID_OPERATOR") is None:
        return False
    return not any(
        role.filled and role.filled_by == bpp and role.name != "GRID_OPERATOR"
        for role in view.roles
    )


@dataclass(frozen=True, slots=True)
class OfferCase:
    """An offer with its contract."""

    contract: ContractCase
    catalog: Mapping[str, Any]
    offer: Mapping[str, Any]
    path: Path

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return the EnergyOffer."""
        attributes: Mapping[str, Any] = self.offer["beckn:offerAttributes"]
        return attributes

    def attribute_path(self, name: str) -> Path:
        """Return the place of a key of the EnergyOffer."""
        return (*self.path, "beckn:offerAttributes", name)


@dataclass(frozen=True, slots=True)
class OrderCase:
    """An order with its contract."""

    contract: ContractCase
    order: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeliveryCase:
    """A delivery with the order's contract, if that can be read."""

    message: Message
    part: DeliveryPart
    contract: ContractCase | None

    @property
    def delivery(self) -> Mapping[str, Any]:
        """Return the EnergyTradeDelivery."""
        return self.part.delivery

    def path(self, *keys: str | int) -> Path:
        """Return a place inside the delivery."""
        return (*self.part.path, *keys)

    @property
    def readings(self) -> Sequence[Mapping[str, Any]]:
        """Return the meter readings."""
        readings: Sequence[Mapping[str, Any]] = self.delivery.get("meterReadings", ())
        return readings

    @property
    def cycles(self) -> Sequence[Mapping[str, Any]]:
        """Return the settlement cycles."""
        cycles: Sequence[Mapping[str, Any]] = self.delivery.get("settlementCycles", ())
        return cycles
