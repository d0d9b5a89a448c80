"""The event feed of the contract layer, page by page, without gaps.

A page covers whole entries. It says where the next one goes on, also when nothing on it was for the
caller. Source: settlement specification, section 17.
"""

from typing import Any

from adapter.protocol import strict_json
from adapter.settlement import Genesis, LedgerStore, entry_events, event_to_wire, sees_event

Position = tuple[int, int]
"""(seq, index) of the last event known."""
WHOLE_ENTRY = 10**9
"""In place of an index: all events of that entry are known."""
BEGINNING: Position = (-1, WHOLE_ENTRY)


def event_page(
    ledger: LedgerStore, after: Position, actor: str, only: tuple[str, str], limit: int
) -> dict[str, Any]:
    """Return `{events, next}`: what `actor` may see of the next entries.

    Args:
        ledger: the state to read.
        after: where to go on.
        actor: who asks.
        only: contract and event name wanted, empty for all.
        limit: entries looked at.
    """
    seq, index = after
    genesis = ledger.get(Genesis, "")
    digits = genesis.digits if genesis is not None else 2
    begun = index < WHOLE_ENTRY  # the entry `seq` itself is looked at again
    found: list[dict[str, Any]] = []
    last = after
    for entry in ledger.entries(seq - begun, limit + begun):
        document = strict_json.decode_object(entry.body)
        head = {
            "seq": entry.seq,
            "time": entry.time_ms,
            "contract": document["contract"],
            "function": document["function"],
        }
        for number, event in enumerate(entry_events(document)):
            known = (entry.seq, number) <= after
            wanted = only[0] in ("", document["contract"]) and only[1] in ("", event.name)
            if not known and wanted and sees_event(ledger, actor, event):
                shown = event_to_wire(event, digits)
                found.append({"id": f"{entry.seq}.{number}"} | head | shown)
        last = (entry.seq, WHOLE_ENTRY)
    return {"events": found, "next": _text(last)}


def _text(position: Position) -> str | None:
    seq, index = position
    if seq < 0:
        return None
    return str(seq) if index >= WHOLE_ENTRY else f"{seq}.{index}"
