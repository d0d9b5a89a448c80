"""Rules 36 to 40: a message against earlier ones of the same contractId.

What earlier messages said is kept in a small value that a node can store; whether the contractId
alone or a platform with it is the key, the node decides.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from adapter.domain.findings import Finding, Severity, document_position
from adapter.domain.once import once
from adapter.protocol.contract_view import (
    CONTRACT,
    ORDER,
    ContractView,
    Mode,
    RoleView,
    contract_of,
)
from adapter.protocol.market_view import AGENT, PROSUMER
from adapter.protocol.metered import instant
from adapter.protocol.rules.exact import plain
from adapter.protocol.rules.message import is_cascaded
from adapter.protocol.rules.rule import Hit, Rule

NEXT_STATUSES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "PENDING": frozenset({"PENDING", "ACTIVE", "TERMINATED"}),
        "ACTIVE": frozenset({"ACTIVE", "COMPLETED", "TERMINATED"}),
        "COMPLETED": frozenset({"COMPLETED"}),
        "TERMINATED": frozenset({"TERMINATED"}),
    }
)
"""What a status may become. Source: contract specification, section 5.2."""

_OPENING = frozenset({"select", "on_select"})
"""Actions before the terms are named."""
_CLEARED = "clearedPower"
"""Compared key by key: a participant may be shown its own key only."""
_CLEARING = frozenset({"clearingPrice", _CLEARED})
"""Inputs that only clearing sets: compared from ACTIVE on."""
_INSTANTS = frozenset({"tradeStartTime", "tradeEndTime"})
_OPERATOR = "GRID_OPERATOR"

Inputs = Mapping[str, Mapping[str, Any]]
"""Values by role key and input name."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one transaction said about a contract."""

    inputs: Inputs
    frozen: bool = False
    """An on_init was seen: inputs may be left out from now on, but not change."""
    cascaded: bool = False
    """The transaction is between a seller's platform and its grid operator."""
    status: str = "PENDING"
    """The status that it said last."""


@dataclass(frozen=True, slots=True)
class ContractHistory:
    """What earlier messages said about one contractId."""

    contract_id: str
    status: str
    created_at: str
    mode: str | None
    """None while fixed price and tariff cannot be told apart."""
    transactions: Mapping[str, Terms]

    def status_before(self, transaction: str) -> str:
        """Return the status that a message of a transaction comes after.

        A market's contract is a separate one for each prosumer: a share ends for itself.
        """
        if self.mode != Mode.MARKET.value:
            return self.status
        terms = self.transactions.get(transaction)
        return "PENDING" if terms is None else terms.status

    def to_data(self) -> dict[str, Any]:
        """Return JSON values with exact numbers, for a store."""
        return {
            "contract_id": self.contract_id,
            "status": self.status,
            "created_at": self.created_at,
            "mode": self.mode,
            "transactions": {
                name: {
                    "inputs": {role: dict(values) for role, values in terms.inputs.items()},
                    "frozen": terms.frozen,
                    "cascaded": terms.cascaded,
                    "status": terms.status,
                }
                for name, terms in self.transactions.items()
            },
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "ContractHistory":
        """Return what `to_data` wrote, decoded with exact numbers."""
        transactions = {
            name: Terms(
                terms["inputs"],
                terms["frozen"],
                terms["cascaded"],
                terms.get("status", data["status"]),  # not told apart by earlier versions
            )
            for name, terms in data["transactions"].items()
        }
        return cls(
            data["contract_id"], data["status"], data["created_at"], data["mode"], transactions
        )


class Said:
    """A message with a contract, as its history sees it."""

    def __init__(self, action: str, body: Mapping[str, Any], view: ContractView) -> None:
        """Take a message that has passed its schema, and its contract, which has a mode."""
        self.action = action
        self.body = body
        self.view = view
        context: Mapping[str, Any] = body.get("context") or {}
        self.transaction = str(context.get("transaction_id"))
        self.cascaded = is_cascaded(view, context.get("bpp_id"))

    @once
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Return the inputs of the filled roles; clearing results once they are final."""
        return {
            key: {
                name: value
                for name, value in role.inputs.items()
                if self.view.status != "PENDING" or name not in _CLEARING
            }
            for key, role in _role_keys(self.view).items()
            if role.filled
        }


class HistoryCase:
    """A message with a contract, and what is known of that contract."""

    def __init__(self, history: ContractHistory, said: Said) -> None:
        """Take a message of the contract that the history is about."""
        self.history = history
        self.action = said.action
        self.view = said.view
        self.cascaded = said.cascaded
        self.inputs: Inputs = said.inputs
        self.transaction = said.transaction
        self.terms = history.transactions.get(said.transaction)

    @property
    def frozen(self) -> Inputs:
        """Return the terms that this message may not change."""
        return self.terms.inputs if self.terms is not None and self.terms.frozen else {}

    def role(self, key: str) -> RoleView | None:
        """Return the role that a key of the inputs stands for."""
        return _role_keys(self.view).get(key)


def contract_id_of(action: str, body: Mapping[str, Any]) -> str | None:
    """Return the contractId whose history a message belongs to; None if it has no contract."""
    contract = _contract(action, body)
    return None if contract is None else str(contract["contractId"])


def check_history(
    history: ContractHistory | None, action: str, body: Mapping[str, Any]
) -> tuple[Finding, ...]:
    """Return what the rules over earlier messages of the contract find, in document order.

    The message has passed its schema and has a mode.
    """
    said = None if history is None else said_of(action, body)
    return () if history is None or said is None else check_said(history, said)


def check_said(
    history: ContractHistory, said: Said, rules: "Sequence[Rule[HistoryCase]] | None" = None
) -> tuple[Finding, ...]:
    """Return what some of the rules find, all of them if none are named."""
    case = HistoryCase(history, said)
    rules = HISTORY_RULES if rules is None else rules
    hits = [(rule, hit) for rule in rules for hit in rule.check(case)]
    hits.sort(key=lambda entry: document_position(said.body, entry[1].path))
    return tuple(rule.finding(hit) for rule, hit in hits)


def record(
    history: ContractHistory | None, action: str, body: Mapping[str, Any]
) -> ContractHistory | None:
    """Return the history with this message added.

    A status that the stored one cannot become, and terms that would change frozen ones, are not
    taken over. A message without a contract changes nothing.
    """
    said = said_of(action, body)
    return history if said is None else record_said(history, said)


def record_said(history: ContractHistory | None, said: Said) -> ContractHistory:
    """Return what `record` returns: `history` itself when the message says nothing new."""
    view, name = said.view, said.transaction
    mode = _known_mode(view)
    if history is None:
        contract = view.contract
        history = ContractHistory(
            contract["contractId"], view.status, contract["createdAt"], mode, {}
        )
    elif view.status in NEXT_STATUSES[history.status] and (
        view.status != history.status or (history.mode is None and mode is not None)
    ):
        contract_id, created_at = history.contract_id, history.created_at
        history = ContractHistory(
            contract_id, view.status, created_at, history.mode or mode, history.transactions
        )
    known = history.transactions.get(name)
    before = known or Terms({})
    inputs: Inputs = said.inputs
    if said.cascaded and view.mode is Mode.MARKET:
        # One prosumer after another, each answered with a snapshot of its own meter: only the
        # market's own inputs are the same all the time.
        inputs = {AGENT: inputs[AGENT]} if AGENT in inputs else {}
    terms = Terms(
        _merged(before, inputs) if said.action not in _OPENING else before.inputs,
        before.frozen or said.action == "on_init",
        said.cascaded,
        view.status if view.status in NEXT_STATUSES[before.status] else before.status,
    )
    if terms == known:
        return history
    return ContractHistory(
        history.contract_id,
        history.status,
        history.created_at,
        history.mode,
        {**history.transactions, name: terms},
    )


def _merged(before: Terms, inputs: Inputs) -> Inputs:
    """Return the terms with new inputs; values that are frozen stay, but for clearing results."""
    if before.frozen and all(before.inputs.get(role) == values for role, values in inputs.items()):
        return before.inputs
    merged = {role: dict(values) for role, values in before.inputs.items()}
    for role, values in inputs.items():
        known = merged.setdefault(role, {})
        for name, value in values.items():
            if not before.frozen or name not in known:
                known[name] = value
            elif name == _CLEARED:
                known[name] = {**value, **known[name]}
    return merged


def _contract(action: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the contract of an order message; a catalogue shows templates only."""
    return None if action == "on_discover" else contract_of(body)


def said_of(action: str, body: Mapping[str, Any]) -> Said | None:
    """Return an order message as its history sees it; None without a contract that has a mode."""
    contract = _contract(action, body)
    view = None if contract is None else ContractView(contract, (*ORDER, CONTRACT))
    return None if view is None or view.mode is None else Said(action, body, view)


def _known_mode(view: ContractView) -> str | None:
    seller = view.role("SELLER")
    if view.mode is None or (seller is not None and not seller.filled):
        return None
    return view.mode.value


def _role_keys(view: ContractView) -> dict[str, RoleView]:
    """Return each role by its name, a PROSUMER with its platform: only they are several.

    Two prosumers of one platform are told apart by their meters.
    """
    if view.role(PROSUMER) is None:
        return view.by_name
    platforms = Counter(role.filled_by for role in view.roles if role.name == PROSUMER)
    keys: dict[str, RoleView] = {}
    for role in view.roles:
        key = role.name
        if key == PROSUMER:
            key = f"{PROSUMER}:{role.filled_by}"
            if platforms[role.filled_by] > 1:
                key = f"{key}:{role.inputs.get('sourceMeterId')}"
        keys.setdefault(key, role)
    return keys


def _same(name: str, one: Any, other: Any) -> bool:
    if name in _INSTANTS:
        return instant(one) == instant(other)
    return bool(one == other)


def status(case: HistoryCase) -> Iterator[Hit]:
    """The status is one that the stored status can become; in a market, that of one prosumer."""
    was, now = case.history.status_before(case.transaction), case.view.status
    of_share = case.cascaded and case.view.mode is Mode.MARKET
    if now not in NEXT_STATUSES[was] and not of_share:
        yield Hit((*case.view.path, "status"), {"was": was, "now": now})


def identity(case: HistoryCase) -> Iterator[Hit]:
    """Neither createdAt nor mode changes."""
    created = case.view.contract["createdAt"]
    params = {"id": case.history.contract_id}
    if instant(created) != instant(case.history.created_at):
        yield Hit((*case.view.path, "createdAt"), {"field": "createdAt", **params})
    mode = _known_mode(case.view)
    if mode is not None and case.history.mode not in {None, mode}:
        yield Hit((*case.view.path, "roles"), {"field": "mode", **params})


def term_changed(case: HistoryCase) -> Iterator[Hit]:
    """After on_init no input of a filled role has another value."""
    for difference in _differences(case.frozen, case.inputs):
        yield _input_hit(case, difference)


def cascade_mismatch(case: HistoryCase) -> Iterator[Hit]:
    """Both transactions of a cascade name the same values."""
    for key, values in case.inputs.items():
        # The operator's inputs come from the cascade, all others from a parent.
        known = [
            terms.inputs[key]
            for terms in case.history.transactions.values()
            if terms.cascaded != case.cascaded
            and key in terms.inputs
            and (key == _OPERATOR) == terms.cascaded
        ]
        found = [[*_differences({key: said}, {key: values})] for said in known]
        if found and all(found):  # a market has many parents, of which one said this
            for difference in found[0]:
                yield _input_hit(case, difference)


Difference = tuple[str, tuple[str, ...], object, object]
"""Role key, name of the input with a key inside it, value before and now."""


def _differences(known: Inputs, inputs: Inputs) -> Iterator[Difference]:
    for key, values in inputs.items():
        if values == known.get(key):  # nearly always
            continue
        for name, now in values.items():
            was = known.get(key, {}).get(name)
            if was is None or _same(name, was, now):
                continue
            if name != _CLEARED:
                yield key, (name,), was, now
                continue
            for entry in now:
                if entry in was and was[entry] != now[entry] and entry[:1] not in "_@":
                    yield key, (name, entry), was[entry], now[entry]


def _input_hit(case: HistoryCase, difference: Difference) -> Hit:
    key, names, was, now = difference
    role = case.role(key)
    assert role is not None, "the key was made from this contract"
    path = (*case.view.path, "roles", role.index, "roleInputs", *names)
    name = names[0] if len(names) == 1 else f"{names[0]}[{names[1][:80]}]"
    params = {"role": role.name, "name": name, "was": plain(was)[:80], "now": plain(now)[:80]}
    return Hit(path, params)


def term_dropped(case: HistoryCase) -> Iterator[Hit]:
    """Inputs seen before are repeated."""
    for key, known in case.frozen.items():
        names = sorted(known.keys() - case.inputs.get(key, {}).keys())
        if not names:
            continue
        role = case.role(key)
        place = ("roles",) if role is None else ("roles", role.index, "roleInputs")
        params = {"role": key.partition(":")[0], "names": ", ".join(names)}
        yield Hit((*case.view.path, *place), params)


HISTORY_RULES: Sequence[Rule[HistoryCase]] = (
    Rule("P2P_HIST_STATUS", Severity.ERROR, "status {was} cannot become {now}", status),
    Rule("P2P_HIST_IDENTITY", Severity.ERROR, "{field} of contract {id} changed", identity),
    Rule(
        "P2P_HIST_TERM_CHANGED",
        Severity.ERROR,
        "{role}.{name} changed from {was} to {now} after on_init",
        term_changed,
    ),
    Rule(
        "P2P_HIST_TERM_DROPPED",
        Severity.INFO,
        "{role} no longer repeats {names}",
        term_dropped,
    ),
    Rule(
        "P2P_HIST_CASCADE_MISMATCH",
        Severity.WARNING,
        "{role}.{name} is {now} here and {was} in the other transaction of the cascade",
        cascade_mismatch,
    ),
)
"""Every rule over earlier messages."""
