"""What the use cases of one node are made of. Built by `bootstrap`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from adapter.domain.parties import NodeRole
from adapter.protocol.decision import Identity
from adapter.protocol.policy import Policy
from adapter.protocol.schemas import Schemas
from adapter.service.ports import Clock, Ids, Registry, Store, Verifier
from adapter.service.signing import MessageSigner

if TYPE_CHECKING:
    from adapter.settlement.sharding import ClearBooks


class PeerRules(Protocol):
    """Settings that may differ by peer. Meaning: protocol specification."""

    @property
    def ack_profile(self) -> str:
        """Return the shape of our answers."""
        ...

    @property
    def ttl_ms(self) -> int:
        """Return the life of our requests."""
        ...

    @property
    def clock_skew_ms(self) -> int:
        """Return how far ahead a peer's clock may be."""
        ...

    @property
    def signature_lifetime_ms(self) -> int:
        """Return how long our signatures last."""
        ...

    @property
    def digest_labels(self) -> Sequence[str]:
        """Return the accepted digest labels."""
        ...

    @property
    def replay(self) -> str:
        """Return repeat or reject."""
        ...

    @property
    def correlate(self) -> str:
        """Return message or transaction."""
        ...

    @property
    def domains(self) -> Sequence[str]:
        """Return the allowed domains; empty: any."""
        ...

    @property
    def policy(self) -> Policy | None:
        """Return what the network demands beyond the contract."""
        ...

    @property
    def time_zone(self) -> str:
        """Return the IANA name in which a tariff is read that names none."""
        ...

    @property
    def networks(self) -> Sequence[str]:
        """Return the networks we take part in; empty: not checked."""
        ...


@dataclass(frozen=True, slots=True)
class NodeParts:
    """One node's identity, rules and ports."""

    me: Identity
    roles: frozenset[NodeRole]
    grid_operator: str | None
    """Subscriber id that this node cascades to."""
    store: Store
    registry: Registry
    verifier: Verifier
    signer: MessageSigner
    clock: Clock
    ids: Ids
    schemas: Schemas
    rules_for: Callable[[str], PeerRules]
    allow_http: bool
    """Plain http peers may be called."""
    clear_books: "ClearBooks | None" = None
    """Where large books are cleared; None: in this process."""

    @property
    def cascades(self) -> bool:
        """Return whether init and confirm go on to a grid operator."""
        return self.grid_operator is not None
