"""Payments between the parties of a contract, and what each is left with."""

from collections.abc import Iterable
from dataclasses import dataclass

from adapter.domain.currencies import NO_CURRENCY
from adapter.domain.quantities import Money


@dataclass(frozen=True, slots=True)
class RevenueFlow:
    """One payment; the debit of the payer is the credit of the payee."""

    payer: str
    """Contract role; a prosumer by its key."""
    payee: str
    amount: Money


def net_positions(flows: Iterable[RevenueFlow], parties: Iterable[str] = ()) -> dict[str, Money]:
    """Return received minus paid of each party, in the order named, then of appearance.

    Args:
        flows: payments in one currency.
        parties: who is listed even without any payment.

    Raises:
        QuantityError: SCH_ATTRIBUTE_PACK_INVALID, payments in two currencies.

    Source: contract specification, section 7.2.
    """
    payments = tuple(flows)
    currency = payments[0].amount.currency if payments else NO_CURRENCY
    net = {party: Money(0, currency) for party in parties}
    for flow in payments:
        nothing = Money(0, flow.amount.currency)
        net[flow.payer] = net.get(flow.payer, nothing) + -flow.amount
        net[flow.payee] = net.get(flow.payee, nothing) + flow.amount
    assert sum(position.micro for position in net.values()) == 0, "money was made or lost"
    return net
