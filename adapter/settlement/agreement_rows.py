"""Rows of forward agreements: terms, progress, allocations, transactions, deviations.

Source: settlement specification, section 11.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from adapter.settlement.agreement_terms import Terms, TradeSide
from adapter.settlement.rows import interval_key, padded
from adapter.settlement.state import Index, Row
from adapter.settlement.units import Legs


class AgreementState(StrEnum):
    """Where an agreement stands."""

    PROPOSED = "PROPOSED"
    ACTIVE = "ACTIVE"
    DELIVERED = "DELIVERED"
    SETTLED = "SETTLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class AgreementStep(StrEnum):
    """What can happen to an agreement."""

    ACCEPT = "ACCEPT"
    RECORD = "RECORD"
    SETTLE_LAST = "SETTLE_LAST"
    VOID_ALL = "VOID_ALL"
    """A dispute was resolved so that nothing of it is paid."""
    CANCEL = "CANCEL"
    EXPIRE = "EXPIRE"


AGREEMENT_TRANSITIONS: Mapping[AgreementState, Mapping[AgreementStep, AgreementState]] = (
    MappingProxyType(
        {
            AgreementState.PROPOSED: {
                AgreementStep.ACCEPT: AgreementState.ACTIVE,
                AgreementStep.CANCEL: AgreementState.CANCELLED,
                AgreementStep.EXPIRE: AgreementState.EXPIRED,
            },
            AgreementState.ACTIVE: {
                AgreementStep.RECORD: AgreementState.DELIVERED,
                AgreementStep.CANCEL: AgreementState.CANCELLED,
                AgreementStep.EXPIRE: AgreementState.EXPIRED,
            },
            AgreementState.DELIVERED: {
                AgreementStep.RECORD: AgreementState.DELIVERED,
                AgreementStep.SETTLE_LAST: AgreementState.SETTLED,
                AgreementStep.VOID_ALL: AgreementState.CANCELLED,
            },
            AgreementState.SETTLED: {},
            AgreementState.CANCELLED: {},
            AgreementState.EXPIRED: {},
        }
    )
)


class TransactionState(StrEnum):
    """Where a delivery transaction stands."""

    PENDING = "PENDING"
    """The provider's claim; no money, no GRID."""
    DELIVERED = "DELIVERED"
    DISPUTED = "DISPUTED"
    SETTLED = "SETTLED"
    VOIDED = "VOIDED"


class TransactionStep(StrEnum):
    """What can happen to a delivery transaction."""

    RECORD = "RECORD"
    DISPUTE = "DISPUTE"
    SETTLE = "SETTLE"
    VOID = "VOID"


TRANSACTION_TRANSITIONS: Mapping[TransactionState, Mapping[TransactionStep, TransactionState]] = (
    MappingProxyType(
        {
            TransactionState.PENDING: {TransactionStep.RECORD: TransactionState.DELIVERED},
            TransactionState.DELIVERED: {
                TransactionStep.SETTLE: TransactionState.SETTLED,
                TransactionStep.DISPUTE: TransactionState.DISPUTED,
            },
            TransactionState.DISPUTED: {
                TransactionStep.SETTLE: TransactionState.SETTLED,
                TransactionStep.VOID: TransactionState.VOIDED,
            },
            TransactionState.SETTLED: {},
            TransactionState.VOIDED: {},
        }
    )
)


class DeviationKind(StrEnum):
    """What differed from the contract."""

    SELLER_SHORTFALL = "SELLER_SHORTFALL"
    BUYER_SHORTFALL = "BUYER_SHORTFALL"
    SURPLUS_INJECTION = "SURPLUS_INJECTION"
    """Generation left over, per meter and interval."""
    MISSING_READING = "MISSING_READING"
    CORRECTION = "CORRECTION"


@dataclass(frozen=True, slots=True)
class CapSnapshot:
    """Cap and total of a meter's side as they were without this agreement."""

    cap: int
    total: int
    """In use and reserved by others."""


@dataclass(frozen=True, slots=True)
class SideProgress:
    """What one meter has given to an agreement so far."""

    allocated: int
    done_to_ms: int
    """All intervals before it are allocated."""
    intervals_read: int = 0
    """How many of these had a reading that counts."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What has been recorded, paid and moved so far."""

    recorded: int = 0
    """What the settlement basis gives for all recorded parts; resolved disputes aside."""
    quantity: int = 0
    """Sum of those already paid."""
    energy: int = 0
    """GRID moved for it."""
    value: int = 0
    wheeling: int = 0
    buyer_fee: int = 0
    seller_fee: int = 0
    open_parts: int = 0
    """Recorded parts that are not settled."""
    vat: int = 0

    @property
    def paid(self) -> Legs:
        """Return the money of all legs so far."""
        return Legs(self.value, self.wheeling, self.buyer_fee, self.seller_fee, self.vat)


@dataclass(frozen=True, slots=True)
class Agreement(Row):
    """A forward trade between two users, the ledger's side of a P2P contract."""

    KIND: ClassVar[str] = "agreement"
    agreement_no: int
    caller: str
    """Subscriber that proposed it: with the contract id its key."""
    proposer: str
    """The party that it acted for."""
    terms: Terms
    state: AgreementState
    created_ms: int
    until_ms: int
    """A proposal that is not accepted by then has lapsed."""
    seller_cap: CapSnapshot
    buyer_cap: CapSnapshot
    cap_holds: tuple[str, ...]
    """While PROPOSED."""
    seller: SideProgress
    buyer: SideProgress
    settled: Settled = Settled()
    caps_in_use: tuple[tuple[str, int], ...] = ()
    """(account, amount) to give back."""
    cash_hold: str = ""
    activated_seq: int = 0
    """Readings of earlier entries do not count."""
    recorded_to_ms: int = 0
    """Intervals before it are part of a transaction."""
    cancel_asked_by: str = ""
    superseded: bool = False
    """Another proposal of the same contract id came in its place."""
    market_hold: str = ""
    """What a market holds for the wheeling of energy that it sells; `cash_hold` is the buyer's."""

    @property
    def key(self) -> str:
        """Return the number."""
        return padded(self.agreement_no)

    @property
    def purpose(self) -> str:
        """Return what its holds are for."""
        return f"agreement:{self.agreement_no}"

    @property
    def market_contract(self) -> str:
        """Return what all shares of a market's contract have in common; empty without a market."""
        if not self.terms.market:
            return ""
        return contract_value(self.caller, self.terms.contract_id.rpartition("#")[0])

    @property
    def market_purpose(self) -> str:
        """Return what energy is held for that a market bought and has not passed on yet."""
        return f"market:{self.market_contract}"

    @property
    def cash_holds(self) -> dict[str, str]:
        """Return the holds of cash by payer, in the order of `Terms.by_payer`; empty: none."""
        payers = self.terms.by_payer(0, 0)
        return dict(zip(payers, (self.cash_hold, self.market_hold), strict=False))

    def with_cash_holds(self, holds: Mapping[str, str]) -> "Agreement":
        """Return the agreement with other holds of cash."""
        market = "" if self.terms.market == self.terms.consumer else self.terms.market
        return replace(
            self,
            cash_hold=holds.get(self.terms.consumer, ""),
            market_hold=holds.get(market, ""),
        )

    @property
    def is_live(self) -> bool:
        """Return whether it still binds meters."""
        return bool(AGREEMENT_TRANSITIONS[self.state])

    @property
    def is_running(self) -> bool:
        """Return whether readings are allocated to it."""
        return self.state in (AgreementState.ACTIVE, AgreementState.DELIVERED)

    @property
    def due_ms(self) -> int | None:
        """Return the deadline that expires it, if it has one now."""
        if self.state is AgreementState.PROPOSED:
            return self.until_ms
        if self.is_running and self.recorded_to_ms < self.terms.end_ms:
            return self.terms.deadline_ms
        return None

    @property
    def is_ready(self) -> bool:
        """Return whether all intervals are allocated but not all recorded."""
        end = self.terms.end_ms
        done = min(self.seller.done_to_ms, self.buyer.done_to_ms)
        return self.is_running and done >= end > self.recorded_to_ms

    def progress(self, side: TradeSide) -> SideProgress:
        """Return what the meter of a side has given."""
        return self.seller if side is TradeSide.SELL else self.buyer

    def remaining(self, side: TradeSide) -> int:
        """Return what the meter of a side may still give."""
        return self.terms.energy - self.progress(side).allocated

    def with_progress(self, side: TradeSide, progress: SideProgress) -> "Agreement":
        """Return the agreement with another progress of the sides for which a meter counts."""
        sides = self.terms.counted_by(side)
        return replace(
            self,
            seller=progress if TradeSide.SELL in sides else self.seller,
            buyer=progress if TradeSide.BUY in sides else self.buyer,
        )

    def indexes(self) -> tuple[Index, ...]:
        """List it under its key, its meters and parties, and while something is to do for it."""
        terms, number = self.terms, self.key
        found = [
            Index("user", terms.provider, number),
            Index("user", terms.consumer, number),
        ]
        if not self.superseded:
            found.append(Index("contract", contract_value(self.caller, terms.contract_id)))
            if terms.market:
                found.append(Index("market", self.market_contract, number))
        if self.is_live:
            found += [Index("live", terms.meter(side)) for side in terms.metered]
            found += [Index("live_of", terms.provider), Index("live_of", terms.consumer)]
        for side in terms.metered:
            if self.is_running and self.progress(side).done_to_ms < terms.end_ms:
                found.append(Index(f"open_{side}", terms.meter(side)))
        if self.due_ms is not None:
            found.append(Index("due", "", padded(self.due_ms)))
        if self.is_ready:
            found.append(Index("ready", "", number))
        return tuple(dict.fromkeys(found))


def contract_value(caller: str, contract_id: str) -> str:
    """Return under what an agreement is listed by its key; a caller holds no `|`."""
    return f"{caller}|{contract_id}"


@dataclass(frozen=True, slots=True)
class Allocation(Row):
    """What one interval gave to an agreement; None while a side is open."""

    KIND: ClassVar[str] = "allocation"
    agreement_no: int
    start_ms: int
    source_meter: str
    """Empty: a market."""
    target_meter: str
    """Empty: a market."""
    seller: int | None = None
    buyer: int | None = None
    seller_held: int = 0
    """GRID held for it."""

    @property
    def key(self) -> str:
        """Return agreement and start."""
        return f"{padded(self.agreement_no)}|{padded(self.start_ms)}"

    def indexes(self) -> tuple[Index, ...]:
        """List it with its agreement and with the intervals of both meters."""
        meters = (("interval", self.source_meter), ("target", self.target_meter))
        return (
            Index("agreement", padded(self.agreement_no), padded(self.start_ms)),
            *(Index(name, interval_key(meter, self.start_ms)) for name, meter in meters if meter),
        )

    def with_part(self, sides: Sequence[TradeSide], part: int) -> "Allocation":
        """Return the row with another quantity of some sides."""
        return replace(
            self,
            seller=part if TradeSide.SELL in sides else self.seller,
            buyer=part if TradeSide.BUY in sides else self.buyer,
        )


@dataclass(frozen=True, slots=True)
class Transaction(Row):
    """A delivery of whole intervals of an agreement, or the claim of one."""

    KIND: ClassVar[str] = "transaction"
    transaction_no: int
    agreement_no: int
    provider: str
    consumer: str
    state: TransactionState
    claimed: int = 0
    evidence: str = ""
    start_ms: int = 0
    """First interval of the part."""
    end_ms: int = 0
    allocated_seller: int = 0
    allocated_buyer: int = 0
    settle_quantity: int = 0
    """What is paid."""
    recorded_ms: int = 0
    dispute_until_ms: int = 0
    disputed_by: str = ""
    disputed_quantity: int = 0
    """What that party says was delivered."""
    dispute_reason: str = ""
    is_amended: bool = False
    """A resolved dispute put another settle quantity in place of the recorded one."""
    accepted_by: tuple[str, ...] = ()
    settled_ms: int = 0
    energy: int = 0
    """GRID that moved."""
    value: int = 0
    wheeling: int = 0
    buyer_fee: int = 0
    seller_fee: int = 0
    cycle_id: str = ""
    """What the wire calls the delivery; unique within its agreement."""
    vat: int = 0

    @property
    def key(self) -> str:
        """Return the number."""
        return padded(self.transaction_no)

    @property
    def legs(self) -> Legs:
        """Return its money, once it is settled."""
        return Legs(self.value, self.wheeling, self.buyer_fee, self.seller_fee, self.vat)

    def indexes(self) -> tuple[Index, ...]:
        """List it with its agreement and parties, and while it waits for settlement."""
        found = [
            Index("agreement", padded(self.agreement_no), self.key),
            Index("user", self.provider, self.key),
            Index("user", self.consumer, self.key),
        ]
        if self.state is TransactionState.DELIVERED:
            found.append(Index("due", "", padded(self.dispute_until_ms)))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Deviation(Row):
    """Contracted minus delivered or consumed energy: recorded here, billed elsewhere."""

    KIND: ClassVar[str] = "deviation"
    number: int
    agreement_no: int
    """0 for a surplus that belongs to no agreement."""
    meter_id: str
    start_ms: int
    end_ms: int
    kind: DeviationKind
    quantity: int
    cause: str

    @property
    def key(self) -> str:
        """Return the number."""
        return padded(self.number)

    def indexes(self) -> tuple[Index, ...]:
        """List it with its agreement and its meter."""
        return (
            Index("agreement", padded(self.agreement_no), self.key),
            Index("meter", self.meter_id, padded(self.start_ms)),
        )
