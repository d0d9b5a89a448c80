"""Codes of the contract layer with HTTP status and the aliases of the published designs.

A published code is never renamed or reused; several codes may carry the same alias.
Source: settlement specification, section 14, in its order.
"""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class SettlementCode:
    """A code of the contract layer."""

    name: str
    http_status: int
    meaning: str
    """One sentence for people, also used in the generated error page."""
    aliases: tuple[str, ...] = ()
    """Names in the older designs: `ink:Name`, `pallet:Name`, `soroban:4`, `clarity:u102`."""
    transient: bool = False
    """The same command may succeed later without anything else having changed."""


def _code(
    name: str, http_status: int, meaning: str, aliases: str = "", *, transient: bool = False
) -> SettlementCode:
    """Return a code; `aliases` is a list separated by spaces."""
    return SettlementCode(name, http_status, meaning, tuple(aliases.split()), transient)


_TABLE = (
    # Edge and replay.
    _code("UNAUTHENTICATED", 401, "No valid token or signature."),
    _code("UNKNOWN_FUNCTION", 404, "No such contract or function."),
    _code("IDEMPOTENCY_CONFLICT", 409, "The command id was used before for another command."),
    # Arguments.
    _code("INVALID_INPUT", 400, "An argument is missing, unknown or malformed.", "soroban:4"),
    _code(
        "INVALID_ENERGY_AMOUNT",
        400,
        "An energy is zero, negative, off the lot, too large or finer than a millionth.",
        "ink:InvalidEnergyAmount soroban:4",
    ),
    _code(
        "INVALID_PRICE",
        400,
        "A price is zero, negative, off the tick, too large or finer than a millionth.",
        "ink:InvalidPrice soroban:4",
    ),
    _code("INVALID_INTERVAL", 400, "A time span is empty or off the 15-minute grid.", "soroban:4"),
    _code("METER_REQUIRED", 400, "The user owns not exactly one meter: name one.", "soroban:4"),
    _code("OVERFLOW", 422, "A balance would leave the 64-bit range.", "ink:Overflow"),
    # Life of a contract.
    _code("NOT_INITIALIZED", 409, "The contract has not been opened yet.", "soroban:2"),
    _code("ALREADY_INITIALIZED", 409, "The contract has been opened already.", "soroban:1"),
    # Roles and relations.
    _code(
        "NOT_AUTHORIZED", 403, "The caller has no part in this object.", "soroban:3 clarity:u102"
    ),
    _code("NOT_OWNER", 403, "The caller is not ADMIN.", "ink:NotOwner clarity:u100"),
    _code("NOT_REC_REGULATOR", 403, "The caller is not REGULATOR.", "ink:NotRecRegulator"),
    _code("UNAUTHORIZED_MINTER", 403, "The caller is not MINTER.", "ink:UnauthorizedMinter"),
    _code("UNAUTHORIZED_BURNER", 403, "The caller is not BURNER.", "ink:UnauthorizedBurner"),
    _code("NOT_MARKET_MAKER", 403, "The caller is not MARKET_MAKER.", "ink:NotMarketMaker"),
    _code(
        "NOT_ORACLE_OPERATOR", 403, "The caller is not ORACLE_OPERATOR.", "ink:NotOracleOperator"
    ),
    _code("NOT_GRID_OPERATOR", 403, "The caller is not GRID_OPERATOR."),
    _code("NOT_TREASURER", 403, "The caller is not TREASURER."),
    _code(
        "NOT_ORDER_OWNER", 403, "The order or offer belongs to another user.", "ink:NotOrderOwner"
    ),
    # Objects that are not there, or that the caller may not see.
    _code("USER_NOT_FOUND", 404, "No such user.", "ink:UserNotFound clarity:u101"),
    _code("METER_NOT_FOUND", 404, "No such meter.", "ink:MeterNotFound"),
    _code("ORDER_NOT_FOUND", 404, "No such order.", "ink:OrderNotFound"),
    _code("TRADE_NOT_FOUND", 404, "No such trade or offer.", "clarity:u105"),
    _code("REQUEST_NOT_FOUND", 404, "No such data request.", "ink:RequestNotFound"),
    _code("READING_NOT_FOUND", 404, "No reading of that meter and interval.", "clarity:u101"),
    _code("AGREEMENT_NOT_FOUND", 404, "No such agreement.", "soroban:6"),
    _code("ROOT_NOT_FOUND", 404, "No signed root statement ends with that epoch."),
    _code("TRANSACTION_NOT_FOUND", 404, "No such delivery transaction.", "soroban:7"),
    _code("REC_REGULATOR_NOT_FOUND", 404, "No such regulator.", "ink:RecRegulatorNotFound"),
    _code("MARKET_MAKER_NOT_FOUND", 404, "No such market maker.", "ink:MarketMakerNotFound"),
    _code("OPERATOR_NOT_FOUND", 404, "No such oracle operator.", "ink:OperatorNotFound"),
    _code("MINTER_NOT_FOUND", 404, "No such minter.", "pallet:MinterNotFound"),
    _code("BURNER_NOT_FOUND", 404, "No such burner.", "pallet:BurnerNotFound"),
    _code("ROLE_NOT_FOUND", 404, "No such role, or the actor does not hold it."),
    # Objects that are there already.
    _code(
        "USER_ALREADY_EXISTS",
        409,
        "The user is known already.",
        "ink:UserAlreadyExists clarity:u104",
    ),
    _code("METER_ALREADY_ASSIGNED", 409, "The meter has an owner.", "ink:MeterAlreadyAssigned"),
    _code(
        "REC_REGULATOR_ALREADY_EXISTS",
        409,
        "Is a regulator already.",
        "ink:RecRegulatorAlreadyExists",
    ),
    _code(
        "MARKET_MAKER_ALREADY_EXISTS",
        409,
        "Is a market maker already.",
        "ink:MarketMakerAlreadyExists",
    ),
    _code(
        "OPERATOR_ALREADY_EXISTS",
        409,
        "Is an oracle operator already.",
        "ink:OperatorAlreadyExists",
    ),
    _code("MINTER_ALREADY_EXISTS", 409, "Is a minter already.", "pallet:MinterAlreadyExists"),
    _code("BURNER_ALREADY_EXISTS", 409, "Is a burner already.", "pallet:BurnerAlreadyExists"),
    _code("ROLE_ALREADY_GRANTED", 409, "The actor holds the role already."),
    _code("AGREEMENT_ALREADY_EXISTS", 409, "The contract id is past its proposal."),
    _code("DUPLICATE_REFERENCE", 409, "The external reference was used before."),
    # Parties.
    _code(
        "USER_NOT_VERIFIED",
        403,
        "The user is not registered or not ACTIVE.",
        "ink:UserNotVerified soroban:5",
    ),
    _code(
        "NOT_PROSUMER", 403, "The user is ACTIVE but only a CONSUMER.", "ink:NotProsumer soroban:5"
    ),
    # Rules of the registry and the token.
    _code(
        "CANNOT_REMOVE_LAST_REC_REGULATOR",
        409,
        "The last regulator stays.",
        "ink:CannotRemoveLastRecRegulator",
    ),
    _code("CANNOT_REMOVE_LAST_ADMIN", 409, "The last ADMIN stays."),
    _code("INVALID_TRANSITION", 409, "The object is in no state for this step."),
    _code("TYPE_IN_USE", 409, "The user still sells or owns a generation meter."),
    _code("METER_IN_USE", 409, "The meter serves a live request, order or agreement."),
    _code("CAP_BELOW_USE", 409, "The cap would fall below what is used and reserved."),
    _code("ALLOWANCE_IN_USE", 409, "Set the allowance to zero before giving it another value."),
    _code("SELF_TRADE", 409, "Both sides are the same user or meter.", "soroban:13 clarity:u108"),
    _code("SELF_TRANSFER", 409, "Sender and receiver are the same.", "pallet:SelfTransfer"),
    # States.
    _code("ORDER_NOT_ACTIVE", 409, "The order is cancelled or expired.", "ink:OrderNotActive"),
    _code("ORDER_ALREADY_FILLED", 409, "The order is filled.", "ink:OrderAlreadyFilled"),
    _code("TRADE_NOT_OPEN", 409, "The offer is not open.", "clarity:u106"),
    _code("AGREEMENT_NOT_ACTIVE", 409, "The agreement is in no state for this step.", "soroban:8"),
    _code("TRANSACTION_ALREADY_SETTLED", 409, "The transaction is closed.", "soroban:12"),
    _code("TRANSACTION_DISPUTED", 409, "The transaction waits for a regulator."),
    _code("DISPUTE_WINDOW_CLOSED", 409, "The time for disputes is over."),
    _code("PROPOSAL_EXPIRED", 409, "The proposal has lapsed."),
    _code("CANCELLATION_NOT_ALLOWED", 409, "The delivery window has begun."),
    _code("FLOW_MISMATCH", 409, "The amounts differ from the contract's revenue flows."),
    _code(
        "REQUEST_ALREADY_FULFILLED", 409, "The request is closed.", "ink:RequestAlreadyFulfilled"
    ),
    _code("REQUEST_EXPIRED", 409, "The request has lapsed.", "ink:RequestExpired"),
    _code("DELIVERY_DEADLINE_PASSED", 409, "The delivery deadline is over.", "soroban:11"),
    _code("METER_MISMATCH", 409, "The meter is not that of the user, interval or request."),
    _code("READING_CONFLICT", 409, "Another reading of that interval is stored."),
    _code("ALREADY_MINTED", 409, "More would be minted than was generated."),
    _code("INVALID_SIGNATURE", 403, "The meter's signature does not hold.", "ink:InvalidSignature"),
    # Time.
    _code("EPOCH_CLOSED", 409, "The epoch takes no orders any more.", transient=True),
    _code("EPOCH_NOT_ENDED", 409, "The epoch is still running.", transient=True),
    _code("EPOCH_OUT_OF_ORDER", 409, "An earlier epoch is open.", transient=True),
    _code("INTERVAL_NOT_ENDED", 409, "The metering interval is still running.", transient=True),
    _code("DELIVERY_INCOMPLETE", 409, "Not all intervals are allocated yet.", transient=True),
    _code("DISPUTE_WINDOW_OPEN", 409, "The time for disputes is still running.", transient=True),
    # Counts and sizes.
    _code("TOO_MANY_METERS", 422, "The user owns as many meters as allowed.", "ink:TooManyMeters"),
    _code(
        "TOO_MANY_ORDERS",
        422,
        "The user has as many live orders as allowed.",
        "ink:TooManyOrders",
        transient=True,
    ),
    _code("EPOCH_FULL", 422, "The epoch holds as many orders as allowed.", transient=True),
    _code(
        "TOO_MANY_PENDING_REQUESTS",
        422,
        "As many data requests are open as allowed.",
        "ink:TooManyPendingRequests",
        transient=True,
    ),
    _code("CAPACITY_EXCEEDED", 422, "More than the meter can generate in the interval."),
    _code("READING_EXHAUSTED", 422, "More than the consumption that is not yet retired."),
    _code("REGISTER_NOT_MONOTONIC", 422, "A meter register runs backwards."),
    _code("TRADE_CAP_EXCEEDED", 422, "The meter's trade cap has no room for it."),
    # Means.
    _code("INSUFFICIENT_ALLOWANCE", 422, "The owner allowed less.", "ink:InsufficientAllowance"),
    _code("INSUFFICIENT_BALANCE", 422, "The GRID balance is too low.", "ink:InsufficientBalance"),
    _code("INSUFFICIENT_ENERGY", 422, "The available energy is too low.", "soroban:9 clarity:u103"),
    _code(
        "INSUFFICIENT_FUNDS",
        422,
        "The available cash is too low.",
        "soroban:10 soroban:PaymentFailed clarity:u107",
    ),
    _code(
        "INSUFFICIENT_ORACLE_BALANCE",
        422,
        "The oracle fund is too low.",
        "ink:InsufficientOracleBalance",
    ),
    # Wiring.
    _code("REGISTRY_NOT_SET", 400, "Only the hosted registry can be named.", "ink:RegistryNotSet"),
    _code("TOKEN_NOT_SET", 400, "Only the ledger's own token can be named.", "ink:TokenNotSet"),
    _code("TRADING_NOT_SET", 400, "Reserved, never raised.", "ink:TradingNotSet"),
    _code(
        "CROSS_CONTRACT_CALL_FAILED", 400, "Reserved, never raised.", "ink:CrossContractCallFailed"
    ),
)

SETTLEMENT_CODES: MappingProxyType[str, SettlementCode] = MappingProxyType(
    {code.name: code for code in _TABLE}
)
"""Published codes of the contract layer by name, in the order of the specification."""
