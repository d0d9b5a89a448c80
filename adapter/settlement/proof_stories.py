"""What the entries of a proof say together: the trade that follows from them.

The same derivation makes a bundle and checks it. Source: settlement specification, section 5.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from adapter.domain.quantities import minor_digits, to_text
from adapter.settlement import accounts, units
from adapter.settlement.events import Event
from adapter.settlement.events import to_wire as event_to_wire
from adapter.settlement.journal import entry_events


class ProofError(Exception):
    """A bundle that does not prove what it says; one line."""


@dataclass(frozen=True, slots=True)
class Told:
    """An entry in its part of the story."""

    role: str
    document: Mapping[str, Any]
    """The parsed entry."""

    @property
    def seq(self) -> int:
        """Return its number."""
        return int(self.document["seq"])

    def events(self, name: str) -> list[Event]:
        """Return its events of a name."""
        return [event for event in entry_events(self.document) if event.name == name]


@dataclass(frozen=True, slots=True)
class Story:
    """What follows from the entries of a bundle."""

    id: str
    """Contract id or trade id."""
    derived: Mapping[str, Any]
    """JSON values, amounts as decimal strings."""


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One row of the block `trades` of a clearing."""

    trade_id: str
    buy_order: int
    sell_order: int
    energy: int


def tell_agreement(entries: Sequence[Told], row: TradeRow | None) -> Story:
    """Return the agreement that entries created, activated, settled make.

    Raises:
        ProofError: they do not belong together.
    """
    _check(row is None, "an agreement has no row of a block")
    created = _one(entries, "created")
    event = _only(created.events("AgreementCreated"), "AgreementCreated", created)
    number = event.fields["agreement_no"]
    digits = minor_digits(str(created.document["args"]["currency"]))
    _check(list(entries) == _in_order(entries, AGREEMENT_ROLES), "the entries are out of order")
    parts = [
        (told, found)
        for told in entries
        for found in told.events(AGREEMENT_ROLES[told.role])
        if found.fields["agreement_no"] == number
    ]
    _check({told.seq for told, _ in parts} == {told.seq for told in entries}, "another agreement")
    derived: dict[str, Any] = {"ledger": created.document["ledger"]}
    for told, found in parts:
        shown = {**event_to_wire(found, digits), "seq": told.seq, "time": told.document["time"]}
        del shown["name"]
        if told.role == "settled":
            derived.setdefault("settled", []).append(shown)
        else:
            derived[told.role] = shown
    return Story(str(event.fields["contract_id"]), derived)


def first_row(clearing: Told, trade: str) -> int:
    """Return where the rows of a trade's clearing begin in the block of its entry.

    Raises:
        ProofError: the entry clears no such epoch and area.
    """
    before = 0
    for event in clearing.events("MarketCleared"):
        if _index(event, trade) is not None:
            return before
        before += int(event.fields["trades"])
    msg = f"entry {clearing.seq} does not clear the epoch of {trade[:200]}"
    raise ProofError(msg)


def tell_trade(entries: Sequence[Told], row: TradeRow | None) -> Story:
    """Return the spot trade that a clearing and the two orders make.

    Raises:
        ProofError: they do not belong together.
    """
    if row is None:
        msg = "a trade needs its row of the block"
        raise ProofError(msg)
    _check(len(entries) == len(TRADE_ROLES), "a trade is clearing, sell_order and buy_order")
    _check([told.role for told in entries] == list(TRADE_ROLES), "the entries are out of order")
    clearing, sell_order, buy_order = entries
    sell = _order(sell_order, "SellOrderCreated", row.sell_order)
    buy = _order(buy_order, "BuyOrderCreated", row.buy_order)
    cleared = _cleared(clearing, row)
    _check(sell["area"] == buy["area"] == cleared["area"], "orders of another market area")
    price = int(cleared["price"])
    _check(int(sell["price"]) <= price <= int(buy["price"]), "the price suits not both orders")
    _check(row.energy <= min(int(sell["energy"]), int(buy["energy"])), "more than was ordered")
    derived = {
        "ledger": clearing.document["ledger"],
        "epoch": cleared["epoch"],
        "area": cleared["area"],
        "sell_order": row.sell_order,
        "buy_order": row.buy_order,
        "seller": sell["user"],
        "buyer": buy["user"],
        "energy": to_text(row.energy),
        "price": to_text(price, 2),
        "value": to_text(units.value(row.energy, price), 2),
        "buyer_pays": to_text(units.value(row.energy, price) + _extra(buy_order, buy, row), 2),
        "seq": clearing.seq,
        "time": clearing.document["time"],
    }
    return Story(row.trade_id, derived)


AGREEMENT_ROLES: Mapping[str, str] = MappingProxyType(
    {
        "created": "AgreementCreated",
        "activated": "AgreementActivated",
        "settled": "PaymentSettled",
    }
)
"""The event that gives an entry its part, in order; `settled` may come in parts."""
TRADE_ROLES = ("clearing", "sell_order", "buy_order")

STORIES: Mapping[str, Callable[[Sequence[Told], TradeRow | None], Story]] = MappingProxyType(
    {"agreement": tell_agreement, "trade": tell_trade}
)
"""How a kind of bundle is read."""


def _cleared(clearing: Told, row: TradeRow) -> Mapping[str, Any]:
    """Return the event of the clearing that a trade belongs to."""
    found = [e for e in clearing.events("MarketCleared") if _index(e, row.trade_id) is not None]
    fields = _only(found, "MarketCleared", clearing).fields
    return fields


def _extra(told: Told, buy: Mapping[str, Any], row: TradeRow) -> int:
    """Return wheeling and fee of the buyer for a trade: its share of what the order held for them.

    An order holds its value and the same rates per kWh, exactly; so the rates need not be known.
    """
    made = [posting for posting in told.document["postings"] if posting["k"] == "hold"]
    holds = [int(one["amount"]) for one in made if _is_main(one["account"], buy["user"])]
    _check(len(holds) == 1, "the buy_order does not hold its cash once")
    rest = holds[0] - units.value(int(buy["energy"]), int(buy["price"]))
    extra, inexact = divmod(rest * row.energy, int(buy["energy"]))
    _check(rest >= 0 and not inexact, "the buy_order holds less or other than its rates")
    return extra


def _is_main(account: str, user: str) -> bool:
    return account.startswith(f"{user}|") and account.endswith(f"|{accounts.MAIN}")


def _index(clearing: Event, trade: str) -> int | None:
    """Return the number of a trade in its clearing, None when it belongs to another one."""
    fields = clearing.fields
    prefix = f"{fields['epoch']}-{fields['area']}-"
    index = trade.removeprefix(prefix)
    plain = trade.startswith(prefix) and index.isascii() and index.isdecimal()
    if not plain or str(int(index)) != index or int(index) >= int(fields["trades"]):
        return None
    return int(index)


def _order(told: Told, name: str, order_no: int) -> Mapping[str, Any]:
    event = _only(told.events(name), name, told)
    _check(event.fields["order_no"] == order_no, f"the {told.role} is not that of the row")
    return event.fields


def _in_order(entries: Iterable[Told], roles: Iterable[str]) -> list[Told]:
    """Return the entries as a story tells them: by part, then by number, none but settled twice."""
    ranks = {role: rank for rank, role in enumerate(roles)}
    found = sorted(entries, key=lambda told: (ranks.get(told.role, -1), told.seq))
    seqs = [told.seq for told in found]
    once = [told.role for told in found if told.role != "settled"]
    _check(all(told.role in ranks for told in found), "an entry with an unknown part")
    _check(len(set(once)) == len(once), "a part that is told twice")
    _check(seqs == sorted(set(seqs)), "the entries are out of order")
    return found


def _one(entries: Iterable[Told], role: str) -> Told:
    found = [told for told in entries if told.role == role]
    _check(len(found) == 1, f"exactly one entry is {role}")
    return found[0]


def _only(events: Sequence[Event], name: str, told: Told) -> Event:
    _check(len(events) == 1, f"entry {told.seq} is not one {name}")
    return events[0]


def _check(holds: bool, why: str) -> None:
    if not holds:
        raise ProofError(why)
