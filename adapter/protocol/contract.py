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
from adapter.domain.tariff_terms import TariffTerms, VatTreatment
from adapter.domain.terms import Price, TariffPricing, TradeTerms
from adapter.domain.zones import find_zone
from adapter.protocol.coordination import read_tariff
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE
from adapter.protocol.role_inputs import canonical_role, unwrap

CONTRACT_PATH = "$.message.order['beckn:orderAttributes']"
REQUIRED_INPUTS: Mapping[str, tuple[str, ...]] = {
    "SELLER": ("sourceMeterId", "sourceType", "pricePerKWh", "currency", "tariff"),
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
"""Inputs that bind a filled role; a price or a tariff. Source: section 3.3."""
PROSUMER_INPUTS = ("sourceMeterId", "sourceType", "offerCurve")
"""The same of a role of which a contract may have several."""
PRICE_PARAMETERS: Mapping[str, str | None] = {"timeZone": None, "vatTreatment": "EXCLUSIVE"}
"""Of inputParameters what a tariff is read by, with what holds where it is left out."""


def role_of(contract: Mapping[str, Any], role: str) -> Mapping[str, Any] | None:
    """Return the entry of a role, None when the contract has none.

    Also for a contract that no schema has looked at: what is no role is passed over.
    """
    roles = contract.get("roles")
    for entry in roles if isinstance(roles, list) else ():
        if isinstance(entry, dict) and canonical_role(str(entry.get("role"))) == role:
            return entry
    return None


def inputs_of(contract: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Return the inputs of a filled role as direct values, without nulls; else nothing."""
    entry = role_of(contract, role)
    return {} if entry is None or not entry.get("filled") else inputs_of_entry(entry)


def inputs_of_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of one role entry as direct values, without nulls."""
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


def price_parameters(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a contract says about how its tariff is read."""
    parameters = contract.get("inputParameters") or {}
    return {name: parameters.get(name, default) for name, default in PRICE_PARAMETERS.items()}


def contract_currency(contract: Mapping[str, Any]) -> str:
    """Return the currency of a contract whose SELLER is filled. Source: section 4.3."""
    seller = inputs_of(contract, "SELLER")
    return str(seller["currency"] if "currency" in seller else seller["tariff"]["currency"])


def read_terms(contract: Mapping[str, Any], *, time_zone: str = DEFAULT_TIME_ZONE) -> TradeTerms:
    """Return the terms of a contract whose SELLER and BUYER are filled.

    Args:
        contract: it has passed its schema.
        time_zone: IANA name, for a tariff contract that names none.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, an input lacks or is no exact number or time.
    """
    seller, buyer = inputs_of(contract, "SELLER"), inputs_of(contract, "BUYER")
    try:
        if seller.get("tariff") is not None:
            price: Price = tariff_pricing(seller["tariff"], contract, time_zone=time_zone)
        else:
            price = UnitPrice.from_decimal(_number(seller["pricePerKWh"]), seller["currency"])
        return TradeTerms(
            contract_id=contract["contractId"],
            source_meter_id=seller["sourceMeterId"],
            target_meter_id=buyer["targetMeterId"],
            energy=Energy.from_kwh(_number(buyer["contractedQuantity"])),
            price=price,
            window=DeliveryInterval(
                parse_instant(buyer["tradeStartTime"]), parse_instant(buyer["tradeEndTime"])
            ),
            basis=settlement_basis(contract) if isinstance(price, UnitPrice) else "DELIVERED",
        )
    except KeyError as error:
        msg = f"the contract has no {error.args[0]}, a trade needs it"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=CONTRACT_PATH) from None
    except (QuantityError, ValueError) as error:
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", str(error), path=CONTRACT_PATH) from None


def tariff_pricing(
    document: Mapping[str, Any], contract: Mapping[str, Any], *, time_zone: str
) -> TariffPricing:
    """Return a tariff on the wire as the contract reads it.

    Raises:
        WireError: SCH_ATTRIBUTE_PACK_INVALID, no such time zone.
    """
    parameters = price_parameters(contract)
    name = str(parameters["timeZone"] or time_zone)
    zone = find_zone(name)
    if zone is None:
        msg = f"{name[:40]!r} is no known time zone"
        path = f"{CONTRACT_PATH}.inputParameters.timeZone"
        raise WireError("SCH_ATTRIBUTE_PACK_INVALID", msg, path=path)
    vat = VatTreatment(parameters["vatTreatment"])
    return TariffPricing(document, name, TariffTerms(read_tariff(document), zone, vat))


def _number(value: object) -> Decimal | int:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        msg = f"{str(value)[:40]!r} is not a number"
        raise QuantityError(msg)
    return value
