"""What participants do: each action returns the next command that somebody sends."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, TypeVar

from nacl.signing import SigningKey

from adapter.domain.quantities import to_text
from adapter.settlement import FUNCTIONS, LedgerStore, reading_bytes
from adapter.settlement.agreement_rows import Agreement, Transaction
from adapter.settlement.agreement_terms import TradeSide
from adapter.settlement.oracle_rows import Request
from adapter.settlement.order_rows import Order
from adapter.settlement.pool_rows import PoolOffer
from adapter.settlement.rows import Binding, Counter, Reading, User, padded
from adapter.settlement.state import Row
from tests.sim.genesis import BEGIN, CAPACITY_KW, MARKET, PROSUMERS, USERS
from tests.unit.settlement.world import EPOCH

R = TypeVar("R", bound=Row)

AMOUNTS = (1, 333_333, 1_000_001, 2_500_000, 7_000_000)
PRICES = (2_000, 150_000, 333_000, 6_000_000)
RECENT = 8
"""How far back participants remember."""
METERED = (0, 1, 333_334, 2_000_000, 7_000_000, 10_000_001)
"""The last is beyond the capacity of 40 kW."""


class Call(NamedTuple):
    """A command as its sender wrote it."""

    id: str
    function: str
    actor: str
    behalf: str | None
    args: Mapping[str, Any]


@dataclass
class Participants:
    """The senders of one run."""

    random: Random
    keys: Mapping[str, SigningKey]
    ledger: Callable[[], LedgerStore]
    is_per_slot: bool = False
    """Whether caps count per delivery slot."""
    count: int = 0
    read_to: dict[str, int] = field(default_factory=dict)
    """Start of the next interval to read, by meter."""
    plans: "list[Action]" = field(default_factory=list)
    """What follows from what was done, so that runs get to the end of trades."""

    def next_call(self, now: int) -> Call:
        """Return what happens next."""
        if self.plans and self.random.random() < 0.8:
            return self.plans.pop(0)(self, now)
        action = self.random.choices(_NAMES, _WEIGHTS)[0]
        return ACTIONS[action][1](self, now)

    def call(self, function: str, actor: str, **args: Any) -> Call:
        """Return a command with the next id; `ann` is represented by her app."""
        self.count += 1
        wire = {name.rstrip("_"): value for name, value in args.items()}
        acting, behalf = ("app", "ann") if actor == "ann" else (actor, None)
        return Call(f"s-{self.count}", function, acting, behalf, wire)

    def user(self) -> str:
        """Return a user, now and then one that does not exist."""
        return "zoe" if self.random.random() < 0.02 else self.random.choice(USERS)

    def amount(self) -> str:
        """Return an amount as text."""
        return to_text(self.random.choice(AMOUNTS))

    def price(self) -> str:
        """Return a price as text."""
        return to_text(self.random.choice(PRICES))

    def someone(self, *users: str) -> str:
        """Return one of the users, now and then a stranger."""
        return self.user() if self.random.random() < 0.05 else self.random.choice(users)

    def is_sensible(self) -> bool:
        """Return whether something that cannot succeed is left undone this time."""
        return self.random.random() < 0.85

    def recent(self, kind: type[R], series: str, *states: str) -> R | None:
        """Return a recent object in one of the states, now and then one in any, if there is one."""
        known = self.ledger().get(Counter, series)
        last = known.last if known else 0
        numbers = range(last, max(last - RECENT, 0), -1)
        rows = [row for n in numbers if (row := self.ledger().get(kind, padded(n))) is not None]
        if self.random.random() < 0.9:
            rows = [row for row in rows if getattr(row, "state", None) in states]
        return self.random.choice(rows) if rows else None


def _deposit(who: Participants, _now: int) -> Call:
    user, reference = who.user(), f"bank-{who.random.randrange(60)}"
    args = {"amount": who.amount(), "external_reference": reference}
    if who.random.random() < 0.5:
        return who.call("token.deposit", "treasurer", to=user, **args)
    return who.call("pool.add_funds", who.someone("treasurer"), prosumer=user, **args)


def _withdraw(who: Participants, _now: int) -> Call:
    args = {"amount": "2.50", "external_reference": f"out-{who.random.randrange(30)}"}
    return who.call("token.withdraw", "treasurer", from_=who.user(), **args)


def _transfer(who: Participants, _now: int) -> Call:
    return who.call("token.transfer", who.user(), to=who.user(), value=who.amount())


def _approve(who: Participants, _now: int) -> Call:
    spender = who.random.choice(("network", "app", *USERS))
    value = who.random.choice(("0", "1", "50"))
    return who.call("token.approve", who.user(), spender=spender, value=value, asset="USD")


def signed(key: SigningKey, meter: str, start: int, generated: int, consumed: int) -> Any:
    """Return a reading as a meter sends it."""
    data = {
        "meter_id": meter,
        "start": start,
        "end": start + EPOCH,
        "generated": to_text(generated),
        "consumed": to_text(consumed),
    }
    signature = base64.b64encode(key.sign(reading_bytes(data)).signature)
    return {**data, "signature": signature.decode()}


def _reading(who: Participants, now: int) -> Call:
    """Read what agreements wait for, or the next interval; now and then an old or running one."""
    meter = f"m-{who.random.choice(USERS)}"
    start = who.read_to.get(meter, BEGIN)
    chance = who.random.random()
    if chance < 0.05:
        start = BEGIN + EPOCH * who.random.randrange(max(1, (now - BEGIN) // EPOCH + 1))
    elif chance < 0.85 and (waited_for := _waited_for(who, now)):
        meter, start = who.random.choice(waited_for)
    elif start + EPOCH > now and who.is_sensible():
        return _order(who, now)
    else:
        start = max(start, now // EPOCH * EPOCH - 3 * EPOCH)
        who.read_to[meter] = start + EPOCH * (start + EPOCH <= now)
    metered = METERED if who.random.random() < 0.1 else METERED[:-1]
    numbers = who.random.choice(metered), who.random.choice(metered)
    data = signed(who.keys[meter], meter, start, *numbers)
    return who.call("oracle.submit_reading", who.someone("headend"), meter_data=data)


def _waited_for(who: Participants, now: int) -> list[tuple[str, int]]:
    """Return the ended intervals that agreements wait for, by meter."""
    found = []
    for side in TradeSide:
        for meter in who.keys:
            for agreement in who.ledger().find(Agreement, f"open_{side}", meter):
                start = agreement.progress(side).done_to_ms
                if start + EPOCH <= now:
                    found.append((meter, start))
    return sorted(set(found))


def _propose(who: Participants, now: int) -> Call:
    if who.random.random() < 0.3:
        return _share(who, now)
    provider = who.random.choice(PROSUMERS)
    consumer = who.someone(*(user for user in USERS if user != provider))
    start = (now // EPOCH + 1 + who.random.choice((0, 0, 1, 2))) * EPOCH
    length = who.random.choice((1, 1, 1, 2))
    who.plans += [_accept] if who.random.random() < 0.8 else []
    who.plans += [_reading] * (2 * length) if who.random.random() < 0.6 else []
    return who.call(
        "agreements.create_agreement",
        who.someone(provider, consumer),
        contract_id=f"k-{who.count - (who.random.random() < 0.2)}",
        provider=provider,
        consumer=consumer,
        source_meter=f"m-{provider}",
        target_meter=f"m-{consumer}",
        energy_amount_kwh=who.amount(),
        price_per_kwh=who.price(),
        currency="USD",
        window={"start": start, "end": start + length * EPOCH},
        basis=who.random.choice(("CONTRACTED", "DELIVERED", "MIN_OF_TWO")),
    )


def _share(who: Participants, now: int) -> Call:
    """Take part in the market of the next window; others are about to as well."""
    start = (now // EPOCH + 1) * EPOCH
    user = who.user()
    exports = user in PROSUMERS and who.random.random() < 0.5
    who.plans += [_accept] if who.random.random() < 0.9 else []
    who.plans += [_share, _accept] if who.random.random() < 0.5 else []
    who.plans += [_reading] * 2
    sides = {"provider": MARKET, "consumer": user, "target_meter": f"m-{user}"}
    if exports:
        sides = {"provider": user, "consumer": MARKET, "source_meter": f"m-{user}"}
    return who.call(
        "agreements.create_agreement",
        who.someone(MARKET, user) if who.random.random() < 0.2 else MARKET,
        contract_id=f"market-{start // EPOCH}#m-{user}",
        **sides,
        energy_amount_kwh=who.amount(),
        price_per_kwh=who.price(),
        currency="USD",
        window={"start": start, "end": start + EPOCH},
        market_making_fee=who.random.choice(("0", "0.01")),
        fee_treatment=who.random.choice(("SYMMETRIC", "BUYER_ONLY")),
        valid_until=start,
    )


def _accept(who: Participants, now: int) -> Call:
    agreement = who.recent(Agreement, "agreement", "PROPOSED")
    if agreement is None and who.is_sensible():
        return _propose(who, now)
    number = agreement.agreement_no if agreement else 1
    parties = (agreement.terms.consumer, agreement.terms.provider) if agreement else USERS
    others = [party for party in parties if agreement is None or party != agreement.proposer]
    if agreement is not None and agreement.terms.market:
        others = [agreement.terms.market]
    caller = who.someone(*others)
    return who.call("agreements.accept_agreement", caller, agreement_no=number)


def _cancel_agreement(who: Participants, now: int) -> Call:
    agreement = who.recent(Agreement, "agreement", "PROPOSED", "ACTIVE")
    if agreement is None and who.is_sensible():
        return _propose(who, now)
    number = agreement.agreement_no if agreement else 1
    parties = (agreement.terms.provider, agreement.terms.consumer) if agreement else USERS
    return who.call("agreements.cancel_agreement", who.someone(*parties), agreement_no=number)


def _claim(who: Participants, now: int) -> Call:
    agreement = who.recent(Agreement, "agreement", "ACTIVE")
    if agreement is None and who.is_sensible():
        return _reading(who, now)
    number = agreement.agreement_no if agreement else 1
    provider = agreement.terms.provider if agreement else "ben"
    args = {"agreement_no": number, "energy_delivered_kwh": who.amount()}
    return who.call("agreements.deliver_energy", who.someone(provider), **args)


def _accept_delivery(who: Participants, now: int) -> Call:
    part = who.recent(Transaction, "transaction", "DELIVERED")
    if part is None and who.is_sensible():
        return _reading(who, now)
    party = who.someone(*((part.provider, part.consumer) if part else USERS))
    number = part.transaction_no if part else 1
    return who.call("agreements.accept_delivery", party, transaction_no=number)


def _dispute(who: Participants, now: int) -> Call:
    part = who.recent(Transaction, "transaction", "DELIVERED")
    if part is None and who.is_sensible():
        return _order(who, now)
    party = who.someone(*((part.provider, part.consumer) if part else USERS))
    args = {"transaction_no": part.transaction_no if part else 1, "claimed_quantity": who.amount()}
    return who.call("agreements.dispute_transaction", party, reason="x", **args)


def _resolve(who: Participants, now: int) -> Call:
    part = who.recent(Transaction, "transaction", "DISPUTED")
    if part is None and who.is_sensible():
        return _reading(who, now)
    args: dict[str, Any] = {"transaction_no": part.transaction_no if part else 1}
    args["outcome"] = who.random.choice(("UPHOLD", "AMEND", "VOID"))
    if args["outcome"] == "AMEND":
        args["quantity"] = who.amount()
    return who.call("agreements.resolve_dispute", who.someone("regulator"), **args)


def _cap(who: Participants, now: int) -> Call:
    args: dict[str, Any] = {"meter_id": f"m-{who.user()}", "cap": who.random.choice((0, 20, 100))}
    if who.is_per_slot:
        args["slot"] = (now // EPOCH + 1) * EPOCH
    side = who.random.choice(("BUY", "SELL"))
    return who.call("registry.set_trade_cap", who.someone("grid"), side=side, **args)


def _status(who: Participants, _now: int) -> Call:
    user = who.user()
    known = who.ledger().get(User, user)
    suspends = known is None or known.state == "ACTIVE"
    args = {"user": user, "new_status": "SUSPENDED" if suspends else "ACTIVE"}
    return who.call("registry.update_user_status", who.someone("regulator"), **args)


def _rate(who: Participants, _now: int) -> Call:
    args = {"name": who.random.choice(("wheeling_rate", "buyer_fee", "seller_fee"))}
    value = who.random.choice(("0", "0.001", "0.5"))
    return who.call("registry.set_parameter", who.someone("admin"), value=value, **args)


def _vouch(who: Participants, _now: int) -> Call:
    name = who.random.choice(("pool.add_energy", "pool.add_energy", "pool.consume_energy"))
    args = {"prosumer": who.user(), "amount": who.amount(), "evidence": "a protocol"}
    return who.call(name, who.someone("pool-op"), **args)


def _mint(who: Participants, now: int) -> Call:
    name = who.random.choice(("pool.add_energy", "pool.consume_energy"))
    user = who.random.choice(USERS)
    start = BEGIN + EPOCH * who.random.randrange(max(1, (now - BEGIN) // EPOCH))
    args = {"prosumer": user, "amount": who.amount(), "meter_id": f"m-{user}", "interval": start}
    return who.call(name, who.someone(user), **args)


def _offer(who: Participants, now: int) -> Call:
    args: dict[str, Any] = {"amount": who.amount(), "price": who.price()}
    who.plans += [_buy] if who.random.random() < 0.6 else []
    if who.random.random() < 0.4:
        args["expires_at"] = now + who.random.choice((1, 60_000, EPOCH, 4 * EPOCH))
    return who.call("pool.trade_energy", who.someone(*PROSUMERS), **args)


def _buy(who: Participants, now: int) -> Call:
    offer = who.recent(PoolOffer, "offer", "OPEN")
    if offer is None and who.is_sensible():
        return _order(who, now)
    others = [user for user in USERS if offer is None or user != offer.seller]
    number = offer.offer_no if offer else 1
    return who.call("pool.buy_energy", who.someone(*others), offer_no=number)


def _cancel_trade(who: Participants, now: int) -> Call:
    offer = who.recent(PoolOffer, "offer", "OPEN")
    if offer is None and who.is_sensible():
        return _offer(who, now)
    seller, number = (offer.seller, offer.offer_no) if offer else ("ann", 1)
    return who.call("pool.cancel_trade", who.someone(seller), offer_no=number)


def _order(who: Participants, now: int) -> Call:
    sells = who.random.random() < 0.5
    user = who.someone(*(PROSUMERS if sells else USERS))
    price = who.random.choice(("0.15", "0.30") if sells else ("0.30", "0.33", "6"))
    who.plans += [_order] if who.random.random() < 0.4 else []
    args: dict[str, Any] = {"energy_amount": who.random.choice(("0.001", "0.333", "1", "2.5"))}
    if who.random.random() < 0.3:
        ends = now + who.random.choice((1, EPOCH, 3 * EPOCH))
        args |= {"time_in_force": "GTT", "expires_at": ends}
    if sells:
        return who.call("trading.create_sell_order", user, price_per_unit=price, **args)
    return who.call("trading.create_buy_order", user, max_price=price, **args)


def _cancel_order(who: Participants, now: int) -> Call:
    order = who.recent(Order, "order", "ACTIVE", "PARTIALLY_FILLED")
    if order is None and who.is_sensible():
        return _order(who, now)
    user, number = (order.user, order.order_no) if order else ("ann", 1)
    return who.call("trading.cancel_order", who.someone(user, user, "regulator"), order_no=number)


def _request(who: Participants, _now: int) -> Call:
    user = who.random.choice(USERS)
    who.plans += [_fulfil] if who.random.random() < 0.8 else []
    return who.call("oracle.request_energy_data", who.someone(user), meter_id=f"m-{user}")


def _fund(who: Participants, _now: int) -> Call:
    return who.call("oracle.fund_oracle", who.user(), amount=who.random.choice(("0.25", "0.60")))


def _fulfil(who: Participants, now: int) -> Call:
    request = who.recent(Request, "request", "PENDING")
    if request is None and who.is_sensible():
        return _reading(who, now)
    number = request.request_no if request else 1
    if who.random.random() < 0.2:
        return who.call("oracle.fail_request", who.someone("headend"), request_no=number)
    meter, start = (request.meter_id, request.start_ms) if request else ("m-ann", BEGIN)
    numbers = who.random.choice(METERED[:-1]), who.random.choice(METERED[:-1])
    data = signed(who.keys[meter], meter, start, *numbers)
    args = {"request_no": number, "meter_data": data}
    return who.call("oracle.fulfill_energy_data", who.someone("headend"), **args)


def _correct(who: Participants, now: int) -> Call:
    meter = f"m-{who.random.choice(USERS)}"
    known = list(who.ledger().find(Reading, "meter", meter))[-RECENT:]
    if not known:
        return _reading(who, now)
    start = who.random.choice(known).start_ms
    who.plans += [_confirm] if who.random.random() < 0.9 else []
    numbers = who.random.choice(METERED), who.random.choice(METERED[:-1])
    data = signed(who.keys[meter], meter, start, *numbers)
    args = {"meter_id": meter, "interval": start, "meter_data": data}
    return who.call("oracle.correct_reading", who.someone("headend"), **args)


def _confirm(who: Participants, _now: int) -> Call:
    known = who.ledger().get(Counter, "correction")
    number = max(1, (known.last if known else 1) - (who.random.random() < 0.2))
    caller = who.someone("regulator")
    return who.call("oracle.confirm_correction", caller, correction_no=number)


def _type(who: Participants, _now: int) -> Call:
    user = who.random.choice(USERS)
    known = who.ledger().get(User, user)
    new = "CONSUMER" if known is None or known.user_type == "PROSUMER" else "PROSUMER"
    args = {"user": user, "new_type": new}
    return who.call("registry.update_user_type", who.someone("regulator"), **args)


def _move_meter(who: Participants, _now: int) -> Call:
    """Take a meter from its owner, or give it to somebody."""
    meter = f"m-{who.random.choice(USERS)}"
    bindings = list(who.ledger().find(Binding, "meter", meter))
    if not bindings[-1].until_ms:
        return who.call("registry.unassign_meter", who.someone("regulator"), meter_id=meter)
    key = base64.b64encode(bytes(who.keys[meter].verify_key)).decode()
    args = {"meter_id": meter, "owner": who.user(), "capacity_kw": CAPACITY_KW, "public_key": key}
    return who.call("registry.assign_meter", who.someone("regulator"), **args)


def _upkeep(who: Participants, _now: int) -> Call:
    return who.call("oracle.perform_upkeep", who.someone("headend"))


def _clear(who: Participants, now: int) -> Call:
    epoch = now // EPOCH - who.random.randrange(3)
    return who.call("trading.match_orders", who.someone("headend"), epoch=epoch)


Action = Callable[[Participants, int], Call]
_TABLE: Mapping[str, tuple[int, Action]] = {
    "token.deposit": (2, _deposit),
    "token.withdraw": (2, _withdraw),
    "token.transfer": (3, _transfer),
    "token.approve": (2, _approve),
    "oracle.submit_reading": (24, _reading),
    "agreements.create_agreement": (11, _propose),
    "agreements.accept_agreement": (14, _accept),
    "agreements.cancel_agreement": (2, _cancel_agreement),
    "agreements.deliver_energy": (2, _claim),
    "agreements.accept_delivery": (2, _accept_delivery),
    "agreements.dispute_transaction": (2, _dispute),
    "agreements.resolve_dispute": (2, _resolve),
    "registry.set_trade_cap": (2, _cap),
    "registry.update_user_status": (2, _status),
    "registry.set_parameter": (1, _rate),
    "pool.add_energy": (3, _vouch),
    "pool.consume_energy": (2, _mint),
    "pool.trade_energy": (6, _offer),
    "pool.buy_energy": (7, _buy),
    "pool.cancel_trade": (2, _cancel_trade),
    "trading.create_sell_order": (18, _order),
    "trading.cancel_order": (2, _cancel_order),
    "trading.match_orders": (1, _clear),
    "oracle.request_energy_data": (2, _request),
    "oracle.fund_oracle": (1, _fund),
    "oracle.correct_reading": (3, _correct),
    "oracle.perform_upkeep": (1, _upkeep),
    "registry.update_user_type": (1, _type),
    "registry.unassign_meter": (1, _move_meter),
}
"""How often something is done, and how, by the function that it calls."""
ACTIONS = {name: action for name, action in _TABLE.items() if tuple(name.split(".")) in FUNCTIONS}
_NAMES = tuple(ACTIONS)
_WEIGHTS = [ACTIONS[name][0] for name in _NAMES]
