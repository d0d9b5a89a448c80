"""A small ledger to tell stories on: a grid operator, users with signing meters, a fixed clock."""

import base64
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.resources import files
from typing import Any, Self

import pytest
from nacl.signing import SigningKey

from adapter.domain.errors import ContractError
from adapter.settlement import (
    Event,
    LedgerStore,
    Receipt,
    balance,
    due_commands,
    execute,
    genesis_command,
    parse_command,
    read,
    reading_bytes,
    state_root,
)
from adapter.store.ledger_memory import MemoryLedger
from adapter.store.ledger_sqlite import SqliteLedger

EPOCH = 900_000
NOON = 1_767_268_800_000
"""2026-01-01T12:00:00Z, on the 15-minute grid."""
GENESIS: Mapping[str, Any] = {
    "admin": "admin",
    "regulators": ["regulator"],
    "roles": {
        "GRID_OPERATOR": ["grid"],
        "ORACLE_OPERATOR": ["headend"],
        "TREASURER": ["treasurer"],
        "MINTER": ["minter"],
        "BURNER": ["burner"],
        "AUDITOR": ["auditor"],
    },
    "settings": {
        "currency": "USD",
        "price_tick": Decimal("0.001"),
        "wheeling_rate": Decimal("0.025"),
        "dispute_window_s": 0,
    },
}


LEDGER_TABLES = ("0002_ledger.sqlite.sql", "0003_blocks.sqlite.sql")


def sqlite_ledger() -> SqliteLedger:
    """Return an empty ledger in a database of its own."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for name in LEDGER_TABLES:
        connection.executescript((files("adapter.store") / "migrations" / name).read_text())
    return SqliteLedger(connection)


def settled_with(**settings: object) -> dict[str, Any]:
    """Return the genesis document with other settings."""
    return {**GENESIS, "settings": {**GENESIS["settings"], **settings}}


@dataclass
class World:
    """A ledger, the time, and shorthand for calls."""

    ledger: LedgerStore = field(default_factory=MemoryLedger)
    now: int = NOON
    keys: dict[str, SigningKey] = field(default_factory=dict)
    calls: int = 0

    def open(self, genesis: Mapping[str, Any] = GENESIS) -> Self:
        """Write the first two entries."""
        command = genesis_command(genesis, ledger="grid")
        execute(self.ledger, command, "admin", self.now)
        currency = command.args["settings"]["currency"]
        self.do("agreements.initialize", "admin", admin="admin", token_contract=currency)
        return self

    def do(
        self,
        function: str,
        caller: str,
        behalf: str | None = None,
        /,
        **args: Any,
    ) -> Receipt:
        """Execute a function; arguments as JSON has them, `from_` for `from`, `cmd` is the id."""
        self.calls += 1
        command_id = args.pop("cmd", f"c-{self.calls}")
        wire = {key.rstrip("_"): value for key, value in args.items()}
        contract, name = function.split(".")
        command = parse_command(command_id, contract, name, wire)
        return execute(self.ledger, command, caller, self.now, on_behalf_of=behalf)

    def refused(
        self,
        code: str,
        function: str,
        caller: str,
        behalf: str | None = None,
        /,
        **args: Any,
    ) -> ContractError:
        """Execute a function that must be refused with `code` and change nothing."""
        before = self.fingerprint()
        with pytest.raises(ContractError) as caught:
            self.do(function, caller, behalf, **args)
        assert caught.value.code == code, caught.value
        assert self.fingerprint() == before
        return caught.value

    def fingerprint(self) -> tuple[object, str]:
        """Return what must not change when nothing happens."""
        return self.ledger.head(), state_root(self.ledger)

    def read(self, function: str, caller: str = "auditor", /, **args: Any) -> Any:
        """Answer a read."""
        contract, name = function.split(".")
        return read(self.ledger, contract, name, args, caller, self.now)

    def user(self, user: str, kind: str = "PROSUMER", representative: str = "") -> None:
        """Register a user."""
        self.do("registry.register_user", "regulator", user=user, user_type=kind, location="x")
        if representative:
            self.do(
                "registry.set_representative",
                "regulator",
                user=user,
                subscriber=representative,
            )

    def meter(self, meter: str, owner: str, kw: object = 15, **args: Any) -> None:
        """Assign a meter with a key of its own; it is in force at once."""
        seed = meter.encode().ljust(32, b"\0")
        self.keys[meter] = SigningKey(seed)
        now, self.now = self.now, self.now - EPOCH
        self.do(
            "registry.assign_meter",
            "regulator",
            meter_id=meter,
            owner=owner,
            capacity_kw=kw,
            public_key=self.public_key(meter),
            **args,
        )
        self.now = now

    def public_key(self, meter: str) -> str:
        """Return the public key of a meter."""
        return base64.b64encode(bytes(self.keys[meter].verify_key)).decode()

    def cap(self, meter: str, side: str, cap: object) -> None:
        """Set a trade cap."""
        self.do("registry.set_trade_cap", "grid", meter_id=meter, side=side, cap=cap)

    def deposit(self, user: str, amount: object) -> None:
        """Fund a user."""
        self.do(
            "token.deposit",
            "treasurer",
            to=user,
            amount=amount,
            external_reference=f"bank-{self.calls}",
        )

    def signed(
        self, meter: str, start: int, generated: object = 0, consumed: object = 0, **more: Any
    ) -> dict[str, Any]:
        """Return a reading as a meter sends it."""
        data = {
            "meter_id": meter,
            "start": start,
            "end": start + EPOCH,
            "generated": generated,
            "consumed": consumed,
            **more,
        }
        signature = self.keys[meter].sign(reading_bytes(data)).signature
        return {**data, "signature": base64.b64encode(signature).decode()}

    def submit(
        self, meter: str, start: int, generated: object = 0, consumed: object = 0
    ) -> Receipt:
        """Submit a signed reading."""
        data = self.signed(meter, start, generated, consumed)
        return self.do("oracle.submit_reading", "headend", meter_data=data)

    def tick(self) -> list[Receipt]:
        """Do what the host's timer would do until nothing is due."""
        done = []
        while commands := due_commands(self.ledger, self.now, 10):
            for command in commands:
                done.append(execute(self.ledger, command, "system", self.now))
        return done

    def available(self, owner: str, asset: str) -> int:
        """Return what an owner can use of an asset, in millionths."""
        return balance(self.ledger, owner, asset).available

    def posted(self, owner: str, asset: str) -> int:
        """Return what an owner has of an asset, in millionths."""
        return balance(self.ledger, owner, asset).posted


def events_of(receipts: list[Receipt], name: str) -> list[Event]:
    """Return all events of a name, in order."""
    return [event for receipt in receipts for event in receipt.events if event.name == name]


@dataclass
class Market(World):
    """A world with the seller and buyer of the demo, and their platforms."""

    start: int = NOON + EPOCH
    """Of the delivery window, one hour."""

    def set_up(self, genesis: Mapping[str, Any] = GENESIS, funds: object = 20) -> Self:
        """Do the set-up of the demo."""
        self.open(genesis)
        self.user("alice", representative="bap")
        self.user("bob", representative="bpp")
        self.meter("m-buy", "alice")
        self.meter("m-sell", "bob")
        self.cap("m-buy", "BUY", 50)
        self.cap("m-sell", "SELL", 100)
        self.deposit("alice", funds)
        self.do("token.approve", "bap", "alice", spender="network", value=funds, asset="USD")
        return self

    @property
    def end(self) -> int:
        """Return the end of the delivery window."""
        return self.start + 4 * EPOCH

    def terms(self, contract_id: str = "k-1", /, **changes: Any) -> dict[str, Any]:
        """Return the arguments of the demo's agreement."""
        return {
            "contract_id": contract_id,
            "provider": "bob",
            "consumer": "alice",
            "source_meter": "m-sell",
            "target_meter": "m-buy",
            "energy_amount_kwh": 10,
            "price_per_kwh": Decimal("0.15"),
            "currency": "USD",
            "window": {"start": self.start, "end": self.end},
            **changes,
        }

    def propose(self, contract_id: str = "k-1", /, **changes: Any) -> int:
        """Propose as the seller's platform does, and return the number."""
        terms = self.terms(contract_id, **changes)
        receipt = self.do("agreements.create_agreement", "bpp", "bob", **terms)
        return int(receipt.result["agreement_no"])

    def accept(self, number: int) -> Receipt:
        """Accept as the seller's platform does, under the buyer's mandate."""
        return self.do("agreements.accept_agreement", "bpp", "bob", agreement_no=number)

    def agree(self, contract_id: str = "k-1", /, **changes: Any) -> int:
        """Propose and accept."""
        number = self.propose(contract_id, **changes)
        self.accept(number)
        return number

    def deliver(self, generated: object, consumed: object) -> None:
        """Submit the readings of all intervals at the end of the window, in equal parts."""
        self.now = self.end
        quarter = Decimal(4)
        for start in range(self.start, self.end, EPOCH):
            self.submit("m-sell", start, generated=Decimal(str(generated)) / quarter)
            self.submit("m-buy", start, consumed=Decimal(str(consumed)) / quarter)
