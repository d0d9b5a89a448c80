"""agreements: what a market may do with its shares: clear what it bought, cancel all or nothing.

Everybody who trusts `network` trusts every market, so an ADMIN names the markets. Source:
settlement specification, section 11.1; decision 0019.
"""

from dataclasses import replace

from adapter.settlement.agreement_rows import Agreement, AgreementState, contract_value
from adapter.settlement.agreement_terms import Terms
from adapter.settlement.contracts import closing
from adapter.settlement.contracts.parties import holds_role
from adapter.settlement.postings import Why
from adapter.settlement.refusals import invalid, refusal
from adapter.settlement.roles import Role
from adapter.settlement.state import Reader
from adapter.settlement.work import Work


def check_contract(work: Work, terms: Terms) -> None:
    """Check that a share would be of the market that the caller's others of the contract have.

    Raises:
        ContractError: INVALID_INPUT.
    """
    if not terms.market:
        return
    value = contract_value(work.actor, terms.contract_id.rpartition("#")[0])
    known = next(iter(work.find(Agreement, "market", value)), None)
    if known is not None and known.terms.market != terms.market:
        raise invalid("contract_id", f"its shares are those of {known.terms.market}")


def check_market(reader: Reader, terms: Terms) -> None:
    """Check that the party without a meter, if there is one, was made a market by an ADMIN.

    Raises:
        ContractError: NOT_MARKET_MAKER.
    """
    market = terms.market
    if market and not holds_role(reader, Role.MARKET_MAKER, market):
        raise refusal("NOT_MARKET_MAKER", f"{market} is no market of this ledger", user=market)


def check_supply(reader: Reader, agreement: Agreement) -> None:
    """Check that a market has bought, for the same window, all that it has sold with this share.

    Raises:
        ContractError: INSUFFICIENT_ENERGY.
    """
    terms = agreement.terms
    if not terms.is_withdrawal:
        return
    left = 0
    for other in _cleared(reader, agreement):
        if other.terms.window == terms.window:
            energy = other.terms.energy
            left += -energy if other.terms.is_withdrawal else energy
    if terms.energy > left:
        needed, available = str(terms.energy), str(max(0, left))
        msg = f"{terms.market} sells {needed} millionths of GRID, and may sell {available} more"
        shown = {"needed": needed, "available": available, "user": terms.market}
        raise refusal("INSUFFICIENT_ENERGY", msg, **shown)


def cancel_cleared(work: Work, agreement: Agreement) -> AgreementState:
    """Cancel what a market has cleared: all of its contract, as all cleared against each other.

    The market alone can, or with cancel_consent BOTH everybody together: it asks all at once, and
    the last participant to agree ends it. Returns the state of the agreement.

    Raises:
        ContractError: CANCELLATION_NOT_ALLOWED.
    """
    market = agreement.terms.market
    if work.user != market and not agreement.cancel_asked_by:
        msg = f"others cleared against it: only the market {market} cancels"
        raise refusal("CANCELLATION_NOT_ALLOWED", msg)
    cleared = _cleared(work, agreement)
    for one in cleared:
        if one.state is not AgreementState.ACTIVE or work.now_ms >= one.terms.start_ms:
            msg = f"delivery has begun: agreement {one.agreement_no} cleared against it"
            raise refusal("CANCELLATION_NOT_ALLOWED", msg)
    if work.settings.cancel_consent == "BOTH":
        cleared = [_agree(work, agreement, one) for one in cleared]
        if any(one.cancel_asked_by in ("", market) for one in cleared):
            return agreement.state
    for one in cleared:
        closing.cancel(work, one, Why.CANCEL, by=work.user)
    return AgreementState.CANCELLED


def _cleared(reader: Reader, agreement: Agreement) -> list[Agreement]:
    """Return the shares of the same market's contract that are binding, or were to the end."""
    return [
        one
        for one in closing.shares_of(reader, agreement)
        if one.is_running or one.state is AgreementState.SETTLED
    ]


def _agree(work: Work, agreement: Agreement, one: Agreement) -> Agreement:
    """Write down who asks for a share to be cancelled: the market for all, others for their own."""
    market = one.terms.market
    has_agreed = one.cancel_asked_by not in ("", market)
    if has_agreed or (work.user != market and one.agreement_no != agreement.agreement_no):
        return one
    asked = replace(one, cancel_asked_by=work.user)
    work.put(asked)
    work.emit("CancelRequested", {**closing.agreement_fields(asked), "by": work.user})
    return asked
