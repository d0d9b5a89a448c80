"""agreements: what a proposal says, and whether an agreement can be about that.

With a price for making a market one side is the market: it has no meter, and the contract id is
that of the market's contract, `#`, and the meter of the other side.
Source: settlement specification, section 11.1; decisions 0014 and 0019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS, SECOND_MS
from adapter.domain.market import FeeTreatment
from adapter.domain.tariff_terms import VatTreatment
from adapter.settlement import units
from adapter.settlement.agreed_tariff import (
    DEFAULT_ZONE,
    ZONE_OFFSETS,
    agree_tariff,
    check_tariff,
    with_zone_offsets,
)
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.kinds import (
    CONTRACT_ID,
    CURRENCY,
    ENERGY,
    ID,
    MAX_WINDOW_EPOCHS,
    PRICE,
    RATE,
    TIME,
    WINDOW,
    choice_kind,
    text_kind,
)
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.settings import BASES
from adapter.settlement.tariff_kind import TARIFF
from adapter.settlement.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAgreement:
    """Propose a forward trade and reserve the trade caps of its meters."""

    contract_id: Annotated[str, CONTRACT_ID]
    provider: Annotated[str, ID]
    consumer: Annotated[str, ID]
    source_meter: Annotated[str | None, ID] = None
    """Left out only when the provider is a market."""
    target_meter: Annotated[str | None, ID] = None
    """Left out only when the consumer is a market."""
    energy_amount_kwh: Annotated[int, ENERGY]
    price_per_kwh: Annotated[int | None, PRICE] = None
    """Or a tariff."""
    currency: Annotated[str, CURRENCY]
    window: Annotated[Mapping[str, int], WINDOW]
    delivery_deadline: Annotated[int | None, TIME] = None
    basis: Annotated[str | None, choice_kind("a settlement basis", BASES)] = None
    tariff: Annotated[Mapping[str, Any] | None, TARIFF] = None
    """In place of price_per_kwh; then the basis is DELIVERED."""
    time_zone: Annotated[str | None, text_kind("an IANA time zone", 40)] = None
    """Of the tariff's times of day and weekdays; UTC if left out."""
    vat_treatment: Annotated[str | None, choice_kind("a VAT treatment", VatTreatment)] = None
    """Whether the tariff's VAT is a leg of its own (EXCLUSIVE, unless told otherwise)."""
    zone_offsets: Annotated[Sequence[Sequence[int]] | None, ZONE_OFFSETS] = None
    """What the zone adds to UTC in the window: the host writes it into the command."""
    market_making_fee: Annotated[int | None, RATE] = None
    """Per kWh; says that the side without a meter is a market. The basis is CONTRACTED then."""
    fee_treatment: Annotated[str | None, choice_kind("a fee treatment", FeeTreatment)] = None
    """Who pays that fee: SYMMETRIC both sides, unless told otherwise."""
    valid_until: Annotated[int | None, TIME] = None
    """With a market: when the proposal lapses, within 31 days and before the window begins."""

    complete = staticmethod(with_zone_offsets)

    @property
    def meters(self) -> tuple[str, ...]:
        """Return the meters that are named."""
        return tuple(meter for meter in (self.source_meter, self.target_meter) if meter)


def check_terms(work: Work, args: CreateAgreement) -> None:
    """Check the arguments that depend on settings or on each other, in signature order.

    Raises:
        ContractError: INVALID_PRICE, INVALID_INPUT, INVALID_INTERVAL.
    """
    _check_sides(work, args)
    _check_price(work, args)
    if args.currency != work.genesis.currency:
        raise invalid("currency", f"this ledger settles in {work.genesis.currency} only")
    if args.window["start"] % EPOCH_MS or args.window["end"] % EPOCH_MS:
        raise refusal("INVALID_INTERVAL", "window: not on the 15-minute grid")
    if args.tariff is not None:
        if args.basis not in (None, "DELIVERED"):
            raise invalid("basis", "a tariff prices what was delivered, its basis is DELIVERED")
        if not args.zone_offsets or args.zone_offsets[0][0] != args.window["start"]:
            raise invalid("zone_offsets", "not those of the window")
        if args.tariff["currency"] != args.currency:
            raise invalid("tariff.currency", f"not {args.currency}")
        check_tariff(terms_of(work, args))


def _check_sides(work: Work, args: CreateAgreement) -> None:
    """Check that both sides have a meter, or one of them is a market and that is all said of it."""
    if args.market_making_fee is not None:
        _check_share(work, args)
        return
    for name, meter in (("source_meter", args.source_meter), ("target_meter", args.target_meter)):
        if meter is None:
            raise invalid(name, f"missing: {ID.title}")
    for name in ("fee_treatment", "valid_until"):
        if getattr(args, name) is not None:
            raise invalid(name, "only with market_making_fee")


def _check_share(work: Work, args: CreateAgreement) -> None:
    if len(args.meters) != 1:
        raise invalid("target_meter", "one side has a meter, the other one is the market")
    market_contract, _, meter_id = args.contract_id.rpartition("#")
    if not market_contract or meter_id != args.meters[0]:
        raise invalid("contract_id", f"not that of the market's contract and #{args.meters[0]}")
    if args.tariff is not None:
        raise invalid("tariff", "a market has one price")
    if args.basis not in (None, "CONTRACTED"):
        raise invalid("basis", "what a market cleared is paid, its basis is CONTRACTED")
    latest = min(args.window["start"], work.now_ms + MAX_WINDOW_EPOCHS * EPOCH_MS)
    if args.valid_until is not None and not work.now_ms <= args.valid_until <= latest:
        raise invalid("valid_until", f"not from now on and at the latest {latest}")


def _check_price(work: Work, args: CreateAgreement) -> None:
    price = args.price_per_kwh
    if args.tariff is None:
        if price is None:
            raise invalid("price_per_kwh", f"missing: {PRICE.title}, or a tariff")
        for name in ("time_zone", "vat_treatment", "zone_offsets"):
            if getattr(args, name) is not None:
                raise invalid(name, "only with a tariff")
    elif price is not None:
        raise invalid("tariff", "stands in place of price_per_kwh, not beside it")
    buyer_fee, seller_fee = _fees(work, args)
    if args.tariff is not None:
        seller_fee = 0  # else the tariff's own check
    units.check_rates(units.Rates(price or 0, work.settings.wheeling_rate, buyer_fee, seller_fee))


def _fees(work: Work, args: CreateAgreement) -> tuple[int, int]:
    """Return what buyer and seller pay per kWh: to the platform, or to the market between them."""
    if args.market_making_fee is None:
        return work.settings.buyer_fee, work.settings.seller_fee
    if args.source_meter is None:
        return args.market_making_fee, 0
    return 0, 0 if args.fee_treatment == FeeTreatment.BUYER_ONLY else args.market_making_fee


def terms_of(work: Work, args: CreateAgreement) -> Terms:
    """Return the terms of arguments that were checked."""
    settings, window = work.settings, args.window
    deadline = args.delivery_deadline
    if deadline is None:
        deadline = window["end"] + settings.delivery_grace_s * SECOND_MS
    buyer_fee, seller_fee = _fees(work, args)
    return Terms(
        contract_id=args.contract_id,
        provider=args.provider,
        consumer=args.consumer,
        source_meter=args.source_meter or "",
        target_meter=args.target_meter or "",
        energy=args.energy_amount_kwh,
        price=args.price_per_kwh or 0,
        wheeling_rate=settings.wheeling_rate,
        buyer_fee=buyer_fee,
        seller_fee=seller_fee,
        start_ms=window["start"],
        end_ms=window["end"],
        deadline_ms=deadline,
        basis=_basis(work, args),
        tariff=_tariff_text(args),
    )


def _basis(work: Work, args: CreateAgreement) -> str:
    if args.tariff is not None:
        return "DELIVERED"
    if args.market_making_fee is not None:
        return "CONTRACTED"
    return args.basis or work.settings.settlement_basis


def _tariff_text(args: CreateAgreement) -> str:
    if args.tariff is None:
        return ""
    vat = VatTreatment(args.vat_treatment or VatTreatment.EXCLUSIVE)
    zone = args.time_zone or DEFAULT_ZONE
    return agree_tariff(args.tariff, zone, vat, args.zone_offsets or ())
