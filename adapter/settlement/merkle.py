"""The Merkle tree of RFC 6962 over entries of the journal and over rows of blocks.

A leaf is `SHA-256(0x00 || bytes)`, a node `SHA-256(0x01 || left || right)`; an odd node moves up
unchanged; the empty tree is SHA-256 of nothing. Hashes are 32 bytes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

EMPTY = hashlib.sha256().digest()

Side = Literal["left", "right"]


class Step(NamedTuple):
    """One neighbour on the way from a leaf to the root."""

    side: Side
    """Where the neighbour stands."""
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over hashes of leaves, in order."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def merkle_path(leaves: Sequence[bytes], index: int) -> tuple[Step, ...]:
    """Return the neighbours that lead from leaf `index` to the root.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        msg = f"leaf {index} of {len(leaves)}"
        raise IndexError(msg)
    steps: list[Step] = []
    level = list(leaves)
    while len(level) > 1:
        neighbour = index ^ 1
        if neighbour < len(level):
            steps.append(Step("left" if neighbour < index else "right", level[neighbour]))
        level, index = _parents(level), index // 2
    return tuple(steps)


def root_of_path(leaf: bytes, path: Iterable[Step]) -> bytes:
    """Return the root that a leaf and its path lead to."""
    for side, neighbour in path:
        leaf = node_hash(neighbour, leaf) if side == "left" else node_hash(leaf, neighbour)
    return leaf


def sides_of_path(index: int, size: int) -> tuple[Side, ...]:
    """Return where the neighbours of leaf `index` stand on its way up a tree of `size` leaves."""
    sides: list[Side] = []
    while size > 1:
        if index ^ 1 < size:
            sides.append("left" if index % 2 else "right")
        index, size = index // 2, (size + 1) // 2
    return tuple(sides)


def _parents(level: Sequence[bytes]) -> list[bytes]:
    paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return [*paired, level[-1]] if len(level) % 2 else paired
