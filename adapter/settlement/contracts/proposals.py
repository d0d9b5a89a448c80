"""agreements: proposing, accepting and cancelling a forward trade.

Source: settlement specification, section 11.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.domain.instants import EPOCH_MS, SECOND_MS
from adapter.domain.tariff_terms import VatTreatment
from adapter.settlement import accounts, units
from adapter.settlement.agreed_tariff import (
    DEFAULT_ZONE,
    ZONE_OFFSETS,
    agree_tariff,
    cash_needed,
    check_tariff,
    with_zone_offsets,
)
from adapter.settlement.agreement_rows import (
    Agreement,
    AgreementState,
    AgreementStep,
    SideProgress,
    Terms,
    TradeSide,
    contract_value,
)
from adapter.settlement.contracts import caps, closing
from adapter.settlement.contracts.allocation import allocate
from adapter.settlement.contracts.allowances import ANY_PLATFORM, allowance_of, use_allowance
from adapter.settlement.contracts.evidence import (
    SIGNED_CONFIRM,
    EvidenceError,
    check_evidence,
)
from adapter.settlement.contracts.parties import binding_at, check_meter, is_prosumer, verify
from adapter.settlement.kinds import (
    CONTRACT_ID,
    CURRENCY,
    ENERGY,
    ID,
    NUMBER,
    PRICE,
    TIME,
    WINDOW,
    choice_kind,
    text_kind,
)
from adapter.settlement.postings import Why
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.rows import Allowance, MeterKind, Opened, Reading, interval_key, padded
from adapter.settlement.settings import BASES
from adapter.settlement.state import Reader
from adapter.settlement.tariff_kind import TARIFF
from adapter.settlement.work import Work

CONTRACT = "agreements"


@dataclass(frozen=True, slots=True)
class InitializeAgreements:
    """Open the contract; before that everything in it is refused."""

    admin: Annotated[str, ID]
    token_contract: Annotated[str, text_kind("a currency code", 64)]


def initialize_agreements(work: Work, args: InitializeAgreements) -> Mapping[str, Any]:
    """Open the contract for the ledger's own currency."""
    if args.token_contract != work.genesis.currency:
        raise refusal("TOKEN_NOT_SET", f"payments are in {work.genesis.currency}")
    work.put(Opened(CONTRACT, work.seq))
    fields = {"admin": args.admin, "token_contract": args.token_contract}
    work.emit("AgreementsInitialized", fields)
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAgreement:
    """Propose a forward trade and reserve the trade caps of both meters."""

    contract_id: Annotated[str, CONTRACT_ID]
    provider: Annotated[str, ID]
    consumer: Annotated[str, ID]
    source_meter: Annotated[str, ID]
    target_meter: Annotated[str, ID]
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

    complete = staticmethod(with_zone_offsets)


def check_terms(work: Work, args: CreateAgreement) -> None:
    """Check the arguments that depend on settings, in signature order.

    Raises:
        ContractError: INVALID_PRICE, INVALID_INPUT, INVALID_INTERVAL.
    """
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
        check_tariff(_terms(work, args))


def _check_price(work: Work, args: CreateAgreement) -> None:
    settings, price = work.settings, args.price_per_kwh
    if args.tariff is None:
        if price is None:
            raise invalid("price_per_kwh", f"missing: {PRICE.title}, or a tariff")
        for name in ("time_zone", "vat_treatment", "zone_offsets"):
            if getattr(args, name) is not None:
                raise invalid(name, "only with a tariff")
    elif price is not None:
        raise invalid("tariff", "stands in place of price_per_kwh, not beside it")
    seller_fee = settings.seller_fee if args.tariff is None else 0  # else the tariff's check
    units.check_rates(
        units.Rates(price or 0, settings.wheeling_rate, settings.buyer_fee, seller_fee)
    )


def create_agreement(work: Work, args: CreateAgreement) -> Mapping[str, Any]:
    """Propose; the same contract id from the same subscriber supersedes while PROPOSED.

    The new proposal has a number of its own, so nobody accepts terms it has not seen.
    """
    terms = _terms(work, args)
    if work.user not in (terms.provider, terms.consumer):
        msg = f"{work.user} is neither provider nor consumer: name on whose behalf"
        raise refusal("NOT_AUTHORIZED", msg)
    _check_meters(work, terms)
    known = agreement_of(work, work.actor, terms.contract_id)
    if known is not None and (
        known.state is not AgreementState.PROPOSED or known.until_ms < work.now_ms
    ):
        msg = f"{terms.contract_id} is agreement {known.agreement_no} and past its proposal"
        raise refusal("AGREEMENT_ALREADY_EXISTS", msg, agreement_no=known.agreement_no)
    _check_parties(work, terms)
    if terms.deadline_ms < work.now_ms:
        raise refusal("DELIVERY_DEADLINE_PASSED", f"delivery_deadline {terms.deadline_ms} is over")
    if known is not None:
        closing.supersede(work, known)
    agreement = _propose(work, terms)
    return {"agreement_no": agreement.agreement_no, "until": agreement.until_ms}


def agreement_of(reader: Reader, caller: str, contract_id: str) -> Agreement | None:
    """Return the agreement that a subscriber proposed for a contract id."""
    found = reader.find(Agreement, "contract", contract_value(caller, contract_id))
    return next(iter(found), None)


def _terms(work: Work, args: CreateAgreement) -> Terms:
    settings, window = work.settings, args.window
    deadline = args.delivery_deadline
    if deadline is None:
        deadline = window["end"] + settings.delivery_grace_s * SECOND_MS
    return Terms(
        contract_id=args.contract_id,
        provider=args.provider,
        consumer=args.consumer,
        source_meter=args.source_meter,
        target_meter=args.target_meter,
        energy=args.energy_amount_kwh,
        price=args.price_per_kwh or 0,
        wheeling_rate=settings.wheeling_rate,
        buyer_fee=settings.buyer_fee,
        seller_fee=settings.seller_fee,
        start_ms=window["start"],
        end_ms=window["end"],
        deadline_ms=deadline,
        basis=args.basis or settings.settlement_basis if args.tariff is None else "DELIVERED",
        tariff=_tariff_text(args),
    )


def _tariff_text(args: CreateAgreement) -> str:
    if args.tariff is None:
        return ""
    vat = VatTreatment(args.vat_treatment or VatTreatment.EXCLUSIVE)
    zone = args.time_zone or DEFAULT_ZONE
    return agree_tariff(args.tariff, zone, vat, args.zone_offsets or ())


def _check_meters(work: Work, terms: Terms) -> None:
    """Check that the parties own fitting meters over the whole window."""
    for meter_id in (terms.source_meter, terms.target_meter):
        check_meter(work, meter_id)
    wanted = (
        (terms.source_meter, terms.provider, MeterKind.CONSUMPTION),
        (terms.target_meter, terms.consumer, MeterKind.GENERATION),
    )
    for meter_id, owner, wrong_kind in wanted:
        binding = binding_at(work, meter_id, terms.start_ms)
        if binding is None or binding.owner != owner:
            raise refusal("METER_MISMATCH", f"{owner} does not own {meter_id} in the window")
        if binding.until_ms and binding.until_ms < terms.end_ms:
            raise refusal("METER_MISMATCH", f"{owner} gives {meter_id} up within the window")
        if binding.kind is wrong_kind:
            raise refusal("METER_MISMATCH", f"{meter_id} counts {binding.kind} only")


def _check_parties(work: Work, terms: Terms) -> None:
    verify(work, terms.provider, terms.consumer)
    if not is_prosumer(work, terms.provider):
        raise refusal("NOT_PROSUMER", f"{terms.provider} is a CONSUMER and cannot sell")
    if terms.provider == terms.consumer or terms.source_meter == terms.target_meter:
        raise refusal("SELF_TRADE", "provider and consumer need to be two users with two meters")


def _propose(work: Work, terms: Terms) -> Agreement:
    """Reserve the caps and write the proposal."""
    number = work.next_number("agreement")
    until_ms = work.after(work.settings.reservation_ttl_s)
    sell = caps.capped_parts(work, terms, TradeSide.SELL)
    buy = caps.capped_parts(work, terms, TradeSide.BUY)
    caps.check_room(work, terms.source_meter, TradeSide.SELL, sell)
    caps.check_room(work, terms.target_meter, TradeSide.BUY, buy)
    seller_cap, buyer_cap = caps.snapshot(work, sell), caps.snapshot(work, buy)
    purpose = f"agreement:{number}"
    holds = tuple(work.hold(account, part, purpose, until_ms) for account, part in sell + buy)
    agreement = Agreement(
        agreement_no=number,
        caller=work.actor,
        proposer=work.user,
        terms=terms,
        state=AgreementState.PROPOSED,
        created_ms=work.now_ms,
        until_ms=until_ms,
        seller_cap=seller_cap,
        buyer_cap=buyer_cap,
        cap_holds=holds,
        seller=SideProgress(0, terms.start_ms),
        buyer=SideProgress(0, terms.start_ms),
        recorded_to_ms=terms.start_ms,
    )
    work.put(agreement)
    work.emit("AgreementCreated", _created_fields(agreement))
    return agreement


def _created_fields(agreement: Agreement) -> dict[str, Any]:
    terms = agreement.terms
    snapshots = {"seller": agreement.seller_cap, "buyer": agreement.buyer_cap}
    return {
        **closing.agreement_fields(agreement),
        "provider": terms.provider,
        "consumer": terms.consumer,
        "energy": terms.energy,
        "price": None if terms.tariff else terms.price,
        "wheeling_rate": terms.wheeling_rate,
        "window": {"start": terms.start_ms, "end": terms.end_ms},
        "deadline": terms.deadline_ms,
        "basis": terms.basis,
        "caps": {side: {"cap": c.cap, "total": c.total} for side, c in snapshots.items()},
    }


@dataclass(frozen=True, slots=True)
class AcceptAgreement:
    """Make a proposal binding: caps in use, the consumer's cash held."""

    agreement_no: Annotated[int, NUMBER]
    evidence: Annotated[Mapping[str, str] | None, SIGNED_CONFIRM] = None
    """The buyer's signed confirm, when the seller's platform accepts in its name."""


def accept_agreement(work: Work, args: AcceptAgreement) -> Mapping[str, Any]:
    """Accept under one of the ways that bind the consumer."""
    agreement = known_agreement(work, args.agreement_no)
    terms = agreement.terms
    check_party(agreement, work.user)
    if work.user == agreement.proposer == terms.consumer:
        raise refusal("NOT_AUTHORIZED", f"{work.user} proposed it, {terms.provider} accepts")
    if agreement.state is not AgreementState.PROPOSED:
        msg = f"agreement {agreement.agreement_no} is {agreement.state}, not PROPOSED"
        raise refusal("AGREEMENT_NOT_ACTIVE", msg)
    verify(work, terms.provider, terms.consumer)
    if agreement.until_ms < work.now_ms:
        raise refusal("PROPOSAL_EXPIRED", f"the proposal lapsed at {agreement.until_ms}")
    needed = cash_needed(terms, terms.energy)
    mandate = _binding_allowance(work, agreement, args.evidence, needed)
    cash = accounts.main(terms.consumer, work.genesis.currency)
    work.require(cash, needed, "INSUFFICIENT_FUNDS", f"cash of {terms.consumer}")
    if mandate is not None:
        use_allowance(work, mandate)
    _activate(work, agreement, cash, needed)
    return {"agreement_no": agreement.agreement_no}


def _binding_allowance(
    work: Work, agreement: Agreement, evidence: Mapping[str, str] | None, needed: int
) -> Allowance | None:
    """Return the allowance that binds the consumer, None when it bound itself.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE; `details.evidence` says why evidence does not bind.
    """
    if _consumer_agreed(work, agreement):
        return None
    _check_deadline(work, agreement)
    if evidence is None:
        return _mandate(work, agreement, needed)
    try:
        if "EVIDENCE" not in work.settings.consent.split(","):
            msg = "this ledger takes no evidence as consent"
            raise EvidenceError(msg)
        check_evidence(work, agreement, evidence)
    except EvidenceError as error:
        return _mandate(work, agreement, needed, evidence=str(error))
    return None


def _check_deadline(work: Work, agreement: Agreement) -> None:
    """Refuse to bind a consumer that did not accept itself to an early end of delivery.

    Neither a confirm nor an allowance names the deadline. With one inside the window a provider
    would be paid for energy that can no longer come.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE, with the earliest deadline that would do.
    """
    terms = agreement.terms
    earliest = terms.end_ms + work.settings.delivery_grace_s * SECOND_MS
    if terms.deadline_ms < earliest:
        msg = f"only {terms.consumer} itself accepts a deadline before {earliest}"
        raise refusal("INSUFFICIENT_ALLOWANCE", msg, earliest=earliest)


def _consumer_agreed(work: Work, agreement: Agreement) -> bool:
    """Return whether the consumer itself agreed: it accepts now, or it had proposed."""
    consumer = agreement.terms.consumer
    return "DIRECT" in work.settings.consent.split(",") and consumer in (
        work.user,
        agreement.proposer,
    )


def _mandate(work: Work, agreement: Agreement, needed: int, **details: str) -> Allowance:
    """Return the consumer's allowance that covers the hold.

    The spender is the calling subscriber, or `network` for whichever platform acts for the
    provider. A provider alone never gets here through `network`.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE, no way to bind the consumer is open.
    """
    terms, currency = agreement.terms, work.genesis.currency
    spenders = [work.actor, ANY_PLATFORM] if work.actor != terms.provider else [work.actor]
    best = 0
    for spender in spenders if "MANDATE" in work.settings.consent.split(",") else ():
        allowed = allowance_of(work, terms.consumer, spender, currency)
        if allowed >= needed:
            return Allowance(terms.consumer, spender, currency, needed)
        best = max(best, allowed)
    msg = f"{terms.consumer} neither accepted nor allowed {needed} millionths of {currency}"
    shown = {"needed": str(needed), "available": str(best), **details}
    raise refusal("INSUFFICIENT_ALLOWANCE", msg, **shown)


def _activate(work: Work, agreement: Agreement, cash: str, needed: int) -> None:
    in_use = []
    for hold_id in agreement.cap_holds:
        hold = work.known_hold(hold_id)
        work.post(hold_id, [(accounts.IN_USE, hold.amount)])
        in_use.append((hold.account, hold.amount))
    state = closing.next_agreement(agreement.state, AgreementStep.ACCEPT)
    active = replace(
        agreement,
        state=state,
        cap_holds=(),
        caps_in_use=tuple(in_use),
        cash_hold=work.hold(cash, needed, agreement.purpose),
        activated_seq=work.seq,
    )
    work.put(active)
    fields = {"held": needed, "currency": work.genesis.currency}
    work.emit("AgreementActivated", {**closing.agreement_fields(active), **fields})
    for side in TradeSide:
        meter_id = active.terms.meter(side)
        if work.get(Reading, interval_key(meter_id, active.terms.start_ms)) is not None:
            allocate(work, meter_id, side)  # what was read before counts as nothing


@dataclass(frozen=True, slots=True)
class CancelAgreement:
    """End an agreement before its window begins, and release all holds."""

    agreement_no: Annotated[int, NUMBER]


def cancel_agreement(work: Work, args: CancelAgreement) -> Mapping[str, Any]:
    """Cancel; with cancel_consent BOTH an ACTIVE agreement needs both parties."""
    agreement = known_agreement(work, args.agreement_no)
    check_party(agreement, work.user)
    if agreement.state not in (AgreementState.PROPOSED, AgreementState.ACTIVE):
        msg = f"agreement {agreement.agreement_no} is {agreement.state} already"
        raise refusal("AGREEMENT_NOT_ACTIVE", msg)
    is_active = agreement.state is AgreementState.ACTIVE
    if is_active and work.now_ms >= agreement.terms.start_ms:
        msg = f"the delivery window began at {agreement.terms.start_ms}"
        raise refusal("CANCELLATION_NOT_ALLOWED", msg)
    both = is_active and work.settings.cancel_consent == "BOTH"
    if both and agreement.cancel_asked_by in ("", work.user):
        work.put(replace(agreement, cancel_asked_by=work.user))
        fields = {**closing.agreement_fields(agreement), "by": work.user}
        work.emit("CancelRequested", fields)
        return {"agreement_no": agreement.agreement_no, "state": agreement.state}
    closing.cancel(work, agreement, Why.CANCEL, by=work.user)
    return {"agreement_no": agreement.agreement_no, "state": AgreementState.CANCELLED}


def known_agreement(reader: Reader, agreement_no: int) -> Agreement:
    """Return an agreement.

    Raises:
        ContractError: AGREEMENT_NOT_FOUND.
    """
    agreement = reader.get(Agreement, padded(agreement_no))
    if agreement is None:
        raise refusal("AGREEMENT_NOT_FOUND", f"no agreement {agreement_no}")
    return agreement


def check_party(agreement: Agreement, user: str) -> None:
    """Check that a user is provider or consumer.

    Raises:
        ContractError: NOT_AUTHORIZED.
    """
    if user not in (agreement.terms.provider, agreement.terms.consumer):
        msg = f"{user} is no party of agreement {agreement.agreement_no}"
        raise refusal("NOT_AUTHORIZED", msg)
