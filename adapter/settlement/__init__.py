"""The contract layer: who may trade, what energy exists, and settlement of both legs at once.

Pure state transitions over a `LedgerStore`; time, ids and keys come in as arguments.
"""

from adapter.settlement.agreement_rows import (
    AgreementState,
    CapSnapshot,
    Deviation,
    DeviationKind,
    Transaction,
    TransactionState,
)
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.anchor_due import due_anchor
from adapter.settlement.apply import (
    Receipt,
    Result,
    apply,
    execute,
    genesis_command,
    parse_command,
    receipt_to_wire,
)
from adapter.settlement.balances import state_root
from adapter.settlement.block_views import all_events
from adapter.settlement.blocks import FORMATS as BLOCK_NAMES
from adapter.settlement.blocks import Block
from adapter.settlement.canonical import CanonicalError, canonical_bytes
from adapter.settlement.commands import Argument, Command, Function, Read
from adapter.settlement.contracts.account_reads import balance
from adapter.settlement.contracts.parties import (
    acts_for,
    holds_role,
    meter_capacity,
    meter_owner,
)
from adapter.settlement.contracts.readings import reading_bytes
from adapter.settlement.contracts.upkeep import epochs_to_clear
from adapter.settlement.contracts.visibility import sees_event
from adapter.settlement.countersigners import represents_somebody
from adapter.settlement.events import EVENTS, Event, EventType
from adapter.settlement.events import to_wire as event_to_wire
from adapter.settlement.functions import FUNCTIONS, READS
from adapter.settlement.journal import broken_link, entry_events, entry_hash
from adapter.settlement.proof_search import NoTradeError, prove
from adapter.settlement.proof_stories import ProofError
from adapter.settlement.proofs import Proven, check_proof
from adapter.settlement.queries import read
from adapter.settlement.replay import ReplayError, replay
from adapter.settlement.roles import SYSTEM, Role
from adapter.settlement.roots import (
    Statement,
    last_statement,
    parse_statement,
    statements_after,
)
from adapter.settlement.rows import Genesis
from adapter.settlement.signed_roots import (
    Countersignature,
    SignedRoot,
    check_root,
    countersigned_bytes,
    holds,
    signed_root_of,
)
from adapter.settlement.state import Account, Changes, Entry, Head, Hold, LedgerStore, Row
from adapter.settlement.timers import due_commands
from adapter.settlement.verify import Verdict, verify
from adapter.settlement.verify_roots import UnreadableRoot
from adapter.settlement.views import (
    AgreementView,
    AllocationView,
    agreement_view,
    ledger_summary,
    market_views,
)

__all__ = [
    "BLOCK_NAMES",
    "EVENTS",
    "FUNCTIONS",
    "READS",
    "SYSTEM",
    "Account",
    "AgreementState",
    "AgreementView",
    "AllocationView",
    "Argument",
    "Block",
    "CanonicalError",
    "CapSnapshot",
    "Changes",
    "Command",
    "Countersignature",
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
    "NoTradeError",
    "ProofError",
    "Proven",
    "Read",
    "Receipt",
    "ReplayError",
    "Result",
    "Role",
    "Row",
    "SignedRoot",
    "Statement",
    "Terms",
    "Transaction",
    "TransactionState",
    "UnreadableRoot",
    "Verdict",
    "acts_for",
    "agreement_view",
    "all_events",
    "apply",
    "balance",
    "broken_link",
    "canonical_bytes",
    "check_proof",
    "check_root",
    "countersigned_bytes",
    "due_anchor",
    "due_commands",
    "entry_events",
    "entry_hash",
    "epochs_to_clear",
    "event_to_wire",
    "execute",
    "genesis_command",
    "holds",
    "holds_role",
    "last_statement",
    "ledger_summary",
    "market_views",
    "meter_capacity",
    "meter_owner",
    "parse_command",
    "parse_statement",
    "prove",
    "read",
    "reading_bytes",
    "receipt_to_wire",
    "replay",
    "represents_somebody",
    "sees_event",
    "signed_root_of",
    "state_root",
    "statements_after",
    "verify",
]
