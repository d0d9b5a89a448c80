"""What must hold after a crash and at the end of a run, found out without the code under test.

The journal is folded here once more, from its JSON alone.
"""

import json
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.settlement import LedgerStore, verify
from adapter.settlement.block_views import ViewPosting, view_postings
from adapter.settlement.codec import encode_row
from adapter.store.ledger_memory import MemoryLedger
from adapter.store.ledger_sqlite import SqliteLedger
from tests.sim.genesis import CAPACITY_KW
from tests.unit.settlement.world import EPOCH

PAGE = 100_000
CAPACITY_QUARTER = CAPACITY_KW * 1_000_000 // 4
"""Most that a meter generates in 15 minutes, in millionths of a kWh."""


@dataclass
class Books:
    """Balances and open holds as the postings of a journal give them."""

    posted: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Account and amount of the open ones."""
    orders: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """Open holds by order and account, oldest first: clearings use them without naming them."""
    resolved: set[str] = field(default_factory=set)

    def entry(self, postings: list[Mapping[str, Any]], views: Iterable[ViewPosting]) -> None:
        """Apply the postings of one entry, and those that its blocks stand for."""
        touched: set[str] = set()
        for posting in postings:
            touched |= getattr(self, f"_{posting['k']}")(posting)
        for purpose, account, legs in views:
            touched |= self._use(self.orders[purpose, account][0], legs)
        for account in touched:
            if not account.startswith("sys|"):
                assert 0 <= self.held[account] <= self.posted[account], account
        sums: Counter[str] = Counter()
        for account, amount in self.posted.items():
            sums[account.split("|")[1]] += amount
        assert not any(sums.values()), sums

    def _direct(self, posting: Mapping[str, Any]) -> set[str]:
        source, target, amount = posting["from"], posting["to"], int(posting["amount"])
        assert amount > 0
        self.posted[source] -= amount
        self.posted[target] += amount
        return {source, target}

    def _hold(self, posting: Mapping[str, Any]) -> set[str]:
        name, account, amount = posting["hold"], posting["account"], int(posting["amount"])
        assert amount > 0
        assert name not in self.holds
        assert name not in self.resolved
        self.holds[name] = account, amount
        self.held[account] += amount
        if posting["for"].startswith("order:"):
            self.orders[posting["for"], account].append(name)
        return {account}

    def _post(self, posting: Mapping[str, Any]) -> set[str]:
        legs = [(target, int(amount)) for target, amount in posting["legs"]]
        assert legs
        return self._use(posting["hold"], legs)

    def _void(self, posting: Mapping[str, Any]) -> set[str]:
        return self._use(posting["hold"], ())

    def _use(self, name: str, legs: Iterable[tuple[str, int]]) -> set[str]:
        assert name not in self.resolved, f"{name} resolves twice"
        account, left = self.holds.pop(name)
        self.resolved.add(name)
        for waiting in self.orders.values():
            if name in waiting:
                waiting.remove(name)
        self.held[account] -= left
        touched = {account}
        for target, amount in legs:
            assert amount > 0
            left -= amount
            self.posted[account] -= amount
            self.posted[target] += amount
            touched.add(target)
        assert left >= 0, f"{name} is used for more than it holds"
        return touched


def journal(ledger: LedgerStore) -> list[bytes]:
    """Return all entries."""
    return [entry.body for entry in ledger.entries(-1, PAGE)]


def check_stored(ledger: SqliteLedger) -> MemoryLedger:
    """Replay the journal and compare head, balances and every row with what is stored.

    Returns the replayed ledger. Checks I4 and that nothing is half done.
    """
    scratch = MemoryLedger()
    verdict = verify(journal(ledger), scratch, stored=ledger)
    assert verdict.ok, (verdict.bad_seq, verdict.why)
    connection = ledger._connection
    rows = set(connection.execute("SELECT kind, key, body FROM ledger_rows"))
    mine = {(kind, key, encode_row(row)) for (kind, key), row in scratch._rows.items()}
    assert rows == mine, [row[:2] for row in sorted(rows ^ mine)][:9]
    listed = set(connection.execute("SELECT kind, name, value, sort, key FROM ledger_lists"))
    lists = scratch._lists.items()
    assert listed == {(*place, sort, key) for place, pairs in lists for sort, key in pairs}
    query = "SELECT id, account, amount, purpose, until_ms, state, posted FROM ledger_holds"
    holds = set(connection.execute(query))
    assert holds == {
        (h.id, h.account, h.amount, h.purpose, h.until_ms, str(h.state), h.posted)
        for h in scratch._holds.values()
    }
    return scratch


def check_books(ledger: SqliteLedger) -> None:
    """Check I1 to I3, I6, I9 to I12, I16 and I17 on the journal."""
    books, market = Books(), Market()
    commands: set[tuple[str, str]] = set()
    settled: Counter[int] = Counter()
    for body in journal(ledger):
        entry = json.loads(body)
        key = entry["actor"], entry["cmd"]
        assert key not in commands, f"{key} was done twice"
        commands.add(key)
        before = Counter(books.posted)
        books.entry(entry["postings"], view_postings(ledger, entry))
        check_trades(entry["events"], before, books.posted, settled)
        market.entry(entry, ledger)
    stored = {a.id: (a.posted, a.held) for a in ledger.accounts()}
    folded = {name: (books.posted[name], books.held[name]) for name in {*books.posted, *books.held}}
    accounts = {*stored, *folded}
    odd = [a for a in accounts if stored.get(a, (0, 0)) != folded.get(a, (0, 0))]
    assert not odd, [(a, stored.get(a), folded.get(a)) for a in sorted(odd)]
    assert all(times == 1 for times in settled.values()), settled
    of_orders = {name for waiting in books.orders.values() for name in waiting}
    query = "SELECT id, account, amount FROM ledger_holds WHERE state = 'PENDING'"
    open_holds = {name: rest for name, *rest in ledger._connection.execute(query)}
    folded_holds = {n: list(hold) for n, hold in books.holds.items() if n not in of_orders}
    assert open_holds == folded_holds
    check_energy(ledger)


def check_energy(ledger: SqliteLedger) -> None:
    """Check I8 on the stored rows: GRID comes from readings or operators, and so do positions."""

    def rows(kind: str) -> list[dict[str, Any]]:
        query = "SELECT body FROM ledger_rows WHERE kind = ?"
        return [json.loads(body) for (body,) in ledger._connection.execute(query, (kind,))]

    readings, lots = rows("reading"), rows("operator_lot")
    for reading in readings:
        assert 0 <= reading["minted"] <= reading["generated"] <= CAPACITY_QUARTER, reading
        assert 0 <= reading["retired"] <= reading["consumed"], reading
    owed = sum(row["amount"] for row in rows("owed"))
    minted = sum(row["minted"] for row in readings) + sum(lot["generated"] for lot in lots)
    retired = sum(row["retired"] for row in readings) + sum(lot["consumed"] for lot in lots)
    posted = {account.id: account.posted for account in ledger.accounts("sys")}
    assert -posted.get("sys|GRID|ISSUED", 0) == minted + owed
    assert posted.get("sys|GRID|RETIRED", 0) == retired
    nets: Counter[str] = Counter()
    for name, row in [(r["owner"], r) for r in readings] + [(lot["user"], lot) for lot in lots]:
        nets[f"net|{name}"] += row["generated"] - row["consumed"]
        nets["net"] += row["generated"] - row["consumed"]
    for row in rows("sum"):
        if row["name"].split("|")[0] == "net":
            assert row["amount"] == nets[row["name"]], row


def check_trades(
    events: list[Mapping[str, Any]],
    before: Mapping[str, int],
    after: Mapping[str, int],
    settled: Counter[int],
) -> None:
    """Check I9 and I10: what events say was traded moved in the same entry, both legs or none."""
    changes = {name: after[name] - before.get(name, 0) for name in after}
    for event in events:
        if event["name"] == "PaymentSettled":
            settled[event["transaction_no"]] += 1
            parts = {n: int(event[n]) for n in ("energy", "value", "wheeling", "fees")}
            if event["contract_id"].startswith("market-"):
                parts["fees"] = 0  # they are on a market's MAIN cash
            for ending, part in (("|FEES", "fees"), ("|WHEELING", "wheeling")):
                earned = sum(c for name, c in changes.items() if name.endswith(ending))
                assert earned == parts[part]
            paid = -sum(c for name, c in changes.items() if name.endswith("|USD|MAIN"))
            assert paid == parts["wheeling"] + parts["fees"]
            moved = sum(c for n, c in changes.items() if n.endswith("|GRID|MAIN") and c > 0)
            assert moved == parts["energy"]
        if event["name"] == "TradeExecuted":
            names = ("energy", "value", "wheeling", "buyer_fee", "seller_fee")
            energy, value, wheeling, buyer_fee, seller_fee = (int(event[n]) for n in names)
            assert energy > 0
            buyer, seller = event["buyer"], event["seller"]
            assert buyer != seller
            assert changes[f"{buyer}|USD|MAIN"] == -(value + wheeling + buyer_fee)
            assert changes.get(f"{seller}|USD|MAIN", 0) == value - seller_fee
            assert changes[f"{buyer}|GRID|MAIN"] == energy == -changes[f"{seller}|GRID|MAIN"]


@dataclass
class Market:
    """Orders and epochs as the journal tells them."""

    orders: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """The event that made each order."""
    filled: Counter[int] = field(default_factory=Counter)
    last: dict[str, int] = field(default_factory=dict)
    """The last cleared epoch of each area."""

    def entry(self, entry: Mapping[str, Any], ledger: SqliteLedger) -> None:
        """Look at the orders and clearings of an entry."""
        done: dict[str, int] = defaultdict(int)
        for event in entry["events"]:
            if event["name"] in ("SellOrderCreated", "BuyOrderCreated"):
                self.orders[event["order_no"]] = event
            elif event["name"] == "MarketCleared":
                area, epoch = event["area"], event["epoch"]
                assert entry["time"] >= (epoch + 1) * EPOCH, "cleared before its end"
                assert epoch > self.last.get(area, -1), "cleared twice or out of order"
                self.last[area] = epoch
                self._trades(event, entry["seq"], ledger, done["trades"])
                done["trades"] += event["trades"]

    def _trades(self, event: Mapping[str, Any], seq: int, ledger: SqliteLedger, at: int) -> None:
        """Check the price, the parties and the sums of a clearing on its bare rows."""
        query = "SELECT data FROM ledger_blocks WHERE seq = ? AND name = 'trades'"
        data = ledger._connection.execute(query, (seq,)).fetchone()
        rows = list(struct.iter_unpack("<qqq", data[0])) if data else []
        rows = rows[at : at + event["trades"]]
        assert sum(row[2] for row in rows) == int(event["volume"])
        for buy_no, sell_no, energy in rows:
            buy, sell, price = self.orders[buy_no], self.orders[sell_no], int(event["price"])
            assert int(sell["price"]) <= price <= int(buy["price"])
            assert buy["user"] != sell["user"]
            assert energy > 0
            for number, order in ((buy_no, buy), (sell_no, sell)):
                self.filled[number] += energy
                assert self.filled[number] <= int(order["energy"])


def trades_in(ledger: SqliteLedger) -> Counter[str]:
    """Return how many trades of each kind were settled."""
    counts: Counter[str] = Counter()
    for body in journal(ledger):
        for event in json.loads(body)["events"]:
            counts["settled deliveries"] += event["name"] == "PaymentSettled"
            counts["pool trades"] += event["name"] == "TradeExecuted"
            counts["book trades"] += event["trades"] if event["name"] == "MarketCleared" else 0
    return counts
