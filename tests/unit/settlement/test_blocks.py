"""Blocks and their trees against the vectors of the settlement specification, section 5."""

import struct

import pytest

from adapter.settlement.blocks import Block
from adapter.settlement.merkle import (
    EMPTY,
    leaf_hash,
    merkle_path,
    merkle_root,
    node_hash,
    root_of_path,
)

TRADES = [(2, 1, 5), (2, 5, 1), (6, 5, 3), (6, 3, 2), (4, 3, 3)]
"""Buy order, sell order, kWh: book A."""
DATA = b"".join(struct.pack("<qqq", buy, sell, kwh * 10**6) for buy, sell, kwh in TRADES)


def test_the_rows_of_a_block_are_those_of_the_vector() -> None:
    """24 bytes a row, little-endian."""
    block = Block("trades", DATA)
    assert DATA[:24].hex() == "02000000000000000100000000000000404b4c0000000000"
    assert (block.rows, block.row(3)) == (5, (6, 3, 2_000_000))
    assert [row[2] for row in block] == [kwh * 10**6 for _, _, kwh in TRADES]


def test_the_root_depends_on_the_rows_in_a_leaf() -> None:
    """With one row in a leaf and with two."""
    one, two = Block("trades", DATA), Block("trades", DATA, leaf_rows=2)
    first = "508da64d00319cefaf2ef4a08b2da7111fad641b34c0abe3e4b7b8818c32e369"
    assert one.leaves()[0].hex() == first
    assert one.root == "d19d6e5c193523baa32738ffc3cfbc14ba8bdfa9527fc676645e8ebcbbdf8c40"
    assert two.root == "fc2b26deecc6b36dd1151edbb1bfc40a6ffef5dc9c5266bfa87a0c43673e2ba8"


def test_the_path_of_a_row_is_that_of_the_vector() -> None:
    """Row 2 has three neighbours."""
    path = merkle_path(Block("trades", DATA).leaves(), 2)
    assert [(side, neighbour.hex()[:8]) for side, neighbour in path] == [
        ("right", "a0132d6f"),
        ("left", "2cd44b5a"),
        ("right", "d828f049"),
    ]


@pytest.mark.parametrize("size", range(1, 18))
def test_each_leaf_leads_to_the_root(size: int) -> None:
    """And no other leaf does by its path."""
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle_path(leaves, index)
        assert root_of_path(leaf, path) == root
        assert root_of_path(leaf_hash(b"another"), path) != root
    with pytest.raises(IndexError):
        merkle_path(leaves, size)


def test_small_trees_by_hand() -> None:
    """Nothing, one leaf, and an odd leaf that moves up unchanged."""
    a, b, c = (leaf_hash(name) for name in (b"a", b"b", b"c"))
    assert merkle_root([]) == EMPTY
    assert merkle_root([a]) == a
    assert merkle_root([a, b, c]) == node_hash(node_hash(a, b), c)
