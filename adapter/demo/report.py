"""What a run of the demo found, as the document of interfaces 2.3."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.demo.folder import CURRENCY, DemoFolder
from adapter.demo.market_script import clearing_of
from adapter.demo.script import Balances, Script
from adapter.demo.session import POLL_S
from adapter.domain.quantities import minor_digits, to_micro, to_text
from adapter.store.audit import audit_sqlite

WRITTEN_S = 2
"""How long the end of the last messages is waited for."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run has to show."""

    transaction_id: str
    contract_id: str
    status: str
    messages: Sequence[Mapping[str, Any]]
    """Every request and callback once, in order of arrival."""
    flows: Sequence[Mapping[str, Any]]
    parties: Mapping[str, str]
    """Owner of ledger accounts by role."""
    balances_before: Balances
    balances: Balances
    journal_root: str
    ledger_verified: bool
    entries: int
    tariff: Mapping[str, Any] | None = None
    """The price of the delivery under a tariff, interfaces 2.2."""
    clearing: Mapping[str, Any] | None = None
    """In a market: price, volume_kw, cleared_power by clearing key."""

    @property
    def changes(self) -> Balances:
        """Return after − before."""
        return {
            party: {
                asset: _difference(asset, after, self.balances_before[party][asset])
                for asset, after in assets.items()
            }
            for party, assets in self.balances.items()
        }

    def to_wire(self) -> dict[str, Any]:
        """Return the document of `demo --json`."""
        document = {
            "transaction_id": self.transaction_id,
            "contract_id": self.contract_id,
            "status": self.status,
            "messages": [dict(message) for message in self.messages],
            "flows": [dict(flow) for flow in self.flows],
            "parties": dict(self.parties),
            "balances_before": self.balances_before,
            "balances": self.balances,
            "changes": self.changes,
            "journal_root": self.journal_root,
            "ledger_verified": self.ledger_verified,
        }
        more = {"tariff": self.tariff, "clearing": self.clearing}
        return document | {name: value for name, value in more.items() if value is not None}


def make_report(
    script: Script, folder: DemoFolder, transaction_id: str, balances_before: Balances
) -> Report:
    """Return what the nodes and the ledger know after the run."""
    trade = script.trade("bap", transaction_id)
    whole = script.trade(*script.contract_at(transaction_id))
    audit = audit_sqlite(folder.nodes["grid_operator"].database)
    return Report(
        transaction_id=transaction_id,
        contract_id=str(trade["contract_id"]),
        status=str(trade["status"]),
        messages=collect_messages(script, transaction_id),
        flows=whole["flows"],
        parties=script.parties,
        balances_before=balances_before,
        balances=script.balances(),
        journal_root=audit.journal_root,
        ledger_verified=audit.verdict.ok,
        entries=audit.verdict.entries,
        tariff=trade.get("tariff"),
        clearing=clearing_of(whole),
    )


def collect_messages(script: Script, transaction_id: str) -> list[dict[str, Any]]:
    """Return the messages of a trade and its leg, joined from the logs of all its nodes.

    The receiver knows when a message came, whether its signature held and what it answered; the
    sender knows how long it took until then.
    """
    logged, took_us = _logged(script, transaction_id)
    end_ns = time.monotonic_ns() + WRITTEN_S * 10**9
    while None in took_us.values() and time.monotonic_ns() < end_ns:
        time.sleep(POLL_S)  # the last answer is on its way, or not written down yet
        logged, took_us = _logged(script, transaction_id)
    arrived = sorted(
        (one for (way, _), one in logged.items() if way == "in"), key=lambda one: one["at_us"]
    )
    return [
        {
            "seq": seq,
            "from": one["from"],
            "to": one["to"],
            "action": one["action"],
            "ack": one["state"],
            "signature": one["signature"],
            "ms": _ms(took_us.get(_key(one))),
            "transaction_id": one["transaction_id"],
            "message_id": one["message_id"],
        }
        for seq, one in enumerate(arrived, 1)
    ]


def _logged(script: Script, transaction_id: str) -> tuple[dict[Any, Any], dict[Any, int | None]]:
    """Return what the nodes have logged by direction and message, and how long each took."""
    logged = {
        (message["direction"], _key(message)): message
        for name, transaction in script.logs(transaction_id)
        for message in script.messages(name, transaction)
    }
    return logged, {key: one["took_us"] for (way, key), one in logged.items() if way == "out"}


def _key(message: Mapping[str, Any]) -> tuple[str, str, str]:
    return message["from"], message["action"], message["message_id"]


def _ms(took_us: int | None) -> float | None:
    return None if took_us is None else round(took_us / 1_000, 1)


def _difference(asset: str, after: str, before: str) -> str:
    digits = minor_digits(CURRENCY) if asset == CURRENCY else 0
    return to_text(to_micro(after) - to_micro(before), digits)
