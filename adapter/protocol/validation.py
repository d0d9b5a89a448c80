"""One message judged without a node: bytes in, report out.

What a node refuses in its stages 2, 6 and 7 is an error here too, under the same codes; clock,
addressee, signature and state do not count. The command line, the Python surface and any endpoint
use this one function. Source: interfaces, section 2.1.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from adapter.domain.errors import WireError
from adapter.domain.findings import Finding, Severity, Tier
from adapter.protocol import strict_json
from adapter.protocol.acks import take_error
from adapter.protocol.actions import Action
from adapter.protocol.detect import Dialect, dialect_of
from adapter.protocol.discover import read_filter
from adapter.protocol.envelope import context_problems, is_judgeable
from adapter.protocol.policy import Policy, check_policy
from adapter.protocol.rules import ContractHistory, check_history, check_message, record
from adapter.protocol.rules.message import Message

MAX_BYTES = 262_144
"""A node takes no longer body. Source: protocol specification, section 2."""
ENGINES_DISAGREE = "SCH_ENGINES_DISAGREE"
"""Two schema engines found different things: a fault of ours or of an engine, never on a wire."""

Histories = MutableMapping[str, ContractHistory]
"""What earlier messages said, by contractId."""


class Profile(StrEnum):
    """What fails a message."""

    STRICT = "strict"
    """Schema problems and rules of severity error."""
    UPSTREAM = "upstream"
    """Schema problems and the policy; every result of a rule is a finding."""


class SchemaEngine(Protocol):
    """Tier 1; `schemas.Schemas` and `schemas_py.PythonSchemas` are engines."""

    def check(self, action: str, body: Mapping[str, Any]) -> tuple[Finding, ...]:
        """Return what is wrong with a whole message."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one message."""

    action: Action | None
    """None when the message names none that there is."""
    dialect: Dialect | None
    """None when the message is no JSON object."""
    mode: str | None
    """FIXED_PRICE, TARIFF or MARKET; None without a contract that could be read."""
    errors: tuple[Finding, ...]
    """What fails the message: tier schema first, each tier in document order."""
    findings: tuple[Finding, ...]
    """What does not."""

    @property
    def valid(self) -> bool:
        """Return whether nothing fails the message."""
        return not self.errors

    @property
    def results(self) -> tuple[Finding, ...]:
        """Return errors and findings."""
        return self.errors + self.findings

    def to_wire(self, file: str) -> dict[str, Any]:
        """Return the object of interfaces 2.1."""
        return {
            "file": file,
            "action": self.action.value if self.action else None,
            "dialect": self.dialect.value if self.dialect else None,
            "mode": self.mode,
            "valid": self.valid,
            "errors": [finding_to_wire(finding) for finding in self.errors],
            "findings": [finding_to_wire(finding) for finding in self.findings],
        }


def finding_to_wire(finding: Finding) -> dict[str, str | None]:
    """Return `E` of interfaces 2.1."""
    return {
        "tier": finding.tier.value,
        "severity": finding.severity.value,
        "rule": finding.rule,
        "code": finding.code,
        "path": finding.path,
        "message": finding.message,
        "wire_code": finding.wire_code,
    }


def validate(
    raw: bytes,
    engines: Mapping[str, SchemaEngine],
    *,
    profile: Profile = Profile.STRICT,
    histories: Histories | None = None,
    policy: Policy | None = None,
) -> Report:
    """Return what is wrong with a message, for any bytes; nothing is fetched, nothing raised.

    Args:
        raw: the body as sent.
        engines: one schema engine by its name, or several, which must agree.
        profile: what fails the message.
        histories: what earlier messages said; a message without errors is added to it. Without
            it the rules over earlier messages do not run.
        policy: what a network demands beyond the contract, of messages that fit their schema.
    """
    try:
        body = _decoded(raw)
    except WireError as error:
        return Report(None, None, None, (_schema_finding(error),), ())
    action = _action_of(body)
    content, is_error = _content(body, action)
    schema = tuple(_schema_tier(content, action, engines, is_error=is_error))
    message = None if action is None or is_error else Message(action.value, content, schema)
    rules: tuple[Finding, ...] = ()
    if message is not None:
        rules = check_message(message.action, content, schema_findings=schema)
        if histories is not None:
            rules += _against_earlier(histories, message)
    if message is not None and not schema:
        rules += check_policy(policy, message.action, content)
    failing = [one for one in rules if _fails(one, profile)]
    report = Report(
        action,
        dialect_of(body),
        _mode_of(message),
        (*schema, *failing),
        tuple(one for one in rules if one not in failing),
    )
    if histories is not None and report.valid and message is not None:
        _add(histories, message)
    return report


def _decoded(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        msg = f"the message has more than {MAX_BYTES} bytes, a node reads no further"
        raise WireError("SCH_INVALID_FORMAT", msg, path="$")
    return strict_json.decode_object(raw)


def _action_of(body: Mapping[str, Any]) -> Action | None:
    context = body.get("context")
    named = context.get("action") if isinstance(context, dict) else None
    return (
        Action(named) if isinstance(named, str) and named in Action.__members__.values() else None
    )


def _content(body: dict[str, Any], action: Action | None) -> tuple[dict[str, Any], bool]:
    """Return the body without the error of an error callback, and whether it is one."""
    error, rest = take_error(body) if action is not None and action.is_callback else (None, body)
    return rest, error is not None


def _schema_tier(
    body: dict[str, Any],
    action: Action | None,
    engines: Mapping[str, SchemaEngine],
    *,
    is_error: bool,
) -> Iterator[Finding]:
    """Give what is wrong with context, shape and discover filter."""
    context = body.get("context")
    of_context: list[Finding] = []
    if isinstance(context, dict):
        of_context = [_schema_finding(error) for error in _context_errors(context, action)]
        yield from of_context
    if action is None:
        if not is_judgeable(body):
            yield _no_message(body)
        return
    known = {finding.path for finding in of_context}
    if "message" in body or not is_error:
        found = {name: engine.check(action.value, body) for name, engine in engines.items()}
        yield from (one for one in _agreed(found) if one.path not in known)
    yield from _filter_errors(action, body)


def _context_errors(context: Mapping[str, Any], action: Action | None) -> Iterator[WireError]:
    """Give the static rules that a context breaks; a file is addressed to nobody."""
    # Of an unknown action only what every action demands: DISCOVER demands least.
    for error in context_problems(context, action or Action.DISCOVER):
        if error.code == "CTX_ACTION_MISMATCH":
            named = str(context.get("action"))[:40]
            msg = f"action is {named!r}, expected one of {', '.join(Action)}"
            yield WireError("CTX_INVALID_FIELD", msg, path=error.path)
        else:
            yield error


def _no_message(body: Mapping[str, Any]) -> Finding:
    missing = "message" if isinstance(body.get("context"), dict) else "context"
    msg = f"a message is an object with the objects context and message; {missing} is not one"
    return _schema_finding(WireError("SCH_SCHEMA_VALIDATION_FAILED", msg, path=f"$.{missing}"))


def _agreed(found: Mapping[str, tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """Return what the first engine found, and where another one found something else."""
    (name, mine), *others = found.items()
    result = mine
    for other_name, theirs in others:
        if theirs != mine:
            only = [one for one in (*mine, *theirs) if (one in mine) != (one in theirs)]
            first = only[0] if only else mine[0]
            finder = name if first in mine else other_name
            message = (
                f"the schema engines {name} and {other_name} disagree; only {finder} says "
                f"{first.rule or first.code}: {first.message}"
            )
            result += (Finding(Tier.SCHEMA, Severity.ERROR, ENGINES_DISAGREE, first.path, message),)
    return result


def _filter_errors(action: Action, body: Mapping[str, Any]) -> Iterator[Finding]:
    """Give a filter of a discover message that cannot be read."""
    message = body.get("message")
    if action is not Action.DISCOVER or not isinstance(message, dict):
        return
    for place, holder in (("$.message", message), ("$.message.intent", message.get("intent"))):
        filters = holder.get("filters") if isinstance(holder, dict) else None
        expression = filters.get("expression") if isinstance(filters, dict) else None
        if isinstance(expression, str) and expression:
            try:
                read_filter(expression)
            except WireError as error:
                yield _schema_finding(error, f"{place}.filters.expression")


def _against_earlier(histories: Histories, message: Message) -> tuple[Finding, ...]:
    view = message.contract
    if view is None or view.mode is None:
        return ()
    earlier = histories.get(view.contract["contractId"])
    return check_history(earlier, message.action, message.body)


def _add(histories: Histories, message: Message) -> None:
    view = message.contract
    if view is None:
        return
    contract_id = view.contract["contractId"]
    added = record(histories.get(contract_id), message.action, message.body)
    if added is not None:
        histories[contract_id] = added


def _mode_of(message: Message | None) -> str | None:
    if message is None:
        return None
    views = [message.contract]
    views += [message.contract_in(offer, path) for _, offer, path in message.offers()]
    modes = [view.mode.value for view in views if view is not None and view.mode is not None]
    return modes[0] if modes else None


def _fails(finding: Finding, profile: Profile) -> bool:
    judged = profile is Profile.STRICT or finding.tier is Tier.POLICY
    return judged and finding.severity is Severity.ERROR


def _schema_finding(error: WireError, path: str | None = None) -> Finding:
    return Finding(
        Tier.SCHEMA,
        Severity.ERROR,
        error.code,
        path or error.path or "$",
        error.message,
        wire_code=error.code,
    )
