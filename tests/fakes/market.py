"""A market node in one event loop, with prosumers' apps and a grid operator played by hand.

Real pipeline, signatures and store; only time, ids and the wire are ours. The operator may be a
script (`Operator`) or nobody at all.
"""

import base64
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from adapter.bootstrap import Node, Ports, build_node
from adapter.domain.instants import format_instant, parse_instant
from adapter.domain.market import FeeTreatment
from adapter.domain.offers import MarketPlace, Offer
from adapter.domain.parties import Side
from adapter.domain.quantities import to_micro
from adapter.domain.trade import Trade
from adapter.protocol import strict_json
from adapter.protocol.signature import Signer
from adapter.service.ports import Answer, SendError
from adapter.settings import load_settings
from adapter.settlement import parse_command
from tests.fakes.network import Wire
from tests.fakes.orders import CORE, P2P, Order, contract, inputs
from tests.fakes.stranger import ACK, Message, Reply
from tests.fakes.time import CountingIds, FixedClock

MARKET, GRID = "market.example", "grid.operator.example"
LOAD, ROOF, THIRD = "bap.load.example", "bap.roof.example", "bap.third.example"
NAMES = (MARKET, GRID, LOAD, ROOF, THIRD)
HOSTS = {name: f"127.0.0.1:{port}" for port, name in enumerate(NAMES, 9301)}
OFFER, CONTRACT_ID, PROVIDER = "market-9", "contract-market-9", f"provider-{MARKET}"
GATE, START, END = "2026-03-02T08:45:00Z", "2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z"
AGENT = "roles.MARKET_CLEARING_AGENT.roleInputs"
TRADE_FLOW = (
    f"({AGENT}.clearingPrice + {AGENT}.marketMakingFee) × {AGENT}.clearedPower[PROSUMER.era]"
)
WHEELING_FLOW = (
    f"abs({AGENT}.clearedPower[PROSUMER.era]) × roles.GRID_OPERATOR.roleInputs.wheelingCharges"
)
LOAD_METER, ROOF_METER = "meter-cold-store-1", "meter-roof-7"
LOAD_CURVE = (("0.06", "-50"), ("0.07", "0"))
ROOF_CURVE = (("0.05", "0"), ("0.06", "2"), ("0.07", "5"))
"""C1 of the contract specification, section 10.2."""
ROOM: dict[str, Any] = {
    "wheelingCharges": Decimal("0.002"),
    "current_buyer_trades_total": 0,
    "current_seller_trade_total": 0,
    "buyer_trade_cap": 60,
    "seller_trade_cap": 60,
}


def signer_of(name: str) -> Signer:
    """Return the key of a participant."""
    return Signer(name, "k1", bytes([NAMES.index(name) + 1] * 32))


def market_offer(**changes: Any) -> Offer:
    """Return the offer of a market from 09:00 to 10:00, fee 0.01 EUR, gate 08:45."""
    place: dict[str, Any] = {
        "gate_ms": parse_instant(GATE),
        "fee_micro_per_kwh": to_micro("0.01"),
        "fee_treatment": FeeTreatment.SYMMETRIC,
    }
    place |= {name: changes.pop(name) for name in list(changes) if name in PLACE_FIELDS}
    base: dict[str, Any] = {
        "offer_id": OFFER,
        "source_meter_id": "",
        "source_type": "",
        "currency": "EUR",
        "price_micro_per_kwh": 0,
        "available_micro_kwh": 0,
        "published_micro_kwh": 0,
        "production_start_ms": parse_instant(START),
        "production_end_ms": parse_instant(END),
        "created_ms": parse_instant("2026-03-02T07:30:00Z"),
        "valid_until_ms": parse_instant(GATE),
        "market": MarketPlace(**place),
    }
    return Offer(**(base | changes))


PLACE_FIELDS = ("gate_ms", "fee_micro_per_kwh", "fee_treatment", "most_participants")


def curve(*points: tuple[str, str]) -> dict[str, Any]:
    """Return an offer curve on the wire."""
    return {
        "currency": "EUR",
        "minExport": Decimal(points[0][1]),
        "maxExport": Decimal(points[-1][1]),
        "curve": [{"price": Decimal(p), "powerKW": Decimal(kw)} for p, kw in points],
    }


def market_contract(*, wheeling: bool = True) -> dict[str, Any]:
    """Return the contract of the offer as the specification has it, PROSUMER open."""
    flows = [{"from": "PROSUMER", "to": "MARKET_CLEARING_AGENT", "formula": TRADE_FLOW}]
    if wheeling:
        flows.append(
            {"from": "MARKET_CLEARING_AGENT", "to": "GRID_OPERATOR", "formula": WHEELING_FLOW}
        )
    agent = {"marketMakingFee": Decimal("0.01")}
    return {
        "@context": P2P,
        "@type": "EnergyContractP2PTrade",
        "contractId": CONTRACT_ID,
        "status": "PENDING",
        "createdAt": "2026-03-02T07:30:00Z",
        "roles": [
            {
                "role": "MARKET_CLEARING_AGENT",
                "filledBy": MARKET,
                "filled": True,
                "roleInputs": agent,
            },
            {"role": "PROSUMER", "filledBy": None, "filled": False, "roleInputs": {}},
        ],
        "inputParameters": {
            "pricingModel": "PAY_AS_CLEAR",
            "deliveryWindow": {"startTime": START, "endTime": END},
            "gateClosureTime": GATE,
        },
        "inputSignals": [],
        "telemetrySources": [],
        "revenueFlows": {"flows": flows, "netZero": True},
        "qualityMetrics": {"metrics": []},
    }


def market_init(
    platform: str,
    meter: str,
    points: tuple[tuple[str, str], ...],
    *,
    order_id: str = "order-1",
    wheeling: bool = True,
) -> Order:
    """Return the order of an init that brings one prosumer."""
    terms = market_contract(wheeling=wheeling)
    source = "CONSUMER" if points[0][1].startswith("-") else "SOLAR"
    given = {"sourceMeterId": meter, "sourceType": source, "offerCurve": curve(*points)}
    terms["roles"][1] = {
        "role": "PROSUMER",
        "filledBy": platform,
        "filled": True,
        "roleInputs": given,
    }
    return {
        "@context": CORE,
        "@type": "beckn:Order",
        "beckn:id": order_id,
        "beckn:offers": [{"beckn:id": OFFER}],
        "beckn:provider": {"beckn:id": PROVIDER},
        "beckn:fulfillments": [
            {
                "@type": "beckn:Fulfillment",
                "beckn:id": f"{order_id}-delivery",
                "beckn:type": "ENERGY_DELIVERY",
                "beckn:stops": [stop("END" if source == "CONSUMER" else "START", meter)],
            }
        ],
        "beckn:payments": [
            {
                "@type": "beckn:Payment",
                "beckn:id": f"{order_id}-payment",
                "beckn:type": "ON-FULFILLMENT",
                "beckn:status": "NOT-PAID",
                "beckn:collected_by": "BPP",
            }
        ],
        "beckn:billing": {"@type": "beckn:Billing", "beckn:name": platform},
        "beckn:orderAttributes": terms,
    }


def stop(kind: str, meter: str) -> dict[str, Any]:
    """Return a stop at a meter in the delivery window."""
    return {
        "@type": "beckn:Stop",
        "beckn:id": f"stop-{kind.lower()}",
        "beckn:type": kind,
        "beckn:location": {"@type": "beckn:Location", "beckn:address": meter},
        "beckn:time": {"@type": "beckn:Time", "beckn:range": {"start": START, "end": END}},
    }


GENESIS: dict[str, Any] = {
    "admin": "admin",
    "regulators": ["rec"],
    "roles": {"TREASURER": ["treasury"], "GRID_OPERATOR": [MARKET]},
    "settings": {"currency": "EUR", "price_tick": "0.001", "wheeling_rate": "0.002"},
}


@dataclass
class Market:
    """The market's node, its clock and the wire to everybody."""

    node: Node
    clock: FixedClock
    wire: Wire
    file: Path

    async def deliver(self) -> None:
        """Let messages travel until none is left."""
        for _ in range(50):
            before = len(self.wire.log)
            await self.node.outbound.drain_due()
            if len(self.wire.log) == before:
                return
        raise AssertionError("messages never stop")

    async def tick(self) -> None:
        """Let timers run and deliver what they cause."""
        for _ in range(3):
            await self.node.timers.tick()
            await self.deliver()

    async def run(self, seconds: int) -> None:
        """Let time pass, a second at a time."""
        for _ in range(seconds):
            self.clock.advance(1)
            await self.node.timers.tick()
            await self.deliver()

    async def close_gate(self) -> None:
        """Move just past the gate and let the market clear."""
        self.clock.move_to(GATE)
        self.clock.advance_ms(1)
        await self.tick()

    async def call(self, actor: str, called: str, **args: object) -> None:
        """Call the contract layer, `contract.function`, where the node hosts it."""
        assert self.node.contracts is not None
        contract_name, _, function = called.partition(".")
        behalf = args.pop("on_behalf_of", None)
        number = self.node.parts.ids.new()
        command = parse_command(f"test-{number}", contract_name, function, args)
        on_behalf_of = None if behalf is None else str(behalf)
        await self.node.contracts.call(command, actor=actor, on_behalf_of=on_behalf_of)

    async def enroll(self, user: str, subscriber: str, meter: str | None, cash: str) -> None:
        """Let the ledger know somebody who trades: a meter of 15 kW, caps of 60, consent to all.

        Who has no meter is a market.
        """
        await self.call(
            "rec", "registry.register_user", user=user, user_type="PROSUMER", location="Lane 4"
        )
        await self.call("rec", "registry.set_representative", user=user, subscriber=subscriber)
        if meter is None:
            await self.call("admin", "trading.add_market_maker", market_maker=user)
        else:
            key = base64.b64encode(Signer(meter, "m", bytes([90] * 32)).public_key).decode()
            named = {"meter_id": meter, "capacity_kw": "15", "public_key": key}
            await self.call("rec", "registry.assign_meter", owner=user, **named)
            for side in ("BUY", "SELL"):
                await self.call(
                    MARKET, "registry.set_trade_cap", meter_id=meter, side=side, cap="60"
                )
            for asset in ("EUR", "GRID"):
                consent = {"spender": "network", "value": "60", "asset": asset}
                await self.call(subscriber, "token.approve", on_behalf_of=user, **consent)
        if cash != "0":
            paid = {"to": user, "amount": cash, "external_reference": f"paid-{user}"}
            await self.call("treasury", "token.deposit", **paid)

    async def restart(self) -> None:
        """Stop the node and open it again on the same database."""
        await self.node.stop()
        ids = self.node.parts.ids
        ports = Ports(clock=self.clock, ids=ids, sender=self.wire)
        self.node = build_node(load_settings(self.file), ports)
        self.wire.nodes[HOSTS[MARKET]] = self.node

    async def trades(self, side: Side) -> list[Trade]:
        """Return the trades of a side, the newest first."""
        return await self.node.parts.store.read(lambda uow: list(uow.trades(side, None, 200)))

    async def states(self) -> dict[str, str]:
        """Return the state of each prosumer's trade by transaction."""
        return {one.transaction_id: one.state.value for one in await self.trades(Side.MARKET)}

    async def session(self) -> Trade:
        """Return the only session."""
        (found,) = await self.trades(Side.MARKET_SESSION)
        return found

    async def close(self) -> None:
        await self.node.stop()


@dataclass
class Party:
    """A participant played by hand: signs what a test makes up, keeps what it gets."""

    market: Market
    name: str
    got: list[Message] = field(default_factory=list)
    silent: bool = False
    """Messages do not arrive."""
    ids: int = 0

    def __post_init__(self) -> None:
        self.market.wire.actors[HOSTS[self.name]] = self

    def take(self, action: str, headers: Mapping[str, str], body: bytes) -> Answer:
        del headers, action
        if self.silent:
            why = f"{self.name} is away"
            raise SendError(why)
        self.got.append(strict_json.decode_object(body))
        return Answer(200, {}, strict_json.encode(ACK))

    def actions(self) -> list[str]:
        return [message["context"]["action"] for message in self.got]

    def last(self, action: str, transaction_id: str | None = None) -> Message:
        """Return the newest message of an action."""
        return next(
            one
            for one in reversed(self.got)
            if one["context"]["action"] == action
            and transaction_id in (None, one["context"]["transaction_id"])
        )

    def new_id(self) -> str:
        self.ids += 1
        return f"{self.name}-{self.ids}"

    def request(self, action: str, order: Order | None = None, **context: Any) -> Message:
        """Return a request to the market."""
        base = {
            "version": "2.0.0",
            "action": action,
            "domain": "energy-trade",
            "timestamp": format_instant(self.market.clock.now_ms()),
            "ttl": "PT30S",
            "transaction_id": f"T-{self.name}",
            "message_id": self.new_id(),
            "bap_id": self.name,
            "bap_uri": f"http://{HOSTS[self.name]}/bap/receiver",
            "bpp_id": MARKET,
            "bpp_uri": f"http://{HOSTS[MARKET]}/bpp/receiver",
        }
        return {"context": base | context, "message": {"order": order} if order else {}}

    def answer(
        self, request: Message, order: Order | None, error: Message | None = None, **context: Any
    ) -> Message:
        """Return the callback to a request that arrived here."""
        now = format_instant(self.market.clock.now_ms())
        times = {"action": f"on_{request['context']['action']}", "timestamp": now, "ttl": "PT1H"}
        body: Message = {"context": request["context"] | times | context}
        if order is not None:
            body["message"] = {"order": order}
        return body if error is None else body | {"error": error}

    def headers(self, raw: bytes) -> list[tuple[bytes, bytes]]:
        """Return a good Authorization header, signed now."""
        now_s = self.market.clock.now_ms() // 1000
        value = signer_of(self.name).header(raw, created_s=now_s, expires_s=now_s + 300)
        return [(b"authorization", value.encode()), (b"content-type", b"application/json")]

    async def post(self, body: Message) -> Reply:
        """Sign and post a message to the market."""
        raw = strict_json.encode(body)
        action = body["context"]["action"]
        receiver = "bap" if action.startswith("on_") else "bpp"
        inbound = self.market.node.inbound
        reply = await inbound.receive(receiver, action, self.headers(raw), raw)
        named = {name.decode(): value.decode() for name, value in reply.headers}
        return Reply(reply.status, reply.body, named)

    async def ask(self, action: str, order: Order | None = None, **context: Any) -> Reply:
        """Post a request and let messages travel."""
        reply = await self.post(self.request(action, order, **context))
        await self.market.deliver()
        return reply

    async def join(self, meter: str, points: tuple[tuple[str, str], ...], **options: Any) -> Reply:
        """Bring a prosumer into the market."""
        context = {k: options.pop(k) for k in ("transaction_id", "ttl") if k in options}
        return await self.ask("init", market_init(self.name, meter, points, **options), **context)

    async def commit(self, transaction_id: str | None = None, ttl: str = "PT1H") -> Reply:
        """Confirm what the last on_init said."""
        on_init = self.last("on_init", transaction_id)
        transaction = on_init["context"]["transaction_id"]
        order = on_init["message"]["order"]
        return await self.ask("confirm", order, transaction_id=transaction, ttl=ttl)


Verdict = Callable[[Message], Message | None]
"""Gives the error with which a request is refused."""


@dataclass
class Operator(Party):
    """The grid operator as a script: it grants what it is not told to refuse."""

    room: dict[str, dict[str, Any]] = field(default_factory=dict)
    """GRID_OPERATOR inputs by meter, where they are not ROOM; and `approved` kW."""
    refuse: Verdict = lambda message: None
    waits: bool = False
    """Answers only when `work` is called."""
    worked: int = 0

    async def work(self) -> None:
        """Answer every request that was not answered yet, until nothing comes any more."""
        await self.market.deliver()
        while self.worked < len(self.got):
            request = self.got[self.worked]
            self.worked += 1
            await self._answer(request)
            await self.market.deliver()

    async def _answer(self, request: Message) -> None:
        if request["context"]["action"] not in ("init", "confirm"):
            return
        error = self.refuse(request)
        if error is not None:
            reply = await self.post(self.answer(request, None, error))
        else:
            order = self.granted(request)
            reply = await self.post(self.answer(request, order))
        assert reply.word == "ACK", reply.error

    def granted(self, request: Message) -> Order:
        """Return the order of an on_init or on_confirm that grants a request."""
        order: Order = copy.deepcopy(request["message"]["order"])
        terms = contract(order)
        if request["context"]["action"] == "confirm":
            terms["status"] = "ACTIVE"
            return order
        given = dict(ROOM | self.room.get(inputs(order, "PROSUMER")["sourceMeterId"], {}))
        terms["inputParameters"]["approvedMaxTradeKW"] = given.pop("approved", 15)
        filled = {"role": "GRID_OPERATOR", "filledBy": GRID, "filled": True, "roleInputs": given}
        terms["roles"] = [*terms["roles"][:-1], filled]
        return order


async def open_market(
    folder: Path,
    *,
    cascades: bool = True,
    roles: Sequence[str] = ("market",),
    database: str = "sqlite:///market.db",
    **changes: Any,
) -> Market:
    """Return a market node with its offer; nobody else is there yet.

    Args:
        folder: for the database and the settings.
        cascades: the market has a grid operator.
        roles: of the node.
        database: its URL.
        changes: of the offer.
    """
    clock, wire = FixedClock(), Wire()
    rows = [
        {
            "subscriber_id": name,
            "key_id": "k1",
            "type": "BAP" if name.startswith("bap.") else "BPP",
            "url": f"http://{host}/{'bap' if name.startswith('bap.') else 'bpp'}/receiver",
            "domain": "energy-trade",
            "signing_public_key": base64.b64encode(signer_of(name).public_key).decode(),
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2036-01-01T00:00:00Z",
            "status": "SUBSCRIBED",
        }
        for name, host in HOSTS.items()
    ]
    (folder / "network.yaml").write_text(yaml.safe_dump({"participants": rows}))
    seed = folder / "market.seed"
    seed.write_text(base64.b64encode(bytes([NAMES.index(MARKET) + 1] * 32)).decode())
    seed.chmod(0o600)
    document: dict[str, Any] = {
        "node": {
            "subscriber_id": MARKET,
            "key_id": "k1",
            "seed_file": "market.seed",
            "roles": list(roles),
            "base_url": f"http://{HOSTS[MARKET]}",
        },
        "database": {"url": database},
        "registry": {"kind": "static", "file": "network.yaml"},
    }
    if cascades:
        itself = "grid_operator" in roles
        document["cascade"] = {"grid_operator": MARKET if itself else GRID}
    if "grid_operator" in roles:
        document["contracts"] = {"host": "here", "genesis": "genesis.yaml"}
        (folder / "genesis.yaml").write_text(yaml.safe_dump(GENESIS))
    file = folder / "market.yaml"
    file.write_text(yaml.safe_dump(document))
    ports = Ports(clock=clock, ids=CountingIds(1), sender=wire)
    node = build_node(load_settings(file), ports)
    wire.nodes[HOSTS[MARKET]] = node
    if node.contracts is not None:
        await node.contracts.open(node.genesis)
    await node.catalogue.publish(market_offer(**changes))
    return Market(node, clock, wire, file)
