"""Rules 41 to 50: revenue flows and trade caps."""

from collections.abc import Iterator

from adapter.domain.findings import Path, Severity
from adapter.formula import FormulaError, parse
from adapter.formula.errors import PATH, SYNTAX, VALUE
from adapter.protocol.contract_view import Mode
from adapter.protocol.flow_binding import Reason
from adapter.protocol.flow_checks import FlowCheck
from adapter.protocol.rules.exact import Number, difference, plain
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import FIXED_AND_TARIFF, Hit, Rule
from adapter.protocol.standard_flows import STANDARD_FLOWS, standard_forms

MAX_REFERENCES = 20
"""References that one finding names: a flow of a market has one for each prosumer."""


def missing(case: ContractCase) -> Iterator[Hit]:
    """The flows that mode and roles require are present."""
    mode = case.view.mode
    if mode is None:
        return
    given = {(check.flow.payer, check.flow.payee) for check in case.flows}
    keys = ("revenueFlows", "flows") if "revenueFlows" in case.view.contract else ("revenueFlows",)
    for payer, payee in STANDARD_FLOWS[mode]:
        if (payer, payee) not in given and case.view.role(payer) and case.view.role(payee):
            yield Hit(case.path(*keys), {"from": payer, "to": payee})


def net_zero(case: ContractCase) -> Iterator[Hit]:
    """The contract declares that its flows are closed."""
    flows = case.view.contract.get("revenueFlows")
    if flows is not None and flows.get("netZero") is not True:
        yield Hit(case.path("revenueFlows", "netZero"), {})


def flow_roles(case: ContractCase) -> Iterator[Hit]:
    """A flow has two parties; once the contract is in force both are in it."""
    for check in case.flows:
        payer, payee = check.flow.payer, check.flow.payee
        absent = case.view.role(payer) is None or case.view.role(payee) is None
        if payer == payee or (absent and case.view.in_force):
            path = case.path("revenueFlows", "flows", check.index)
            yield Hit(path, {"from": payer, "to": payee})


def syntax(case: ContractCase) -> Iterator[Hit]:
    """Every formula can be read, those of quality metrics too."""
    for check in case.flows:
        if check.error is not None and check.error.code == SYNTAX:
            yield Hit(_formula_path(case, check), {"why": check.error.message})
    metrics = case.view.contract.get("qualityMetrics", {}).get("metrics", ())
    for index, metric in enumerate(metrics):
        path = case.path("qualityMetrics", "metrics", index)
        yield from _unreadable(metric["formula"], (*path, "formula"))
        penalty = metric.get("penalty", {}).get("formula")
        if penalty is not None:
            yield from _unreadable(penalty, (*path, "penalty", "formula"))


def _unreadable(text: str, path: Path) -> Iterator[Hit]:
    try:
        parse(text)
    except FormulaError as error:
        yield Hit(path, {"why": error.message})


def _formula_path(case: ContractCase, check: FlowCheck) -> Path:
    return case.path("revenueFlows", "flows", check.index, "formula")


def unknown_path(case: ContractCase) -> Iterator[Hit]:
    """Every path has a known root, role and input."""
    for check in case.flows:
        if check.error is not None and check.error.code == PATH and check.read is not None:
            for reference in check.read.unknown:
                yield Hit(_formula_path(case, check), {"ref": reference})


def unbound(case: ContractCase) -> Iterator[Hit]:
    """Every path has a value, at the latest when the contract is in force."""
    severity = Severity.ERROR if case.view.in_force else Severity.INFO
    missing_of: dict[Path, dict[str, None]] = {}
    for check in case.flows:
        for reference in check.flow.unbound:
            if reference.reason is not Reason.NOT_DELIVERED or case.view.status == "COMPLETED":
                names = missing_of.setdefault(_formula_path(case, check), {})
                names.setdefault(str(reference))
    for path, names in missing_of.items():
        shown = [*names][:MAX_REFERENCES]
        more = [f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
        yield Hit(path, {"refs": ", ".join(shown + more)}, severity)


def nonstandard(case: ContractCase) -> Iterator[Hit]:
    """A flow has the standard formula of its pair."""
    mode = case.view.mode
    seller = case.view.role("SELLER")
    if mode is None or (mode is not Mode.MARKET and (seller is None or not seller.filled)):
        return  # fixed price and tariff cannot be told apart yet
    for check in case.flows:
        pair = (check.flow.payer, check.flow.payee)
        if check.read is None or check.read.formula.normal in standard_forms(mode, pair):
            continue
        yield Hit(_formula_path(case, check), {"from": pair[0], "to": pair[1]})


def value(case: ContractCase) -> Iterator[Hit]:
    """A flow has an amount that can be paid."""
    for check in case.flows:
        if check.error is not None and check.error.code == VALUE:
            params = {
                "from": check.flow.payer,
                "to": check.flow.payee,
                "why": check.error.message,
            }
            yield Hit(_formula_path(case, check), params)
    if case.gap is not None and case.gap.code == VALUE:
        params = {"from": "BUYER", "to": "SELLER", "why": case.gap.message}
        yield Hit(case.view.input_path("SELLER", "tariff"), params)


BUYER_CAP = ("buyer_trade_cap", "current_buyer_trades_total")
SELLER_CAP = ("seller_trade_cap", "current_seller_trade_total")
_CAPS = (BUYER_CAP, SELLER_CAP)


def cap_total(case: ContractCase) -> Iterator[Hit]:
    """No running total is above its cap."""
    given = case.view.inputs("GRID_OPERATOR")
    for name, total_name in _CAPS:
        cap, running = given.get(name), given.get(total_name)
        if cap is not None and running is not None and cap < running:
            path = case.view.input_path("GRID_OPERATOR", name)
            yield Hit(path, {"name": name, "cap": plain(cap), "total": plain(running)})


def cap_exceeded(case: ContractCase) -> Iterator[Hit]:
    """The quantity is at most the maximum trade; equal is allowed."""
    quantity = case.view.input("BUYER", "contractedQuantity")
    most = max_trade(case)
    if quantity is not None and most is not None and quantity > most:
        path = case.view.input_path("BUYER", "contractedQuantity")
        yield Hit(path, {"value": plain(quantity), "max": plain(most)})


def max_trade(case: ContractCase) -> Number | None:
    """Return the maximum trade in kWh; None until the operator's inputs are all known."""
    bought, sold = room_left(case, BUYER_CAP), room_left(case, SELLER_CAP)
    return None if bought is None or sold is None else min(bought, sold)


def room_left(case: ContractCase, caps: tuple[str, str]) -> Number | None:
    """Return the kWh that one side may still trade; None until cap and total are known."""
    given = case.view.inputs("GRID_OPERATOR")
    cap, running = given.get(caps[0]), given.get(caps[1])
    if cap is None or running is None:
        return None
    left = difference(cap, running)
    return left if left > 0 else 0


CAP_EXCEEDED = "{value} kWh exceeds the maximum trade of {max} kWh"

FLOW_RULES = (
    Rule("P2P_FLOW_MISSING", Severity.ERROR, "no flow {from} to {to}", missing),
    Rule("P2P_FLOW_NET_ZERO", Severity.ERROR, "netZero must be true", net_zero),
    Rule("P2P_FLOW_ROLES", Severity.ERROR, "flow {from} to {to} has no such party", flow_roles),
    Rule("P2P_FLOW_SYNTAX", Severity.ERROR, "formula cannot be read: {why}", syntax),
    Rule("P2P_FLOW_PATH", Severity.ERROR, "formula refers to unknown {ref}", unknown_path),
    Rule(
        "P2P_FLOW_UNBOUND",
        Severity.INFO,
        "formula not computable yet: {refs}",
        unbound,
        may_rise=True,
    ),
    Rule(
        "P2P_FLOW_NONSTANDARD",
        Severity.WARNING,
        "formula of {from} to {to} differs from the standard form; evaluated as written",
        nonstandard,
    ),
    Rule("P2P_FLOW_VALUE", Severity.ERROR, "flow {from} to {to}: {why}", value),
    Rule(
        "P2P_CAP_TOTAL",
        Severity.ERROR,
        "{name} {cap} is below the running total {total}",
        cap_total,
    ),
    Rule(
        "P2P_CAP_EXCEEDED",
        Severity.ERROR,
        CAP_EXCEEDED,
        cap_exceeded,
        FIXED_AND_TARIFF,
    ),
)
