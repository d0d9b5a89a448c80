"""Bundles that prove a trade to a third party, and their check with the host's public key alone.

A bundle is one canonical JSON object:

    {type, kind, id, entries: [{role, body, path, statement}], roots: [signed statements],
     block?: {leaf, path}, derived}

`body` is the canonical text of a journal entry, `path` its way to the root of the statement with
the hash `statement`; a side and a hash per step. Nothing in it is taken on trust: what is not
signed or hashed is derived again and compared. Source: settlement specification, section 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from adapter.settlement.blocks import Block
from adapter.settlement.canonical import CanonicalError, canonical_bytes, parse_canonical
from adapter.settlement.journal import entry_hash
from adapter.settlement.merkle import (
    Step,
    leaf_hash,
    merkle_path,
    root_of_path,
    sides_of_path,
)
from adapter.settlement.proof_stories import (
    STORIES,
    ProofError,
    Story,
    Told,
    TradeRow,
    first_row,
)
from adapter.settlement.roots import Statement
from adapter.settlement.signed_roots import SignedRoot, check_root, signed_root_of
from adapter.settlement.state import LedgerStore

PROOF_TYPE = "p2ptrade.proof.v1"
BODY_MAX = 4 * 1_024 * 1_024
"""Bytes of a bundle that is looked at: an agreement settled in 3 000 parts stays below."""
TRADES_BLOCK = "trades"


@dataclass(frozen=True, slots=True)
class Cited:
    """An entry that a bundle is to hold."""

    role: str
    seq: int


class TradePlace(NamedTuple):
    """Where a spot trade stands."""

    trade_id: str
    row: int
    """In the block `trades`, which holds all clearings of its entry."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a bundle proves."""

    kind: str
    id: str
    derived: Mapping[str, Any]
    statements: tuple[SignedRoot, ...]


def make_proof(
    ledger: LedgerStore,
    kind: str,
    cited: Sequence[Cited],
    statements: Sequence[SignedRoot],
    place: TradePlace | None = None,
) -> dict[str, Any]:
    """Return the bundle of a trade.

    Args:
        ledger: holds the entries and blocks.
        kind: a key of STORIES.
        cited: the entries in the order of the story.
        statements: signed ones that cover all of them.
        place: of a spot trade, in the block `trades` of the first entry.

    Raises:
        ProofError: the entries do not make such a trade.
    """
    covering = [_covering(statements, one.seq) for one in cited]
    told = [Told(one.role, _document(ledger, one.seq)) for one in cited]
    row: TradeRow | None = None
    block: dict[str, Any] = {}
    if place is not None:
        row, block = _cite_row(ledger, cited[0].seq, place)
    story = STORIES[kind](told, row)
    leaves = {root.statement.last_seq: _leaves(ledger, root.statement) for root in covering}
    entries = [
        {
            "role": one.role,
            "body": canonical_bytes(part.document).decode(),
            "path": _wire_path(
                merkle_path(leaves[root.statement.last_seq], one.seq - root.statement.first_seq)
            ),
            "statement": root.statement.hash,
        }
        for one, part, root in zip(cited, told, covering, strict=True)
    ]
    roots = {root.statement.last_seq: root.to_wire() for root in covering}
    return {
        "type": PROOF_TYPE,
        "kind": kind,
        "id": story.id,
        "entries": entries,
        **block,
        "roots": [roots[last_seq] for last_seq in sorted(roots)],
        "derived": dict(story.derived),
    }


def check_proof(bundle: bytes, public_key: str) -> Proven:
    """Return what a bundle proves.

    Args:
        bundle: its canonical bytes.
        public_key: base64 of 32 bytes, the key of the ledger's host.

    Raises:
        ProofError: it does not; the first reason.
    """
    if len(bundle) > BODY_MAX:
        msg = f"the bundle is longer than {BODY_MAX} bytes"
        raise ProofError(msg)
    try:
        document = parse_canonical(bundle)
        return _checked(document, public_key)
    except CanonicalError as error:
        msg = f"not a bundle: {error}"
        raise ProofError(msg) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        msg = f"not a bundle: a part is missing or of the wrong type: {error!r}"
        raise ProofError(msg) from None


def _checked(document: Mapping[str, Any], public_key: str) -> Proven:
    known = {"type", "kind", "id", "entries", "roots", "derived"}
    if document["type"] != PROOF_TYPE or document["kind"] not in STORIES:
        msg = f"not a bundle of type {PROOF_TYPE}"
        raise ProofError(msg)
    if document.keys() - {"block"} != known:
        msg = "a part is unknown or missing"
        raise ProofError(msg)
    roots = _checked_roots(document["roots"], public_key)
    told = [_checked_entry(entry, roots) for entry in document["entries"]]
    if {entry["statement"] for entry in document["entries"]} != roots.keys():
        msg = "a statement covers none of the entries"
        raise ProofError(msg)
    row = None
    if "block" in document:
        row = _checked_row(document["block"], told[0], document["id"])
    story: Story = STORIES[document["kind"]](told, row)
    for name, said, follows in (
        ("id", document["id"], story.id),
        ("derived", document["derived"], dict(story.derived)),
        ("ledger", {root.statement.ledger for root in roots.values()}, {story.derived["ledger"]}),
    ):
        if said != follows:
            msg = f"{name}: does not follow from the entries"
            raise ProofError(msg)
    return Proven(document["kind"], story.id, story.derived, tuple(roots.values()))


def _checked_roots(roots: Sequence[Any], public_key: str) -> dict[str, SignedRoot]:
    """Return the statements of a bundle by hash, in order, all signatures checked."""
    found: dict[str, SignedRoot] = {}
    before = -1
    for document in roots:
        signed = signed_root_of(document)
        statement = signed.statement
        wrong = check_root(signed, public_key)
        if wrong is not None:
            msg = f"the statement of epoch {statement.last_epoch}: {wrong}"
            raise ProofError(msg)
        if not before < statement.first_seq <= statement.last_seq:
            msg = "the statements are out of order"
            raise ProofError(msg)
        before = statement.last_seq
        found[statement.hash] = signed
    return found


def _checked_entry(entry: Mapping[str, Any], roots: Mapping[str, SignedRoot]) -> Told:
    """Return an entry that its statement covers."""
    if entry.keys() != {"role", "body", "path", "statement"}:
        msg = "an entry is {role, body, path, statement}"
        raise ProofError(msg)
    body = entry["body"].encode()
    document = parse_canonical(body)
    seq = document["seq"]
    statement = roots[entry["statement"]].statement
    if not statement.first_seq <= seq <= statement.last_seq:
        msg = f"entry {seq} is not covered by the statement of epoch {statement.last_epoch}"
        raise ProofError(msg)
    index, size = seq - statement.first_seq, statement.last_seq - statement.first_seq + 1
    leaf = bytes.fromhex(entry_hash(body))
    root = root_of_path(leaf, _read_path(entry["path"], index, size))
    if root.hex() != statement.root:
        msg = f"entry {seq} does not lead to the root of epoch {statement.last_epoch}"
        raise ProofError(msg)
    return Told(entry["role"], document)


def _checked_row(block: Mapping[str, Any], clearing: Told, trade: str) -> TradeRow:
    """Return the row of a trade that leads to the root which the clearing entry names."""
    at = first_row(clearing, trade) + int(trade.rsplit("-", 1)[-1])
    if block.keys() != {"leaf", "path"}:
        msg = "the block's part is {leaf, path}"
        raise ProofError(msg)
    named = next(one for one in clearing.document["blocks"] if one["name"] == TRADES_BLOCK)
    leaf_rows, rows = named["leaf_rows"], named["rows"]
    if not 0 <= at < rows:
        msg = f"row {at} of {rows}"
        raise ProofError(msg)
    leaf = bytes.fromhex(block["leaf"])
    if leaf.hex() != block["leaf"]:
        msg = "the leaf is not in lower-case hex"
        raise ProofError(msg)
    part = Block(TRADES_BLOCK, leaf, leaf_rows)
    place = at // leaf_rows
    width = min(leaf_rows, rows - place * leaf_rows)
    path = _read_path(block["path"], place, -(-rows // leaf_rows))
    root = root_of_path(leaf_hash(leaf), path)
    if len(leaf) != width * part.row_bytes or root.hex() != named["root"]:
        msg = f"row {at} does not lead to the root of the block"
        raise ProofError(msg)
    return _trade_row(part, trade, at % leaf_rows)


def _cite_row(
    ledger: LedgerStore, seq: int, place: TradePlace
) -> tuple[TradeRow, dict[str, dict[str, Any]]]:
    block = ledger.block(seq, TRADES_BLOCK)
    assert block is not None
    leaf_index = place.row // block.leaf_rows
    width = block.leaf_rows * block.row_bytes
    leaf = block.data[leaf_index * width : (leaf_index + 1) * width]
    path = _wire_path(merkle_path(block.leaves(), leaf_index))
    row = _trade_row(block, place.trade_id, place.row)
    return row, {"block": {"leaf": leaf.hex(), "path": path}}


def _trade_row(block: Block, trade: str, at: int) -> TradeRow:
    buy_order, sell_order, energy = block.row(at)
    return TradeRow(trade, buy_order, sell_order, energy)


def _covering(statements: Sequence[SignedRoot], seq: int) -> SignedRoot:
    for root in statements:
        if root.statement.first_seq <= seq <= root.statement.last_seq:
            return root
    msg = f"entry {seq} is not covered by a signed statement yet"
    raise ProofError(msg)


def _document(ledger: LedgerStore, seq: int) -> dict[str, Any]:
    entry = ledger.entry(seq)
    if entry is None:
        msg = f"entry {seq} is not in the journal"
        raise ProofError(msg)
    try:
        return parse_canonical(entry.body)
    except CanonicalError as error:
        msg = f"entry {seq}: {error}"
        raise ProofError(msg) from None


def _leaves(ledger: LedgerStore, statement: Statement) -> list[bytes]:
    count = statement.last_seq - statement.first_seq + 1
    entries = ledger.entries(statement.first_seq - 1, count)
    return [bytes.fromhex(entry.hash) for entry in entries]


def _wire_path(path: Sequence[Step]) -> list[list[str]]:
    return [[step.side, step.hash.hex()] for step in path]


def _read_path(path: Sequence[Any], index: int, size: int) -> list[Step]:
    """Return a path that has exactly the sides of leaf `index` of `size`."""
    steps = [Step(side, bytes.fromhex(text)) for side, text in path]
    plain = [[step.side, step.hash.hex()] for step in steps] == list(map(list, path))
    if not plain or tuple(step.side for step in steps) != sides_of_path(index, size):
        msg = f"the path is not that of leaf {index} of {size}"
        raise ProofError(msg)
    return steps
