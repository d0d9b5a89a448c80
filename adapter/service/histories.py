"""What earlier messages of a contract said, between the rules over them and the store.

A history is read twice and written twice for each message, for what comes in and for what goes out.
What this process wrote a moment ago is therefore not read by way of its text again, and what stays
the same is not written.
"""

from adapter.protocol import strict_json
from adapter.protocol.rules import ContractHistory
from adapter.service.ports import UnitOfWork

KEPT = 512
"""Histories of trades that go on; each message of theirs finds the last one."""
KEPT_BYTES = 8_192
"""A longer one, as of a market with many prosumers, is read anew: 512 of those were too much."""


class Histories:
    """The histories of one node."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: dict[bytes, ContractHistory] = {}
        """By their text, so that what is found is what is stored, whoever wrote it."""

    def load(self, uow: UnitOfWork, key: str) -> ContractHistory | None:
        """Return what earlier messages of a contract said."""
        stored = uow.contract_history(key)
        if stored is None:
            return None
        kept = self._kept.get(stored)
        return kept or ContractHistory.from_data(strict_json.decode_object(stored))

    def save(
        self, uow: UnitOfWork, key: str, before: ContractHistory | None, history: ContractHistory
    ) -> None:
        """Write a history unless it is the one that was loaded."""
        if history is before:
            return
        stored = strict_json.encode(history)
        uow.save_contract_history(key, stored)
        if len(stored) <= KEPT_BYTES:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[stored] = history
