"""Random walks through parts, disputes, corrections, late readings and suspensions.

After each command every asset adds up to zero, GRID in existence is backed by readings or owed,
allocations add up per reading and per agreement, and no agreement pays more than it contracted.
When everything is over, nothing is held and all caps are free.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from adapter.domain.errors import ContractError
from adapter.settlement import accounts
from adapter.settlement.agreement_rows import Agreement, Allocation, Transaction, TransactionState
from adapter.settlement.oracle_rows import Owed, owed_key
from adapter.settlement.rows import Reading
from adapter.settlement.units import legs
from tests.unit.settlement.world import EPOCH, Market, settled_with

QUARTERS = 8
STEPS = 100
METERS = {"m-sell": "bob", "m-buy": "alice"}
ENERGIES = (0, 1, "1.25", "3.75", "0.333333")
OVERTIME = 40 * EPOCH


class Walk:
    """A market and the dice."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.world = Market().set_up(
            settled_with(
                dispute_window_s=self.dice.choice((900, 3_600, 9_000)),
                delivery_grace_s=3_600,
                buyer_fee="0.003",
                seller_fee="0.002",
            ),
            funds=200,
        )

    # Moves

    def agree(self) -> None:
        first = self.dice.choice((0, 0, 1, 2))
        last = self.dice.randrange(first + 2, QUARTERS + 1)
        number = self.world.propose(
            f"k-{self.count(Agreement) + 1}",
            energy_amount_kwh=self.dice.choice(("1", "2.5", "7.000001", "3.333333")),
            price_per_kwh=self.dice.choice(("0.15", "1.333")),
            basis=self.dice.choice(("CONTRACTED", "DELIVERED", "MIN_OF_TWO")),
            window={"start": self.quarter(first), "end": self.quarter(last)},
        )
        self.world.accept(number)

    def read_next(self) -> None:
        start = self.quarter(len(self.readings("m-sell")))
        made, used = self.dice.choice(ENERGIES), self.dice.choice(ENERGIES)
        self.world.submit("m-sell", start, generated=made, consumed=self.dice.choice((0, 1)))
        self.world.submit("m-buy", start, consumed=used)

    def read_any(self) -> None:
        start = self.quarter(self.dice.randrange(QUARTERS))
        meter = self.dice.choice(tuple(METERS))
        self.world.submit(meter, start, self.dice.choice(ENERGIES), self.dice.choice(ENERGIES))

    def correct(self) -> None:
        meter, start = self.dice.choice(tuple(METERS)), self.quarter(self.dice.randrange(QUARTERS))
        data = self.world.signed(
            meter, start, self.dice.choice(ENERGIES), self.dice.choice(ENERGIES)
        )
        args = {"meter_id": meter, "interval": start, "meter_data": data}
        receipt = self.world.do("oracle.correct_reading", "headend", **args)
        self.world.do("oracle.confirm_correction", "regulator", **receipt.result)

    def record_part(self) -> None:
        until = self.quarter(self.dice.randrange(1, QUARTERS + 1))
        args = {"agreement_no": self.number(Agreement), "until": until}
        self.world.do("agreements.deliver_energy", "headend", **args)

    def dispute(self) -> None:
        args = {"transaction_no": self.number(Transaction), "claimed_quantity": 1}
        party = self.dice.choice(("alice", "bob"))
        self.world.do("agreements.dispute_transaction", party, **args)

    def resolve(self) -> None:
        outcome = self.dice.choice(("UPHOLD", "AMEND", "VOID"))
        args: dict[str, Any] = {"transaction_no": self.number(Transaction), "outcome": outcome}
        if outcome == "AMEND":
            args["quantity"] = self.dice.choice(("0", "0.5", "2", "1.000001", "3"))
        self.world.do("agreements.resolve_dispute", "regulator", **args)

    def suspend_or_not(self) -> None:
        user = self.dice.choice(("alice", "bob"))
        is_active = self.world.read("registry.is_user_verified", user=user)
        args = {"user": user, "new_status": "SUSPENDED" if is_active else "ACTIVE"}
        self.world.do("registry.update_user_status", "regulator", **args)

    def spend(self) -> None:
        self.world.do("token.transfer", "bob", to="alice", value="0.5")

    def retire(self) -> None:
        start = self.quarter(self.dice.randrange(QUARTERS))
        args = {"amount": "0.5", "meter_id": "m-buy", "interval": start}
        self.world.do("token.retire", "alice", **args)

    def wait(self) -> None:
        self.world.now += self.dice.choice((1, EPOCH // 2, EPOCH))

    def tick(self) -> None:
        self.world.tick()

    # What there is

    def quarter(self, index: int) -> int:
        return self.world.start + index * EPOCH

    def count(self, kind: type[Agreement | Transaction]) -> int:
        found = 0
        while self.world.ledger.get(kind, f"{found + 1:016d}") is not None:
            found += 1
        return found

    def number(self, kind: type[Agreement | Transaction]) -> int:
        return self.dice.randint(1, max(1, self.count(kind)))

    def agreements(self) -> list[Agreement]:
        numbers = range(1, self.count(Agreement) + 1)
        found = [self.world.ledger.get(Agreement, f"{number:016d}") for number in numbers]
        return [agreement for agreement in found if agreement is not None]

    def readings(self, meter: str) -> list[Reading]:
        return list(self.world.ledger.find(Reading, "meter", meter))

    # What must hold

    def check(self) -> None:
        ledger = self.world.ledger
        sums: Counter[str] = Counter()
        for account in ledger.accounts():
            sums[accounts.asset_of(account.id)] += account.posted
            assert accounts.is_system(account.id) or 0 <= account.held <= account.posted
        assert set(sums.values()) <= {0}
        readings = [reading for meter in METERS for reading in self.readings(meter)]
        owed = [ledger.get(Owed, owed_key(meter, owner)) for meter, owner in METERS.items()]
        issued, retired = (ledger.account(name) for name in (accounts.ISSUED, accounts.RETIRED))
        backed = sum(r.minted for r in readings) + sum(row.amount for row in owed if row)
        assert -(issued.posted if issued else 0) == backed
        assert (retired.posted if retired else 0) == sum(r.retired for r in readings)
        for reading in readings:
            self.check_reading(reading)
        for agreement in self.agreements():
            self.check_agreement(agreement)

    def check_reading(self, reading: Reading) -> None:
        assert 0 <= reading.minted <= reading.generated
        assert 0 <= reading.retired <= reading.consumed
        out = self.world.ledger.find(Allocation, "interval", reading.key)
        taken = self.world.ledger.find(Allocation, "target", reading.key)
        assert sum(row.seller or 0 for row in out) == reading.allocated_out
        assert sum(row.buyer or 0 for row in taken) == reading.allocated_in

    def check_agreement(self, agreement: Agreement) -> None:
        ledger, key = self.world.ledger, agreement.key
        parts = list(ledger.find(Transaction, "agreement", key))
        paid = sum(p.settle_quantity for p in parts if p.state is TransactionState.SETTLED)
        assert all(part.settle_quantity >= 0 for part in parts)
        assert sum(part.settle_quantity for part in parts) <= agreement.terms.energy
        assert agreement.settled.quantity == paid
        assert agreement.settled.value == legs(paid, agreement.terms.rates).value
        rows = list(ledger.find(Allocation, "agreement", key))
        assert sum(row.seller or 0 for row in rows) == agreement.seller.allocated
        assert sum(row.buyer or 0 for row in rows) == agreement.buyer.allocated

    def finish(self) -> None:
        """Let everything end and check that nothing is left behind."""
        self.world.now += OVERTIME
        self.world.tick()
        for number in range(1, self.count(Transaction) + 1):
            shown = self.world.read("agreements.get_transaction", transaction_no=number)
            if shown["state"] == "DISPUTED":
                args = {"transaction_no": number, "outcome": self.dice.choice(("UPHOLD", "VOID"))}
                self.world.do("agreements.resolve_dispute", "regulator", **args)
        self.world.now += OVERTIME
        self.world.tick()
        self.check()
        assert [account.id for account in self.world.ledger.accounts() if account.held] == []
        in_use = self.world.ledger.account(accounts.IN_USE)
        assert in_use is None or in_use.posted == 0


MOVES: tuple[tuple[Callable[[Walk], None], int], ...] = (
    (Walk.read_next, 16),
    (Walk.read_any, 3),
    (Walk.correct, 10),
    (Walk.record_part, 12),
    (Walk.dispute, 10),
    (Walk.resolve, 10),
    (Walk.suspend_or_not, 1),
    (Walk.spend, 3),
    (Walk.retire, 3),
    (Walk.wait, 6),
    (Walk.tick, 6),
)
"""Moves and how often they come."""


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_keeps_all_sums(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(4):
        walk.agree()
    walk.world.now = walk.quarter(4)
    moves, weights = zip(*MOVES, strict=True)
    for move in walk.dice.choices(moves, weights, k=STEPS):
        with suppress(ContractError):
            move(walk)
        walk.check()
    walk.finish()
