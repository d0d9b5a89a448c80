"""agreements: who agrees to be bound, and how. Nobody else can create a debt.

Bound is who pays; of an agreement in which a market buys, who sells. The other party proposed, or
accepts; a market always accepts. Source: settlement specification, section 11.1; decisions 0011
and 0019.
"""

from collections.abc import Mapping

from adapter.domain.instants import SECOND_MS
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.contracts.allowances import ANY_PLATFORM, allowance_of
from adapter.settlement.contracts.evidence import EvidenceError, check_evidence
from adapter.settlement.refusals import refusal
from adapter.settlement.rows import Allowance
from adapter.settlement.work import Work


def binding_allowance(
    work: Work, agreement: Agreement, evidence: Mapping[str, str] | None, cash: int
) -> Allowance | None:
    """Return the allowance that binds a party, None when it bound itself.

    Args:
        work: the command.
        agreement: the proposal.
        evidence: the buyer's signed confirm, if one was given; it binds to no market.
        cash: what is held of the consumer's.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE; `details.evidence` says why evidence does not bind.
    """
    if _agreed_itself(work, agreement):
        return None
    _check_deadline(work, agreement)
    terms = agreement.terms
    asset, amount = work.genesis.currency, cash
    if terms.bound == terms.provider:
        asset, amount = accounts.GRID, terms.energy
    needed = Allowance(terms.bound, "", asset, amount)
    if evidence is None:
        return _mandate(work, agreement, needed)
    try:
        if terms.market:
            msg = "no confirm binds anybody to a market's share: it is not what was signed"
            raise EvidenceError(msg)
        if "EVIDENCE" not in work.settings.consent.split(","):
            msg = "this ledger takes no evidence as consent"
            raise EvidenceError(msg)
        check_evidence(work, agreement, evidence)
    except EvidenceError as error:
        return _mandate(work, agreement, needed, evidence=str(error))
    return None


def _agreed_itself(work: Work, agreement: Agreement) -> bool:
    """Return whether the party itself agreed: it accepts now, or it had proposed."""
    return "DIRECT" in work.settings.consent.split(",") and agreement.terms.bound in (
        work.user,
        agreement.proposer,
    )


def _check_deadline(work: Work, agreement: Agreement) -> None:
    """Refuse to bind a party that did not accept itself to an early end of delivery.

    Neither a confirm nor an allowance names the deadline. With one inside the window a provider
    would be paid for energy that can no longer come.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE, with the earliest deadline that would do.
    """
    terms = agreement.terms
    earliest = terms.end_ms + work.settings.delivery_grace_s * SECOND_MS
    if terms.deadline_ms < earliest:
        msg = f"only {terms.bound} itself accepts a deadline before {earliest}"
        raise refusal("INSUFFICIENT_ALLOWANCE", msg, earliest=earliest)


def _mandate(work: Work, agreement: Agreement, needed: Allowance, **details: str) -> Allowance:
    """Return the party's allowance that covers what is needed.

    The spender is the calling subscriber, or `network` for whichever platform acts for the
    provider. A provider alone never gets here through `network`, unless it is a market: that is
    a platform itself.

    Raises:
        ContractError: INSUFFICIENT_ALLOWANCE, no way to bind the party is open.
    """
    terms = agreement.terms
    alone = work.actor == terms.provider and not terms.market
    spenders = [work.actor] if alone else [work.actor, ANY_PLATFORM]
    best = 0
    for spender in spenders if "MANDATE" in work.settings.consent.split(",") else ():
        allowed = allowance_of(work, needed.owner, spender, needed.asset)
        if allowed >= needed.amount:
            return Allowance(needed.owner, spender, needed.asset, needed.amount)
        best = max(best, allowed)
    msg = (
        f"{needed.owner} neither accepted nor allowed {needed.amount} millionths of {needed.asset}"
    )
    shown = {"needed": str(needed.amount), "available": str(best), **details}
    raise refusal("INSUFFICIENT_ALLOWANCE", msg, **shown)
