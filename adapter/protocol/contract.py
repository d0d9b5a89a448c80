"""EnergyContractP2PTrade as it travels: roles, inputs and terms.

An input is a direct value or an envelope `{type, required, value}`; both read alike here, we
write direct values. CONSUMER is read as BUYER. Source: contract specification, sections 3 and 4.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from adapter.domain.errors import QuantityError, WireError
from adapter.domain.instants import DeliveryInterval, parse_instant
from adapter.domain.quantities import Energy, UnitPrice
from adapter.domain.terms import TradeTerms
from adapter.protocol.role_inputs import canonical_role, unwrap

CONTRACT_PATH = "$.message.order['beckn:orderAttributes']"
REQUIRED_INPUTS: Mapping[str, tuple[str, ...]] = {
    "SELLER": ("sourceMeterId", "sourceType", "pricePerKWh", "currency"),
    "BUYER": ("targetMeterId", "contractedQuantity", "tradeStartTime", "tradeEndTime"),
    # Plural and singular as upstream writes them.
    "GRID_OPERATOR": (
        "wheelingCharges",
        "current_buyer_trades_total",
        "current_seller_trade_total",
        "buyer_trade_cap",
        "seller_trade_cap",
    ),
}
"""Inputs that a filled role of a fixed-price contract has. Source: section 3.3."""


def role_of(contract: Mapping[str, Any], role: str) -> Mapping[str, Any] | None:
    """Return the entry of a role, None when the contract has none."""
    for entry in contract.get("roles") or ():
        if canonical_role(entry.get("role")) == role:
            return entry  # type: ignore[no-any-return]  # JSON object
    return None


def inputs_of(contract: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return the inputs of a filled role as direct values, without nulls; else nothing."""
    entry = role_of(contract, role)
    if entry is None or not entry.get("filled"):
        return {}
    given = entry.get("roleInputs") or {}
    values = {name: unwrap(value) for name, value in given.items()}
    return {name: value for name, value in values.items() if value is not None}


def with_role(contract: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract with `entry` in place of the same role, or added at the end."""
    roles = list(contract.get("roles") or ())
    names = [item.get("role") for item in roles]
    if entry["role"] in names:
        roles[names.index(entry["role"])] = dict(entry)
    else:
        roles.append(dict(entry))
    return {**contract, "roles": roles}


def filled_role(role: str, by: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a filled role entry."""
    return {"role": role, "filledBy": by, "filled": True, "roleInputs": dict(inputs)}


def open_role(role: str) -> dict[str, Any]:
    """Return an entry of a role that nobody fills yet."""
    return {"role": role, "filledBy": None, "filled": False, "roleInputs": {}}


def formulas_of(contract: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the formula of each revenue flow by (from, to)."""
    flows = (contract.get("revenueFlows") or {}).get("flows") or ()
    return {(flow["from"], flow["to"]): flow["formula"] for flow in flows}


def settlement_basis(contract: Mapping[str, Any]) -> str:
    """Return by which quantity the contract is paid. Source: section 7.4."""
    parameters = contract.get("inputParameters") or {}
    return str(parameters.get("settlementBasis", "CONTRACTED"))


def read_terms(contract: Mapping[str, Any]) -> TradeTerms:
    """Return the terms of a contract whose SELLER and BUYER are filled.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, an input lacks or is no exact number or time.
    """
    seller, buyer = inputs_of(contract, "SELLER"), inputs_of(contract, "BUYER")
    try:
        return TradeTerms(
            contract_id=contract["contractId"],
            source_meter_id=seller["sourceMeterId"],
            target_meter_id=buyer["targetMeterId"],
            energy=Energy.from_kwh(_number(buyer["contractedQuantity"])),
            price=UnitPrice.from_decimal(_number(seller["pricePerKWh"]), seller["currency"]),
            window=DeliveryInterval(
                parse_instant(buyer["tradeStartTime"]), parse_instant(buyer["tradeEndTime"])
            ),
            basis=settlement_basis(contract),
        )
    except KeyError as error:
        msg = f"the contract has no {error.args[0]}, a fixed-price trade needs it"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=CONTRACT_PATH) from None
    except (QuantityError, ValueError) as error:
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", str(error), path=CONTRACT_PATH) from None


def _number(value: object) -> Decimal | int:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        msg = f"{str(value)[:40]!r} is not a number"
        raise QuantityError(msg)
    return value
