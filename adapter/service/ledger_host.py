"""The node that hosts the contract layer, as a party to its ledger sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adapter.settlement import SignedRoot


class HostAwayError(Exception):
    """The host does not answer, or not as agreed; one line."""


@dataclass(frozen=True, slots=True)
class RootPage:
    """Statements as the host shows them; nothing is checked yet."""

    ledger: str
    key_id: str
    """`subscriber|key|ed25519` of the key that signs the statements."""
    roots: Sequence[SignedRoot]


class LedgerHost(Protocol):
    """Asks the host, signed with the node's own key."""

    async def roots(self, after_epoch: int, limit: int) -> RootPage:
        """Return signed statements with a last epoch above `after_epoch`, in order.

        Raises:
            HostAwayError: no answer that can be read.
        """
        ...

    async def countersign(self, last_epoch: int, signed: Mapping[str, Any]) -> None:
        """Hand in a countersignature `{statement, key_id, signature}`.

        Raises:
            HostAwayError: not taken.
        """
        ...
