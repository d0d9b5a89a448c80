"""agreements: what the parts of a delivery cost under a tariff.

Part n posts what all settled parts cost together, less what was paid: the legs then add up to the
flow amount of the whole delivery. Source: settlement specification, sections 2 and 11.2.
"""

from collections.abc import Iterator
from fractions import Fraction

from adapter.domain.instants import EPOCH_MS
from adapter.domain.quantities import MICRO
from adapter.domain.tariff_elements import ProfilePiece
from adapter.domain.tariff_terms import TariffMoney
from adapter.settlement.agreed_tariff import agreed
from adapter.settlement.agreement_rows import (
    Agreement,
    Allocation,
    Transaction,
    TransactionState,
)
from adapter.settlement.rows import padded
from adapter.settlement.state import Reader, Span
from adapter.settlement.units import Legs

_COUNTED = frozenset({TransactionState.SETTLED, TransactionState.VOIDED})


def with_tariff(
    reader: Reader, due: Legs, agreement: Agreement, transaction: Transaction, *, final: bool
) -> Legs:
    """Return the legs that are due, value and VAT by the tariff.

    A part that a dispute held up is settled after later ones, and may move these to other prices:
    where all parts together then cost less than was paid, nothing is due, and nothing comes back.
    """
    paid, money = agreement.settled.paid, _money(reader, agreement, transaction, final=final)
    whole = max(0, sum(money) - paid.value - paid.vat)
    vat = min(max(0, money.vat - paid.vat), whole)
    return due._replace(value=whole - vat, vat=vat)


def _money(
    reader: Reader, agreement: Agreement, transaction: Transaction, *, final: bool
) -> TariffMoney:
    """Return what all that is settled costs, with the part at hand."""
    terms = agreement.terms
    stored = reader.find(Transaction, "agreement", agreement.key)
    parts = [t for t in stored if t.state in _COUNTED and t.key != transaction.key] + [transaction]
    pieces = [piece for part in parts for piece in _pieces(reader, agreement, part)]
    return agreed(terms.tariff).terms.settled(terms.window, sorted(pieces), final=final)


def _pieces(reader: Reader, agreement: Agreement, part: Transaction) -> Iterator[ProfilePiece]:
    """Give the energy of a part by interval: as allocated, in proportion where less is paid.

    Of a part that was voided nothing is paid, but its time has passed.
    """
    span = Span(padded(part.start_ms), padded(part.end_ms))
    rows = reader.find(Allocation, "agreement", agreement.key, span)
    weights = {row.start_ms: row.seller or 0 for row in rows}
    if not any(weights.values()):  # a regulator named what was delivered, and not when
        weights = dict.fromkeys(range(part.start_ms, part.end_ms, EPOCH_MS), 1)
    paid = 0 if part.state is TransactionState.VOIDED else part.settle_quantity
    unit = Fraction(paid, sum(weights.values()) * MICRO)
    for start_ms, weight in weights.items():
        yield ProfilePiece(start_ms, start_ms + EPOCH_MS, weight * unit)
