"""The ledger as dictionaries: written from the specification alone, sharing no code with it.

Each operation returns the code of its refusal, or an empty text after changing the model. Amounts
are millionths. One meter per user (`m-<user>`), windows of whole quarters `base + k`.
"""

from collections import defaultdict
from fractions import Fraction
from typing import Any

from tests.property.book_model import Book

QUARTER = 900_000
TTL, GRACE = 900_000, 3_600_000
WHEELING, BUYER_FEE, SELLER_FEE = 25_000, 3_000, 2_000
CAPACITY_QUARTER = 100_000_000


def half_even(value: Fraction) -> int:
    """Return the nearest integer, ties to even."""
    return round(value)


def up(value: Fraction) -> int:
    """Return the smallest integer that is not below."""
    return -((-value.numerator) // value.denominator)


def shared(metered: int, wanted: list[int]) -> list[int]:
    """Return largest-remainder shares."""
    everything = sum(wanted)
    if everything <= metered:
        return list(wanted)
    exact = [Fraction(metered * want, everything) for want in wanted]
    got = [int(part) for part in exact]
    while sum(got) < metered:
        rests = [part - have for part, have in zip(exact, got, strict=True)]
        got[rests.index(max(rests))] += 1
    return got


class Model:
    """State of the ledger."""

    def __init__(self, prosumers: list[str], consumers: list[str], now: int) -> None:
        """Begin with ACTIVE users."""
        self.now = now
        self.prosumers = set(prosumers)
        self.active = dict.fromkeys(prosumers + consumers, "ACTIVE")
        self.posted: dict[str, int] = defaultdict(int)
        self.held: dict[str, int] = defaultdict(int)
        self.caps: dict[str, int] = {}
        self.allowed: dict[tuple[str, str], int] = defaultdict(int)
        self.references: set[str] = set()
        self.agreements: dict[int, dict[str, Any]] = {}
        self.readings: dict[tuple[str, int], dict[str, Any]] = {}
        self.pools: dict[tuple[str, int], int] = {}
        self.order = 0
        self.book = Book(self)

    # Money and energy

    def move(self, source: str, target: str, amount: int) -> None:
        """Move between accounts."""
        self.posted[source] -= amount
        self.posted[target] += amount

    def free(self, account: str) -> int:
        """Return what is not held."""
        return self.posted[account] - self.held[account]

    def deposit(self, user: str, amount: int, reference: str) -> str:
        """Book cash in."""
        if user not in self.active:
            return "USER_NOT_FOUND"
        if reference in self.references:
            return "DUPLICATE_REFERENCE"
        if self.active[user] != "ACTIVE":
            return "USER_NOT_VERIFIED"
        self.references.add(reference)
        self.move("sys|USD|EXTERNAL", f"{user}|USD|MAIN", amount)
        return ""

    def withdraw(self, user: str, amount: int, reference: str) -> str:
        """Book cash out."""
        if amount % 10_000:
            return "INVALID_INPUT"
        if user not in self.active:
            return "USER_NOT_FOUND"
        if reference in self.references:
            return "DUPLICATE_REFERENCE"
        if self.free(f"{user}|USD|MAIN") < amount:
            return "INSUFFICIENT_FUNDS"
        self.references.add(reference)
        self.move(f"{user}|USD|MAIN", "sys|USD|EXTERNAL", amount)
        return ""

    def transfer(self, source: str, target: str, amount: int) -> str:
        """Move GRID."""
        if any(self.active.get(user) != "ACTIVE" for user in (source, target)):
            return "USER_NOT_VERIFIED"
        if source == target:
            return "SELF_TRANSFER"
        if self.free(f"{source}|GRID|MAIN") < amount:
            return "INSUFFICIENT_BALANCE"
        self.move(f"{source}|GRID|MAIN", f"{target}|GRID|MAIN", amount)
        return ""

    def approve(self, owner: str, spender: str, amount: int) -> str:
        """Set a cash allowance."""
        if self.allowed[owner, spender] and amount:
            return "ALLOWANCE_IN_USE"
        self.allowed[owner, spender] = amount
        return ""

    # Registry

    def status(self, user: str, new: str) -> str:
        """Suspend or bring back."""
        steps = {"ACTIVE": {"SUSPENDED"}, "SUSPENDED": {"ACTIVE"}}
        if user not in self.active:
            return "USER_NOT_FOUND"
        old = self.active[user]
        if new not in steps[old]:
            return "INVALID_TRANSITION"
        self.active[user] = new
        if old == "ACTIVE":
            self.book.suspend(user)
            for a in self.agreements.values():
                if user in (a["provider"], a["consumer"]):
                    if a["state"] == "PROPOSED":
                        self.release(a, "CANCELLED")
                    if a["payment"] == "DELIVERED":
                        a["payment"] = "DISPUTED"
        return ""

    def cap(self, user: str, side: str, cap: int) -> str:
        """Set a trade cap."""
        account = f"m-{user}|CAP|{side}"
        old = self.caps.get(account, 0)
        if cap < old - self.free(account):
            return "CAP_BELOW_USE"
        self.caps[account] = cap
        self.move("sys|CAP|GRANTED", account, cap - old)
        return ""

    # Agreements

    def known(self, key: tuple[str, str]) -> dict[str, Any] | None:
        """Return the agreement of a caller's contract id."""
        return next((a for a in self.agreements.values() if a["key"] == key), None)

    def propose(self, actor: str, user: str, contract: str, terms: dict[str, Any]) -> str:
        """Propose or supersede."""
        old = self.known((actor, contract))
        code = self.terms_refused(user, old, terms)
        if code:
            return code
        provider, consumer = terms["provider"], terms["consumer"]
        accounts = [f"m-{provider}|CAP|SELL", f"m-{consumer}|CAP|BUY"]
        used = [account for account in accounts if account in self.caps]
        for account in used:
            mine = old["energy"] if old and account in old["reserved"] else 0
            if self.free(account) + mine < terms["energy"]:
                return "TRADE_CAP_EXCEEDED"
        if old:
            self.unreserve(old)
            old.update(key=None, state="CANCELLED")
        for account in used:
            self.held[account] += terms["energy"]
        number = len(self.agreements) + 1
        self.agreements[number] = {
            **terms,
            "no": number,
            "key": (actor, contract),
            "proposer": user,
            "state": "PROPOSED",
            "payment": "",
            "until": self.now + TTL,
            "deadline": terms["end"] + GRACE,
            "reserved": used,
            "in_use": [],
            "cash": 0,
            "grid": 0,
            "next": {"SELL": terms["start"], "BUY": terms["start"]},
            "got": {"SELL": 0, "BUY": 0},
            "read": 0,
            "since": 0,
            "recorded": False,
        }
        return ""

    def terms_refused(self, user: str, old: dict[str, Any] | None, terms: dict[str, Any]) -> str:
        """Return why terms are refused, caps aside."""
        provider, consumer = terms["provider"], terms["consumer"]
        reasons = (
            ("NOT_AUTHORIZED", user not in (provider, consumer)),
            ("METER_MISMATCH", terms["source_of"] != provider),
            (
                "AGREEMENT_ALREADY_EXISTS",
                old is not None and (old["state"] != "PROPOSED" or old["until"] < self.now),
            ),
            ("USER_NOT_VERIFIED", self.is_away(provider, consumer)),
            ("NOT_PROSUMER", provider not in self.prosumers),
            ("SELF_TRADE", provider == consumer),
            ("DELIVERY_DEADLINE_PASSED", terms["end"] + GRACE < self.now),
        )
        return next((code for code, holds in reasons if holds), "")

    def is_away(self, *users: str) -> bool:
        """Return whether one of the users is not ACTIVE."""
        return any(self.active[user] != "ACTIVE" for user in users)

    def accept(self, actor: str, user: str, number: int) -> str:
        """Accept."""
        a = self.agreements.get(number)
        if a is None:
            return "AGREEMENT_NOT_FOUND"
        provider, consumer = a["provider"], a["consumer"]
        if user not in (provider, consumer) or user == a["proposer"] == consumer:
            return "NOT_AUTHORIZED"
        if a["state"] != "PROPOSED":
            return "AGREEMENT_NOT_ACTIVE"
        if self.is_away(provider, consumer):
            return "USER_NOT_VERIFIED"
        if a["until"] < self.now:
            return "PROPOSAL_EXPIRED"
        rates = (a["price"], WHEELING, BUYER_FEE)
        cash = sum(up(Fraction(a["energy"] * rate, 10**6)) for rate in rates)
        spender = ""
        if consumer not in (user, a["proposer"]):
            spender = self.mandate(actor, a, cash)
            if not spender:
                return "INSUFFICIENT_ALLOWANCE"
        if self.free(f"{consumer}|USD|MAIN") < cash:
            return "INSUFFICIENT_FUNDS"
        if spender:
            self.allowed[consumer, spender] -= cash
        self.activate(a, cash)
        return ""

    def mandate(self, actor: str, a: dict[str, Any], cash: int) -> str:
        """Return the spender whose allowance covers the cash."""
        spenders = [actor] if actor == a["provider"] else [actor, "network"]
        enough = [who for who in spenders if self.allowed[a["consumer"], who] >= cash]
        return enough[0] if enough else ""

    def activate(self, a: dict[str, Any], cash: int) -> None:
        """Hold the cash and use the caps."""
        self.held[f"{a['consumer']}|USD|MAIN"] += cash
        self.order += 1
        a.update(state="ACTIVE", cash=cash, in_use=a["reserved"], since=self.order)
        for account in a["in_use"]:
            self.held[account] -= a["energy"]
            self.move(account, "sys|CAP|IN_USE", a["energy"])
        a["reserved"] = []
        self.flow(f"m-{a['provider']}", "SELL")
        self.flow(f"m-{a['consumer']}", "BUY")

    def cancel(self, user: str, number: int) -> str:
        """Cancel."""
        a = self.agreements.get(number)
        if a is None:
            return "AGREEMENT_NOT_FOUND"
        if user not in (a["provider"], a["consumer"]):
            return "NOT_AUTHORIZED"
        if a["state"] not in ("PROPOSED", "ACTIVE"):
            return "AGREEMENT_NOT_ACTIVE"
        if a["state"] == "ACTIVE" and self.now >= a["start"]:
            return "CANCELLATION_NOT_ALLOWED"
        self.release(a, "CANCELLED")
        return ""

    def unreserve(self, a: dict[str, Any]) -> None:
        """Free reserved caps."""
        for account in a["reserved"]:
            self.held[account] -= a["energy"]
        a["reserved"] = []

    def release(self, a: dict[str, Any], state: str) -> None:
        """End an agreement and free everything."""
        self.unreserve(a)
        for account in a["in_use"]:
            self.move("sys|CAP|IN_USE", account, a["energy"])
        self.held[f"{a['consumer']}|USD|MAIN"] -= a["cash"]
        self.held[f"{a['provider']}|GRID|MAIN"] -= a["grid"]
        a.update(in_use=[], cash=0, grid=0, state=state)

    # Metering

    def submit(self, user: str, start: int, generated: int, consumed: int) -> str:
        """Store a reading; an identical one is `SAME`."""
        key = (f"m-{user}", start)
        if key in self.readings:
            known = self.readings[key]
            same = (known["SELL"], known["BUY"]) == (generated, consumed)
            return "SAME" if same else "READING_CONFLICT"
        if self.now < start + QUARTER:
            return "INTERVAL_NOT_ENDED"
        if generated > CAPACITY_QUARTER:
            return "CAPACITY_EXCEEDED"
        self.order += 1
        self.readings[key] = {
            "SELL": generated,
            "BUY": consumed,
            "left": {"SELL": generated, "BUY": consumed},
            "order": self.order,
            "stored": self.now,
        }
        if self.active[user] == "ACTIVE":
            self.move("sys|GRID|ISSUED", f"{user}|GRID|MAIN", generated)
            self.held[f"{user}|GRID|MAIN"] += generated
            self.pools[key] = generated
        self.flow(key[0], "SELL")
        self.flow(key[0], "BUY")
        self.drain(key)
        return ""

    def waiting(self, meter: str, side: str, start: int) -> list[dict[str, Any]]:
        """Return the running agreements that still want an interval."""
        owner = "provider" if side == "SELL" else "consumer"
        return [
            a
            for _, a in sorted(self.agreements.items())
            if a["state"] in ("ACTIVE", "DELIVERED")
            and f"m-{a[owner]}" == meter
            and a["next"][side] <= start < a["end"]
            and a["start"] <= start
        ]

    def flow(self, meter: str, side: str) -> None:
        """Give out stored readings in time order."""
        owner = "provider" if side == "SELL" else "consumer"
        while True:
            open_ = [
                a["next"][side]
                for a in self.agreements.values()
                if a["state"] in ("ACTIVE", "DELIVERED")
                and f"m-{a[owner]}" == meter
                and a["next"][side] < a["end"]
            ]
            if not open_ or (meter, min(open_)) not in self.readings:
                return
            start = min(open_)
            self.give(meter, side, start, self.waiting(meter, side, start))

    def give(self, meter: str, side: str, start: int, taking: list[dict[str, Any]]) -> None:
        """Fix what some of those that wait for an interval get."""
        reading = self.readings[meter, start]
        wanting = [a for a in self.waiting(meter, side, start) if self.counts(reading, a)]
        shares = shared(reading["left"][side], [a["energy"] - a["got"][side] for a in wanting])
        for a, part in zip(wanting, shares, strict=True):
            if a not in taking:
                continue
            a["got"][side] += part
            a["read"] += 1
            reading["left"][side] -= part
            if side == "SELL" and (meter, start) in self.pools:
                self.pools[meter, start] -= part
                a["grid"] += part
        for a in taking:
            a["next"][side] = start + QUARTER
        self.drain((meter, start))

    def counts(self, reading: dict[str, Any], a: dict[str, Any]) -> bool:
        """Return whether a reading came after the acceptance and before the deadline."""
        return bool(reading["order"] > a["since"] and reading["stored"] <= a["deadline"])

    def drain(self, key: tuple[str, int]) -> None:
        """Free the GRID of an interval that nobody waits for."""
        if key in self.pools and not self.waiting(key[0], "SELL", key[1]):
            self.held[f"{key[0][2:]}|GRID|MAIN"] -= self.pools.pop(key)

    # Time

    def tick(self) -> None:
        """Do all that is due."""
        book = self.book
        steps = (self.expire, book.expire, book.clear_due, self.record_ready, self.settle_due)
        while any(step() for step in steps):
            pass

    def expire(self) -> bool:
        """End what is past its deadline, oldest first."""
        due = sorted(
            (a["until"] if a["state"] == "PROPOSED" else a["deadline"], number)
            for number, a in self.agreements.items()
            if a["state"] == "PROPOSED"
            or (a["state"] in ("ACTIVE", "DELIVERED") and not a["recorded"])
        )
        late = [number for deadline, number in due if deadline < self.now]
        for number in late:
            a = self.agreements[number]
            if a["state"] == "PROPOSED":
                self.release(a, "EXPIRED")
            else:
                self.close(a)
        return bool(late)

    def close(self, a: dict[str, Any]) -> None:
        """Give an overdue agreement what was read, zero else."""
        meters = {"SELL": f"m-{a['provider']}", "BUY": f"m-{a['consumer']}"}
        for side, meter in meters.items():
            while a["next"][side] < a["end"]:
                start = a["next"][side]
                reading = self.readings.get((meter, start))
                if reading and self.counts(reading, a):
                    self.give(meter, side, start, [a])
                else:
                    a["next"][side] += QUARTER
                    self.drain((meter, start))
        for side, meter in meters.items():
            self.flow(meter, side)
        if a["read"]:
            self.record(a)
        else:
            self.release(a, "EXPIRED")

    def record_ready(self) -> bool:
        """Record what is allocated in whole."""
        ready = [
            a
            for a in self.agreements.values()
            if a["state"] == "ACTIVE" and min(a["next"].values()) >= a["end"]
        ]
        for a in ready:
            self.record(a)
        return bool(ready)

    def record(self, a: dict[str, Any]) -> None:
        """Record a delivery."""
        sold, bought = a["got"]["SELL"], a["got"]["BUY"]
        paid = {"CONTRACTED": a["energy"], "DELIVERED": sold, "MIN_OF_TWO": min(sold, bought)}
        parties = (a["provider"], a["consumer"])
        fine = all(self.active[user] == "ACTIVE" for user in parties)
        a.update(
            state="DELIVERED",
            recorded=True,
            quantity=paid[a["basis"]],
            payment="DELIVERED" if fine else "DISPUTED",
        )

    def settle_due(self) -> bool:
        """Pay what is recorded; the dispute window is 0."""
        due = [a for a in self.agreements.values() if a["payment"] == "DELIVERED"]
        for a in due:
            self.settle(a)
        return bool(due)

    def settle(self, a: dict[str, Any]) -> None:
        """Move both legs."""
        quantity = a["quantity"]
        value, wheeling, buyer_fee, seller_fee = (
            half_even(Fraction(quantity * rate, 10**6))
            for rate in (a["price"], WHEELING, BUYER_FEE, SELLER_FEE)
        )
        buyer, seller = f"{a['consumer']}|USD|MAIN", f"{a['provider']}|USD|MAIN"
        self.move(buyer, seller, value - seller_fee)
        self.move(buyer, "grid|USD|FEES", seller_fee + buyer_fee)
        self.move(buyer, "grid|USD|WHEELING", wheeling)
        energy = min(a["grid"], quantity)
        grid = f"{a['provider']}|GRID|MAIN"
        self.release(a, "SETTLED")
        self.move(grid, f"{a['consumer']}|GRID|MAIN", energy)
        a["payment"] = "SETTLED"

    def balances(self) -> dict[str, tuple[int, int]]:
        """Return posted and held of every account that is not empty."""
        names = set(self.posted) | set(self.held)
        found = {name: (self.posted[name], self.held[name]) for name in names}
        return {name: pair for name, pair in found.items() if pair != (0, 0)}
