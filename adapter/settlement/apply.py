"""`apply`: the contract layer as one deterministic function, and `execute`, which writes it down.

Refusals come in the order of the specification, section 3: P0 the function, P1 replay, P2
arguments, P3 opened or not, P4 role, then the order of the function's row.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapter.settlement import events
from adapter.settlement.canonical import digest, parse_canonical
from adapter.settlement.commands import (
    COMMAND_ID_MAX,
    Command,
    Function,
    NoEntry,
    bind,
    check_args,
    decode_args,
    journal_args,
)
from adapter.settlement.contracts.parties import acts_for, holds_role
from adapter.settlement.events import Event
from adapter.settlement.functions import FUNCTIONS, READS
from adapter.settlement.journal import NO_PREVIOUS, entry_events, seal
from adapter.settlement.kinds import ID, text_kind
from adapter.settlement.postings import Posting
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Genesis, Opened, Reply
from adapter.settlement.state import Changes, Entry, Head, LedgerStore
from adapter.settlement.trails import trails
from adapter.settlement.work import Work

if TYPE_CHECKING:
    from adapter.settlement.sharding import ClearBooks

_COMMAND_ID = text_kind("a command id", COMMAND_ID_MAX)
_UNWRITABLE = (ValueError, TypeError, KeyError, AttributeError)
_RESULT = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Result:
    """What a command does, not written yet."""

    work: Work
    result: Mapping[str, Any]
    unchanged: bool = False
    """Everything was done already: no entry."""
    seq: int | None = None
    """The entry that did it, when unchanged."""

    @property
    def postings(self) -> tuple[Posting, ...]:
        """Return the postings in order."""
        return tuple(self.work.postings)

    @property
    def events(self) -> tuple[Event, ...]:
        """Return the events in order."""
        return tuple(self.work.events)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an accepted command."""

    command_id: str
    seq: int
    """Entry that holds it; without an entry of its own, the one that did it or the head."""
    entry_hash: str
    replayed: bool
    """It had been done before; nothing else happened."""
    result: Mapping[str, Any]
    events: tuple[Event, ...] = field(default=())
    digits: int = 2
    """Decimals that money shows at least."""


def parse_command(
    command_id: str, contract: str, function: str, args: Mapping[str, object]
) -> Command:
    """Return the command for arguments as JSON gave them.

    Args:
        command_id: 1 to 256 characters, chosen by the caller.
        contract: name of the contract.
        function: name of the function.
        args: numbers as int, Decimal or decimal text; kWh, currency, milliseconds.

    Raises:
        ContractError: UNKNOWN_FUNCTION; INVALID_INPUT, INVALID_ENERGY_AMOUNT, INVALID_PRICE,
            INVALID_INTERVAL with the first bad argument in signature order.
    """
    known = known_function(contract, function)
    _COMMAND_ID.check("command id", command_id)
    decoded = known.complete(decode_args(known.arguments, args))
    return Command(command_id, contract, function, decoded)


def known_function(contract: str, function: str) -> Function:
    """Return a function of the table.

    Raises:
        ContractError: UNKNOWN_FUNCTION.
    """
    known = FUNCTIONS.get((contract, function))
    if known is None:
        is_read = (contract, function) in READS
        hint = "it is a read: use GET" if is_read else "see GET /contracts for all functions"
        msg = f"{contract[:60]}.{function[:60]} is not a function that changes the ledger; {hint}"
        raise refusal("UNKNOWN_FUNCTION", msg)
    return known


def genesis_command(
    document: Mapping[str, object],
    keys: Sequence[Mapping[str, str]] = (),
    *,
    ledger: str | None = None,
) -> Command:
    """Return `registry.initialize` for the content of genesis.yaml.

    Args:
        document: `{admin, regulators, roles?, settings?}`; rates, ticks, lots and fees are
            decimals.
        keys: signing keys of the host, `{"id": "subscriber|key|ed25519", "public_key": base64}`.
        ledger: its name, and the owner of its fees; absent: the subscriber of the first key, or
            the admin.

    Raises:
        ContractError: INVALID_INPUT and finer, naming the unknown or bad part.
    """
    whole = {"roles": {}, "settings": {}, **document, "keys": list(keys)}
    if ledger is not None:
        whole["ledger"] = ledger
    return parse_command("genesis", "registry", "initialize", whole)


def execute(
    ledger: LedgerStore,
    command: Command,
    actor: str,
    now_ms: int,
    *,
    on_behalf_of: str | None = None,
    clear_books: "ClearBooks | None" = None,
) -> Receipt:
    """Do a command and write it, or do nothing at all.

    Args:
        ledger: inside the caller's transaction.
        command: canonical.
        actor: subscriber or user whose signature or token the edge has checked.
        now_ms: the time of the command.
        on_behalf_of: the user that the actor represents.
        clear_books: where books are cleared; None: in this process.

    Raises:
        ContractError: the first refusal by precedence; nothing has been written.
    """
    function = known_function(command.contract, command.function)
    ID.check("actor", actor)
    _COMMAND_ID.check("command id", command.id)
    args = _written_args(function, command)
    fingerprint = _digest(command, args, actor, on_behalf_of)
    before = ledger.get(Reply, f"{actor}|{command.id}")
    if before is not None:
        return _replayed(ledger, before, fingerprint)
    result = apply(
        ledger, command, actor, now_ms, on_behalf_of=on_behalf_of, clear_books=clear_books
    )
    if result.unchanged:
        return _unchanged(ledger, command, result)
    work = result.work
    work.add(Reply(actor, command.id, fingerprint, work.seq, _RESULT.encode(result.result)))
    for trail in trails(work.seq, work.events):
        work.add(trail)
    assert args is not None  # they have passed their checks
    entry = _entry(command, args, work, ledger.head(), on_behalf_of)
    ledger.write(
        Changes(
            list(work.accounts.values()),
            list(work.holds.values()),
            list(work.rows.values()),
            entry,
            tuple(work.blocks),
        )
    )
    return Receipt(
        command.id,
        entry.seq,
        entry.hash,
        replayed=False,
        result=result.result,
        events=result.events,
        digits=work.genesis.digits,
    )


def apply(
    ledger: LedgerStore,
    command: Command,
    actor: str,
    now_ms: int,
    *,
    on_behalf_of: str | None = None,
    clear_books: "ClearBooks | None" = None,
) -> Result:
    """Return what a command does to the state; the stored state stays as it is.

    Raises:
        ContractError: the first refusal by precedence, replay aside.
    """
    function = known_function(command.contract, command.function)
    check_args(function.arguments, command.args)
    head = ledger.head()
    seq = head.seq + 1 if head else 0
    user = actor if on_behalf_of is None else on_behalf_of
    work = Work(ledger, seq=seq, actor=actor, user=user, now_ms=now_ms)
    work.clear_books = clear_books
    _check_opened(work, function)
    args = bind(function.form, function.arguments, command.args)
    if function.precheck is not None:
        function.precheck(work, args)
    _check_actor(work, function)
    try:
        result = function.handler(work, args)
    except NoEntry as done:
        return Result(work, done.result, unchanged=True, seq=done.seq)
    return Result(work, result)


def _check_opened(work: Work, function: Function) -> None:
    """P3: the contract is open, or is being opened for the first time."""
    opens = function.name == "initialize"
    contract = function.contract if function.contract == "agreements" else "registry"
    if work.get(Opened, "registry") is None and not (opens and contract == "registry"):
        raise refusal("NOT_INITIALIZED", "the ledger has no entry 0: registry.initialize first")
    is_open = work.get(Opened, contract) is not None
    if opens and is_open:
        raise refusal("ALREADY_INITIALIZED", f"{contract} is open")
    if not opens and not is_open:
        raise refusal("NOT_INITIALIZED", f"{contract}.initialize comes first")


def _check_actor(work: Work, function: Function) -> None:
    """P4: the actor may act for the user, and holds a role that the function wants."""
    if not acts_for(work, work.actor, work.user):
        msg = f"{work.actor} is not the representative of {work.user}"
        raise refusal("NOT_AUTHORIZED", msg)
    if function.roles and not any(holds_role(work, role, work.actor) for role in function.roles):
        msg = f"{work.actor} is not {' or '.join(function.roles)}"
        raise refusal(function.refusal, msg)


def _written_args(function: Function, command: Command) -> dict[str, Any] | None:
    """Return the arguments as the journal has them; None: their checks will refuse them later."""
    try:
        return journal_args(function.arguments, command.args)
    except _UNWRITABLE:
        return None


def _digest(
    command: Command, args: Mapping[str, Any] | None, actor: str, on_behalf_of: str | None
) -> str:
    """Return the digest that tells a repeat from another command with the same id.

    Arguments that cannot be written are refused later by their checks; here they only must not
    pass for a repeat.
    """
    document: dict[str, Any] = {
        "actor": actor,
        "contract": command.contract,
        "function": command.function,
        "args": args,
    }
    if on_behalf_of is not None:
        document["on_behalf_of"] = on_behalf_of
    try:
        return digest(document)
    except _UNWRITABLE:
        return hashlib.sha256(repr(command.args).encode()).hexdigest()


def _entry(
    command: Command,
    args: Mapping[str, Any],
    work: Work,
    head: Head | None,
    on_behalf_of: str | None,
) -> Entry:
    fields: dict[str, Any] = {
        "ledger": work.genesis.ledger,
        "seq": work.seq,
        "time": work.now_ms,
        "actor": work.actor,
        "cmd": command.id,
        "contract": command.contract,
        "function": command.function,
        "args": args,
        "prev": head.hash if head else NO_PREVIOUS,
    }
    if on_behalf_of is not None:
        fields["on_behalf_of"] = on_behalf_of
    return seal(fields, work.postings, work.events, work.blocks)


def _replayed(ledger: LedgerStore, before: Reply, fingerprint: str) -> Receipt:
    if before.digest != fingerprint:
        msg = f"command id {before.command_id} was used in entry {before.seq} for another command"
        raise refusal("IDEMPOTENCY_CONFLICT", msg)
    entry = ledger.entry(before.seq)
    assert entry is not None
    happened = entry_events(parse_canonical(entry.body))
    result = json.loads(before.result)
    return Receipt(
        before.command_id, entry.seq, entry.hash, True, result, happened, _digits(ledger)
    )


def _unchanged(ledger: LedgerStore, command: Command, result: Result) -> Receipt:
    """Return the receipt of a success without effect."""
    head = ledger.head()
    assert head is not None
    entry = ledger.entry(head.seq if result.seq is None else result.seq)
    assert entry is not None
    done_before = result.seq is not None
    digits = _digits(ledger)
    return Receipt(command.id, entry.seq, entry.hash, done_before, result.result, (), digits)


def _digits(ledger: LedgerStore) -> int:
    genesis = ledger.get(Genesis, "")
    assert genesis is not None
    return genesis.digits


def receipt_to_wire(receipt: Receipt) -> dict[str, Any]:
    """Return the JSON answer to a command; amounts in events are decimal strings."""
    return {
        "command_id": receipt.command_id,
        "seq": receipt.seq,
        "entry_hash": receipt.entry_hash,
        "replayed": receipt.replayed,
        "result": dict(receipt.result),
        "events": [
            {"id": f"{receipt.seq}.{i}", **events.to_wire(event, receipt.digits)}
            for i, event in enumerate(receipt.events)
        ],
    }
