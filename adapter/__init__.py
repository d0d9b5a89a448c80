"""A Beckn-style protocol adapter for EnergyContractP2PTrade.

The names listed in `__all__` are the public surface: pure functions, no clock, no network, loaded
when they are first used. Everything else may change from release to release.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapter.domain.errors import AdapterError
    from adapter.domain.findings import Finding
    from adapter.protocol.flows import FlowReport
    from adapter.protocol.validation import Report

__all__ = [
    "AdapterError",
    "Finding",
    "FlowReport",
    "Report",
    "evaluate_flows",
    "sign_message",
    "validate_message",
    "verify_message",
]

_HOMES = {
    "AdapterError": "adapter.domain.errors",
    "Finding": "adapter.domain.findings",
    "FlowReport": "adapter.protocol.flows",
    "Report": "adapter.protocol.validation",
}


def validate_message(message: bytes | str, *, profile: str = "strict") -> "Report":
    """Return what is wrong with a message: `report.errors` fail it, `report.findings` do not.

    Any bytes give a report; nothing is fetched and nothing raised for them.

    Args:
        message: JSON, at most 262,144 bytes, as it would be sent.
        profile: `strict`: schema problems and rules of severity error are errors; `upstream`:
            schema problems only.

    Raises:
        ValueError: no such profile.

    Source: contract specification, section 12; interfaces, section 2.1.
    """
    from adapter.protocol.schemas import Schemas
    from adapter.protocol.validation import Profile, validate
    from adapter.store.documents import load_bundle

    raw = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    return validate(raw, {"rs": _kept("schemas", lambda: Schemas(load_bundle()))}, profile=Profile(profile))


def evaluate_flows(
    contract: Mapping[str, Any] | bytes | str,
    *,
    quantity_kwh: str | int | None = None,
    delivered_kwh: str | int | None = None,
) -> "FlowReport":
    """Return the revenue flows of a contract, net positions by role, and the trade cap.

    Amounts are exact; each flow is rounded once, half to even, to 10^-6 of the currency.

    Args:
        contract: EnergyContractP2PTrade, as JSON or decoded with int and Decimal, never float.
        quantity_kwh: kWh as a decimal string, in place of contractedQuantity.
        delivered_kwh: kWh as a decimal string, the value of `deliveredQuantity`.

    Raises:
        AdapterError: SCH_ codes for a contract that does not fit its schema, with all findings;
            P2P_FLOW_ codes for a formula that cannot be read or has no value.

    Source: contract specification, sections 6 to 8.
    """
    from adapter.domain.errors import WireError
    from adapter.domain.quantities import Energy
    from adapter.protocol import strict_json
    from adapter.protocol.flows import flow_report
    from adapter.protocol.schemas import Schemas
    from adapter.store.documents import load_bundle

    if isinstance(contract, bytes | str):
        raw = contract.encode("utf-8", "surrogatepass") if isinstance(contract, str) else contract
        contract = strict_json.decode_object(raw)
    schemas = _kept("schemas", lambda: Schemas(load_bundle()))
    findings = schemas.check_attributes("EnergyContractP2PTrade", contract)
    if findings:
        raise WireError(findings[0].code, findings[0].message, findings=findings)
    return flow_report(
        contract,
        quantity=None if quantity_kwh is None else Energy.from_kwh(quantity_kwh),
        delivered=None if delivered_kwh is None else Energy.from_kwh(delivered_kwh),
    )
