"""Events: what an accepted command tells the world, and how each field is written.

In the journal amounts are strings of millionths, on the wire decimal strings. Meter data never
enters a public event.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from adapter.domain.quantities import to_text
from adapter.settlement.accounts import GRID


class Field(Enum):
    """What a field of an event holds."""

    TEXT = "text"
    USER = "user"
    """A user or actor that may see the event."""
    METER = "meter"
    """A meter whose owner may see the event."""
    AGREEMENT = "agreement"
    """A number of an agreement whose parties may see the event."""
    REQUEST = "request"
    """A number of a request; whoever may answer it may see the event."""
    NUMBER = "number"
    """Times and counters."""
    FLAG = "flag"
    ENERGY = "energy"
    MONEY = "money"
    PRICE = "price"
    AMOUNT = "amount"
    """GRID or money, as the field `asset` says."""
    WINDOW = "window"
    """`{"start", "end"}` in ms."""
    CAPS = "caps"
    """`{"seller": {"cap", "total"}, "buyer": …}`, energies."""
    DEVIATIONS = "deviations"
    """List of `{"kind", "quantity"}`, energies."""
    LIST = "list"
    """Texts or numbers."""


AMOUNTS = frozenset({Field.ENERGY, Field.MONEY, Field.PRICE, Field.AMOUNT})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, with amounts in millionths."""

    name: str
    fields: Mapping[str, Any]
    """Absent instead of None."""


@dataclass(frozen=True, slots=True)
class EventType:
    """Declaration of an event."""

    name: str
    fields: Mapping[str, Field]
    public: bool
    """Everyone may see it."""


def _event(name: str, fields: str, *, public: bool = False) -> EventType:
    """Return a declaration; `fields` is `name:kind …`, the kind being text if left out."""
    pairs = (field.partition(":") for field in fields.split())
    return EventType(name, {key: Field(kind or "text") for key, _, kind in pairs}, public)


_AGREEMENT = "agreement_no:agreement contract_id"
_TRANSACTION = f"transaction_no:number {_AGREEMENT}"
_ORDER = (
    "order_no:number user:user meter_id area energy:energy price:price epoch:number time_in_force"
    " expires_at:number"
)
_ORDER_END = "order_no:number user:user filled:energy released:amount asset"
_TABLE = (
    # registry
    _event("Initialized", "ledger settings_digest", public=True),
    _event("UserApplied", "user:user user_type location"),
    _event("UserRegistered", "user:user user_type location"),
    _event("UserStatusUpdated", "user:user old_status new_status reason"),
    _event("UserTypeUpdated", "user:user old_type new_type"),
    _event("MeterAssigned", "meter_id:meter owner:user kind area from:number"),
    _event("MeterUnassigned", "meter_id:meter owner:user until:number"),
    _event("RecRegulatorAdded", "regulator", public=True),
    _event("RecRegulatorRemoved", "regulator", public=True),
    _event("RoleGranted", "role actor", public=True),
    _event("RoleRevoked", "role actor", public=True),
    _event("RepresentativeSet", "user:user old new:user"),
    _event("TradeCapSet", "meter_id:meter side slot:number old_cap:energy new_cap:energy"),
    _event("ParameterSet", "parameter old new from_epoch:number", public=True),
    # token
    _event("Minted", "to:user amount:energy meter_id:meter interval:number repaid:energy"),
    _event("Burned", "from:user amount:energy meter_id:meter interval:number"),
    _event("Transfer", "from:user to:user amount:energy data"),
    _event("Approval", "owner:user spender:user asset value:amount"),
    _event("MinterAdded", "minter", public=True),
    _event("MinterRemoved", "minter", public=True),
    _event("BurnerAdded", "burner", public=True),
    _event("BurnerRemoved", "burner", public=True),
    _event("RegistryContractSet", "registry_contract", public=True),
    _event("Deposited", "to:user amount:money external_reference"),
    _event("Withdrawn", "from:user amount:money external_reference"),
    # trading
    _event("SellOrderCreated", _ORDER),
    _event("BuyOrderCreated", _ORDER),
    _event("OrderCancelled", _ORDER_END),
    _event("OrderExpired", _ORDER_END),
    _event(
        "MarketCleared",
        "epoch:number area price:price volume:energy trades:number trades_root",
        public=True,
    ),
    _event("MarketMakerAdded", "market_maker", public=True),
    _event("MarketMakerRemoved", "market_maker", public=True),
    _event("ContractsConfigured", "", public=True),
    _event("EpochAnchored", "first_epoch:number last_epoch:number root head", public=True),
    # oracle
    _event(
        "EnergyDataFulfilled",
        "request_no:number meter_id:meter interval:number generated:energy consumed:energy"
        " tokens_minted:energy withheld:energy",
    ),
    _event("ReadingsStored", "rows:number generated:energy consumed:energy withheld:energy"),
    _event(
        "OracleRequestCreated",
        "request_no:request requester:user meter_id:meter interval:number expires_at:number",
    ),
    _event("OracleRequestFailed", "request_no:request meter_id:meter reason"),
    _event("OracleRequestExpired", "request_no:request meter_id:meter"),
    _event("OracleFunded", "from:user amount:money"),
    _event("ReadingCorrectionProposed", "correction_no:number meter_id:meter interval:number"),
    _event(
        "ReadingCorrected",
        "correction_no:number meter_id:meter interval:number old:energy new:energy"
        " old_consumed:energy new_consumed:energy owed:energy",
    ),
    _event("MarketClearingChecked", "due:number", public=True),
    _event("AutoMarketClearingTriggered", "epochs:list", public=True),
    _event("AutoMarketClearingSet", "enabled:flag", public=True),
    _event("OracleOperatorAdded", "operator", public=True),
    _event("OracleOperatorRemoved", "operator", public=True),
    # trading and pool
    _event(
        "TradeExecuted",
        "trade_id offer_no:number buy_order:number sell_order:number buyer:user seller:user"
        " energy:energy price:price value:money wheeling:money buyer_fee:money seller_fee:money",
    ),
    # pool
    _event("EnergyAdded", "prosumer:user amount:energy source"),
    _event("EnergyConsumed", "prosumer:user amount:energy source"),
    _event("FundsAdded", "prosumer:user amount:money"),
    _event(
        "TradeOffered",
        "offer_no:number seller:user energy:energy price:price expires_at:number",
    ),
    _event("TradeCancelled", "offer_no:number seller:user"),
    _event("TradeExpired", "offer_no:number seller:user"),
    _event("EnergyPriceSet", "old:price new:price", public=True),
    # agreements
    _event("AgreementsInitialized", "admin token_contract", public=True),
    _event(
        "AgreementCreated",
        f"{_AGREEMENT} provider:user consumer:user energy:energy price:price wheeling_rate:price"
        " window:window deadline:number basis caps:caps",
    ),
    _event("AgreementActivated", f"{_AGREEMENT} held:money currency"),
    _event("AgreementCancelled", f"{_AGREEMENT} by:user"),
    _event("CancelRequested", f"{_AGREEMENT} by:user"),
    _event("AgreementExpired", _AGREEMENT),
    _event("EnergyAllocated", f"{_AGREEMENT} start:number seller:energy buyer:energy"),
    _event("DeliveryClaimed", f"{_TRANSACTION} claimed:energy"),
    _event(
        "EnergyDelivered",
        f"{_TRANSACTION} window:window allocated_seller:energy"
        " allocated_buyer:energy settle_quantity:energy",
    ),
    _event("DeliveryAccepted", f"{_TRANSACTION} party:user"),
    _event(
        "TransactionDisputed",
        f"{_TRANSACTION} party:user claimed_quantity:energy",
    ),
    _event("DisputeResolved", f"{_TRANSACTION} outcome quantity:energy"),
    _event(
        "PaymentSettled",
        f"{_TRANSACTION} energy:energy value:money wheeling:money fees:money"
        " released:money deviations:deviations vat:money",
    ),
    _event(
        "DeviationRecorded",
        f"{_AGREEMENT} meter_id:meter window:window kind quantity:energy cause",
    ),
)

EVENTS: Mapping[str, EventType] = MappingProxyType({event.name: event for event in _TABLE})
"""All events by name."""


def make_event(name: str, fields: Mapping[str, Any]) -> Event:
    """Return an event; a field that its declaration lacks is a bug."""
    declared = EVENTS[name].fields
    assert fields.keys() <= declared.keys(), f"{name}: {fields.keys() - declared.keys()}"
    return Event(name, {key: value for key, value in fields.items() if value is not None})


def to_journal(event: Event) -> dict[str, Any]:
    """Return the event as written into its entry."""
    return {"name": event.name, **_mapped(event, _journal_amount)}


def from_journal(document: Mapping[str, Any]) -> Event:
    """Return the event of an entry."""
    event = Event(document["name"], {k: v for k, v in document.items() if k != "name"})
    return Event(event.name, _mapped(event, _stored_amount))


def to_wire(event: Event, digits: int) -> dict[str, Any]:
    """Return the event for clients; `digits` are the decimals that money shows at least."""

    def write(kind: Field, amount: int) -> str:
        is_money = kind is Field.AMOUNT and event.fields.get("asset") != GRID
        return to_text(amount, digits if is_money or kind in (Field.MONEY, Field.PRICE) else 0)

    return {"name": event.name, **_mapped(event, write)}


def _journal_amount(_kind: Field, amount: int) -> str:
    return str(amount)


def _stored_amount(_kind: Field, amount: Any) -> int:
    return int(amount)


def _mapped(event: Event, write: Callable[[Field, Any], Any]) -> dict[str, Any]:
    """Return the fields with `write` applied to each amount in them."""
    kinds = EVENTS[event.name].fields
    return {name: _written(kinds[name], value, write) for name, value in event.fields.items()}


def _written(kind: Field, value: Any, write: Callable[[Field, Any], Any]) -> Any:
    if kind in AMOUNTS:
        return write(kind, value)
    if kind is Field.CAPS:
        return {
            side: {name: write(Field.ENERGY, amount) for name, amount in sorted(part.items())}
            for side, part in value.items()
        }
    if kind is Field.DEVIATIONS:
        return [
            {"kind": part["kind"], "quantity": write(Field.ENERGY, part["quantity"])}
            for part in value
        ]
    return value
