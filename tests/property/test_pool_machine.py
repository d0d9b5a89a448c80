"""The pool against the dictionary model, step by step, in memory and on SQLite at once.

Checked after each rule: the predicted code and events, I1 sums of zero, I2 0 <= held <= posted,
I3 held = open holds, I6 repeats, I7 refusals leave nothing behind, I8 GRID = minted - retired and
never more than was read or vouched for, I10 the buyer's debit is the sum of the credited legs (the
model rounds by itself); at the end I22 nothing stays held, and the journal replays.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adapter.domain.errors import ContractError
from adapter.domain.quantities import to_text
from adapter.settlement import LedgerStore, Receipt, execute, parse_command, state_root, verify
from adapter.settlement.accounts import asset_of, is_system
from adapter.settlement.pool_rows import PoolOffer
from adapter.settlement.rows import Reading, interval_key, padded
from adapter.store.ledger_memory import MemoryLedger
from tests.property.pool_model import QUARTER, Pool
from tests.unit.settlement.world import GENESIS, NOON, World, settled_with, sqlite_ledger

KINDS = {"ann": "PROSUMER", "ben": "PROSUMER", "cat": "CONSUMER"}
USERS = st.sampled_from([*KINDS])
STRANGERS = st.sampled_from([*KINDS, "zoe"])
RATES = {"wheeling_rate": 25_000, "buyer_fee": 3_000, "seller_fee": 2_000}
AMOUNTS = st.sampled_from([1, 5, 333_333, 1_000_001, 2_500_000, 7_000_000])
METERED = st.sampled_from([0, 1, 333_334, 2_000_000, 7_000_000, 100_000_001])
"""The last is beyond the capacity of 400 kW."""
PRICES = st.sampled_from([0, 1_000, 100_000, 333_333, 6_000_000])
"""0: none named."""
ENDS = st.sampled_from([None, None, -1, 0, 1, 450_000, 900_000])
"""Of offers, counted from now; None: never."""
STEPS = st.sampled_from([1, 449_999, 450_000, 900_000, 900_001, 1_800_000])
BACK = st.integers(-1, 3)
"""Quarters back from the last ended one; -1 is not over."""
WHICH = st.integers(0, 4)
"""One of the newest offers, counted backwards; 4 is one that does not exist."""


class Pools(RuleBasedStateMachine):
    """Random commands on two stores and the model."""

    second: Callable[[], LedgerStore] = staticmethod(sqlite_ledger)
    """Gives the other, empty ledger; on PostgreSQL see `test_ledgers_on_postgres`."""

    @initialize(auto_mint=st.booleans())
    def open(self, auto_mint: bool) -> None:
        """Set up three users with a strong meter each."""
        self.worlds = [World(MemoryLedger()), World(self.second())]
        rates = {name: to_text(rate) for name, rate in RATES.items()}
        genesis = settled_with(auto_mint=auto_mint, **rates)
        genesis["roles"] = {**GENESIS["roles"], "POOL_OPERATOR": ["pool-op"]}
        for world in self.worlds:
            world.open(genesis)
            for user, kind in KINDS.items():
                world.user(user, kind)
                world.meter(f"m-{user}", user, kw=400)
        self.model = Pool(KINDS, RATES, NOON)
        self.model.auto_mint = auto_mint
        self.count = 0
        self.done: list[tuple[str, str, dict[str, Any], Receipt]] = []
        for user in KINDS:
            self.fund("treasurer", user, 40_000_000, False)
        self.wait(4 * QUARTER)

    # One command on both stores

    def expect(self, code: str, function: str, actor: str, /, **args: Any) -> None:
        """Execute on both stores and compare with the predicted code and events."""
        self.count += 1
        outcomes = [
            self.run(world, f"h-{self.count}", function, actor, args) for world in self.worlds
        ]
        assert outcomes[0] == outcomes[1]
        outcome = outcomes[0]
        if isinstance(outcome, str):
            assert outcome == code
        elif code == "SAME":
            assert outcome.replayed
        else:
            assert code == ""
            assert [event.name for event in outcome.events] == self.model.said
            self.done.append((function, actor, args, outcome))

    def run(
        self, world: World, command_id: str, function: str, actor: str, args: dict[str, Any]
    ) -> Receipt | str:
        """Return the receipt, or the code of the refusal, which must have changed nothing."""
        world.now = self.model.now
        contract, name = function.split(".")
        before = world.fingerprint()
        try:
            command = parse_command(command_id, contract, name, args)
            return execute(world.ledger, command, actor, world.now)
        except ContractError as error:
            assert world.fingerprint() == before
            return error.code

    # Energy and cash

    @rule(user=USERS, back=BACK, energies=st.tuples(METERED, METERED))
    def submit(self, user: str, back: int, energies: tuple[int, int]) -> None:
        """Submit a reading of a late quarter, now and then one that is not over."""
        start = self.quarter(back)
        if start < NOON:
            return
        code = self.model.submit(user, start, *energies)
        generated, consumed = (to_text(energy) for energy in energies)
        data = self.worlds[0].signed(f"m-{user}", start, generated, consumed)
        self.expect(code, "oracle.submit_reading", "headend", meter_data=data)

    def quarter(self, back: int) -> int:
        """Return the start of a late quarter."""
        return (self.model.now // QUARTER - 1 - back) * QUARTER

    @rule(
        consumes=st.booleans(),
        parties=st.tuples(STRANGERS, st.booleans(), USERS, st.booleans()),
        amount=AMOUNTS,
        which=st.integers(0, 5),
    )
    def back(
        self, consumes: bool, parties: tuple[str, bool, str, bool], amount: int, which: int
    ) -> None:
        """Mint or retire against a reading, now and then for or of someone else."""
        user, is_other, other, foreign = parties
        actor = other if is_other and other == "cat" else user
        known = sorted(key for key in self.model.readings if (key[0] == f"m-{user}") != foreign)
        meter, start = known[-1 - which] if which < len(known) else (f"m-{user}", NOON - QUARTER)
        act = self.model.consume if consumes else self.model.add
        code = act(actor, user, amount, meter, start)
        name = "pool.consume_energy" if consumes else "pool.add_energy"
        args = {"prosumer": user, "amount": to_text(amount), "meter_id": meter, "interval": start}
        self.expect(code, name, actor, **args)

    @rule()
    def back_everything(self) -> None:
        """Mint and retire all that can be, so that runs get on."""
        for (meter, start), reading in sorted(self.model.readings.items()):
            user = reading["owner"]
            args = {"prosumer": user, "meter_id": meter, "interval": start}
            if amount := reading["generated"] - reading["minted"]:
                code = self.model.add(user, user, amount, meter, start)
                self.expect(code, "pool.add_energy", user, amount=to_text(amount), **args)

    @rule(
        actor=st.sampled_from(["pool-op", "pool-op", "pool-op", "ann"]),
        user=STRANGERS,
        amount=AMOUNTS,
        retires=st.booleans(),
    )
    def vouch(self, actor: str, user: str, amount: int, retires: bool) -> None:
        """Let an operator vouch for energy."""
        code = self.model.vouch(actor, user, -amount if retires else amount)
        name = "pool.consume_energy" if retires else "pool.add_energy"
        args = {"prosumer": user, "amount": to_text(amount), "evidence": "a protocol"}
        self.expect(code, name, actor, **args)

    @rule(
        actor=st.sampled_from(["treasurer", "treasurer", "ann"]),
        user=STRANGERS,
        amount=AMOUNTS,
        old=st.booleans(),
    )
    def fund(self, actor: str, user: str, amount: int, old: bool) -> None:
        """Book cash in, sometimes with a used reference."""
        reference = "ref-old" if old else f"ref-{self.count}"
        code = self.model.fund(actor, user, amount, reference)
        args = {"prosumer": user, "amount": to_text(amount), "external_reference": reference}
        self.expect(code, "pool.add_funds", actor, **args)

    # Offers

    @rule(user=USERS, amount=AMOUNTS, price=PRICES, end=ENDS)
    def offer(self, user: str, amount: int, price: int, end: int | None) -> None:
        """Offer energy."""
        expires = 0 if end is None else self.model.now + end
        code = self.model.offer(user, amount, price, expires)
        args: dict[str, Any] = {"amount": to_text(amount)}
        if price:
            args["price"] = to_text(price)
        if expires:
            args["expires_at"] = expires
        self.expect(code, "pool.trade_energy", user, **args)

    def number(self, which: int) -> int:
        """Return the number of an offer."""
        last = len(self.model.offers)
        return last + 1 if which == 4 else max(last - which, 1)

    @rule(which=WHICH, user=STRANGERS)
    def buy(self, which: int, user: str) -> None:
        """Buy an offer."""
        number = self.number(which)
        self.expect(self.model.buy(user, number), "pool.buy_energy", user, offer_no=number)

    @rule(which=WHICH, user=USERS)
    def cancel(self, which: int, user: str) -> None:
        """Take an offer back."""
        number = self.number(which)
        self.expect(self.model.cancel(user, number), "pool.cancel_trade", user, offer_no=number)

    @rule(amount=AMOUNTS, price=PRICES, end=ENDS, buyer=USERS)
    def trade(self, amount: int, price: int, end: int | None, buyer: str) -> None:
        """Vouch, offer and buy, so that runs get to trades."""
        self.vouch("pool-op", "ann", amount, False)
        self.offer("ann", amount, price, end)
        self.buy(0, buyer)

    # Registry and time

    @rule(
        back=st.integers(0, 3),
        energies=st.tuples(METERED, METERED),
        amounts=st.lists(AMOUNTS, min_size=1, max_size=3),
        price=PRICES,
    )
    def sell(self, back: int, energies: tuple[int, int], amounts: list[int], price: int) -> None:
        """Read a meter, mint, and offer and sell in parts."""
        self.submit("ben", back, energies)
        self.back_everything()
        for amount in amounts:
            self.offer("ben", amount, price, None)
            self.buy(0, "ann")

    @rule(actor=st.sampled_from(["admin", "admin", "ben"]), price=st.sampled_from([1, 4_200_000]))
    def set_price(self, actor: str, price: int) -> None:
        """Set the pool price."""
        code = self.model.set_price(actor, price)
        self.expect(code, "pool.set_energy_price", actor, price=to_text(price))

    @rule(name=st.sampled_from([*RATES]), value=st.sampled_from([0, 1_000, 500_000]))
    def set_rate(self, name: str, value: int) -> None:
        """Set a rate."""
        code = self.model.set_rate(name, value)
        args = {"name": name, "value": to_text(value)}
        self.expect(code, "registry.set_parameter", "admin", **args)

    @rule(user=STRANGERS, new=st.sampled_from(["ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED"]))
    def status(self, user: str, new: str) -> None:
        """Suspend or bring back."""
        code = self.model.set_status(user, new)
        args = {"user": user, "new_status": new}
        self.expect(code, "registry.update_user_status", "regulator", **args)

    @rule(user=STRANGERS, new=st.sampled_from(["PROSUMER", "CONSUMER"]))
    def change_type(self, user: str, new: str) -> None:
        """Change a user's type."""
        code = self.model.set_type(user, new)
        args = {"user": user, "new_type": new}
        self.expect(code, "registry.update_user_type", "regulator", **args)

    @rule(step=STEPS)
    def wait(self, step: int) -> None:
        """Let time pass."""
        self.model.now += step

    @rule()
    def tick(self) -> None:
        """Let the host's timer do all that is due."""
        expected = self.model.expire()
        for world in self.worlds:
            world.now = self.model.now
            events = [event for receipt in world.tick() for event in receipt.events]
            expired = [e.fields["offer_no"] for e in events if e.name == "TradeExpired"]
            assert expired == expected

    @rule(back=st.integers(0, 3), changed=st.booleans())
    def repeat(self, back: int, changed: bool) -> None:
        """Send an accepted command again, or another one under its id."""
        if not self.done:
            return
        function, actor, args, receipt = self.done[-1 - back % len(self.done)]
        if changed:
            function = "pool.register_prosumer"
            args = {}
        for world in self.worlds:
            before = world.fingerprint()
            again = self.run(world, receipt.command_id, function, actor, args)
            if changed:
                assert again == "IDEMPOTENCY_CONFLICT"
            else:
                assert isinstance(again, Receipt)
                assert again.replayed
                assert (again.seq, again.events) == (receipt.seq, receipt.events)
            assert world.fingerprint() == before

    # What holds after each rule

    @invariant()
    def the_model_agrees(self) -> None:
        """Compare balances, offers and positions."""
        model = self.model
        for world in self.worlds:
            found = {a.id: (a.posted, a.held) for a in world.ledger.accounts()}
            assert {k: v for k, v in found.items() if v != (0, 0)} == model.balances()
            for number, expected in model.offers.items():
                row = world.ledger.get(PoolOffer, padded(number))
                assert row is not None
                assert (row.state, row.energy) == (expected["state"], expected["amount"])
            for user in KINDS:
                position = world.read("pool.get_prosumer_info", account=user)["net_position"]
                assert position["total"] == to_text(model.net[user])
                assert position["by_operators"] == to_text(model.vouched[user])
            area = world.read("pool.get_grid_balance")
            assert area["total"] == to_text(sum(model.net.values()))

    @invariant()
    def books_are_sound(self) -> None:
        """Check sums, signs and holds."""
        for world in self.worlds:
            sums: dict[str, int] = defaultdict(int)
            held: dict[str, int] = defaultdict(int)
            for number in self.model.offers:
                for hold in world.ledger.open_holds(f"offer:{number}"):
                    held[hold.account] += hold.amount
            for account in world.ledger.accounts():
                sums[asset_of(account.id)] += account.posted
                assert is_system(account.id) or 0 <= account.held <= account.posted
                assert account.held == held[account.id]
            assert not any(sums.values())

    @invariant()
    def energy_comes_from_readings_or_operators(self) -> None:
        """Check I8: nothing is minted or retired beyond what was read."""
        for world in self.worlds:
            minted = retired = 0
            for meter, start in self.model.readings:
                row = world.ledger.get(Reading, interval_key(meter, start))
                assert row is not None
                assert 0 <= row.minted <= row.generated
                assert 0 <= row.retired <= row.consumed
                minted, retired = minted + row.minted, retired + row.retired
            grid = [a.posted for a in world.ledger.accounts() if a.id.endswith("|GRID|MAIN")]
            assert sum(grid) == minted - retired + sum(self.model.vouched.values())

    def teardown(self) -> None:
        """Cancel and expire everything, then replay the journal."""
        if not hasattr(self, "worlds"):
            return
        self.wait(10 * 900_000)
        self.tick()
        for user in KINDS:
            if self.model.status[user] == "ACTIVE":
                self.status(user, "SUSPENDED")
        self.the_model_agrees()
        bodies = [[e.body for e in world.ledger.entries(-1, 10_000)] for world in self.worlds]
        assert bodies[0] == bodies[1]
        verdict = verify(bodies[0], MemoryLedger(), stored=self.worlds[1].ledger)
        assert verdict.ok, verdict.why
        assert verdict.state_root == state_root(self.worlds[0].ledger)
        assert not any(account.held for account in self.worlds[0].ledger.accounts())


TestPools = Pools.TestCase
TestPools.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
