"""The pool as dictionaries: written from the specification alone, sharing no code with it.

Each operation returns the code of its refusal, or an empty text after changing the model, and
notes the events it expects in `said`. Amounts are millionths. One meter per user (`m-<user>`).
"""

from collections import defaultdict
from fractions import Fraction
from typing import Any

QUARTER = 900_000
CAPACITY_QUARTER = 100_000_000


def money(energy: int, rate: int) -> int:
    """Return the value of a leg, ties to even."""
    return round(Fraction(energy * rate, 10**6))


class Pool:
    """State of the pool and of what it stands on."""

    def __init__(self, users: dict[str, str], rates: dict[str, int], now: int) -> None:
        """Begin with ACTIVE users by type and the rates of entry 0."""
        self.now = now
        self.kind = dict(users)
        self.status = dict.fromkeys(users, "ACTIVE")
        self.posted: dict[str, int] = defaultdict(int)
        self.held: dict[str, int] = defaultdict(int)
        self.readings: dict[tuple[str, int], dict[str, Any]] = {}
        self.offers: dict[int, dict[str, Any]] = {}
        self.references: set[str] = set()
        self.price = 0
        self.rates = {name: [(0, value)] for name, value in rates.items()}
        self.net: dict[str, int] = defaultdict(int)
        self.vouched: dict[str, int] = defaultdict(int)
        self.auto_mint = True
        self.said: list[str] = []

    # Shorthand

    def active(self, user: str) -> bool:
        """Return whether a user is ACTIVE."""
        return self.status.get(user) == "ACTIVE"

    def free(self, account: str) -> int:
        """Return what is not held."""
        return self.posted[account] - self.held[account]

    def move(self, source: str, target: str, amount: int) -> None:
        """Move between accounts."""
        self.posted[source] -= amount
        self.posted[target] += amount

    def rate(self, name: str) -> int:
        """Return a rate in force now."""
        return [value for since, value in self.rates[name] if since <= self.now][-1]

    # Energy

    def submit(self, user: str, start: int, generated: int, consumed: int) -> str:
        """Store a reading; an identical one is `SAME`."""
        key = (f"m-{user}", start)
        if key in self.readings:
            old = self.readings[key]
            same = (old["generated"], old["consumed"]) == (generated, consumed)
            return "SAME" if same else "READING_CONFLICT"
        if self.now < start + QUARTER:
            return "INTERVAL_NOT_ENDED"
        if generated > CAPACITY_QUARTER:
            return "CAPACITY_EXCEEDED"
        minted = generated if self.auto_mint and self.active(user) else 0
        reading = {"owner": user, "generated": generated, "consumed": consumed}
        self.readings[key] = {**reading, "minted": minted, "retired": 0}
        self.move("sys|GRID|ISSUED", f"{user}|GRID|MAIN", minted)
        self.net[user] += generated - consumed
        self.said = ["EnergyDataFulfilled"] + ["Minted", "Transfer"] * bool(minted)
        return ""

    def reading(self, user: str, meter: str, start: int) -> dict[str, Any] | str:
        """Return the reading of a user, or why it is not."""
        found = self.readings.get((meter, start))
        if found is None:
            return "READING_NOT_FOUND"
        return found if found["owner"] == user else "METER_MISMATCH"

    def add(self, actor: str, user: str, amount: int, meter: str, start: int) -> str:
        """Mint against a reading."""
        if actor != user:
            return "NOT_AUTHORIZED"
        if user not in self.status:
            return "USER_NOT_FOUND"
        reading = self.reading(user, meter, start)
        if isinstance(reading, str):
            return reading
        if reading["minted"] + amount > reading["generated"]:
            return "ALREADY_MINTED"
        if not self.active(user):
            return "USER_NOT_VERIFIED"
        reading["minted"] += amount
        self.move("sys|GRID|ISSUED", f"{user}|GRID|MAIN", amount)
        self.said = ["EnergyAdded", "Minted", "Transfer"]
        return ""

    def consume(self, actor: str, user: str, amount: int, meter: str, start: int) -> str:
        """Retire against a reading."""
        if actor != user:
            return "NOT_AUTHORIZED"
        if user not in self.status:
            return "USER_NOT_FOUND"
        reading = self.reading(user, meter, start)
        if isinstance(reading, str):
            return reading
        if reading["retired"] + amount > reading["consumed"]:
            return "READING_EXHAUSTED"
        if self.free(f"{user}|GRID|MAIN") < amount:
            return "INSUFFICIENT_ENERGY"
        reading["retired"] += amount
        self.move(f"{user}|GRID|MAIN", "sys|GRID|RETIRED", amount)
        self.said = ["EnergyConsumed", "Burned", "Transfer"]
        return ""

    def vouch(self, actor: str, user: str, amount: int) -> str:
        """Mint, or retire if negative, on the word of an operator."""
        if actor != "pool-op":
            return "NOT_AUTHORIZED"
        if user not in self.status:
            return "USER_NOT_FOUND"
        account = f"{user}|GRID|MAIN"
        if amount > 0:
            if not self.active(user):
                return "USER_NOT_VERIFIED"
            self.move("sys|GRID|ISSUED", account, amount)
            self.said = ["EnergyAdded", "Minted", "Transfer"]
        else:
            if self.free(account) < -amount:
                return "INSUFFICIENT_ENERGY"
            self.move(account, "sys|GRID|RETIRED", -amount)
            self.said = ["EnergyConsumed", "Burned", "Transfer"]
        self.net[user] += amount
        self.vouched[user] += amount
        return ""

    def fund(self, actor: str, user: str, amount: int, reference: str) -> str:
        """Book cash in."""
        if actor != "treasurer":
            return "NOT_TREASURER"
        if user not in self.status:
            return "USER_NOT_FOUND"
        if reference in self.references:
            return "DUPLICATE_REFERENCE"
        if not self.active(user):
            return "USER_NOT_VERIFIED"
        self.references.add(reference)
        self.move("sys|USD|EXTERNAL", f"{user}|USD|MAIN", amount)
        self.said = ["FundsAdded", "Deposited"]
        return ""

    # Offers

    def offer(self, user: str, amount: int, price: int, expires: int) -> str:
        """Make an offer; no price: the pool price; no end: never."""
        price = price or self.price
        fees = {name: self.rate(name) for name in self.rates}
        if not price or fees["seller_fee"] > price:
            return "INVALID_PRICE"
        if expires and expires < self.now:
            return "INVALID_INPUT"
        if not money(amount, price):
            return "INVALID_ENERGY_AMOUNT"
        if not self.active(user):
            return "USER_NOT_VERIFIED"
        if self.kind[user] != "PROSUMER":
            return "NOT_PROSUMER"
        account = f"{user}|GRID|MAIN"
        if self.free(account) < amount:
            return "INSUFFICIENT_ENERGY"
        self.held[account] += amount
        terms = {"seller": user, "amount": amount, "price": price, "expires": expires, **fees}
        self.offers[len(self.offers) + 1] = {**terms, "state": "OPEN"}
        self.said = ["TradeOffered"]
        return ""

    def is_late(self, offer: dict[str, Any]) -> bool:
        """Return whether the end of an offer is over."""
        return bool(offer["expires"]) and offer["expires"] < self.now

    def buy(self, user: str, number: int) -> str:
        """Buy an offer as a whole."""
        offer = self.offers.get(number)
        if offer is None:
            return "TRADE_NOT_FOUND"
        if offer["state"] != "OPEN":
            return "TRADE_NOT_OPEN"
        seller, amount = offer["seller"], offer["amount"]
        if not self.active(user) or not self.active(seller):
            return "USER_NOT_VERIFIED"
        if user == seller:
            return "SELF_TRADE"
        if self.is_late(offer):
            return "TRADE_NOT_OPEN"
        rates = ("price", "wheeling_rate", "buyer_fee", "seller_fee")
        value, wheeling, buyer_fee, seller_fee = (money(amount, offer[rate]) for rate in rates)
        cash = f"{user}|USD|MAIN"
        if self.free(cash) < value + wheeling + buyer_fee:
            return "INSUFFICIENT_FUNDS"
        self.close(offer, "COMPLETED")
        self.move(f"{seller}|GRID|MAIN", f"{user}|GRID|MAIN", amount)
        self.move(cash, f"{seller}|USD|MAIN", value - seller_fee)
        self.move(cash, "grid|USD|FEES", seller_fee + buyer_fee)
        self.move(cash, "grid|USD|WHEELING", wheeling)
        self.said = ["TradeExecuted", "Transfer"]
        return ""

    def cancel(self, user: str, number: int) -> str:
        """Take an offer back."""
        offer = self.offers.get(number)
        if offer is None:
            return "TRADE_NOT_FOUND"
        if offer["seller"] != user:
            return "NOT_ORDER_OWNER"
        if offer["state"] != "OPEN" or self.is_late(offer):
            return "TRADE_NOT_OPEN"
        self.close(offer, "CANCELLED")
        self.said = ["TradeCancelled"]
        return ""

    def close(self, offer: dict[str, Any], state: str) -> None:
        """End an offer and free its energy."""
        offer["state"] = state
        self.held[f"{offer['seller']}|GRID|MAIN"] -= offer["amount"]

    def expire(self) -> list[int]:
        """End what is late, in order of end and number, and return the numbers."""
        late = sorted(
            (offer["expires"], number)
            for number, offer in self.offers.items()
            if offer["state"] == "OPEN" and self.is_late(offer)
        )
        for _, number in late:
            self.close(self.offers[number], "EXPIRED")
        return [number for _, number in late]

    def open_of(self, user: str) -> list[dict[str, Any]]:
        """Return the open offers of a user."""
        return [o for o in self.offers.values() if o["seller"] == user and o["state"] == "OPEN"]

    # Registry

    def set_price(self, actor: str, price: int) -> str:
        """Set the pool price."""
        if actor != "admin":
            return "NOT_OWNER"
        self.price = price
        self.said = ["EnergyPriceSet"]
        return ""

    def set_rate(self, name: str, value: int) -> str:
        """Set a rate from the next quarter on."""
        self.rates[name].append(((self.now // QUARTER + 1) * QUARTER, value))
        self.said = ["ParameterSet"]
        return ""

    def set_status(self, user: str, new: str) -> str:
        """Suspend or bring back."""
        if user not in self.status:
            return "USER_NOT_FOUND"
        if new == self.status[user]:
            return "INVALID_TRANSITION"
        self.status[user] = new
        self.said = ["UserStatusUpdated"]
        if new == "SUSPENDED":
            for offer in self.open_of(user):
                self.close(offer, "CANCELLED")
                self.said.append("TradeCancelled")
        return ""

    def set_type(self, user: str, new: str) -> str:
        """Make a user a prosumer or a consumer."""
        if user not in self.status:
            return "USER_NOT_FOUND"
        if new == "CONSUMER" and self.open_of(user):
            return "TYPE_IN_USE"
        self.kind[user] = new
        self.said = ["UserTypeUpdated"]
        return ""

    def balances(self) -> dict[str, tuple[int, int]]:
        """Return posted and held of every account that is not empty."""
        names = set(self.posted) | set(self.held)
        found = {name: (self.posted[name], self.held[name]) for name in names}
        return {name: pair for name, pair in found.items() if pair != (0, 0)}
