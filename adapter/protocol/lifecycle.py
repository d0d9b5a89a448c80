"""What a trade may do next, per side, as one table.

A trade begins NEW and ends COMPLETED or TERMINATED. A request moves it into a pending state; the
answer moves it on, and an error or a deadline moves it back to where it was. A confirm without an
answer is unknown, not refused. A step that is not listed is illegal: it raises and changes
nothing. The picture in the docs is drawn from this table.
Source: architecture section 7, protocol specification section 13.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.domain.replace import replace
from adapter.domain.trade import Trade, TradeState

S = TradeState


class Step(StrEnum):
    """What happens to a trade, by whoever causes it."""

    SELECT = "select"
    """BAP: sent. BPP: received and answered."""
    ON_SELECT = "on_select"
    INIT = "init"
    """BAP: sent. BPP: passed on to the grid operator. Grid operator: caps reserved. Session of a
    market: a prosumer joins."""
    ON_INIT = "on_init"
    """BAP: received. BPP: the terms are complete."""
    CONFIRM = "confirm"
    """BAP: sent. BPP: passed on. Grid operator: accepted, cash held. Market: committed. Session of
    a market: cleared, and passed on."""
    ON_CONFIRM = "on_confirm"
    """BAP: received. BPP: the grid operator has confirmed, or there is none."""
    FAIL = "fail"
    """The pending request failed: error, refusal, deadline."""
    LOSE = "lose"
    """No answer to a confirm: its fate is unknown."""
    LAPSE = "lapse"
    """The terms, or the reservation behind them, ran out."""
    CANCEL = "cancel"
    """The trade is cancelled."""
    STAY_PENDING = "pending"
    """News: the counterparty's contract is PENDING."""
    ACTIVATE = "active"
    """News: ACTIVE, nothing delivered yet."""
    DELIVER = "delivering"
    """News: delivery goes on."""
    COMPLETE = "completed"
    """News: delivered and settled."""
    TERMINATE = "terminated"
    """News: failed, expired or voided."""


BACK: Final = "BACK"
"""In place of a state: the state before the pending request."""

Row = Mapping[Step, TradeState | str]

_BAP: Mapping[TradeState, Row] = {
    S.NEW: {Step.SELECT: S.SELECT_PENDING, Step.INIT: S.INIT_PENDING},
    S.SELECT_PENDING: {Step.ON_SELECT: S.SELECTED, Step.FAIL: BACK, Step.CANCEL: S.TERMINATED},
    S.SELECTED: {
        Step.SELECT: S.SELECT_PENDING,
        Step.INIT: S.INIT_PENDING,
        Step.CANCEL: S.TERMINATED,
        Step.LAPSE: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.INIT_PENDING: {Step.ON_INIT: S.INITIATED, Step.FAIL: BACK, Step.CANCEL: S.TERMINATED},
    S.INITIATED: {
        Step.SELECT: S.SELECT_PENDING,
        Step.INIT: S.INIT_PENDING,
        Step.CONFIRM: S.CONFIRM_PENDING,
        Step.CANCEL: S.TERMINATED,
        Step.LAPSE: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRM_PENDING: {
        Step.ON_CONFIRM: S.CONFIRMED,
        Step.ACTIVATE: S.CONFIRMED,
        Step.DELIVER: S.DELIVERING,
        Step.FAIL: S.INITIATED,
        Step.LOSE: S.CONFIRM_UNKNOWN,
        Step.CANCEL: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRM_UNKNOWN: {
        Step.ON_CONFIRM: S.CONFIRMED,
        Step.ACTIVATE: S.CONFIRMED,
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.STAY_PENDING: S.INITIATED,
        Step.FAIL: S.INITIATED,
        Step.CANCEL: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRMED: {
        Step.ACTIVATE: S.CONFIRMED,
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.CANCEL: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.DELIVERING: {
        Step.ACTIVATE: S.DELIVERING,
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.COMPLETED: {},
    S.TERMINATED: {},
}

_BPP: Mapping[TradeState, Row] = {
    S.NEW: {Step.SELECT: S.SELECTED, Step.INIT: S.INIT_PENDING},
    S.SELECTED: {
        Step.SELECT: S.SELECTED,
        Step.INIT: S.INIT_PENDING,
        Step.CANCEL: S.TERMINATED,
        Step.LAPSE: S.TERMINATED,
    },
    S.INIT_PENDING: {Step.ON_INIT: S.INITIATED, Step.FAIL: BACK},
    S.INITIATED: {
        Step.SELECT: S.SELECTED,
        Step.INIT: S.INIT_PENDING,
        Step.CONFIRM: S.CONFIRM_PENDING,
        Step.CANCEL: S.TERMINATED,
        Step.LAPSE: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRM_PENDING: {Step.ON_CONFIRM: S.CONFIRMED, Step.FAIL: S.INITIATED},
    S.CONFIRMED: {
        Step.ACTIVATE: S.CONFIRMED,
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.CANCEL: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.DELIVERING: {
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.COMPLETED: {},
    S.TERMINATED: {},
}

_GRID_OPERATOR: Mapping[TradeState, Row] = {
    S.NEW: {Step.INIT: S.INITIATED},
    S.INITIATED: {
        Step.INIT: S.INITIATED,
        Step.CONFIRM: S.CONFIRMED,
        Step.CANCEL: S.TERMINATED,
        Step.LAPSE: S.TERMINATED,
    },
    S.CONFIRMED: {
        Step.DELIVER: S.DELIVERING,
        Step.CANCEL: S.TERMINATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.DELIVERING: {
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.COMPLETED: {},
    S.TERMINATED: {},
}

_MARKET: Mapping[TradeState, Row] = {
    S.NEW: {Step.INIT: S.INIT_PENDING},
    S.INIT_PENDING: {Step.ON_INIT: S.INITIATED, Step.FAIL: BACK},
    S.INITIATED: {
        Step.INIT: S.INIT_PENDING,
        Step.CONFIRM: S.CONFIRM_PENDING,
        Step.CANCEL: S.TERMINATED,
        Step.LAPSE: S.TERMINATED,
    },
    S.CONFIRM_PENDING: {
        Step.ON_CONFIRM: S.CONFIRMED,
        Step.FAIL: S.INITIATED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRMED: {
        Step.ACTIVATE: S.CONFIRMED,
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.DELIVERING: {
        Step.DELIVER: S.DELIVERING,
        Step.COMPLETE: S.COMPLETED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.COMPLETED: {},
    S.TERMINATED: {},
}

_MARKET_SESSION: Mapping[TradeState, Row] = {
    S.NEW: {Step.INIT: S.INITIATED},
    S.INITIATED: {
        Step.INIT: S.INITIATED,
        Step.CONFIRM: S.CONFIRM_PENDING,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRM_PENDING: {
        Step.CONFIRM: S.CONFIRM_PENDING,
        Step.ON_CONFIRM: S.CONFIRMED,
        Step.TERMINATE: S.TERMINATED,
    },
    S.CONFIRMED: {Step.COMPLETE: S.COMPLETED},
    S.COMPLETED: {},
    S.TERMINATED: {},
}

TRANSITIONS: Mapping[Side, Mapping[TradeState, Row]] = {
    Side.BAP: _BAP,
    Side.BPP: _BPP,
    Side.GRID_OPERATOR: _GRID_OPERATOR,
    Side.MARKET: _MARKET,
    Side.MARKET_SESSION: _MARKET_SESSION,
}
PENDING_STATES = frozenset({S.SELECT_PENDING, S.INIT_PENDING, S.CONFIRM_PENDING})
CONFIRMED_STATES = frozenset({S.CONFIRMED, S.DELIVERING, S.COMPLETED})


def is_final(trade: Trade) -> bool:
    """Return whether nothing can happen to this trade any more."""
    return not TRANSITIONS[trade.side][trade.state]


def allows(trade: Trade, step: Step) -> bool:
    """Return whether `step` is legal now."""
    return step in TRANSITIONS[trade.side][trade.state]


def advance(trade: Trade, step: Step) -> Trade:
    """Return the trade after `step`.

    Raises:
        WireError: BIZ_INVALID_STATE_TRANSITION, no such step from here; nothing changes.
    """
    row = TRANSITIONS[trade.side][trade.state]
    if step not in row:
        raise illegal(trade, step.value)
    target = row[step]
    state = trade.back if target == BACK else TradeState(target)
    back = trade.state if state in PENDING_STATES else trade.back
    return replace(trade, state=state, back=back)


def illegal(trade: Trade, what: str) -> WireError:
    """Return the refusal of a step that the state does not allow."""
    allowed = ", ".join(step.value for step in TRANSITIONS[trade.side][trade.state]) or "nothing"
    msg = f"a trade in {trade.state} accepts {allowed}, not {what}"
    return WireError("BIZ_INVALID_STATE_TRANSITION", msg, path="$.context.action")


def to_mermaid(side: Side) -> str:
    """Return the table of a side as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {S.NEW}"]
    for state, row in TRANSITIONS[side].items():
        edges: dict[str, list[str]] = {}
        for step, target in row.items():
            edges.setdefault(str(target), []).append(step.value)
        lines += [f"    {state} --> {target}: {', '.join(by)}" for target, by in edges.items()]
        if not row:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines) + "\n"
