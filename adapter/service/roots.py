"""Root statements of the ledger hosted here: signed after the commit, shown, countersigned.

Source: settlement specification, section 5.
"""

import base64
from collections.abc import Sequence
from typing import Any

from adapter.domain.errors import ContractError, WireError
from adapter.service.parts import NodeParts
from adapter.service.ports import UnitOfWork
from adapter.settlement import (
    Countersignature,
    Genesis,
    SignedRoot,
    Statement,
    countersigned_bytes,
    holds,
    represents_somebody,
    statements_after,
)

SIGN_BATCH = 100
"""Statements signed in one unit of work."""
ROOTS_PAGE = 1_000


class HostedRoots:
    """The statements of this node's own ledger."""

    def __init__(self, parts: NodeParts) -> None:
        """Take the node's parts: it signs with the node's key."""
        self._parts = parts

    async def sign_new(self) -> bool:
        """Sign the statements that are not signed yet; return whether there were any.

        A node that was killed between the commit of a statement and its signature signs it here.
        """
        if not await self._parts.store.read(_unsigned):
            return False

        def unit(uow: UnitOfWork) -> None:
            for statement in _unsigned(uow):
                uow.keep_root(SignedRoot(statement, self._sign(statement.signed_bytes())))

        await self._parts.store.write(unit)
        return True

    async def page(self, after_epoch: int, limit: int) -> dict[str, Any]:
        """Return `{ledger, key_id, roots, next}` with signed statements in order of epochs.

        `next` is the last epoch on the page, None on an empty one.
        """
        count = min(max(limit, 1), ROOTS_PAGE)

        def query(uow: UnitOfWork) -> tuple[str, Sequence[SignedRoot]]:
            ledger = _ledger(uow)
            return ledger, uow.roots(ledger, after_epoch, count)

        ledger, roots = await self._parts.store.read(query)
        return {
            "ledger": ledger,
            "key_id": self._parts.signer.key_record["id"],
            "roots": [root.to_wire() for root in roots],
            "next": roots[-1].statement.last_epoch if roots else None,
        }

    async def countersign(
        self, last_epoch: int, statement_hash: str, key_id: str, signature: str, *, subscriber: str
    ) -> dict[str, Any]:
        """Keep a party's signature under a statement and return the statement with all of them.

        Args:
            last_epoch: of the statement.
            statement_hash: which the party has checked.
            key_id: `subscriber|key|ed25519`, of the party's own.
            signature: base64, over `countersigned_bytes`.
            subscriber: who sent it, as its request's signature says.

        Raises:
            ContractError: ROOT_NOT_FOUND; INVALID_INPUT, another statement or another's key;
                NOT_AUTHORIZED, no party; INVALID_SIGNATURE.
        """
        public_key = await self._public_key(key_id, subscriber)
        if not await self._parts.store.read(lambda uow: _is_party(uow, subscriber)):
            msg = f"{subscriber} represents no user of this ledger"
            raise ContractError("NOT_AUTHORIZED", msg)

        def unit(uow: UnitOfWork) -> SignedRoot:
            found = uow.roots(_ledger(uow), last_epoch - 1, 1)
            if not found or found[0].statement.last_epoch != last_epoch:
                msg = f"no signed statement ends with epoch {last_epoch}"
                raise ContractError("ROOT_NOT_FOUND", msg)
            statement = found[0].statement
            if statement.hash != statement_hash:
                msg = f"statement: the one that ends with epoch {last_epoch} is {statement.hash}"
                raise ContractError("INVALID_INPUT", msg)
            signed = Countersignature(key_id, public_key, signature)
            uow.keep_root(SignedRoot(statement, found[0].signature, (signed,)))
            kept = uow.root(statement.hash)
            assert kept is not None
            return kept

        if not holds(public_key, countersigned_bytes(statement_hash, key_id), signature):
            msg = f"the signature does not hold for the key {key_id}"
            raise ContractError("INVALID_SIGNATURE", msg)
        return (await self._parts.store.write(unit)).to_wire()

    async def is_countersigner(self, subscriber: str) -> bool:
        """Return whether a party to this ledger has countersigned a statement of it."""

        def query(uow: UnitOfWork) -> bool:
            return uow.has_countersigned(subscriber) and _is_party(uow, subscriber)

        return await self._parts.store.read(query)

    async def _public_key(self, key_id: str, subscriber: str) -> str:
        """Return the registry's key of the party that countersigns.

        Raises:
            ContractError: INVALID_INPUT, not a key id of `subscriber`; INVALID_SIGNATURE, the
                registry knows no such usable key.
        """
        parts = key_id.split("|")
        if len(parts) != 3 or parts[0] != subscriber or parts[2] != "ed25519":
            msg = f"key_id: must be {subscriber}|<key>|ed25519"
            raise ContractError("INVALID_INPUT", msg)
        try:
            record = await self._parts.registry.key(parts[0], parts[1])
        except WireError as error:
            if not error.code.startswith("AUT_"):
                raise
            raise ContractError("INVALID_SIGNATURE", error.message) from None
        if not record.usable(self._parts.clock.now_ms()):
            msg = f"the key {key_id} may not be used now"
            raise ContractError("INVALID_SIGNATURE", msg)
        return record.signing_public_key

    def _sign(self, message: bytes) -> str:
        return base64.b64encode(self._parts.signer.sign_bytes(message)).decode()


def _is_party(uow: UnitOfWork, subscriber: str) -> bool:
    return represents_somebody(uow.ledger, subscriber)


def _unsigned(uow: UnitOfWork) -> list[Statement]:
    if uow.ledger.head() is None:
        return []
    newest = uow.last_root(_ledger(uow))
    after = -1 if newest is None else newest.statement.last_epoch
    return statements_after(uow.ledger, after, SIGN_BATCH)


def _ledger(uow: UnitOfWork) -> str:
    """Return the name of the ledger.

    Raises:
        ContractError: NOT_INITIALIZED.
    """
    genesis = uow.ledger.get(Genesis, "")
    if genesis is None:
        msg = "the ledger has no entry 0: registry.initialize first"
        raise ContractError("NOT_INITIALIZED", msg)
    return genesis.ledger
