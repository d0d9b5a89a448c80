"""agreements: proposing, accepting and cancelling a forward trade.

Source: settlement specification, section 11.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from adapter.settlement import accounts
from adapter.settlement.agreed_tariff import (
    cash_needed,
)
from adapter.settlement.agreement_rows import (
    Agreement,
    AgreementState,
    AgreementStep,
    SideProgress,
    contract_value,
)
from adapter.settlement.agreement_terms import Terms, TradeSide
from adapter.settlement.contracts import caps, closing, market_shares
from adapter.settlement.contracts.allocation import allocate
from adapter.settlement.contracts.allowances import use_allowance
from adapter.settlement.contracts.consent import binding_allowance
from adapter.settlement.contracts.evidence import (
    SIGNED_CONFIRM,
)
from adapter.settlement.contracts.parties import binding_at, check_meter, is_prosumer, verify
from adapter.settlement.contracts.proposal_terms import CreateAgreement, terms_of
from adapter.settlement.kinds import (
    ID,
    NUMBER,
    text_kind,
)
from adapter.settlement.postings import Why
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import MeterKind, Opened, Reading, interval_key, padded
from adapter.settlement.state import Reader
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


def create_agreement(work: Work, args: CreateAgreement) -> Mapping[str, Any]:
    """Propose; the same contract id from the same subscriber supersedes while PROPOSED.

    The new proposal has a number of its own, so nobody accepts terms it has not seen.
    """
    terms = terms_of(work, args)
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
    until_ms = args.valid_until or work.after(work.settings.reservation_ttl_s)
    agreement = _propose(work, terms, until_ms)
    return {"agreement_no": agreement.agreement_no, "until": agreement.until_ms}


def agreement_of(reader: Reader, caller: str, contract_id: str) -> Agreement | None:
    """Return the agreement that a subscriber proposed for a contract id."""
    found = reader.find(Agreement, "contract", contract_value(caller, contract_id))
    return next(iter(found), None)


def _check_meters(work: Work, terms: Terms) -> None:
    """Check that the parties own fitting meters over the whole window."""
    for side in terms.metered:
        check_meter(work, terms.meter(side))
    wanted = {
        TradeSide.SELL: (terms.provider, MeterKind.CONSUMPTION),
        TradeSide.BUY: (terms.consumer, MeterKind.GENERATION),
    }
    for side in terms.metered:
        meter_id, (owner, wrong_kind) = terms.meter(side), wanted[side]
        binding = binding_at(work, meter_id, terms.start_ms)
        if binding is None or binding.owner != owner:
            raise refusal("METER_MISMATCH", f"{owner} does not own {meter_id} in the window")
        if binding.until_ms and binding.until_ms < terms.end_ms:
            raise refusal("METER_MISMATCH", f"{owner} gives {meter_id} up within the window")
        if binding.kind is wrong_kind:
            raise refusal("METER_MISMATCH", f"{meter_id} counts {binding.kind} only")


def _check_parties(work: Work, terms: Terms) -> None:
    verify(work, terms.provider, terms.consumer)
    market_shares.check_market(work, terms)
    market_shares.check_contract(work, terms)
    if not is_prosumer(work, terms.provider):
        msg = f"{terms.provider} is a CONSUMER and cannot sell"
        raise refusal("NOT_PROSUMER", msg, user=terms.provider)
    if terms.provider == terms.consumer or terms.source_meter == terms.target_meter:
        raise refusal("SELF_TRADE", "provider and consumer need to be two users with two meters")


def _propose(work: Work, terms: Terms, until_ms: int) -> Agreement:
    """Reserve the caps and write the proposal."""
    number = work.next_number("agreement")
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
    caps_of = {TradeSide.SELL: agreement.seller_cap, TradeSide.BUY: agreement.buyer_cap}
    names = {TradeSide.SELL: "seller", TradeSide.BUY: "buyer"}
    snapshots = {names[side]: caps_of[side] for side in terms.metered}
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
    """Make a proposal binding: caps in use, cash held of those who will pay."""

    agreement_no: Annotated[int, NUMBER]
    evidence: Annotated[Mapping[str, str] | None, SIGNED_CONFIRM] = None
    """The buyer's signed confirm, when the seller's platform accepts in its name."""


def accept_agreement(work: Work, args: AcceptAgreement) -> Mapping[str, Any]:
    """Accept under one of the ways that bind the consumer, or who sells to a market."""
    agreement = known_agreement(work, args.agreement_no)
    terms = agreement.terms
    check_party(agreement, work.user)
    if terms.market and work.user != terms.market:
        # What it proposes before clearing only reserves room: nobody else may make a trade of it.
        raise refusal("NOT_AUTHORIZED", f"the market {terms.market} accepts what it has cleared")
    if not terms.market and work.user == agreement.proposer == terms.consumer:
        raise refusal("NOT_AUTHORIZED", f"{work.user} proposed it, {terms.provider} accepts")
    if agreement.state is not AgreementState.PROPOSED:
        msg = f"agreement {agreement.agreement_no} is {agreement.state}, not PROPOSED"
        raise refusal("AGREEMENT_NOT_ACTIVE", msg)
    verify(work, terms.provider, terms.consumer)
    market_shares.check_market(work, terms)
    if agreement.until_ms < work.now_ms:
        raise refusal("PROPOSAL_EXPIRED", f"the proposal lapsed at {agreement.until_ms}")
    market_shares.check_supply(work, agreement)
    needed = cash_needed(terms, terms.energy)
    mandate = binding_allowance(work, agreement, args.evidence, needed[terms.consumer])
    for payer, amount in needed.items():
        cash = accounts.main(payer, work.genesis.currency)
        work.require(cash, amount, "INSUFFICIENT_FUNDS", f"cash of {payer}", user=payer)
    if mandate is not None:
        use_allowance(work, mandate)
    _activate(work, agreement, needed)
    return {"agreement_no": agreement.agreement_no}


def _activate(work: Work, agreement: Agreement, needed: Mapping[str, int]) -> None:
    in_use = []
    for hold_id in agreement.cap_holds:
        hold = work.known_hold(hold_id)
        work.post(hold_id, [(accounts.IN_USE, hold.amount)])
        in_use.append((hold.account, hold.amount))
    state = closing.next_agreement(agreement.state, AgreementStep.ACCEPT)
    currency = work.genesis.currency
    holds = {
        payer: work.hold(accounts.main(payer, currency), amount, agreement.purpose)
        for payer, amount in needed.items()
        if amount
    }
    active = replace(
        agreement,
        state=state,
        cap_holds=(),
        caps_in_use=tuple(in_use),
        activated_seq=work.seq,
    ).with_cash_holds(holds)
    work.put(active)
    fields = {"held": sum(needed.values()), "currency": currency}
    work.emit("AgreementActivated", {**closing.agreement_fields(active), **fields})
    for side in active.terms.metered:
        meter_id = active.terms.meter(side)
        if work.get(Reading, interval_key(meter_id, active.terms.start_ms)) is not None:
            allocate(work, meter_id, side)  # what was read before counts as nothing


@dataclass(frozen=True, slots=True)
class CancelAgreement:
    """End an agreement before its window begins, and release all holds."""

    agreement_no: Annotated[int, NUMBER]


def cancel_agreement(work: Work, args: CancelAgreement) -> Mapping[str, Any]:
    """Cancel; with cancel_consent BOTH what is ACTIVE needs all parties; a market cancels all."""
    agreement = known_agreement(work, args.agreement_no)
    check_party(agreement, work.user)
    if agreement.state not in (AgreementState.PROPOSED, AgreementState.ACTIVE):
        msg = f"agreement {agreement.agreement_no} is {agreement.state} already"
        raise refusal("AGREEMENT_NOT_ACTIVE", msg)
    is_active = agreement.state is AgreementState.ACTIVE
    if is_active and agreement.terms.market:
        state = market_shares.cancel_cleared(work, agreement)
        return {"agreement_no": agreement.agreement_no, "state": state}
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
