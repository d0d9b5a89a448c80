"""What earlier messages of a contract said, between the rules over them and the store.

A unit of work reads a history for what comes in and again for what goes out, and writes it once.
What this process wrote a moment ago is not read by way of its text again, and what stays the same
is not written.
"""

from adapter.domain.errors import WireError
from adapter.domain.parties import Side
from adapter.protocol import strict_json
from adapter.protocol.decision import Outgoing
from adapter.protocol.envelope import Envelope
from adapter.protocol.orders import contract_of
from adapter.protocol.rules import (
    HISTORY_RULES,
    ContractHistory,
    Said,
    check_said,
    record_said,
    said_of,
)
from adapter.service.ports import UnitOfWork

KEPT = 512
"""Histories of trades that go on; each message of theirs finds the last one."""
KEPT_BYTES = 8_192
"""A longer one, as of a market with many prosumers, is read anew: 512 of those were too much."""

JUDGED = tuple(rule for rule in HISTORY_RULES if rule.may_refuse and rule.code != "P2P_HIST_STATUS")
"""The rules that refuse a message. A late callback of lower status is noted and not applied, so it
is not judged here."""


class Histories:
    """The histories of one node."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[bytes, ContractHistory] = {}
        """By their text, so that what is found is what is stored, whoever wrote it."""

    def begin(self, uow: UnitOfWork, new: str | None = None) -> "UnitHistories":
        """Return the histories as one unit of work sees and changes them.

        Args:
            uow: the unit of work.
            new: a transaction that has no trade yet. Whatever it says about a contract makes one,
                so nothing is stored of it.
        """
        return UnitHistories(self, uow, new)

    def read(self, stored: bytes) -> ContractHistory:
        """Return the history of a text."""
        kept = self._kept.get(stored)
        return kept or ContractHistory.from_data(strict_json.decode_object(stored))

    def written(self, history: ContractHistory) -> bytes:
        """Return the text of a history, which is kept for whoever reads that."""
        stored = strict_json.encode(history)
        if len(stored) <= KEPT_BYTES:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[stored] = history
        return stored


class UnitHistories:
    """The histories in one unit of work."""

    __slots__ = ("_all", "_new", "_now", "_stored", "_uow")

    def __init__(self, every: Histories, uow: UnitOfWork, new: str | None) -> None:
        """Begin with what is stored."""
        self._all = every
        self._uow = uow
        self._new = {new}
        self._stored: dict[str, ContractHistory | None] = {}
        self._now: dict[str, ContractHistory] = {}

    def check(self, side: Side, envelope: Envelope) -> None:
        """Run the rules over earlier messages of the contract and take note of this one.

        Raises:
            WireError: the wire code of the first error, with all of them.
        """
        contract_id = envelope.contract.get("contractId")
        view = envelope.view if contract_id else None
        if view is None or view.mode is None:
            return
        said = Said(envelope.action.value, envelope.body, view)
        key = history_key(side, envelope.transaction_id, str(contract_id))
        history = self._load(key, envelope.transaction_id)
        findings = () if history is None else check_said(history, said, JUDGED)
        if findings:
            first = findings[0]
            raise WireError(str(first.wire_code), first.message, findings=findings)
        self._now[key] = record_said(history, said)

    def begins(self, transaction_id: str) -> None:
        """Take note of a transaction of which nothing can be stored yet."""
        self._new.add(transaction_id)

    def remember(self, side: Side, outgoing: Outgoing) -> None:
        """Take note of what we say ourselves."""
        contract_id = contract_of((outgoing.message or {}).get("order") or {}).get("contractId")
        if outgoing.error is not None or not contract_id:
            return
        body = {"context": outgoing.context, "message": outgoing.message}
        said = said_of(outgoing.action.value, body)
        if said is None:
            return
        transaction_id = outgoing.context["transaction_id"]
        key = history_key(side, transaction_id, str(contract_id))
        self._now[key] = record_said(self._load(key, transaction_id), said)

    def save(self) -> None:
        """Write each history that is not the one that was loaded."""
        for key, history in self._now.items():
            if history is not self._stored[key]:
                self._uow.save_contract_history(key, self._all.written(history))

    def _load(self, key: str, transaction_id: str) -> ContractHistory | None:
        """Return what earlier messages of a contract said."""
        if key in self._now:
            return self._now[key]
        if key not in self._stored:
            is_new = transaction_id in self._new
            stored = None if is_new else self._uow.contract_history(key)
            self._stored[key] = None if stored is None else self._all.read(stored)
        return self._stored[key]


def history_key(side: Side, transaction_id: str, contract_id: str) -> str:
    """Return the key of a contract's history, by side and transaction."""
    return f"{side}|{transaction_id}|{contract_id}"
