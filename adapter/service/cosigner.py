"""A party to a ledger that another node hosts: fetches its root statements, checks, countersigns.

Each statement must be signed with the host's key of the registry and go on where the one before
ended. A statement that contradicts a kept one is kept too, reported, and never countersigned: both
together prove that the host has said two things. Source: settlement specification, section 5.
"""

import asyncio
import base64
import contextlib
import logging

from adapter.domain.errors import AdapterError, WireError
from adapter.service.ledger_host import HostAwayError, LedgerHost, RootPage
from adapter.service.parts import NodeParts
from adapter.service.ports import UnitOfWork
from adapter.service.siblings import ALONE, Siblings
from adapter.settlement import (
    Countersignature,
    SignedRoot,
    Statement,
    countersigned_bytes,
    holds,
)
from adapter.settlement.roots import NO_STATEMENT

POLL_S = 5.0
"""Between two looks. A statement comes about every 15 minutes; a look costs the host one query."""
PAGE = 20
"""Statements asked for at once: about 20 kB, the bound of an answer is 64 kB."""

_log = logging.getLogger(__name__)


class Cosigner:
    """Follows the statements of one host."""

    def __init__(self, parts: NodeParts, host: LedgerHost, siblings: Siblings = ALONE) -> None:
        """Take the node's parts, whose key countersigns, the host, and who may look instead."""
        self._parts = parts
        self._host = host
        self._siblings = siblings
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told = ""

    async def run(self) -> None:
        """Look again and again until stopped."""
        self._task = asyncio.current_task()
        while not self._stopping.is_set():
            try:
                async with self._siblings.turn("cosigner") as is_ours:
                    if is_ours:
                        await self.look()
                self._told = ""
            except (HostAwayError, AdapterError) as error:
                self._tell_once(str(error))
            except Exception:
                _log.exception("bug while root statements were fetched")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), POLL_S)

    def stop(self) -> None:
        """End now; a look under way is given up, the next start looks again."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()

    async def look(self) -> int:
        """Fetch what is new, keep and countersign it; return how many statements were new.

        The newest kept statement is fetched again each time, so that a host that has changed its
        mind about it is found out.

        Raises:
            HostAwayError: the host does not answer, or does not take a countersignature.
            AdapterError: registry or database are away.
        """
        new = 0
        while True:
            kept = await self._parts.store.read(_kept)
            after = -1 if kept is None else kept.statement.last_epoch - 1
            page = await self._host.roots(after, PAGE)
            if kept is not None and not page.roots:
                _log.error(
                    "the host of ledger %s no longer shows the statement of epoch %s",
                    kept.statement.ledger,
                    kept.statement.last_epoch,
                    extra={"code": "ROOT_WITHDRAWN"},
                )
            for root in page.roots:
                taken = await self._take(page, root, kept)
                if taken is None:
                    return new
                new += taken.statement != (kept and kept.statement)
                kept = taken
            if len(page.roots) < PAGE:
                return new

    async def _take(
        self, page: RootPage, root: SignedRoot, kept: SignedRoot | None
    ) -> SignedRoot | None:
        """Keep and countersign a statement; None when it must not be followed any further."""
        statement = root.statement
        await self._check_signature(page, root)
        plain = SignedRoot(statement, root.signature)
        before = None if kept is None else kept.statement
        if before is not None and statement != before and not _goes_on(before, statement):
            await self._parts.store.write(lambda uow: uow.keep_root(plain, before.hash))
            _log.error(
                "the host of ledger %s contradicts itself: statements %s and %s, epoch %s",
                statement.ledger,
                before.hash,
                statement.hash,
                statement.last_epoch,
                extra={"code": "ROOT_CONTRADICTION"},
            )
            return None
        if before is None and not _begins(statement):
            why = f"the first statement of {statement.ledger} does not begin with entry 0"
            raise HostAwayError(why)
        mine = self._countersignature(statement)
        signed = SignedRoot(statement, root.signature, (mine,))
        if statement != before:
            await self._parts.store.write(lambda uow: uow.keep_root(signed))
        if all(one.key_id != mine.key_id for one in root.countersignatures):
            answer = {"statement": statement.hash, "key_id": mine.key_id}
            given = {**answer, "signature": mine.signature}
            await self._host.countersign(statement.last_epoch, given)
        return signed

    async def _check_signature(self, page: RootPage, root: SignedRoot) -> None:
        """Check the host's signature with its key in the registry.

        Raises:
            HostAwayError: it does not hold, or the ledger is another subscriber's.
        """
        statement = root.statement
        subscriber, _, rest = page.key_id.partition("|")
        key, _, algorithm = rest.partition("|")
        known = await self._parts.store.read(lambda uow: uow.root_ledger())
        if algorithm != "ed25519" or not subscriber == statement.ledger == page.ledger:
            why = f"statements of {statement.ledger[:200]} signed by {page.key_id[:200]}"
            raise HostAwayError(why)
        if known not in (None, statement.ledger):
            why = f"the host shows ledger {statement.ledger}, this node follows {known}"
            raise HostAwayError(why)
        try:
            record = await self._parts.registry.key(subscriber, key)
        except WireError as error:
            why = f"the host's key {page.key_id[:200]}: {error.message}"
            raise HostAwayError(why) from None
        if not holds(record.signing_public_key, statement.signed_bytes(), root.signature):
            why = f"the host's signature under epoch {statement.last_epoch} does not hold"
            raise HostAwayError(why)

    def _countersignature(self, statement: Statement) -> Countersignature:
        key = self._parts.signer.key_record
        message = countersigned_bytes(statement.hash, key["id"])
        signature = base64.b64encode(self._parts.signer.sign_bytes(message)).decode()
        return Countersignature(key["id"], key["public_key"], signature)

    def _tell_once(self, why: str) -> None:
        if why != self._told:
            _log.warning("root statements: %s", why)
        self._told = why


def _kept(uow: UnitOfWork) -> SignedRoot | None:
    ledger = uow.root_ledger()
    return None if ledger is None else uow.last_root(ledger)


def _begins(statement: Statement) -> bool:
    return statement.first_seq == 0 and statement.prev_statement == NO_STATEMENT


def _goes_on(before: Statement, statement: Statement) -> bool:
    """Return whether a statement is the one after `before`."""
    epochs = statement.first_epoch == before.last_epoch + 1 <= statement.last_epoch
    entries = statement.first_seq == before.last_seq + 1 <= statement.last_seq
    return epochs and entries and statement.prev_statement == before.hash
