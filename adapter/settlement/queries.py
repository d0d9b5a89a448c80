"""`read`: what a caller may see of the ledger."""

from collections.abc import Mapping
from typing import Any

from adapter.settlement.commands import ReadView, bind, decode_args
from adapter.settlement.functions import FUNCTIONS, READS
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Opened
from adapter.settlement.state import LedgerStore


def read(
    ledger: LedgerStore,
    contract: str,
    function: str,
    args: Mapping[str, object],
    actor: str,
    now_ms: int,
) -> Any:
    """Return the answer of a read as JSON values with amounts as decimal strings.

    Args:
        ledger: the state to read.
        contract: name of the contract.
        function: name of the read.
        args: as JSON or the query string gave them.
        actor: who asks; empty for nobody in particular.
        now_ms: decides effective states.

    Raises:
        ContractError: UNKNOWN_FUNCTION, the codes of arguments, NOT_INITIALIZED, *_NOT_FOUND for
            what is not there or may not be seen.
    """
    known = READS.get((contract, function))
    if known is None:
        changes = (contract, function) in FUNCTIONS
        hint = "it changes the ledger: use POST" if changes else "see GET /contracts"
        msg = f"{contract[:60]}.{function[:60]} is no read; {hint}"
        raise refusal("UNKNOWN_FUNCTION", msg)
    decoded = decode_args(known.arguments, args)
    if ledger.get(Opened, "registry") is None:
        raise refusal("NOT_INITIALIZED", "the ledger has no entry 0: registry.initialize first")
    view = ReadView(ledger, actor, now_ms)
    return known.handler(view, bind(known.form, known.arguments, decoded))
