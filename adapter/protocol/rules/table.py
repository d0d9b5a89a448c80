"""The rule catalogue as tables, and the one function that runs them over a message.

Each rule is a small function in the module of its subject; here they stand in the order of the
contract specification, section 12, by what they look at.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from adapter.domain.findings import Finding, Path, Severity, document_position
from adapter.protocol.contract_view import ContractView, Mode
from adapter.protocol.flow_binding import DEFAULT_TIME_ZONE
from adapter.protocol.rules.curves import CURVE_RULES
from adapter.protocol.rules.cycles import CYCLE_RULES
from adapter.protocol.rules.delivery import DELIVERY_RULES
from adapter.protocol.rules.flow_rules import FLOW_RULES
from adapter.protocol.rules.inputs import INPUT_RULES
from adapter.protocol.rules.market import MARKET_RULES
from adapter.protocol.rules.message import (
    ContractCase,
    DeliveryCase,
    Message,
    OfferCase,
    OrderCase,
)
from adapter.protocol.rules.modes import MESSAGE_RULES, MODE_RULES, ROLE_RULES
from adapter.protocol.rules.offers import OFFER_RULES
from adapter.protocol.rules.orders import ORDER_RULES
from adapter.protocol.rules.rule import Hit, Rule
from adapter.protocol.rules.stages import STAGE_RULES
from adapter.protocol.rules.tariffs import TARIFF_RULES
from adapter.protocol.rules.times import TIME_RULES

Subject = TypeVar("Subject")

CONTRACT_RULES: tuple[Rule[ContractCase], ...] = (
    *ROLE_RULES,
    *INPUT_RULES,
    *TIME_RULES,
    *STAGE_RULES,
    *FLOW_RULES,
    *TARIFF_RULES,
    *CURVE_RULES,
    *MARKET_RULES,
)
ALL_RULES: tuple[Rule[Any], ...] = (
    *MODE_RULES,
    *MESSAGE_RULES,
    *CONTRACT_RULES,
    *OFFER_RULES,
    *ORDER_RULES,
    *DELIVERY_RULES,
    *CYCLE_RULES,
)
"""Every rule over one message."""


class _Table(Generic[Subject]):
    """Rules by what they run on; None stands for objects without a mode."""

    def __init__(self, rules: Sequence[Rule[Subject]]) -> None:
        self.of_mode: dict[Mode | None, tuple[Rule[Subject], ...]] = {
            mode: tuple(rule for rule in rules if mode in rule.modes) for mode in Mode
        }
        self.of_mode[None] = tuple(rules)
        self.refusing = {
            mode: tuple(rule for rule in listed if rule.may_refuse)
            for mode, listed in self.of_mode.items()
        }


_MODE = _Table(MODE_RULES)
_CONTRACT = _Table(CONTRACT_RULES)
_OFFER = _Table(OFFER_RULES)
_ORDER = _Table(ORDER_RULES)
_DELIVERY = _Table((*DELIVERY_RULES, *CYCLE_RULES))
assert not any(rule.may_refuse for rule in MESSAGE_RULES)

MAX_HITS = 100
"""Hits of one rule in one object that are reported, as many as a NACK holds altogether."""


def check_message(
    action: str,
    body: Mapping[str, Any],
    *,
    schema_findings: Sequence[Finding] = (),
    time_zone: str = DEFAULT_TIME_ZONE,
    errors_only: bool = False,
) -> tuple[Finding, ...]:
    """Return what the rules over one message find, in document order.

    Args:
        action: the message's action.
        body: context and message, strictly decoded.
        schema_findings: what tier 1 found; objects in which it found something are left out.
        time_zone: IANA name in which a tariff is read that names none.
        errors_only: leave out warnings and information, which refuse nothing; a node looks at
            errors alone, and a third of the rules need not run then.
    """
    message = Message(action, body, schema_findings, time_zone)
    return check_read(message, errors_only=errors_only)


def check_read(message: Message, *, errors_only: bool = False) -> tuple[Finding, ...]:
    """Return what `check_message` returns, for a message that has been taken apart already."""
    return _Run(message, errors_only=errors_only).findings()


class _Run:
    """One run over one message."""

    def __init__(self, message: Message, *, errors_only: bool) -> None:
        self._message = message
        self._errors_only = errors_only
        self._hits: dict[tuple[str, Path, str], tuple[Rule[Any], Hit]] = {}
        self._without_mode: list[Path] = []

    def findings(self) -> tuple[Finding, ...]:
        """Run every rule that applies, and put the hits in document order."""
        self._check_order()
        self._check_offers()
        if not self._errors_only:
            self._check_objects()
        hits = list(self._hits.values())
        if len(hits) > 1:
            body = self._message.body
            hits.sort(key=lambda entry: document_position(body, entry[1].path))
        return tuple(rule.finding(hit) for rule, hit in hits)

    def _check_order(self) -> None:
        view = self._message.contract
        case = None if view is None else self._check_contract(view)
        if self._message.order is None:
            return
        if case is not None:
            self._apply(_ORDER, OrderCase(case, self._message.order), case.view.mode)
        for part in self._message.deliveries:
            delivery = DeliveryCase(self._message, part, case)
            self._apply(_DELIVERY, delivery, None)

    def _check_offers(self) -> None:
        for catalog, offer, path in self._message.offers():
            view = self._message.contract_in(offer, path)
            case = None if view is None else self._check_contract(view)
            if case is not None:
                self._apply(_OFFER, OfferCase(case, catalog, offer, path), case.view.mode)

    def _check_contract(self, view: ContractView) -> ContractCase | None:
        """Run the contract rules; without a mode, only the rules that say so."""
        if view.mode is None:
            self._without_mode.append(view.path)
            self._apply(_MODE, view, None)
            return None
        case = ContractCase(self._message, view)
        self._apply(_CONTRACT, case, view.mode)
        return case

    def _check_objects(self) -> None:
        """Run the rules over all objects, but for those in contracts without a mode."""
        for rule in MESSAGE_RULES:
            for hit in islice(rule.check(self._message), MAX_HITS):
                in_no_mode = any(hit.path[: len(p)] == p for p in self._without_mode)
                if not in_no_mode and self._message.is_clean(hit.path[:-1]):
                    self._add(rule, hit)

    def _apply(self, table: _Table[Subject], subject: Subject, mode: Mode | None) -> None:
        errors_only = self._errors_only
        for rule in (table.refusing if errors_only else table.of_mode)[mode]:
            left = MAX_HITS
            for hit in rule.check(subject):  # nearly every rule has none
                if not errors_only or rule.severity_of(hit) is Severity.ERROR:
                    self._add(rule, hit)
                left -= 1
                if not left:
                    break

    def _add(self, rule: Rule[Any], hit: Hit) -> None:
        self._hits.setdefault((rule.code, hit.path, repr(hit.params)), (rule, hit))
