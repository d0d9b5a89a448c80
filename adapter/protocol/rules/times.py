"""Rules 22 to 26 and 34: trade window, offer validity, time of the message."""

from collections.abc import Iterator

from adapter.domain.findings import Severity
from adapter.protocol.metered import instant
from adapter.protocol.rules.message import ContractCase
from adapter.protocol.rules.rule import FIXED_AND_TARIFF, Hit, Rule

_AGREEING = frozenset({"init", "on_init", "confirm", "on_confirm"})
"""Actions that need the trade window to lie ahead."""
_BARGAINING = _AGREEING | {"select", "on_select"}
"""Actions that need the offer to stand."""


def window_order(case: ContractCase) -> Iterator[Hit]:
    """The trade window ends after its start."""
    start, end = case.window
    if start is not None and end is not None and end <= start:
        view = case.view
        yield Hit(
            view.input_path("BUYER", "tradeEndTime"),
            {
                "end": view.input("BUYER", "tradeEndTime"),
                "start": view.input("BUYER", "tradeStartTime"),
            },
        )


def window_outside(case: ContractCase) -> Iterator[Hit]:
    """The trade window lies inside the contract's validity window."""
    validity = case.view.parameters.get("validityWindow")
    if not validity:
        return
    start, end = case.window
    first, last = instant(validity.get("startTime")), instant(validity.get("endTime"))
    if start is not None and first is not None and start < first:
        yield Hit(case.view.input_path("BUYER", "tradeStartTime"), {})
    elif end is not None and last is not None and end > last:
        yield Hit(case.view.input_path("BUYER", "tradeEndTime"), {})


def window_started(case: ContractCase) -> Iterator[Hit]:
    """The window has not begun when the trade is agreed."""
    start, end = case.window
    now = case.message.now
    if case.message.action not in _AGREEING or now is None or start is None:
        return
    if now > start and (end is None or now < end):
        path = case.view.input_path("BUYER", "tradeStartTime")
        start_text = case.view.input("BUYER", "tradeStartTime")
        yield Hit(path, {**_at(case), "start": start_text})


def window_ended(case: ContractCase) -> Iterator[Hit]:
    """The window has not ended when the trade is agreed."""
    end = case.window[1]
    now = case.message.now
    if case.message.action in _AGREEING and now is not None and end is not None and now >= end:
        path = case.view.input_path("BUYER", "tradeEndTime")
        yield Hit(path, {**_at(case), "end": case.view.input("BUYER", "tradeEndTime")})


def _at(case: ContractCase) -> dict[str, str]:
    return {"action": case.message.action, "now": case.message.now_text}


def offer_expired(case: ContractCase) -> Iterator[Hit]:
    """The offer stands at the time of the message, both ends included."""
    now = case.message.now
    validity = case.view.input("SELLER", "validityWindow")
    if validity is None or now is None or case.message.action not in _BARGAINING:
        return
    start, end = instant(validity.get("start")), instant(validity.get("end"))
    if (start is not None and now < start) or (end is not None and now > end):
        yield Hit(
            case.view.input_path("SELLER", "validityWindow"),
            {
                "start": validity.get("start", ""),
                "end": validity.get("end", ""),
                "now": case.message.now_text,
            },
        )


def created_later(case: ContractCase) -> Iterator[Hit]:
    """The contract is not younger than the message."""
    created = case.view.contract["createdAt"]
    now = case.message.now
    if now is not None and (instant(created) or 0) > now:
        yield Hit(case.path("createdAt"), {"created": created, "now": case.message.now_text})


TIME_RULES = (
    Rule(
        "P2P_WINDOW_ORDER",
        Severity.ERROR,
        "trade window ends {end} not after its start {start}",
        window_order,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_WINDOW_OUTSIDE",
        Severity.WARNING,
        "trade window outside the contract validity window",
        window_outside,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_WINDOW_STARTED",
        Severity.WARNING,
        "{action} at {now}, trade window began {start}",
        window_started,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_WINDOW_ENDED",
        Severity.ERROR,
        "{action} at {now}, trade window ended {end}",
        window_ended,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_OFFER_EXPIRED",
        Severity.ERROR,
        "offer valid {start}..{end}, message at {now}",
        offer_expired,
        FIXED_AND_TARIFF,
    ),
    Rule(
        "P2P_CREATED_LATER",
        Severity.WARNING,
        "created {created} after the message time {now}",
        created_later,
    ),
)
