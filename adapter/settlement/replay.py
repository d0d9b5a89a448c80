"""Executes the entries of a journal again, on a scratch ledger.

The rows of a block that was an argument are no part of the journal; they come from where blocks
are kept. Source: settlement specification, section 5.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adapter.domain.errors import AdapterError
from adapter.settlement.apply import execute
from adapter.settlement.blocks import Block, BlockDigest
from adapter.settlement.canonical import parse_canonical
from adapter.settlement.commands import Command, restored_args
from adapter.settlement.functions import FUNCTIONS
from adapter.settlement.state import LedgerStore

BlockOf = Callable[[int, str], Block | None]
"""Returns the kept block of an entry by its name."""


class ReplayError(Exception):
    """An entry that its command does not give; one line."""


def no_blocks(_seq: int, _name: str) -> Block | None:
    """Return None: where only the journal is at hand."""
    return None


def replay(body: bytes, scratch: LedgerStore, block_of: BlockOf = no_blocks) -> None:
    """Execute the command of an entry; it must give the same bytes.

    Args and Raises: as `replay_parsed`; CanonicalError, not canonical bytes.
    """
    replay_parsed(parse_canonical(body), body, scratch, block_of)


def replay_parsed(
    document: Mapping[str, Any],
    body: bytes,
    scratch: LedgerStore,
    block_of: BlockOf = no_blocks,
) -> None:
    """Execute the command of a parsed entry; it must give the same bytes.

    Args:
        document: the entry after the scratch ledger's head.
        body: its canonical bytes.
        scratch: changed.
        block_of: rows that were arguments.

    Raises:
        ReplayError: it does not.
        KeyError, TypeError, ValueError, AttributeError: not an entry.
    """
    command = _command(document, block_of)
    behalf = document.get("on_behalf_of")
    actor, now_ms = document["actor"], document["time"]
    try:
        receipt = execute(scratch, command, actor, now_ms, on_behalf_of=behalf)
    except AdapterError as error:
        msg = f"refused with {error.code}: {error.message}"
        raise ReplayError(msg) from None
    except AssertionError as error:
        raise ReplayError(str(error)) from None
    entry = scratch.entry(receipt.seq)
    if receipt.replayed or entry is None or entry.body != body:
        msg = "the command gives another entry than the one written"
        raise ReplayError(msg)


def _command(document: Mapping[str, Any], block_of: BlockOf) -> Command:
    contract, name = document["contract"], document["function"]
    function = FUNCTIONS.get((contract, name))
    if function is None:
        msg = f"no function {contract}.{name}"
        raise ReplayError(msg)
    args = restored_args(function.arguments, document["args"])
    for argument, value in args.items():
        if isinstance(value, BlockDigest):
            block = block_of(document["seq"], value.name)
            if block is None:
                msg = f"the rows of block {value.name} are not at hand"
                raise ReplayError(msg)
            args[argument] = block
    return Command(document["cmd"], contract, name, args)
