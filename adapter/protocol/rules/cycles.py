"""Rules 20 and 100 to 102: settlement cycles of a delivery."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapter.domain.findings import Severity
from adapter.domain.quantities import Energy
from adapter.protocol.contract_view import ORDER, Mode
from adapter.protocol.flow_binding import HostInputs
from adapter.protocol.flow_checks import FlowCheck, FlowChecks
from adapter.protocol.metered import energy_or_none
from adapter.protocol.rules.exact import Number, micro, plain, total, units
from adapter.protocol.rules.inputs import CURRENCY_MISMATCH, other_currency
from adapter.protocol.rules.message import ContractCase, DeliveryCase
from adapter.protocol.rules.rule import Hit, Rule

SETTLED = "SETTLED"


def reference(case: DeliveryCase) -> Iterator[Hit]:
    """The current cycle is listed, and every cycle once."""
    ids = [cycle["cycleId"] for cycle in case.cycles]
    current = case.delivery.get("settlementCycleId")
    if current is not None and current not in ids:
        yield Hit(case.path("settlementCycleId"), {"id": current})
    for index, cycle_id in enumerate(ids):
        if cycle_id in ids[:index]:
            yield Hit(case.path("settlementCycles", index, "cycleId"), {"id": cycle_id})


def amount(case: DeliveryCase) -> Iterator[Hit]:
    """A settled amount is what its parts and the flows add up to."""
    for index, cycle in enumerate(case.cycles):
        if cycle["status"] != SETTLED:
            continue
        found = cycle.get("amount")
        expected = _expected_amount(case, cycle)
        if expected is not None and (found is None or micro(found) != expected):
            params = {
                "id": cycle["cycleId"],
                "amount": "nothing" if found is None else plain(found),
                "expected": units(expected),
            }
            yield Hit(case.path("settlementCycles", index, "amount"), params)


def _expected_amount(case: DeliveryCase, cycle: Mapping[str, Any]) -> Number | None:
    """Return the amount in millionths that the cycle should have; None if nothing says so.

    The flows decide; a breakdown that adds up to something else is then reported as well, since
    the amount cannot equal both.
    """
    parts = _breakdown(cycle)
    by_parts = micro(total(parts.values())) if parts else None
    by_flows = _by_flows(case, parts) if len(case.cycles) == 1 else None
    found = cycle.get("amount")
    if by_flows is not None and (found is None or micro(found) != by_flows):
        return by_flows
    return by_parts if by_parts is not None else by_flows


def _breakdown(cycle: Mapping[str, Any]) -> dict[str, Number]:
    parts = cycle.get("breakdown", {})
    return {name: value for name, value in parts.items() if name[:1] not in "_@"}


def _by_flows(case: DeliveryCase, parts: Mapping[str, Number]) -> Number | None:
    """Return what the buyer's flows come to on the settlement basis, in millionths."""
    contract = case.contract
    if contract is None or contract.view.mode is Mode.MARKET:
        return None
    checks = _settled_flows(case, contract)
    if checks is None:
        return None
    owed = 0
    for check in checks:
        if check.flow.payer == "BUYER":
            if check.flow.amount is None:
                return None
            owed += check.flow.amount.micro
    exclusive = contract.view.parameters.get("vatTreatment", "EXCLUSIVE") == "EXCLUSIVE"
    return total((owed, micro(parts.get("vat", 0)))) if exclusive else owed


def _settled_flows(case: DeliveryCase, contract: ContractCase) -> Sequence[FlowCheck] | None:
    """Return the flows on the settlement basis; None when that cannot be told from here.

    A tariff is settled on what was delivered, and needs to know when.
    """
    if contract.view.mode is Mode.TARIFF:
        return None if contract.metered and contract.profile is None else contract.flows
    basis = contract.view.parameters.get("settlementBasis", "CONTRACTED")
    if basis == "CONTRACTED":
        return contract.flows
    quantity = _settled(case, contract) if basis == "DELIVERED" else None
    return None if quantity is None else FlowChecks(contract.view, HostInputs(quantity)).checks


def _settled(case: DeliveryCase, contract: ContractCase) -> Energy | None:
    delivered = case.delivery.get("deliveredQuantity")
    contracted = contract.view.input("BUYER", "contractedQuantity")
    if delivered is None or contracted is None:
        return None
    return energy_or_none(min(delivered, contracted))


def currency(case: DeliveryCase) -> Iterator[Hit]:
    """Cycles are in the contract currency."""
    if case.contract is None or case.contract.view.currency is None:
        return
    for index, cycle in enumerate(case.cycles):
        found = cycle.get("currency")
        if found is not None and found != case.contract.view.currency:
            path = case.path("settlementCycles", index, "currency")
            yield other_currency(path, f"cycle {cycle['cycleId']}", found, case.contract)


def payment(case: DeliveryCase) -> Iterator[Hit]:
    """Once a cycle is settled no payment is open."""
    settled = next((c["cycleId"] for c in case.cycles if c["status"] == SETTLED), None)
    if settled is None:
        return
    for index, entry in enumerate((case.message.order or {}).get("beckn:payments", ())):
        if entry.get("beckn:status") == "NOT-PAID":
            path = (*ORDER, "beckn:payments", index, "beckn:status")
            yield Hit(path, {"id": settled, "payment": entry.get("beckn:id", index)})


CYCLE_RULES = (
    Rule("P2P_CURRENCY_MISMATCH", Severity.ERROR, CURRENCY_MISMATCH, currency),
    Rule("P2P_CYCLE_REF", Severity.WARNING, "settlement cycle {id} not listed", reference),
    Rule(
        "P2P_CYCLE_AMOUNT",
        Severity.ERROR,
        "cycle {id} settles {amount}, flows say {expected}",
        amount,
    ),
    Rule(
        "P2P_CYCLE_PAYMENT",
        Severity.WARNING,
        "cycle {id} is SETTLED, payment {payment} is NOT-PAID",
        payment,
    ),
)
