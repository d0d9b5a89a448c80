"""oracle: the upkeep of the market, asked for by a pure read and done by one command.

Source: settlement specification, sections 9.1 and 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

from adapter.settlement.commands import NoEntry, ReadView
from adapter.settlement.contracts import parameters
from adapter.settlement.contracts.anchoring import close_epochs, epochs_to_anchor
from adapter.settlement.contracts.clearing_epoch import clear_books
from adapter.settlement.contracts.expiry import expire_overdue, overdue
from adapter.settlement.contracts.order_book import DueEpoch, due_epochs
from adapter.settlement.kinds import BOOLEAN, integer_kind
from adapter.settlement.rows import Parameters
from adapter.settlement.settings import Settings
from adapter.settlement.state import LedgerStore
from adapter.settlement.work import Work, effective_settings


@dataclass(frozen=True, slots=True)
class CheckUpkeep:
    """Whether something is to be expired, cleared or anchored; changes nothing."""


@dataclass(frozen=True, slots=True)
class PerformUpkeep:
    """Expire, then clear the epochs that have ended; when neither is due, anchor."""

    limit: Annotated[int | None, integer_kind("epochs", 1, 10_000)] = None


@dataclass(frozen=True, slots=True)
class SetAutoMarketClearing:
    """Say whether upkeep clears markets, or only expires."""

    enabled: Annotated[bool, BOOLEAN]


@dataclass(frozen=True, slots=True)
class Due:
    """What upkeep has to do."""

    expirations: int
    """Objects past their deadline, as far as one call would go."""
    epochs: tuple[DueEpoch, ...]
    """Books to clear, as far as one call would go."""
    anchor: tuple[int, int] | None
    """First and last epoch of the statement to make, once nothing is left to clear."""

    @property
    def is_needed(self) -> bool:
        """Return whether a call would do something."""
        return bool(self.expirations or self.epochs or self.anchor)


def due_upkeep(ledger: LedgerStore, now_ms: int, limit: int | None = None) -> Due:
    """Return what is due; a pure read.

    Args:
        ledger: with its entry 0.
        now_ms: epochs that end by then have ended.
        limit: epochs to look for; None: as many as one call clears.
    """
    settings = _settings(ledger, now_ms)
    expirations = sum(1 for _ in islice(overdue(ledger, now_ms), settings.expire_batch))
    epochs = epochs_to_clear(ledger, now_ms, limit or settings.upkeep_batch)
    anchors = settings.auto_market_clearing and not epochs
    return Due(expirations, tuple(epochs), epochs_to_anchor(ledger, now_ms) if anchors else None)


def epochs_to_clear(ledger: LedgerStore, now_ms: int, limit: int) -> list[DueEpoch]:
    """Return at most `limit` books that upkeep has to clear, in order; none while that is off."""
    if not _settings(ledger, now_ms).auto_market_clearing:
        return []
    return due_epochs(ledger, now_ms, limit)


def _settings(ledger: LedgerStore, now_ms: int) -> Settings:
    return effective_settings(ledger.get(Parameters, ""), now_ms)


def check_upkeep(view: ReadView, _args: CheckUpkeep) -> Any:
    """Answer for anyone."""
    due = due_upkeep(view.ledger, view.now_ms)
    ends = dict(zip(("first", "last"), due.anchor or (), strict=False))
    return {
        "needed": due.is_needed,
        "epochs": [{"epoch": epoch, "area": area} for epoch, area in due.epochs],
        "expirations": due.expirations,
        **({"anchor": ends} if ends else {}),
    }


def perform_upkeep(work: Work, args: PerformUpkeep) -> Mapping[str, Any]:
    """Do what is due.

    A statement covers entries and not the one that makes it, so epochs are anchored by the call
    after the one that cleared them.
    """
    due = due_upkeep(work.ledger, work.now_ms, args.limit)
    if not due.is_needed:
        raise NoEntry({"expired": 0, "cleared": [], "anchored": False})
    work.emit("MarketClearingChecked", {"due": len(due.epochs)})
    expired = expire_overdue(work, work.settings.expire_batch) if due.expirations else 0
    cleared = clear_books(work, due.epochs)
    if cleared:
        numbers = list(dict.fromkeys(one.epoch for one in cleared))
        work.emit("AutoMarketClearingTriggered", {"epochs": numbers})
    if due.anchor is not None and not expired:
        close_epochs(work, *due.anchor)
    return {
        "expired": expired,
        "cleared": [{"epoch": one.epoch, "area": one.area} for one in cleared],
        "anchored": due.anchor is not None and not expired,
    }


def set_auto_market_clearing(work: Work, args: SetAutoMarketClearing) -> Mapping[str, Any]:
    """Change the setting `auto_market_clearing`, from the next epoch on like every setting."""
    changed = parameters.change(work, "auto_market_clearing", args.enabled)
    work.emit("AutoMarketClearingSet", {"enabled": args.enabled})
    return {"enabled": args.enabled, "from": changed["from"]}
