"""Reads of oracle and agreements."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.quantities import to_text
from adapter.settlement.agreed_tariff import agreed
from adapter.settlement.agreement_rows import Agreement, Allocation, Deviation, Transaction
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.commands import ReadView
from adapter.settlement.contracts.delivery import known_transaction
from adapter.settlement.contracts.deviation_prices import priced
from adapter.settlement.contracts.minting import known_reading
from adapter.settlement.contracts.payments import effective_state
from adapter.settlement.contracts.proposals import known_agreement
from adapter.settlement.contracts.visibility import sees_agreement, sees_meter, sees_user
from adapter.settlement.kinds import BOOLEAN, ID, INTERVAL, NUMBER, RATE, WINDOW
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Genesis, padded
from adapter.settlement.state import Span


@dataclass(frozen=True, slots=True)
class GetReading:
    """The stored reading of one interval."""

    meter_id: Annotated[str, ID]
    interval: Annotated[int, INTERVAL]


@dataclass(frozen=True, slots=True)
class GetAgreement:
    """Terms and state of an agreement."""

    agreement_no: Annotated[int, NUMBER]


@dataclass(frozen=True, slots=True)
class GetTransaction:
    """A delivery transaction."""

    transaction_no: Annotated[int, NUMBER]


@dataclass(frozen=True, slots=True)
class GetTransactionHistory:
    """All delivery transactions of a user, oldest first."""

    prosumer: Annotated[str, ID]


@dataclass(frozen=True, slots=True)
class GetAllocations:
    """What each interval gave to an agreement, in time order."""

    agreement_no: Annotated[int, NUMBER]


@dataclass(frozen=True, slots=True)
class GetDeviations:
    """Deviations of a meter, in time order; with `price` also what they would cost."""

    meter: Annotated[str, ID]
    window: Annotated[Mapping[str, int] | None, WINDOW] = None
    price: Annotated[bool, BOOLEAN] = False
    """Preview the side contracts too: `{"deviations", "preview"}` instead of a list."""
    import_price: Annotated[int | None, RATE] = None
    """Per kWh that the seller's utility delivers in its place; required with `price`."""
    export_price: Annotated[int | None, RATE] = None
    """Per kWh that the buyer's utility takes over; required with `price`."""


def get_reading(view: ReadView, args: GetReading) -> Any:
    """Answer to the owner of the interval and to overseers."""
    reading = known_reading(view.ledger, args.meter_id, args.interval)
    if not sees_meter(view.ledger, view.actor, args.meter_id, args.interval):
        raise refusal("READING_NOT_FOUND", "no reading that you may see")
    registers = {
        "register_generated": reading.register_generated,
        "register_consumed": reading.register_consumed,
    }
    return {
        "meter_id": reading.meter_id,
        "interval": reading.start_ms,
        "owner": reading.owner,
        "generated": to_text(reading.generated),
        "consumed": to_text(reading.consumed),
        **{name: to_text(value) for name, value in registers.items() if value is not None},
        "minted": to_text(reading.minted),
        "retired": to_text(reading.retired),
        "stored_at": reading.stored_ms,
    }


def get_agreement(view: ReadView, args: GetAgreement) -> Any:
    """Answer to the parties, the grid operator and overseers."""
    agreement = _visible_agreement(view, args.agreement_no)
    terms, settled = agreement.terms, agreement.settled
    return {
        "agreement_no": agreement.agreement_no,
        "contract_id": terms.contract_id,
        "state": str(effective_state(agreement, view.now_ms)),
        "provider": terms.provider,
        "consumer": terms.consumer,
        **_meters(terms),
        "energy_amount_kwh": to_text(terms.energy),
        **_price(view, terms),
        **_fee(view, terms),
        "wheeling_rate": _money(view, terms.wheeling_rate),
        "window": {"start": terms.start_ms, "end": terms.end_ms},
        "delivery_deadline": terms.deadline_ms,
        "basis": terms.basis,
        "until": agreement.until_ms,
        "allocated_seller": to_text(agreement.seller.allocated),
        "allocated_buyer": to_text(agreement.buyer.allocated),
        "settled_quantity": to_text(settled.quantity),
        "energy_moved": to_text(settled.energy),
        "paid": _money(view, terms.debits(settled.paid)[terms.consumer]),
    }


def _meters(terms: Terms) -> dict[str, str]:
    """Return the meters of both sides; a market has none."""
    meters = {"source_meter": terms.source_meter, "target_meter": terms.target_meter}
    return {name: meter for name, meter in meters.items() if meter}


def _price(view: ReadView, terms: Terms) -> dict[str, Any]:
    if not terms.tariff:
        return {"price_per_kwh": _money(view, terms.price)}
    known = agreed(terms.tariff)
    return {
        "tariff": known.document,
        "time_zone": known.time_zone,
        "vat_treatment": known.terms.vat.value,
    }


def _fee(view: ReadView, terms: Terms) -> dict[str, str]:
    """Return which party is a market, and what it takes per kWh of this agreement."""
    if not terms.market:
        return {}
    fee = terms.buyer_fee if terms.is_withdrawal else terms.seller_fee
    return {"market": terms.market, "fee_per_kwh": _money(view, fee)}


def get_transaction(view: ReadView, args: GetTransaction) -> Any:
    """Answer to the parties, the grid operator and overseers."""
    transaction = known_transaction(view.ledger, args.transaction_no)
    agreement = known_agreement(view.ledger, transaction.agreement_no)
    if not sees_agreement(view.ledger, view.actor, agreement):
        raise refusal("TRANSACTION_NOT_FOUND", f"no transaction {args.transaction_no}")
    return _shown(view, transaction)


def get_transaction_history(view: ReadView, args: GetTransactionHistory) -> Any:
    """Answer to the user and to overseers."""
    if not sees_user(view.ledger, view.actor, args.prosumer):
        return []
    found = view.ledger.find(Transaction, "user", args.prosumer)
    return [_shown(view, transaction) for transaction in found]


def get_allocations(view: ReadView, args: GetAllocations) -> Any:
    """Answer to the parties, the grid operator and overseers; an open side is left out."""
    agreement = _visible_agreement(view, args.agreement_no)
    return [
        {
            "start": part.start_ms,
            **({} if part.seller is None else {"seller": to_text(part.seller)}),
            **({} if part.buyer is None else {"buyer": to_text(part.buyer)}),
        }
        for part in view.ledger.find(Allocation, "agreement", agreement.key)
    ]


def get_deviations(view: ReadView, args: GetDeviations) -> Any:
    """Answer to the owner of the meter, the grid operator and overseers."""
    if args.price:
        _check_prices(args)
    span = Span()
    if args.window is not None:
        span = Span(padded(args.window["start"]), padded(args.window["end"]))
    found = [
        row
        for row in view.ledger.find(Deviation, "meter", args.meter, span)
        if sees_meter(view.ledger, view.actor, row.meter_id, row.start_ms)
    ]
    shown = [_shown_deviation(row) for row in found]
    if not args.price:
        return shown
    numbers = sorted({row.agreement_no for row in found if row.agreement_no})
    return {"deviations": shown, "preview": [_preview(view, args, number) for number in numbers]}


def _check_prices(args: GetDeviations) -> None:
    for name, price in (("import_price", args.import_price), ("export_price", args.export_price)):
        if price is None:
            raise refusal("INVALID_PRICE", f"{name}: missing, a preview needs both prices")


def _shown_deviation(row: Deviation) -> dict[str, Any]:
    return {
        **({"agreement_no": row.agreement_no} if row.agreement_no else {}),
        "meter_id": row.meter_id,
        "window": {"start": row.start_ms, "end": row.end_ms},
        "kind": str(row.kind),
        "quantity": to_text(row.quantity),
        "cause": row.cause,
    }


def _preview(view: ReadView, args: GetDeviations, agreement_no: int) -> dict[str, Any]:
    """Return what the side contracts of an agreement would bill."""
    agreement = known_agreement(view.ledger, agreement_no)
    positions = priced(
        agreement, import_price=args.import_price or 0, export_price=args.export_price or 0
    )
    shown = {name: _money(view, amount) for name, amount in positions.to_mapping().items()}
    return {"agreement_no": agreement_no, **shown}


def _visible_agreement(view: ReadView, agreement_no: int) -> Agreement:
    agreement = known_agreement(view.ledger, agreement_no)
    if not sees_agreement(view.ledger, view.actor, agreement):
        raise refusal("AGREEMENT_NOT_FOUND", f"no agreement {agreement_no}")
    return agreement


def _shown(view: ReadView, transaction: Transaction) -> dict[str, Any]:
    return {
        "transaction_no": transaction.transaction_no,
        "agreement_no": transaction.agreement_no,
        "state": str(transaction.state),
        "claimed": to_text(transaction.claimed),
        "window": {"start": transaction.start_ms, "end": transaction.end_ms},
        "allocated_seller": to_text(transaction.allocated_seller),
        "allocated_buyer": to_text(transaction.allocated_buyer),
        "settle_quantity": to_text(transaction.settle_quantity),
        "recorded_at": transaction.recorded_ms,
        "dispute_until": transaction.dispute_until_ms,
        **_dispute(transaction),
        "settled_at": transaction.settled_ms,
        "cycle_id": transaction.cycle_id,
        "energy": to_text(transaction.energy),
        "value": _money(view, transaction.value),
        **({"vat": _money(view, transaction.vat)} if transaction.vat else {}),
        "wheeling": _money(view, transaction.wheeling),
        "fees": _money(view, transaction.buyer_fee + transaction.seller_fee),
    }


def _dispute(transaction: Transaction) -> dict[str, Any]:
    if not transaction.disputed_by:
        return {}
    return {
        "disputed_by": transaction.disputed_by,
        "disputed_quantity": to_text(transaction.disputed_quantity),
        "dispute_reason": transaction.dispute_reason,
    }


def _money(view: ReadView, amount: int) -> str:
    genesis = view.ledger.get(Genesis, "")
    assert genesis is not None
    return to_text(amount, genesis.digits)
