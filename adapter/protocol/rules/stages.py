"""Rules 30, 31, 33 and 35: what a contract must be at each action. Source: section 5.1."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from adapter.domain.findings import Path, Severity
from adapter.protocol.contract_view import Mode
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import Hit, Rule

PENDING, ACTIVE, COMPLETED, TERMINATED = "PENDING", "ACTIVE", "COMPLETED", "TERMINATED"

STATUSES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "on_discover": frozenset({PENDING}),
        "select": frozenset({PENDING}),
        "on_select": frozenset({PENDING}),
        "init": frozenset({PENDING}),
        "on_init": frozenset({PENDING}),
        "confirm": frozenset({PENDING}),
        "on_confirm": frozenset({ACTIVE, TERMINATED}),
        "on_status": frozenset({PENDING, ACTIVE, COMPLETED, TERMINATED}),
        "update": frozenset({ACTIVE, COMPLETED, TERMINATED}),
        "on_update": frozenset({ACTIVE, COMPLETED, TERMINATED}),
        "cancel": frozenset({PENDING, ACTIVE, TERMINATED}),
        "on_cancel": frozenset({TERMINATED}),
    }
)
"""Statuses that each action allows."""

OPENING = frozenset({"on_discover", "select", "on_select"})
"""Actions in which one filled side is enough; of a market, its agent after the catalogue."""
BOTH = frozenset({"init", "on_init"})
"""Actions that need both sides; confirm needs every role."""
_SIDES = ("SELLER", "BUYER")
_MARKET_SIDES = ("MARKET_CLEARING_AGENT", "PROSUMER")
_OPERATOR = "GRID_OPERATOR"


def status_of_action(case: ContractCase) -> Iterator[Hit]:
    """The status is one that the action allows."""
    action = case.message.action
    allowed = STATUSES.get(action)
    if allowed is not None and case.view.status not in allowed:
        yield Hit(case.path("status"), {"status": case.view.status, "action": action})


def unfilled(case: ContractCase) -> Iterator[Hit]:
    """A PENDING contract has the roles filled that the action requires."""
    action = case.message.action
    if case.view.status != PENDING:
        return
    if action == "confirm":
        for role in case.view.roles:
            if not role.filled:
                yield Hit(case.role_path(role, "filled"), {"role": role.name, "action": action})
        return
    filled = {role.name for role in case.view.roles if role.filled}
    for names in _required(case):
        if filled.isdisjoint(names):
            yield Hit(_open_path(case, names), {"role": " or ".join(names), "action": action})


def _required(case: ContractCase) -> tuple[tuple[str, ...], ...]:
    """Return groups of roles, one role of each of which must be filled. Source: section 5.1."""
    action = case.message.action
    is_market = case.view.mode is Mode.MARKET
    agent, prosumer = _MARKET_SIDES
    if action in OPENING:
        if not is_market:
            return (_SIDES,)
        return (_MARKET_SIDES,) if action == "on_discover" else ((agent,),)
    if action not in BOTH:
        return ()
    operator = ((_OPERATOR,),) if action == "on_init" and case.cascaded else ()
    if not is_market:
        return (*((name,) for name in _SIDES), *operator)
    return ((agent,), *operator) if case.cascaded else ((agent,), (prosumer,))


def _open_path(case: ContractCase, names: tuple[str, ...]) -> Path:
    """Return the place of the only role that could be filled, else of the roles."""
    roles = [role for role in case.view.roles if role.name in names]
    return case.role_path(roles[0], "filled") if len(roles) == 1 else case.path("roles")


def unsettled(case: ContractCase) -> Iterator[Hit]:
    """A COMPLETED contract comes with its settled delivery."""
    if case.view.status != COMPLETED:
        return
    for part in case.message.deliveries:
        cycles = part.delivery.get("settlementCycles", ())
        if part.delivery.get("deliveryStatus") == COMPLETED and any(
            cycle["status"] == "SETTLED" for cycle in cycles
        ):
            return
    yield Hit(case.path("status"), {})


def party_mismatch(case: ContractCase) -> Iterator[Hit]:
    """The sender and the receiver of an order message fill roles of its contract."""
    message = case.message
    if message.action == "on_discover":
        return
    names = {role.filled_by for role in case.view.roles if role.filled}
    strangers = [str(party) for party in (message.bap, message.bpp) if party not in names]
    everybody = all(role.filled for role in case.view.roles)
    allowed = 0 if everybody else 1
    if len(strangers) > allowed:
        yield Hit(("context",), {"parties": ", ".join(strangers)})


STAGE_RULES = (
    Rule(
        "P2P_STATUS_ACTION",
        Severity.ERROR,
        "status {status} not allowed in {action}",
        status_of_action,
    ),
    Rule(
        "P2P_STAGE_UNFILLED",
        Severity.ERROR,
        "{role} must be filled in {action}",
        unfilled,
    ),
    Rule(
        "P2P_COMPLETED_UNSETTLED",
        Severity.WARNING,
        "contract COMPLETED without a settled delivery",
        unsettled,
    ),
    Rule(
        "P2P_PARTY_MISMATCH",
        Severity.WARNING,
        "{parties} fill no role of the contract",
        party_mismatch,
    ),
)
