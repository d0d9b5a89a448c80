"""computeTariffPrice, the function that a formula may call on its host.

It prices the SELLER's own tariff only. What it priced is kept, for the report.
Source: contract specification, sections 6.3 and 9.
"""

from collections.abc import Mapping
from fractions import Fraction

from adapter.domain.instants import DeliveryInterval
from adapter.domain.quantities import MICRO
from adapter.domain.tariff import TariffError, TariffPrice, price_energy
from adapter.domain.zones import find_zone
from adapter.formula import Function, Instant, Value
from adapter.formula.errors import VALUE, FormulaError
from adapter.protocol.contract_view import ContractView
from adapter.protocol.flow_binding import HostInputs

TIME_ZONE = "P2P_TARIFF_TIMEZONE"
INCLUSIVE = "INCLUSIVE"


class PriceFunctions:
    """The host's functions for one contract."""

    def __init__(self, view: ContractView, host: HostInputs) -> None:
        """Take the contract and what the host knows."""
        self._view = view
        self._host = host
        self.prices: list[TariffPrice] = []
        """What was priced, in order."""

    @property
    def table(self) -> Mapping[str, Function]:
        """Return the functions by name."""
        return {"computeTariffPrice": self.compute_tariff_price}

    def compute_tariff_price(self, values: tuple[Value, ...]) -> Fraction:
        """Return the price per kWh, with VAT when the contract's prices are meant so.

        Raises:
            FormulaError: P2P_FLOW_VALUE, arguments of another kind; P2P_TARIFF_GAP,
                P2P_TARIFF_PROFILE or P2P_TARIFF_TIMEZONE.
        """
        tariff, start, end, kwh = values
        if tariff is not self._view.input("SELLER", "tariff"):
            msg = "computeTariffPrice takes the SELLER's tariff"
            raise FormulaError(VALUE, msg)
        if not (isinstance(start, Instant) and isinstance(end, Instant) and start.ms < end.ms):
            msg = "computeTariffPrice takes a start and a later end"
            raise FormulaError(VALUE, msg)
        if not isinstance(kwh, Fraction) or kwh < 0:
            msg = "computeTariffPrice takes an energy that is not negative"
            raise FormulaError(VALUE, msg)
        price = self.price(DeliveryInterval(start.ms, end.ms), kwh)
        self.prices.append(price)
        inclusive = self._view.parameters.get("vatTreatment") == INCLUSIVE
        return price.unit_with_vat if inclusive else price.unit

    def price(self, window: DeliveryInterval, kwh: Fraction) -> TariffPrice:
        """Return the price of an energy under the SELLER's tariff.

        Raises:
            FormulaError: P2P_TARIFF_GAP, P2P_TARIFF_PROFILE, P2P_TARIFF_TIMEZONE, P2P_FLOW_VALUE.
        """
        name = zone_name(self._view, self._host)
        zone = find_zone(name)
        if zone is None:
            msg = f"no time zone {name[:40]!r}"
            raise FormulaError(TIME_ZONE, msg)
        tariff = self._view.tariff
        assert tariff is not None, "only a contract with a tariff is priced"
        delivered = self._host.delivered
        metered = delivered is None or kwh == Fraction(delivered.micro_kwh, MICRO)
        profile = self._host.profile if metered else None
        try:
            return price_energy(tariff, window, kwh, zone=zone, profile=profile)
        except TariffError as error:
            raise FormulaError(error.code, error.message, details=error.details) from None


def zone_name(view: ContractView, host: HostInputs) -> str:
    """Return the name of the zone in which a contract's tariff is read."""
    return str(view.parameters.get("timeZone", host.time_zone))
