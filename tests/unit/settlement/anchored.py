"""A small ledger whose epochs are anchored and signed, as its host would."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Self

from adapter.protocol.signature import Signer
from adapter.settlement import LedgerStore, execute, genesis_command
from adapter.settlement.canonical import canonical_bytes
from adapter.settlement.proof_search import prove
from adapter.settlement.roots import Statement
from adapter.settlement.signed_roots import Countersignature, SignedRoot, countersigned_bytes
from adapter.store.ledger_memory import MemoryLedger
from tests.unit.settlement.world import EPOCH, GENESIS, Market, World

HOST = Signer("grid", "k1", bytes([7] * 32))
BUYER_APP = Signer("bap", "k1", bytes([1] * 32))
HOST_KEY = base64.b64encode(HOST.public_key).decode()
VECTOR_KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


class KeyedMarket(Market):
    """A market whose entry 0 names the key of its host."""

    def open(self, genesis: Mapping[str, Any] = GENESIS) -> Self:
        """Write the first two entries."""
        keys = [{"id": "grid|k1|ed25519", "public_key": HOST_KEY}]
        execute(self.ledger, genesis_command(genesis, keys, ledger="grid"), "admin", self.now)
        self.do("agreements.initialize", "admin", admin="admin", token_contract="USD")
        return self


def anchor(world: World) -> Statement:
    """Close every epoch that has ended and return the statement."""
    newest = statements(world)
    first = newest[-1].last_epoch + 1 if newest else world_start(world) // EPOCH
    last = world.now // EPOCH - 1
    world.do("trading.close_epoch", "system", first=first, last=last)
    return statements(world)[-1]


def world_start(world: World) -> int:
    """Return the time of entry 0."""
    genesis = world.ledger.entry(0)
    assert genesis is not None
    return genesis.time_ms


def statements(world: World) -> list[Statement]:
    """Return all statements in order."""
    return list(world.ledger.find(Statement, "all", ""))


def signed(statement: Statement, *, by: Sequence[Signer] = (BUYER_APP,)) -> SignedRoot:
    """Return a statement as its host signs it and as parties countersign it."""
    signature = base64.b64encode(HOST.sign_bytes(statement.signed_bytes())).decode()
    others = []
    for signer in by:
        key_id = f"{signer.subscriber_id}|{signer.key_id}|ed25519"
        value = signer.sign_bytes(countersigned_bytes(statement.hash, key_id))
        public_key = base64.b64encode(signer.public_key).decode()
        others.append(Countersignature(key_id, public_key, base64.b64encode(value).decode()))
    return SignedRoot(statement, signature, tuple(others))


def bundle_of(world: World, trade: str, actor: str | None = None) -> bytes:
    """Return the bundle of a trade as a file holds it."""
    return canonical_bytes(prove(world.ledger, trade, signed, actor))


def settled_market(ledger: LedgerStore | None = None) -> KeyedMarket:
    """Return a ledger with one agreement, created, settled and anchored in two statements."""
    world = KeyedMarket(ledger or MemoryLedger()).set_up()
    world.agree()
    world.now += EPOCH
    anchor(world)
    world.deliver(generated=8, consumed=12)
    world.tick()
    world.now += EPOCH
    anchor(world)
    return world
