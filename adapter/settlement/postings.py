"""Postings: the only four ways a balance changes, and the life of a hold.

`direct` moves now, `hold` sets aside, `post` uses a hold, `void` releases it. A hold resolves
once. Postings are immutable; a correction is a reversal. Source: settlement specification,
section 4.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from adapter.domain.errors import AdapterError


class HoldState(StrEnum):
    """Where a hold stands."""

    PENDING = "PENDING"
    POSTED = "POSTED"
    VOIDED = "VOIDED"
    EXPIRED = "EXPIRED"


class HoldEvent(StrEnum):
    """What can happen to a hold."""

    POST = "POST"
    VOID = "VOID"
    TIMEOUT = "TIMEOUT"


HOLD_TRANSITIONS: Mapping[HoldState, Mapping[HoldEvent, HoldState]] = MappingProxyType(
    {
        HoldState.PENDING: {
            HoldEvent.POST: HoldState.POSTED,
            HoldEvent.VOID: HoldState.VOIDED,
            HoldEvent.TIMEOUT: HoldState.EXPIRED,
        },
        HoldState.POSTED: {},
        HoldState.VOIDED: {},
        HoldState.EXPIRED: {},
    }
)


class Why(StrEnum):
    """Why a hold is released."""

    CANCEL = "cancel"
    EXPIRE = "expire"
    EXCESS = "excess"
    SUSPEND = "suspend"
    SUPERSEDE = "supersede"
    DISPUTE = "dispute"


class TransitionError(AdapterError):
    """A step that the state machine of the object does not have."""


def next_hold(state: HoldState, event: HoldEvent) -> HoldState:
    """Return the state after `event`.

    Raises:
        TransitionError: INVALID_TRANSITION, no such step; nothing changes.
    """
    try:
        return HOLD_TRANSITIONS[state][event]
    except KeyError:
        allowed = ", ".join(HOLD_TRANSITIONS[state]) or "nothing"
        msg = f"a {state} hold accepts {allowed}, not {event}"
        raise TransitionError("INVALID_TRANSITION", msg) from None


@dataclass(frozen=True, slots=True)
class Direct:
    """Move `amount` now."""

    source: str
    target: str
    amount: int

    def to_journal(self) -> dict[str, Any]:
        """Return the posting as written into the entry."""
        return {"k": "direct", "from": self.source, "to": self.target, "amount": str(self.amount)}


@dataclass(frozen=True, slots=True)
class MakeHold:
    """Set `amount` aside."""

    hold_id: str
    account: str
    amount: int
    purpose: str
    """What it is for: `agreement:4`, `order:17`, `meter:M1@epoch`."""
    until_ms: int
    """0 for none."""

    def to_journal(self) -> dict[str, Any]:
        """Return the posting as written into the entry."""
        return {
            "k": "hold",
            "hold": self.hold_id,
            "account": self.account,
            "amount": str(self.amount),
            "for": self.purpose,
            "until": self.until_ms,
        }


@dataclass(frozen=True, slots=True)
class PostHold:
    """Use a hold for legs to other accounts; what they leave is released."""

    hold_id: str
    legs: tuple[tuple[str, int], ...]

    def to_journal(self) -> dict[str, Any]:
        """Return the posting as written into the entry."""
        legs = [[target, str(amount)] for target, amount in self.legs]
        return {"k": "post", "hold": self.hold_id, "legs": legs}


@dataclass(frozen=True, slots=True)
class VoidHold:
    """Release a hold."""

    hold_id: str
    why: Why

    def to_journal(self) -> dict[str, Any]:
        """Return the posting as written into the entry."""
        return {"k": "void", "hold": self.hold_id, "why": str(self.why)}


Posting = Direct | MakeHold | PostHold | VoidHold


def total(legs: Iterable[tuple[str, int]]) -> int:
    """Return the sum of the amounts of legs."""
    return sum(amount for _, amount in legs)
