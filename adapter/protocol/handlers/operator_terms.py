"""What the grid operator says and checks in every mode."""

from adapter.domain.errors import WireError
from adapter.domain.intents import Refused
from adapter.domain.trade import OpenRequest, Trade
from adapter.protocol.contract import CONTRACT_PATH, role_of
from adapter.protocol.decision import Facts
from adapter.protocol.envelope import Envelope

CANCELLATION_TERMS = [
    {
        "@type": "beckn:CancellationTerm",
        "beckn:descriptor": {
            "@type": "beckn:Descriptor",
            "schema:name": "Free of charge until the trade window begins, not possible after",
        },
    }
]
_DETAILS = ("max_trade_kwh", "participant")


def check_own_role(envelope: Envelope, facts: Facts) -> None:
    """Refuse terms of the operator that somebody else names (R1).

    Raises:
        WireError: BIZ_UPDATE_INCONSISTENT.
    """
    entry = role_of(envelope.contract, "GRID_OPERATOR")
    if entry is not None and entry.get("filled"):
        msg = f"GRID_OPERATOR must be open, {facts.me.subscriber_id} fills it"
        raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=f"{CONTRACT_PATH}.roles")


def check_not_taken(envelope: Envelope, facts: Facts) -> None:
    """Refuse a contract that another transaction of the same platform has.

    Raises:
        WireError: BIZ_INVALID_STATE_TRANSITION for an init, BIZ_UPDATE_INCONSISTENT for a confirm.
    """
    if not facts.taken:
        return
    contract_id, path = envelope.contract.get("contractId"), f"{CONTRACT_PATH}.contractId"
    if envelope.action == "init":
        msg = f"contract {contract_id!r} is running already"
        raise WireError("BIZ_INVALID_STATE_TRANSITION", msg, path=path)
    msg = f"contract {contract_id!r} was asked for again under another transaction"
    raise WireError("BIZ_UPDATE_INCONSISTENT", msg, path=path)


def pending(trade: Trade) -> OpenRequest:
    """Return the request that waits for the contract layer."""
    assert trade.request is not None
    return trade.request


def outcome_error(refused: Refused) -> WireError:
    """Return a refusal of the contract layer as the platform gets it."""
    details = refused.cause.get("details") or {}
    return WireError(
        refused.code,
        refused.message,
        path=refused.path,
        details={name: value for name, value in details.items() if name in _DETAILS},
        cause=refused.cause,
    )
