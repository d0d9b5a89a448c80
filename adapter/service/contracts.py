"""Calls of users on the contract layer, and what follows from them on the network.

A call is one unit of work: the command, its entry, and whatever it makes the grid operator tell
the platforms of the agreements it touched. Source: settlement specification, sections 13 and 17.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from adapter.domain.errors import ContractError
from adapter.service.delivery_news import news_of
from adapter.service.event_feed import Position, event_page
from adapter.service.evidence import with_signers_key
from adapter.service.head_watch import HeadWatch
from adapter.service.journal_watch import JournalWatch
from adapter.service.parts import NodeParts
from adapter.service.past import PastStates, ScratchLedger
from adapter.service.ports import UnitOfWork
from adapter.service.roots import HostedRoots
from adapter.service.unit import Units
from adapter.settlement import (
    SYSTEM,
    Command,
    Entry,
    Event,
    Genesis,
    LedgerStore,
    NoTradeError,
    ProofError,
    Receipt,
    Role,
    SignedRoot,
    Statement,
    canonical_bytes,
    due_anchor,
    due_commands,
    epochs_to_clear,
    execute,
    genesis_command,
    holds_role,
    ledger_summary,
    parse_command,
    prove,
    read,
    receipt_to_wire,
)

DUE_BATCH = 100
JOURNAL_PAGE = 1_000
EVENT_PAGE = 1_000

OVERSEERS = (Role.REGULATOR, Role.AUDITOR, Role.GRID_OPERATOR)
"""Roles with a wider view."""

_log = logging.getLogger(__name__)


class _DryRun(Exception):  # noqa: N818  # carries a result out of a unit that must not commit
    def __init__(self, receipt: Receipt) -> None:
        super().__init__("dry run")
        self.receipt = receipt


class _Present(NamedTuple):
    """What a read finds now, and the entry that a read of the past goes back to."""

    seq: int
    result: Any
    past: Entry | None
    roles: frozenset[Role]


class ContractCalls:
    """The contract layer as this node hosts it."""

    def __init__(
        self,
        parts: NodeParts,
        units: Units,
        committed: Callable[[str], None],
        heads: HeadWatch,
        watch: JournalWatch,
        empty_ledger: Callable[[], ScratchLedger],
    ) -> None:
        """Take the node's parts, whom to tell of a commit, and what makes a scratch ledger."""
        self._watch = watch
        self._parts = parts
        self._units = units
        self._committed = committed
        self._past = PastStates(parts.store, empty_ledger)
        self.heads = heads
        self.roots = HostedRoots(parts)

    async def open(self, genesis: Mapping[str, Any] | None) -> None:
        """Write the first two entries when the ledger is empty.

        Raises:
            ContractError: the genesis document cannot be used.
        """
        if genesis is None:
            return
        command = genesis_command(
            genesis, ledger=self._parts.me.subscriber_id, keys=[self._parts.signer.key_record]
        )

        def unit(uow: UnitOfWork) -> None:
            if uow.ledger.head() is not None:
                return
            now_ms = self._parts.clock.now_ms()
            execute(uow.ledger, command, str(genesis["admin"]), now_ms)
            ledger = uow.ledger.get(Genesis, "")
            assert ledger is not None
            args = {"admin": genesis["admin"], "token_contract": ledger.currency}
            second = parse_command("genesis-agreements", "agreements", "initialize", args)
            execute(uow.ledger, second, str(genesis["admin"]), now_ms)

        await self._parts.store.write(unit)

    async def call(
        self,
        command: Command,
        *,
        actor: str,
        on_behalf_of: str | None = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Return the answer to a call: `{command_id, seq, entry_hash, replayed, result, events}`.

        Raises:
            ContractError: refused; nothing changed.
            WireError: NET_DOWNSTREAM_UNAVAILABLE, a key in the registry is needed and not there,
                or the journal is damaged.
        """
        self._watch.check()
        complete = await with_signers_key(self._parts, command, actor)

        def unit(uow: UnitOfWork) -> Receipt:
            receipt = self._execute(uow, complete, actor, on_behalf_of)
            if dry_run:
                raise _DryRun(receipt)
            return receipt

        try:
            receipt = await self._parts.store.write(unit)
        except _DryRun as run:
            receipt = run.receipt
        else:
            self._committed("")
        return receipt_to_wire(receipt)

    async def read(
        self,
        contract: str,
        function: str,
        args: Mapping[str, object],
        *,
        actor: str,
        at_seq: int | None = None,
    ) -> dict[str, Any]:
        """Return `{seq, result}` of a read, of the state now or after entry `at_seq`.

        Of a past state nobody sees what it may not see now: the read must be allowed now too, and
        who oversaw more then than now is refused.

        Raises:
            ContractError: UNKNOWN_FUNCTION, INVALID_INPUT, the object is not there; with `at_seq`
                INVALID_INPUT, beyond the head or too far back, and NOT_AUTHORIZED.
        """
        now_ms = self._parts.clock.now_ms()

        def query(uow: UnitOfWork) -> _Present:
            head = uow.ledger.head()
            result = read(uow.ledger, contract, function, args, actor, now_ms)
            past = None if at_seq is None else uow.ledger.entry(at_seq)
            roles = overseer_roles(uow.ledger, actor)
            return _Present(-1 if head is None else head.seq, result, past, roles)

        present = await self._parts.store.read(query)
        if at_seq is None:
            return {"seq": present.seq, "result": present.result}
        if present.past is None:
            raise ContractError("INVALID_INPUT", f"at_seq: the head is entry {present.seq}")
        ledger = await self._past.at(at_seq)
        if not overseer_roles(ledger, actor) <= present.roles:
            msg = f"{actor} saw more at entry {at_seq} than it may see now"
            raise ContractError("NOT_AUTHORIZED", msg)
        result = read(ledger, contract, function, args, actor, present.past.time_ms)
        return {"seq": at_seq, "result": result}

    async def state(self) -> dict[str, Any]:
        """Return head, time and totals of the ledger."""
        now_ms = self._parts.clock.now_ms()
        return await self._parts.store.read(lambda uow: ledger_summary(uow.ledger, now_ms))

    async def events(
        self, after: Position, *, actor: str, contract: str, name: str, limit: int
    ) -> dict[str, Any]:
        """Return a page of the events that `actor` may see, in order.

        Args:
            after: the last event known.
            actor: who asks.
            contract: of these events, or empty for all.
            name: of these events, or empty for all.
            limit: entries looked at, at most 1 000.

        Returns:
            `{events: [{id, seq, time, contract, function, name, …}], next}`; `next` goes on as
            the next `after`.
        """
        count = min(max(limit, 1), EVENT_PAGE)
        return await self._parts.store.read(
            lambda uow: event_page(uow.ledger, after, actor, (contract, name), count)
        )

    async def journal(self, after: int) -> list[bytes]:
        """Return canonical entries after `after`, at most 1 000; empty is the end."""
        entries = await self._parts.store.read(
            lambda uow: list(uow.ledger.entries(after, JOURNAL_PAGE))
        )
        return [entry.body for entry in entries]

    async def proof(self, trade: str, *, actor: str) -> bytes:
        """Return the canonical bytes of the proof of a trade that `actor` may see.

        Raises:
            ContractError: TRADE_NOT_FOUND; EPOCH_NOT_ENDED, it is not anchored yet.
        """

        def query(uow: UnitOfWork) -> bytes:
            def signed(statement: Statement) -> SignedRoot | None:
                return uow.root(statement.hash)

            return canonical_bytes(prove(uow.ledger, trade, signed, actor))

        try:
            return await self._parts.store.read(query)
        except NoTradeError as error:
            raise ContractError("TRADE_NOT_FOUND", str(error)) from None
        except ProofError as error:
            raise ContractError("EPOCH_NOT_ENDED", str(error)) from None

    async def do_due(self) -> None:
        """Take the steps that time has made due: expiry, recording, settlement, then anchoring.

        On a journal that is damaged nothing is due.
        """
        if self._watch.fault is not None:
            return
        now_ms = self._parts.clock.now_ms()
        for command in await self._parts.store.read(lambda uow: _due(uow, now_ms)):
            await self._do(command)
        anchor = await self._parts.store.read(lambda uow: _anchor(uow, now_ms))
        if anchor is not None:
            await self._do(anchor)
        if await self.roots.sign_new():
            self._committed("")

    async def _do(self, command: Command) -> None:
        """Do what is due, or say that it was refused."""
        try:
            await self._parts.store.write(lambda uow: self._execute(uow, command, SYSTEM, None))
        except ContractError as error:
            _log.warning(
                "%s.%s is due and was refused",
                command.contract,
                command.function,
                extra={"code": error.code},
            )
        except Exception:  # one that cannot be done must not keep the others from being done
            _log.exception("%s.%s is due and failed", command.contract, command.function)
        else:
            self._committed("")

    def _execute(
        self, uow: UnitOfWork, command: Command, actor: str, on_behalf_of: str | None
    ) -> Receipt:
        now_ms = self._parts.clock.now_ms()
        receipt = execute(
            uow.ledger,
            command,
            actor,
            now_ms,
            on_behalf_of=on_behalf_of,
            clear_books=self._parts.clear_books,
        )
        if not receipt.replayed:
            self._tell(uow, receipt.events, now_ms)
        return receipt

    def _tell(self, uow: UnitOfWork, events: Iterable[Event], now_ms: int) -> None:
        """Tell each agreement's platform once what became of it."""
        for view, told in news_of(uow, events, now_ms):
            self._units.news(uow, view.caller, view.contract_id, told)


def overseer_roles(ledger: LedgerStore, actor: str) -> frozenset[Role]:
    """Return the roles of an actor that show it more than its own affairs."""
    return frozenset(role for role in OVERSEERS if holds_role(ledger, role, actor))


def _anchor(uow: UnitOfWork, now_ms: int) -> Command | None:
    """Return what anchors the epochs that have ended, once no book of them waits to be cleared."""
    if uow.ledger.head() is None or epochs_to_clear(uow.ledger, now_ms, 1):
        return None
    return due_anchor(uow.ledger, now_ms)


def _due(uow: UnitOfWork, now_ms: int) -> list[Command]:
    if uow.ledger.head() is None:
        return []
    return due_commands(uow.ledger, now_ms, DUE_BATCH)
