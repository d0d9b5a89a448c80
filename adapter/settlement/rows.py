"""The kinds of rows a ledger keeps besides accounts, holds and entries.

All are rebuilt from the journal by replay. Keys and sorts pad numbers, so that text order is
number order; `|` separates parts and is never part of an id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from adapter.settlement.state import Index, Row


def padded(number: int) -> str:
    """Return a time or number as text that sorts like it."""
    return f"{number:016d}"


class UserState(StrEnum):
    """PENDING → ACTIVE; ACTIVE ↔ SUSPENDED; any → DEACTIVATED."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    DEACTIVATED = "DEACTIVATED"


class UserType(StrEnum):
    """What a user does with energy."""

    PROSUMER = "PROSUMER"
    """Generates and consumes."""
    CONSUMER = "CONSUMER"


class MeterKind(StrEnum):
    """What a meter counts."""

    GENERATION = "GENERATION"
    CONSUMPTION = "CONSUMPTION"
    BOTH = "BOTH"


@dataclass(frozen=True, slots=True)
class Genesis(Row):
    """What entry 0 fixed for good."""

    KIND: ClassVar[str] = "genesis"
    ledger: str
    """Name of the ledger: the subscriber that hosts it."""
    currency: str
    digits: int
    """Decimals that amounts of the currency show at least."""
    grid_operator: str
    """Owner of wheeling income."""
    platform: str
    """Owner of fee income."""

    @property
    def key(self) -> str:
        """Return the only key."""
        return ""


@dataclass(frozen=True, slots=True)
class Parameters(Row):
    """The settings."""

    KIND: ClassVar[str] = "parameters"
    values: tuple[tuple[str, int | str | bool, int, int | str | bool], ...]
    """(name, value, valid from ms, value before that)."""

    @property
    def key(self) -> str:
        """Return the only key."""
        return ""


@dataclass(frozen=True, slots=True)
class Opened(Row):
    """A contract that has been initialized."""

    KIND: ClassVar[str] = "opened"
    contract: str
    seq: int

    @property
    def key(self) -> str:
        """Return the contract."""
        return self.contract


@dataclass(frozen=True, slots=True)
class Counter(Row):
    """The last number given out of a series."""

    KIND: ClassVar[str] = "counter"
    series: str
    last: int

    @property
    def key(self) -> str:
        """Return the series."""
        return self.series


@dataclass(frozen=True, slots=True)
class Sum(Row):
    """What all rows together add to a running sum, so that nobody has to read them all."""

    KIND: ClassVar[str] = "sum"
    name: str
    amount: int
    """Signed."""

    @property
    def key(self) -> str:
        """Return the name."""
        return self.name


NET = "net"
"""Sum of generated less consumed energy over the whole ledger."""
OPERATOR_NET = "operator_net"
"""The part of it that operators vouched for."""


def net_of(user: str) -> str:
    """Return the name of a user's generated less consumed energy."""
    return f"{NET}|{user}"


def operator_net_of(user: str) -> str:
    """Return the name of the part of it that operators vouched for."""
    return f"{OPERATOR_NET}|{user}"


@dataclass(frozen=True, slots=True)
class Reply(Row):
    """What an accepted command was answered, so that a repeat gets the same."""

    KIND: ClassVar[str] = "reply"
    actor: str
    command_id: str
    digest: str
    seq: int
    result: str
    """JSON."""

    @property
    def key(self) -> str:
        """Return actor and command id; an actor holds no `|`."""
        return f"{self.actor}|{self.command_id}"


@dataclass(frozen=True, slots=True)
class RoleGrant(Row):
    """Whether an actor holds a role."""

    KIND: ClassVar[str] = "role"
    role: str
    actor: str
    granted: bool

    @property
    def key(self) -> str:
        """Return role and actor."""
        return f"{self.role}|{self.actor}"

    def indexes(self) -> tuple[Index, ...]:
        """List the holders of each role."""
        return (Index("holders", self.role),) if self.granted else ()


@dataclass(frozen=True, slots=True)
class User(Row):
    """A user of the ledger."""

    KIND: ClassVar[str] = "user"
    user: str
    user_type: UserType
    location: str
    state: UserState
    representative: str = ""
    """Subscriber that may act for the user; empty: nobody."""
    since_ms: int = 0
    """When it was first heard of."""

    @property
    def key(self) -> str:
        """Return the user id."""
        return self.user


@dataclass(frozen=True, slots=True)
class Meter(Row):
    """A meter that was ever assigned; its owners over time are bindings."""

    KIND: ClassVar[str] = "meter"
    meter_id: str
    number: int
    """Short name in blocks."""

    @property
    def key(self) -> str:
        """Return the meter id."""
        return self.meter_id

    def indexes(self) -> tuple[Index, ...]:
        """List it under its number."""
        return (Index("number", padded(self.number)),)


@dataclass(frozen=True, slots=True)
class Binding(Row):
    """A meter's owner and technical data from one 15-minute boundary to another."""

    KIND: ClassVar[str] = "binding"
    meter_id: str
    owner: str
    kind: MeterKind
    capacity_micro_kw: int
    public_key: str
    """Base64 of 32 bytes: signs the readings."""
    area: str
    from_ms: int
    until_ms: int = 0
    """0 while it lasts."""

    @property
    def key(self) -> str:
        """Return meter and start."""
        return f"{self.meter_id}|{padded(self.from_ms)}"

    def indexes(self) -> tuple[Index, ...]:
        """List the history of the meter and the meters that the owner has now."""
        history = Index("meter", self.meter_id, padded(self.from_ms))
        return (history,) if self.until_ms else (history, Index("owner", self.owner))

    def covers(self, instant_ms: int) -> bool:
        """Return whether the binding holds at an instant."""
        return self.from_ms <= instant_ms and (not self.until_ms or instant_ms < self.until_ms)


@dataclass(frozen=True, slots=True)
class Cap(Row):
    """The trade cap of a meter's side; the room left is on its account."""

    KIND: ClassVar[str] = "cap"
    account: str
    granted: int

    @property
    def key(self) -> str:
        """Return the account."""
        return self.account


@dataclass(frozen=True, slots=True)
class Allowance(Row):
    """What a spender may use of an owner's asset: delegation, never a reservation."""

    KIND: ClassVar[str] = "allowance"
    owner: str
    spender: str
    asset: str
    amount: int

    @property
    def key(self) -> str:
        """Return owner, spender and asset."""
        return allowance_key(self.owner, self.spender, self.asset)


def allowance_key(owner: str, spender: str, asset: str) -> str:
    """Return the key of an allowance."""
    return f"{owner}|{spender}|{asset}"


@dataclass(frozen=True, slots=True)
class Reference(Row):
    """An external reference that a deposit or payout used."""

    KIND: ClassVar[str] = "reference"
    reference: str
    seq: int

    @property
    def key(self) -> str:
        """Return the reference."""
        return self.reference


@dataclass(frozen=True, slots=True)
class Reading(Row):
    """What a meter counted in one 15-minute interval."""

    KIND: ClassVar[str] = "reading"
    meter_id: str
    start_ms: int
    owner: str
    generated: int
    consumed: int
    register_generated: int | None
    register_consumed: int | None
    digest: str
    """SHA-256 of the signed bytes."""
    seq: int
    """Entry that stored it."""
    stored_ms: int
    minted: int = 0
    """GRID minted for it so far."""
    retired: int = 0
    """GRID retired against it so far."""
    allocated_out: int = 0
    """Generation that agreements got."""
    allocated_in: int = 0
    """Consumption that agreements got."""

    @property
    def key(self) -> str:
        """Return meter and start."""
        return interval_key(self.meter_id, self.start_ms)

    def indexes(self) -> tuple[Index, ...]:
        """List the readings of a meter, and those with registers."""
        found = [Index("meter", self.meter_id, padded(self.start_ms))]
        if self.register_generated is not None or self.register_consumed is not None:
            found.append(Index("registers", self.meter_id, padded(self.start_ms)))
        return tuple(found)

    def sums(self) -> Mapping[str, int]:
        """Add to the net positions of the owner and the area."""
        return dict.fromkeys((net_of(self.owner), NET), self.generated - self.consumed)


def interval_key(meter_id: str, start_ms: int) -> str:
    """Return the key of a meter's interval."""
    return f"{meter_id}|{padded(start_ms)}"
