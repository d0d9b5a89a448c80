"""The event feed of the contract layer, page by page, without gaps.

A page covers whole entries, unless one has more events than a page: a clearing has one and more per
trade. It says where the next page goes on, also when nothing on it was for the caller. Source:
settlement specification, section 17.
"""

from typing import Any

from adapter.protocol import strict_json
from adapter.settlement import Genesis, LedgerStore, event_to_wire, sees_event
from adapter.settlement.block_views import all_events

Position = tuple[int, int]
"""(seq, index) of the last event known."""
WHOLE_ENTRY = 10**9
"""In place of an index: all events of that entry are known."""
BEGINNING: Position = (-1, WHOLE_ENTRY)
EVENTS_MAX = 10_000
"""Events looked at for one page: some milliseconds, and at most some MB of answer."""


def event_page(
    ledger: LedgerStore, after: Position, actor: str, only: tuple[str, str], limit: int
) -> dict[str, Any]:
    """Return `{events, next}`: what `actor` may see of the next entries.

    Args:
        ledger: the state to read.
        after: where to go on.
        actor: who asks.
        only: contract and event name wanted, empty for all.
        limit: entries looked at. A clearing has more events than a page takes: it ends inside
            such an entry when EVENTS_MAX events have been seen.
    """
    seq, index = after
    genesis = ledger.get(Genesis, "")
    digits = genesis.digits if genesis is not None else 2
    begun = index < WHOLE_ENTRY  # the entry `seq` itself is looked at again
    found: list[dict[str, Any]] = []
    last, left = after, EVENTS_MAX
    for entry in ledger.entries(seq - begun, limit + begun):
        document = strict_json.decode_object(entry.body)
        head = {
            "seq": entry.seq,
            "time": entry.time_ms,
            "contract": document["contract"],
            "function": document["function"],
        }
        is_wanted = only[0] in ("", document["contract"])
        start = index + 1 if entry.seq == seq else 0
        for number, event in all_events(ledger, document, start) if is_wanted else ():
            if left == 0:
                return {"events": found, "next": _text(last)}
            left -= 1
            last = (entry.seq, number)
            if only[1] in ("", event.name) and sees_event(ledger, actor, event):
                shown = event_to_wire(event, digits)
                found.append({"id": f"{entry.seq}.{number}"} | head | shown)
        last = (entry.seq, WHOLE_ENTRY)
    return {"events": found, "next": _text(last)}


def _text(position: Position) -> str | None:
    seq, index = position
    if seq < 0:
        return None
    return str(seq) if index >= WHOLE_ENTRY else f"{seq}.{index}"
