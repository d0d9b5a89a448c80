"""Entries of the journal: their bytes, their hashes, the chain.

One entry is one accepted command with its postings and events. Its hash is the link of the next
entry and the leaf of the Merkle tree. Source: settlement specification, section 5.
"""

import hashlib
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


def entry_events(document: Mapping[str, Any]) -> tuple[Event, ...]:
    """Return the events of a parsed entry."""
    return tuple(events.from_journal(event) for event in document["events"])
