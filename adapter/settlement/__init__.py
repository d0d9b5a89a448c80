"""The contract layer: who may trade, what energy exists, and settlement of both legs at once.

Pure state transitions over a `LedgerStore`; time, ids and keys come in as arguments.
"""

from adapter.settlement.agreement_rows import (
    AgreementState,
    CapSnapshot,
    Deviation,
    DeviationKind,
    Terms,
    Transaction,
    TransactionState,
)
from adapter.settlement.apply import (
    Receipt,
    Result,
    apply,
    execute,
    genesis_command,
    parse_command,
    receipt_to_wire,
)
from adapter.settlement.commands import Argument, Command, Function, Read
from adapter.settlement.contracts.account_reads import balance
from adapter.settlement.contracts.parties import acts_for, holds_role, meter_owner
from adapter.settlement.contracts.readings import reading_bytes
from adapter.settlement.contracts.visibility import sees_event
from adapter.settlement.events import EVENTS, Event, EventType
from adapter.settlement.events import to_wire as event_to_wire
from adapter.settlement.functions import FUNCTIONS, READS
from adapter.settlement.journal import entry_events, entry_hash
from adapter.settlement.queries import read
from adapter.settlement.roles import SYSTEM, Role
from adapter.settlement.rows import Genesis
from adapter.settlement.state import Account, Changes, Entry, Head, Hold, LedgerStore, Row
from adapter.settlement.timers import due_commands
from adapter.settlement.verify import Verdict, state_root, verify
from adapter.settlement.views import (
    AgreementView,
    AllocationView,
    agreement_view,
    ledger_summary,
)

__all__ = [
    "EVENTS",
    "FUNCTIONS",
    "READS",
    "SYSTEM",
    "Account",
    "AgreementState",
    "AgreementView",
    "AllocationView",
    "Argument",
    "CapSnapshot",
    "Changes",
    "Command",
    "Deviation",
    "DeviationKind",
    "Entry",
    "Event",
    "EventType",
    "Function",
    "Genesis",
    "Head",
    "Hold",
    "LedgerStore",
    "Read",
    "Receipt",
    "Result",
    "Role",
    "Row",
    "Terms",
    "Transaction",
    "TransactionState",
    "Verdict",
    "acts_for",
    "agreement_view",
    "apply",
    "balance",
    "due_commands",
    "entry_events",
    "entry_hash",
    "event_to_wire",
    "execute",
    "genesis_command",
    "holds_role",
    "ledger_summary",
    "meter_owner",
    "parse_command",
    "read",
    "reading_bytes",
    "receipt_to_wire",
    "sees_event",
    "state_root",
    "verify",
]
