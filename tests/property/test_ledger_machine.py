"""The ledger against the dictionary model, step by step, in memory and on SQLite at once.

Checked after each rule: I1 sums of zero, I2 0 <= held <= posted, I3 held = open holds, I6 repeats,
I7 refusals leave nothing behind, I10 money of the legs (the model rounds by itself), the exact
refusal code; for the order book I11 fills and holds, I12 and I13 prices (the model clears by
itself), I16 who trades, I17 which epochs are cleared; at the end I4 the balances are the fold of
the journal, and I22 when everything is over nothing is held.
"""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapter.domain.errors import ContractError
from adapter.settlement import (
    LedgerStore,
    Receipt,
    due_commands,
    execute,
    parse_command,
    state_root,
    verify,
)
from adapter.settlement.accounts import asset_of, is_system
from adapter.settlement.agreement_rows import Agreement
from adapter.settlement.contracts.order_book import order_now
from adapter.settlement.order_rows import ClearedEpoch, cleared_key
from adapter.settlement.rows import padded
from adapter.store.ledger_memory import MemoryLedger
from tests.property.book_model import PER_EPOCH, PER_USER
from tests.property.ledger_model import QUARTER, Model
from tests.unit.settlement.world import NOON, World, settled_with, sqlite_ledger

pytestmark = pytest.mark.timeout(300)  # seconds on an idle machine, but it may not be idle

PROSUMERS, CONSUMERS = ["ann", "ben"], ["cat"]
USERS = st.sampled_from(PROSUMERS + CONSUMERS)
STRANGERS = st.sampled_from([*PROSUMERS, *CONSUMERS, "zoe"])
AMOUNTS = st.sampled_from([1, 999_999, 1_000_001, 2_500_000, 40_000_000])
METERED = st.sampled_from([0, 1, 333_334, 2_000_000, 7_000_000, 100_000_001])
"""The last is beyond the capacity of 400 kW."""
ENERGIES = st.sampled_from([1, 333_333, 1_000_001, 2_500_000, 7_000_000])
PRICES = st.sampled_from([2_000, 150_000, 333_333, 6_000_000])
PAIRS = st.sampled_from(
    [("ann", "ben"), ("ann", "cat"), ("ben", "cat"), ("ben", "ann"), ("cat", "ann"), ("ann", "ann")]
)
"""The last two cannot trade."""
BASES = st.sampled_from(["CONTRACTED", "DELIVERED", "MIN_OF_TWO"])
WINDOWS = st.tuples(st.integers(0, 2), st.integers(1, 3))
"""First quarter, counted from the next one, and length."""
WHICH = st.integers(0, 5)
"""One of the newest agreements, counted backwards; 5 is one that does not exist."""
GENESIS = settled_with(
    buyer_fee="0.003",
    seller_fee="0.002",
    delivery_grace_s=3_600,
    reservation_ttl_s=900,
    gate_lead_s=60,
    max_orders_per_user_epoch=PER_USER,
    max_orders_per_epoch=PER_EPOCH,
)
SIDES = st.sampled_from(["SELL", "BUY"])
GOOD_LOTS = st.sampled_from([1_000, 333_000, 1_001_000, 2_500_000, 7_000_000, 50_000_000])
LOTS = GOOD_LOTS | st.just(1)
"""The last is off the lot."""
GOOD_LIMITS = st.sampled_from([150_000, 151_000, 333_000, 334_000, 6_000_000])
LIMITS = GOOD_LIMITS | st.sampled_from([1_000, 150_500])
"""The last but one is below the seller fee, the last off the tick."""
LIVES = st.sampled_from([None, None, None, 0, 900_000, 2_700_000, 86_400_000, 86_400_001])
"""How long an order is good for, None for its epoch; the last is too long."""


def decimal(micro: int) -> Decimal:
    """Return millionths as the wire has them."""
    return Decimal(micro).scaleb(-6)


class Ledgers(RuleBasedStateMachine):
    """Random commands on two stores and the model."""

    second: Callable[[], LedgerStore] = staticmethod(sqlite_ledger)
    """Gives the other, empty ledger; on PostgreSQL see `test_ledgers_on_postgres`."""

    @initialize()
    def open(self) -> None:
        """Set up three users with a strong meter each."""
        self.worlds = [World(MemoryLedger()), World(self.second())]
        for world in self.worlds:
            world.open(GENESIS)
            for user in PROSUMERS:
                world.user(user)
            for user in CONSUMERS:
                world.user(user, "CONSUMER")
            for user in PROSUMERS + CONSUMERS:
                world.meter(f"m-{user}", user, kw=400)
            args = {"user": "ann", "subscriber": "platform"}
            world.do("registry.set_representative", "ann", **args)
        self.model = Model(PROSUMERS, CONSUMERS, NOON)
        self.count = 0
        self.contracts = 0
        self.done: list[tuple[str, str, str | None, dict[str, Any], Receipt]] = []
        self.model.now += QUARTER
        for user in PROSUMERS + CONSUMERS:
            self.deposit(user, 300_000_000, False)
            self.submit_one(user, NOON, (60_000_000, 0))

    def expect(
        self, code: str, function: str, actor: str, behalf: str | None = None, /, **args: Any
    ) -> None:
        """Execute on both stores and compare with the predicted code."""
        self.count += 1
        command_id = f"h-{self.count}"
        outcomes = [
            self.run(world, command_id, function, actor, behalf, args) for world in self.worlds
        ]
        assert outcomes[0] == outcomes[1]
        outcome = outcomes[0]
        if isinstance(outcome, str):
            assert outcome == code
        elif code == "SAME":
            assert outcome.replayed
        elif code == "NOTHING":
            assert not outcome.events
        else:
            assert code == ""
            self.done.append((function, actor, behalf, args, outcome))

    def run(
        self,
        world: World,
        command_id: str,
        function: str,
        actor: str,
        behalf: str | None,
        args: dict[str, Any],
    ) -> Receipt | str:
        """Return the receipt, or the code of the refusal, which must have changed nothing."""
        world.now = self.model.now
        contract, name = function.split(".")
        before = world.fingerprint()
        try:
            command = parse_command(command_id, contract, name, args)
            return execute(world.ledger, command, actor, world.now, on_behalf_of=behalf)
        except ContractError as error:
            assert world.fingerprint() == before
            return error.code

    @rule(user=STRANGERS, amount=AMOUNTS, old=st.booleans())
    def deposit(self, user: str, amount: int, old: bool) -> None:
        """Book cash in, sometimes with a used reference."""
        reference = "ref-old" if old else f"ref-{self.count}"
        code = self.model.deposit(user, amount, reference)
        args = {"to": user, "amount": decimal(amount), "external_reference": reference}
        self.expect(code, "token.deposit", "treasurer", **args)

    @rule(user=STRANGERS, amount=st.sampled_from([1, 10_000, 2_500_000]))
    def withdraw(self, user: str, amount: int) -> None:
        """Book cash out."""
        reference = f"ref-{self.count}"
        code = self.model.withdraw(user, amount, reference)
        args = {"from": user, "amount": decimal(amount), "external_reference": reference}
        self.expect(code, "token.withdraw", "treasurer", **args)

    @rule(source=USERS, receiver=STRANGERS, amount=AMOUNTS)
    def transfer(self, source: str, receiver: str, amount: int) -> None:
        """Send GRID."""
        code = self.model.transfer(source, receiver, amount)
        self.expect(code, "token.transfer", source, to=receiver, value=decimal(amount))

    @rule(
        owner=USERS,
        spender=st.sampled_from(["network", "ann", "ben", "platform"]),
        amount=st.sampled_from([0, 1_000_000, 50_000_000]),
    )
    def approve(self, owner: str, spender: str, amount: int) -> None:
        """Give a mandate."""
        code = self.model.approve(owner, spender, amount)
        args = {"spender": spender, "value": decimal(amount), "asset": "USD"}
        self.expect(code, "token.approve", owner, **args)

    @rule(user=STRANGERS, new=st.sampled_from(["ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED"]))
    def status(self, user: str, new: str) -> None:
        """Suspend or bring back."""
        code = self.model.status(user, new)
        args = {"user": user, "new_status": new}
        self.expect(code, "registry.update_user_status", "regulator", **args)

    @rule(
        user=USERS,
        side=st.sampled_from(["SELL", "BUY"]),
        cap=st.sampled_from([0, 7_000_000, 10**9]),
    )
    def cap(self, user: str, side: str, cap: int) -> None:
        """Set a trade cap."""
        code = self.model.cap(user, side, cap)
        args = {"meter_id": f"m-{user}", "side": side, "cap": decimal(cap)}
        self.expect(code, "registry.set_trade_cap", "grid", **args)

    @rule(
        parties=PAIRS,
        odd=st.sampled_from(["", "", "", "", "meter", "caller"]),
        twists=st.tuples(st.booleans(), st.sampled_from([False, False, True])),
        numbers=st.tuples(ENERGIES, PRICES),
        window=WINDOWS,
        basis=BASES,
    )
    def propose(
        self,
        parties: tuple[str, str],
        odd: str,
        twists: tuple[bool, bool],
        numbers: tuple[int, int],
        window: tuple[int, int],
        basis: str,
    ) -> None:  # a proposal has many parts
        """Propose a trade, now and then with a wrong meter or caller."""
        provider, consumer = parties
        by_consumer, old = twists
        start = (self.model.now // QUARTER + 1 + window[0]) * QUARTER
        self.contracts += not old
        contract = f"k-{self.contracts}"
        terms = {
            "provider": provider,
            "consumer": consumer,
            "source_of": consumer if odd == "meter" else provider,
            "energy": numbers[0],
            "price": numbers[1],
            "start": start,
            "end": start + window[1] * QUARTER,
            "basis": basis,
        }
        user = consumer if by_consumer else provider
        if odd == "caller":
            user = "ben"
        actor = self.actor_of(user)
        code = self.model.propose(actor, user, contract, terms)
        self.expect(
            code,
            "agreements.create_agreement",
            actor,
            None if actor == user else user,
            contract_id=contract,
            provider=provider,
            consumer=consumer,
            source_meter=f"m-{terms['source_of']}",
            target_meter=f"m-{consumer}",
            energy_amount_kwh=decimal(numbers[0]),
            price_per_kwh=decimal(numbers[1]),
            currency="USD",
            window={"start": terms["start"], "end": terms["end"]},
            basis=basis,
        )

    def actor_of(self, user: str) -> str:
        """Return who calls for a user: ann has a platform."""
        return "platform" if user == "ann" else user

    def number(self, which: int) -> int:
        """Return the number of an agreement."""
        last = len(self.model.agreements)
        return last + 1 if which == 5 else max(last - which, 1)

    @rule(which=WHICH, user=USERS)
    def accept(self, which: int, user: str) -> None:
        """Accept."""
        self.accept_as(self.number(which), user)

    def accept_as(self, number: int, user: str) -> None:
        """Accept for a user."""
        actor = self.actor_of(user)
        code = self.model.accept(actor, user, number)
        behalf = None if actor == user else user
        self.expect(code, "agreements.accept_agreement", actor, behalf, agreement_no=number)

    @rule(parties=PAIRS, numbers=st.tuples(ENERGIES, PRICES), window=WINDOWS, basis=BASES)
    def agree(
        self,
        parties: tuple[str, str],
        numbers: tuple[int, int],
        window: tuple[int, int],
        basis: str,
    ) -> None:
        """Propose and accept, the most common thing to do."""
        self.propose(parties, "", (False, False), numbers, window, basis)
        self.accept_all()

    @rule()
    def accept_all(self) -> None:
        """Let every consumer accept, so that runs get beyond proposals."""
        for number, agreement in list(self.model.agreements.items()):
            if agreement["state"] == "PROPOSED":
                self.accept_as(number, agreement["provider"])
                self.accept_as(number, agreement["consumer"])

    @rule(which=WHICH, user=USERS)
    def cancel(self, which: int, user: str) -> None:
        """Cancel."""
        number = self.number(which)
        code = self.model.cancel(user, number)
        actor = self.actor_of(user)
        behalf = None if actor == user else user
        self.expect(code, "agreements.cancel_agreement", actor, behalf, agreement_no=number)

    @rule(user=USERS, back=st.integers(-1, 4), energies=st.tuples(METERED, METERED))
    def submit(self, user: str, back: int, energies: tuple[int, int]) -> None:
        """Submit a reading of a late quarter, now and then one that is not over."""
        start = (self.model.now // QUARTER - 1 - back) * QUARTER
        if start >= NOON:
            self.submit_one(user, start, energies)

    def submit_one(self, user: str, start: int, energies: tuple[int, int]) -> None:
        """Submit a reading."""
        code = self.model.submit(user, start, *energies)
        generated, consumed = (decimal(energy) for energy in energies)
        data = self.worlds[0].signed(f"m-{user}", start, generated, consumed)
        self.expect(code, "oracle.submit_reading", "headend", meter_data=data)

    @rule(energies=st.tuples(METERED, METERED), newest_first=st.booleans())
    def submit_all(self, energies: tuple[int, int], newest_first: bool) -> None:
        """Submit what is missing for all agreements, so that runs get to settlement."""
        missing = {
            (user, start)
            for a in self.model.agreements.values()
            for user in (a["provider"], a["consumer"])
            for start in range(a["start"], a["end"], QUARTER)
            if start + QUARTER <= self.model.now and (f"m-{user}", start) not in self.model.readings
        }
        for user, start in sorted(missing, key=lambda m: (m[1], m[0]), reverse=newest_first):
            self.submit_one(user, start, energies)

    @rule(
        terms=st.lists(
            st.tuples(PAIRS, st.tuples(ENERGIES, PRICES), WINDOWS, BASES), min_size=1, max_size=3
        ),
        energies=st.tuples(METERED, METERED),
        newest_first=st.booleans(),
    )
    def live(
        self,
        terms: list[tuple[tuple[str, str], tuple[int, int], tuple[int, int], str]],
        energies: tuple[int, int],
        newest_first: bool,
    ) -> None:
        """Agree on some trades, let their windows pass, submit all readings and settle."""
        for parties, numbers, window, basis in terms:
            self.agree(parties, numbers, window, basis)
        self.wait(7 * QUARTER)
        self.submit_all(energies, newest_first)
        self.tick()

    @rule(user=USERS, side=SIDES, numbers=st.tuples(LOTS, LIMITS), life=LIVES)
    def enter(self, user: str, side: str, numbers: tuple[int, int], life: int | None) -> None:
        """Enter an order."""
        actor = self.actor_of(user)
        until = (
            {} if life is None else {"time_in_force": "GTT", "expires_at": self.model.now + life}
        )
        code = self.model.book.create(user, side, numbers, life)
        price = "price_per_unit" if side == "SELL" else "max_price"
        self.expect(
            code,
            f"trading.create_{side.lower()}_order",
            actor,
            None if actor == user else user,
            energy_amount=decimal(numbers[0]),
            **{price: decimal(numbers[1])},
            **until,
        )

    @rule(which=WHICH, user=USERS)
    def cancel_order(self, which: int, user: str) -> None:
        """Cancel an order, mostly one's own."""
        last = len(self.model.book.orders)
        number = last + 1 if which == 5 else max(last - which, 1)
        self.cancel_one(number, user)

    def cancel_one(self, number: int, user: str) -> None:
        """Cancel an order."""
        actor = self.actor_of(user)
        code = self.model.book.cancel(user, number)
        behalf = None if actor == user else user
        self.expect(code, "trading.cancel_order", actor, behalf, order_no=number)

    @rule(back=st.integers(0, 4))
    def match(self, back: int) -> None:
        """Clear an epoch, now and then the present one or one that has had its turn."""
        epoch = self.model.now // QUARTER - back
        code = self.model.book.match(epoch)
        self.expect(code, "trading.match_orders", "system", epoch=epoch)

    @rule(
        orders=st.lists(
            st.tuples(USERS, SIDES, GOOD_LOTS, GOOD_LIMITS, LIVES), min_size=4, max_size=10
        ),
        then=st.sampled_from(["tick", "match", "wait"]),
    )
    def trade(self, orders: list[tuple[str, str, int, int, int | None]], then: str) -> None:
        """Enter some orders early in an epoch and let it end."""
        self.wait(QUARTER - self.model.now % QUARTER)
        for user, side, energy, price, life in orders:
            self.enter(user, side, (energy, price), life)
        self.wait(QUARTER)
        if then == "tick":
            self.tick()
        elif then == "match":
            self.match(1)

    @rule()
    def tick(self) -> None:
        """Let the host's timer do all that is due."""
        self.model.tick()
        for world in self.worlds:
            world.now = self.model.now
            world.tick()
            assert due_commands(world.ledger, world.now, 1) == []

    @rule(
        step=st.sampled_from([1, 450_000, 839_999, 900_000, 900_000, 900_001, 2_700_000, 3_600_001])
    )
    def wait(self, step: int) -> None:
        """Let time pass."""
        self.model.now += step

    @rule(back=st.integers(0, 3), changed=st.booleans())
    def repeat(self, back: int, changed: bool) -> None:
        """Send an accepted command again, or another one under its id."""
        if not self.done:
            return
        function, actor, behalf, args, receipt = self.done[-1 - back % len(self.done)]
        if changed:
            behalf = "ann" if behalf is None else None
        for world in self.worlds:
            before = world.fingerprint()
            again = self.run(world, receipt.command_id, function, actor, behalf, args)
            if changed:
                assert again == "IDEMPOTENCY_CONFLICT"
            else:
                assert isinstance(again, Receipt)
                assert again.replayed
                assert (again.seq, again.events) == (receipt.seq, receipt.events)
            assert world.fingerprint() == before

    @invariant()
    def the_model_agrees(self) -> None:
        """Compare balances and agreements."""
        for world in self.worlds:
            found = {a.id: (a.posted, a.held) for a in world.ledger.accounts()}
            assert {k: v for k, v in found.items() if v != (0, 0)} == self.model.balances()
            for number, expected in self.model.agreements.items():
                agreement = world.ledger.get(Agreement, padded(number))
                assert agreement is not None
                assert agreement.state == expected["state"]
                got = (agreement.seller.allocated, agreement.buyer.allocated)
                assert got == (expected["got"]["SELL"], expected["got"]["BUY"])

    @invariant()
    def the_book_agrees(self) -> None:
        """Compare orders and clearings."""
        for world in self.worlds:
            for number, expected in self.model.book.orders.items():
                order = order_now(world.ledger, number)
                assert order is not None
                assert (order.state, order.filled) == (expected["state"], expected["filled"])
            for epoch, (price, trades) in self.model.book.cleared.items():
                cleared = world.ledger.get(ClearedEpoch, cleared_key("main", epoch))
                assert cleared is not None
                assert cleared.price == price
                block = world.ledger.block(cleared.seq, "trades")
                rows = [] if block is None else [tuple(row) for row in block]
                at = cleared.trades_at
                assert rows[at : at + cleared.trades] == trades

    @invariant()
    def books_are_sound(self) -> None:
        """Check sums, signs and holds."""
        for world in self.worlds:
            sums: dict[str, int] = defaultdict(int)
            held: dict[str, int] = defaultdict(int)
            for number in self.model.agreements:
                for hold in world.ledger.open_holds(f"agreement:{number}"):
                    held[hold.account] += hold.amount
            for number in self.model.book.orders:
                order = order_now(world.ledger, number)
                assert order is not None
                for account_id, amount in order.holds("USD"):
                    held[account_id] += amount
            for meter, start in self.model.readings:
                for hold in world.ledger.open_holds(f"meter:{meter}@{start // QUARTER}"):
                    held[hold.account] += hold.amount
            for account in world.ledger.accounts():
                sums[asset_of(account.id)] += account.posted
                assert is_system(account.id) or 0 <= account.held <= account.posted
                assert account.held == held[account.id]
            assert not any(sums.values())

    def teardown(self) -> None:
        """Cancel and expire everything, then replay the journal."""
        if not hasattr(self, "worlds"):
            return
        for user, status in list(self.model.active.items()):
            if status == "SUSPENDED":
                self.status(user, "ACTIVE")
        self.wait(10 * 3_600_000)
        self.tick()
        for order in self.model.book.live():
            self.cancel_one(order["no"], order["user"])
        self.the_model_agrees()
        bodies = [[e.body for e in world.ledger.entries(-1, 10_000)] for world in self.worlds]
        assert bodies[0] == bodies[1]
        verdict = verify(bodies[0], MemoryLedger(), stored=self.worlds[1].ledger)
        assert verdict.ok, verdict.why
        assert verdict.state_root == state_root(self.worlds[0].ledger)
        if not any(a["payment"] == "DISPUTED" for a in self.model.agreements.values()):
            accounts = self.worlds[0].ledger.accounts()
            assert not any(account.held for account in accounts)
            in_use = self.worlds[0].ledger.account("sys|CAP|IN_USE")
            assert in_use is None or in_use.posted == 0


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
