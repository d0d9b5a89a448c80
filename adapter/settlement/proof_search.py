"""Finds what a proof of a trade must hold: its entries in the journal and the statements over them.

Source: settlement specification, section 5.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.canonical import parse_canonical
from adapter.settlement.contracts.visibility import sees_agreement, sees_user
from adapter.settlement.events import Event
from adapter.settlement.journal import entry_events
from adapter.settlement.order_rows import ClearedEpoch, Order, cleared_key, trade_id
from adapter.settlement.proof_stories import AGREEMENT_ROLES, TRADE_ROLES, ProofError
from adapter.settlement.proofs import TRADES_BLOCK, Cited, TradePlace, make_proof
from adapter.settlement.roots import Statement
from adapter.settlement.rows import padded
from adapter.settlement.signed_roots import SignedRoot
from adapter.settlement.state import LedgerStore, Span
from adapter.settlement.trails import (
    Trail,
    agreement_object,
    contract_object,
    trail_of,
)

_TRADE_ID = re.compile(r"(\d{1,12})-(.{1,128})-(\d{1,9})", re.ASCII)
_ROLES = {name: role for role, name in AGREEMENT_ROLES.items()}

SignedOf = Callable[[Statement], SignedRoot | None]
"""Returns a statement with its signatures, None while it is not signed."""


class NoTradeError(ProofError):
    """There is no such trade, or none that the asker may see."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An event on a trail."""

    trail: Trail
    event: Event


def prove(
    ledger: LedgerStore, trade: str, signed_of: SignedOf, actor: str | None = None
) -> dict[str, Any]:
    """Return the bundle of a spot trade by its id, or of an agreement by its contract id.

    An agreement's bundle holds what is anchored of it: created, activated, settled. Of several
    platforms' agreements with one contract id the newest that `actor` may see is taken.

    Args:
        ledger: the journal with its blocks.
        trade: `{epoch}-{area}-{index}`, or a contract id.
        signed_of: the signatures of a statement.
        actor: who asks; None for somebody who has the database.

    Raises:
        NoTradeError: no such trade that `actor` may see.
        ProofError: it is not anchored and signed yet.
    """
    numbers = [found.event.fields["agreement_no"] for found in _events(ledger, trade)]
    for number in reversed(dict.fromkeys(numbers)):
        agreement = ledger.get(Agreement, padded(number))
        assert agreement is not None
        if actor is None or sees_agreement(ledger, actor, agreement):
            return _prove_agreement(ledger, agreement, signed_of)
    match = _TRADE_ID.fullmatch(trade)
    if match is None:
        msg = f"no trade {trade[:200]}"
        raise NoTradeError(msg)
    name, cleared = _cleared_trade(ledger, int(match[1]), match[2], int(match[3]))
    place, orders = _place_of(ledger, cleared, int(match[3]))
    # Before anything that costs time, and before saying that it is not anchored yet.
    if actor is not None and not any(sees_user(ledger, actor, order.user) for order in orders):
        msg = f"no trade {trade[:200]}"
        raise NoTradeError(msg)
    return _prove_trade(ledger, TradePlace(name, place), (cleared.seq, orders), signed_of)


def _events(ledger: LedgerStore, contract_id: str) -> Iterator[_Found]:
    return _follow(ledger, contract_object(contract_id))


def _prove_agreement(
    ledger: LedgerStore, agreement: Agreement, signed_of: SignedOf
) -> dict[str, Any]:
    story = list(_follow(ledger, agreement_object(agreement.agreement_no)))
    created = [one for one in story if one.event.name == "AgreementCreated"][-1:]
    later = [one for one in story if one.event.name != "AgreementCreated"]
    every = [Cited(_ROLES[one.event.name], one.trail.seq) for one in (*created, *later)]
    cited = list(dict.fromkeys(every))
    statements = [_signed_over(ledger, one.seq, signed_of) for one in cited]
    covered = [one for one, signed in zip(cited, statements, strict=True) if signed is not None]
    if not covered or covered[0].role != "created":
        raise _not_yet(agreement.terms.contract_id)
    return make_proof(ledger, "agreement", covered, [one for one in statements if one is not None])


def _cleared_trade(
    ledger: LedgerStore, epoch: int, area: str, index: int
) -> tuple[str, ClearedEpoch]:
    """Return the id of a trade and the clearing that made it."""
    name = trade_id(area, epoch, index)
    cleared = ledger.get(ClearedEpoch, cleared_key(area, epoch))
    if cleared is None or index >= cleared.trades:
        msg = f"no trade {name[:200]}"
        raise NoTradeError(msg)
    return name, cleared


def _place_of(
    ledger: LedgerStore, cleared: ClearedEpoch, index: int
) -> tuple[int, tuple[Order, Order]]:
    """Return the row of a trade in its block, and the orders that sell and buy."""
    block = ledger.block(cleared.seq, TRADES_BLOCK)
    assert block is not None
    place = cleared.trades_at + index
    buy_order, sell_order, _ = block.row(place)
    sold, bought = (ledger.get(Order, padded(number)) for number in (sell_order, buy_order))
    assert sold is not None
    assert bought is not None
    return place, (sold, bought)


def _prove_trade(
    ledger: LedgerStore,
    trade: TradePlace,
    made: tuple[int, tuple[Order, Order]],
    signed_of: SignedOf,
) -> dict[str, Any]:
    cleared_seq, orders = made
    seqs = [cleared_seq, *(order.seq for order in orders)]
    signed = [_signed_over(ledger, seq, signed_of) for seq in seqs]
    statements = [one for one in signed if one is not None]
    if len(statements) < len(seqs):
        raise _not_yet(trade.trade_id)
    cited = [Cited(role, seq) for role, seq in zip(TRADE_ROLES, seqs, strict=True)]
    return make_proof(ledger, "trade", cited, statements, trade)


def _follow(ledger: LedgerStore, named: str) -> Iterator[_Found]:
    """Give the events of an object's trail, oldest first."""
    for trail in trail_of(ledger, named):
        entry = ledger.entry(trail.seq)
        assert entry is not None
        yield _Found(trail, entry_events(parse_canonical(entry.body))[trail.index])


def _signed_over(ledger: LedgerStore, seq: int, signed_of: SignedOf) -> SignedRoot | None:
    """Return the signed statement that covers an entry."""
    span = Span(start=padded(seq))
    covering = next(iter(ledger.find(Statement, "seq", "", span)), None)
    return None if covering is None else signed_of(covering)


def _not_yet(trade: str) -> ProofError:
    msg = f"{trade[:200]} is not covered by a signed statement yet: an epoch is when it has ended"
    return ProofError(msg)
