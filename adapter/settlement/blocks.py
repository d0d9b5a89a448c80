"""Blocks: the rows of an entry that are too many to list in it.

A block is fixed-width little-endian int64 rows; its entry holds the name, the number of rows and
the Merkle root over groups of `leaf_rows` rows. Source: settlement specification, section 5.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from adapter.settlement.merkle import leaf_hash, merkle_root

FORMATS: Mapping[str, str] = MappingProxyType(
    {"trades": "<qqq", "orders": "<qqq", "readings": "<qqqq"}
)
"""`trades`: buy order, sell order, energy. `orders`: order, filled in all, status.
`readings`: meter number, epoch, generated, consumed."""


@dataclass(frozen=True, slots=True)
class BlockDigest:
    """Names rows that are not at hand: how an entry holds a block that is an argument."""

    name: str
    rows: int
    sha256: str
    """Of all rows, in hex."""

    def to_journal(self) -> dict[str, Any]:
        """Return the digest as arguments in the journal hold it."""
        return {"rows": self.rows, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one kind, in order."""

    name: str
    """`trades`, `orders` or `readings`."""
    data: bytes
    """All rows, one after the other."""
    leaf_rows: int = 1
    """Rows in one leaf of the tree."""

    @property
    def row_format(self) -> str:
        """Return the format of one row, as `struct` writes it."""
        return FORMATS[self.name]

    @property
    def row_bytes(self) -> int:
        """Return the width of a row."""
        return struct.calcsize(self.row_format)

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.data) // self.row_bytes

    def row(self, index: int) -> tuple[int, ...]:
        """Return one row."""
        return struct.unpack_from(self.row_format, self.data, index * self.row_bytes)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Give the rows in order."""
        return struct.iter_unpack(self.row_format, self.data)

    def leaves(self) -> list[bytes]:
        """Return the hash of each leaf."""
        width = self.leaf_rows * self.row_bytes
        return [leaf_hash(self.data[at : at + width]) for at in range(0, len(self.data), width)]

    @property
    def root(self) -> str:
        """Return the Merkle root in hex."""
        return merkle_root(self.leaves()).hex()

    def digest(self) -> BlockDigest:
        """Return what names the rows, however they are grouped into leaves."""
        return BlockDigest(self.name, self.rows, hashlib.sha256(self.data).hexdigest())

    def to_journal(self) -> dict[str, Any]:
        """Return the block as its entry names it."""
        return {
            "name": self.name,
            "rows": self.rows,
            "row": self.row_format,
            "leaf_rows": self.leaf_rows,
            "root": self.root,
        }
