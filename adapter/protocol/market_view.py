"""A MARKET contract as the flows and the rules read it: prosumers, cleared power, positions.

`clearedPower` is kW, + export, - withdrawal; energy is kW times the hours of the delivery window.
Source: contract specification, sections 6.4, 7.3 and 10.4.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from adapter.domain.instants import parse_instant
from adapter.domain.once import once
from adapter.protocol.contract_view import ContractView, RoleView

AGENT = "MARKET_CLEARING_AGENT"
PROSUMER = "PROSUMER"
OPERATOR = "GRID_OPERATOR"
ASSUMED_HOURS = Fraction(1)
"""Hours without a delivery window. Source: rule P2P_MARKET_HOURS."""
MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Prosumer:
    """A filled PROSUMER role."""

    role: RoleView
    key: str
    """Its key in clearedPower; before clearing the one that it will most likely have."""
    cleared_kw: Fraction | None
    """None before clearing, or when the map does not name it."""

    @property
    def name(self) -> str:
        """Return the platform that fills the role."""
        return str(self.role.filled_by)


class MarketView:
    """What clearing said about each prosumer of a contract."""

    def __init__(self, view: ContractView) -> None:
        """Take a contract that passed its schema."""
        self.view = view

    @once
    def cleared(self) -> Mapping[str, Any] | None:
        """Return clearedPower without `_` and `@` keys; None before clearing."""
        found = self.view.input(AGENT, "clearedPower")
        if found is None:
            return None
        return {key: value for key, value in found.items() if key[:1] not in "_@"}

    @once
    def prosumers(self) -> tuple[Prosumer, ...]:
        """Return the filled PROSUMER roles in the order of `roles`."""
        filled = [role for role in self.view.roles if role.name == PROSUMER and role.filled]
        platforms = Counter(role.filled_by for role in filled)
        return tuple(self._prosumer(role, platforms[role.filled_by] > 1) for role in filled)

    def _prosumer(self, role: RoleView, shares_platform: bool) -> Prosumer:
        """Return a prosumer; two under one platform are told apart by their meters only."""
        platform, meter = str(role.filled_by), str(role.inputs.get("sourceMeterId"))
        keys = (meter,) if shares_platform else (platform, meter)
        cleared = self.cleared or {}
        key = next((key for key in keys if key in cleared), keys[0])
        power = cleared.get(key)
        return Prosumer(role, key, None if power is None else Fraction(power))

    @once
    def window_hours(self) -> Fraction | None:
        """Return the hours of the delivery window; None without a usable one."""
        window = self.view.parameters.get("deliveryWindow") or {}
        if "startTime" not in window or "endTime" not in window:
            return None
        length = parse_instant(window["endTime"]) - parse_instant(window["startTime"])
        return Fraction(length, MS_PER_HOUR) if length > 0 else None

    @once
    def hours(self) -> Fraction:
        """Return the hours that cleared power lasts."""
        return self.window_hours or ASSUMED_HOURS

    def energy_kwh(self, prosumer: Prosumer) -> Fraction | None:
        """Return what a prosumer gives or takes, without sign; None before clearing."""
        power = prosumer.cleared_kw
        return None if power is None else abs(power) * self.hours

    @once
    def is_full(self) -> bool:
        """Return whether the map shows the whole market and not one participant's part."""
        powers = (self.cleared or {}).values()
        both_signs = any(kw > 0 for kw in powers) and any(kw < 0 for kw in powers)
        return len(self.prosumers) > 1 or both_signs

    def position(self, pair: tuple[str, str], prosumer: Prosumer) -> tuple[str, str, Fraction]:
        """Return payer, payee and amount of a standard flow as it is meant.

        The standard formula runs against its own direction and lets the fee of both sides cancel.
        Every input of the flow is known.
        """
        assert prosumer.cleared_kw is not None, "the flow is bound"
        energy = abs(prosumer.cleared_kw) * self.hours
        if pair == (AGENT, OPERATOR):
            return AGENT, OPERATOR, self._number(OPERATOR, "wheelingCharges") * energy
        price = self._number(AGENT, "clearingPrice")
        fee = self._number(AGENT, "marketMakingFee")
        if prosumer.cleared_kw < 0:
            return prosumer.key, AGENT, (price + fee) * energy
        if self.view.parameters.get("feeTreatment") == "BUYER_ONLY":
            fee = Fraction(0)
        return AGENT, prosumer.key, (price - fee) * energy

    def _number(self, role: str, name: str) -> Fraction:
        return Fraction(self.view.input(role, name))
