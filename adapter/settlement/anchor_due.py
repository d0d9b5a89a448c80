"""When the host has to anchor: an epoch with entries has ended.

A pure read, like `timers`; asked after everything else that is due has been done, so that the
clearing of an epoch is among the entries that its statement covers.
"""

from adapter.settlement.commands import Command
from adapter.settlement.contracts.anchoring import epochs_to_anchor
from adapter.settlement.state import LedgerStore


def due_anchor(ledger: LedgerStore, now_ms: int) -> Command | None:
    """Return the command for the actor `system` that anchors what has ended, None for nothing.

    An epoch in which nothing happened waits for the next one with entries, and both are anchored
    by one statement.
    """
    if ledger.head() is None:
        return None
    epochs = epochs_to_anchor(ledger, now_ms)
    if epochs is None:
        return None
    first, last = epochs
    return Command(
        f"timer:anchor:{first}:{last}", "trading", "close_epoch", {"first": first, "last": last}
    )
