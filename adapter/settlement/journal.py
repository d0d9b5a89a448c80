"""Entries of the journal: their bytes, their hashes, the chain.

One entry is one accepted command with its postings and events. Its hash is the link of the next
entry and the leaf of the Merkle tree. Source: settlement specification, section 5.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapter.settlement import events
from adapter.settlement.blocks import Block
from adapter.settlement.canonical import canonical_bytes
from adapter.settlement.events import Event
from adapter.settlement.postings import Posting
from adapter.settlement.state import Entry

VERSION = 1
NO_PREVIOUS = "0" * 64
LEAF = b"\x00"


def entry_hash(body: bytes) -> str:
    """Return the hash of an entry's canonical bytes, in hex."""
    return hashlib.sha256(LEAF + body).hexdigest()


def seal(
    fields: Mapping[str, Any],
    postings: Sequence[Posting],
    happened: Sequence[Event],
    blocks: Sequence[Block] = (),
) -> Entry:
    """Return the entry of an accepted command.

    Args:
        fields: ledger, seq, time, actor, cmd, contract, function, args, prev and, if the actor
            acted for somebody, on_behalf_of.
        postings: in order; the index of one that makes a hold is part of the hold's id.
        happened: events in order.
        blocks: rows that the entry names by their root alone.
    """
    document = {
        "v": VERSION,
        **fields,
        "postings": [posting.to_journal() for posting in postings],
        "events": [events.to_journal(event) for event in happened],
    }
    if blocks:
        document["blocks"] = [block.to_journal() for block in blocks]
    body = canonical_bytes(document)
    return Entry(document["seq"], document["time"], entry_hash(body), body)


def broken_link(entries: Sequence[Entry], seq: int, link: str) -> str | None:
    """Return where the chain breaks, as `entry N: why`; None when it holds.

    Args:
        entries: as they are stored, in order.
        seq: number of the entry before the first of them, -1 before entry 0.
        link: hash of that entry.
    """
    for entry in entries:
        if entry.seq != seq + 1:
            return f"entry {seq + 1}: it is missing"
        if entry_hash(entry.body) != entry.hash:
            return f"entry {entry.seq}: its bytes are not those that were hashed"
        if _previous(entry.body) != link:
            return f"entry {entry.seq}: it does not follow the entry before it"
        seq, link = entry.seq, entry.hash
    return None


def _previous(body: bytes) -> object:
    try:
        return json.loads(body).get("prev")
    except (ValueError, AttributeError, RecursionError):
        return None


def entry_events(document: Mapping[str, Any]) -> tuple[Event, ...]:
    """Return the events of a parsed entry."""
    return tuple(events.from_journal(event) for event in document["events"])
