"""An EnergyContractP2PTrade as the rules and the flows read it.

Reading never fails on a contract that passed its schema. Inputs are unwrapped, CONSUMER is BUYER,
null is absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from adapter.domain.findings import Path
from adapter.domain.once import once
from adapter.domain.tariff import Tariff
from adapter.protocol.coordination import read_tariff
from adapter.protocol.role_inputs import canonical_role, unwrap


class Mode(StrEnum):
    """How a contract finds its price. Source: contract specification, section 4.1."""

    FIXED_PRICE = "FIXED_PRICE"
    TARIFF = "TARIFF"
    MARKET = "MARKET"


ORDER: Path = ("message", "order")
CONTRACT = "beckn:orderAttributes"
"""Where the contract of an order stands."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
FIXED_ROLES = frozenset({"SELLER", "BUYER"})
_CONTRACT_TYPES = frozenset({"EnergyContract", "EnergyContractP2PTrade"})
MARKET_ROLES = frozenset({"MARKET_CLEARING_AGENT", "PROSUMER"})


@dataclass(frozen=True, slots=True)
class RoleView:
    """One entry of `roles`."""

    name: str
    index: int
    filled: bool
    filled_by: str | None
    inputs: Mapping[str, Any]
    """Values that are given, unwrapped."""
    raw_inputs: Mapping[str, Any]
    """As on the wire."""


class ContractView:
    """A contract and the place where it stands in its message."""

    def __init__(self, contract: Mapping[str, Any], path: Path = ()) -> None:
        """Read the roles of `contract`, which stands at `path`."""
        self.contract = contract
        self.path = path
        self.status: str = contract["status"]
        self.roles = tuple([_role(index, item) for index, item in enumerate(contract["roles"])])
        self.by_name: dict[str, RoleView] = {}
        """The first role of each name, in order."""
        for role in self.roles:
            if role.name not in self.by_name:
                self.by_name[role.name] = role

    def role(self, name: str) -> RoleView | None:
        """Return the first role of this name."""
        return self.by_name.get(name)

    @property
    def role_names(self) -> tuple[str, ...]:
        """Return the names of the roles, each once, in order."""
        return tuple(self.by_name)

    def inputs(self, role: str) -> Mapping[str, Any]:
        """Return the inputs of a role that are given; none if it is absent."""
        view = self.by_name.get(role)
        return _NOTHING if view is None else view.inputs

    def input(self, role: str, name: str) -> Any:
        """Return an input's value; None if role or input is absent."""
        view = self.by_name.get(role)
        return None if view is None else view.inputs.get(name)

    def input_path(self, role: str, name: str) -> Path:
        """Return the place of an input of a role that is present."""
        return (*self.path, "roles", self.by_name[role].index, "roleInputs", name)

    @property
    def is_mixed(self) -> bool:
        """Return whether roles of fixed-price and of market trading stand side by side."""
        names = self.by_name.keys()
        return not names.isdisjoint(FIXED_ROLES) and not names.isdisjoint(MARKET_ROLES)

    @once
    def mode(self) -> Mode | None:
        """Return the mode by the roles present; None when they form none or mix two.

        While the SELLER is open, TARIFF and FIXED_PRICE cannot be told apart: FIXED_PRICE then.
        """
        if self.is_mixed:
            return None
        names = self.by_name.keys()
        if names >= FIXED_ROLES:
            is_tariff = "tariff" in self.by_name["SELLER"].inputs
            return Mode.TARIFF if is_tariff else Mode.FIXED_PRICE
        return Mode.MARKET if names >= MARKET_ROLES else None

    @once
    def currency(self) -> str | None:
        """Return the contract currency. Source: contract specification, section 4.3."""
        direct = self.input("SELLER", "currency")
        if direct is not None:
            return str(direct)
        tariff = self.input("SELLER", "tariff")
        if tariff is not None:
            return str(tariff["currency"])
        curves = (role.inputs.get("offerCurve") for role in self.roles if role.name == "PROSUMER")
        return next((str(curve["currency"]) for curve in curves if curve is not None), None)

    @once
    def tariff(self) -> Tariff | None:
        """Return the SELLER's tariff; the contract has passed its schema."""
        value = self.input("SELLER", "tariff")
        return None if value is None else read_tariff(value)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Return inputParameters."""
        parameters: Mapping[str, Any] = self.contract.get("inputParameters") or {}
        return parameters

    @property
    def flows(self) -> list[Mapping[str, Any]]:
        """Return revenueFlows.flows as on the wire."""
        flows: list[Mapping[str, Any]] = self.contract.get("revenueFlows", {}).get("flows", [])
        return flows

    @property
    def in_force(self) -> bool:
        """Return whether the status demands that everything is known."""
        return self.status in {"ACTIVE", "COMPLETED"}


def _role(index: int, item: Mapping[str, Any]) -> RoleView:
    raw: Mapping[str, Any] = item.get("roleInputs") or {}
    inputs = {
        name: plain
        for name, value in raw.items()
        if (plain := unwrap(value) if type(value) is dict else value) is not None
        and name[0] not in "_@"
    }
    return RoleView(
        canonical_role(item["role"]), index, item["filled"], item.get("filledBy"), inputs, raw
    )


def is_contract_type(type_name: object) -> bool:
    """Return whether an `@type` (None for an absent one) means an energy contract."""
    if not isinstance(type_name, str):
        return True
    return type_name in _CONTRACT_TYPES or last_segment(type_name) in _CONTRACT_TYPES


def last_segment(type_name: str) -> str:
    """Return what follows the last `:`, `/` or `#` of an `@type`."""
    return type_name.replace(":", "/").replace("#", "/").rpartition("/")[2]


def contract_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the contract of an order message.

    None as well for attributes of another type, which nothing has checked: a handler that needs
    a contract refuses the message then.
    """
    order = body.get("message", {}).get("order")
    attributes = order.get(CONTRACT) if isinstance(order, dict) else None
    if isinstance(attributes, dict) and is_contract_type(attributes.get("@type")):
        return attributes
    return None
