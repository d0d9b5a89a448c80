"""Rules 61 and 62: what only the price function sees, with its host's delivery profile."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapter.domain.findings import Finding, Path, Severity
from adapter.domain.quantities import Energy
from adapter.domain.tariff import PROFILE, ProfilePiece
from adapter.protocol.contract_view import ContractView, Mode
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE, HostInputs
from adapter.protocol.flow_checks import FlowChecks
from adapter.protocol.rules.rule import TARIFF, Hit, Rule


def check_prices(
    contract: Mapping[str, Any],
    *,
    delivered: Energy,
    profile: Sequence[ProfilePiece] | None = None,
    time_zone: str = DEFAULT_TIME_ZONE,
) -> tuple[Finding, ...]:
    """Return what the price function finds when it prices a delivery.

    Args:
        contract: EnergyContractP2PTrade without errors; paths begin at it.
        delivered: value of `deliveredQuantity`.
        profile: metered energy of intervals; None: even power over the trade window.
        time_zone: IANA name, for a contract that names none.
    """
    view = ContractView(contract)
    if view.mode is not Mode.TARIFF:
        return ()
    evaluated = FlowChecks(view, HostInputs(None, delivered, profile, time_zone))
    return tuple(rule.finding(hit) for rule in PRICE_RULES for hit in rule.check(evaluated))


def misfit(evaluated: FlowChecks) -> Iterator[Hit]:
    """The profile lies in the trade window and sums to what was delivered."""
    for check in evaluated.checks:
        if check.error is not None and check.error.code == PROFILE:
            yield Hit(_path(check.index), check.error.details)


def assumed(evaluated: FlowChecks) -> Iterator[Hit]:
    """It is known when the energy came."""
    if any(price.assumed for price in evaluated.prices.prices):
        yield Hit(evaluated.view.input_path("SELLER", "tariff"), {})


def _path(index: int) -> Path:
    return ("revenueFlows", "flows", index, "formula")


PRICE_RULES: Sequence[Rule[FlowChecks]] = (
    Rule(
        "P2P_TARIFF_PROFILE",
        Severity.ERROR,
        "delivery profile does not fit: {why}",
        misfit,
        TARIFF,
    ),
    Rule(
        "P2P_TARIFF_ASSUMED",
        Severity.INFO,
        "no delivery profile; energy spread evenly",
        assumed,
        TARIFF,
    ),
)
