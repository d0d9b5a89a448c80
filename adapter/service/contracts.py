"""Calls of users on the contract layer, and what follows from them on the network.

A call is one unit of work: the command, its entry, and whatever it makes the grid operator tell
the platforms of the agreements it touched. Source: settlement specification, sections 13 and 17.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adapter.domain.errors import ContractError
from adapter.protocol.decision import News
from adapter.service.delivery_report import delivery_report
from adapter.service.event_feed import Position, event_page
from adapter.service.parts import NodeParts
from adapter.service.ports import UnitOfWork
from adapter.service.unit import Units
from adapter.settlement import (
    SYSTEM,
    AgreementState,
    AgreementView,
    Command,
    Event,
    Genesis,
    Receipt,
    agreement_view,
    due_commands,
    execute,
    genesis_command,
    ledger_summary,
    parse_command,
    read,
    receipt_to_wire,
)

DUE_BATCH = 100
JOURNAL_PAGE = 1_000
EVENT_PAGE = 1_000

_NEWS_OF: Mapping[str, str] = {
    "EnergyAllocated": "ACTIVE",
    "EnergyDelivered": "ACTIVE",
    "PaymentSettled": "COMPLETED",
    "AgreementExpired": "TERMINATED",
    "AgreementCancelled": "TERMINATED",
}
"""Events of an agreement that a platform is told about, and the contract status they mean."""

_log = logging.getLogger(__name__)


class _DryRun(Exception):  # noqa: N818  # carries a result out of a unit that must not commit
    def __init__(self, receipt: Receipt) -> None:
        super().__init__("dry run")
        self.receipt = receipt


class ContractCalls:
    """The contract layer as this node hosts it."""

    def __init__(self, parts: NodeParts, units: Units, committed: Callable[[str], None]) -> None:
        """Take the node's parts and whom to tell about a commit."""
        self._parts = parts
        self._units = units
        self._committed = committed

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
        """

        def unit(uow: UnitOfWork) -> Receipt:
            receipt = self._execute(uow, command, actor, on_behalf_of)
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
        self, contract: str, function: str, args: Mapping[str, object], *, actor: str
    ) -> dict[str, Any]:
        """Return `{seq, result}` of a read.

        Raises:
            ContractError: UNKNOWN_FUNCTION, INVALID_INPUT, or the object is not there.
        """
        now_ms = self._parts.clock.now_ms()

        def query(uow: UnitOfWork) -> dict[str, Any]:
            head = uow.ledger.head()
            result = read(uow.ledger, contract, function, args, actor, now_ms)
            return {"seq": -1 if head is None else head.seq, "result": result}

        return await self._parts.store.read(query)

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

    async def do_due(self) -> None:
        """Take the steps that time has made due: expiry, recording, settlement."""
        now_ms = self._parts.clock.now_ms()
        due = await self._parts.store.read(lambda uow: _due(uow, now_ms))
        for command in due:
            try:
                await self._do(command)
            except ContractError as error:
                _log.warning(
                    "%s.%s is due and was refused",
                    command.contract,
                    command.function,
                    extra={"code": error.code},
                )
            else:
                self._committed("")

    async def _do(self, command: Command) -> None:
        await self._parts.store.write(lambda uow: self._execute(uow, command, SYSTEM, None))

    def _execute(
        self, uow: UnitOfWork, command: Command, actor: str, on_behalf_of: str | None
    ) -> Receipt:
        now_ms = self._parts.clock.now_ms()
        receipt = execute(uow.ledger, command, actor, now_ms, on_behalf_of=on_behalf_of)
        if not receipt.replayed:
            self._tell(uow, receipt.events, now_ms)
        return receipt

    def _tell(self, uow: UnitOfWork, events: Iterable[Event], now_ms: int) -> None:
        """Tell each agreement's platform once what became of it."""
        news: dict[int, str] = {}
        for event in events:
            if event.name in _NEWS_OF and "agreement_no" in event.fields:
                news[int(event.fields["agreement_no"])] = _NEWS_OF[event.name]
        for agreement_no, status in news.items():
            view = agreement_view(uow.ledger, "", agreement_no, now_ms)
            assert view is not None
            if _is_told(uow, view, status):
                told = News(status, delivery_report(view, now_ms))
                self._units.news(uow, view.caller, view.contract_id, told)


def _is_told(uow: UnitOfWork, view: AgreementView, status: str) -> bool:
    """Return whether this is worth a message: the first progress, and every end."""
    if status == "ACTIVE":
        return uow.mark(f"progress|{view.agreement_no}")
    return status != "COMPLETED" or view.state is AgreementState.SETTLED


def _due(uow: UnitOfWork, now_ms: int) -> list[Command]:
    if uow.ledger.head() is None:
        return []
    return due_commands(uow.ledger, now_ms, DUE_BATCH)
